"""The HTTPS door with media: small true files of every format, multipart forms, and threads taken step by step."""

from __future__ import annotations

import os
import struct
import zlib
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from simple_im.store import files as files_module
from simple_im.store.accounts import Accounts
from simple_im.store.files import Files, prepare_folders
from simple_im.web import download as download_module
from simple_im.web import upload as upload_module
from simple_im.web.download import Downloads
from simple_im.web.group import GroupPages
from simple_im.web.media import MediaPages
from simple_im.web.offline import Offline
from simple_im.web.root import make_root
from simple_im.web.server import Login
from simple_im.web.site import QuietSite
from simple_im.web.upload import Uploads
from simple_im.web.user import Users
from tests.web.door import Answer, Connection, HttpsDoor, request_bytes

BOUNDARY = "------------------------d74496d66958873e"
SIZES = {"audio": 400_000, "video": 2_000_000, "image": 700_000}
"""The largest file of each kind in these tests."""


def _chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _box(name: bytes, *content: bytes) -> bytes:
    """A box of an MP4."""
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + name + data


def _ftyp(brand: bytes) -> bytes:
    return _box(b"ftyp", brand, bytes(4), brand, b"isom") + _box(b"moov", _box(b"mvhd", bytes(100)))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\0"))
    + _chunk(b"IEND", b"")
)
GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xdb\x00\x43\x00"
    + b"\x10" * 64
    + b"\xff\xd9"
)
WEBP = b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
AMR = b"#!AMR\n" + b"\x3c" + bytes(31)
AMR_WB = b"#!AMR-WB\n" + b"\x44" + bytes(60)
AAC = b"\xff\xf1\x50\x80\x02\x1f\xfc" + b"\xde\x04\x00\x4c\x61\x76\x63\x35\x38"
OPUS = (
    b"OggS\x00\x02" + bytes(8) + b"\x4e\x1b\x00\x00" + bytes(4) + b"\x5c\x1e\x47\x0e" + b"\x01\x13"
    b"OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00"
)
MP3 = b"\xff\xfb\x90\x64" + bytes(413)
MP3_ID3 = b"ID3\x04\x00\x00\x00\x00\x00\x0aTSSE\x00\x00\x00\x00\x00\x00" + MP3
MP4, M4A, THREE_GP, QUICKTIME = _ftyp(b"isom"), _ftyp(b"M4A "), _ftyp(b"3gp4"), _ftyp(b"qt  ")
WEBM = (
    b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm"
    b"\x42\x87\x81\x04\x42\x85\x81\x02\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
)
SAMPLES = [
    ("audio", "amr", "audio/amr", AMR),
    ("audio", "amr", "audio/amr", AMR_WB),
    ("audio", "m4a", "audio/mp4", M4A),
    ("audio", "aac", "audio/aac", AAC),
    ("audio", "ogg", "audio/ogg", OPUS),
    ("audio", "mp3", "audio/mpeg", MP3),
    ("audio", "mp3", "audio/mpeg", MP3_ID3),
    ("video", "mp4", "video/mp4", MP4),
    ("video", "mp4", "video/mp4", THREE_GP),
    ("video", "mp4", "video/mp4", QUICKTIME),
    ("video", "webm", "video/webm", WEBM),
    ("image", "png", "image/png", PNG),
    ("image", "jpg", "image/jpeg", JPEG),
    ("image", "gif", "image/gif", GIF),
    ("image", "webp", "image/webp", WEBP),
]
"""Kind, ending, media type and content."""
OF_KIND = {"audio": AMR, "video": MP4, "image": PNG}

Part = tuple[str, object]
"""A field's name, and its value, or a file's content in bytes."""


def part(name: str, value: object, file_name: str = "") -> bytes:
    """One part of a form; what is given in bytes is a file."""
    file = f'; filename="{file_name or "x.bin"}"\r\nContent-Type: application/octet-stream'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    data = value if isinstance(value, bytes) else str(value).encode()
    return f"{head}{file if isinstance(value, bytes) else ''}\r\n\r\n".encode() + data + b"\r\n"


def form(*parts: Part) -> bytes:
    """A whole form."""
    return b"".join(part(*each) for each in parts) + f"--{BOUNDARY}--\r\n".encode()


def of_size(kind: str, size: int) -> bytes:
    """A file of a kind that is `size` bytes."""
    return OF_KIND[kind].ljust(size, b"\xa5")


