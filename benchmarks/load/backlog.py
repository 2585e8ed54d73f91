"""Entries put into a node's database before its start, by the store's own functions: some wait, some were read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.filling import Device
from simple_im.state import DATABASE
from simple_im.store import inbox_sql
from simple_im.store.batch import DeviceRow
from simple_im.store.database import Cursor, prepare
from simple_im.store.entries import Entry
from simple_im.store.sequence import SPAN_BITS, raise_epoch

AUTHOR: Final = "desk"
"""The device that has sent it all."""
_SLICE: Final = 200_000
"""Entries a transaction."""
_FILLER: Final = b"x" * 16
_FRAME: Final = b'[[m]]\nid = "%b"\nt = "text"\nc = "%b%b"\nto = %d\nd = "%b"\nfrom = %d\nts = '


class Waiting:
    """Entries 0 to `count` - 1 that `author` has sent to `user` while nobody was there; see `seats.Source`."""

    def __init__(self, author: int, user: int, count: int) -> None:
        self.author = author
        self.user = user
        self.count = count

    def expected(self, number: int) -> bytes:
        """How the frame begins that its reader gets, up to the value of `ts`."""
        return _FRAME % (self.name(number), self.name(number), _FILLER, self.user, AUTHOR.encode(), self.author)

    def name(self, number: int) -> bytes:
        """The `id`."""
        return b"%06x%010x" % (self.user, number)

    def number(self, name: bytes) -> int | None:
        """Which entry has this `id`."""
        try:
            number = int(name[6:], 16)
        except ValueError:
            return None
        return number if name == self.name(number) else None

    def is_sent(self, number: int) -> bool:
        """Whether there is one with this number."""
        return 0 <= number < self.count

    def arrived(self, number: int, now: int) -> None:
        """A reader counts by itself."""


def store(state: Path, waiting: Sequence[Waiting], read_by: Sequence[Device] = ()) -> None:
    """Store these entries; the devices of `read_by` have acknowledged all of their users' entries.

    No node may run on `state`. One epoch is used up.
    """
    path = state / DATABASE
    seq = prepare(path, raise_epoch) << SPAN_BITS
    todo = [(each, number) for number in range(max(each.count for each in waiting)) for each in waiting]
    todo = [(each, number) for each, number in todo if each.is_sent(number)]
    for start in range(0, len(todo), _SLICE):
        prepare(path, partial(_write, todo=todo[start : start + _SLICE], seq=seq + start))
    end = seq + len(todo)
    rows = [DeviceRow(end, end, 0, 0, "[]", False, device.user, device.name) for device in read_by]
    prepare(path, partial(_acknowledge, rows=rows))


def _write(cursor: Cursor, todo: Sequence[tuple[Waiting, int]], seq: int) -> None:
    now = int(time.time())
    entries = [_entry(waiting, number, now, place) for place, (waiting, number) in enumerate(todo, seq + 1)]
    inbox_sql.write_batch(cursor, entries, [], [], [])


def _entry(waiting: Waiting, number: int, now: int, seq: int) -> Entry:
    wire = b"%b%d\nseq = %d\n\n" % (waiting.expected(number), now, seq)
    return Entry(seq, now, waiting.author, AUTHOR, waiting.name(number), (waiting.user,), wire)


def _acknowledge(cursor: Cursor, rows: list[DeviceRow]) -> None:
    inbox_sql.write_batch(cursor, [], [], [], rows)
