"""What stands on the other side of the store in its tests: senders, connections, and a database taken step by step."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from simple_im.status import StorageUnavailable
from simple_im.store import database as database_module
from simple_im.store.accounts import Accounts
from simple_im.store.database import Cursor, Database
from simple_im.store.entries import Draft, Entry
from simple_im.store.inbox_sql import begin_run

_T = TypeVar("_T")

SENDER = 1
PHONE = "phone"


def draft(
    id_: bytes, *users: int, sender: int = SENDER, device: str = PHONE, text: bytes = b"hi", dup: bool = False
) -> Draft:
    """A message as the router gives it to an inbox."""
    tail = b"dup = true\n" if dup else b""
    return Draft(sender, device, id_, users, b'[[m]]\nid = "%b"\nc = "%b"\n' % (id_, text), tail)


def ids_of(entries: object) -> list[bytes]:
    """The ids of entries, a page's or a delivery's."""
    return [entry.id for entry in entries]  # type: ignore[attr-defined]


def seqs_of(entries: object) -> list[int]:
    """Their places."""
    return [entry.seq for entry in entries]  # type: ignore[attr-defined]


class Sender:
    """A `Receipt` that keeps what it is told, in order."""

    gone = False

    def __init__(self) -> None:
        self.answers: list[tuple[bytes, str]] = []
        self.on_answer: Callable[[], object] = lambda: None

    @property
    def stored_ids(self) -> list[bytes]:
        return [id_ for id_, reason in self.answers if not reason]

    def stored(self, ids: list[bytes]) -> None:
        self._take([(id_, "") for id_ in ids])

    def refused(self, ids: list[bytes], reason: str) -> None:
        self._take([(id_, reason) for id_ in ids])

    def _take(self, answers: list[tuple[bytes, str]]) -> None:
        self.answers += answers
        self.on_answer()


class Deliveries:
    """An `Outlet` that keeps what goes out, and hands it on to those that follow."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.followers: list[Callable[[Entry], None]] = []
        self.written = 0

    def deliver(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.entries.append(entry)
            for follow in self.followers:
                follow(entry)

    def flush(self) -> None:
        self.written = len(self.entries)


class SteppedDatabase(Database):
    """A real database without its thread: what is asked is done, and answered, when the test says so.

    The order is the thread's: first asked, first done, first answered. While it is `broken` every commit fails.
    """

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))
        self.broken = False
        self.attempts = 0
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("PRAGMA foreign_keys=ON")
        for step in database_module.schema():
            self._connection.executescript(step)
        self._asked: deque[tuple[Callable[[], object], Deferred[Any]]] = deque()
        self._done: deque[tuple[object, Deferred[Any]]] = deque()

    def raise_epoch(self) -> int:
        """As at the start of a process."""
        return begin_run(Cursor(self._connection.cursor()))

    def cursor(self) -> sqlite3.Cursor:
        """Past all order."""
        return self._connection.cursor()

    def stop(self) -> None:
        """The process has ended: nothing is done or answered any more."""
        self._connection.close()
        self._asked.clear()
        self._done.clear()

    async def _run(self, interaction: Callable[..., _T], writes: bool, *args: Any, **kwargs: Any) -> _T:
        answer: Deferred[_T] = Deferred()
        self._asked.append((partial(self._transaction, interaction, writes, args, kwargs), answer))
        return await answer

    def _transaction(self, interaction: Callable[..., _T], writes: bool, args: Any, kwargs: Any) -> _T:
        self.attempts += writes
        self._connection.execute("BEGIN")
        try:
            result = interaction(Cursor(self._connection.cursor()), *args, **kwargs)
            if writes and self.broken:
                raise StorageUnavailable()
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return result

    def do(self) -> bool:
        """Do what was asked first; whether there was anything."""
        if not self._asked:
            return False
        interaction, answer = self._asked.popleft()
        try:
            self._done.append((interaction(), answer))
        except Exception:
            self._done.append((Failure(), answer))
        return True

    def answer(self) -> bool:
        """Answer what was done first; whether there was anything."""
        if not self._done:
            return False
        result, answer = self._done.popleft()
        answer.callback(result)
        return True

    def settle(self) -> None:
        """Do and answer until nothing is left."""
        while self.do() or self.answer():
            pass

    def statements_of(self, step: Callable[[], object]) -> int:
        """How many statements a step runs."""
        statements: list[str] = []
        self._connection.set_trace_callback(statements.append)
        step()
        self._connection.set_trace_callback(None)
        return len(statements)

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        """What is on disk at this moment."""
        return self._connection.execute(sql, parameters).fetchall()


async def make_users(database: Database, count: int) -> None:
    """Users with the ids 1 to `count`."""
    accounts = Accounts(database)
    for number in range(count):
        await accounts.create(f"user {number}", str(10_000 + number), "hash", 0)
