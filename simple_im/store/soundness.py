"""The database is looked at before anything writes to it: a damaged one, or somebody else's, is left as it is."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from simple_im.config import StartError, shown
from simple_im.store.opening import AT_REST, READING, log_of, opened
from simple_im.store.trouble import CURE, CURE_OR_ELSEWHERE, primary_code

CHECK_TIME: Final = 2.0
"""Seconds that a start looks for damage; `python -m simple_im verify` looks at all of a backup."""
_HEADER: Final = 100
"""The bytes without which SQLite takes a file for a new database; it removes a log that it finds beside one."""
_STEPS: Final = 1_000
"""After so many of its steps SQLite looks at the time."""
_AT_ONCE: Final = 268_435_456
"""A database up to this size is walked through within that time by an SQLite that does not look at the time then."""
_WITH_INDEXES: Final = 83_886_080
"""One up to this size also with a look into every index for every row."""
_LOOKS: Final = (3, 41)
"""The first version that does."""


def check(path: Path, steps: Sequence[str]) -> None:
    """The file is a database of ours that these steps of the schema have made, or nothing yet, and shows no damage.

    No byte of it or of its log is changed. Raises StartError, and sqlite3.Error where it can't be read.
    """
    if path.is_dir():
        raise StartError(f"the database {path} is a directory: move it away, or choose another --state DIR")
    _check_access(path)
    size, log_size = _size(path), _size(log_of(path))
    if size < _HEADER and log_size:
        raise _damaged(path, f"it has {size} bytes, and its log {log_of(path)} has {log_size}")
    if size:
        with opened(path, READING if log_size else AT_REST) as connection:
            _check_schema(connection, path, steps)
            if not log_size:
                _check_end(connection, path, size)
            _check_pages(connection, path, size)


def check_there(path: Path) -> None:
    """Where there was a database, one that is gone or empty is not made anew; raises StartError.

    With a log beside it `check` has more to say.
    """
    if not _size(path) and not _size(log_of(path)):
        raise StartError(
            f"the database {path} is gone or empty, and files/ beside it shows that there was one: {CURE}; "
            "or, to begin anew, remove files/, or choose another --state DIR"
        )


def _check_access(path: Path) -> None:
    """SQLite would make its files beside one that can only be read as it is, and then those could not be written."""
    for file in (path, log_of(path), path.with_name(path.name + "-shm")):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            raise StartError(
                f"{file} can't be read and written by this user: "
                "have it belong to the user that runs the server, with mode 0600, and start as that user"
            )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_schema(connection: sqlite3.Connection, path: Path, steps: Sequence[str]) -> None:
    """Its version is one that we know, and all tables of that version are there."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = _tables(connection)
    if version > len(steps):
        raise StartError(
            f"the database {path} is of version {version} and this simple_im knows up to {len(steps)}: "
            "install the simple_im that wrote it, or a newer one"
        )
    if version < 0 or (version == 0 and tables):
        raise StartError(f"the database {path} is another program's: choose another --state DIR")
    for table in sorted(_made_by(steps[:version]) - tables):
        raise StartError(f"the database {path} has no table {table}: {CURE_OR_ELSEWHERE}")


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def _made_by(steps: Iterable[str]) -> set[str]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for sql in steps:
            connection.executescript(sql)
        return _tables(connection)


def _check_end(connection: sqlite3.Connection, path: Path, size: int) -> None:
    """SQLite takes what is missing of the last page for zeros. With a log, the end may be there only."""
    pages, page_size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if not pages or pages * page_size > size:
        raise _damaged(path, "its end is missing")


def _check_pages(connection: sqlite3.Connection, path: Path, size: int) -> None:
    """As far as the time reaches."""
    end = time.monotonic() + CHECK_TIME
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        for question in _questions(connection, size):
            (answer,) = connection.execute(question).fetchone()
            if answer != "ok":
                raise _damaged(path, " ".join(str(answer).split()))
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_INTERRUPT:
            raise


def _questions(connection: sqlite3.Connection, size: int) -> list[str]:
    """SQLite's own check, and where that could take too long, the one without indexes, or reading every row."""
    if sqlite3.sqlite_version_info >= _LOOKS or size <= _WITH_INDEXES:
        return ["PRAGMA integrity_check(1)"]
    if size <= _AT_ONCE:
        return ["PRAGMA quick_check(1)"]
    tables = sorted(_tables(connection))
    return [f"SELECT iif(total(1) < 0, '', 'ok') FROM \"{table}\" NOT INDEXED" for table in tables]


def _damaged(path: Path, found: str) -> StartError:
    return StartError(f"the database {path} is damaged ({shown(found)}): {CURE_OR_ELSEWHERE}")
