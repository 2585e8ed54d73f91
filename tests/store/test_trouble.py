"""What the log says when the database fails."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from simple_im.store.trouble import REMIND, Trouble
from tests.store.faulty import error

FULL, FAILED = error(sqlite3.SQLITE_FULL), error(sqlite3.SQLITE_IOERR_FSYNC)
CORRUPT, NOT_ONE = error(sqlite3.SQLITE_CORRUPT), error(sqlite3.SQLITE_NOTADB)


class TroubleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1_000.0
        self.trouble = Trouble(Path("simple_im.db"), lambda: self.now)
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def lines(self) -> list[str]:
        """What was said since the last time."""
        said = [formatEvent(event) for event in self.events if event["log_namespace"] == "simple_im.store.trouble"]
        self.events.clear()
        return said

    def test_begins_and_ends(self) -> None:
        """There is a line when writes begin to fail, and one when they work again, and none a write."""
        for _ in range(100):
            self.trouble.failed(FAILED, "write_batch", True)
        (line,) = self.lines()
        self.assertIn("the database failed in write_batch: disk I/O error", line)
        for _ in range(100):
            self.trouble.wrote()
        self.assertEqual(self.lines(), ["the database simple_im.db takes writes again"])

    def test_lasts(self) -> None:
        """As long as it lasts there is a line a minute."""
        said = []
        for _ in range(600):
            self.trouble.failed(FULL, "write_batch", True)
            said += self.lines()
            self.now += 1
        self.assertEqual(len(said), 600 // REMIND)

    def test_flickers(self) -> None:
        """What comes and goes is not said more often."""
        for _ in range(int(REMIND)):
            self.trouble.failed(FULL, "write_batch", True)
            self.trouble.wrote()
            self.now += 1
        self.assertEqual(len(self.lines()), 2)

    def test_reading(self) -> None:
        """Reads that fail have lines of their own; a write says nothing of them."""
        for _ in range(10):
            self.trouble.failed(FAILED, "read_page", False)
            self.trouble.wrote()
        (line,) = self.lines()
        self.assertIn("read_page", line)

    def test_damage(self) -> None:
        """Damage is said once, with what to do."""
        for _ in range(10):
            for each in (CORRUPT, NOT_ONE):
                self.trouble.failed(each, "read_page", False)
                self.trouble.wrote()
            self.now += REMIND
        ((line, level),) = [(formatEvent(event), event["log_level"]) for event in self.events]
        self.assertIn("the database simple_im.db is damaged", line)
        self.assertIn("stop the server and restore a backup with `python -m simple_im restore`", line)
        self.assertEqual(level, LogLevel.error)

    def test_unexpected(self) -> None:
        """What nobody expected comes with its traceback each time."""
        for _ in range(2):
            try:
                sqlite3.connect(":memory:").execute("no SQL")
            except sqlite3.Error as caught:
                self.trouble.failed(caught, "read_page", False)
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 2)
