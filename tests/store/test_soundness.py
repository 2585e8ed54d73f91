"""A look at the database before a start writes to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simple_im.config import StartError
from simple_im.store import soundness
from simple_im.store.database import Cursor, prepare
from simple_im.store.opening import log_of, schema
from simple_im.store.sequence import raise_epoch
from simple_im.store.soundness import check, check_there

STEPS = ("CREATE TABLE one (x);", "CREATE TABLE two (y, z); CREATE INDEX by_z ON two (z);")


def fill(cursor: Cursor) -> None:
    """Enough for inner pages."""
    cursor.execute("CREATE TABLE more (x PRIMARY KEY, y)")
    cursor.execute(
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000)"
        " INSERT INTO more SELECT x, zeroblob(500) FROM n"
    )


class SchemaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def make(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript("\n".join(statements))

    def refusal(self) -> str:
        """Why it is refused; not a byte is changed."""
        content = self.path.read_bytes()
        sentence = str(self.assertRaises(StartError, check, self.path, STEPS))
        self.assertEqual(self.path.read_bytes(), content)
        self.assertEqual(list(self.path.parent.glob(self.path.name + "-*")), [])
        self.assertIn(f"the database {self.path} ", sentence)
        return sentence

    def test_nothing(self) -> None:
        """No file is fine, and so is an empty one."""
        check(self.path, STEPS)
        self.path.touch()
        check(self.path, STEPS)

    def test_each_version(self) -> None:
        """So is what any number of the steps has made, and a database that only got its header."""
        self.make("PRAGMA journal_mode=WAL;")
        check(self.path, STEPS)
        for version, step in enumerate(STEPS, 1):
            self.make(step, f"PRAGMA user_version={version};")
            check(self.path, STEPS)

    def test_newer(self) -> None:
        """One of a later version is refused."""
        self.make(*STEPS, "PRAGMA user_version=3;")
        self.assertIn("is of version 3 and this simple_im knows up to 2: install", self.refusal())

    def test_there(self) -> None:
        """Where there has been one, none and an empty one are refused, and nothing is made."""
        for make in (Path.unlink, Path.touch):
            self.path.touch()
            make(self.path)
            found = self.path.exists()
            sentence = str(self.assertRaises(StartError, check_there, self.path))
            self.assertIn(f"the database {self.path} is gone or empty", sentence)
            self.assertIn("restore a backup with `python -m simple_im restore`", sentence)
            self.assertEqual(self.path.exists(), found)
        self.make(STEPS[0])
        check_there(self.path)

    def test_another_programs(self) -> None:
        """So is one with tables and without a version, or with an impossible one."""
        self.make("CREATE TABLE notes (text);")
        self.assertIn("is another program's: choose another --state DIR", self.refusal())
        self.make("PRAGMA user_version=-1;")
        self.assertIn("is another program's: choose another --state DIR", self.refusal())

    def test_tables_missing(self) -> None:
        """And one that lacks a table of its version."""
        self.make("CREATE TABLE notes (text);", STEPS[0], "PRAGMA user_version=2;")
        self.assertIn("has no table two: restore a backup", self.refusal())

    def test_log_alone(self) -> None:
        """SQLite takes an empty file for a new database, and removes a log that it finds beside it."""
        log_of(self.path).write_bytes(b"log")
        self.assertIn("(it has 0 bytes, and its log", str(self.assertRaises(StartError, check, self.path, STEPS)))
        self.path.touch()
        self.assertIn("(it has 0 bytes, and its log", str(self.assertRaises(StartError, check, self.path, STEPS)))
        self.assertEqual(log_of(self.path).read_bytes(), b"log")

    def test_access(self) -> None:
        """A file that this user may not read or write is named, before SQLite makes others like it."""
        self.make(STEPS[0], "PRAGMA user_version=1;")
        for ending in ("-shm", "-wal", ""):
            file = self.path.with_name(self.path.name + ending)
            file.touch()
            self.patch(soundness.os, "access", lambda path, _mode, closed=file: path != closed)
            sentence = str(self.assertRaises(StartError, check, self.path, STEPS))
            self.assertIn(f"{file} can't be read and written by this user: have it belong to the user", sentence)
            self.assertNotIn("restore", sentence)

    def test_log_counts(self) -> None:
        """What is only in the log counts, and the log stays as it is."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE notes (text)")
            contents = self.path.read_bytes(), log_of(self.path).read_bytes()
            self.assertIn("another program's", str(self.assertRaises(StartError, check, self.path, STEPS)))
            self.assertEqual((self.path.read_bytes(), log_of(self.path).read_bytes()), contents)


class DamageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        prepare(self.path, fill)
        self.content = self.path.read_bytes()

    def assert_found(self) -> None:
        """A start with what is there now is refused, and leaves it there."""
        content = self.path.read_bytes()
        sentence = str(self.assertRaises(StartError, prepare, self.path, raise_epoch))
        self.assertIn("restore a backup with `python -m simple_im restore`", sentence)
        self.assertEqual(len(sentence.splitlines()), 1)
        self.assertEqual(self.path.read_bytes(), content)

    def damage_each_page(self) -> None:
        for start in range(0, len(self.content), 4_096 * 7):
            self.path.write_bytes(self.content[:start] + b"\xa5" * 4_096 + self.content[start + 4_096 :])
            self.assert_found()

    def test_pages(self) -> None:
        """A page overwritten, wherever it is."""
        self.damage_each_page()

    def test_pages_of_a_large_one(self) -> None:
        """The same where the database is too large for SQLite's own check."""
        self.patch(soundness, "_WITH_INDEXES", 0)
        self.patch(soundness, "_AT_ONCE", 0)
        self.patch(soundness, "_LOOKS", (4, 0))
        with closing(sqlite3.connect(self.path)) as connection:
            (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'more'").fetchone()
        start = (root - 1) * 4_096
        self.path.write_bytes(self.content[:start] + b"\xa5" * 4_096 + self.content[start + 4_096 :])
        self.assert_found()

    def test_index(self) -> None:
        """An index that does not lead to a row: a login would not find its user."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("INSERT INTO user (phone, name, password, created) VALUES ('8618266', 'Ann', '', 0)")
            connection.commit()
            connection.execute("PRAGMA journal_mode=DELETE")
            (root,) = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'user'"
            ).fetchone()
        content = bytearray(self.path.read_bytes())
        place = content.index(b"8618266", (root - 1) * 4_096, root * 4_096)
        content[place] = ord("7")
        self.path.write_bytes(content)
        self.assert_found()
        self.patch(soundness, "_LOOKS", (4, 0))
        self.assert_found()
        self.patch(soundness, "_WITH_INDEXES", 0)
        check(self.path, schema())

    def test_schema_in_no_encoding(self) -> None:
        """A schema that is not UTF-8, which SQLite's own words then are not either."""
        place = self.content.index(b"CREATE TABLE more")
        for length in (3, 30):
            self.path.write_bytes(self.content[:place] + b"\xff" * length + self.content[place + length :])
            self.assert_found()
        for name in (b"more", b"inbox"):
            self.path.write_bytes(self.content.replace(name, b"\xff" * len(name)))
            self.assert_found()

    def test_end(self) -> None:
        """A file that ends too early, be it by a byte."""
        for missing in (1, 4_095, 4_096, 4_097, len(self.content) - 1):
            self.path.write_bytes(self.content[:-missing])
            self.assert_found()

    def test_time(self) -> None:
        """A look does not take longer than it may, and what it has not seen by then passes."""
        self.patch(soundness, "CHECK_TIME", -1.0)
        self.patch(soundness, "_STEPS", 1)
        for looks in ((0, 0), (4, 0)):
            self.patch(soundness, "_LOOKS", looks)
            self.patch(soundness, "_WITH_INDEXES", 0)
            self.patch(soundness, "_AT_ONCE", 0)
            check(self.path, schema())
