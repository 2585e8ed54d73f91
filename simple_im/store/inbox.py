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
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from simple_im import limits
from simple_im.status import STORAGE_UNAVAILABLE, StorageUnavailable, TooManyDevices
from simple_im.store import inbox_sql
from simple_im.store.batch import AckedRange
from simple_im.store.committer import Committer
from simple_im.store.database import Database
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Draft, Entry, Opened, Outlet, Page, Receipt, Unstored
from simple_im.store.sequence import Sequence
from simple_im.wire.frames import stamp, stamped

log = Logger()


class SQLiteInbox:
    """Appends, reads, acknowledges; entries go out by `outlet`."""

    def __init__(self, database: Database, sequence: Sequence, clock: IReactorTime, outlet: Outlet) -> None:
        self._database = database
        self._sequence = sequence
        self._clock = clock
        self._outlet = outlet
        self._committer = Committer(database, clock, outlet, self._reserve)
        self._states: WeakValueDictionary[tuple[int, str], DeviceState] = WeakValueDictionary()

    # Appending.

    def append(self, draft: Draft, receipt: Receipt) -> None:
        """`append_all` for one message."""
        message = (draft.id, draft.users, draft.head, draft.tail)
        self.append_all(draft.sender, draft.device, [message], receipt, draft.outgoing)

    def append_all(
        self, sender: int, device: str, messages: list[Unstored], receipt: Receipt, outgoing: int | None = None
    ) -> None:
        """Give messages of one device their places, push them to connected devices, and have them written.

        `receipt` is told once they are on disk or refused; call `commit` when what came together is appended. What had
        to wait, and whose sender is on a later connection by now, is not taken: it would come behind what is sent
        there.
        """
        if receipt.gone:
            return
        entries = self._numbered(sender, device, messages)
        if len(entries) < len(messages):
            receipt.refused([message[0] for message in messages[len(entries) :]], STORAGE_UNAVAILABLE)
            self._reserve()
        if entries:
            self._gather(entries, receipt, outgoing)

    def _gather(self, entries: list[Entry], receipt: Receipt, outgoing: int | None) -> None:
        gathering = self._committer.gathering
        gathering.add(entries, receipt, outgoing)
        if not gathering.held:
            self._outlet.deliver(entries)

    def _numbered(self, sender: int, device: str, messages: list[Unstored]) -> list[Entry]:
        """As many of them as there are numbers for."""
        ts, take = int(self._clock.seconds()), self._sequence.take
        mark = stamp(sender, ts)
        entries = []
        for id_, users, head, tail in messages:
            seq = take()
            if not seq:
                break
            entries.append(Entry(seq, ts, sender, device, id_, users, stamped(head, tail, mark, seq)))
        return entries

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
        for batch in self._committer.batches():
            if batch.has((draft.sender, draft.device, draft.id)):
                batch.await_receipt(receipt, [draft.id])
                return True
        return False

    # Committing.

    def commit(self) -> None:
        """Write what has gathered, or, while a commit runs, when it ends."""
        self._committer.commit()

    async def flush(self) -> None:
        """Return when all that was appended and acknowledged until now is on disk, or has been refused.

        Raises `StorageUnavailable` where the commit that was to write it has failed.
        """
        await self._committer.flush()

    @property
    def full(self) -> bool:
        """Whether more waits for the disk than may; then wait for `drained` before taking more in."""
        return self._committer.full

    def drained(self) -> Deferred[None]:
        """Fires when the inbox is not `full` any more."""
        return self._committer.drained()

    def _reserve(self) -> None:
        """Have numbers to give out; where the database does not take that, the next commit or message tries again."""
        Deferred.fromCoroutine(self._sequence.reserve()).addErrback(_not_reserved)

    # Devices.

    async def add_device(self, user: int, device: str) -> None:
        """Make a device known from now on; raises `TooManyDevices`."""
        await self.flush()
        now = int(self._clock.seconds())
        if not await self._database.write(inbox_sql.add_device, user, device, now, limits.DEVICES):
            raise TooManyDevices()

    async def open_device(self, user: int, device: str) -> Opened | None:
        """A known device, as it is with all that is not committed yet; when it comes, nothing has happened since."""
        record, names, newest = await self._database.read(inbox_sql.open_device, user, device)
        if record is None:
            return None
        state = self._states.get((user, device)) or self._remember(user, device, record)
        newest = max([newest, *(entry.seq for batch in self._committer.batches() for entry in batch.shown_to(user, 0))])
        return Opened(state, names, record.expired, newest)

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
        for batch in self._committer.batches():
            for entry in batch.shown_to(state.user, after):
                if not (entry.is_from(state.user, state.device) or self._is_acknowledged(state, entry.seq)):
                    yield entry

    def _is_acknowledged(self, state: DeviceState, seq: int) -> bool:
        """Whether the device has acknowledged an entry singly, and that is in memory only."""
        return any(batch.acknowledges(state.user, state.device, seq) for batch in self._committer.uncommitted())

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
        self._committer.touch(state)

    def write_with_next(self, state: DeviceState) -> None:
        """The state is written with what is appended next."""
        self._committer.write_with_next(state)

    def acknowledge_range(self, state: DeviceState, after: int, to: int) -> None:
        """The entries with `after` < seq <= `to`, above the cursor, are acknowledged; the cursor stays."""
        state.scattered = max(state.scattered, to)
        self._committer.gathering.acknowledge(AckedRange(state.user, state.device, after, to))
        self.touch(state)

    async def forget_shown(self, state: DeviceState) -> None:
        """What `GET /offline` has shown so far is acknowledged; on return that is on disk."""
        state.advance(state.shown)
        self.touch(state)
        await self.flush()


def _not_reserved(failure: Failure) -> None:
    if failure.check(StorageUnavailable) is None:
        log.failure("no epoch could be reserved", failure)
