"""After an error of the disk nothing is built on what may not be on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from shutil import copy

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from simple_im.config import StartError
from simple_im.status import StorageUnavailable
from simple_im.store import mending
from simple_im.store.database import Cursor, Database, prepare
from simple_im.store.opening import log_of
from tests.store.faulty import FaultyConnection, error

CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"


def nothing(_cursor: Cursor) -> None:
    """An interaction that does nothing."""


def set_epoch(cursor: Cursor, epoch: int) -> int:
    cursor.execute("UPDATE node SET epoch = ?", (epoch,))
    return epoch


def epoch(cursor: Cursor) -> int:
    return int(cursor.execute("SELECT epoch FROM node").one()[0])


class MendingTests(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        prepare(self.path, nothing)
        self.patch(sqlite3, "connect", partial(sqlite3.connect, factory=FaultyConnection))
        FaultyConnection.reset()
        self.addCleanup(FaultyConnection.reset)
        self.database = Database(self.path, lambda: 0.0)
        self.database.start()
        self.addCleanup(self.database.stop)

    async def write(self, number: int) -> None:
        await self.database.write(set_epoch, number)

    async def refused(self, number: int) -> None:
        with self.assertRaises(StorageUnavailable):
            await self.write(number)

    async def fail_commit(self, code: int) -> None:
        """Write 1, and fail to write 2."""
        await self.write(1)
        FaultyConnection.failing["COMMIT"] = code
        await self.refused(2)
        FaultyConnection.failing.clear()
        FaultyConnection.statements()

    async def test_mended(self) -> None:
        """The connection that knows what was committed writes that again; the next transaction is a new one's."""
        await self.fail_commit(sqlite3.SQLITE_IOERR_FSYNC)
        await self.write(3)
        self.assertEqual(FaultyConnection.statements(), [(1, CHECKPOINT), (2, "BEGIN IMMEDIATE"), (2, "COMMIT")])
        self.assertEqual(await self.database.read(epoch), 3)
        await self.write(4)
        self.assertEqual(FaultyConnection.statements(), [(2, "BEGIN IMMEDIATE"), (2, "COMMIT")])

    async def test_not_mended(self) -> None:
        """Until that works nothing else is written, and what was stored can be read."""
        await self.fail_commit(sqlite3.SQLITE_IOERR_FSYNC)
        for code in (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CORRUPT):
            FaultyConnection.failing[CHECKPOINT] = code
            await self.refused(3)
            self.assertEqual(await self.database.read(epoch), 1)
            self.assertEqual(FaultyConnection.statements(), [(1, CHECKPOINT)])
        FaultyConnection.failing.clear()
        await self.write(4)
        self.assertEqual(await self.database.read(epoch), 4)

    async def test_queued(self) -> None:
        """A write that waits behind the one that fails is not begun before."""
        FaultyConnection.failing["COMMIT"] = FaultyConnection.failing[CHECKPOINT] = sqlite3.SQLITE_IOERR_FSYNC
        await gatherResults([Deferred.fromCoroutine(self.refused(number)) for number in range(3)])
        begun = [sql for _, sql in FaultyConnection.statements()]
        self.assertEqual(begun, ["BEGIN IMMEDIATE", "COMMIT", CHECKPOINT, CHECKPOINT])

    async def test_other_reader(self) -> None:
        """While another program reads, what was committed can't be written anew: writes are refused, at once."""
        await self.write(1)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT epoch FROM node").fetchall()
            await self.fail_commit(sqlite3.SQLITE_IOERR_FSYNC)
            await self.refused(3)
            self.assertEqual(await self.database.read(epoch), 1)
            self.assertEqual(FaultyConnection.opened, 2)
        await self.write(3)
        self.assertEqual(await self.database.read(lambda c: c.execute("PRAGMA busy_timeout").one()), (5_000,))

    async def test_cannot_open(self) -> None:
        """Where the database can't be opened anew, the next tries again."""
        await self.fail_commit(sqlite3.SQLITE_IOERR_FSYNC)
        FaultyConnection.failing["PRAGMA journal_mode"] = sqlite3.SQLITE_CANTOPEN
        await self.refused(3)
        with self.assertRaises(StorageUnavailable):
            await self.database.read(epoch)
        FaultyConnection.failing.clear()
        self.assertEqual(await self.database.read(epoch), 1)
        await self.write(3)
        self.assertEqual(await self.database.read(epoch), 3)

    async def test_full(self) -> None:
        """A full disk leaves nothing that could be taken for a commit: there is nothing to mend."""
        await self.fail_commit(sqlite3.SQLITE_FULL)
        await self.write(3)
        self.assertEqual(FaultyConnection.statements(), [(1, "BEGIN IMMEDIATE"), (1, "COMMIT")])

    async def test_truly_full(self) -> None:
        """So it is with SQLite's own error, which comes in the middle of a transaction."""
        await self.write(1)
        await self.database.read(lambda cursor: cursor.execute("PRAGMA max_page_count=1").one())
        with self.assertRaises(StorageUnavailable):
            await self.database.write(lambda cursor: cursor.execute("CREATE TABLE more AS SELECT zeroblob(100000)"))
        self.assertEqual(await self.database.read(epoch), 1)
        await self.write(2)
        self.assertNotIn(CHECKPOINT, [sql for _, sql in FaultyConnection.statements()])

    async def test_read_fails(self) -> None:
        """An error in reading says nothing of what was written."""

        def fails(_cursor: Cursor) -> None:
            raise error(sqlite3.SQLITE_IOERR_READ)

        with self.assertRaises(StorageUnavailable):
            await self.database.read(fails)
        await self.write(1)
        self.assertNotIn(CHECKPOINT, [sql for _, sql in FaultyConnection.statements()])

    async def test_rollback_fails(self) -> None:
        """What could not be rolled back is neither read nor committed by what comes next."""

        def half(cursor: Cursor) -> None:
            set_epoch(cursor, 7)
            raise ZeroDivisionError

        FaultyConnection.failing["ROLLBACK"] = sqlite3.SQLITE_IOERR
        with self.assertRaises(ZeroDivisionError):
            await self.database.write(half)
        for attempt in (self.database.read(epoch), self.write(8)):
            with self.assertRaises(StorageUnavailable):
                await attempt
        self.flushLoggedErrors(sqlite3.OperationalError)
        FaultyConnection.failing.clear()
        await self.write(9)
        self.assertEqual(await self.database.read(epoch), 9)


