"""TLS records to frames: where one ends, how large it may be, and which dialect a connection speaks."""

from __future__ import annotations

import re
from typing import Final

from simple_im.limits import FRAME_SIZE, RECORD_SIZE
from simple_im.wire.compact import RecordScanner

_FIRST_HEADER: Final = re.compile(rb"(?:[ \t]*#[^\n]*\n|[ \t]+\n)*[ \t]*\[\[[^\]\n]*\]\][ \t]*([^\s#])?")
"""The first header, after comments, and the key on its line, if there is one."""
_DIALECT_KNOWN_BY: Final = 256
"""A first header that has not ended within so many bytes is no compact one."""


class Framer:
    """Cuts what a connection sends into frames (the bytes before the blank line, lines ended by LF).

    Blank lines between frames are passed over. At most `limits.FRAME_SIZE` bytes of a frame are kept; when
    one is larger, `overflow` holds what there is of it and all that follows is dropped.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._carriage_return = b""
        self._dialect_known = False
        self._scanner: RecordScanner | None = None
        self.overflow: bytes | None = None

    @property
    def compact(self) -> bool:
        """Whether the first entry had a key on its header's line."""
        return self._scanner is not None

    def feed(self, record: bytes) -> list[bytes]:
        """Take the plain text of one TLS record and give the frames that are complete with it."""
        if self.overflow is not None:
            return []
        data = self._line_feeds(record)
        if not self._dialect_known:
            self._learn_dialect(data)
        if self._scanner is None:
            return self._lines(data)
        return self._records(data, len(record) < RECORD_SIZE)

    def _line_feeds(self, record: bytes) -> bytes:
        """CRLF becomes LF; a CR that ends a record waits for the LF in the next."""
        if self._carriage_return:
            record, self._carriage_return = b"\r" + record, b""
        if b"\r" not in record:
            return record
        if record.endswith(b"\r"):
            record, self._carriage_return = record[:-1], b"\r"
        return record.replace(b"\r\n", b"\n")

    def _learn_dialect(self, data: bytes) -> None:
        start = (bytes(self._buffer) + data).lstrip(b"\n")[: _DIALECT_KNOWN_BY + 1]
        header = _FIRST_HEADER.match(start)
        if header and header[1]:
            self._scanner = RecordScanner()
            self._scanner.feed(bytes(self._buffer))
        self._dialect_known = bool(
            (header and (header[1] or header.end() < len(start))) or len(start) > _DIALECT_KNOWN_BY or b"\n\n" in start
        )

    def _lines(self, data: bytes) -> list[bytes]:
        """Frames that blank lines end."""
        if not self._buffer:
            *ended, rest = data.split(b"\n\n")
            self._buffer += rest
            self._searched = 0
        else:
            self._buffer += data
            ended = self._split_buffer()
        return self._checked(ended)

    def _split_buffer(self) -> list[bytes]:
        end = self._buffer.find(b"\n\n", max(self._searched - 1, 0))
        self._searched = len(self._buffer)
        if end < 0:
            return []
        first, later = bytes(self._buffer[:end]), bytes(self._buffer[end + 2 :])
        *ended, rest = later.split(b"\n\n")
        self._buffer[:] = rest
        self._searched = len(rest)
        return [first, *ended]

    def _records(self, data: bytes, may_end: bool) -> list[bytes]:
        """Frames that blank lines or the ends of records end."""
        before = len(self._buffer)
        frames = self._lines(data)
        if len(self._buffer) != before + len(data):
            self._scanner, before = RecordScanner(), 0
        scanner = self._scanner or RecordScanner()
        scanner.feed(bytes(self._buffer[before:]))
        if may_end and scanner.complete and self.overflow is None:
            frames += self._checked([bytes(self._buffer)])
            self._buffer.clear()
            self._scanner = RecordScanner()
        return frames

    def _checked(self, ended: list[bytes]) -> list[bytes]:
        """Drop blank lines before frames; stop at the first frame, ended or not, that is too large."""
        frames: list[bytes] = []
        for frame in ended:
            frame = frame.removeprefix(b"\n")
            if len(frame) + 2 > FRAME_SIZE:
                return self._overflowed(frame, frames)
            if frame:
                frames.append(frame)
        if len(self._buffer) > FRAME_SIZE:
            return self._overflowed(bytes(self._buffer), frames)
        return frames

    def _overflowed(self, frame: bytes, frames: list[bytes]) -> list[bytes]:
        self.overflow = frame[:FRAME_SIZE]
        self._buffer.clear()
        return frames
