"""`/file/KIND/NAME`: fetching media, whole or in part, by those who may have them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.web.http import CACHED
from twisted.web.server import Request

from simple_im.media import KINDS, media_type
from simple_im.status import NotFound, StorageUnavailable
from simple_im.store.files import Files
from simple_im.store.tokens import Tokens
from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Handler
from simple_im.web.sending import drained

_CHUNK: Final = 65_536
_RANGE: Final = re.compile(rb"bytes=([0-9]{0,18})-([0-9]{0,18})")
_NOT_THERE: Final = (errno.ENOENT, errno.ELOOP)
_KEEP: Final = "private, max-age=604800, immutable"

log = Logger()


class Span(NamedTuple):
    """The bytes from `start` up to `end`, which is not among them."""

    start: int
    end: int


class Unsatisfiable(ValueError):
    """A range that has nothing of the file in it."""


def requested(header: bytes | None, size: int) -> Span | None:
    """The one range that a `Range` header asks for; None where the whole file is the answer (RFC 9110, 14.2).

    Several ranges in one request are answered with the whole, which the RFC leaves to the server.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == (b"", b""):
        return None
    first, last = match.groups()
    if not first:
        span = Span(max(size - int(last), 0), size)
    else:
        span = Span(int(first), min(int(last) + 1, size) if last else size)
        if last and int(last) < int(first):
            return None
    if span.start >= span.end:
        raise Unsatisfiable()
    return span


class Downloads:
    """The handlers of `/file`."""

    def __init__(self, files: Files, tokens: Tokens) -> None:
        self._files = files
        self._tokens = tokens

    def routes(self) -> dict[str, Handler]:
        """Who answers where."""
        return {f"GET /file/{kind}/*": self.of(kind) for kind in KINDS}

    def of(self, kind: str) -> Callable[[Call, str], Awaitable[Answer]]:
        """The handler of `GET /file/KIND/NAME`."""

        async def fetch(call: Call, name: str) -> Answer:
            session = await self._tokens.check(call.token)
            path = await self._files.find(kind, name, session.user)
            try:
                file, size = await deferToThread(_opened, path)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    raise NotFound() from None
                log.error("a file could not be opened: {error}", error=error)
                raise StorageUnavailable() from None
            return Answer(writer=Sending(file, name, size))

        return fetch


def _opened(path: Path) -> tuple[BinaryIO, int]:
    """A file of ours and its size; never what a link in its place leads to."""
    file = open(path, "rb", buffering=0, opener=_no_link)  # noqa: SIM115 (closed by `Sending`)
    return file, os.fstat(file.fileno()).st_size


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


class Sending:
    """Writes a file, or a range of it, in chunks that are read in a thread when the one before is written."""

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self._file = file
        self._name = name
        self._size = size
        self._tag = b'"%b"' % name.encode()

    async def __call__(self, request: Request, gone: list[object]) -> None:
        """Answer `request`, unless its connection is `gone`."""
        try:
            if not gone:
                await self._answer(request, gone)
        finally:
            await deferToThread(self._file.close)

    async def _answer(self, request: Request, gone: list[object]) -> None:
        self._set_headers(request)
        if request.setETag(self._tag) is CACHED:
            request.finish()
            return
        span = self._span(request)
        request.setHeader("Content-Length", str(span.end - span.start))
        is_whole = request.method == b"HEAD" or await self._write(request, span, gone)
        if gone:
            return
        if is_whole:
            request.finish()
        else:
            channel: Any = request.channel
            channel.loseConnection()

    def _set_headers(self, request: Request) -> None:
        headers = {
            "Content-Type": media_type(self._name),
            "Accept-Ranges": "bytes",
            "Cache-Control": _KEEP,
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Disposition": f'attachment; filename="{self._name}"',
            "Server": "simple_im",
        }
        for name, value in headers.items():
            request.setHeader(name, value)

    def _span(self, request: Request) -> Span:
        """What to send; the status and `Content-Range` say so."""
        try:
            span = requested(self._range(request), self._size)
        except Unsatisfiable:
            request.setResponseCode(416)
            request.setHeader("Content-Range", f"bytes */{self._size}")
            return Span(0, 0)
        if span is None:
            return Span(0, self._size)
        request.setResponseCode(206)
        request.setHeader("Content-Range", f"bytes {span.start}-{span.end - 1}/{self._size}")
        return span

    def _range(self, request: Request) -> bytes | None:
        """The `Range` that counts: a GET's, and of this very file where it says `If-Range` (RFC 9110, 13.1.5)."""
        condition = request.getHeader(b"if-range")
        if request.method == b"HEAD" or condition not in (None, self._tag):
            return None
        return request.getHeader(b"range")

    async def _write(self, request: Request, span: Span, gone: list[object]) -> bool:
        """Write it; whether the file had all of it."""
        at = span.start
        while at < span.end and not gone:
            data = await self._read(min(_CHUNK, span.end - at), at)
            if gone or not data:
                return False
            request.write(data)
            at += len(data)
            await drained(request, gone)
        return True

    async def _read(self, size: int, at: int) -> bytes:
        """Some bytes of the file, or none where it has no more or the disk fails."""
        try:
            return await deferToThread(os.pread, self._file.fileno(), size, at)
        except OSError as error:
            log.error("a file could not be read: {error}", error=error)
            return b""
