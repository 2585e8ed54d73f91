"""HTTP itself: what is smuggled, pipelined, too large, or slow."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import BODY_SIZE, HTTP_IDLE
from tests.web.door import FORM, Connection, HttpsDoor, request_bytes

POST = "POST /user HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
CHUNK = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
GET = request_bytes("GET", "/health", {})


class HttpCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.connection = self.door.connect()

    def statuses(self) -> list[int]:
        return [answer.status for answer in self.connection.answers()]


class SmugglingTests(HttpCase):
    """Requests whose end two readers could see in two places."""

    def test_ambiguous_lengths(self) -> None:
        """They are refused and the connection closed; nothing behind them is taken for a request."""
        for headers in (
            "Content-Length: 10\r\nContent-Length: 11",
            "Content-Length: 10\r\nContent-Length: 10",
            "Content-Length: 10\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 10",
            "Content-Length: +10",
            "Content-Length: -1",
            "Content-Length: 0x10",
            "Content-Length: 10, 10",
            "Content-Length: ",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding : chunked",
            "Content-Length: 10\r\n Content-Length: 5",
        ):
            connection = self.door.connect()
            connection.send(f"{POST}{headers}\r\n\r\n".encode() + GET + GET)
            self.assertEqual([answer.status for answer in connection.answers()], [400], headers)
            self.assertTrue(connection.is_closed)

    def test_bad_chunks(self) -> None:
        """Chunks whose size is none end the connection."""
        for chunk in (b"+4\r\nabcd\r\n", b"0x4\r\nabcd\r\n", b"4;\nabcd", b"4\r\nabcdX", b"-1\r\n"):
            connection = self.door.connect()
            connection.send(f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk + b"0\r\n\r\n" + GET)
            self.assertEqual([answer.status for answer in connection.answers()], [400], chunk)
            self.assertTrue(connection.is_closed)

    def test_not_http(self) -> None:
        """What is no request line, or has endless headers, ends the connection."""
        for data in (b"hello\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000):
            connection = self.door.connect()
            connection.send(data)
            self.assertEqual([answer.status for answer in connection.answers()], [400])
            self.assertTrue(connection.is_closed)


class PipeliningTests(HttpCase):
    """Requests that do not wait for answers."""

    def paths(self, count: int) -> list[str]:
        """Paths whose answers differ and take different ways, with a token that is none."""
        return [("/health", f"/user/id/{number}", "/nowhere", "/offline")[number % 4] for number in range(count)]

    def test_in_order(self) -> None:
        """Ten thousand requests at once are answered in order."""
        expected = {"/health": 200, "/nowhere": 404, "/offline": 401}
        paths = self.paths(10_000)
        requests = b"".join(request_bytes("GET", path, {}) for path in paths)
        for start in range(0, len(requests), 16_384):
            self.connection.send(requests[start : start + 16_384])
        self.assertEqual(self.statuses(), [expected.get(path, 401) for path in paths])

    def test_slow_first(self) -> None:
        """An answer that is ready waits for the one before it."""
        self.door.create()
        token = self.door.sign_in()
        self.door.database.hold()
        self.connection.send(request_bytes("GET", "/user/id/1", {"Cookie": f"token={token}"}) + GET)
        self.assertEqual(self.statuses(), [])
        self.door.database.release()
        self.assertEqual([answer.body[:3] for answer in self.connection.answers()], [b"[[r", b"ok\n"])

    def test_byte_by_byte(self) -> None:
        """However a request is cut, it is the same request."""
        body = b"name=Ann&phone=12345&password=888888"
        for byte in request_bytes("POST", "/user", {"Content-Type": FORM}, body) + GET:
            self.connection.send(bytes([byte]))
        self.assertEqual(self.statuses(), [200, 200])


class LargeBodyTests(HttpCase):
    """Forms over their limit."""

    def check(self, connection: Connection, *, closes: bool) -> None:
        answers = connection.answers()
        self.assertEqual([answer.status for answer in answers], [413])
        expected = {"status": 3, "r": "Too Large", "reason": "Too Large"}
        self.assertEqual(answers[0].response, expected)
        self.assertEqual(connection.is_closed, closes)

    def kept(self) -> int:
        """How much of a body is in memory."""
        return sum(len(request.content.getvalue()) for request in self.connection.channel.requests)

    def form(self, size: int) -> bytes:
        start = b"name=Ann&phone=12345&password=888888&x="
        return start + b"x" * (size - len(start))

    def test_at_the_limit(self) -> None:
        """A form of the largest size is taken."""
        answer = self.door.request("POST", "/user", self.form(BODY_SIZE))
        self.assertEqual(answer.status, 200)

    def test_over_the_limit(self) -> None:
        """One byte more is too large; the connection goes on."""
        body = self.form(BODY_SIZE + 1)
        self.connection.send(request_bytes("POST", "/user", {"Content-Type": FORM}, body))
        self.check(self.connection, closes=False)
        self.connection.send(GET)
        self.assertEqual(self.statuses(), [413, 200])

    def test_wherever(self) -> None:
        """It is too large for every path and method."""
        for method, path in (("GET", "/offline"), ("DELETE", "/offline"), ("POST", "/server/login"), ("PUT", "/user")):
            answer = self.door.request(method, path, self.form(BODY_SIZE + 1))
            self.assertEqual((answer.status, answer.response["r"]), (413, "Too Large"))

    def test_chunked(self) -> None:
        """A body in chunks is measured as it comes, and no more of it is kept than may be."""
        self.connection.send(f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(20):
            self.connection.send(CHUNK)
            self.assertLessEqual(self.kept(), BODY_SIZE)
        self.assertEqual(self.statuses(), [])
        self.connection.send(b"0\r\n\r\n" + GET)
        self.assertEqual(self.statuses(), [413, 200])

    def test_endless(self) -> None:
        """A body without end is answered before it ends, once, and the connection closed."""
        self.connection.send(f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(2_000):
            self.connection.send(CHUNK)
        self.connection.send(b"0\r\n\r\n" + GET)
        self.check(self.connection, closes=True)

    def test_endless_in_one_piece(self) -> None:
        """What comes in one piece with the answered part is not taken for a request either."""
        self.connection.send(f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode() + CHUNK * 100 + b"0\r\n\r\n" + GET)
        self.check(self.connection, closes=True)

    def test_endless_with_length(self) -> None:
        """A length that is announced does not matter: what came does."""
        self.connection.send(f"{POST}Content-Length: {10**12}\r\n\r\n".encode())
        self.assertEqual(self.statuses(), [])
        for _ in range(100):
            self.connection.send(b"x" * 16_384)
            self.assertLessEqual(self.kept(), BODY_SIZE)
        self.check(self.connection, closes=True)

    def test_endless_in_json(self) -> None:
        """Such an answer too is in the form that the client asked for."""
        self.connection.send(f"{POST}Accept: application/json\r\nContent-Length: {10**12}\r\n\r\n".encode())
        for _ in range(100):
            self.connection.send(b"x" * 16_384)
        (answer,) = self.connection.answers()
        self.assertEqual(answer.body, b'{"response": [{"status": 3, "r": "Too Large", "reason": "Too Large"}]}')


class ClosingTests(HttpCase):
    """Connections that end, also where the peer does not help."""

    def is_cut(self) -> bool:
        return self.connection.transport.disconnected

    def check_cut(self) -> None:
        """It is closed now, and cut off when its peer has had time."""
        self.assertTrue(self.connection.is_closed)
        self.assertFalse(self.is_cut())
        self.door.clock.advance(HTTP_IDLE)
        self.assertTrue(self.is_cut())

    def test_idle(self) -> None:
        """A connection without a request is closed after a while, then cut off."""
        self.door.clock.advance(HTTP_IDLE)
        self.check_cut()

    def test_idle_between_requests(self) -> None:
        """The time begins anew with each answer."""
        self.door.clock.advance(HTTP_IDLE - 1)
        self.connection.send(GET)
        self.door.clock.advance(HTTP_IDLE - 1)
        self.assertFalse(self.connection.is_closed)
        self.door.clock.advance(1)
        self.check_cut()

    def test_close(self) -> None:
        """A client that asks for the end, and does not end it, is cut off."""
        self.connection.send(request_bytes("GET", "/health", {"Connection": "close"}))
        self.assertEqual(self.statuses(), [200])
        self.check_cut()

    def test_after_a_bad_request(self) -> None:
        """So is one that was refused, whatever it goes on to send."""
        self.connection.send(b"bad\r\n\r\n")
        self.door.clock.advance(HTTP_IDLE / 2)
        self.connection.send(GET)
        self.assertEqual(self.statuses(), [400])
        self.door.clock.advance(HTTP_IDLE / 2)
        self.assertTrue(self.is_cut())

    def test_no_timer_is_left(self) -> None:
        """When the connection is gone, nothing waits for it."""
        self.connection.send(request_bytes("GET", "/health", {"Connection": "close"}))
        self.connection.lose()
        self.assertEqual(self.door.clock.getDelayedCalls(), [])
