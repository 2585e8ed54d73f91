"""`/file/KIND/NAME`: fetching media, whole or in part, by those who may have them."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from typing import BinaryIO, Final, NamedTuple

from twisted.internet.threads import deferToThread
from twisted.web.http import CACHED
from twisted.web.server import Request

from simple_im.media import KINDS, media_type
from simple_im.status import NotFound
from simple_im.store.files import Files
from simple_im.store.tokens import Tokens
from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Handler
from simple_im.web.sending import drained

_CHUNK: Final = 65_536
_RANGE: Final = re.compile(rb"bytes=([0-9]{0,18})-([0-9]{0,18})")
_KEEP: Final = "private, max-age=604800, immutable"


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
                file = await deferToThread(open, path, "rb")
            except FileNotFoundError:
                raise NotFound() from None
            return Answer(writer=Sending(file, name))

        return fetch


class Sending:
    """Writes a file, or a range of it, in chunks that are read in a thread when the one before is written."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._size = os.fstat(file.fileno()).st_size

    async def __call__(self, request: Request, gone: list[object]) -> None:
        """Answer `request`, unless its connection is `gone`."""
        try:
            if not gone:
                await self._answer(request, gone)
        finally:
            await deferToThread(self._file.close)

    async def _answer(self, request: Request, gone: list[object]) -> None:
        self._set_headers(request)
        if request.setETag(b'"%b"' % self._name.encode()) is CACHED:
            request.finish()
            return
        span = self._span(request)
        request.setHeader("Content-Length", str(span.end - span.start))
        if request.method != b"HEAD":
            await self._write(request, span, gone)
        if not gone:
            request.finish()

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
            span = requested(request.getHeader(b"range"), self._size)
        except Unsatisfiable:
            request.setResponseCode(416)
            request.setHeader("Content-Range", f"bytes */{self._size}")
            return Span(0, 0)
        if span is None:
            return Span(0, self._size)
        request.setResponseCode(206)
        request.setHeader("Content-Range", f"bytes {span.start}-{span.end - 1}/{self._size}")
        return span

    async def _write(self, request: Request, span: Span, gone: list[object]) -> None:
        at = span.start
        while at < span.end and not gone:
            data = await deferToThread(os.pread, self._file.fileno(), min(_CHUNK, span.end - at), at)
            if gone or not data:
                return
            request.write(data)
            at += len(data)
            await drained(request, gone)
