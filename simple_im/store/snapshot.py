"""The database in a backup: copied from a node that may be running, made safe to start from, looked at."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

EPOCH_LEAP: Final = 1_024
"""How far the epoch in a copy is above the node's. The node raises it by one a start, so no `seq` that it gives out
later, in up to so many starts, is one of a node that starts from the copy."""
VERSION_LEAP: Final = 1_024
"""The same for versions of contact lists: a client that has seen a later one is sent all of its list again."""
ID_LEAP: Final = 100_000
"""The same for ids of users and groups: who signs up after a restoration does not get those of somebody else's."""

_PAGES: Final = 1_024
"""What is copied in one step, within the one transaction: 4 MiB."""


@dataclass(frozen=True)
class Counts:
    """How much there is."""

    users: int
    devices: int
    entries: int
    files: int

    def __str__(self) -> str:
        return (
            f"{self.users:,} users, {self.devices:,} devices, {self.entries:,} messages and notices, "
            f"{self.files:,} media files"
        )


def copy_database(source: Path, target: Path, progress: Callable[[], None]) -> None:
    """Copies a database as it is at one moment, into the empty file `target`; raises sqlite3.Error.

    It is one read transaction, which a writer does not wait for, and has what a killed node left in its `-wal`. The
    source is opened for reading, so nothing of it is changed. `progress` is called after every few MiB; the last of
    the target is not on disk before the caller syncs it.
    """
    with _opened(_uri(source, "mode=ro")) as original, _opened(_uri(target, "mode=rw")) as copy:
        copy.execute("PRAGMA synchronous=OFF")
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        original.backup(copy, pages=_PAGES, progress=lambda *_pages: progress())
        copy.execute("PRAGMA journal_mode=DELETE")


def leap(path: Path) -> None:
    """Puts all that a node counts up beyond what the node that was copied will have given out; raises sqlite3.Error."""
    with _transaction(path) as copy:
        copy.execute("UPDATE node SET epoch = epoch + ?", (EPOCH_LEAP,))
        copy.execute("UPDATE contact SET version = version + ?", (VERSION_LEAP,))
        copy.execute("UPDATE user SET contact_version = contact_version + ?", (VERSION_LEAP,))
        for table in ("user", "group"):
            copy.execute(
                "INSERT INTO sqlite_sequence (name, seq)"
                " SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
                (table, table),
            )
            copy.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ?", (ID_LEAP, table))


def skip_epochs(path: Path, number: int) -> None:
    """Leaves out so many epochs; raises sqlite3.Error."""
    with _transaction(path) as copy:
        copy.execute("UPDATE node SET epoch = epoch + ?", (number,))


def forget_files(path: Path, names: list[tuple[str, str]]) -> None:
    """Removes files, by kind and name, and who may have them; raises sqlite3.Error."""
    with _transaction(path) as copy:
        copy.executemany("DELETE FROM file_user WHERE kind = ? AND name = ?", names)
        copy.executemany("DELETE FROM file WHERE kind = ? AND name = ?", names)


def count(path: Path) -> Counts:
    """How much is in it; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        tables = ("user", "device", "entry", "file")
        return Counts(*(copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables))


def files(path: Path) -> list[tuple[str, str]]:
    """Kind and name of every file that it names; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        return copy.execute("SELECT kind, name FROM file ORDER BY kind, name").fetchall()


def schema_version(path: Path) -> int:
    """Of which version its schema is; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        return int(copy.execute("PRAGMA user_version").fetchone()[0])


def known_schema_version() -> int:
    """The newest that this simple_im knows: that of the last of its numbered files."""
    folder = resources.files("simple_im.store") / "schema"
    return sum(file.name.endswith(".sql") for file in folder.iterdir())


def damage(path: Path) -> str | None:
    """What is wrong within it, in SQLite's words, or None; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        (verdict,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            return " ".join(str(verdict).split())
        broken = copy.execute("PRAGMA foreign_key_check").fetchone()
        return None if broken is None else f"a row of table {broken[0]} refers to one of {broken[2]} that is not there"


def _uri(path: Path, parameters: str) -> str:
    return f"{path.absolute().as_uri()}?{parameters}"


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


def _unchanged(path: Path) -> contextlib.AbstractContextManager[sqlite3.Connection]:
    """A database that nobody writes to, opened so that nothing appears beside it either."""
    return _opened(_uri(path, "mode=ro&immutable=1"))


@contextlib.contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    with _opened(_uri(path, "mode=rw")) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
