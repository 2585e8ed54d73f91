"""What the log says when the database fails."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from simple_im.store.trouble import REMIND, Trouble, cure, cure_of_upload
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
        self.assertIn("the database simple_im.db takes no writes (disk I/O error), and nothing is stored until", line)
        self.assertIn(": see what the system's log says of its disk", line)
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
        self.assertIn("the database simple_im.db can't be read (disk I/O error): see what the system's log", line)

    def test_full(self) -> None:
        """A full disk is to be given room, by whatever error it shows; what it holds is not to be replaced."""
        self.trouble.failed(FULL, "write_batch", True)
        self.assertIn("(database or disk is full), and nothing is stored until that is over: free", *self.lines())
        self.patch(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 0))
        self.now += REMIND
        self.trouble.failed(FAILED, "write_batch", True)
        self.assertIn("(disk I/O error), and nothing is stored until that is over: free some space", *self.lines())

    def test_access(self) -> None:
        """A file that another user owns, or that can't be written to, is said to be that."""
        for code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DBMOVED, sqlite3.SQLITE_PERM):
            self.assertIn("it belongs to the user that runs the server", cure(error(code), Path("simple_im.db")))
        self.assertEqual(cure(error(sqlite3.SQLITE_READONLY), Path("gone/gone/simple_im.db"))[:4], "see ")

    def test_uploads(self) -> None:
        """A full disk under the files is to be given room, too."""
        self.assertEqual(cure_of_upload(OSError(errno.ENOSPC, "")), "free some space there")
        self.assertIn("the system's log", cure_of_upload(OSError(errno.EIO, "")))

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
