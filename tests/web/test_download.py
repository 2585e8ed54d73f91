"""Fetching media: who may, how much of a file, and what the browser is told of it."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import ANY

from twisted.trial.unittest import SynchronousTestCase

from simple_im.web import download as download_module
from simple_im.web.download import Span, Unsatisfiable, requested
from tests.web.door import Answer, Connection, request_bytes
from tests.web.media_door import PNG, MediaCase, of_size

CHUNK = 65_536
CONTENT = of_size("image", 3 * CHUNK + 100)
GET = request_bytes("GET", "/health", {})


class DownloadCase(MediaCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.sent(CONTENT)
        self.file = self.door.directory_of_files / self.path.removeprefix("/file/")

    def get(self, token: str | None = "", path: str = "", **headers: str) -> Answer:
        answer = self.door.get(path or self.path, self.bob_token if token == "" else token, **headers)
        self.assertEqual(self.door.open_files(), [])
        return answer

    def begin(self) -> Connection:
        """Ask for the file, with reading in threads held, and for something else behind it."""
        self.threads.held = True
        connection = self.door.connect()
        connection.send(request_bytes("GET", self.path, {"Cookie": f"token={self.bob_token}"}) + GET)
        return connection


class WhoTests(DownloadCase):
    def test_those_who_may(self) -> None:
        """The sender and the addressee get it, on any device."""
        for token in (self.ann_token, self.bob_token, self.door.sign_in("10002", "ipad")):
            answer = self.get(token)
            self.assertEqual((answer.status, answer.body), (200, CONTENT))

    def test_strangers(self) -> None:
        """For anybody else it is not there, as a file that never was."""
        stranger, nothing = self.get(self.eve_token), self.get(path=f"/file/image/{'0' * 32}.png")
        self.assertEqual((stranger.status, stranger.response["r"]), (404, "Not Found"))
        self.assertEqual((stranger.body, stranger.headers), (nothing.body, nothing.headers))

    def test_without_token(self) -> None:
        """Without a good token, nobody learns whether it is there."""
        for path in (self.path, "/file/image/x.png"):
            for token in (None, "wrong"):
                answer = self.get(token, path)
                self.assertEqual((answer.status, answer.response["r"]), (401, "Token Error"))

    def test_another_kind(self) -> None:
        """A file is at its kind's path alone."""
        name = self.path.rpartition("/")[2]
        for path in (
            f"/file/video/{name}",
            f"/file/uploads/{name}",
            f"/file/{name}",
            f"{self.path}/x",
            "/file",
            "/file/",
        ):
            self.assertEqual(self.get(path=path).status, 404, path)

    def test_other_methods(self) -> None:
        """Files can be fetched, and nothing else."""
        for method in ("POST", "PUT", "DELETE"):
            answer = self.door.request(method, self.path, token=self.ann_token)
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD, OPTIONS"))


class PathTests(DownloadCase):
    """Names that lead elsewhere."""

    def names(self) -> list[str]:
        own = self.path.rpartition("/")[2]
        return [
            *("..", "../", "../../simple_im.db", f"../image/{own}", f"./{own}", f"{own}/", f"{own}/.", f"/{own}"),
            *("%2e%2e", "%2e%2e%2fsimple_im.db", f"%2e%2e%2fimage%2f{own}", f"..%2fimage%2f{own}", f"%2e%2f{own}"),
            *(f"%252e%252e%252fimage%252f{own}", f"..%255cimage%255c{own}", f"..\\image\\{own}", f"..%5cimage%5c{own}"),
            *(f"{own}%00", f"{own}%00.png", "%00", f"%2f{own}", "%2fetc%2fpasswd", "/etc/passwd", "//etc/passwd"),
            *(
                f"%2f{str(self.file).lstrip('/')}",
                f"{own.upper()}",
                f"{own}%20",
                "%ff%fe",
                "%c0%ae%c0%ae",
                "*",
                "%",
                "",
            ),
            *("a" * 10_000, "'%20OR%201=1--", f"{own}%0d%0aSet-Cookie:x=y"),
        ]

    def test_traversal(self) -> None:
        """They are not there, and no file is touched for them."""

        def open_file(path: Path) -> None:
            raise AssertionError(f"{path} was opened")

        self.patch(download_module, "_opened", open_file)
        for name in self.names():
            answer = self.get(path=f"/file/image/{name}")
            self.assertEqual(answer.status, 404, name)

    def test_symlink(self) -> None:
        """A link in a file's place is not followed."""
        self.file.unlink()
        self.file.symlink_to(Path(__file__).absolute())
        self.assertEqual(self.get().status, 404)

    def test_gone(self) -> None:
        """A file that was removed is not there."""
        self.file.unlink()
        self.assertEqual(self.get().status, 404)

    def test_unreadable(self) -> None:
        """One that can't be opened is a fault of the storage, not of the client."""

        def fail(_path: Path) -> None:
            raise PermissionError(13, "no")

        self.patch(download_module, "_opened", fail)
        answer = self.get()
        self.assertEqual((answer.status, answer.response["r"]), (503, "Storage unavailable"))


