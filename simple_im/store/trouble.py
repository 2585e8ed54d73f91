"""What is said when the database or its disk fails: enough to act on, and not a line a second for hours."""

from __future__ import annotations

import errno
import math
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.logger import Logger

REMIND: Final = 60.0
"""Seconds between two lines that say the same of the disk."""
OF_THE_DISK: Final = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)
DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
CURE: Final = 'restore a backup with `python -m simple_im restore`, as "Restoring" in docs/operations.md says'
CURE_OR_ELSEWHERE: Final = f"{CURE}, or choose another --state DIR"
MAKE_ROOM: Final = "free some space on its disk; what is in it is safe"
_ROOM: Final = 1_048_576
"""With less than this free, it is the disk."""
LOOK: Final = "see what the system's log says of its disk"
_ACCESS: Final = "see that it belongs to the user that runs the server, with mode 0600, on a disk that takes writes"
_CURES: Final = {
    sqlite3.SQLITE_FULL: MAKE_ROOM,
    sqlite3.SQLITE_BUSY: "end the other program that uses it",
    sqlite3.SQLITE_IOERR: LOOK,
    sqlite3.SQLITE_PERM: _ACCESS,
    sqlite3.SQLITE_READONLY: _ACCESS,
    sqlite3.SQLITE_CANTOPEN: _ACCESS,
}
_REFUSES: Final = "the database {path} takes no writes ({error}), and nothing is stored until that is over: {cure}"

log = Logger()


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the error is Python's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def cure(error: sqlite3.Error, path: Path) -> str:
    """What to do; a database is not at fault where its disk is."""
    code = primary_code(error)
    if code in OF_THE_DISK and _is_full(path.parent):
        return MAKE_ROOM
    return _CURES.get(code, CURE)


def _is_full(directory: Path) -> bool:
    try:
        return shutil.disk_usage(directory).free < _ROOM
    except OSError:
        return False


def cure_of_upload(error: object) -> str:
    """What to do where a file can't be written."""
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "free some space there" if is_full else LOOK


class Trouble:
    """Says what is wrong with a database. `seconds` is a clock that only goes forward."""

    def __init__(self, path: Path, seconds: Callable[[], float]) -> None:
        self._path = path
        self._seconds = seconds
        self._again = {True: -math.inf, False: -math.inf}
        self._is_refusing = False
        self._is_damaged = False

    def failed(self, error: sqlite3.Error, what: str, writes: bool) -> None:
        """A line where the disk or the file is to blame; what nobody expected has its traceback.

        Of the disk there is one a minute as long as it lasts, of damage there is one.
        """
        if primary_code(error) in DAMAGED:
            self._damaged(error, what)
        elif primary_code(error) in OF_THE_DISK:
            self._disk_failed(error, writes)
        else:
            log.failure("the database failed in {what}", what=what)

    def wrote(self) -> None:
        """Something was written; that is said where the opposite was."""
        if self._is_refusing:
            self._is_refusing = False
            log.info("the database {path} takes writes again", path=self._path)

    def _damaged(self, error: sqlite3.Error, what: str) -> None:
        if not self._is_damaged:
            self._is_damaged = True
            text = "the database {path} is damaged ({error}, found in {what}): stop the server and {cure}"
            log.error(text, path=self._path, error=error, what=what, cure=CURE)

    def _disk_failed(self, error: sqlite3.Error, writes: bool) -> None:
        now = self._seconds()
        if now >= self._again[writes]:
            self._again[writes] = now + REMIND
            self._is_refusing |= writes
            text = _REFUSES if writes else "the database {path} can't be read ({error}): {cure}"
            log.error(text, path=self._path, error=error, cure=cure(error, self._path))
