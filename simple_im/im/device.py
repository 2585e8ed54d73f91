"""One device's connection as a reader of its user's inbox: what is in flight, and what comes next.

A device in step gets entries as they are appended, from memory. Where its window is full or its transport takes
no more, it falls out of step and nothing is kept for it: it reads on from the inbox when there is room again, until a
page was the last. What one device costs is bounded by its window, whatever waits for it.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from simple_im.im.outbox import Outbox, Turn
from simple_im.limits import WINDOW_BYTES, WINDOW_ENTRIES
from simple_im.status import StorageUnavailable
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Entry, Page

RETRY_READ = 1.0
"""Seconds after which a page is asked for again when the database did not give it."""

log = Logger()


class Inbox(Protocol):
    """What a device needs of the inbox; see `store.inbox.SQLiteInbox`."""

    def touch(self, state: DeviceState) -> None: ...

    def acknowledge_range(self, state: DeviceState, after: int, to: int) -> None: ...

    async def read(self, state: DeviceState, after: int, limit: int, max_bytes: int) -> Page: ...

    async def find(self, state: DeviceState, id_: bytes) -> int | None: ...


class Device:
    """Sends a device its entries, in order, within its window, and takes its acknowledgements."""

    __slots__ = (
        "_by_id",
        "_bytes",
        "_clock",
        "_closed",
        "_in_flight",
        "_in_step",
        "_inbox",
        "_left_out",
        "_login",
        "_next_size",
        "_outbox",
        "_paused",
        "_position",
        "_reading",
        "_retry",
        "_turn",
        "state",
    )

    def __init__(self, state: DeviceState, inbox: Inbox, outbox: Outbox, turn: Turn, clock: IReactorTime) -> None:
        self.state = state
        self._inbox = inbox
        self._outbox = outbox
        self._turn = turn
        self._clock = clock
        self._in_flight: dict[int, Entry] = {}
        self._by_id: dict[bytes, dict[int, None]] | None = None
        self._bytes = 0
        self._next_size = 1
        self._retry: IDelayedCall | None = None
        self._in_step = self._reading = self._paused = self._closed = False
        self._left_out = state.begin_login()
        self._login = state.logins
        self._position = max(state.cursor, self._left_out)
        inbox.touch(state)

    @property
    def is_latest(self) -> bool:
        """Whether the device has not signed in again since."""
        return self._login == self.state.logins

    # Sending.

    def push(self, entry: Entry) -> None:
        """An entry was appended to the user's inbox."""
        if not self._in_step:
            return
        state = self.state
        if entry.sender == state.user and entry.device == state.device:
            self._pass_over(entry.seq)
        elif self._paused or (self._in_flight and not self._fits(len(entry.wire))):
            self._fall_out_of_step(entry)
        else:
            self._send(entry)

    def _pass_over(self, seq: int) -> None:
        """What the device sent itself it has acknowledged."""
        self._position = seq
        self._settle()

    def _fall_out_of_step(self, entry: Entry) -> None:
        """From here on it is read, when there is room for what comes next."""
        self._in_step = False
        self._next_size = len(entry.wire)

    def _fits(self, size: int) -> bool:
        return not self._in_flight or (
            len(self._in_flight) < WINDOW_ENTRIES and self._bytes + size <= WINDOW_BYTES
        )

    def _send(self, entry: Entry) -> None:
        state, wire = self.state, entry.wire
        self._in_flight[entry.seq] = entry
        if self._by_id is not None:
            _index(self._by_id, entry)
        self._bytes += len(wire)
        self._position = entry.seq
        if entry.seq > state.sent:
            state.sent = entry.seq
        if state.holes:
            state.fill_holes(self._left_out, entry.seq)
        if not state.is_dirty:
            self._inbox.touch(state)
        self._outbox.send(wire)

    # Reading.

    def begin(self, newest: int) -> None:
        """What is in the inbox, up to `newest`, comes first; where nothing can wait there, nothing is read."""
        self._in_step = newest <= self._position
        self.catch_up()

    def catch_up(self) -> None:
        """Read on where there is room and anything may wait."""
        if self._in_step or self._reading or self._paused or self._closed or self._retry is not None:
            return
        if not self._fits(self._next_size):
            return
        self._reading = True
        Deferred.fromCoroutine(self._read_on()).addErrback(self._not_read)

    async def _read_on(self) -> None:
        after = max(self._position, self.state.cursor)
        room = WINDOW_ENTRIES - len(self._in_flight)
        page = await self._inbox.read(self.state, after, room, WINDOW_BYTES - self._bytes)
        self._reading = False
        if not self._closed:
            self._next_size = 1
            self._in_step = page.last
            self._send_page(page)
            self._settle()
            self._turn.end()
            self.catch_up()

    def _send_page(self, page: Page) -> None:
        """Send what of it still waits, as far as there is room."""
        for entry in page.entries:
            if entry.seq <= self.state.cursor:
                continue
            if not self._fits(len(entry.wire)):
                self._fall_out_of_step(entry)
                break
            self._send(entry)

    def _not_read(self, failure: Failure) -> None:
        self._reading = False
        if failure.check(StorageUnavailable) is None:
            log.failure("reading the inbox of user {user} failed", failure, user=self.state.user)
        if not self._closed:
            self._retry = self._clock.callLater(RETRY_READ, self._read_again)

    def _read_again(self) -> None:
        self._retry = None
        self.catch_up()

    def pause(self) -> None:
        """The transport takes no more."""
        self._paused = True

    def resume(self) -> None:
        """The transport takes more."""
        self._paused = False
        self.catch_up()

    def close(self) -> None:
        """The connection is gone, or about to be; nothing is sent any more."""
        self._closed = True
        self._in_step = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # Acknowledging.

    @property
    def caught_up(self) -> bool:
        """Whether the device has acknowledged everything that there is in its user's inbox."""
        return self._in_step and not self._in_flight and self._clean

    @property
    def _clean(self) -> bool:
        """Whether everything up to the position was sent on this connection or is acknowledged."""
        return self.state.cursor >= self._left_out

    def acknowledge_in_order(self, ids: list[bytes]) -> int:
        """As many of these, from the first on, as are the oldest in flight in turn are acknowledged; how many."""
        if not self._clean:
            return 0
        oldest = []
        for id_, entry in zip(ids, self._in_flight.values(), strict=False):
            if entry.id != id_:
                break
            oldest.append(entry.seq)
        for seq in oldest:
            self._land(seq)
        if oldest:
            self._settle()
            self.catch_up()
        return len(oldest)

    def acknowledge_id(self, id_: bytes) -> Deferred[None] | None:
        """The oldest entry with this id sent or shown is acknowledged; a Deferred where that takes a look-up."""
        if self._clean:
            seq = self._find_in_flight(id_)
            if seq is not None:
                self._take(seq)
                return None
            if self._position >= max(self.state.sent, self.state.shown):
                return None
        return Deferred.fromCoroutine(self._find_and_take(id_))

    def _find_in_flight(self, id_: bytes) -> int | None:
        """The oldest with this id: nearly always the first, so ids are indexed only when one is not."""
        oldest = next(iter(self._in_flight.values()), None)
        if oldest is not None and oldest.id == id_:
            return oldest.seq
        if self._by_id is None:
            self._by_id = {}
            for entry in self._in_flight.values():
                _index(self._by_id, entry)
        return next(iter(self._by_id.get(id_, ())), None)

    async def _find_and_take(self, id_: bytes) -> None:
        """What is in flight is not always stored: where its commit has failed, it is what the device means all the
        same, and not a later entry with the same id."""
        in_flight = self._find_in_flight(id_)
        stored = await self._inbox.find(self.state, id_)
        seq = min((seq for seq in (in_flight, stored) if seq is not None), default=None)
        if seq is not None and seq > self.state.cursor:
            self._take(seq)

    def _take(self, seq: int) -> None:
        """One entry is acknowledged, wherever it stands."""
        is_oldest = self._clean and next(iter(self._in_flight), None) == seq
        self._land(seq)
        if is_oldest:
            self._settle()
        else:
            self._inbox.acknowledge_range(self.state, seq - 1, seq)
        self._go_on_behind(seq)

    def acknowledge_seq(self, seq: int) -> None:
        """Everything that was sent on the IM door up to `seq` is acknowledged."""
        seq = min(seq, self.state.sent)
        for after, to in self.state.sent_ranges(seq):
            if after == self.state.cursor:
                self.state.advance(to)
            else:
                self._inbox.acknowledge_range(self.state, after, to)
        self._drop_in_flight(seq)

    def cursor_moved(self) -> None:
        """What `DELETE /offline` named is acknowledged: the cursor was moved over it."""
        self._drop_in_flight(self.state.cursor)

    def _drop_in_flight(self, to: int) -> None:
        while self._in_flight and (seq := next(iter(self._in_flight))) <= to:
            self._land(seq)
        self._settle()
        self._go_on_behind(to)

    def _go_on_behind(self, seq: int) -> None:
        """Up to `seq` something is acknowledged. Where that was to come next, what comes next may be smaller."""
        if seq > self._position:
            self._next_size = 1
        self.catch_up()

    def _land(self, seq: int) -> None:
        """This one is in flight no more, if it was."""
        entry = self._in_flight.pop(seq, None)
        if entry is None:
            return
        self._bytes -= len(entry.wire)
        if self._by_id is not None:
            self._forget_id(entry)

    def _forget_id(self, entry: Entry) -> None:
        assert self._by_id is not None
        seqs = self._by_id[entry.id]
        del seqs[entry.seq]
        if not seqs:
            del self._by_id[entry.id]
        if not self._in_flight:
            self._by_id = None

    def _settle(self) -> None:
        """Move the cursor up to right below the oldest entry in flight."""
        state = self.state
        if self._clean:
            oldest = next(iter(self._in_flight), None)
            cursor = self._position if oldest is None else oldest - 1
            if cursor > state.cursor:
                state.advance(cursor)
        if not state.is_dirty:
            self._inbox.touch(state)


def _index(by_id: dict[bytes, dict[int, None]], entry: Entry) -> None:
    by_id.setdefault(entry.id, {})[entry.seq] = None
