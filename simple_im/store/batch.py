"""What gathers in memory while a commit runs, to be the next commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, ParamSpec

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from simple_im.status import STORAGE_UNAVAILABLE, StorageUnavailable
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Entry, Receipt
from simple_im.store.ranges import Ranges

_P = ParamSpec("_P")
Key = tuple[int, str, bytes]

log = Logger()


class AckedRange(NamedTuple):
    """A device acknowledged the entries with `after` < seq <= `to`, above its cursor."""

    user: int
    device: str
    after: int
    to: int


class DeviceRow(NamedTuple):
    """A device's state at one moment, as the database takes it."""

    cursor: int
    sent: int
    shown: int
    offered: int
    holes: str
    scattered: bool
    user: int
    device: str


class Batch:
    """Entries, acknowledgements and device states of one commit, and who waits for it.

    `size` is that of its entries in bytes, `rows` how many inboxes they go to, each counted. `held` says that its
    entries are not shown to anybody before the commit, `indexes` that all that is stored by then is indexed with it
    (`inbox_sql.index`), `is_stored` that it is on disk.
    """

    def __init__(self, held: bool) -> None:
        self.held = held
        self.indexes = self.is_stored = False
        self.entries: list[Entry] = []
        self.outgoing: list[tuple[int]] = []
        self.dirty: dict[DeviceState, None] = {}
        self.receipts: dict[Receipt, list[bytes]] = {}
        self.waiters: list[Deferred[None]] = []
        self.size = self.rows = 0
        self._acked: dict[tuple[int, str], Ranges] = {}
        self._keys: set[Key] = set()
        self._indexed = 0
        self._written: list[tuple[DeviceState, DeviceRow]] = []

    def __bool__(self) -> bool:
        return bool(self.entries or self._acked or self.dirty or self.waiters or self.indexes)

    def add(self, entries: list[Entry], receipt: Receipt, outgoing: int | None = None) -> None:
        """Take entries, kept until now as `outgoing`; `receipt` is told when they are on disk, or not."""
        self.entries += entries
        if outgoing is not None:
            self.outgoing.append((outgoing,))
        self.size += sum([len(entry.wire) for entry in entries])
        self.rows += sum([len(entry.users) for entry in entries])
        self.await_receipt(receipt, [entry.id for entry in entries])

    def await_receipt(self, receipt: Receipt, ids: list[bytes]) -> None:
        """Tell `receipt` of this commit's outcome."""
        if self.is_stored:
            receipt.stored(ids)
            return
        waiting = self.receipts.get(receipt)
        if waiting is None:
            self.receipts[receipt] = ids
        else:
            waiting += ids

    def has(self, key: Key) -> bool:
        """Whether it holds the message of this sender, device and id; indexed when first asked."""
        for entry in self.entries[self._indexed :]:
            self._keys.add((entry.sender, entry.device, entry.id))
        self._indexed = len(self.entries)
        return key in self._keys

    def acknowledge(self, acked: AckedRange) -> None:
        """Take the acknowledgement of entries above a device's cursor; these are looked up in the index."""
        self.indexes = True
        self._acked.setdefault((acked.user, acked.device), Ranges()).add(acked.after, acked.to)

    def acknowledges(self, user: int, device: str, seq: int) -> bool:
        """Whether the device's acknowledgement of this entry is among those."""
        ranges = self._acked.get((user, device))
        return ranges is not None and seq in ranges

    @property
    def acked(self) -> list[AckedRange]:
        """All of them, those of each device in order."""
        return [AckedRange(*device, *reach) for device, ranges in self._acked.items() for reach in ranges]

    def shown_to(self, user: int, after: int) -> Iterator[Entry]:
        """What of it is in `user`'s inbox after `after`, unless nobody may see it yet."""
        if not self.held:
            for entry in self.entries:
                if entry.seq > after and user in entry.users:
                    yield entry

    def device_rows(self) -> list[DeviceRow]:
        """The dirty devices as they are now, to be written."""
        for state in self.dirty:
            state.is_dirty = False
        self._written = [(state, _row(state)) for state in self.dirty]
        return [row for _, row in self._written]

    def settle(self) -> None:
        """After the commit: what was acknowledged singly below the cursors written is gone from the database."""
        self.is_stored = True
        for state, row in self._written:
            if state.scattered <= row.cursor:
                state.scattered = 0

    def keep_for(self, next_batch: Batch) -> None:
        """After a failed commit: what must not be forgotten goes into the next."""
        for acked in self.acked:
            next_batch.acknowledge(acked)
        next_batch.dirty = {**self.dirty, **next_batch.dirty}
        next_batch.indexes |= self.indexes
        for state in self.dirty:
            state.is_dirty = True

    def tell_stored(self) -> None:
        """Tell all who wait that it is on disk."""
        receipts, self.receipts = self.receipts, {}
        for receipt, ids in receipts.items():
            _tell(receipt.stored, ids)
        for waiting in self.waiters:
            waiting.callback(None)

    def tell_refused(self) -> None:
        """Tell all who wait that it is not and will not be."""
        for receipt, ids in self.receipts.items():
            _tell(receipt.refused, ids, STORAGE_UNAVAILABLE)
        for waiting in self.waiters:
            waiting.errback(StorageUnavailable())


def _tell(outcome: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
    """One that fails must not keep the others from being told."""
    try:
        outcome(*args, **kwargs)
    except Exception:
        log.failure("a receipt failed")


def _row(state: DeviceState) -> DeviceRow:
    places = (state.cursor, state.sent, state.shown, state.offered)
    return DeviceRow(*places, state.holes_text(), state.scattered > 0, state.user, state.device)
