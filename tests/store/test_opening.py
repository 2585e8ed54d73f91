"""How a database's file is opened beside the node's own connection."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simple_im.store.opening import AT_REST, READING, WRITING, opened, schema


class OpenedTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = directory / "50% of? #1.db"
        self.log = directory / "50% of? #1.db-wal"
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE one (x); INSERT INTO one VALUES (1);")

    def leave_log(self) -> None:
        """A process that has committed a second row, and is killed."""
        child = os.fork()
        if child == 0:
            sqlite3.connect(self.path, isolation_level=None).execute("INSERT INTO one VALUES (2)")
            os._exit(0)
        os.waitpid(child, 0)

    def rows(self, mode: str) -> int:
        with opened(self.path, mode) as connection:
            return int(connection.execute("SELECT count(*) FROM one").fetchone()[0])

    def test_at_rest(self) -> None:
        """Beside a database at rest nothing appears, and of one that is not, only the file is read."""
        self.assertEqual(self.rows(AT_REST), 1)
        self.assertEqual(os.listdir(self.path.parent), [self.path.name])
        self.leave_log()
        self.assertEqual(self.rows(AT_REST), 1)

    def test_log(self) -> None:
        """The two others read what only the log has; a reader leaves the log where it is."""
        self.leave_log()
        size = self.log.stat().st_size
        self.assertEqual(self.rows(READING), 2)
        self.assertEqual(self.log.stat().st_size, size)
        self.assertEqual(self.rows(WRITING), 2)

    def test_refused(self) -> None:
        """Nothing is written but where it is asked for, and no database made where there is none."""
        for mode in (READING, AT_REST):
            with opened(self.path, mode) as connection:
                self.assertRaises(sqlite3.OperationalError, connection.execute, "DELETE FROM one")
        self.path.rename(self.path.with_name("elsewhere"))
        for mode in (READING, AT_REST, WRITING):
            self.assertRaises(sqlite3.OperationalError, self.rows, mode)
        self.assertFalse(self.path.exists())


class SchemaTests(SynchronousTestCase):
    def test_order(self) -> None:
        """The SQL of every version, the first one's first."""
        first, second, *_more = schema()
        self.assertIn("CREATE TABLE user", first)
        self.assertIn("ALTER TABLE user", second)
