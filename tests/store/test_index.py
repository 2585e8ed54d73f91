"""What is on disk and not indexed yet: nobody who reads, acknowledges, resends or starts can tell."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from random import Random
from typing import Any
from weakref import ref

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from simple_im import limits
from simple_im.status import STORAGE_UNAVAILABLE, StorageUnavailable
from simple_im.store import inbox_sql, snapshot
from simple_im.store.batch import Batch
from simple_im.store.committer import LAZY_COMMIT, RETRY_COMMIT
from simple_im.store.database import Cursor, Database, prepare
from simple_im.store.entries import Entry, Page
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.inbox_sql import begin_run
from simple_im.store.retention import forget_devices, purge_entries
from simple_im.store.sequence import SPAN_BITS, Sequence
from tests.store.earlier import make_second
from tests.store.fakes import PHONE, Deliveries, Sender, draft, ids_of, seqs_of
from tests.store.stepped import SteppedCase
from tests.store.test_upgrade import MESSAGES, PEOPLE, SEQS

HAPPENINGS = ("send",) * 6 + ("step",) * 8 + ("wait", "compare") * 2 + ("again", "add", "crash")
INBOX = "SELECT u.value, r.seq FROM run AS r, json_each(r.users) AS u ORDER BY 1, 2"
MESSAGE = "SELECT r.sender, r.device, i.value, r.first + i.key FROM run AS r, json_each(r.ids) AS i ORDER BY 4"
"""What the two tables have when all is indexed."""


class IndexCase(SteppedCase):
    """An inbox whose index is written only when the time goes on."""

    def store(self, *ids: bytes, users: tuple[int, ...] = (2,), device: str = PHONE, sender: int = 1) -> list[int]:
        """Messages of one commit, which is answered and has indexed nothing; their places."""
        before = self.indexed()
        sent = self.append(*(draft(id_, *users, device=device, sender=sender) for id_ in ids))
        self.database.settle()
        self.assertEqual((sent.stored_ids, self.indexed()), ([*ids], before))
        return seqs_of(self.outlet.entries)[-len(ids) :]

    def wait(self, seconds: float = LAZY_COMMIT) -> None:
        """Let the time go on, and do what is due then."""
        self.clock.advance(seconds)
        self.database.settle()

    def indexed(self) -> int:
        return int(self.database.rows("SELECT indexed FROM node")[0][0])

    def in_memory(self) -> list[bytes]:
        """The ids of what is in memory, the oldest first."""
        return [entry.id for batch in self.inbox._committer.batches() for entry in batch.entries]

    def assert_indexed(self) -> None:
        """All that is on disk is in both tables, once."""
        self.assertEqual(self.database.rows("SELECT user, seq FROM inbox ORDER BY 1, 2"), self.database.rows(INBOX))
        messages = self.database.rows("SELECT sender, device, id, seq FROM message ORDER BY seq")
        self.assertEqual(messages, self.database.rows(MESSAGE))
        self.assertEqual([(self.indexed(),)], self.database.rows("SELECT coalesce(max(seq), 0) FROM run"))

    def assert_at_rest(self) -> None:
        """Nothing is to be done any more, however long nothing happens."""
        attempts = self.database.attempts
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.wait(60)
        self.assertEqual(self.database.attempts, attempts)
        self.assertEqual(len(self.inbox._committer.batches()), 1)
        self.assertEqual(self.in_memory(), [])

    def crash(self) -> None:
        """The process dies at this moment, and the next one starts."""
        self.database._asked.clear()
        self.database._done.clear()
        self.clock, self.outlet = Clock(), Deliveries()
        self.sequence = Sequence(self.database, self.database.raise_epoch(), self.span_bits)
        self.inbox = SQLiteInbox(self.database, self.sequence, self.clock, self.outlet)


class ReadingTests(IndexCase):
    """User 2 has some entries of each kind: indexed, on disk only, and only in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.state = self.device(2)
        self.store(b"0", b"1", b"2")
        self.wait()
        self.store(b"x", users=(3,))
        self.store(b"3", b"4")
        self.store(b"own", users=(2,), sender=2)
        self.store(b"5", users=(2, 3))
        self.inbox.append(draft(b"6", 2), Sender())
        self.ids = [b"%d" % number for number in range(7)]

    def pages(
        self, limit: int, max_bytes: int = 1 << 20, between: Iterable[Callable[[], object]] = repeat(int)
    ) -> list[Page]:
        """All of them; behind each, one of `between` is done."""
        pages, steps = [Page([], False)], iter(between)
        after = 0
        while not pages[-1].last:
            pages.append(self.done(self.inbox.read(self.state, after, limit, max_bytes)))
            after = pages[-1].entries[-1].seq
            next(steps)()
        return pages[1:]

    def assert_all(self, pages: list[Page]) -> None:
        """All of it is in them once, in order, as it went out."""
        out = {entry.id: (entry.seq, entry.wire) for entry in self.outlet.entries}
        found = [entry for page in pages for entry in page.entries]
        self.assertEqual(ids_of(found), self.ids)
        self.assertEqual([(entry.seq, entry.wire) for entry in found], [out[id_] for id_ in self.ids])

    def test_login(self) -> None:
        """A device that signs in is told of the last of it, and gets all."""
        del self.state
        opened = self.done(self.inbox.open_device(2, PHONE))
        assert opened is not None
        self.assertEqual(opened.newest, self.outlet.entries[-1].seq)
        self.assertEqual(ids_of(self.waiting(opened.state)), self.ids)
        self.assertEqual(self.in_memory(), [b"x", b"3", b"4", b"own", b"5", b"6"])

    def test_newest_on_disk_only(self) -> None:
        """The last that a user was sent may be neither indexed nor gathering."""
        newest = {user: entry.seq for entry in self.outlet.entries for user in entry.users}
        for user, last in ((2, newest[2]), (3, newest[3]), (4, 0)):
            self.database.rows("INSERT INTO device (user, name, cursor, seen) VALUES (?, 'pad', 0, 0)", user)
            opened = self.done(self.inbox.open_device(user, "pad"))
            assert opened is not None
            self.assertEqual(opened.newest, last)
        self.assertNotEqual(newest[3], newest[2])

    def test_limited_by_count(self) -> None:
        """Pages of any length have each once and in order, and only the last says that it is."""
        for limit in range(1, 9):
            pages = self.pages(limit)
            self.assert_all(pages)
            self.assertEqual({len(page.entries) for page in pages[:-1]} or {limit}, {limit})
            self.assertEqual(len(pages), -(-len(self.ids) // limit))

    def test_limited_by_bytes(self) -> None:
        """The same where they are full by their size."""
        size = len(self.outlet.entries[0].wire)
        for max_bytes in (0, *(count * size + more for count in range(1, 8) for more in (-1, 0, 1))):
            pages, each = self.pages(100, max_bytes), max(1, max_bytes // size)
            self.assert_all(pages)
            self.assertEqual({len(page.entries) for page in pages[:-1]} or {each}, {each})

    def test_from_any_place(self) -> None:
        """A reader may begin behind any of it."""
        seqs = seqs_of(self.waiting(self.state))
        for at, seq in enumerate(seqs):
            page = self.done(self.inbox.read(self.state, seq, 100, 1 << 20))
            self.assertEqual((seqs_of(page.entries), page.last), (seqs[at + 1 :], True))

    def test_many_commits(self) -> None:
        """However many commits are not indexed, what a page holds is not looked for in each: they acknowledge
        nothing."""
        for number in range(50):
            self.store(b"other %d" % number, users=(3,))
        asked: list[int] = []
        self.patch(Batch, "acknowledges", lambda _batch, _user, _device, seq: asked.append(seq))
        self.assert_all([self.page(self.state)])
        self.assertLessEqual(len(asked), 2 * len(self.ids))

    def test_indexed_between_pages(self) -> None:
        """What is indexed while somebody reads page after page is read once."""
        for turn in range(4):
            indexed = self.indexed()
            self.assert_all(self.pages(2, between=[self.wait if page == turn else int for page in range(9)]))
            self.assertGreater(self.indexed(), indexed)
            for id_ in (b"later", b"last"):
                self.store(id_ + b"%d" % turn)
                self.ids.append(id_ + b"%d" % turn)

    def test_indexed_by_another(self) -> None:
        """So is what a device that becomes known has indexed, and what is in memory all the same."""
        self.database.rows("DELETE FROM device WHERE user = 3")
        self.done(self.database.write(inbox_sql.add_device, 3, "new", 0, 9))
        self.assertNotEqual(self.in_memory(), [b"6"])
        self.assertEqual(self.indexed(), self.outlet.entries[-2].seq)
        for limit in range(1, 9):
            self.assert_all(self.pages(limit))
        self.wait()
        self.assert_all(self.pages(3))
        self.assert_indexed()

    def test_indexed_meanwhile(self) -> None:
        """A page that is asked for at any moment of the commits has what was sent before, and what comes after it
        follows."""
        for steps in range(7):
            self.store(b"on disk")
            self.append(draft(b"behind", 2))
            self.clock.advance(LAZY_COMMIT)
            for step in [self.database.do, self.database.answer][: steps + 1] * (steps // 2 + 1):
                step()
            self.ids += [b"on disk", b"behind", b"after"]
            self.assertEqual(self.read_and_follow(), self.ids)
            self.wait()
            self.assert_indexed()

    def read_and_follow(self) -> list[bytes]:
        """What a page brings, and what is delivered behind it."""
        got: list[bytes] = []

        def follow(page: Page) -> None:
            got.extend(ids_of(page.entries))
            self.outlet.followers.append(lambda entry: got.append(entry.id))

        self.start(self.inbox.read(self.state, 0, 99, 9_999)).addCallback(follow)
        self.database.settle()
        self.append(draft(b"after", 2))
        self.outlet.followers.clear()
        return got

    def test_found(self) -> None:
        """An acknowledgement by id finds the oldest that was sent, whichever kind it is of."""
        seqs = dict(zip(self.ids, seqs_of(self.waiting(self.state)), strict=True))
        self.store(b"3", b"0")
        for upto in self.ids:
            self.state.sent = seqs[upto]
            for id_ in self.ids:
                found = self.done(self.inbox.find(self.state, id_))
                self.assertEqual(found, seqs[id_] if id_ <= upto else None)
        self.assertIsNone(self.done(self.inbox.find(self.state, b"own")))


class AcknowledgingTests(IndexCase):
    def setUp(self) -> None:
        super().setUp()
        self.state = self.device(2)
        self.seqs = self.store(b"a", b"b") + self.store(b"c") + self.store(b"a", b"d")
        self.state.sent = self.seqs[-1]

    def acknowledge(self, *at: int) -> None:
        for place in at:
            self.inbox.acknowledge_range(self.state, self.seqs[place] - 1, self.seqs[place])

    def left(self) -> list[int]:
        """Which of them wait for the device."""
        return [self.seqs.index(seq) for seq in seqs_of(self.waiting(self.state))]

    def acked(self) -> list[int]:
        """Which of them are acknowledged on disk."""
        return [self.seqs.index(seq) for (seq,) in self.database.rows("SELECT seq FROM acked ORDER BY seq")]

    def test_at_once(self) -> None:
        """What is acknowledged singly is not read or found again, before the commit and with it."""
        self.acknowledge(0, 2)
        for _ in range(3):
            self.assertEqual(self.left(), [1, 3, 4])
            self.assertEqual(self.done(self.inbox.find(self.state, b"a")), self.seqs[3])
            self.assertIsNone(self.done(self.inbox.find(self.state, b"c")))
            self.inbox.commit()
        self.assertEqual(self.acked(), [0, 2])

    def test_on_disk(self) -> None:
        """It is on disk with the next commit, whether what it is for was indexed before or not, and stays after a
        crash."""
        self.acknowledge(1, 4)
        self.inbox.commit()
        self.database.settle()
        self.assertEqual(self.acked(), [1, 4])
        self.assert_indexed()
        self.crash()
        self.state = self.opened(2)
        self.assertEqual(self.left(), [0, 2, 3])

    def test_with_the_message(self) -> None:
        """So it is where the message is written by the same commit, and at whatever moment that is read."""
        self.inbox.append(draft(b"e", 2), Sender())
        self.seqs.append(self.outlet.entries[-1].seq)
        self.acknowledge(0, 5)
        self.inbox.commit()
        for step in (int, self.database.do, self.database.answer):
            step()
            reading = self.start(self.inbox.read(self.state, 0, 99, 9_999))
            self.database.settle()
            self.assertEqual(seqs_of(self.successResultOf(reading).entries), self.seqs[1:5])
        self.crash()
        self.state = self.opened(2)
        self.assertEqual(self.left(), [1, 2, 3, 4])

    def test_before_its_commit(self) -> None:
        """A crash before its commit takes it back, and nothing else."""
        self.acknowledge(1)
        self.crash()
        self.state = self.opened(2)
        self.assertEqual(self.left(), [0, 1, 2, 3, 4])

    def test_failed(self) -> None:
        """It counts while it can't be written, and is written with the commit that succeeds."""
        self.acknowledge(0)
        self.inbox.commit()
        self.database.broken = True
        self.wait()
        self.acknowledge(3)
        self.wait(RETRY_COMMIT)
        self.assertEqual((self.left(), self.acked()), ([1, 2, 4], []))
        self.database.broken = False
        self.wait(RETRY_COMMIT)
        self.assertEqual((self.left(), self.acked()), ([1, 2, 4], [0, 3]))
        self.assert_indexed()
        self.assert_at_rest()


class RepeatedTests(IndexCase):
    """A message that comes again with `dup`."""

    def again(self, id_: bytes = b"a", device: str = PHONE) -> tuple[Deferred[None], Sender]:
        sender = Sender()
        return self.start(self.inbox.append_again(draft(id_, 2, device=device), sender)), sender

    def stored(self) -> list[str]:
        return [id_ for (id_,) in self.database.rows("SELECT i.value FROM run, json_each(run.ids) AS i ORDER BY seq")]

    def test_at_once(self) -> None:
        """It is acknowledged without asking the database, and neither stored nor shown again."""
        self.store(b"z", b"a")
        self.store(b"b")
        attempts = self.database.attempts
        again, sender = self.again()
        self.successResultOf(again)
        self.assertEqual(sender.answers, [(b"a", "")])
        self.wait()
        self.assertEqual((self.stored(), sender.answers), (["z", "a", "b"], [(b"a", "")]))
        self.assertEqual(self.database.attempts, attempts + 1)
        self.assertEqual(ids_of(self.outlet.entries), [b"z", b"a", b"b"])

    def test_of_another(self) -> None:
        """The same id of another device is another message."""
        self.store(b"a")
        again, sender = self.again(device="pad")
        self.database.settle()
        self.successResultOf(again)
        self.inbox.commit()
        self.database.settle()
        self.assertEqual((self.stored(), sender.answers), (["a", "a"], [(b"a", "")]))

    def test_any_moment(self) -> None:
        """It is acknowledged once and not stored again at whatever moment of its commit, and of the one that indexes
        it, it comes."""
        for steps in range(10):
            id_ = b"%d" % steps
            self.append(draft(id_, 2))
            for number in range(steps):
                (self.database.answer if number % 2 else self.database.do)()
                if number == 3:
                    self.clock.advance(LAZY_COMMIT)
            again, sender = self.again(id_)
            self.wait()
            self.successResultOf(again)
            self.inbox.commit()
            self.wait()
            self.wait()
            self.assertEqual(sender.answers, [(id_, "")])
        self.assertEqual(self.stored(), [f"{number}" for number in range(10)])
        self.assert_indexed()
        self.assert_at_rest()

    def test_after_a_crash(self) -> None:
        """The next process knows it."""
        self.store(b"a")
        self.crash()
        again, sender = self.again()
        self.database.settle()
        self.successResultOf(again)
        self.assertEqual((self.stored(), sender.answers), (["a"], [(b"a", "")]))

    def test_not_a_member_any_more(self) -> None:
        """One that would be refused by now is acknowledged as well."""
        self.store(b"a")
        sender = Sender()
        asked = self.start(self.inbox.acknowledge_again(draft(b"a"), sender))
        self.assertTrue(self.successResultOf(asked))
        self.assertEqual(sender.answers, [(b"a", "")])


class WhenTests(IndexCase):
    """When the index is written, and what is freed then."""

    def test_in_time(self) -> None:
        """A tenth of a second after a commit, where nothing else happens and nobody is there; then never again."""
        attempts = self.database.attempts
        self.store(b"a", b"b")
        self.wait(LAZY_COMMIT * 0.9)
        self.assertEqual((self.indexed(), self.in_memory()), (0, [b"a", b"b"]))
        self.wait(LAZY_COMMIT * 0.1)
        self.assert_indexed()
        self.assertEqual(self.database.attempts, attempts + 2)
        self.assert_at_rest()

    def test_once_for_many(self) -> None:
        """One time for all that was stored until then, a tenth of a second after the first."""
        attempts = self.database.attempts
        for number in range(9):
            self.store(b"%d" % number)
            self.wait(LAZY_COMMIT / 10)
        self.assertEqual(self.indexed(), 0)
        self.wait(LAZY_COMMIT / 9)
        self.assert_indexed()
        self.assertEqual(self.database.attempts, attempts + 10)
        self.assert_at_rest()

    def test_goes_on(self) -> None:
        """As long as there is something new, again in the same time."""
        for number in range(5):
            self.store(b"%d" % number)
            self.assertEqual(self.in_memory(), [b"%d" % number])
            self.wait()
            self.assert_indexed()
            self.assertEqual(self.in_memory(), [])
        self.assert_at_rest()

    def test_while_committing(self) -> None:
        """A commit that runs when it is time is followed by one that indexes both."""
        self.store(b"a")
        self.append(draft(b"b", 2))
        self.clock.advance(LAZY_COMMIT)
        self.database.do()
        self.database.answer()
        self.assertEqual(self.indexed(), 0)
        self.database.settle()
        self.assert_indexed()
        self.wait()
        self.assert_at_rest()

    def test_first_while_committing(self) -> None:
        """Also where a place was to be written at that time, and nothing had waited for the index before."""
        self.inbox.touch(self.device(2))
        self.append(draft(b"a", 2))
        self.clock.advance(LAZY_COMMIT)
        self.database.settle()
        self.assert_indexed()
        self.wait()
        self.assert_at_rest()

    def test_gathering(self) -> None:
        """What gathers when it is time is written and indexed by one commit."""
        self.store(b"a")
        self.inbox.append(draft(b"b", 2), Sender())
        attempts = self.database.attempts
        self.wait()
        self.assert_indexed()
        self.assertEqual(self.database.attempts, attempts + 1)
        self.assert_at_rest()

    def test_gathering_first(self) -> None:
        """Also where only a place was to be written at that time."""
        self.inbox.touch(self.device(2))
        self.inbox.append(draft(b"a", 2), Sender())
        self.wait()
        self.assert_indexed()
        self.assert_at_rest()

    def test_places_only(self) -> None:
        """A commit without messages leaves nothing to index."""
        self.inbox.touch(self.device(2))
        self.wait()
        self.assert_at_rest()

    def test_places_meanwhile(self) -> None:
        """Nor does it take anything from what is to be indexed."""
        state = self.device(2)
        self.inbox.touch(state)
        self.store(b"a")
        self.inbox.write_with_next(state)
        self.inbox.commit()
        self.database.settle()
        self.assertEqual((self.indexed(), self.in_memory()), (0, [b"a"]))
        self.assertEqual(ids_of(self.waiting(state)), [b"a"])
        self.wait()
        self.assert_indexed()
        self.assert_at_rest()

    def test_flush(self) -> None:
        """Whoever has all written has it indexed, once."""
        self.store(b"a")
        self.inbox.append(draft(b"b", 2), Sender())
        attempts = self.database.attempts
        self.done(self.inbox.flush())
        self.assert_indexed()
        self.assertEqual(self.database.attempts, attempts + 1)
        self.assert_at_rest()

    def test_freed(self) -> None:
        """With the index the memory is free; who is told that a message is on disk is let go of before that."""
        sender = self.append(draft(b"a", 2))
        batch, receipt = ref(self.inbox._committer.batches()[0]), ref(sender)
        sender.on_answer = int
        del sender
        self.database.settle()
        gc.collect()
        self.assertIsNone(receipt())
        self.assertIsNotNone(batch())
        self.wait()
        gc.collect()
        self.assertIsNone(batch())

    def test_who_asks_again_freed(self) -> None:
        """So is who asks for one that is there already."""
        self.store(b"a")
        sender = Sender()
        self.done(self.inbox.append_again(draft(b"a", 2), sender))
        receipt = ref(sender)
        del sender
        gc.collect()
        self.assertIsNone(receipt())

    def test_too_many(self) -> None:
        """As many as may wait do, each counted once an inbox; with one more they are indexed, with the same commit."""
        self.patch(limits, "UNINDEXED_ROWS", 5)
        self.store(b"a", users=(2, 3))
        self.store(b"b", b"c")
        self.store(b"d")
        attempts = self.database.attempts
        sender = self.append(draft(b"e", 2))
        self.database.settle()
        self.assert_indexed()
        self.assertEqual((sender.stored_ids, self.database.attempts), ([b"e"], attempts + 1))
        self.wait()
        self.assert_at_rest()

    def test_too_many_at_once(self) -> None:
        """One commit alone may have them."""
        self.patch(limits, "UNINDEXED_ROWS", 2)
        self.append(draft(b"a", 2, 3, 4))
        self.database.settle()
        self.assert_indexed()
        self.assert_at_rest()

    def test_too_large(self) -> None:
        """The same for what they take in bytes."""
        self.store(b"a")
        self.wait()
        size = len(self.outlet.entries[0].wire)
        self.patch(limits, "UNINDEXED_BYTES", 3 * size)
        self.store(b"b", b"c")
        self.store(b"d")
        self.append(draft(b"e", 2))
        self.database.settle()
        self.assert_indexed()
        self.wait()
        self.assert_at_rest()

    def test_counted_anew(self) -> None:
        """What is indexed counts no more."""
        self.patch(limits, "UNINDEXED_ROWS", 2)
        for _ in range(3):
            self.store(b"a", b"b")
            self.wait()
        self.assert_at_rest()


class FailingTests(IndexCase):
    """The disk is full while something is not indexed."""

    def setUp(self) -> None:
        super().setUp()
        self.state = self.device(2)
        self.seqs = self.store(b"a") + self.store(b"b")
        self.database.broken = True

    def assert_all_there(self) -> None:
        """A device that signs in, reads, or resends sees all that was acknowledged."""
        opened = self.done(self.inbox.open_device(2, PHONE))
        assert opened is not None
        self.assertEqual(opened.newest, self.seqs[-1])
        self.assertEqual(seqs_of(self.waiting(opened.state)), self.seqs)
        self.state.sent = self.seqs[-1]
        self.assertEqual(self.done(self.inbox.find(self.state, b"b")), self.seqs[1])
        sender = Sender()
        self.done(self.inbox.append_again(draft(b"b", 2), sender))
        self.assertEqual(sender.answers, [(b"b", "")])

    def assert_well_again(self) -> None:
        self.database.broken = False
        self.wait(RETRY_COMMIT)
        self.wait()
        self.assert_indexed()
        self.assert_all_there()
        self.assert_at_rest()

    def test_messages(self) -> None:
        """Messages that are refused change nothing for what was stored before."""
        for _ in range(3):
            sender = self.append(draft(b"refused", 2))
            self.database.settle()
            self.assertEqual(sender.answers, [(b"refused", STORAGE_UNAVAILABLE)])
            self.assert_all_there()
        self.assertEqual(self.in_memory(), [b"a", b"b"])
        self.assert_well_again()

    def test_index(self) -> None:
        """Where the index can't be written all stays as it is, and it is tried again once a second."""
        attempts = self.database.attempts
        self.wait()
        for second in range(5):
            self.assertEqual(self.database.attempts, attempts + 1 + second)
            self.assertEqual((self.indexed(), self.in_memory()), (0, [b"a", b"b"]))
            self.assert_all_there()
            self.wait(RETRY_COMMIT)
        self.assert_well_again()

    def test_message_behind(self) -> None:
        """Behind an index that could not be written, the next message has it written."""
        self.wait()
        self.database.broken = False
        self.append(draft(b"c", 2))
        self.database.settle()
        self.seqs.append(self.outlet.entries[-1].seq)
        self.assert_indexed()
        self.assert_all_there()
        self.wait()
        self.assert_at_rest()

    def test_shown_meanwhile(self) -> None:
        """What was shown while the index was tried is a commit of its own, with which it is tried again."""
        self.clock.advance(LAZY_COMMIT)
        sender = self.append(draft(b"c", 2))
        self.database.do()
        self.database.broken = False
        self.database.settle()
        self.seqs.append(self.outlet.entries[-1].seq)
        self.assertEqual(sender.stored_ids, [b"c"])
        self.assert_indexed()
        self.assert_well_again()

    def test_flush(self) -> None:
        """Whoever waits for it is told."""
        flush = self.start(self.inbox.flush())
        self.database.settle()
        self.failureResultOf(flush, StorageUnavailable)
        self.assert_all_there()
        self.assert_well_again()

    def test_crash(self) -> None:
        """The next process has it all."""
        self.append(draft(b"refused", 2))
        self.wait()
        self.database.broken = False
        self.crash()
        self.assert_indexed()
        self.state = self.opened(2)
        self.assert_all_there()


class HeldTests(IndexCase):
    """A commit has failed a short time ago, and what comes is shown after its own."""

    def setUp(self) -> None:
        super().setUp()
        self.state = self.device(2)
        self.append(draft(b"refused", 2))
        self.database.broken = True
        self.database.settle()
        self.database.broken = False
        self.outlet.entries.clear()

    def test_shown_once(self) -> None:
        """They are delivered and read once while they are on disk only, and after that."""
        self.append(draft(b"a", 2), draft(b"b", 2))
        self.append(draft(b"c", 2))
        self.assertEqual(self.outlet.entries, [])
        self.database.settle()
        for _ in range(3):
            self.assertEqual(ids_of(self.outlet.entries), [b"a", b"b", b"c"])
            self.assertEqual(ids_of(self.waiting(self.state)), [b"a", b"b", b"c"])
            again = Sender()
            self.done(self.inbox.append_again(draft(b"b", 2), again))
            self.assertEqual(again.stored_ids, [b"b"])
            self.wait()
        self.assert_indexed()

    def test_found(self) -> None:
        """They are found by id, and are what was sent last."""
        self.append(draft(b"a", 2))
        self.database.settle()
        self.assertEqual(self.in_memory(), [b"a"])
        (seq,) = seqs_of(self.outlet.entries)
        self.state.sent = seq
        self.assertEqual(self.done(self.inbox.find(self.state, b"a")), seq)
        opened = self.done(self.inbox.open_device(2, PHONE))
        assert opened is not None
        self.assertEqual(opened.newest, seq)

    def test_not_before(self) -> None:
        """One that is not on disk is not read where others are that are not indexed."""
        self.append(draft(b"a", 2))
        self.database.settle()
        self.inbox.append(draft(b"b", 2), Sender())
        self.assertEqual(ids_of(self.waiting(self.state)), [b"a"])
        self.inbox.commit()
        self.wait()
        self.assertEqual(ids_of(self.waiting(self.state)), [b"a", b"b"])
        self.assertEqual(ids_of(self.outlet.entries), [b"a", b"b"])


class WholeTests(IndexCase):
    """What looks into the tables itself: new devices, and what is forgotten in time."""

    def expired(self, user: int) -> int:
        opened = self.done(self.inbox.open_device(user, PHONE))
        assert opened is not None
        return opened.expired

    def test_new_device(self) -> None:
        """Its place is where the others are by all that is on disk, also by a commit that ran as it was asked for."""
        self.device(2)
        for sender_ends in (False, True):
            self.store(b"a", users=(2,), sender=2)
            self.append(draft(b"b", 2, sender=2))
            if sender_ends:
                self.database.settle()
            name = f"new {sender_ends}"
            state = self.device(2, name)
            self.assertEqual(state.cursor, self.outlet.entries[-1].seq)
            self.assertEqual(self.waiting(state), [])

    def test_new_device_behind_a_commit(self) -> None:
        """The commit that it waits for need not have indexed anything."""
        self.device(2)
        self.append(draft(b"a", 2, sender=2))
        adding = self.start(self.inbox.add_device(2, "new"))
        self.database.settle()
        self.successResultOf(adding)
        self.assertEqual(self.opened(2, "new").cursor, self.outlet.entries[-1].seq)
        self.wait()
        self.assert_indexed()
        self.assert_at_rest()

    def test_purged(self) -> None:
        """What goes is counted for who has not read it, and nothing of it comes back."""
        self.device(2), self.device(3)
        self.store(b"a", b"b", users=(2, 3))
        self.store(b"c")
        self.assertTrue(self.done(purge_entries(self.database, 1)))
        self.assertEqual([self.expired(2), self.expired(3)], [3, 2])
        self.wait()
        for table in ("run", "inbox", "message"):
            self.assertEqual(self.database.rows(f"SELECT * FROM {table}"), [], table)
        self.clock.advance(1)
        self.store(b"d")
        self.wait()
        self.assert_indexed()
        self.assert_at_rest()

    def test_purged_in_part(self) -> None:
        """What stays is indexed once."""
        state = self.device(2)
        self.store(b"a", b"b", users=(2, 3))
        self.clock.rightNow += 10
        self.store(b"c")
        self.done(purge_entries(self.database, 10))
        self.assertEqual(self.expired(2), 2)
        self.wait()
        self.assert_indexed()
        self.assertEqual(ids_of(self.waiting(state)), [b"c"])

    def test_forgotten_device(self) -> None:
        """How far it had come is seen in all that is on disk: what it sent itself it has read."""
        self.device(2)
        self.store(b"a", users=(2,), sender=2)
        self.assertTrue(self.done(forget_devices(self.database, 1)))
        self.assertEqual(self.database.rows("SELECT place FROM user WHERE id = 2"), [(self.outlet.entries[-1].seq,)])
        self.wait()
        self.assert_indexed()


class StartTests(IndexCase):
    """A process dies with something that is not indexed."""

    span_bits = 3

    def test_all_there(self) -> None:
        """The next start has all of it, once, and so has the one after that."""
        self.device(2), self.device(3)
        self.store(b"a", b"b", users=(2, 3))
        self.store(b"c")
        for _ in range(3):
            self.crash()
            self.assert_indexed()
            self.assertEqual(ids_of(self.waiting(self.opened(2))), [b"a", b"b", b"c"])
            self.assertEqual(ids_of(self.waiting(self.opened(3))), [b"a", b"b"])
            self.assert_at_rest()

    def test_any_moment(self) -> None:
        """Whatever step it had come to: all that was acknowledged is there, and what is there is indexed."""
        stored: list[bytes] = []
        self.device(2)
        for steps in range(9):
            senders = [self.append(draft(b"%d%d" % (steps, number), 2)) for number in range(2)]
            for number in range(steps):
                (self.database.answer if number % 2 else self.database.do)()
                if number == 5:
                    self.clock.advance(LAZY_COMMIT)
            stored += [id_ for sender in senders for id_ in sender.stored_ids]
            self.crash()
            self.assert_indexed()
            found = ids_of(self.waiting(self.opened(2)))
            self.assertEqual(len(found), len(set(found)))
            self.assertLessEqual(set(stored), set(found))
            self.assertEqual(seqs_of(self.waiting(self.opened(2))), sorted(seqs_of(self.waiting(self.opened(2)))))

    def test_epochs(self) -> None:
        """What is not indexed may be of several epochs, and what comes after the start is of a later one."""
        self.device(2)
        for number in range(20):
            self.store(b"%d" % number)
        self.crash()
        self.assert_indexed()
        entries = self.waiting(self.opened(2))
        self.assertEqual(ids_of(entries), [b"%d" % number for number in range(20)])
        self.assertGreater(len({entry.seq >> SPAN_BITS for entry in entries}), 2)
        (seq,) = self.store(b"after")
        self.assertGreater(seq >> SPAN_BITS, entries[-1].seq >> SPAN_BITS)
        self.assertEqual(ids_of(self.waiting(self.opened(2)))[-2:], [b"19", b"after"])
        self.wait()
        self.assert_indexed()


class WalkTests(IndexCase):
    """What two users get, whatever comes between: some of it crashes."""

    def test_walks(self) -> None:
        """Each reads all that was acknowledged, in order and once, in pages of any length."""
        for seed in range(60):
            self.setUp()
            self.walk(Random(seed))

    def walk(self, chance: Random) -> None:
        self.patch(limits, "UNINDEXED_ROWS", chance.choice([3, 10, 4_096]))
        self.device(2), self.device(3)
        self.sent: list[tuple[bytes, tuple[int, ...], Sender]] = []
        for _ in range(60):
            self.happen(chance)
        self.database.settle()
        self.compare(chance)
        self.wait()
        self.wait()
        self.assert_indexed()
        self.assert_at_rest()
        self.compare(chance)

    def happen(self, chance: Random) -> None:
        match chance.choice(HAPPENINGS):
            case "send":
                users = chance.choice([(2,), (3,), (2, 3)])
                for _ in range(chance.choice([1, 1, 3])):
                    id_ = b"%d" % len(self.sent)
                    self.sent.append((id_, users, self.append(draft(id_, *users))))
            case "step":
                chance.choice([self.database.do, self.database.answer])()
            case "wait":
                self.clock.advance(chance.choice([LAZY_COMMIT / 2, LAZY_COMMIT]))
            case "compare":
                self.database.settle()
                self.compare(chance)
            case "again" if self.sent:
                id_, users, sender = chance.choice(self.sent[-5:])
                self.done(self.inbox.append_again(draft(id_, *users), sender))
                self.inbox.commit()
            case "add":
                self.start(self.inbox.add_device(4, f"{chance.random()}"))
            case "crash":
                self.crash()

    def compare(self, chance: Random) -> None:
        """With all commits at their end."""
        for user in (2, 3):
            state, got, last = self.opened(user), list[Entry](), False
            while not last:
                after = got[-1].seq if got else 0
                page = self.done(self.inbox.read(state, after, chance.choice([1, 2, 3, 100]), 1 << 20))
                got += page.entries
                last = page.last
            ids = ids_of(got)
            self.assertEqual(seqs_of(got), sorted(seqs_of(got)))
            self.assertEqual(len(ids), len(set(ids)))
            self.assertLessEqual({id_ for id_, users, sent in self.sent if user in users and sent.stored_ids}, {*ids})


class FileTests(SynchronousTestCase):
    """A database in a file, as a process that dies leaves it."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    @contextmanager
    def opened(self) -> Iterator[Cursor]:
        """A transaction of a process, which dies behind it."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("BEGIN")
        yield Cursor(connection.cursor())
        connection.execute("COMMIT")
        connection.close()

    def write(self, epoch: int, *ids: bytes) -> None:
        """Commit messages for users 2 and 3 without an index."""
        entries = [
            Entry((epoch << SPAN_BITS) + at, 9, 1, PHONE, id_, (2, 3), b"%b\n\n" % id_) for at, id_ in enumerate(ids, 1)
        ]
        with self.opened() as cursor:
            inbox_sql.write_batch(cursor, entries, [], [], [], False)

    def rows(self, sql: str) -> list[Any]:
        with self.opened() as cursor:
            return cursor.execute(sql).all()

    def assert_indexed(self) -> None:
        self.assertEqual(self.rows("SELECT user, seq FROM inbox ORDER BY 1, 2"), self.rows(INBOX))
        messages = self.rows("SELECT sender, device, id, seq FROM message ORDER BY seq")
        self.assertEqual(messages, self.rows(MESSAGE))
        self.assertEqual(self.rows("SELECT indexed FROM node"), self.rows("SELECT coalesce(max(seq), 0) FROM run"))

    def test_starts(self) -> None:
        """Each start indexes what the run before has left, and nothing twice."""
        for number in range(3):
            epoch = prepare(self.path, begin_run)
            self.assert_indexed()
            self.write(epoch, b"a%d" % number, b"b%d" % number)
            prepare(self.path, begin_run)
            prepare(self.path, begin_run)
            self.assert_indexed()
            self.assertEqual(len(self.rows("SELECT * FROM message")), 2 * (number + 1))

    def test_upgraded(self) -> None:
        """What a database of version 2 has is indexed, and what comes then is with the next start."""
        make_second(self.path, MESSAGES, *PEOPLE)
        epoch = prepare(self.path, begin_run)
        self.assertEqual(self.rows("SELECT indexed FROM node"), [(SEQS[-1],)])
        self.assert_indexed()
        self.write(epoch, b"new", b"newer")
        self.assertEqual(self.rows("SELECT indexed FROM node"), [(SEQS[-1],)])
        prepare(self.path, begin_run)
        self.assert_indexed()
        self.assertEqual(len(self.rows("SELECT * FROM message")), len(MESSAGES) + 2)

    def test_upgraded_empty(self) -> None:
        """One without messages has nothing indexed, and begins as a new one."""
        make_second(self.path, [], *PEOPLE)
        epoch = prepare(self.path, begin_run)
        self.assertEqual(self.rows("SELECT indexed FROM node"), [(0,)])
        self.write(epoch, b"new")
        prepare(self.path, begin_run)
        self.assert_indexed()

    def test_backup(self) -> None:
        """A copy has what is not indexed, counts it, is sound, and can be started from."""
        self.write(prepare(self.path, begin_run), b"a")
        self.write(prepare(self.path, begin_run), b"b", b"c")
        source, self.path = self.path, Path(self.mktemp())
        self.path.touch()
        snapshot.copy_database(source, self.path, lambda: None)
        self.assertEqual((snapshot.count(self.path).entries, snapshot.damage(self.path)), (3, None))
        self.assertEqual(len(self.rows("SELECT * FROM message")), 1)
        snapshot.leap(self.path, snapshot.Leap(1_000, 0, 0))
        epoch = prepare(self.path, begin_run)
        self.assertGreater(epoch, 1_000)
        self.assert_indexed()
        self.assertEqual(len(self.rows("SELECT * FROM message")), 3)
        self.write(epoch, b"d")
        prepare(self.path, begin_run)
        self.assert_indexed()


class AllOrNothingTests(TestCase):
    """A commit that fails within leaves nothing, on the connection that goes on being used."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.seq = prepare(self.path, begin_run) << SPAN_BITS
        self.database = Database(self.path)
        self.database.start()
        self.addCleanup(self.database.stop)

    def entry(self, at: int, *users: int) -> Entry:
        return Entry(self.seq + at, 9, 1, PHONE, b"%d" % at, users, b"%d\n\n" % at)

    async def write(self, *entries: Entry, indexes: bool = False) -> None:
        """With a notice that is sent by it."""
        await self.database.write(inbox_sql.write_batch, [*entries], [(1,)], [], [], indexes)

    async def tables(self) -> list[list[Any]]:
        def look(cursor: Cursor) -> list[list[Any]]:
            tables = ("seq FROM run", "seq FROM inbox", "seq FROM message", "id FROM outgoing", "indexed FROM node")
            return [[value for (value,) in cursor.execute(f"SELECT {what} ORDER BY 1").all()] for what in tables]

        return await self.database.read(look)

    async def assert_nothing_of(self, *entries: Entry, indexes: bool = False) -> None:
        """It is refused, nothing of it is there, and the next is taken."""
        await self.database.write(lambda c: c.execute("DELETE FROM outgoing").count)
        await self.database.write(
            lambda c: c.execute("INSERT INTO outgoing VALUES (1, 1, 'phone', x'61', '2', x'', x'')").count
        )
        before = await self.tables()
        with self.assertRaises(StorageUnavailable):
            await self.write(*entries, indexes=indexes)
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.IntegrityError)), 1)
        self.assertEqual(await self.tables(), before)
        await self.write(self.entry(99, 2), indexes=True)
        runs, inboxes, messages, outgoing, indexed = await self.tables()
        self.assertEqual([seq for seq in runs if seq == self.seq + 99], [self.seq + 99])
        self.assertEqual((inboxes[-1], messages[-1], outgoing, indexed), (runs[-1], runs[-1], [], [runs[-1]]))

    async def test_full(self) -> None:
        """A disk that has room for a message and not for its index takes the message, and later the index."""
        many = self.entry(5, *range(2, 3_000))
        await self.have_room(8)
        await self.write(many)
        with self.assertRaises(StorageUnavailable):
            await self.write(self.entry(6, 2), indexes=True)
        self.assertEqual(await self.tables(), [[many.seq], [], [], [], [0]])
        await self.have_room(1_000)
        await self.write(self.entry(7, 2), indexes=True)
        runs, inboxes, messages, _, indexed = await self.tables()
        self.assertEqual((runs, messages, indexed), ([self.seq + 5, self.seq + 7],) * 2 + ([self.seq + 7],))
        self.assertEqual(len(inboxes), len(many.users) + 1)

    async def have_room(self, pages: int) -> None:
        """From now on the database may grow by so many pages."""

        def limit(cursor: Cursor) -> None:
            (count,) = cursor.execute("PRAGMA page_count").one()
            cursor.execute(f"PRAGMA max_page_count = {count + pages}").one()

        await self.database.read(limit)

    async def test_number_twice(self) -> None:
        """A number that is taken, by what is indexed or not, behind others that are not."""
        await self.write(self.entry(5, 2))
        await self.assert_nothing_of(self.entry(3, 2), self.entry(5, 3), self.entry(7, 2))

    async def test_indexed_already(self) -> None:
        """What is in the index already, or names a user twice, does no harm."""
        await self.write(self.entry(1, 2, 2), indexes=True)
        await self.database.write(lambda cursor: cursor.execute("UPDATE node SET indexed = 0").count)
        await self.write(self.entry(2, 3), indexes=True)
        seqs = [self.seq + 1, self.seq + 2]
        self.assertEqual(await self.tables(), [seqs, seqs, seqs, [], seqs[1:]])