class HeaderTests(DownloadCase):
    def test_headers(self) -> None:
        """A browser is told to save it under its name, to believe its type, and to run nothing of it."""
        name = self.path.rpartition("/")[2]
        headers = self.get().headers
        self.assertEqual(
            headers,
            {
                "Content-Type": "image/png",
                "Content-Length": str(len(CONTENT)),
                "Accept-Ranges": "bytes",
                "Cache-Control": "private, max-age=604800, immutable",
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "sandbox; default-src 'none'",
                "Content-Disposition": f'attachment; filename="{name}"',
                "ETag": f'"{name}"',
                "Server": "simple_im",
                "Date": ANY,
            },
        )

    def test_not_packed(self) -> None:
        """It comes as it is, whatever packing the client takes."""
        answer = self.get(Accept_Encoding="gzip")
        self.assertEqual((answer.headers.get("Content-Encoding"), answer.body), (None, CONTENT))

    def test_head(self) -> None:
        """HEAD has the headers of the whole, whatever range it asks for, and no body."""
        whole = self.get().headers
        for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=999999999-"}):
            answer = self.door.request("HEAD", self.path, token=self.bob_token, headers=headers)
            self.assertEqual((answer.status, answer.headers), (200, {**whole, "Date": ANY}))
        self.assertEqual(self.door.open_files(), [])

    def test_unchanged(self) -> None:
        """Who has it already is told so, and is sent nothing."""
        tag = self.get().headers["ETag"]
        for header in (tag, f'"x" {tag}', "*"):
            answer = self.get(If_None_Match=header)
            self.assertEqual((answer.status, answer.body), (304, b""))
        self.assertEqual(self.get(If_None_Match='"x"').status, 200)
        self.assertEqual(self.get(self.eve_token, If_None_Match=tag).status, 404)


class RangeTests(DownloadCase):
    def check(self, header: str, start: int, end: int) -> None:
        """The answer to the range has these bytes, up to `end` without it."""
        answer = self.get(Range=header)
        self.assertEqual((answer.status, answer.body), (206, CONTENT[start:end]), header)
        self.assertEqual(answer.headers["Content-Range"], f"bytes {start}-{end - 1}/{len(CONTENT)}")
        self.assertEqual(answer.headers["Content-Length"], str(end - start))

    def test_one_range(self) -> None:
        """The first bytes, the last, all from one on, the last so many, some across chunks, and more than there are."""
        size = len(CONTENT)
        for header, start, end in (
            ("bytes=0-0", 0, 1),
            ("bytes=0-99", 0, 100),
            (f"bytes={size - 1}-{size - 1}", size - 1, size),
            (f"bytes={CHUNK - 1}-{2 * CHUNK}", CHUNK - 1, 2 * CHUNK + 1),
            ("bytes=100-", 100, size),
            (f"bytes={size - 1}-", size - 1, size),
            ("bytes=0-", 0, size),
            ("bytes=-1", size - 1, size),
            ("bytes=-100", size - 100, size),
            (f"bytes=-{size}", 0, size),
            (f"bytes=-{size + 1}", 0, size),
            (f"bytes=5-{10**17}", 5, size),
        ):
            self.check(header, start, end)

    def test_unsatisfiable(self) -> None:
        """A range with nothing of the file in it is refused with the file's size."""
        size = len(CONTENT)
        for header in (f"bytes={size}-", f"bytes={size}-{size + 5}", f"bytes={10**17}-", "bytes=-0"):
            answer = self.get(Range=header)
            self.assertEqual((answer.status, answer.body), (416, b""), header)
            self.assertEqual(answer.headers["Content-Range"], f"bytes */{size}")

    def test_whole_instead(self) -> None:
        """What is no range, or is several, is answered with the whole."""
        for header in (
            *("bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1", "bytes=--1", "bytes=+1-2", "bytes=1-2-3"),
            *("items=0-9", "0-9", "", "bytes=0-9, 20-29", "bytes=0-9,", "bytes=\u0660-\u0669", f"bytes={'9' * 5_000}-"),
        ):
            answer = self.door.request(
                "GET", self.path, token=self.bob_token, headers={"Range": header.encode().decode("latin-1")}
            )
            self.assertEqual((answer.status, answer.body), (200, CONTENT), header)
            self.assertNotIn("Content-Range", answer.headers)

    def test_if_range(self) -> None:
        """A range of another file than the client has begun with is answered with the whole."""
        tag = self.get().headers["ETag"]
        self.assertEqual(self.get(Range="bytes=0-9", If_Range=tag).status, 206)
        self.assertEqual(self.get(Range="bytes=0-9", If_Range='"other"').body, CONTENT)
        self.assertEqual(self.get(Range="bytes=0-9", If_Range="Sat, 01 Jan 2000 00:00:00 GMT").body, CONTENT)


