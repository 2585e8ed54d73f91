"""What every path has in common: methods, forms of answers, and what goes wrong."""

from __future__ import annotations

import gzip
import json
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from simple_im.status import StorageUnavailable
from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Endpoint
from simple_im.web.site import QuietSite
from tests.web.door import Answer as Received
from tests.web.door import Connection, HttpsDoor, request_bytes

METHODS = {
    "/health": {"GET", "HEAD", "OPTIONS"},
    "/user": {"POST", "PUT", "OPTIONS"},
    "/user/id/1": {"GET", "HEAD", "OPTIONS"},
    "/user/phone/12345": {"GET", "HEAD", "OPTIONS"},
    "/server/login": {"POST", "OPTIONS"},
    "/server/reconnect": {"POST", "OPTIONS"},
    "/server/failed": {"POST", "OPTIONS"},
    "/server/logout": {"POST", "OPTIONS"},
    "/offline": {"GET", "HEAD", "DELETE", "OPTIONS"},
}
NOWHERE = ("/", "/x", "/server", "/server/", "/server/x", "/user/", "/user/id", "/user/id/", "/user/id/1/", "/health/x")


class MethodTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()

    def test_options(self) -> None:
        """OPTIONS says what a path can do."""
        for path, methods in METHODS.items():
            answer = self.door.request("OPTIONS", path)
            self.assertEqual((answer.status, set(answer.headers["Allow"].split(", "))), (200, methods), path)

    def test_not_allowed(self) -> None:
        """Any other method is answered with 405 and with those that there are."""
        for path, methods in METHODS.items():
            for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"} - methods:
                answer = self.door.request(method, path)
                expected = {"status": 405, "r": "Method Not Allowed", "reason": "Method Not Allowed"}
                self.assertEqual((answer.status, answer.response), (405, expected), (method, path))
                self.assertEqual(set(answer.headers["Allow"].split(", ")), methods)

    def test_not_found(self) -> None:
        """Where there is nothing, every method is answered with 404."""
        for path in NOWHERE:
            for method in ("GET", "POST", "OPTIONS", "BREW"):
                answer = self.door.request(method, path)
                expected = {"status": 404, "r": "Not Found", "reason": "Not Found"}
                self.assertEqual((answer.status, answer.response), (404, expected), (method, path))

    def test_strange_paths(self) -> None:
        """Paths with dots, escapes and bytes of any kind are 404 too."""
        for path in ("/../health", "//health", "/health/..", "/%2e%2e/health", "/%ff", "/user/id/%ff", "/user%00"):
            self.assertEqual(self.door.get(path).status, 404, path)

    def test_head(self) -> None:
        """HEAD is answered as GET is, without the document."""
        for path in ("/health", "/user/id/1", "/nowhere"):
            got, head = self.door.get(path), self.door.request("HEAD", path)
            self.assertEqual((head.status, head.headers["Content-Length"]), (got.status, str(len(got.body))))
            self.assertEqual(head.headers["Content-Type"], got.headers["Content-Type"])
            self.assertEqual(head.body, b"")

    def test_health(self) -> None:
        """`/health` is plain text, whatever a client likes, and needs no token and no storage."""
        self.door.database.fails_with = StorageUnavailable()
        answer = self.door.get("/health", Accept="application/json")
        self.assertEqual((answer.status, answer.body), (200, b"ok\n"))
        self.assertEqual(answer.headers["Content-Type"], "text/plain; charset=utf-8")


