"""What the suite needs of an implementation's tests, and its shorthand."""

from __future__ import annotations

from types import ModuleType
from typing import Protocol

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Draft, Entry, Opened, Page, Receipt
from tests.store.fakes import PHONE, Deliveries, Sender

LARGE = 1 << 20
ODD_IDS = (
    b"a_02",
    b"a",
    b" ",
    b"'; DROP TABLE run; --",
    b"%_*?",
    rb"\" \\ \n \u0000",
    b"a\tb",
    "é 漢 😀".encode(),
    b"x" * 128,
    b"0",
    b"A",
)
"""Ids as they stand between quotes on the wire."""


class Inbox(Protocol):
    """What both doors use of an inbox."""

    def append(self, draft: Draft, receipt: Receipt) -> None: ...

    async def append_again(self, draft: Draft, receipt: Receipt) -> None: ...

    @property
    def full(self) -> bool: ...

    def drained(self) -> Deferred[None]: ...

    def commit(self) -> None: ...

    async def flush(self) -> None: ...

    async def add_device(self, user: int, device: str) -> None: ...

    async def open_device(self, user: int, device: str) -> Opened | None: ...

    async def told_expired(self, state: DeviceState, count: int) -> None: ...

    async def read(self, state: DeviceState, after: int, limit: int, max_bytes: int) -> Page: ...

    async def find(self, state: DeviceState, id_: bytes) -> int | None: ...

    def touch(self, state: DeviceState) -> None: ...

    def acknowledge_range(self, state: DeviceState, after: int, to: int) -> None: ...

    async def forget_shown(self, state: DeviceState) -> None: ...


class Contract(TestCase):
    """What an implementation's tests say of it, and the shorthand of the suite.

    There are users with the ids 1 to 4. `clock` is the inbox's clock, `outlet` where its entries go.
    """

    inbox: Inbox
    clock: Clock
    outlet: Deliveries
    limits: ModuleType
    """The module whose `DEVICES` and `UNCOMMITTED_BYTES` the inbox goes by."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Open an empty inbox."""
        raise NotImplementedError

    async def reopen(self) -> None:
        """Make `inbox` one of a new process, after the old one has ended with no word, at this moment."""
        raise NotImplementedError

    async def forget_devices(self, before: int) -> None:
        """Forget devices that were not seen since this time."""
        raise NotImplementedError

    async def expire(self, before: int) -> None:
        """Let entries from before this time go past the retention."""
        raise NotImplementedError

    async def device(self, user: int, name: str = PHONE) -> DeviceState:
        """A device that has become known."""
        await self.inbox.add_device(user, name)
        return (await self.opened(user, name)).state

    async def opened(self, user: int, name: str = PHONE) -> Opened:
        opened = await self.inbox.open_device(user, name)
        assert opened is not None
        return opened

    async def store(self, *drafts: Draft) -> Sender:
        """Append these and have them committed."""
        sender = Sender()
        for each in drafts:
            self.inbox.append(each, sender)
        await self.inbox.flush()
        return sender

    async def waiting(self, state: DeviceState) -> list[Entry]:
        """All that the device has not acknowledged."""
        page = await self.inbox.read(state, state.cursor, 10_000, LARGE)
        self.assertTrue(page.last)
        return list(page.entries)

    async def acknowledge_all(self, state: DeviceState) -> None:
        entries = await self.waiting(state)
        state.advance(entries[-1].seq)
        self.inbox.touch(state)
        await self.inbox.flush()

    async def acknowledge(self, state: DeviceState, seq: int) -> None:
        """One entry, wherever it stands."""
        self.inbox.acknowledge_range(state, seq - 1, seq)
        await self.inbox.flush()

    async def turn(self) -> None:
        """Let the reactor do what it has to do."""
        await deferLater(reactor, 0, lambda: None)
