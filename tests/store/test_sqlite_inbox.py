"""The inbox on SQLite: the contract of all inboxes, on real files, and what is its own."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from simple_im import limits as limits_module
from simple_im.status import STORAGE_UNAVAILABLE, StorageUnavailable
from simple_im.store.database import Database, prepare
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.inbox_sql import begin_run
from simple_im.store.retention import forget_devices, purge_entries
from simple_im.store.sequence import SPAN_BITS, Sequence
from tests.store import inbox_contract
from tests.store.fakes import Deliveries, Sender, draft, ids_of, make_users, seqs_of


class SQLiteCase(inbox_contract.Contract):
    """An inbox on a database file, with the real reactor and the database's own thread."""

    limits = limits_module
    inbox: SQLiteInbox

    async def setUp(self) -> None:  # type: ignore[override]
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.clock = Clock()
        self.outlet = Deliveries()
        self._open()
        self.addCleanup(lambda: self.database.stop())
        await make_users(self.database, 4)

    def _open(self) -> None:
        self.path = self.folder / "simple_im.db"
        self.epoch = prepare(self.path, begin_run)
        self.database = Database(self.path)
        self.database.start()
        self.inbox = SQLiteInbox(self.database, Sequence(self.database, self.epoch), self.clock, self.outlet)

    async def reopen(self) -> None:
        crashed = Path(self.mktemp())
        shutil.copytree(self.folder, crashed)
        self.database.stop()
        self.folder = crashed
        self._open()

    async def forget_devices(self, before: int) -> None:
        while await forget_devices(self.database, before):
            pass

    async def expire(self, before: int) -> None:
        while await purge_entries(self.database, before):
            pass

    def on_disk(self, sql: str) -> list[Any]:
        """What another process sees in the database."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


class ReadingTests(inbox_contract.ReadingContract, SQLiteCase):
    pass


class ConcurrencyTests(inbox_contract.ConcurrencyContract, SQLiteCase):
    pass


class AcknowledgingTests(inbox_contract.AcknowledgingContract, SQLiteCase):
    pass


class ReceiptTests(inbox_contract.ReceiptContract, SQLiteCase):
    pass


class DupTests(inbox_contract.DupContract, SQLiteCase):
    pass


class DeviceTests(inbox_contract.DeviceContract, SQLiteCase):
    pass


class AtOnceTests(SQLiteCase):
    async def test_delivered_before_commit(self) -> None:
        """Connected devices get an entry as it is appended; nothing is on disk yet."""
        self.inbox.append(draft(b"a", 2), Sender())
        self.assertEqual(ids_of(self.outlet.entries), [b"a"])
        self.assertEqual(self.on_disk("SELECT count(*) FROM run"), [(0,)])

    async def test_told_after_commit(self) -> None:
        """When a sender is told, the message is on disk for all to see, and what came behind it is not."""
        sender, seen, told = Sender(), [], Deferred[None]()

        def look() -> None:
            seen.append(self.on_disk("SELECT ids, users FROM run"))
            told.callback(None)

        sender.on_answer = look
        self.inbox.append(draft(b"a", 2), sender)
        self.inbox.commit()
        self.inbox.append(draft(b"b", 2), Sender())
        await told
        self.assertEqual(seen, [[('["a"]', "[2]")]])

    async def test_last_page_has_uncommitted(self) -> None:
        """A last page holds what is committed, what is being committed and what has gathered, in order."""
        state = await self.device(2)
        await self.store(draft(b"a", 2))
        self.inbox.append(draft(b"b", 2), Sender())
        self.inbox.commit()
        reading = Deferred.fromCoroutine(self.inbox.read(state, 0, 100, 10_000))
        self.inbox.append(draft(b"c", 2), Sender())
        page = await reading
        self.assertEqual((ids_of(page.entries), page.last), ([b"a", b"b", b"c"], True))

    async def test_uncommitted_within_limits(self) -> None:
        """The limits are one page's, whether on disk or in memory."""
        state = await self.device(2)
        await self.store(draft(b"a", 2))
        size = len((await self.waiting(state))[0].wire)
        self.inbox.append(draft(b"b", 2), Sender())
        self.inbox.append(draft(b"c", 3), Sender())
        for limit, max_bytes, last in ((1, 10_000, False), (2, 10_000, True), (9, size, False), (9, 2 * size, True)):
            page = await self.inbox.read(state, 0, limit, max_bytes)
            self.assertEqual((ids_of(page.entries), page.last), ([b"a", b"b"][: 1 + last], last))

    async def test_uncommitted_own_left_out(self) -> None:
        """A device's own message is left out of what is in memory too."""
        state = await self.device(1)
        self.inbox.append(draft(b"a", 1, 2), Sender())
        self.inbox.append(draft(b"b", 1, sender=2), Sender())
        self.assertEqual(ids_of(await self.waiting(state)), [b"b"])

    async def test_uncommitted_after(self) -> None:
        """A reader that has got what is in memory is not given it again."""
        state = await self.device(2)
        for id_ in (b"a", b"b"):
            self.inbox.append(draft(id_, 2), Sender())
        page = await self.inbox.read(state, self.outlet.entries[0].seq, 100, 10_000)
        self.assertEqual(ids_of(page.entries), [b"b"])

    async def test_one_entry(self) -> None:
        """A message to many is one row, one id and a line for each of them."""
        await self.store(draft(b"a", 2, 3, 4))
        self.assertEqual(self.on_disk("SELECT count(*) FROM run"), [(1,)])
        self.assertEqual(self.on_disk("SELECT count(*) FROM message"), [(1,)])
        self.assertEqual(self.on_disk("SELECT user FROM inbox ORDER BY user"), [(2,), (3,), (4,)])

    async def test_passed_acknowledgements(self) -> None:
        """Single acknowledgements leave the database when the cursor has passed them."""
        state = await self.device(2)
        await self.store(*(draft(b"%d" % number, 2) for number in range(4)))
        seqs = seqs_of(await self.waiting(state))
        for seq in seqs[1:]:
            await self.acknowledge(state, seq)
        state.advance(seqs[2])
        self.inbox.touch(state)
        await self.inbox.flush()
        self.assertEqual(self.on_disk("SELECT user, device, seq FROM acked"), [(2, "phone", seqs[3])])
        state.advance(seqs[3])
        self.inbox.touch(state)
        await self.inbox.flush()
        self.assertEqual(self.on_disk("SELECT * FROM acked"), [])

    async def test_epoch(self) -> None:
        """Each process gives out numbers of an epoch of its own."""
        await self.store(draft(b"a", 2))
        await self.reopen()
        await self.store(draft(b"b", 2))
        first, second = (entry.seq >> SPAN_BITS for entry in self.outlet.entries)
        self.assertEqual(second, first + 1)
        self.assertEqual(self.on_disk("SELECT epoch FROM node"), [(second,)])


