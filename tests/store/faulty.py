"""A connection to a true SQLite that fails on command, as SQLite does."""

from __future__ import annotations

import sqlite3
from typing import Any, ClassVar


def error(code: int) -> sqlite3.OperationalError:
    """An error of SQLite's."""
    texts = {sqlite3.SQLITE_FULL: "database or disk is full", sqlite3.SQLITE_IOERR: "disk I/O error"}
    made = sqlite3.OperationalError(texts.get(code & 0xFF, "database disk image is malformed"))
    made.sqlite_errorcode = code
    return made


class FaultyConnection(sqlite3.Connection):
    """Given to `sqlite3.connect` as its factory. What all of them have run is in `log`, with the connection's number.

    `failing` says with which code a statement that begins so fails; a COMMIT that fails has rolled back, as SQLite's.
    """

    log: ClassVar[list[tuple[int, str]]] = []
    failing: ClassVar[dict[str, int]] = {}
    opened: ClassVar[int] = 0

    @classmethod
    def reset(cls) -> None:
        """Forget everything, and fail no more."""
        cls.log.clear()
        cls.failing.clear()
        cls.opened = 0

    @classmethod
    def statements(cls) -> list[tuple[int, str]]:
        """What was run since the last time, without how connections are set up."""
        found = [(number, sql) for number, sql in cls.log if "PRAGMA" not in sql or "wal_checkpoint" in sql]
        cls.log.clear()
        return found

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FaultyConnection.opened += 1
        self.number = FaultyConnection.opened

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """Run it, or fail."""
        self.log.append((self.number, sql))
        for beginning, code in self.failing.items():
            if sql.startswith(beginning):
                if sql == "COMMIT":
                    super().execute("ROLLBACK")
                raise error(code)
        return super().execute(sql, *args)

    def rollback(self) -> None:
        """The same for adbapi's."""
        if "ROLLBACK" in self.failing:
            raise error(self.failing["ROLLBACK"])
        super().rollback()
