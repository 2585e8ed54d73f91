"""A multipart body on its way to disk: parsed as it comes, written in threads, never whole in memory.

While more waits for the disk than `limits.UPLOAD_BUFFER`, the connection is not read from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from simple_im.limits import BODY_SIZE, UPLOAD_BUFFER, UPLOAD_FIELD, UPLOAD_FIELDS
from simple_im.media import HEAD_SIZE
from simple_im.status import BadRequest, Refused, StorageUnavailable, TokenError, TooLarge
from simple_im.store.files import Files
from simple_im.store.tokens import Tokens
from simple_im.store.trouble import cure_of_upload

log = Logger()
_MULTIPART: Final = "multipart/form-data"


def boundary(content_type: str | None) -> str | None:
    """The boundary of a multipart form, "" where it has none, or None where the body is something else."""
    if content_type is None:
        return None
    kind, options = parse_options_header(content_type)
    return options.get("boundary", "") if kind == _MULTIPART else None


class Flow(Protocol):
    """A connection, which can be left unread for a while."""

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


class DraftFile:
    """A file being written in threads, one step at a time; `flow` is not read from while much waits for the disk."""

    def __init__(self, path: Path, flow: Flow) -> None:
        self.path = path
        self.size = 0
        self.head = b""
        self.failed = False
        """Whether the disk has not taken it."""
        self._flow = flow
        self._is_paused = False
        self._file: BinaryIO | None = None
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._turn = DeferredLock()

    def write(self, data: bytes) -> None:
        """Have `data` written after what came before; not to be called once that has `failed`."""
        if len(self.head) < HEAD_SIZE:
            self.head = (self.head + data)[:HEAD_SIZE]
        self.size += len(data)
        self._waiting.append(data)
        self._bytes += len(data)
        self._regulate()
        if len(self._waiting) == 1:
            self._turn.run(self._write_waiting)

    def _write_waiting(self) -> Deferred[None]:
        data = self._take_waiting()
        if not data:
            return succeed(None)
        writing = deferToThread(self._append, data)
        return writing.addCallbacks(self._written, self._failed, callbackArgs=(len(data),))

    def _take_waiting(self) -> bytes:
        waiting, self._waiting = self._waiting, []
        return b"".join(waiting)

    def _append(self, data: bytes) -> None:
        """A disk that is nearly full takes a part, and says so only when it is asked to take the rest."""
        if self._file is None:
            self._file = open(self.path, "xb", buffering=0, opener=_private)  # noqa: SIM115 (closed in `_sync`)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _written(self, _result: object, count: int) -> None:
        self._bytes -= count
        self._regulate()

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        text = "an upload could not be written to {path}: {error}: {cure}"
        log.error(text, path=self.path.parent, error=error, cure=cure_of_upload(error))
        self.failed = True
        self._waiting, self._bytes = [], 0
        self._regulate()

    def _regulate(self) -> None:
        """Others may have the connection read from again meanwhile, so it is told each time."""
        if self._bytes > UPLOAD_BUFFER:
            self._is_paused = True
            self._flow.pauseProducing()
        elif self._is_paused:
            self._is_paused = False
            self._flow.resumeProducing()

    async def finish(self) -> None:
        """Have all of it on disk; raises `StorageUnavailable`."""
        await self._turn.run(self._sync_written)
        if self.failed:
            raise StorageUnavailable()

    def _sync_written(self) -> Deferred[None]:
        return deferToThread(self._sync).addErrback(self._failed)

    def _sync(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._close()

    async def discard(self) -> None:
        """Leave nothing of it, unless it was moved to its place."""
        self._bytes -= len(self._take_waiting())
        self._regulate()
        await self._turn.run(deferToThread, self._remove)

    def _remove(self) -> None:
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Upload:
    """One multipart form: small fields, and one file in a field named for its kind."""

    def __init__(self, boundary: str, draft: Path, sizes: Mapping[str, int], flow: Flow) -> None:
        self.fields: dict[bytes, list[bytes]] = {}
        self.kind: str | None = None
        self.file = DraftFile(draft, flow)
        self.error: Refused | None = None
        self._sizes = sizes
        self._left = max(sizes.values()) + BODY_SIZE
        self._field: bytes | None = None
        self._parser: PushMultipartParser | None = None
        try:
            self._parser = PushMultipartParser(boundary, max_segment_count=UPLOAD_FIELDS, header_charset="utf8")
        except MultipartError as error:
            self.refuse(_unreadable(error))

    def feed(self, data: bytes) -> None:
        """Take the next part of the body; after an error it is only passed over."""
        if self._parser is None:
            return
        try:
            self._allow(len(data))
            for event in self._parser.parse(data):
                self._take(event)
        except MultipartError as error:
            self.refuse(_unreadable(error))
        except Refused as refused:
            self.refuse(refused)

    def _allow(self, size: int) -> None:
        """What is around the file has an end too; and what the disk does not take need not be sent."""
        self._left -= size
        if self._left < 0:
            raise TooLarge()
        if self.file.failed:
            raise StorageUnavailable()

    def refuse(self, refused: Refused) -> None:
        """Take no more of it: this is what it will be answered with."""
        self.error = refused
        self._parser = None

    def _take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event.name)
        elif event is None:
            self._field = None
        elif self._field is not None:
            self._add_to_field(bytes(event))
        else:
            self._add_to_file(bytes(event))

    def _begin(self, name: str) -> None:
        self._field = None
        if name not in self._sizes:
            self._field = name.encode()
            self.fields[self._field] = [b""]
        elif self.kind is not None:
            raise BadRequest("one file a request")
        else:
            self.kind = name

    def _add_to_field(self, data: bytes) -> None:
        assert self._field is not None
        value = self.fields[self._field][0] + data
        if len(value) > UPLOAD_FIELD:
            raise TooLarge()
        self.fields[self._field] = [value]

    def _add_to_file(self, data: bytes) -> None:
        assert self.kind is not None
        if self.file.size + len(data) > self._sizes[self.kind]:
            raise TooLarge()
        self.file.write(data)

    async def finish(self) -> None:
        """The body has ended: all of it is on disk. Raises what was wrong with it."""
        self._end()
        if self.error is not None:
            raise self.error
        await self.file.finish()

    def _end(self) -> None:
        if self._parser is not None:
            try:
                self._parser.close()
            except MultipartError as error:
                self.refuse(_unreadable(error))

    async def discard(self) -> None:
        """Leave nothing of it on disk, unless the file was moved to its place."""
        await self.file.discard()


def _unreadable(error: MultipartError) -> BadRequest:
    return BadRequest(f"the form can't be read: {error.args[0]}")


class Uploads:
    """Begins uploads, for those who have a token."""

    def __init__(self, files: Files, tokens: Tokens, sizes: Mapping[str, int]) -> None:
        self._files = files
        self._tokens = tokens
        self._sizes = sizes

    def begin(self, content_type: str | None, token: str | None, flow: Flow) -> Upload | None:
        """An upload for a request with this content type, or None where it is not multipart.

        The body is taken while the token is being checked, and dropped where it is not good.
        """
        found = boundary(content_type)
        if found is None:
            return None
        upload = Upload(found, self._files.draft(), self._sizes, flow)
        if token is None:
            upload.refuse(TokenError())
        else:
            Deferred.fromCoroutine(self._check(upload, token)).addErrback(_check_failed)
        return upload

    async def _check(self, upload: Upload, token: str) -> None:
        try:
            await self._tokens.check(token)
        except Refused as refused:
            upload.refuse(refused)


def _check_failed(failure: Failure) -> None:
    log.failure("the token of an upload could not be checked", failure)
