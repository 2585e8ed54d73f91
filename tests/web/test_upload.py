"""Multipart forms on their way to disk: their limits, what is refused, and that nothing of it stays behind."""

from __future__ import annotations

import os

from simple_im.limits import BODY_SIZE, UPLOAD_BUFFER, UPLOAD_FIELD, UPLOAD_FIELDS
from simple_im.web import request as request_module
from simple_im.web import upload as upload_module
from tests.web.door import Connection, request_bytes
from tests.web.media_door import (
    BOUNDARY,
    MP4,
    PNG,
    SIZES,
    MediaCase,
    chunked,
    content_type,
    form,
    head,
    of_size,
    part,
)

PIECE = 16_384
GET = request_bytes("GET", "/health", {})
STEPS = 4
"""What is done in threads for a small upload: write, sync, move, remove what is left of the draft."""
UNREADABLE = "the form can't be read: "


class UploadCase(MediaCase):
    def setUp(self) -> None:
        super().setUp()
        self.connection = self.door.connect()

    def begin(self, path: str = "/m/image", length: int | None = None, token: str | None = "") -> None:
        """The head of an upload by Ann, in chunks unless it has a length."""
        bearer = self.ann_token if token == "" else token
        measure = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        self.connection.send(head(path, bearer, **measure))

    def send_pieces(self, data: bytes, connection: Connection | None = None) -> int:
        """Send it as a network does, until it is answered; how much that was."""
        connection = connection or self.connection
        for start in range(0, len(data), PIECE):
            if connection.transport.value():
                return start
            connection.send(data[start : start + PIECE])
        return len(data)

    def answers(self) -> list[tuple[int, str]]:
        return [(answer.status, answer.response.get("r", "")) for answer in self.connection.answers()]

    def statuses(self) -> list[int]:
        return [answer.status for answer in self.connection.answers()]

    def image(self, size: int) -> bytes:
        """The form of an image of this size for Bob."""
        return form(("image", of_size("image", size)), ("to", self.bob))


class LimitTests(UploadCase):
    def test_at_the_limit(self) -> None:
        """A file of the largest size of its kind is taken whole."""
        for kind, size in SIZES.items():
            content = of_size(kind, size)
            answer = self.door.send_file(kind, content, self.ann_token, self.bob)
            self.assertEqual(answer.status, 200, kind)
            self.assertEqual(self.door.get("/" + answer.response["c"], self.bob_token).body, content)

    def test_one_byte_more(self) -> None:
        """One byte more is too large."""
        for kind, size in SIZES.items():
            answer = self.door.send_file(kind, of_size(kind, size + 1), self.ann_token, self.bob)
            self.assertEqual(self.refused(answer), (413, "Too Large"))

    def test_in_chunks(self) -> None:
        """A body in chunks is measured by the same."""
        for more, status in ((0, 200), (1, 413)):
            self.connection = self.door.connect()
            self.begin()
            self.connection.send(chunked(self.image(SIZES["image"] + more)))
            self.assertEqual(self.statuses(), [status])

    def test_refused_early(self) -> None:
        """A large body is answered before its end; the connection is closed and what still comes is ignored."""
        self.begin("/m/audio", 10**9)
        self.assertLess(self.send_pieces(form(("audio", of_size("audio", 5_000_000)))), 1_200_000)
        self.assertEqual(self.answers(), [(413, "Too Large")])
        self.assertTrue(self.connection.is_closed)
        self.assert_nothing_left()
        self.connection.send(b"x" * PIECE + GET)
        self.assertEqual(self.answers(), [(413, "Too Large")])
        self.assert_nothing_left()

    def test_refused_early_in_one_piece(self) -> None:
        """However many small chunks come at once, the answer is one, made once."""
        answers: list[object] = []
        encode = request_module.encode_now
        self.patch(request_module, "encode_now", lambda *args: answers.append(1) or encode(*args))
        self.begin("/m/audio")
        body = form(("audio", of_size("audio", 1_500_000)))
        self.connection.send(chunked(*(body[at : at + 500] for at in range(0, len(body), 500))) + GET)
        self.assertEqual((self.answers(), len(answers)), ([(413, "Too Large")], 1))
        self.assert_nothing_left()

    def test_other_things_than_the_file(self) -> None:
        """What stands before and behind the parts of a form has an end too."""
        for body in (b"x" * 5_000_000, self.image(100) + b"x" * 5_000_000):
            self.connection = self.door.connect()
            self.begin()
            for start in range(0, len(body), PIECE):
                self.connection.send(chunked(body[start : start + PIECE], end=False))
            self.assertEqual(self.answers(), [(413, "Too Large")])
            self.assertTrue(self.connection.is_closed)
            self.assert_nothing_left()


