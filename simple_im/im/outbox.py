"""What a connection is sent, gathered into few writes: one a connection for what one event of the reactor brought."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from simple_im.limits import RECORD_SIZE
from simple_im.wire.frames import for_compact

Write = Callable[[bytes], object]

log = Logger()


class Turn:
    """The outboxes with something to write, until the end of the event that filled them."""

    def __init__(self) -> None:
        self._waiting: list[Outbox] = []

    def add(self, outbox: Outbox) -> None:
        """Write this one at the end."""
        self._waiting.append(outbox)

    def end(self) -> None:
        """Write everything; each outbox once."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for outbox in waiting:
                _flush(outbox)


def _flush(outbox: Outbox) -> None:
    """One that fails must not keep the others from being written."""
    try:
        outbox.flush()
    except Exception:
        log.failure("a connection could not be written to")
        outbox.give_up()


class Outbox:
    """The way out of one connection. To a compact client each write is one TLS record of whole entries.

    `give_up` is called to end a connection that could not be written to.
    """

    __slots__ = ("_entries", "_turn", "_write", "compact", "give_up")

    def __init__(self, write: Write, turn: Turn, give_up: Callable[[], None]) -> None:
        self.give_up = give_up
        self._write = write
        self._turn = turn
        self._entries: list[bytes] = []
        self.compact = False

    def send(self, entry: bytes) -> None:
        """Write one entry, with its blank line, at the end of this turn."""
        if not self._entries:
            self._turn.add(self)
        self._entries.append(entry)

    def flush(self) -> None:
        """Write now what waits."""
        entries, self._entries = self._entries, []
        if self.compact:
            for record in _records([for_compact(entry) for entry in entries]):
                self._write(record)
        elif entries:
            self._write(b"".join(entries))


_EMPTY: Final = b""


def _records(entries: list[bytes]) -> list[bytes]:
    """Whole entries, as many to a TLS record as fit; a larger entry begins a record of its own."""
    records = [_EMPTY]
    for entry in entries:
        if records[-1] and len(records[-1]) + len(entry) > RECORD_SIZE:
            records.append(entry)
        else:
            records[-1] += entry
    return [record for record in records if record]
