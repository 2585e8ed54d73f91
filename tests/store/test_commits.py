"""Group commits: what goes together, what happens while one runs, and what becomes of one that fails."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from simple_im import limits
from simple_im.status import STORAGE_UNAVAILABLE, StorageUnavailable
from simple_im.store import inbox_sql
from simple_im.store.committer import HOLD, LAZY_COMMIT, MANY, PACE, RETRY_COMMIT
from simple_im.store.entries import Page
from tests.store.fakes import Sender, draft, ids_of, seqs_of
from tests.store.stepped import SteppedCase

REFUSED = STORAGE_UNAVAILABLE


class GroupCommitTests(SteppedCase):
    def test_one_for_all(self) -> None:
        """What gathers while a commit runs is the next one, however much it is."""
        sender = self.append(draft(b"a", 2))
        for number in range(50):
            self.append(draft(b"%d" % number, 2), sender=sender)
        before = self.database.attempts
        self.database.settle()
        self.assertEqual(self.database.attempts - before, 2)
        self.assertEqual(len(sender.stored_ids), 51)

    def test_nothing_to_commit(self) -> None:
        """With nothing gathered there is no commit, and `flush` returns at once."""
        before = self.database.attempts
        self.inbox.commit()
        self.successResultOf(self.start(self.inbox.flush()))
        self.database.settle()
        self.assertEqual(self.database.attempts, before)

    def test_flush_waits_for_both(self) -> None:
        """`flush` waits for the commit that runs and for the one that gathers behind it."""
        self.append(draft(b"a", 2))
        first = self.start(self.inbox.flush())
        self.append(draft(b"b", 2))
        second = self.start(self.inbox.flush())
        self.database.do()
        self.assertNoResult(first)
        self.database.answer()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.database.settle()
        self.successResultOf(second)

    def test_acknowledgements_wait(self) -> None:
        """What only changes a device's state waits a moment for something to ride along with, then is written."""
        state = self.device(2)
        state.sent = 7
        self.inbox.touch(state)
        self.clock.advance(LAZY_COMMIT / 2)
        self.inbox.touch(state)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT sent FROM device"), [(0,)])
        self.clock.advance(LAZY_COMMIT / 2)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT sent FROM device"), [(7,)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_acknowledgements_of_one_who_sends(self) -> None:
        """They go with the message that the device sends next, and those of other devices do not."""
        states = [self.device(user, "phone") for user in (2, 3)]
        for state in states:
            state.sent = 7
            self.inbox.touch(state)
        self.inbox.write_with_next(states[0])
        self.append(draft(b"a", 4))
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT user, sent FROM device"), [(2, 7), (3, 0)])
        self.clock.advance(LAZY_COMMIT)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT user, sent FROM device"), [(2, 7), (3, 7)])

    def test_one_a_moment(self) -> None:
        """However often a state changes, and however many commits there are, it is written once in that time."""
        state = self.device(2)
        for number in range(10):
            state.sent = number
            self.inbox.touch(state)
            self.append(draft(b"%d" % number, 3))
            self.database.settle()
        self.assertEqual(self.database.rows("SELECT sent FROM device"), [(0,)])
        self.clock.advance(LAZY_COMMIT)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT sent FROM device"), [(9,)])

    def test_touched_while_committing(self) -> None:
        """A change that comes while a commit runs is not lost: it is in the next."""
        state = self.device(2)
        state.sent = 7
        self.inbox.touch(state)
        self.start(self.inbox.flush())
        state.sent = 8
        self.inbox.touch(state)
        self.database.settle()
        self.clock.advance(LAZY_COMMIT)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT sent FROM device"), [(8,)])

    def test_state_as_it_was(self) -> None:
        """A commit writes a device's state as it was when the commit began."""
        state = self.device(2)
        state.sent = 7
        self.inbox.touch(state)
        self.start(self.inbox.flush())
        state.sent = 8
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT sent FROM device"), [(7,)])

    def test_acknowledged_again_while_committing(self) -> None:
        """What is acknowledged singly while a commit writes the cursor stays noted where it is above it."""
        state = self.device(2)
        self.append(*(draft(b"%d" % number, 2) for number in range(4)))
        self.database.settle()
        seqs = seqs_of(self.waiting(state))
        self.inbox.acknowledge_range(state, seqs[1] - 1, seqs[1])
        state.advance(seqs[1])
        self.inbox.commit()
        self.inbox.acknowledge_range(state, seqs[3] - 1, seqs[3])
        self.database.settle()
        self.assertEqual(state.scattered, seqs[3])
        self.assertEqual(seqs_of(self.waiting(state)), [seqs[2]])

    def test_looked_up_while_committing(self) -> None:
        """A message that comes with `dup` twice is taken once, also where the commit of the first began while the
        second was looked up."""
        sender = Sender()
        both = [self.start(self.inbox.append_again(draft(b"a", 2), sender)) for _ in range(2)]
        self.database.do()
        self.database.do()
        self.database.answer()
        self.inbox.commit()
        self.database.settle()
        for each in both:
            self.successResultOf(each)
        self.assertEqual(sender.stored_ids, [b"a", b"a"])
        self.assertEqual(len(self.outlet.entries), 1)

    def test_notice(self) -> None:
        """A notice that was kept until it has its place is kept no longer with the commit that gives it one."""
        add = "INSERT INTO outgoing VALUES (?, 1, 'phone', x'61', '2', x'', x'')"
        for number in (1, 2, 3):
            self.database.rows(add, number)
        self.append(replace(draft(b"a", 2), outgoing=2), draft(b"b", 2))
        self.database.broken = True
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT id FROM outgoing"), [(1,), (2,), (3,)])
        self.database.broken = False
        self.append(replace(draft(b"a", 2), outgoing=2), draft(b"b", 2))
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT id FROM outgoing"), [(1,), (3,)])

    def test_few_statements(self) -> None:
        """A commit takes a handful of statements whatever it holds: each costs the thread a fight for the
        interpreter."""
        states = [self.device(user, f"{number}") for user in (2, 3, 4) for number in range(30)]
        for state in states:
            self.inbox.acknowledge_range(state, 0, 5)
        self.append(*(draft(b"%d" % number, 2, 3) for number in range(90)))
        self.assertLess(self.database.statements_of(self.database.do), 40)

    def test_a_receipt_that_fails(self) -> None:
        """A sender whose receipt fails keeps nobody else from being told, and no commit from being followed."""
        bad, good = Sender(), Sender()
        bad.on_answer = lambda: 1 // 0
        for sender in (bad, good):
            self.inbox.append(draft(b"a", 2), sender)
        flushed = self.start(self.inbox.flush())
        self.append(draft(b"b", 2), sender=good)
        self.database.settle()
        self.successResultOf(flushed)
        self.assertEqual(good.stored_ids, [b"a", b"b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class PaceTests(SteppedCase):
    """Where many messages come, a commit waits for more."""

    def setUp(self) -> None:
        super().setUp()
        self.many = self.append(*(draft(b"%d" % number, 2) for number in range(MANY)))
        self.clock.advance(PACE / 4)
        self.database.settle()

    def test_paced(self) -> None:
        """The next begins so long after it, with all that has come until then."""
        first = self.append(draft(b"a", 2))
        second = self.append(draft(b"b", 2))
        self.clock.advance(PACE / 2)
        self.database.settle()
        self.assertEqual(first.stored_ids, [])
        self.clock.advance(PACE / 4)
        self.database.settle()
        self.assertEqual((first.stored_ids, second.stored_ids), ([b"a"], [b"b"]))

    def test_few(self) -> None:
        """After one of fewer it begins at once."""
        self.clock.advance(PACE)
        for number in range(3):
            few = self.append(draft(b"%d" % number, 2))
            self.database.settle()
            self.assertEqual(few.stored_ids, [b"%d" % number])

    def test_behind_one_that_runs(self) -> None:
        """What has gathered while it ran waits as well."""
        self.clock.advance(PACE)
        self.append(*(draft(b"%d" % number, 2) for number in range(MANY)))
        behind = self.append(draft(b"behind", 2))
        self.database.settle()
        self.assertEqual(behind.stored_ids, [])
        self.clock.advance(PACE)
        self.database.settle()
        self.assertEqual(behind.stored_ids, [b"behind"])

    def test_awaited(self) -> None:
        """Who waits for what has gathered does not wait for more, and it is written once."""
        waits = self.append(draft(b"a", 2))
        self.done(self.inbox.flush())
        self.assertEqual(waits.stored_ids, [b"a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_awaited_behind_one_that_runs(self) -> None:
        """Also where one runs at the time."""
        self.clock.advance(PACE)
        self.append(*(draft(b"%d" % number, 2) for number in range(MANY)))
        behind = self.append(draft(b"behind", 2))
        flush = self.start(self.inbox.flush())
        self.database.settle()
        self.successResultOf(flush)
        self.assertEqual(behind.stored_ids, [b"behind"])

    def test_full(self) -> None:
        """As much as may wait does not."""
        self.patch(limits, "UNCOMMITTED_ROWS", 1)
        sender = self.append(draft(b"a", 2), draft(b"b", 2))
        self.database.settle()
        self.assertEqual(sender.stored_ids, [b"a", b"b"])

    def test_clock_set_back(self) -> None:
        """A clock that goes back an hour makes nobody wait for an hour."""
        self.clock.rightNow -= 3600
        sender = self.append(draft(b"a", 2))
        self.clock.advance(PACE)
        self.database.settle()
        self.assertEqual(sender.stored_ids, [b"a"])

    def test_failed(self) -> None:
        """What was shown before a commit failed is tried at once, and what comes then is held back."""
        self.clock.advance(PACE)
        self.append(*(draft(b"%d" % number, 2) for number in range(MANY)))
        shown = self.append(draft(b"shown", 2))
        self.database.broken = True
        self.database.settle()
        self.assertEqual(shown.answers, [(b"shown", STORAGE_UNAVAILABLE)])


class DrainTests(SteppedCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(limits, "UNCOMMITTED_BYTES", 400)

    def fill(self) -> Deferred[None]:
        """Have a commit under way and too much behind it."""
        self.append(draft(b"a", 2))
        self.inbox.append(draft(b"b", 2, text=b"x" * 400), Sender())
        self.assertTrue(self.inbox.full)
        return self.inbox.drained()

    def test_not_full(self) -> None:
        """Exactly as much as may wait is not too much."""
        size = 400 - len(draft(b"b", 2).head) - len(b"from = 1\nts = 0\nseq = 4294967297\n\n")
        self.inbox.append(draft(b"b", 2, text=b"x" * (size + 2)), Sender())
        self.assertEqual(len(self.outlet.entries[0].wire), 400)
        self.assertFalse(self.inbox.full)
        self.inbox.append(draft(b"c", 2), Sender())
        self.assertTrue(self.inbox.full)

    def test_many_inboxes(self) -> None:
        """Small messages for many inboxes are too much as well."""
        self.patch(limits, "UNCOMMITTED_ROWS", 5)
        self.patch(limits, "UNCOMMITTED_BYTES", 100_000)
        self.inbox.append(draft(b"a", 2, 3), Sender())
        self.inbox.append(draft(b"b", 2, 3, 4), Sender())
        self.assertFalse(self.inbox.full)
        self.inbox.append(draft(b"c", 2), Sender())
        self.assertTrue(self.inbox.full)

    def test_drained_by_the_next(self) -> None:
        """Where nothing is under way it is over when what waited begins to be committed."""
        self.inbox.append(draft(b"b", 2, text=b"x" * 400), Sender())
        drained = self.inbox.drained()
        self.assertNoResult(drained)
        self.inbox.commit()
        self.successResultOf(drained)

    def test_drained(self) -> None:
        """It is over when what waited is being committed and the commit before has ended."""
        drained = self.fill()
        self.database.do()
        self.assertNoResult(drained)
        self.database.answer()
        self.successResultOf(drained)
        self.assertFalse(self.inbox.full)

    def test_drained_by_failure(self) -> None:
        """A failing database lets nobody wait for ever: what was shown is tried, then refused."""
        self.database.broken = True
        drained = self.fill()
        self.database.settle()
        self.successResultOf(drained)
        self.assertFalse(self.inbox.full)

    def test_still_full(self) -> None:
        """Where a failure leaves too much waiting, it is not over before that is tried."""
        self.database.broken = True
        self.append(draft(b"a", 2))
        self.database.settle()
        drained = self.fill()
        self.database.settle()
        self.assertTrue(self.inbox.full)
        self.assertNoResult(drained)
        self.clock.advance(RETRY_COMMIT)
        self.assertFalse(self.inbox.full)
        self.successResultOf(drained)

    def test_in_turn(self) -> None:
        """The one that fills it again leaves the room after the next commit to those that waited before."""
        order: list[str] = []

        def refill(_result: object) -> None:
            order.append("first")
            self.inbox.append(draft(b"c", 2, text=b"x" * 400), Sender())
            self.inbox.drained().addCallback(lambda _result: order.append("first again"))

        first = self.fill()
        self.inbox.drained().addCallback(lambda _result: order.append("second"))
        first.addCallback(refill)
        self.database.do()
        self.database.answer()
        self.assertEqual(order, ["first"])
        self.database.settle()
        self.inbox.commit()
        self.database.settle()
        self.assertEqual(order, ["first", "second", "first again"])

    def test_full_again_at_once(self) -> None:
        """Those that fill it again right when it is drained wait again."""
        again: list[Deferred[None]] = []

        def refill(_result: object) -> None:
            self.inbox.append(draft(b"c", 2, text=b"x" * 400), Sender())
            again.append(self.inbox.drained())

        self.fill().addCallback(refill)
        self.database.do()
        self.database.answer()
        self.assertNoResult(again[0])
        self.inbox.commit()
        self.database.settle()
        self.successResultOf(again[0])


class FailingCommitTests(SteppedCase):
    def setUp(self) -> None:
        super().setUp()
        self.state = self.device(2)
        self.sender = Sender()

    def break_storage(self) -> None:
        """Have the commit that runs, and those that follow at once, fail."""
        self.database.broken = True
        self.database.settle()

    def mend(self) -> None:
        self.database.broken = False

    def delivered(self) -> list[bytes]:
        return ids_of(self.outlet.entries)

    def test_refused(self) -> None:
        """What a failed commit held is refused, each message once, and is nowhere afterwards."""
        self.append(draft(b"a", 2), draft(b"b", 2), sender=self.sender)
        self.break_storage()
        self.assertEqual(self.sender.answers, [(b"a", REFUSED), (b"b", REFUSED)])
        self.mend()
        self.clock.advance(RETRY_COMMIT)
        self.database.settle()
        self.assertEqual(self.waiting(self.state), [])
        self.assertEqual(len(self.sender.answers), 2)

    def test_flush_raises(self) -> None:
        """Those that wait for a commit are told that it failed, whether it ran already or not."""
        self.append(draft(b"a", 2))
        flushes = [self.start(self.inbox.flush())]
        self.append(draft(b"b", 2))
        flushes.append(self.start(self.inbox.flush()))
        self.break_storage()
        for flush in flushes:
            self.failureResultOf(flush, StorageUnavailable)

    def test_all_that_wait(self) -> None:
        """Nobody is left waiting: a device becoming known, DELETE, a message sent again."""
        self.append(draft(b"a", 2))
        waiting = [
            self.start(self.inbox.add_device(3, "new")),
            self.start(self.inbox.forget_shown(self.state)),
        ]
        again = self.start(self.inbox.append_again(draft(b"a", 2), self.sender))
        self.break_storage()
        self.clock.advance(RETRY_COMMIT)
        self.database.settle()
        for each in waiting:
            self.failureResultOf(each, StorageUnavailable)
        self.successResultOf(again)
        self.assertEqual(self.sender.answers, [(b"a", REFUSED)])

    def test_acknowledged_meanwhile(self) -> None:
        """What is acknowledged singly counts at once, also while it can't be written down."""
        for id_ in (b"a", b"b", b"a", b"c"):
            self.append(draft(id_, 2))
        self.database.settle()
        entries = self.waiting(self.state)
        self.state.sent = entries[-1].seq
        self.break_storage()
        for entry in entries[1:3]:
            self.inbox.acknowledge_range(self.state, entry.seq - 1, entry.seq)
        for _ in range(3):
            self.clock.advance(RETRY_COMMIT)
            self.database.settle()
            self.assertEqual([entry.id for entry in self.waiting(self.state)], [b"a", b"c"])
            self.assertEqual(self.done(self.inbox.find(self.state, b"a")), entries[0].seq)
            self.assertIsNone(self.done(self.inbox.find(self.state, b"b")))
        self.inbox.acknowledge_range(self.state, entries[0].seq - 1, entries[0].seq)
        self.assertIsNone(self.done(self.inbox.find(self.state, b"a")))
        self.assertEqual(self.done(self.inbox.find(self.state, b"c")), entries[3].seq)

    def test_page_acknowledged(self) -> None:
        """A page of which nothing is left is passed over."""
        for number in range(5):
            self.append(draft(b"%d" % number, 2))
        self.database.settle()
        entries = self.waiting(self.state)
        self.inbox.acknowledge_range(self.state, entries[0].seq, entries[3].seq)
        reading = self.start(self.inbox.read(self.state, entries[0].seq, 2, 9_999))
        self.database.settle()
        self.assertEqual([entry.id for entry in self.successResultOf(reading).entries], [b"4"])

    def test_held(self) -> None:
        """After a failed commit a message is not shown before its own commit: neither delivered nor read."""
        self.append(draft(b"a", 2))
        self.break_storage()
        self.mend()
        self.append(draft(b"b", 2), sender=self.sender)
        self.append(draft(b"c", 2), sender=self.sender)
        self.assertEqual(self.delivered(), [b"a"])
        self.assertEqual(self.start(self.inbox.read(self.state, 0, 9, 9_999)).called, False)
        self.database.do()
        self.assertEqual(self.delivered(), [b"a"])

    def test_shown_after_success(self) -> None:
        """What was held is delivered with its commit, in order; and so is what comes for a while after that."""
        self.append(draft(b"a", 2))
        self.break_storage()
        self.mend()
        self.append(draft(b"b", 2), draft(b"c", 2), sender=self.sender)
        self.append(draft(b"d", 2), sender=self.sender)
        self.database.do()
        self.database.answer()
        self.assertEqual(self.delivered(), [b"a", b"b", b"c"])
        self.assertEqual(self.sender.stored_ids, [b"b", b"c"])
        self.database.settle()
        self.clock.advance(HOLD - 1)
        self.append(draft(b"e", 2), sender=self.sender)
        self.assertEqual(self.delivered(), [b"a", b"b", b"c", b"d"])
        self.database.settle()
        self.assertEqual(self.sender.stored_ids, [b"b", b"c", b"d", b"e"])
        self.assertEqual(self.delivered(), [b"a", b"b", b"c", b"d", b"e"])
        self.assertEqual(ids_of(self.waiting(self.state)), [b"b", b"c", b"d", b"e"])

    def test_held_fails_too(self) -> None:
        """What was held and fails as well is refused and never shown."""
        self.append(draft(b"a", 2))
        self.break_storage()
        self.append(draft(b"b", 2), sender=self.sender)
        self.append(draft(b"c", 2), sender=self.sender)
        self.break_storage()
        self.clock.advance(RETRY_COMMIT)
        self.database.settle()
        self.assertEqual(self.sender.answers, [(b"b", REFUSED), (b"c", REFUSED)])
        self.assertEqual(self.delivered(), [b"a"])

    def test_shown_meanwhile(self) -> None:
        """What was shown while the failing commit ran is tried at once, alone, and not shown again."""
        self.append(draft(b"a", 2))
        self.append(draft(b"b", 2), sender=self.sender)
        self.database.broken = True
        self.database.do()
        self.mend()
        self.database.answer()
        self.append(draft(b"c", 2), sender=self.sender)
        self.assertEqual(self.delivered(), [b"a", b"b"])
        self.database.settle()
        self.assertEqual(ids_of(self.waiting(self.state)), [b"b", b"c"])
        self.assertEqual(self.delivered(), [b"a", b"b", b"c"])
        self.assertEqual(self.sender.stored_ids, [b"b", b"c"])

    def test_as_before(self) -> None:
        """When commits have not failed for long enough, the next that succeeds shows what waits behind it, and
        messages are delivered at once again."""
        self.append(draft(b"a", 2))
        self.break_storage()
        self.mend()
        self.clock.advance(HOLD)
        self.append(draft(b"b", 2))
        self.append(draft(b"c", 2))
        self.assertEqual(self.delivered(), [b"a"])
        self.database.do()
        self.database.answer()
        self.assertEqual(self.delivered(), [b"a", b"b", b"c"])
        self.append(draft(b"d", 2))
        self.assertEqual(self.delivered(), [b"a", b"b", b"c", b"d"])
        self.database.settle()
        self.assertEqual(ids_of(self.waiting(self.state)), [b"b", b"c", b"d"])

    def test_taken_when_told(self) -> None:
        """A message that comes right when a failure is told is held like any later one, and shown once."""
        self.append(draft(b"a", 2))
        flush = self.start(self.inbox.flush())
        flush.addErrback(lambda _failure: self.inbox.append(draft(b"b", 2), self.sender))
        self.break_storage()
        self.assertEqual(self.delivered(), [b"a"])
        self.mend()
        self.inbox.commit()
        self.database.settle()
        self.assertEqual(self.delivered(), [b"a", b"b"])
        self.assertEqual(self.sender.stored_ids, [b"b"])

    def test_read_while_held(self) -> None:
        """A reader gets a held message once: in the page that it asks for after the commit, or delivered behind one
        that it asked for before, at whatever moment of the commit that comes."""
        self.append(draft(b"a", 2))
        for steps in range(4):
            self.break_storage()
            self.append(draft(b"refused", 2))
            self.break_storage()
            self.mend()
            self.outlet.entries.clear()
            self.append(draft(b"held", 2))
            self.take(steps)
            self.assertEqual(self.read_and_follow(), [b"held"] * (steps + 1))

    def take(self, steps: int) -> None:
        for step in (self.database.do, self.database.answer, self.database.do)[:steps]:
            step()

    def read_and_follow(self) -> list[bytes]:
        """What a page brings and what is delivered after it."""
        got: list[bytes] = []

        def follow(page: Page) -> None:
            got.extend(ids_of(page.entries))
            self.outlet.followers.append(lambda entry: got.append(entry.id))

        self.start(self.inbox.read(self.state, 0, 99, 9_999)).addCallback(follow)
        self.database.settle()
        self.outlet.followers.clear()
        return got

    def test_acknowledgements_kept(self) -> None:
        """Acknowledgements and states of a failed commit are in the next that succeeds."""
        self.append(*(draft(b"%d" % number, 2) for number in range(5)))
        self.database.settle()
        seqs = seqs_of(self.waiting(self.state))
        self.state.advance(seqs[0])
        self.inbox.acknowledge_range(self.state, seqs[1], seqs[2])
        self.append(draft(b"x", 3))
        self.break_storage()
        self.inbox.acknowledge_range(self.state, seqs[3], seqs[4])
        self.mend()
        self.clock.advance(RETRY_COMMIT)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT cursor FROM device"), [(seqs[0],)])
        self.assertEqual(seqs_of(self.waiting(self.state)), [seqs[1], seqs[3]])

    def test_newest_state_wins(self) -> None:
        """A state that has changed again since is written as it is by then."""
        self.state.sent = 5
        self.inbox.touch(self.state)
        self.inbox.commit()
        self.state.sent = 6
        self.inbox.touch(self.state)
        self.break_storage()
        self.mend()
        self.clock.advance(RETRY_COMMIT)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT sent FROM device"), [(6,)])

    def test_passed_acknowledgements_kept(self) -> None:
        """Single acknowledgements that the cursor has passed leave the database also when the first try failed."""
        self.append(*(draft(b"%d" % number, 2) for number in range(3)))
        self.database.settle()
        seqs = seqs_of(self.waiting(self.state))
        self.inbox.acknowledge_range(self.state, seqs[0], seqs[1])
        self.inbox.commit()
        self.database.settle()
        self.state.advance(seqs[2])
        self.inbox.touch(self.state)
        self.inbox.commit()
        self.break_storage()
        self.mend()
        self.clock.advance(RETRY_COMMIT)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT * FROM acked"), [])

    def test_state_kept_alive(self) -> None:
        """A state that nobody holds is not forgotten while what it says is not on disk."""
        self.state.advance(9)
        self.inbox.touch(self.state)
        self.inbox.commit()
        del self.state
        self.break_storage()
        self.assertEqual(self.opened(2).cursor, 9)
        self.mend()
        self.clock.advance(RETRY_COMMIT)
        self.database.settle()
        self.assertEqual(self.opened(2).cursor, 9)

    def test_tried_again_by_itself(self) -> None:
        """Acknowledgements are tried again once a second, not more often, and no more when they are written."""
        self.state.advance(9)
        self.inbox.touch(self.state)
        self.inbox.commit()
        self.break_storage()
        before = self.database.attempts
        for _ in range(40):
            self.clock.advance(RETRY_COMMIT / 4)
            self.inbox.touch(self.state)
            self.database.settle()
        self.assertEqual(self.database.attempts - before, 10)
        self.mend()
        self.clock.advance(RETRY_COMMIT)
        self.database.settle()
        self.assertEqual(self.database.rows("SELECT cursor FROM device"), [(9,)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_to_try(self) -> None:
        """Where nothing is left to write, nothing is tried."""
        self.append(draft(b"a", 2))
        self.break_storage()
        before = self.database.attempts
        self.clock.pump([RETRY_COMMIT] * 5)
        self.database.settle()
        self.assertEqual(self.database.attempts, before)

    def test_message_tries_again(self) -> None:
        """A message does not wait for the second to pass."""
        self.append(draft(b"a", 2))
        self.break_storage()
        self.mend()
        self.append(draft(b"b", 2), sender=self.sender)
        self.database.settle()
        self.assertEqual(self.sender.stored_ids, [b"b"])

    def test_sent_again(self) -> None:
        """A message that was refused is taken when it comes again with `dup`."""
        self.append(draft(b"a", 2), sender=self.sender)
        self.break_storage()
        self.mend()
        self.done(self.inbox.append_again(draft(b"a", 2), self.sender))
        self.inbox.commit()
        self.database.settle()
        self.assertEqual(self.sender.answers, [(b"a", REFUSED), (b"a", "")])
        self.assertEqual(ids_of(self.waiting(self.state)), [b"a"])

    def test_fault_of_ours(self) -> None:
        """A commit that fails by a fault in the program is logged and counts as one that the disk refused."""
        self.patch(inbox_sql, "write_batch", lambda *args: 1 // 0)
        self.append(draft(b"a", 2), sender=self.sender)
        self.database.settle()
        self.assertEqual(self.sender.answers, [(b"a", REFUSED)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class SmallSpanTests(SteppedCase):
    """Numbers that run out after every seven."""

    span_bits = 3

    def test_next_epoch_in_time(self) -> None:
        """When an epoch's numbers are used up the next epoch's follow, and nobody is refused."""
        state, sender = self.device(2), Sender()
        for number in range(40):
            self.append(draft(b"%d" % number, 2), sender=sender)
            self.database.settle()
        seqs = seqs_of(self.waiting(state))
        self.assertEqual(len(sender.stored_ids), 40)
        self.assertEqual(seqs, sorted(set(seqs)))
        self.assertEqual(len({seq >> 32 for seq in seqs}), 6)

    def test_used_up(self) -> None:
        """When they are used up before the next epoch is on disk, messages are refused until it is."""
        sender = self.append(*(draft(b"%d" % number, 2) for number in range(9)))
        self.assertEqual(sender.answers, [(b"7", REFUSED), (b"8", REFUSED)])
        self.database.settle()
        self.append(draft(b"again", 2), sender=sender)
        self.database.settle()
        self.assertEqual(sender.stored_ids[-1], b"again")

    def test_used_up_while_broken(self) -> None:
        """When the next epoch can't be had, a message that comes when the database takes it again brings it."""
        self.database.broken = True
        self.append(*(draft(b"%d" % number, 2) for number in range(7)))
        self.database.settle()
        self.append(draft(b"refused", 2))
        self.database.settle()
        self.database.broken = False
        sender = self.append(draft(b"a", 2))
        self.database.settle()
        self.append(draft(b"b", 2), sender=sender)
        self.database.settle()
        self.assertEqual(sender.answers, [(b"a", REFUSED), (b"b", "")])