class FormTests(UploadCase):
    def reason(self, body: bytes, path: str = "/m/image") -> tuple[int, str]:
        return self.refused(self.door.send_form(path, body, self.ann_token))

    def test_byte_by_byte(self) -> None:
        """However a form is cut, it is the same form."""
        body = form(("to", self.bob), ("image", PNG + b"\r\n--" + BOUNDARY[:-1].encode()))
        self.begin(length=len(body))
        for byte in body:
            self.connection.send(bytes([byte]))
        (answer,) = self.connection.answers()
        self.assertEqual(
            self.door.get("/" + answer.response["c"], self.bob_token).body[len(PNG) :],
            b"\r\n--" + BOUNDARY[:-1].encode(),
        )

    def test_no_file(self) -> None:
        """A form without the file, or with an empty one, or with one in another field, is told what is missing."""
        for parts in ((), (("image", b""),), (("file", b"x"),), (("audio", of_size("audio", 100)),)):
            self.assertEqual(self.reason(form(*parts, ("to", self.bob))), (400, "image Required"))

    def test_two_files(self) -> None:
        """One request has one file."""
        for second in ("image", "audio"):
            body = form(("image", PNG), (second, PNG), ("to", self.bob))
            self.assertEqual(self.reason(body), (400, "one file a request"))

    def test_fields(self) -> None:
        """There may be other fields, up to a number; what they say does not matter."""
        fields = [(f"x{number}", "y") for number in range(UPLOAD_FIELDS - 2)]
        body = form(("image", PNG), ("to", self.bob), *fields)
        self.assertEqual(self.door.send_form("/m/image", body, self.ann_token).status, 200)

    def test_too_many_fields(self) -> None:
        """One more is refused."""
        body = form(("image", PNG), ("to", self.bob), *[("x", "y")] * (UPLOAD_FIELDS - 1))
        self.assertEqual(self.reason(body), (400, UNREADABLE + "Maximum segment count exceeded"))

    def test_field_sizes(self) -> None:
        """A field may have so much in it and no more."""
        body = form(("x", "y" * UPLOAD_FIELD), ("image", PNG), ("to", self.bob))
        self.assertEqual(self.door.send_form("/m/image", body, self.ann_token).status, 200)
        for name in ("x", "to"):
            answer = self.door.send_form("/m/image", form((name, "y" * (UPLOAD_FIELD + 1))), self.ann_token)
            self.assertEqual((answer.status, answer.response["r"]), (413, "Too Large"))

    def test_malformed(self) -> None:
        """What is no form is refused with what is wrong with it, and the connection goes on."""
        begun, line = part("image", PNG), f"--{BOUNDARY}"
        for body, reason in (
            (b"hello", "Unexpected end of multipart stream (parser closed)"),
            (begun, "Unexpected end of multipart stream (parser closed)"),
            (begun + line.encode(), "Unexpected end of multipart stream (parser closed)"),
            (b"x" + begun, "Unexpected byte in front of first boundary"),
            (f"{line}\nA: b\n\n".encode(), "Invalid line break after first boundary"),
            (f"{line}\r\nhello\r\n\r\n".encode(), "Malformed segment header"),
            (f"{line}\r\nContent-Type: a/b\r\n\r\n".encode(), "Missing Content-Disposition segment header"),
            (f"{line}\r\nX: {'y' * 5_000}\r\n\r\n".encode(), "Maximum segment header length exceeded"),
            (f"{line}\r\n".encode() + b"X: \xff\r\n\r\n", "Segment header failed to decode"),
        ):
            self.assertEqual(self.reason(body), (400, UNREADABLE + reason))

    def test_no_boundary(self) -> None:
        """Nor is one without a boundary, or with one that can be none."""
        for value in ("multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary=""'):
            answer = self.door.send_form("/m/image", self.image(100), self.ann_token, {"Content-Type": value})
            self.assertEqual(self.refused(answer), (400, UNREADABLE + "Empty boundary"))

    def test_another_boundary(self) -> None:
        """Nor is one whose boundary is another."""
        answer = self.door.send_form("/m/image", self.image(100), self.ann_token, content_type("other"))
        self.assertEqual(answer.status, 400)
        self.assert_nothing_left()

    def test_not_multipart(self) -> None:
        """A form of the other sort has no file in it."""
        for form_ in ({"to": self.bob, "image": "x"}, None):
            answer = self.door.request("POST", "/m/image", form_, self.ann_token)
            self.assertEqual(self.refused(answer), (400, "image Required"))

    def test_other_paths(self) -> None:
        """Other paths take no multipart form, with a token and without, and keep none."""
        body = form(("image", PNG), ("name", "Ann"), ("phone", "12345"), ("password", "888888"))
        for token in (self.ann_token, None):
            for path in ("/user", "/server/login"):
                answer = self.door.send_form(path, body, token)
                expected = (400, "the form must be application/x-www-form-urlencoded")
                self.assertEqual(self.refused(answer), expected)
        self.assertEqual(self.door.send_form("/nowhere", body, self.ann_token).status, 404)
        self.assertEqual(self.door.request("PUT", "/m/image", body, self.ann_token, content_type()).status, 405)
        self.assert_nothing_left()


class TokenTests(UploadCase):
    def test_none(self) -> None:
        """Without a token, or with a wrong one, nothing is kept."""
        for token in (None, "wrong"):
            answer = self.door.send_form("/m/image", self.image(300_000), token)
            self.assertEqual(self.refused(answer), (401, "Token Error"))

    def test_none_and_large(self) -> None:
        """A large body without a good token is not taken to its end, nor written to disk."""
        for token in (None, "wrong"):
            self.connection = self.door.connect()
            self.begin("/m/video", 2_000_000, token)
            self.assertLess(self.send_pieces(form(("video", of_size("video", 2_000_000)))), 1_200_000)
            self.assertEqual(self.answers(), [(401, "Token Error")])
            self.assertTrue(self.connection.is_closed)
            self.assert_nothing_left()

    def test_checked_late(self) -> None:
        """What came until the token was found wrong goes too."""
        self.door.database.hold()
        self.begin(length=10**6, token="wrong")
        self.connection.send(self.image(300_000))
        self.assertEqual(len(self.door.on_disk()), 1)
        self.door.database.release()
        self.send_pieces(bytes(2_000_000))
        self.assertEqual(self.answers(), [(401, "Token Error")])
        self.assert_nothing_left()

    def test_database_down(self) -> None:
        """Where nobody can say whether a token is good, the answer is that."""
        self.door.database.writes_fail = True
        answer = self.door.send_form("/m/image", self.image(100), self.ann_token)
        self.assertEqual(self.refused(answer), (503, "Storage unavailable"))


class BrokenTests(UploadCase):
    """Uploads that do not come to their end."""

    def test_cut(self) -> None:
        """Wherever the connection is lost, nothing stays behind."""
        body = self.image(1_000)
        for end in (0, 50, 150, 500, len(body) - 1):
            self.connection = self.door.connect()
            self.begin(length=len(body))
            self.connection.send(body[:end])
            self.connection.lose()
            self.assert_nothing_left()

    def test_cut_while_writing(self) -> None:
        """Also where a write is under way, and another waits."""
        self.begin(length=10**6)
        self.threads.held = True
        self.send_pieces(self.image(100_000)[:90_000])
        self.connection.lose()
        self.threads.settle()
        self.assert_nothing_left()

    def test_cut_at_each_step(self) -> None:
        """When the connection is lost while a whole upload is worked on, it is sent with its file or not at all."""
        outcomes = set()
        for steps in range(STEPS + 1):
            self.threads.held = False
            self.connection = self.door.connect()
            body = self.image(1_000)
            self.begin(length=len(body))
            self.threads.held = True
            self.connection.send(body)
            for _ in range(steps):
                self.threads.step()
            self.connection.lose()
            self.threads.settle()
            sent = self.door.get("/offline", self.bob_token).document.get("m", [])
            self.assertEqual([f"file/{name}" for name in self.door.on_disk()], sorted(m["c"] for m in sent))
            outcomes.add(len(sent))
        self.assertEqual(self.door.open_files(), [])
        self.assertEqual(min(outcomes), 0)
        self.assertGreater(max(outcomes), 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_length_too_small(self) -> None:
        """A length that is too small cuts the form; what is behind it is no request."""
        body = self.image(1_000)
        self.begin(length=len(body) - 10)
        self.connection.send(body)
        self.assertEqual([answer.status for answer in self.connection.answers()], [400, 400])
        self.assertTrue(self.connection.is_closed)
        self.assert_nothing_left()

    def test_length_too_large(self) -> None:
        """A length that is too large is waited for until the connection has been idle for too long."""
        body = self.image(1_000)
        self.begin(length=len(body) + 10)
        self.connection.send(body)
        self.assertEqual(self.statuses(), [])
        self.door.clock.advance(60)
        self.assertTrue(self.connection.is_closed)
        self.connection.lose()
        self.assert_nothing_left()

    def test_bad_chunk(self) -> None:
        """A body whose chunks are none ends the connection."""
        self.begin()
        self.connection.send(chunked(self.image(1_000)[:500], end=False) + b"nonsense\r\n")
        self.assertEqual([answer.status for answer in self.connection.answers()], [400])
        self.connection.lose()
        self.assert_nothing_left()

    def test_pipelined(self) -> None:
        """Requests behind an upload are answered in order, whether it was taken or refused."""
        good = self.image(300_000)
        bad = form(("image", b"text" * 100_000))
        for body, status in ((good, 200), (bad, 400), (good, 200)):
            connection = self.door.connect()
            data = head("/m/image", self.ann_token, Content_Length=str(len(body))) + body
            connection.send(data + GET + data + GET)
            self.assertEqual([answer.status for answer in connection.answers()], [status, 200, status, 200])


class FullDiskTests(UploadCase):
    def fill(self) -> None:
        """From now on the disk takes names and no content."""
        self.patch(upload_module, "_private", lambda path, flags: os.open(path, os.O_CREAT | os.O_RDONLY))

    def test_full(self) -> None:
        """Where the disk takes nothing, the answer is 503, nothing is left, and the connection goes on."""
        self.fill()
        body = self.image(1_000)
        self.begin(length=len(body))
        self.connection.send(body)
        self.assertEqual(self.answers(), [(503, "Storage unavailable")])
        self.assert_nothing_left()
        self.connection.send(GET)
        self.assertEqual(self.statuses()[1:], [200])

    def test_full_and_large(self) -> None:
        """A large upload is not taken to its end, and is not kept in memory instead."""
        self.fill()
        self.begin("/m/video", 2_000_000)
        self.assertLess(self.send_pieces(form(("video", of_size("video", 2_000_000)))), 1_200_000)
        self.assertEqual(self.answers(), [(503, "Storage unavailable")])
        self.assertEqual(self.connection.transport.producerState, "producing")
        self.assert_nothing_left()

    def test_full_while_much_waits(self) -> None:
        """A write that fails while the connection is not read from has it read from again."""
        self.begin(length=10**6)
        self.fill()
        self.threads.held = True
        self.send_pieces(self.image(600_000)[:500_000])
        self.assertEqual(self.connection.transport.producerState, "paused")
        self.threads.step()
        self.assertEqual(self.connection.transport.producerState, "producing")
        self.send_pieces(bytes(2_000_000))
        self.threads.settle()
        self.assertEqual(self.answers(), [(503, "Storage unavailable")])
        self.assert_nothing_left()

    def test_sync_fails(self) -> None:
        """What can't be brought to the disk for good was not taken."""
        synced: list[str] = []

        def no_sync(descriptor: int) -> None:
            synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), self.door.directory_of_files))
            raise OSError("no")

        self.patch(os, "fsync", no_sync)
        answer = self.door.send_form("/m/image", self.image(1_000), self.ann_token)
        self.assertEqual(self.refused(answer), (503, "Storage unavailable"))
        self.assertEqual([name[:8] for name in synced], ["uploads/"])

    def test_synced(self) -> None:
        """What was taken is on the disk for good: the content first, then the name."""
        synced: list[str] = []

        def sync(descriptor: int) -> None:
            synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), self.door.directory_of_files))

        self.patch(os, "fsync", sync)
        self.assertEqual(self.door.send_form("/m/image", self.image(1_000), self.ann_token).status, 200)
        self.assertEqual([name[:8] for name in synced], ["uploads/", "image"])

    def test_no_folder(self) -> None:
        """Where no draft can be made, the answer is the same."""
        (self.door.directory_of_files / "uploads").rmdir()
        answer = self.door.send_form("/m/image", self.image(1_000), self.ann_token)
        self.assertEqual(self.refused(answer), (503, "Storage unavailable"))