class RequestedTests(SynchronousTestCase):
    def test_every_range(self) -> None:
        """Every range of a small file is what the same slice is."""
        content = b"abcde"
        for first in range(7):
            for last in range(first, 7):
                header = b"bytes=%d-%d" % (first, last)
                if first < len(content):
                    span = requested(header, len(content))
                    assert span is not None
                    self.assertEqual(content[span.start : span.end], content[first : last + 1])
                else:
                    self.assertRaises(Unsatisfiable, requested, header, len(content))

    def test_none(self) -> None:
        """Without the header it is the whole."""
        self.assertIsNone(requested(None, 5))
        self.assertEqual(requested(b" bytes=1-2 ", 5), Span(1, 3))


class RunningTests(DownloadCase):
    """Downloads under way."""

    def size(self, connection: Connection) -> int:
        """How much of the file was sent."""
        body = bytes(connection.transport.value()).partition(b"\r\n\r\n")[2]
        return len(body.partition(b"HTTP/1.1 ")[0])

    def test_in_threads(self) -> None:
        """A file is opened, read and closed in threads, a chunk at a time, each when the one before was written."""
        connection = self.begin()
        sizes = []
        while len(self.threads):
            self.assertEqual(len(self.threads), 1)
            sizes.append(self.size(connection))
            self.threads.step()
        self.assertEqual(sizes, [0, 0, CHUNK, 2 * CHUNK, 3 * CHUNK, len(CONTENT)])
        self.assertEqual([answer.status for answer in connection.answers()], [200, 200])
        self.assertEqual(self.door.open_files(), [])

    def test_cut(self) -> None:
        """Wherever the connection is lost, the file is closed and nothing goes wrong."""
        for steps in range(5):
            connection = self.begin()
            for _ in range(steps):
                self.threads.step()
            connection.lose()
            self.threads.settle()
            self.threads.held = False
            self.assertEqual(self.door.open_files(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_removed(self) -> None:
        """A file that is removed while it is sent is sent to its end."""
        connection = self.begin()
        self.threads.step()
        self.file.unlink()
        self.threads.settle()
        self.assertEqual([answer.body for answer in connection.answers()], [CONTENT, b"ok\n"])
        self.assertEqual(self.door.open_files(), [])

    def test_cut_short(self) -> None:
        """Where a file ends too early, so does the connection: nothing else is taken for the rest of it."""
        connection = self.begin()
        self.threads.step()
        os.truncate(self.file, CHUNK + 10)
        self.threads.settle()
        self.assertEqual(self.size(connection), CHUNK + 10)
        self.assertTrue(connection.is_closed)
        self.assertEqual(self.door.open_files(), [])

    def test_disk_fails(self) -> None:
        """Where it can't be read, the same."""

        def fail(*_args: object) -> None:
            raise OSError(5, "no")

        self.patch(download_module.os, "pread", fail)
        connection = self.begin()
        self.threads.settle()
        self.assertEqual(self.size(connection), 0)
        self.assertTrue(connection.is_closed)
        self.assertEqual(self.door.open_files(), [])

    def test_small(self) -> None:
        """A file of one chunk, and one of just two, end where they end."""
        for content in (PNG, of_size("image", 2 * CHUNK)):
            self.assertEqual(self.get(path=self.sent(content)).body, content)