class RewriteTests(SynchronousTestCase):
    """A start after a process that was killed."""

    def setUp(self) -> None:
        original = Path(self.mktemp())
        prepare(original, nothing)
        self.path = Path(self.mktemp())
        with closing(sqlite3.connect(original, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("UPDATE node SET epoch = 7")
            connection.execute("CREATE TABLE more (x)")
            connection.execute("INSERT INTO more SELECT zeroblob(3000000)")
            copy(original, self.path)
            copy(log_of(original), log_of(self.path))
        self.log = log_of(self.path)
        self.content = self.log.read_bytes()

    def test_written_again(self) -> None:
        """All of its log is written again as it was, and synced, before any of it goes into the database file."""
        written: list[bytes] = []
        original = self.path.read_bytes()

        def pwrite(descriptor: int, data: bytes, place: int) -> int:
            self.assertEqual((place, self.path.read_bytes()), (sum(map(len, written)), original))
            written.append(data)
            return os_pwrite(descriptor, data, place)

        os_pwrite = mending.os.pwrite
        self.patch(mending.os, "pwrite", pwrite)
        self.assertEqual(prepare(self.path, epoch), 7)
        self.assertEqual(b"".join(written), self.content)
        self.assertFalse(self.log.exists())

    def test_fails(self) -> None:
        """Where that fails, the start does, with what to do, and the database file has nothing of the log."""
        original = self.path.read_bytes()

        def fsync(_descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        self.patch(mending.os, "fsync", fsync)
        sentence = str(self.assertRaises(StartError, prepare, self.path, epoch))
        self.assertIn(f"the database {self.path} cannot be used (Input/output error): see what the system's", sentence)
        self.assertEqual((self.path.read_bytes(), self.log.read_bytes()), (original, self.content))

    def test_read_meanwhile(self) -> None:
        """Another program that reads, such as a backup, does not keep a node from starting."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT epoch FROM node").fetchall()
            self.assertEqual(prepare(self.path, epoch), 7)