class FlowTests(UploadCase):
    """While more than the buffer waits for the disk, the connection is not read from."""

    def setUp(self) -> None:
        super().setUp()
        self.begin("/m/video", 10**7)
        self.connection.send(form(("video", MP4))[: -len(BOUNDARY) - 8])
        self.assertEqual(self.door.on_disk()[0][:8], "uploads/")
        self.threads.held = True

    @property
    def is_read(self) -> bool:
        return self.connection.transport.producerState == "producing"

    def test_at_the_buffer(self) -> None:
        """Up to the buffer's size it is read from; with one byte more it is not."""
        self.connection.send(bytes(UPLOAD_BUFFER))
        self.assertTrue(self.is_read)
        self.connection.send(bytes(1))
        self.assertFalse(self.is_read)

    def test_resumed(self) -> None:
        """It is read from again as soon as no more than the buffer waits."""
        for _ in range(3):
            self.connection.send(bytes(UPLOAD_BUFFER // 2))
        self.assertFalse(self.is_read)
        self.threads.step()
        self.assertTrue(self.is_read)
        self.threads.step()
        self.assertEqual(len(self.threads), 0)

    def test_resumed_at_exact_sizes(self) -> None:
        """Also where exactly the buffer's size is left, or nothing."""
        for first, second in ((1, UPLOAD_BUFFER), (UPLOAD_BUFFER, 1), (UPLOAD_BUFFER + 1, 0)):
            self.connection.send(bytes(first))
            self.connection.send(bytes(second))
            self.assertFalse(self.is_read)
            self.threads.step()
            self.assertTrue(self.is_read)
            self.threads.settle()

    def test_others_resume(self) -> None:
        """Where something else has it read from, the next bytes stop that again."""
        self.connection.send(bytes(UPLOAD_BUFFER + 1))
        self.connection.transport.resumeProducing()
        self.connection.send(b"x")
        self.assertFalse(self.is_read)
        self.threads.settle()
        self.assertTrue(self.is_read)

    def test_little_is_joined(self) -> None:
        """What comes while a write is under way is written in one."""
        for _ in range(100):
            self.connection.send(b"x" * 10)
        self.assertEqual(len(self.threads), 1)
        self.threads.step()
        self.threads.step()
        self.assertEqual(len(self.threads), 0)

    def test_refused(self) -> None:
        """A refused upload's connection is read from, so that its end is seen; what waits is not written."""
        for _ in range(80):
            self.connection.send(bytes(BODY_SIZE // 2))
        self.assertEqual(self.answers(), [(413, "Too Large")])
        self.threads.step()
        self.assertTrue(self.is_read)
        self.threads.settle()
        self.assert_nothing_left()

    def test_at_the_end(self) -> None:
        """After an upload of any size the connection is read from."""
        self.threads.settle()
        for size in (UPLOAD_BUFFER - 200, UPLOAD_BUFFER, UPLOAD_BUFFER + 1, 600_000):
            self.threads.held = False
            self.connection = self.door.connect()
            body = self.image(size)
            self.begin(length=len(body))
            self.threads.held = True
            self.send_pieces(body)
            self.assertEqual(self.statuses(), [])
            self.threads.settle()
            self.assertEqual((self.statuses(), self.is_read), ([200], True))

    def test_cut(self) -> None:
        """When the connection is lost meanwhile, what waits is not written and nothing is left."""
        for _ in range(3):
            self.connection.send(bytes(UPLOAD_BUFFER // 2))
        self.connection.lose()
        self.threads.settle()
        self.assert_nothing_left()