class RealFailureTests(SQLiteCase):
    """Commits that SQLite itself refuses."""

    def break_storage(self) -> None:
        self.run_sql("CREATE TRIGGER broken BEFORE INSERT ON run BEGIN SELECT RAISE(ABORT, 'disk full'); END")

    def mend_storage(self) -> None:
        self.run_sql("DROP TRIGGER broken")

    def run_sql(self, sql: str) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute(sql)
        connection.close()

    def assert_logged(self, count: int) -> None:
        errors = self.flushLoggedErrors(sqlite3.Error)
        self.assertEqual(["disk full"] * count, [str(error.value) for error in errors])

    async def test_refused(self) -> None:
        """A message that the database does not take is refused, `flush` says so, and nothing of it stays."""
        self.break_storage()
        sender = Sender()
        self.inbox.append(draft(b"a", 2), sender)
        with self.assertRaises(StorageUnavailable):
            await self.inbox.flush()
        self.assertEqual(sender.answers, [(b"a", STORAGE_UNAVAILABLE)])
        self.assertEqual(self.on_disk("SELECT seq FROM run UNION ALL SELECT seq FROM message"), [])
        self.assert_logged(1)

    async def test_recovers(self) -> None:
        """When the database takes it again, messages are stored again, and what was acknowledged meanwhile is too."""
        state = await self.device(2)
        await self.store(draft(b"a", 2))
        self.break_storage()
        state.advance((await self.waiting(state))[0].seq)
        self.inbox.touch(state)
        self.inbox.append(draft(b"b", 2), Sender())
        with self.assertRaises(StorageUnavailable):
            await self.inbox.flush()
        self.mend_storage()
        self.assertEqual((await self.store(draft(b"c", 2))).stored_ids, [b"c"])
        await self.reopen()
        self.assertEqual(ids_of(await self.waiting((await self.opened(2)).state)), [b"c"])
        self.assert_logged(1)

    async def test_full_disk(self) -> None:
        """A full disk is such a failure, and the database is whole after it."""
        state = await self.device(2)
        await self.store(draft(b"a", 2))
        await self.database.read(lambda cursor: cursor.execute("PRAGMA max_page_count=1").all())
        sender = Sender()
        self.inbox.append(draft(b"b", 2, text=b"x" * 100_000), sender)
        with capturedLogs() as events, self.assertRaises(StorageUnavailable):
            await self.inbox.flush()
        self.assertEqual(["database or disk is full"], [str(event["error"]) for event in events if "error" in event])
        await self.database.read(lambda cursor: cursor.execute("PRAGMA max_page_count=1000000").all())
        await self.store(draft(b"c", 2))
        self.assertEqual(sender.answers, [(b"b", STORAGE_UNAVAILABLE)])
        self.assertEqual(ids_of(await self.waiting(state)), [b"a", b"c"])
        self.assertEqual(self.on_disk("PRAGMA integrity_check"), [("ok",)])

    async def test_stopped(self) -> None:
        """After the database has stopped everything is refused, and nobody waits for ever."""
        state = await self.device(2)
        self.database.stop()
        sender = Sender()
        self.inbox.append(draft(b"a", 2), sender)
        with self.assertRaises(StorageUnavailable):
            await self.inbox.flush()
        with self.assertRaises(StorageUnavailable):
            await self.inbox.read(state, 0, 1, 1)
        with self.assertRaises(StorageUnavailable):
            await self.inbox.find(state, b"a")
        self.assertEqual(sender.answers, [(b"a", STORAGE_UNAVAILABLE)])
