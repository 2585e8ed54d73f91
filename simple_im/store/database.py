"""The SQLite database of an embedded node: opened, brought up to date, and used from one thread of its own.

One thread is a promise that the inbox builds on: interactions run in the order in which they were asked for, and
their results come back in that order.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from twisted.enterprise import adbapi

from simple_im.config import StartError, shown
from simple_im.status import StorageUnavailable
from simple_im.store.mending import Mending, empty_log, rewrite_log
from simple_im.store.opening import log_of, schema
from simple_im.store.soundness import check
from simple_im.store.trouble import CURE, CURE_OR_ELSEWHERE, LOOK, Trouble, cure

_P = ParamSpec("_P")
_T = TypeVar("_T")
_CACHE: Final = 16_384
"""KiB of the database in memory: a commit's pages, and those of the indexes that every commit changes."""
_CHECKPOINT: Final = 4_000
"""Pages in the log, 16 MB, after which they go to the database: pages that every commit changes do so once."""
_CHUNKS: Final = (1024, 256, 64, 16, 4, 1)
"""Rows a statement: a statement a row would make this thread fight the reactor's for the interpreter lock."""


class Cursor:
    """What an interaction gets: the part of a DB-API cursor that the store uses."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Cursor:
        """Run one statement."""
        self._cursor.execute(sql, parameters)
        return self

    def one(self) -> Any:
        """The next row, or None."""
        return self._cursor.fetchone()

    def all(self) -> list[Any]:
        """The rows that are left."""
        return list(self._cursor.fetchall())

    def __iter__(self) -> Any:
        return iter(self._cursor.fetchone, None)

    @property
    def count(self) -> int:
        """How many rows the last statement changed."""
        return int(self._cursor.rowcount)

    def many(self, sql: str, rows: Sequence[tuple[object, ...]], more: tuple[object, ...] = ()) -> None:
        """Run `sql` for many rows in few statements: they stand where it says `VALUES :rows`, before what `more`
        is for."""
        start = 0
        for size in _CHUNKS:
            while len(rows) - start >= size:
                self._some(sql, rows[start : start + size], more)
                start += size

    def _some(self, sql: str, rows: Sequence[tuple[object, ...]], more: tuple[object, ...]) -> None:
        values = list(chain.from_iterable(rows))
        values += more
        self._cursor.execute(_with_rows(sql, len(rows), len(rows[0])), values)


@cache
def _with_rows(sql: str, rows: int, columns: int) -> str:
    """`sql` for so many rows; few sizes and statements are ever asked for."""
    row = "(" + ",".join("?" * columns) + ")"
    return sql.replace(":rows", ",".join([row] * rows))


Interaction = Callable[Concatenate[Cursor, _P], _T]


class _Connection(adbapi.Connection):
    """What a transaction runs on."""

    def rollback(self) -> None:
        """Where the database was closed and could not be opened again there is nothing to roll back."""
        with contextlib.suppress(sqlite3.ProgrammingError):
            super().rollback()  # type: ignore[no-untyped-call]


class _Pool(adbapi.ConnectionPool):
    """Connections to one database, each of one thread."""

    connectionFactory = _Connection


class Database:
    """The way to the database: each call is one transaction on its thread. `seconds` is a clock that only goes
    forward."""

    def __init__(self, path: Path, seconds: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._pool: adbapi.ConnectionPool | None = None
        self._mending = Mending()
        self._trouble = Trouble(path, seconds)

    def start(self) -> None:
        """Start the thread; the reactor must be the one that will run."""
        self._pool = _Pool(  # type: ignore[no-untyped-call]
            "sqlite3",
            str(self._path),
            isolation_level=None,
            check_same_thread=False,
            cp_min=1,
            cp_max=1,
            cp_noisy=False,
            cp_openfun=_configure,
        )
        self._pool.start()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Close the connection, when what was asked for is done."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    async def read(self, interaction: Interaction[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `interaction`, which only reads; raises `StorageUnavailable`."""
        return await self._run(interaction, False, *args, **kwargs)

    async def write(self, interaction: Interaction[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `interaction` and commit: with the result it is on disk. Raises `StorageUnavailable`, and nothing was.

        After an error of the disk that is so until what was committed before is known to be there; see `mending`.
        """
        return await self._run(interaction, True, *args, **kwargs)

    async def _run(self, interaction: Callable[..., _T], writes: bool, *args: Any, **kwargs: Any) -> _T:
        if self._pool is None:
            raise StorageUnavailable()
        transaction = self._write if writes else _read
        try:
            result: _T = await self._pool.runWithConnection(transaction, interaction, args, kwargs)
        except sqlite3.Error as error:
            self._trouble.failed(error, interaction.__qualname__, writes)
            raise StorageUnavailable() from None
        if writes:
            self._trouble.wrote()
        return result

    def _write(
        self, connection: Any, interaction: Callable[..., _T], args: tuple[object, ...], kwargs: dict[str, Any]
    ) -> _T:
        """On the thread. It commits itself: the next transaction must not begin before an error is noted."""
        try:
            _leave_transaction(connection)
            self._mending.mend(connection)
            connection.execute("BEGIN IMMEDIATE")
            result = _ask(connection, interaction, args, kwargs)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._mending.note(error)
            raise
        return result


def _read(connection: Any, interaction: Callable[..., _T], args: tuple[object, ...], kwargs: dict[str, Any]) -> _T:
    _leave_transaction(connection)
    return _ask(connection, interaction, args, kwargs)


def _leave_transaction(connection: Any) -> None:
    """After an error adbapi rolls back, and goes on where that fails: what is left must not be read, or committed."""
    if connection.in_transaction:
        connection.rollback()


def _ask(connection: Any, interaction: Callable[..., _T], args: tuple[object, ...], kwargs: dict[str, Any]) -> _T:
    with contextlib.closing(connection.cursor()) as cursor:
        return interaction(Cursor(cursor), *args, **kwargs)


def _configure(connection: sqlite3.Connection) -> None:
    """WAL is durable only with `synchronous=FULL`, which is not its default."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{_CACHE}")
    connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT}")
    connection.execute("PRAGMA busy_timeout=5000")


def prepare(path: Path, first: Interaction[[], _T]) -> _T:
    """Create the database or bring it up to date, at start, before a door opens, and run `first`.

    Raises `StartError`; a database that is damaged or is not ours stays as it is, byte by byte.
    """
    steps = schema()
    try:
        check(path, steps)
        if log_of(path).exists():
            rewrite_log(path)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            _configure(connection)
            empty_log(connection)
            _upgrade(connection, steps)
            return _at_once(connection, first)
    except sqlite3.Error as error:
        raise StartError(f"the database {path} cannot be used ({shown(error)}): {_cure(error, path)}") from None


def _at_once(connection: sqlite3.Connection, first: Callable[[Cursor], _T]) -> _T:
    connection.execute("BEGIN IMMEDIATE")
    result = first(Cursor(connection.cursor()))
    connection.execute("COMMIT")
    return result


def _cure(error: sqlite3.Error, path: Path) -> str:
    """What to do at a start, which can be tried again or go elsewhere."""
    first = cure(error, path)
    if first == CURE:
        return CURE_OR_ELSEWHERE
    return f"{LOOK}, and start again; where that does not help, {CURE}" if first == LOOK else first


def _upgrade(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, sql in enumerate(steps[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version={number};\nCOMMIT;")
