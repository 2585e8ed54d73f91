"""The database: opened, brought up to date, and its one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from simple_im.config import StartError
from simple_im.status import StorageUnavailable
from simple_im.store import database as database_module
from simple_im.store.database import Cursor, Database, prepare
from tests.store.faulty import error

STEPS = tuple(database_module.schema())
NEWEST = len(STEPS)


def nothing(_cursor: Cursor) -> None:
    """An interaction that does nothing."""


def schema_of(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
    finally:
        connection.close()


class PrepareTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def sql(self, statement: str) -> list[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    @contextmanager
    def patched_steps(self, *steps: str) -> Iterator[None]:
        """A simple_im that knows these steps."""
        patch = self.patch(database_module, "schema", lambda: steps)
        yield
        patch.restore()

    def refusal(self) -> str:
        return str(self.assertRaises(StartError, prepare, self.path, nothing))

    def test_from_nothing(self) -> None:
        """A database that is not there is made, with all its tables and its version."""
        prepare(self.path, nothing)
        tables = {name for kind, name, _ in schema_of(self.path) if kind == "table" and not name.startswith("sqlite_")}
        self.assertLessEqual({"user", "device", "acked", "run", "message", "inbox", "token", "node"}, tables)
        self.assertEqual(self.sql("PRAGMA user_version"), [(NEWEST,)])

    def test_empty_file(self) -> None:
        """So is one in an empty file."""
        self.path.touch()
        prepare(self.path, nothing)
        self.assertEqual(self.sql("PRAGMA user_version"), [(NEWEST,)])

    def test_step_by_step(self) -> None:
        """A database of any version becomes what a new one is."""
        prepare(self.path, nothing)
        newest = schema_of(self.path)
        for version in range(1, NEWEST):
            self.path = Path(self.mktemp())
            with self.patched_steps(*STEPS[:version]):
                prepare(self.path, nothing)
            self.assertEqual(self.sql("PRAGMA user_version"), [(version,)])
            prepare(self.path, nothing)
            self.assertEqual(schema_of(self.path), newest)

    def test_twice(self) -> None:
        """One that is up to date stays as it is."""
        prepare(self.path, nothing)
        self.sql("UPDATE node SET epoch = 7")
        before = schema_of(self.path)
        prepare(self.path, nothing)
        self.assertEqual(schema_of(self.path), before)
        self.assertEqual(self.sql("SELECT epoch FROM node"), [(7,)])

    def test_first(self) -> None:
        """What is to be done first is done, committed, and its result given."""

        def first(cursor: Cursor) -> str:
            cursor.execute("UPDATE node SET epoch = 7")
            return "done"

        self.assertEqual(prepare(self.path, first), "done")
        self.assertEqual(self.sql("SELECT epoch FROM node"), [(7,)])

    def test_next_version(self) -> None:
        """A step that is new is taken, with what the database holds kept, and no step twice."""
        prepare(self.path, nothing)
        self.sql("UPDATE node SET epoch = 7")
        with self.patched_steps(*STEPS, "ALTER TABLE node ADD COLUMN note TEXT DEFAULT 'x';"):
            prepare(self.path, nothing)
            prepare(self.path, nothing)
        self.assertEqual(self.sql("SELECT epoch, note FROM node"), [(7, "x")])
        self.assertEqual(self.sql("PRAGMA user_version"), [(NEWEST + 1,)])

    def test_step_that_fails(self) -> None:
        """A step that fails is undone as a whole."""
        prepare(self.path, nothing)
        before = schema_of(self.path)
        with self.patched_steps(*STEPS, "CREATE TABLE more (x);\nCREATE TABLE node (x);"):
            self.assertIn("node already exists", self.refusal())
        self.assertEqual(schema_of(self.path), before)
        self.assertEqual(self.sql("PRAGMA user_version"), [(NEWEST,)])

    def test_newer(self) -> None:
        """A newer simple_im's database is refused with what to do, and stays as it is."""
        prepare(self.path, nothing)
        self.sql(f"PRAGMA user_version={NEWEST + 1}")
        content = self.path.read_bytes()
        sentence = self.refusal()
        self.assertIn(f"the database {self.path} is of version {NEWEST + 1} and", sentence)
        self.assertIn("install the simple_im that wrote it", sentence)
        self.assertEqual(self.path.read_bytes(), content)

    def test_full_disk(self) -> None:
        """Where the disk has no room, that is what is said; a database is not replaced for it."""

        def fails(_cursor: Cursor) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        sentence = str(self.assertRaises(StartError, prepare, self.path, fails))
        self.assertIn("free some space on its disk", sentence)
        self.assertNotIn("restore", sentence)

    def test_garbage(self) -> None:
        """A file that is no database is refused with what to do, and stays as it is."""
        for content in (b"garbage" * 1_000, b"notes" * 5, b"SQLite format 3\x00" + b"\xff" * 5_000):
            self.path.write_bytes(content)
            sentence = self.refusal()
            self.assertIn(f"the database {self.path} cannot be used", sentence)
            self.assertIn("--state DIR", sentence)
            self.assertEqual(self.path.read_bytes(), content)

    def test_directory(self) -> None:
        """So is a path that can't be opened."""
        self.path.mkdir()
        self.assertIn(f"the database {self.path} is a directory: move it away", self.refusal())

    def test_access(self) -> None:
        """A database of another user is to be given to this one, not to be replaced."""

        def fails(_cursor: Cursor) -> None:
            raise error(sqlite3.SQLITE_READONLY)

        sentence = str(self.assertRaises(StartError, prepare, self.path, fails))
        self.assertIn("see that it belongs to the user that runs the server", sentence)
        self.assertNotIn("restore", sentence)

    def test_let_go(self) -> None:
        """The file is let go of, also when it is refused: no log of it stays behind."""
        prepare(self.path, nothing)
        self.assertEqual([path.name for path in self.path.parent.glob(self.path.name + "*")], [self.path.name])