class FormatTests(SynchronousTestCase):
    """The same document as TOML and JSON, plain and packed."""

    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.user = self.door.create()
        self.token = self.door.sign_in()
        self.door.deliver_text(self.user, "a", "b", size=1_000)

    def offline(self, **headers: str) -> Received:
        return self.door.get("/offline", self.token, **headers)

    def test_toml(self) -> None:
        """TOML is what a client gets that says nothing else; it begins with `[[response]]`."""
        for accept in ("", "*/*", "text/html", "application/toml", "application/json;q=0", "x;;q=,,\xff"):
            answer = self.offline(Accept=accept)
            self.assertEqual(answer.headers["Content-Type"], "application/toml; charset=utf-8", accept)
            self.assertTrue(answer.body.startswith(b"[[response]]\nstatus = 0\n"))

    def test_json(self) -> None:
        """JSON is the same document, for those who say so."""
        expected = self.offline().document
        more_than_toml = "application/toml;q=0.1, application/json"
        for accept in ("application/json", "text/html, Application/JSON;q=0.9", more_than_toml):
            answer = self.offline(Accept=accept)
            self.assertEqual(answer.headers["Content-Type"], "application/json; charset=utf-8", accept)
            self.assertEqual(json.loads(answer.body), expected)

    def test_refusals_in_json(self) -> None:
        """What is refused is refused in JSON too."""
        for path, status in (("/nowhere", 404), ("/offline", 401), ("/user", 405)):
            answer = self.door.get(path, Accept="application/json")
            (response,) = json.loads(answer.body)["response"]
            self.assertEqual((answer.status, response["r"]), (status, response["reason"]))

    def test_gzip(self) -> None:
        """Documents are packed for those who take that, and are the same."""
        expected = self.offline().document
        for encoding in ("gzip", "deflate, GZIP;q=0.5", "br,gzip"):
            answer = self.offline(Accept_Encoding=encoding)
            self.assertEqual(answer.headers["Content-Encoding"], "gzip")
            self.assertLess(len(answer.body), 1_000)
            unpacked = Received(200, {}, gzip.decompress(answer.body))
            self.assertEqual(unpacked.document, expected)
        refused = self.door.get("/nowhere", Accept_Encoding="gzip")
        self.assertEqual(refused.headers["Content-Encoding"], "gzip")
        self.assertIn(b"Not Found", gzip.decompress(refused.body))

    def test_not_packed(self) -> None:
        """Nothing is packed for those who do not say so."""
        for encoding in ("", "identity", "gzip;q=0", "br", "gzip;q=x", "\xff"):
            self.assertNotIn("Content-Encoding", self.offline(Accept_Encoding=encoding).headers)

    def test_headers(self) -> None:
        """Answers are for their asker alone, and for no sniffing; they do not say whose software this is."""
        for answer in (self.offline(), self.door.get("/nowhere"), self.door.get("/health")):
            self.assertEqual(answer.headers["Cache-Control"], "no-store")
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(answer.headers["Vary"], "Accept, Accept-Encoding")
            self.assertEqual(answer.headers["Server"], "simple_im")


class StorageTests(SynchronousTestCase):
    """The database is down."""

    def test_every_path(self) -> None:
        """Everything that needs the database is answered with 503, and nobody gets in."""
        door = HttpsDoor()
        door.create()
        token = door.sign_in()
        login = {"phone": "8618266175357", "password": "888888", "device": "android"}
        user = {"name": "Bob", "phone": "12345", "password": "888888"}
        door.database.fails_with = StorageUnavailable()
        for method, path, form in (
            ("POST", "/user", user),
            ("POST", "/server/login", login),
            ("POST", "/server/reconnect", {"id": 1}),
            ("POST", "/server/failed", None),
            ("POST", "/server/logout", None),
            ("GET", "/offline", None),
            ("DELETE", "/offline", None),
            ("GET", "/user/id/1", None),
            ("GET", "/user/phone/12345", None),
        ):
            answer = door.request(method, path, form, token)
            expected = {"status": 2, "r": "Storage unavailable", "reason": "Storage unavailable"}
            self.assertEqual((answer.status, answer.response), (503, expected), path)


class FaultTests(SynchronousTestCase):
    """A fault of ours."""

    def answer_of(self, methods: dict[str, Any]) -> Received:
        root = Resource()
        root.putChild(b"x", Endpoint(methods))
        connection = Connection(QuietSite(root, HttpsDoor().clock))
        connection.send(request_bytes("GET", "/x", {}))
        (answer,) = connection.answers()
        return answer

    def check(self, methods: dict[str, Any]) -> None:
        """The answer tells its id and nothing more; the log has that id with the traceback."""
        answer = self.answer_of(methods)
        (failure,) = self.flushLoggedErrors(RuntimeError)
        response = answer.response
        error = response.pop("error")
        expected = {"status": 2, "r": "Unknown Error", "reason": "Unknown Error"}
        self.assertEqual((answer.status, response), (500, expected))
        self.assertNotIn(b"secret", answer.body)
        self.assertRegex(error, "[0-9a-f]{8}")
        self.assertIn(error, self.logged)
        self.assertIn("secret", failure.getErrorMessage())

    def setUp(self) -> None:
        def observe(event: LogEvent) -> None:
            self.logged += formatEvent(event)

        self.logged = ""
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_fault_in_a_handler(self) -> None:
        """A handler that fails is answered with an error id, which the log has too."""

        async def fail(_call: Call) -> Answer:
            raise RuntimeError("a secret")

        self.check({"GET": fail})

    def test_fault_in_an_answer(self) -> None:
        """An answer that can't be written is such a fault too, and does not leave its client waiting."""

        class Unwritable(dict[str, Any]):
            def items(self) -> Any:
                raise RuntimeError("a secret")

        async def answer(_call: Call) -> Answer:
            return Answer(tables=Unwritable())

        self.check({"GET": answer})
