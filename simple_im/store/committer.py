"""Group commits: what comes while one runs gathers in the next, and who waits for it is told how it ended.

Entries of a batch have been shown to devices already, unless a commit has failed a short time ago; then they are held
until theirs has succeeded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from simple_im import limits
from simple_im.status import StorageUnavailable
from simple_im.store import inbox_sql
from simple_im.store.batch import Batch
from simple_im.store.database import Database
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Outlet

LAZY_COMMIT = 0.1
"""Seconds after which a device's place is written, where nothing has it written before."""
HOLD = 60.0
"""Seconds for which entries are shown after their commit only, after one has failed: on a disk that is nearly full,
small commits succeed between large ones that fail, and what was shown and refused is shown again when it is resent."""
RETRY_COMMIT = 1.0
"""Seconds after which acknowledgements are written again when a commit has failed."""

MANY = 16
PACE = 0.01
"""After a commit of so many entries the next begins so many seconds after it began, not sooner. A commit takes as much
of the processors as dozens of entries in it, and where many come, many more will within that time."""

log = Logger()


class Committer:
    """Writes what is put into `gathering`; `after` is called after each commit, also one that failed."""

    def __init__(self, database: Database, clock: IReactorTime, outlet: Outlet, after: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._outlet = outlet
        self._after = after
        self.gathering = Batch(held=False)
        self._committing: Batch | None = None
        self._unindexed: list[Batch] = []
        self._touched: dict[DeviceState, None] = {}
        self._lazy: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._paced: IDelayedCall | None = None
        self._pace_until = 0.0
        self._hold_until = 0.0
        self._drained: deque[Deferred[None]] = deque()

    def batches(self) -> list[Batch]:
        """What is not both committed and indexed, the oldest first."""
        return [*self._unindexed, *self.uncommitted()]

    def uncommitted(self) -> list[Batch]:
        """Those of them that are not committed; the others, which may be hundreds, acknowledge nothing."""
        committing = [] if self._committing is None else [self._committing]
        return [*committing, self.gathering]

    @property
    def full(self) -> bool:
        """Whether more waits for the disk than may; then wait for `drained` before taking more in."""
        gathering = self.gathering
        return gathering.size > limits.UNCOMMITTED_BYTES or gathering.rows > limits.UNCOMMITTED_ROWS

    def drained(self) -> Deferred[None]:
        """Fires when the inbox is not `full` any more."""
        waiting: Deferred[None] = Deferred()
        self._drained.append(waiting)
        return waiting

    def commit(self) -> None:
        """Write what has gathered, or, while a commit runs, when it ends; where many messages come, in a moment."""
        if self._committing is not None or not self.gathering:
            return
        early = min(self._pace_until - self._clock.seconds(), PACE)
        if early <= 0 or self.full or self.gathering.waiters:
            self._begin()
        elif self._paced is None:
            self._paced = self._clock.callLater(early, self._begin)

    def _begin(self) -> None:
        """Write what has gathered."""
        for timer in (self._retry, self._paced):
            if timer is not None and timer.active():
                timer.cancel()
        self._paced = None
        batch, self._committing = self.gathering, self.gathering
        batch.indexes |= _is_much([*self._unindexed, batch])
        if len(batch.entries) >= MANY:
            self._pace_until = self._clock.seconds() + PACE
        self.gathering = Batch(held=batch.held)
        Deferred.fromCoroutine(self._write(batch)).addErrback(
            lambda failure: log.failure("the inbox failed after a commit", failure)
        )
        self._release()

    async def flush(self) -> None:
        """Return when all that was appended and acknowledged until now is on disk, or has been refused.

        Raises `StorageUnavailable` where the commit that was to write it has failed.
        """
        self._gather_touched()
        self.gathering.indexes |= bool(self._unindexed or self.gathering.entries)
        if not self.gathering and self._committing is not None:
            await self._outcome(self._committing)
        elif self.gathering:
            outcome = self._outcome(self.gathering)
            self.commit()
            await outcome

    def _outcome(self, batch: Batch) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        batch.waiters.append(waiting)
        return waiting

    async def _write(self, batch: Batch) -> None:
        try:
            rows = batch.device_rows()
            await self._database.write(
                inbox_sql.write_batch, batch.entries, batch.outgoing, batch.acked, rows, batch.indexes
            )
        except StorageUnavailable:
            self._failed(batch)
        except Exception:
            log.failure("a commit failed")
            self._failed(batch)
        else:
            self._committed(batch)
        self._release()
        self._after()

    def _committed(self, batch: Batch) -> None:
        self._committing = None
        batch.settle()
        self._note_indexed(batch)
        self._show_held(batch)
        batch.tell_stored()
        self._outlet.flush()
        self.commit()

    def _show_held(self, batch: Batch) -> None:
        """A commit has succeeded: show what is held of it, and when the disk has been sound for long enough, what has
        gathered behind it as well, in order."""
        batches = [batch]
        if self._clock.seconds() >= self._hold_until:
            batches.append(self.gathering)
        held = [entry for each in batches if each.held for entry in each.entries]
        for each in batches:
            each.held = False
        self._outlet.deliver(held)

    def _note_indexed(self, batch: Batch) -> None:
        """What a commit has not indexed stays in memory until one does, soon."""
        if batch.indexes:
            self._unindexed.clear()
        elif batch.entries:
            self._unindexed.append(batch)
            self._write_soon()

    def _failed(self, batch: Batch) -> None:
        """Nothing of it is stored. From now on entries are shown after their commit."""
        self._committing = None
        self._hold_until = self._clock.seconds() + HOLD
        batch.keep_for(self.gathering)
        self._hold()
        batch.tell_refused()
        self._outlet.flush()

    def _hold(self) -> None:
        """Hold what comes from now on; what has gathered and was shown is a commit of its own first."""
        if self.gathering.entries and not self.gathering.held:
            self._begin()
        self.gathering.held = True
        if self._committing is None:
            self._retry = self._clock.callLater(RETRY_COMMIT, self.commit)

    def _release(self) -> None:
        """In the order in which they came; the first may fill it again, and then stands behind the others."""
        while self._drained and not self.full:
            self._drained.popleft().callback(None)

    # Places of devices, and the index.

    def touch(self, state: DeviceState) -> None:
        """The state has changed; it is written soon."""
        state.is_dirty = True
        self._touched[state] = None
        self._write_soon()

    def _write_soon(self) -> None:
        if self._lazy is None:
            self._lazy = self._clock.callLater(LAZY_COMMIT, self._write_touched)

    def write_with_next(self, state: DeviceState) -> None:
        """The state is written with what is appended next."""
        if state in self._touched:
            del self._touched[state]
            self.gathering.dirty[state] = None

    def _write_touched(self) -> None:
        """Every device and the index a tenth of a second, and not with every commit: they take a page of the database
        for each device and user."""
        self._gather_touched()
        self.gathering.indexes |= bool(self._unindexed or self._committing or self.gathering.entries)
        if self._retry is None or not self._retry.active():
            self.commit()

    def _gather_touched(self) -> None:
        if self._lazy is not None and self._lazy.active():
            self._lazy.cancel()
        self._lazy = None
        self.gathering.dirty.update(self._touched)
        self._touched.clear()


def _is_much(batches: list[Batch]) -> bool:
    rows, size = sum([batch.rows for batch in batches]), sum([batch.size for batch in batches])
    return rows > limits.UNINDEXED_ROWS or size > limits.UNINDEXED_BYTES
