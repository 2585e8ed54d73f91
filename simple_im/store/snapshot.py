"""The database in a backup: copied from a node that may be running, made safe to start from, looked at."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simple_im.store.opening import AT_REST, READING, WRITING, log_of, opened
from simple_im.store.trouble import primary_code

_OF_WRITING: Final = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
)
_PAGES: Final = 1_024
"""What is copied in one step, within the one transaction: 4 MiB."""
_RUNS: Final = 3
"""The first version of the schema that has messages in runs, and a table of their ids."""


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


@dataclass(frozen=True)
class Leap:
    """How far all that a node counts up is raised."""

    epochs: int
    versions: int
    """Of contact lists: a client that has seen an earlier one is sent all of its list again."""
    ids: int
    """Of users and of groups."""


def copy_database(source: Path, target: Path, progress: Callable[[], None]) -> None:
    """Copies a database as it is at one moment, into the empty file `target`; raises sqlite3.Error, OSError.

    It is one read transaction, which a writer does not wait for, and has what a killed node left in its `-wal`. The
    source is opened for reading, so nothing of it is changed, and nothing appears beside the database of a node that
    was stopped. `progress` is called after every few MiB; the last of the target is not on disk before the caller
    syncs it.
    """
    if not _copied_at_rest(source, target, progress):
        _copy(source, READING, target, progress)


def is_of_writing(error: sqlite3.Error) -> bool:
    """Whether `copy_database` has failed for `target`: its `source` is not written to."""
    return primary_code(error) == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", 0) in _OF_WRITING


def _copied_at_rest(source: Path, target: Path, progress: Callable[[], None]) -> bool:
    """Whether it could be copied without looking for a log: nobody had it open before, nor wrote to it meanwhile."""
    before = _rest(source)
    if before is None:
        return False
    try:
        _copy(source, AT_REST, target, progress)
    except sqlite3.Error:
        if _rest(source) == before:
            raise
    return _rest(source) == before


def _rest(path: Path) -> tuple[int, int, int] | None:
    """What is another after every write to a database; None where one has it open, or had as it was killed."""
    if log_of(path).exists() or path.with_name(f"{path.name}-journal").exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _copy(source: Path, mode: str, target: Path, progress: Callable[[], None]) -> None:
    with opened(source, mode) as original, opened(target, WRITING) as copy:
        copy.execute("PRAGMA synchronous=OFF")
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        original.backup(copy, pages=_PAGES, progress=lambda *_pages: progress())
        copy.execute("PRAGMA journal_mode=DELETE")


def epoch(path: Path) -> int:
    """The epoch of the last start; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        return int(copy.execute("SELECT epoch FROM node").fetchone()[0])


def leap(path: Path, by: Leap) -> None:
    """Raises all that a node counts up; raises sqlite3.Error."""
    with _transaction(path) as copy:
        copy.execute("UPDATE node SET epoch = epoch + ?", (by.epochs,))
        copy.execute("UPDATE contact SET version = version + ?", (by.versions,))
        copy.execute("UPDATE user SET contact_version = contact_version + ?", (by.versions,))
        for table in ("user", "group"):
            copy.execute(
                "INSERT INTO sqlite_sequence (name, seq)"
                " SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
                (table, table),
            )
            copy.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ?", (by.ids, table))


def forget_files(path: Path, names: list[tuple[str, str]]) -> None:
    """Removes files, by kind and name, and who may have them; raises sqlite3.Error."""
    with _transaction(path) as copy:
        copy.executemany("DELETE FROM file_user WHERE kind = ? AND name = ?", names)
        copy.executemany("DELETE FROM file WHERE kind = ? AND name = ?", names)


def count(path: Path) -> Counts:
    """How much is in it; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        messages = "count(*) FROM entry" if _version(copy) < _RUNS else "coalesce(sum(seq - first + 1), 0) FROM run"
        counts = ("count(*) FROM user", "count(*) FROM device", messages, "count(*) FROM file")
        return Counts(*(copy.execute(f"SELECT {count}").fetchone()[0] for count in counts))


def files(path: Path) -> list[tuple[str, str]]:
    """Kind and name of every file that it names; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        return copy.execute("SELECT kind, name FROM file ORDER BY kind, name").fetchall()


def schema_version(path: Path) -> int:
    """Of which version its schema is; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        return _version(copy)


def _version(copy: sqlite3.Connection) -> int:
    return int(copy.execute("PRAGMA user_version").fetchone()[0])


def damage(path: Path) -> str | None:
    """What is wrong within it, in SQLite's words, or None; raises sqlite3.Error."""
    with _unchanged(path) as copy:
        (verdict,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            return " ".join(str(verdict).split())
        broken = copy.execute("PRAGMA foreign_key_check").fetchone()
        return None if broken is None else f"a row of table {broken[0]} refers to one of {broken[2]} that is not there"


def _unchanged(path: Path) -> contextlib.AbstractContextManager[sqlite3.Connection]:
    """That in a backup, to which nobody writes."""
    return opened(path, AT_REST)


@contextlib.contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    with opened(path, WRITING) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
