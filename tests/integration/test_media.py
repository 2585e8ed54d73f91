"""Media through a real node: streamed both ways, at a bounded cost, and safe on a disk that is full."""

from __future__ import annotations

import hashlib
import http.client
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.case import NodeCase
from tests.integration.node import User, until
from tests.web.media_door import MP4, content_type, form

MIB = 1_048_576
PIECE = 65_536
LARGEST = 100 * MIB
GROWTH = 10 * MIB


def video(size: int) -> Iterator[bytes]:
    """A video of a size, piece by piece, without two that are the same."""
    yield MP4
    left = size - len(MP4)
    for number in range(left // PIECE + 1):
        piece = hashlib.shake_128(b"%d" % number).digest(min(PIECE, left - number * PIECE))
        if piece:
            yield piece


def digest(pieces: Iterator[bytes]) -> str:
    """What the pieces are together."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


class MediaCase(NodeCase):
    def setUp(self) -> None:
        self.node = self.own_node()
        self.ann, self.bob = self.node.new_user(), self.node.new_user()
        self.token = self.lasting(self.ann)
        self.bob_token = self.lasting(self.bob)
        self.addCleanup(self.check_log)

    def lasting(self, user: User) -> str:
        """A token that an IM login has made last."""
        self.connect(user, "phone").close()
        return user.tokens["phone"]

    def check_log(self) -> None:
        """Nothing has gone wrong that was not foreseen."""
        self.assertNotIn("Traceback", self.node.whole_log)

    def open(self, receive_buffer: int | None = None) -> http.client.HTTPSConnection:
        """A connection to the HTTPS door."""
        context = ssl.create_default_context(cafile=str(self.node.ca))
        connection = http.client.HTTPSConnection("localhost", self.node.http_port, timeout=30, context=context)
        if receive_buffer is not None:
            connection._create_connection = _narrow(receive_buffer)  # type: ignore[attr-defined]
        self.addCleanup(connection.close)
        return connection

    def upload(
        self, size: int, connection: http.client.HTTPSConnection | None = None, *, chunked: bool = False
    ) -> http.client.HTTPResponse:
        """Send Bob a video of a size; the answer, unread."""
        connection = connection or self.open()
        before, after = self.around()
        headers = {**content_type(), "Cookie": f"token={self.token}"}
        if not chunked:
            headers["Content-Length"] = str(len(before) + size + len(after))
        body = (piece for pieces in ((before,), video(size), (after,)) for piece in pieces)
        connection.request("POST", "/m/video", body, headers, encode_chunked=chunked)
        return connection.getresponse()

    def around(self) -> tuple[bytes, bytes]:
        """What stands before and after the file in a form."""
        before, _, after = form(("to", self.bob.id), ("video", b"FILE")).partition(b"FILE")
        return before, after

    def fetch(self, path: str, connection: http.client.HTTPSConnection) -> http.client.HTTPResponse:
        """Bob asks for a file."""
        connection.request("GET", path, headers={"Cookie": f"token={self.bob_token}"})
        return connection.getresponse()

    def wait_for_no_file(self) -> None:
        """What is left is removed right after the answer."""
        until(lambda: not self.files() or None, "a draft stays")

    def files(self) -> list[Path]:
        """The media on the node's disk, drafts and all."""
        return [path for path in (self.node.directory / "priv" / "files").rglob("*") if path.is_file()]


def _narrow(size: int) -> Any:
    """`socket.create_connection` with a small buffer."""

    def connect(address: tuple[str, int], *_args: Any, **_options: Any) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        sock.settimeout(30)
        sock.connect(address)
        return sock

    return connect


def path_of(answer: http.client.HTTPResponse) -> str:
    """Where the file of an answer is."""
    return "/" + answer.read().decode().split('c = "')[1].split('"')[0]


class LargeTests(MediaCase):
    """100 MiB, which the node never has in memory."""

    def test_there_and_back(self) -> None:
        """The largest video comes and goes, byte for byte, for less than 10 MB of the node's memory."""
        self.upload(3 * MIB).read()
        before, expected = self.node.rss, digest(video(LARGEST))
        answer = self.upload(LARGEST)
        self.assertEqual(answer.status, 200)
        self.assertLess(self.node.rss - before, GROWTH)
        fetched = self.fetch(path_of(answer), self.open())
        pieces = iter(lambda: fetched.read(PIECE), b"")
        self.assertEqual(digest(pieces), expected)
        self.assertLess(self.node.rss - before, GROWTH)

    def test_slow_reader(self) -> None:
        """A reader that hardly reads costs no more, and others are served meanwhile."""
        path = path_of(self.upload(LARGEST))
        before = self.node.rss
        connection = self.open(4_096)
        fetched = self.fetch(path, connection)
        for _ in range(20):
            self.assertEqual(len(fetched.read(1_000)), 1_000)
            self.assertEqual(self.node.https().get("/health").status, 200)
            self.assertLess(self.node.rss - before, GROWTH)
        self.assertTrue(self.is_open(path))
        fetched.close()
        connection.close()
        until(lambda: not self.is_open(path) or None, "the file stays open")

    def is_open(self, path: str) -> bool:
        """Whether the node has the file open."""
        descriptors = Path(f"/proc/{self.node.process.pid}/fd")
        return any(link.resolve().name == Path(path).name for link in descriptors.iterdir())

    def test_one_byte_more(self) -> None:
        """One byte over the limit is refused, with a length and in chunks, and nothing of it stays."""
        for chunked in (False, True):
            answer = self.upload(LARGEST + 1, chunked=chunked)
            self.assertEqual(answer.status, 413)
            self.assertIn('r = "Too Large"', answer.read().decode())
            self.wait_for_no_file()

    def test_refused_early(self) -> None:
        """A client that asks for too much is answered before it has sent all, and the connection ends."""
        connection = self.open()
        before, _ = self.around()
        connection.putrequest("POST", "/m/audio")
        for name, value in {**content_type(), "Cookie": f"token={self.token}", "Content-Length": 10**12}.items():
            connection.putheader(name, value)
        connection.endheaders(before.replace(b'name="video"', b'name="audio"') + bytes(3 * MIB))
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Connection")), (413, "close"))
        answer.read()
        self.wait_for_no_file()


class BrokenTests(MediaCase):
    def begin(self) -> http.client.HTTPSConnection:
        """An upload with some of its file on disk."""
        connection = self.open()
        before, _ = self.around()
        connection.putrequest("POST", "/m/video")
        for name, value in {**content_type(), "Cookie": f"token={self.token}", "Content-Length": 10**8}.items():
            connection.putheader(name, value)
        connection.endheaders(before + MP4 + bytes(2 * MIB))
        until(lambda: any(path.stat().st_size > MIB for path in self.files()) or None, "nothing was written")
        return connection

    def test_cut(self) -> None:
        """A connection that is cut leaves no draft."""
        self.begin().close()
        self.wait_for_no_file()

    def test_killed(self) -> None:
        """A crash leaves a draft, and the next start removes it."""
        self.begin()
        self.node.kill()
        self.assertEqual(len(self.files()), 1)
        self.node.start()
        self.assertEqual(self.files(), [])

    def test_stopped(self) -> None:
        """A node that is stopped in the middle of an upload stops."""
        self.begin()
        self.assertEqual(self.node.stop(), 0)

    def test_answered_is_on_disk(self) -> None:
        """What was answered is there after a crash, file and message."""
        path = path_of(self.upload(MIB))
        self.node.kill()
        self.node.start()
        self.assertEqual(digest(iter([self.fetch(path, self.open()).read()])), digest(video(MIB)))
        (message,) = self.node.https().get("/offline", self.bob_token).document["m"]
        self.assertEqual("/" + message["c"], path)


class FullDiskTests(MediaCase):
    """A disk that takes the first part of a write, and then no more."""

    def limit(self, size: int) -> None:
        """No file of the node grows over this size."""
        resource.prlimit(self.node.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def test_full(self) -> None:
        """The upload is refused, whatever its size, with nothing left; when there is room again, it is taken."""
        for size in (2 * MIB + 1, 20 * MIB):
            self.limit(2 * MIB)
            answer = self.upload(size)
            self.assertEqual(answer.status, 503)
            self.assertIn('r = "Storage unavailable"', answer.read().decode())
            self.wait_for_no_file()
            self.assertEqual(self.upload(2 * MIB).status, 200)
            self.limit(resource.RLIM_INFINITY)
            self.assertEqual(self.upload(size).status, 200)
            for path in self.files():
                path.unlink()