class Threads:
    """`deferToThread` that does its work at once, or, while `held`, when it is told to."""

    def __init__(self) -> None:
        self.held = False
        self._waiting: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        work = partial(function, *args, **kwargs)
        if not self.held:
            return maybeDeferred(work)
        waiting: Deferred[Any] = Deferred()
        self._waiting.append((work, waiting))
        return waiting

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def step(self) -> None:
        """Do what was asked first."""
        work, waiting = self._waiting.popleft()
        maybeDeferred(work).chainDeferred(waiting)

    def settle(self) -> None:
        """Do all there is."""
        while self._waiting:
            self.step()


class MediaDoor(HttpsDoor):
    """The door with its media below `directory`."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        prepare_folders(directory)
        self.directory_of_files = directory
        self.files = Files(self.database, directory)
        accounts = Accounts(self.database)
        now = self.clock.seconds
        root = make_root(
            Users(accounts, self.passwords, self.tokens, self.sessions, now),
            Login(accounts, self.passwords, self.tokens, self.inbox, self.sessions, self.directory),
            Offline(self.tokens, self.inbox, self.sessions),
            GroupPages(self.groups, self.outgoing, self.tokens, now),
            MediaPages(self.files, self.inbox, accounts, self.groups, self.tokens, now),
            Downloads(self.files, self.tokens),
        )
        self.site = QuietSite(root, self.clock, Uploads(self.files, self.tokens, SIZES))

    def connect(self) -> Connection:
        """A connection whose transport takes a late word about reading, as TCP's does."""
        connection = super().connect()
        connection.transport._lenient = True
        return connection

    def rows_now(self, sql: str) -> list[Any]:
        """What is in the database at this moment, past all that waits for it."""
        return self.database._connection.execute(sql).fetchall()

    def on_disk(self) -> list[str]:
        """Every file there is, as `KIND/NAME`."""
        directory = self.directory_of_files
        return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())

    def open_files(self) -> list[str]:
        """The media that this process has open."""
        links = (os.readlink(entry) for entry in _descriptors())
        return [link for link in links if link.startswith(str(self.directory_of_files))]

    def send_form(self, path: str, body: bytes, token: str | None, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a multipart form."""
        given = {**content_type(), **(headers or {})}
        return self.request("POST", path, body, token, given)

    def send_file(self, kind: str, content: bytes, token: str, to: object, path: str = "") -> Answer:
        """The answer to a file for a user."""
        return self.send_form(path or f"/m/{kind}", form((kind, content), ("to", to)), token)

    def person(self, phone: str, device: str = "android") -> tuple[int, str]:
        """A new user, signed in: id and token."""
        return self.create(phone), self.sign_in(phone, device)


def content_type(boundary: str = BOUNDARY) -> dict[str, str]:
    """The header of a multipart form."""
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def _descriptors() -> Iterable[Path]:
    for name in os.listdir("/proc/self/fd"):
        path = Path("/proc/self/fd", name)
        if path.is_symlink():
            yield path


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    """A body in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return body + (b"0\r\n\r\n" if end else b"")


def head(path: str, token: str | None, **more: str) -> bytes:
    """The head of an upload's request; `_` in the names of headers stands for `-`."""
    cookie = {"Cookie": f"token={token}"} if token else {}
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    return request_bytes("POST", path, {**cookie, **content_type(), **headers})


class MediaCase(SynchronousTestCase):
    """Ann and Bob, signed in, and a stranger; work in threads is done at once until `threads.held`."""

    def setUp(self) -> None:
        self.threads = Threads()
        for module in (upload_module, download_module, files_module):
            self.patch(module, "deferToThread", self.threads)
        self.door = MediaDoor(Path(self.mktemp()).absolute())
        self.ann, self.ann_token = self.door.person("10001")
        self.bob, self.bob_token = self.door.person("10002")
        self.eve, self.eve_token = self.door.person("10003")

    def refused(self, answer: Answer) -> tuple[int, str]:
        """Why an upload was refused, which has left nothing behind."""
        self.assert_nothing_left()
        return answer.status, answer.response["r"]

    def assert_nothing_left(self) -> None:
        self.assertEqual((self.door.on_disk(), self.door.open_files()), ([], []))

    def sent(self, content: bytes = PNG, kind: str = "image") -> str:
        """The path of a file that Ann has sent to Bob."""
        return "/" + str(self.door.send_file(kind, content, self.ann_token, self.bob).response["c"])
