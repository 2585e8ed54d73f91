"""Notices between the change that they tell of and the inboxes: none is lost, none is sent twice."""

from __future__ import annotations

import tomllib

from twisted.internet.defer import Deferred

from simple_im.status import NotFound, StorageUnavailable
from simple_im.store import outgoing as outgoing_module
from simple_im.store.database import Cursor
from simple_im.store.entries import Draft, Entry
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.outgoing import RETRY, Notice, Outgoing, post
from simple_im.store.sequence import Sequence
from simple_im.wire.frames import for_compact
from tests.store.fakes import PHONE, Deliveries
from tests.store.stepped import SteppedCase

NOTICE = Notice(1, PHONE, "n", {"to": 2, "t": "x"})


def post_one(cursor: Cursor, text: str = "hi") -> Draft:
    """A change of no consequence, and its notice."""
    return post(cursor, NOTICE.saying("x", text=text), [2])


def texts(entries: list[Entry]) -> list[str]:
    return [str(tomllib.loads(entry.wire.decode())["n"][0]["text"]) for entry in entries]


_LEFT = outgoing_module._left


def _unreadable(cursor: Cursor) -> list[Draft]:
    raise StorageUnavailable()


class OutgoingCase(SteppedCase):
    def setUp(self) -> None:
        super().setUp()
        self.outgoing = Outgoing(self.database, self.inbox, self.clock)
        self.state = self.device(2)

    def post(self, *words: str) -> list[Draft]:
        return [self.done(self.database.write(post_one, text)) for text in words]

    def sending(self, *drafts: Draft) -> Deferred[None]:
        sending = self.start(self.outgoing.send(*drafts))
        self.database.settle()
        return sending

    def refuse(self, *drafts: Draft) -> None:
        """The disk does not take these."""
        self.database.broken = True
        self.successResultOf(self.sending(*drafts))

    def pass_time(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(RETRY)
            self.database.settle()

    def left(self) -> int:
        """How many are kept for later."""
        return len(self.database.rows("SELECT * FROM outgoing"))

    def stored(self) -> list[str]:
        """What the addressee's device finds, by text."""
        return texts(self.waiting(self.state))

    def restart(self) -> None:
        """A process has ended; another begins with what is on disk, and recovers."""
        for call in [*self.clock.getDelayedCalls()]:
            call.cancel()
        self.outlet = Deliveries()
        self.database.broken = False
        self.sequence = Sequence(self.database, self.database.raise_epoch())
        self.inbox = SQLiteInbox(self.database, self.sequence, self.clock, self.outlet)
        self.outgoing = Outgoing(self.database, self.inbox, self.clock)
        self.state = self.opened(2)
        self.done(self.outgoing.recover())


class PostTests(OutgoingCase):
    def test_form(self) -> None:
        """A notice is an entry with an id of its own, the keys of what is told, and the acting device; it is for those
        it concerns and for who acts, each once."""
        draft = self.done(self.database.write(lambda cursor: post(cursor, NOTICE.saying("y", ask='"'), [2, 1, 2])))
        (keys,) = tomllib.loads((draft.head + draft.tail).decode())["n"]
        self.assertEqual(keys, {"id": draft.id.decode(), "to": 2, "t": "y", "ask": '"', "d": PHONE})
        self.assertEqual((draft.sender, draft.device, draft.users), (1, PHONE, (2, 1)))

    def test_ids(self) -> None:
        """No two notices have the same id."""
        self.assertEqual(len({draft.id for draft in self.post(*"abcdefgh")}), 8)

    def test_change_that_fails(self) -> None:
        """Where the change is not made there is no notice either."""

        def change(cursor: Cursor) -> None:
            post_one(cursor)
            raise NotFound()

        changing = self.start(self.database.write(change))
        self.database.settle()
        self.failureResultOf(changing, NotFound)
        self.assertEqual(self.left(), 0)


class SendTests(OutgoingCase):
    def test_on_disk(self) -> None:
        """Sending is done when the notice is on disk, in the inboxes and kept for later no more: not before."""
        (draft,) = self.post("a")
        sending = self.start(self.outgoing.send(draft))
        self.assertNoResult(sending)
        self.database.do()
        self.assertNoResult(sending)
        self.database.settle()
        self.successResultOf(sending)
        self.assertEqual((self.left(), self.stored()), (0, ["a"]))

    def test_shown(self) -> None:
        """Connected devices have it by then, as it was posted."""
        self.successResultOf(self.sending(*self.post("a")))
        self.assertEqual((texts(self.outlet.entries), self.outlet.written), (["a"], 1))
        self.assertNotIn(b"dup", self.outlet.entries[0].wire)

    def test_refused(self) -> None:
        """What the disk does not take is raised, and stays for later."""
        self.refuse(*self.post("a"))
        self.assertEqual(self.left(), 1)

    def test_sent_later(self) -> None:
        """It is tried again until the disk takes it, and then no more; devices have it once by then, in one place."""
        drafts = self.post("a")
        self.refuse(*drafts)
        self.pass_time(5)
        self.assertEqual(self.left(), 1)
        self.database.broken = False
        self.pass_time(3)
        self.assertEqual((self.left(), self.stored()), (0, ["a"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_says_that_it_comes_again(self) -> None:
        """Another try says `dup`, once, as devices may have seen the first; a compact client is not told."""
        self.refuse(*self.post("a"))
        self.pass_time(3)
        self.database.broken = False
        self.pass_time()
        (entry,) = self.waiting(self.state)
        self.assertEqual(entry.wire.count(b"\ndup = true\n"), 1)
        self.assertTrue(tomllib.loads(entry.wire.decode())["n"][0]["dup"])
        self.assertNotIn(b"dup", for_compact(entry.wire))
        self.assertEqual({entry.id}, {shown.id for shown in self.outlet.entries})


class RecoverTests(OutgoingCase):
    def test_crash_before_it_is_sent(self) -> None:
        """What was changed and not told is told after a crash, in order, once, however many crashes follow."""
        self.post("a", "b", "c")
        for _ in range(3):
            self.restart()
            self.assertEqual((self.stored(), self.left()), (["a", "b", "c"], 0))

    def test_crash_at_any_moment(self) -> None:
        """A crash at any moment of sending, before or after the commit, brings it once to its place."""
        for steps in range(4):
            (draft,) = self.post(str(steps))
            self.start(self.outgoing.send(draft))
            for step in (self.database.do, self.database.answer, self.database.do)[:steps]:
                step()
            self.database._asked.clear()
            self.database._done.clear()
            self.restart()
            self.assertEqual((self.stored(), self.left()), ([str(n) for n in range(steps + 1)], 0))

    def test_crash_while_the_disk_is_full(self) -> None:
        """What could not be stored until the end is sent by the next process."""
        self.refuse(*self.post("a"))
        self.restart()
        self.assertEqual((self.stored(), self.left()), (["a"], 0))

    def test_says_that_it_comes_again(self) -> None:
        """It says `dup`, as devices may have seen it before the crash."""
        (draft,) = self.post("a")
        self.restart()
        (entry,) = self.waiting(self.state)
        self.assertEqual((entry.id, entry.wire.count(b"\ndup = true\n")), (draft.id, 1))

    def test_nothing_left(self) -> None:
        """With nothing left nothing is written."""
        before = self.database.attempts
        self.done(self.outgoing.recover())
        self.assertEqual(self.database.attempts, before)

    def test_disk_is_still_full(self) -> None:
        """Where the disk does not take it yet it is tried again."""
        self.post("a")
        self.database.broken = True
        recovering = self.start(self.outgoing.recover())
        self.database.settle()
        self.successResultOf(recovering)
        self.database.broken = False
        self.pass_time()
        self.assertEqual((self.stored(), self.left()), (["a"], 0))


    def test_disk_is_not_read(self) -> None:
        """Where it can't even be read what is left, that is tried again."""
        self.post("a")
        self.patch(outgoing_module, "_left", _unreadable)
        self.successResultOf(self.recovering())
        self.assertEqual((self.stored(), self.left()), ([], 1))
        self.patch(outgoing_module, "_left", _LEFT)
        self.pass_time()
        self.assertEqual((self.stored(), self.left()), (["a"], 0))

    def recovering(self) -> Deferred[None]:
        recovering = self.start(self.outgoing.recover())
        self.database.settle()
        return recovering


class SmallSpanTests(OutgoingCase):
    """Numbers that run out after every seven."""

    span_bits = 3

    def test_some_refused(self) -> None:
        """Of several at once those that were refused are sent again, and those that were stored are not."""
        words = [str(number) for number in range(9)]
        self.successResultOf(self.sending(*self.post(*words)))
        self.pass_time()
        self.assertEqual((self.stored(), self.left()), (words, 0))
