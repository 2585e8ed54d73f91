"""Things that a server can be made to do wrong, to prove that the checker would see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from simple_im.im.device import Device
from simple_im.store import committer, inbox_sql, sequence
from simple_im.store.batch import Batch
from simple_im.store.database import Cursor
from simple_im.store.entries import Entry, Receipt


def acknowledge_before_commit() -> None:
    """The sender is told "stored" when the message is in memory."""
    add = Batch.add

    def add_and_tell(self: Batch, entries: list[Entry], receipt: Receipt, outgoing: int | None = None) -> None:
        add(self, entries, receipt, outgoing)
        del self.receipts[receipt]
        receipt.stored([entry.id for entry in entries])

    Batch.add = add_and_tell  # type: ignore[method-assign]


def reuse_seq() -> None:
    """The epoch is not raised: numbers go on behind the last that is stored, not the last that was shown."""

    def last_stored(cursor: Cursor) -> int:
        (seq,) = cursor.execute("SELECT coalesce(max(seq), 1 << 32) FROM run").one()
        return int(seq)

    def start_behind(self: sequence.Sequence, database: Any, last: int, span_bits: int = 32) -> None:
        start(self, database, last >> 32, span_bits)
        self._next = last + 1

    start = sequence.Sequence.__init__
    sequence.Sequence.__init__ = start_behind  # type: ignore[method-assign, assignment]
    sequence.raise_epoch.__code__ = last_stored.__code__


def forget_cursor() -> None:
    """Where devices are is not written down."""
    write = inbox_sql.write_batch

    def write_entries(cursor: Cursor, entries: Any, outgoing: Any, acked: Any, devices: Any, indexes: bool) -> None:
        write(cursor, entries, outgoing, acked, [], indexes)

    inbox_sql.write_batch = write_entries  # type: ignore[assignment]


def clean_too_much() -> None:
    """What one device has acknowledged goes from the inbox that it shares with the others."""
    write = inbox_sql.write_batch

    def write_and_clean(cursor: Cursor, entries: Any, outgoing: Any, acked: Any, devices: Any, indexes: bool) -> None:
        write(cursor, entries, outgoing, acked, devices, indexes)
        for row in devices:
            cursor.execute("DELETE FROM inbox WHERE user = ? AND seq <= ?", (row.user, row.cursor))

    inbox_sql.write_batch = write_and_clean  # type: ignore[assignment]


def forget_single() -> None:
    """What a device has acknowledged out of order is not written down."""
    write = inbox_sql.write_batch

    def write_the_rest(cursor: Cursor, entries: Any, outgoing: Any, acked: Any, devices: Any, indexes: bool) -> None:
        write(cursor, entries, outgoing, [], devices, indexes)

    inbox_sql.write_batch = write_the_rest  # type: ignore[assignment]


def forget_late() -> None:
    """Acknowledgements are stored with messages only."""
    committer.LAZY_COMMIT = 86_400.0


def take_too_much() -> None:
    """An acknowledgement by id takes all that came before it as well."""

    def take(self: Device, seq: int) -> None:
        self.acknowledge_seq(seq)

    Device._take = take  # type: ignore[method-assign]


BY_NAME: Final[dict[str, Callable[[], None]]] = {
    "ack-before-commit": acknowledge_before_commit,
    "reuse-seq": reuse_seq,
    "forget-cursor": forget_cursor,
    "forget-single": forget_single,
    "forget-late": forget_late,
    "clean-too-much": clean_too_much,
    "take-too-much": take_too_much,
}
