"""Small true implementations of what tests cannot have: a database that waits when told, a peer that does not read."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from importlib import resources
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from simple_im.status import StorageUnavailable
from simple_im.store.database import Cursor, Database, Interaction

T = TypeVar("T")
TCP_BUFFER = 65_536
"""What Twisted's TCP transports buffer before they tell their producer to pause."""


def result_of(coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
    """What a coroutine that waits for nothing returns, or raises."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
    if not outcome:
        raise AssertionError("the coroutine waits for something")
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result


class MemoryDatabase(Database):
    """The store's SQL on an SQLite in memory.

    It answers at once, until `hold`: then it does nothing by itself. Like the real one it does what it is asked in
    order, and answers in that order.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        for file in sorted((resources.files("simple_im.store") / "schema").iterdir(), key=lambda file: file.name):
            self._connection.executescript(file.read_text())
        self._held = False
        self._asked: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()
        self._done: deque[tuple[Any, Deferred[Any]]] = deque()
        self.fails_with: Exception | None = None
        """Raised instead of doing anything."""
        self.writes_fail = False
        self.reads = 0
        """How many times anything was read."""

    async def read(self, interaction: Interaction[..., T], *args: Any, **kwargs: Any) -> T:
        self.reads += 1
        return await self._ask(partial(self._run_one, False, interaction, *args, **kwargs))

    async def write(self, interaction: Interaction[..., T], *args: Any, **kwargs: Any) -> T:
        return await self._ask(partial(self._run_one, True, interaction, *args, **kwargs))

    def hold(self) -> None:
        """Do nothing from now on until told to."""
        self._held = True

    def do(self) -> None:
        """Do what was asked so far, and keep the answers."""
        while self._asked:
            work, waiting = self._asked.popleft()
            self._done.append((_outcome(work), waiting))

    def answer(self) -> None:
        """Do what was asked so far and answer it."""
        self.do()
        for _ in range(len(self._done)):
            outcome, waiting = self._done.popleft()
            waiting.callback(outcome)

    def release(self) -> None:
        """Answer everything, and from now on at once."""
        self._held = False
        while self._asked or self._done:
            self.answer()

    async def _ask(self, work: Callable[[], T]) -> T:
        if not (self._held or self._asked or self._done):
            return work()
        waiting: Deferred[T] = Deferred()
        self._asked.append((work, waiting))
        return await waiting

    def _run_one(self, writes: bool, interaction: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if self.fails_with is not None:
            raise self.fails_with
        if writes and self.writes_fail:
            raise StorageUnavailable()
        with self._connection:
            self._connection.execute("BEGIN")
            return interaction(Cursor(self._connection.cursor()), *args, **kwargs)


def _outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception:
        return Failure()


class Kernel:
    """The TCP transport below TLS, as far as the server looks at it. It takes everything until it is `stuck`."""

    offset = 0

    def __init__(self) -> None:
        self.stuck = False
        self.dataBuffer = b""
        self.taken = 0

    def write(self, data: bytes) -> None:
        """Take it, or let it wait."""
        self.dataBuffer += data
        if not self.stuck:
            self.take(len(self.dataBuffer))

    def take(self, size: int) -> None:
        """Take some of what waits."""
        self.taken += len(self.dataBuffer[:size])
        self.dataBuffer = self.dataBuffer[size:]

    @property
    def is_full(self) -> bool:
        """Whether a producer has to pause."""
        return len(self.dataBuffer) > TCP_BUFFER


class TlsTransport(StringTransport):
    """A TLS connection as its protocol sees it: `writes` has each write, `lost` and `aborted` count the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.transport = Kernel()
        self.writes: list[bytes] = []
        self.lost = self.aborted = 0
        self._is_paused = False

    def write(self, data: bytes) -> None:
        """As `TLSMemoryBIOProtocol`: nothing is written once it closes, unless a producer is registered."""
        if not (self.disconnecting and self.producer is None):
            super().write(data)
            self.writes.append(data)
            self.transport.write(data)
            self._tell_producer()

    def block(self) -> None:
        """The peer stops reading: what is written waits from now on."""
        self.transport.stuck = True

    def fill(self) -> None:
        """The peer stops reading, and there is more to write than the buffer takes."""
        self.block()
        self.transport.write(bytes(TCP_BUFFER + 1))
        self._tell_producer()

    def drain(self) -> None:
        """The peer has read all, and goes on reading."""
        self.transport.stuck = False
        self.transport.write(b"")
        self._tell_producer()

    def _tell_producer(self) -> None:
        if self.producer is None:
            return
        if self.transport.is_full and not self._is_paused:
            self._is_paused = True
            self.producer.pauseProducing()
        elif self._is_paused and not self.transport.dataBuffer:
            self._is_paused = False
            self.producer.resumeProducing()

    @property
    def is_read(self) -> bool:
        """Whether the server reads from the connection."""
        return bool(self.producerState == "producing")

    def loseConnection(self) -> None:
        """Count, and close."""
        self.lost += 1
        super().loseConnection()

    def abortConnection(self) -> None:
        """Count, and be gone."""
        self.aborted += 1
        self.disconnected = self.disconnecting = True
