"""The numbers of inbox entries: they only grow, and none is given twice, whatever crashes.

`seq = epoch << 32 | n`. Entries are shown to devices before they are on disk, so a number that was given out may be
unknown to the database after a crash. The epoch is therefore raised, and on disk, before the first number of a run.
"""

from __future__ import annotations

from typing import Final

from simple_im.store.database import Cursor, Database

SPAN_BITS: Final = 32


def raise_epoch(cursor: Cursor) -> int:
    """Take the next epoch: above the stored one and above that of any stored entry."""
    (epoch,) = cursor.execute("SELECT epoch FROM node WHERE id = 1").one() or (0,)
    cursor.execute("SELECT max((SELECT coalesce(max(seq), 0) FROM run), (SELECT coalesce(max(sent), 0) FROM device))")
    epoch = max(epoch, cursor.one()[0] >> SPAN_BITS) + 1
    cursor.execute(
        "INSERT INTO node (id, epoch) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch", (epoch,)
    )
    return int(epoch)


class Sequence:
    """Gives out numbers of `epoch`, and of later ones, from memory."""

    def __init__(self, database: Database, epoch: int, span_bits: int = SPAN_BITS) -> None:
        self._database = database
        self._next = (epoch << SPAN_BITS) + 1
        self._end = (epoch << SPAN_BITS) + (1 << span_bits)
        self._early = 1 << (span_bits - 1)
        self._span = 1 << span_bits
        self._reserved: int | None = None
        self._reserving = False

    def take(self) -> int:
        """The next number; 0 where the database has not taken the next epoch yet."""
        if self._next == self._end and not self._begin_next_epoch():
            return 0
        taken = self._next
        self._next = taken + 1
        return taken

    def _begin_next_epoch(self) -> bool:
        if self._reserved is None:
            return False
        self._next = (self._reserved << SPAN_BITS) + 1
        self._end = (self._reserved << SPAN_BITS) + self._span
        self._reserved = None
        return True

    async def reserve(self) -> None:
        """Have the next epoch on disk when half of this one is used up; raises `StorageUnavailable`."""
        if self._end - self._next < self._early and self._reserved is None and not self._reserving:
            self._reserving = True
            try:
                self._reserved = await self._database.write(raise_epoch)
            finally:
                self._reserving = False