class DatabaseTests(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        prepare(self.path, nothing)
        self.database = Database(self.path)
        self.database.start()
        self.addCleanup(self.database.stop)

    def pragma(self, name: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.database.read(lambda cursor: cursor.execute(f"PRAGMA {name}").one()[0]))

    async def test_durable(self) -> None:
        """The connection that is used writes to a WAL and syncs it with every commit; references are checked."""
        names = ("journal_mode", "synchronous", "foreign_keys")
        self.assertEqual([await self.pragma(name) for name in names], ["wal", 2, 1])

    async def test_order(self) -> None:
        """What is asked is done in order, reading and writing alike, and answered in that order."""
        results: list[int] = []

        def raise_to(cursor: Cursor, epoch: int) -> int:
            cursor.execute("UPDATE node SET epoch = ? WHERE epoch = ?", (epoch, epoch - 1))
            return epoch

        def read(cursor: Cursor) -> int:
            return int(cursor.execute("SELECT epoch FROM node").one()[0])

        asked: list[Deferred[Any]] = []
        for epoch in range(1, 101):
            for question in (self.database.write(raise_to, epoch), self.database.read(read)):
                asked.append(Deferred.fromCoroutine(question).addCallback(results.append))
        await gatherResults(asked)
        self.assertEqual(results, [epoch for epoch in range(1, 101) for _ in range(2)])

    async def test_transaction(self) -> None:
        """A write that fails leaves nothing, says what a caller can understand, and the log has the cause."""

        def half(cursor: Cursor) -> None:
            cursor.execute("UPDATE node SET epoch = 7")
            cursor.execute("INSERT INTO node (id, epoch) VALUES (1, 8)")

        with self.assertRaises(StorageUnavailable):
            await self.database.write(half)
        (error,) = self.flushLoggedErrors(sqlite3.IntegrityError)
        self.assertIn("UNIQUE constraint failed", str(error.value))
        self.assertEqual(await self.database.read(lambda c: c.execute("SELECT epoch FROM node").one()), (0,))

    async def test_fault_of_ours(self) -> None:
        """A fault in the program stays what it is, and leaves nothing either."""

        def faulty(cursor: Cursor) -> None:
            cursor.execute("UPDATE node SET epoch = 7")
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            await self.database.write(faulty)
        self.assertEqual(await self.database.read(lambda c: c.execute("SELECT epoch FROM node").one()), (0,))

    async def test_goes_on(self) -> None:
        """After a failure the next is done as if nothing had been."""
        with self.assertRaises(StorageUnavailable):
            await self.database.read(lambda cursor: cursor.execute("no SQL"))
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 1)
        await self.database.write(lambda cursor: cursor.execute("UPDATE node SET epoch = 7"))
        self.assertEqual(await self.database.read(lambda c: c.execute("SELECT epoch FROM node").one()), (7,))

    async def test_committed(self) -> None:
        """With a write's result it is there for every other connection."""
        await self.database.write(lambda cursor: cursor.execute("UPDATE node SET epoch = 7"))
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("SELECT epoch FROM node").fetchall(), [(7,)])

    async def test_stop_finishes(self) -> None:
        """Stopping lets what was asked for come to its end, and answers it."""
        asked = [
            Deferred.fromCoroutine(self.database.write(lambda c: c.execute("UPDATE node SET epoch = epoch + 1").count))
            for _ in range(50)
        ]
        self.database.stop()
        self.assertEqual(await gatherResults(asked), [1] * 50)

    async def test_stopped(self) -> None:
        """After that, and before a start, nothing is taken."""
        self.database.stop()
        for database in (self.database, Database(self.path)):
            with self.assertRaises(StorageUnavailable):
                await database.read(nothing)

    def test_stop_twice(self) -> None:
        """Stopping twice is stopping."""
        self.database.stop()
        self.database.stop()


