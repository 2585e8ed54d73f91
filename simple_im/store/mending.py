"""What is not known to be on disk is written again, or refused, before anything is built on it.

Where fsync fails, Linux takes the pages for written. They can still be read, and the next fsync succeeds and writes
nothing (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). So behind a commit that has
failed, SQLite's log (the WAL) may hold a whole transaction that was refused, and hold it in memory only. The
connection knows that, and writes its next transaction over it. Whoever opens the database anew does not: recovery
reads the log (https://sqlite.org/walformat.html), takes the transaction for committed, and what is committed next
comes behind it. A power failure then ends the log at the hole, and all that was acknowledged since is lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from simple_im.store.opening import READING, log_of, opened
from simple_im.store.trouble import primary_code

_CHUNK: Final = 1_048_576
_CODES: Final = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EACCES: sqlite3.SQLITE_PERM,
    errno.EROFS: sqlite3.SQLITE_READONLY,
}


class Mending:
    """Whether a connection may be written to; used on the database's thread."""

    def __init__(self) -> None:
        self._is_due = False

    def note(self, error: sqlite3.Error) -> None:
        """A write has failed. A full disk is harmless: of what it refused, the frame that says "committed" is missing.

        Some file systems find out that they are full only as they sync; that is SQLITE_IOERR like all else.
        """
        self._is_due |= primary_code(error) == sqlite3.SQLITE_IOERR

    def mend(self, connection: Any) -> None:
        """Before a write: have all that was committed in the database file and the log empty, where that is due.

        `connection` is adbapi's: it is opened anew, after the one that knows what was committed has done the rest.
        Raises sqlite3.Error; then nothing may be written.
        """
        if self._is_due:
            if not empty_log(connection):
                raise _error("another program reads it, and it has to be written anew", sqlite3.SQLITE_BUSY)
            connection.reconnect()
            self._is_due = False


def empty_log(connection: Any) -> bool:
    """Write what the log holds into the database file, sync that, and cut the log to nothing; raises sqlite3.Error.

    That is what the connection knows to be committed, and it is written whatever the page cache shows. False where
    somebody else is reading; that is not waited for.
    """
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout=0")
    try:
        ((is_busy, _frames, _written),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout={patience}")
    return not is_busy


def rewrite_log(path: Path) -> None:
    """At start: have on disk what can be read of the log that another process has left; raises sqlite3.Error.

    It has to be there before any of it goes into the database file: a power failure meanwhile would else leave a
    mixture of the two.
    """
    with _log_kept(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")  # nobody else writes meanwhile
        try:
            _write_again(log_of(path))
        except OSError as error:
            raise _error(str(error.strerror), _CODES.get(error.errno or 0, sqlite3.SQLITE_IOERR)) from None
        finally:
            writer.execute("ROLLBACK")


@contextlib.contextmanager
def _log_kept(path: Path) -> Iterator[None]:
    """Meanwhile a connection that is closed does not empty the log; nor does the one here, which only reads."""
    with opened(path, READING) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        yield


def _write_again(path: Path) -> None:
    place = 0
    with path.open("r+b", buffering=0) as file:
        while chunk := os.pread(file.fileno(), _CHUNK, place):
            place += os.pwrite(file.fileno(), chunk, place)
        os.fsync(file.fileno())


def _error(text: str, code: int) -> sqlite3.OperationalError:
    """An error as SQLite's are."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error
