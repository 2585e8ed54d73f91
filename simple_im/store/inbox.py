"""The inbox on SQLite: one sequence of entries a user, one place in it a device.

Entries get their `seq` and go to connected devices at once, and to disk in group commits: while one commit runs, what
comes gathers in the next. Acknowledgements move places in memory and ride along. What a device has not been
sent is read from the database, joined with what is in memory; since the database answers in the order in which it
was asked, all that it had not committed when it answered is still in memory when its answer is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from simple_im.limits import DEVICES, UNCOMMITTED_BYTES
from simple_im.status import STORAGE_UNAVAILABLE, StorageUnavailable, TooManyDevices
from simple_im.store import inbox_sql
from simple_im.store.batch import AckedRange, Batch
from simple_im.store.database import Database
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Draft, Entry, Opened, Outlet, Page, Receipt
from simple_im.store.sequence import Sequence
from simple_im.wire.frames import stamped

LAZY_COMMIT = 0.1
"""Seconds that acknowledgements alone wait for a commit to ride along with."""
HOLD = 60.0
"""Seconds for which entries are shown after their commit only, after one has failed: on a disk that is nearly full,
small commits succeed between large ones that fail, and what was shown and refused is shown again when it is resent."""
RETRY_COMMIT = 1.0
"""Seconds after which acknowledgements are written again when a commit has failed."""

log = Logger()


class SQLiteInbox:
    """Appends, reads, acknowledges; entries go out by `outlet`."""

    def __init__(self, database: Database, sequence: Sequence, clock: IReactorTime, outlet: Outlet) -> None:
        self._database = database
        self._sequence = sequence
        self._clock = clock
        self._outlet = outlet
        self._gathering = Batch(held=False)
        self._committing: Batch | None = None
        self._states: WeakValueDictionary[tuple[int, str], DeviceState] = WeakValueDictionary()
        self._touched: dict[DeviceState, None] = {}
        self._lazy: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._hold_until = 0.0
        self._drained: list[Deferred[None]] = []

    # Appending.

    def append(self, draft: Draft, receipt: Receipt) -> None:
        """Give the message its place, push it to connected devices, and have it written.

        `receipt` is told once it is on disk or refused; call `commit` when what came together is appended. What had to
        wait, and whose sender is on a later connection by now, is not taken: it would come behind what is sent there.
        """
        if receipt.gone:
            return
        seq = self._sequence.take()
        if not seq:
            receipt.refused([draft.id], STORAGE_UNAVAILABLE)
            self._reserve()
            return
        ts = int(self._clock.seconds())
        wire = stamped(draft.head, draft.tail, draft.sender, ts, seq)
        entry = Entry(seq, ts, draft.sender, draft.device, draft.id, draft.users, wire)
        gathering = self._gathering
        gathering.add(entry, receipt, draft.outgoing)
        if not gathering.held:
            self._outlet.deliver(entry)

    async def append_again(self, draft: Draft, receipt: Receipt) -> None:
        """`append` for a message that says `dup`: acknowledged again and not delivered if it is stored already."""
        if not await self.acknowledge_again(draft, receipt):
            self.append(draft, receipt)

    async def acknowledge_again(self, draft: Draft, receipt: Receipt) -> bool:
        """Whether the message is stored already, or about to be; then `receipt` is told."""
        if self._is_uncommitted(draft, receipt):
            return True
        if await self._database.read(inbox_sql.find_message, draft.sender, draft.device, draft.id):
            receipt.stored([draft.id])
            return True
        return self._is_uncommitted(draft, receipt)

    def _is_uncommitted(self, draft: Draft, receipt: Receipt) -> bool:
        """Whether the message is in memory; then the receipt waits for its commit."""
        for batch in self._batches():
            if batch.has((draft.sender, draft.device, draft.id)):
                batch.await_receipt(receipt, draft.id)
                return True
        return False

    @property
    def full(self) -> bool:
        """Whether more waits for the disk than may; then wait for `drained` before taking more in."""
        return self._gathering.size > UNCOMMITTED_BYTES

    def drained(self) -> Deferred[None]:
        """Fires when the inbox is not `full` any more."""
        waiting: Deferred[None] = Deferred()
        self._drained.append(waiting)
        return waiting

    # Committing.

    def commit(self) -> None:
        """Write what has gathered, or, while a commit runs, when it ends."""
        if self._committing is not None or not self._gathering:
            return
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        batch, self._committing = self._gathering, self._gathering
        self._gathering = Batch(held=batch.held)
        Deferred.fromCoroutine(self._write(batch)).addErrback(
            lambda failure: log.failure("the inbox failed after a commit", failure)
        )

    async def flush(self) -> None:
        """Return when all that was appended and acknowledged until now is on disk, or has been refused.

        Raises `StorageUnavailable` where the commit that was to write it has failed.
        """
        self._gather_touched()
        if not self._gathering and self._committing is not None:
            await self._outcome(self._committing)
        elif self._gathering:
            outcome = self._outcome(self._gathering)
            self.commit()
            await outcome

    def _outcome(self, batch: Batch) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        batch.waiters.append(waiting)
        return waiting

    async def _write(self, batch: Batch) -> None:
        try:
            rows = batch.device_rows()
            await self._database.write(inbox_sql.write_batch, batch.entries, batch.outgoing, batch.acked, rows)
        except StorageUnavailable:
            self._failed(batch)
        except Exception:
            log.failure("a commit failed")
            self._failed(batch)
        else:
            self._committed(batch)
        self._release()
        self._reserve()

    def _committed(self, batch: Batch) -> None:
        self._committing = None
        batch.settle()
        self._show_held(batch)
        batch.tell_stored()
        self._outlet.flush()
        self.commit()

    def _show_held(self, batch: Batch) -> None:
        """A commit has succeeded: show what is held of it, and when the disk has been sound for long enough, what has
        gathered behind it as well, in order."""
        batches = [batch]
        if self._clock.seconds() >= self._hold_until:
            batches.append(self._gathering)
        held = [entry for each in batches if each.held for entry in each.entries]
        self._gathering.held = self._gathering.held and len(batches) == 1
        for entry in held:
            self._outlet.deliver(entry)

    def _failed(self, batch: Batch) -> None:
        """Nothing of it is stored. From now on entries are shown after their commit."""
        self._committing = None
        self._hold_until = self._clock.seconds() + HOLD
        batch.keep_for(self._gathering)
        self._hold()
        batch.tell_refused()
        self._outlet.flush()

    def _hold(self) -> None:
        """Hold what comes from now on; what has gathered and was shown is a commit of its own first."""
        if self._gathering.entries and not self._gathering.held:
            self.commit()
        self._gathering.held = True
        if self._committing is None:
            self._retry = self._clock.callLater(RETRY_COMMIT, self.commit)

    def _reserve(self) -> None:
        """Have numbers to give out; where the database does not take that, the next commit or message tries again."""
        Deferred.fromCoroutine(self._sequence.reserve()).addErrback(_not_reserved)

    def _release(self) -> None:
        if self._drained and not self.full:
            waiting, self._drained = self._drained, []
            for deferred in waiting:
                deferred.callback(None)

    # Devices.

    async def add_device(self, user: int, device: str) -> None:
        """Make a device known from now on; raises `TooManyDevices`."""
        await self.flush()
        now = int(self._clock.seconds())
        if not await self._database.write(inbox_sql.add_device, user, device, now, DEVICES):
            raise TooManyDevices()

    async def open_device(self, user: int, device: str) -> Opened | None:
        """A known device, as it is with all that is not committed yet, and the names of all the user's devices."""
        record, names = await self._database.read(inbox_sql.open_device, user, device)
        if record is None:
            return None
        state = self._states.get((user, device)) or self._remember(user, device, record)
        return Opened(state, names, record.expired)

    def _remember(self, user: int, device: str, record: inbox_sql.DeviceRecord) -> DeviceState:
        state = DeviceState(user, device, record.cursor)
        state.sent, state.shown, state.offered = record.sent, record.shown, record.offered
        state.scattered = record.scattered
        state.load_holes(record.holes)
        self._states[user, device] = state
        return state

    async def told_expired(self, state: DeviceState, count: int) -> None:
        """The device has been told that so many entries expired unread."""
        await self._database.write(inbox_sql.told_expired, state.user, state.device, count)

    # Reading.

    async def read(self, state: DeviceState, after: int, limit: int, max_bytes: int) -> Page:
        """What waits for a device after a place; when it comes, nothing else has happened since.

        A `last` page holds all there is, also what is not committed; what is appended after it is pushed.
        """
        while True:
            entries, last = await self._database.read(
                inbox_sql.read_page, state.user, state.device, after, limit, max_bytes
            )
            after = entries[-1].seq if entries else after
            entries = [entry for entry in entries if not self._is_acknowledged(state, entry.seq)]
            if last:
                last = self._add_uncommitted(entries, state, after, limit, max_bytes)
            if entries or last:
                return Page(entries, last)

    def _add_uncommitted(
        self, entries: list[Entry], state: DeviceState, after: int, limit: int, max_bytes: int
    ) -> bool:
        """Go on with what is in memory; whether all of it had room."""
        size = sum(len(entry.wire) for entry in entries)
        for entry in self._uncommitted(state, after):
            size += len(entry.wire)
            if entries and (len(entries) >= limit or size > max_bytes):
                return False
            entries.append(entry)
        return True

    def _uncommitted(self, state: DeviceState, after: int) -> Iterator[Entry]:
        """What waits for the device after a place and is in memory only."""
        for batch in self._batches():
            for entry in batch.shown_to(state.user, after):
                if not (entry.is_from(state.user, state.device) or self._is_acknowledged(state, entry.seq)):
                    yield entry

    def _is_acknowledged(self, state: DeviceState, seq: int) -> bool:
        """Whether the device has acknowledged an entry singly, and that is in memory only."""
        return any(batch.acknowledges(state.user, state.device, seq) for batch in self._batches())

    def _batches(self) -> list[Batch]:
        """What is not committed, the oldest first."""
        return [self._gathering] if self._committing is None else [self._committing, self._gathering]

    async def find(self, state: DeviceState, id_: bytes) -> int | None:
        """The oldest entry with this id that the device was sent or shown and has not acknowledged."""
        after, to = state.cursor, max(state.sent, state.shown)
        while True:
            seqs = await self._database.read(
                inbox_sql.find_unacknowledged, state.user, state.device, after, to, id_
            )
            for seq in seqs:
                if not self._is_acknowledged(state, seq):
                    return seq
            if not seqs:
                return self._find_uncommitted(state, after, to, id_)
            after = seqs[-1]

    def _find_uncommitted(self, state: DeviceState, after: int, to: int, id_: bytes) -> int | None:
        seqs = (entry.seq for entry in self._uncommitted(state, after) if entry.id == id_ and entry.seq <= to)
        return next(seqs, None)

    # Acknowledging.

    def touch(self, state: DeviceState) -> None:
        """The state has changed; it is written soon."""
        state.is_dirty = True
        self._touched[state] = None
        if self._lazy is None:
            self._lazy = self._clock.callLater(LAZY_COMMIT, self._write_touched)

    def write_with_next(self, state: DeviceState) -> None:
        """The state is written with what is appended next."""
        if state in self._touched:
            del self._touched[state]
            self._gathering.dirty[state] = None

    def _write_touched(self) -> None:
        """Every device a tenth of a second, and not with every commit: there may be as many as there are messages."""
        self._gather_touched()
        if self._retry is None or not self._retry.active():
            self.commit()

    def _gather_touched(self) -> None:
        if self._lazy is not None and self._lazy.active():
            self._lazy.cancel()
        self._lazy = None
        self._gathering.dirty.update(self._touched)
        self._touched.clear()

    def acknowledge_range(self, state: DeviceState, after: int, to: int) -> None:
        """The entries with `after` < seq <= `to`, above the cursor, are acknowledged; the cursor stays."""
        state.scattered = max(state.scattered, to)
        self._gathering.acknowledge(AckedRange(state.user, state.device, after, to))
        self.touch(state)

    async def forget_shown(self, state: DeviceState) -> None:
        """What `GET /offline` has shown so far is acknowledged; on return that is on disk."""
        state.advance(state.shown)
        self.touch(state)
        await self.flush()


def _not_reserved(failure: Failure) -> None:
    if failure.check(StorageUnavailable) is None:
        log.failure("no epoch could be reserved", failure)
