"""What is said when the database fails: enough to act on, and not a line a second for hours."""

from __future__ import annotations

import math
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
CURE: Final = "restore a backup with `python -m simple_im restore`"

log = Logger()


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the error is Python's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


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
            self._disk_failed(error, what, writes)
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

    def _disk_failed(self, error: sqlite3.Error, what: str, writes: bool) -> None:
        now = self._seconds()
        if now >= self._again[writes]:
            self._again[writes] = now + REMIND
            self._is_refusing |= writes
            more = ": nothing is stored until that is over" if writes else ""
            log.error("the database failed in {what}: {error}{more}", what=what, error=error, more=more)
