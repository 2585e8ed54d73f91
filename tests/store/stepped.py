"""An inbox whose database is taken step by step: for what happens between two steps, without a thread or a wait."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Draft, Entry, Page
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.sequence import SPAN_BITS, Sequence
from tests.store.fakes import PHONE, Deliveries, Sender, SteppedDatabase, make_users

_T = TypeVar("_T")


class SteppedCase(SynchronousTestCase):
    """Users 1 to 4, an inbox on a `SteppedDatabase`, and the time in `clock`."""

    span_bits = SPAN_BITS

    def setUp(self) -> None:
        self.clock = Clock()
        self.outlet = Deliveries()
        self.database = SteppedDatabase()
        self.addCleanup(self.database.stop)
        self.sequence = Sequence(self.database, self.database.raise_epoch(), self.span_bits)
        self.inbox = SQLiteInbox(self.database, self.sequence, self.clock, self.outlet)
        self.done(make_users(self.database, 4))

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> Deferred[_T]:
        """Begin, and leave the database alone."""
        return Deferred.fromCoroutine(coroutine)

    def done(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Its result, after all that the database has to do for it."""
        started = self.start(coroutine)
        self.database.settle()
        result: _T = self.successResultOf(started)
        return result

    def append(self, *drafts: Draft, sender: Sender | None = None) -> Sender:
        """Append these and begin to commit, as at the end of a turn."""
        sender = sender or Sender()
        for each in drafts:
            self.inbox.append(each, sender)
        self.inbox.commit()
        return sender

    def device(self, user: int, name: str = PHONE) -> DeviceState:
        """A device that has become known."""
        self.done(self.inbox.add_device(user, name))
        return self.opened(user, name)

    def opened(self, user: int, name: str = PHONE) -> DeviceState:
        opened = self.done(self.inbox.open_device(user, name))
        assert opened is not None
        return opened.state

    def page(self, state: DeviceState) -> Page:
        """What the device has not acknowledged, as the first page of it."""
        return self.done(self.inbox.read(state, state.cursor, 1_000, 1 << 20))

    def waiting(self, state: DeviceState) -> list[Entry]:
        return list(self.page(state).entries)