class CursorTests(SynchronousTestCase):
    def setUp(self) -> None:
        connection = sqlite3.connect(":memory:")
        self.addCleanup(connection.close)
        self.statements: list[str] = []
        connection.set_trace_callback(self.statements.append)
        self.cursor = Cursor(connection.cursor())
        self.cursor.execute("CREATE TABLE t (a, b, c DEFAULT 0)")

    def test_many(self) -> None:
        """Any number of rows goes in, each once, in order, in few statements."""
        for count in (0, 1, 2, 3, 4, 15, 16, 17, 255, 256, 257, 600):
            rows = [(n, f"{n}") for n in range(count)]
            self.cursor.execute("DELETE FROM t")
            self.statements.clear()
            self.cursor.many("INSERT INTO t (a, b) VALUES :rows", rows)
            self.assertLessEqual(len([sql for sql in self.statements if sql.startswith("INSERT")]), 13)
            self.assertEqual(self.cursor.execute("SELECT a, b FROM t ORDER BY rowid").all(), rows)

    def test_more(self) -> None:
        """Parameters behind the rows go with every statement."""
        self.cursor.many("INSERT INTO t (a, b) VALUES :rows", [(n, 0) for n in range(300)])
        update = "WITH g (a) AS (VALUES :rows) UPDATE t SET b = ?, c = ? WHERE a IN (SELECT a FROM g)"
        self.cursor.many(update, [(n,) for n in range(1, 300)], ("x", "y"))
        counts = self.cursor.execute("SELECT b, c, count(*) FROM t GROUP BY b, c").all()
        self.assertEqual(counts, [(0, 0, 1), ("x", "y", 299)])

    def test_rows(self) -> None:
        """Rows come one by one, all at once, or one after the other."""
        self.cursor.many("INSERT INTO t (a, b) VALUES :rows", [(1, 2), (3, 4), (5, 6)])
        self.cursor.execute("SELECT a FROM t")
        self.assertEqual(self.cursor.one(), (1,))
        self.assertEqual(self.cursor.all(), [(3,), (5,)])
        self.assertIsNone(self.cursor.one())
        self.assertEqual(list(self.cursor.execute("SELECT b FROM t")), [(2,), (4,), (6,)])
