"""What gathers for a commit."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simple_im.status import STORAGE_UNAVAILABLE, StorageUnavailable
from simple_im.store.batch import AckedRange, Batch
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Entry
from tests.store.fakes import Sender, seqs_of


def entry(seq: int, id_: bytes = b"a", *users: int, device: str = "phone") -> Entry:
    return Entry(seq, 0, 1, device, id_, users or (2,), b"x" * 10)


def batch_of(*entries: Entry, held: bool = False) -> Batch:
    batch = Batch(held)
    for each in entries:
        batch.add([each], Sender())
    return batch


class ContentTests(SynchronousTestCase):
    def test_empty(self) -> None:
        """A batch with nothing in it needs no commit."""
        self.assertFalse(Batch(held=False))

    def test_not_empty(self) -> None:
        """An entry, an acknowledgement, a changed device, or somebody who waits makes it need one."""
        batches = [Batch(held=False) for _ in range(4)]
        batches[0].add([entry(1)], Sender())
        batches[1].acknowledge(AckedRange(2, "phone", 0, 1))
        batches[2].dirty[DeviceState(2, "phone")] = None
        batches[3].waiters.append(Deferred())
        self.assertEqual([bool(batch) for batch in batches], [True] * 4)

    def test_several(self) -> None:
        """Entries that come together are as if they came one by one."""
        together, sender = Batch(held=False), Sender()
        together.add([entry(1, b"a"), entry(2, b"b")], sender)
        together.add([entry(3, b"c")], sender)
        self.assertEqual((seqs_of(together.shown_to(2, 0)), together.size), ([1, 2, 3], 30))
        self.assertTrue(together.has((1, "phone", b"b")))
        together.tell_stored()
        self.assertEqual(sender.stored_ids, [b"a", b"b", b"c"])

    def test_size(self) -> None:
        """Its size is that of its entries on the wire."""
        self.assertEqual(batch_of(entry(1), entry(2)).size, 20)

    def test_has(self) -> None:
        """A message is found by its sender, device and id, also one that is added after the first question."""
        batch = batch_of(entry(1, b"a"))
        self.assertTrue(batch.has((1, "phone", b"a")))
        self.assertFalse(batch.has((1, "phone", b"b")))
        batch.add([entry(2, b"b")], Sender())
        self.assertTrue(batch.has((1, "phone", b"b")))
        self.assertFalse(batch.has((1, "tablet", b"a")))
        self.assertFalse(batch.has((2, "phone", b"a")))

    def test_shown_to(self) -> None:
        """A user is shown what is in the user's inbox and behind the place asked for."""
        batch = batch_of(entry(1, b"a", 2), entry(2, b"b", 3), entry(3, b"c", 3, 2), entry(4, b"d", 2))
        self.assertEqual(seqs_of(batch.shown_to(2, 0)), [1, 3, 4])
        self.assertEqual(seqs_of(batch.shown_to(2, 3)), [4])
        self.assertEqual(seqs_of(batch.shown_to(4, 0)), [])

    def test_held(self) -> None:
        """Nobody is shown what is held."""
        self.assertEqual(list(batch_of(entry(1), held=True).shown_to(2, 0)), [])


class OutcomeTests(SynchronousTestCase):
    def test_stored(self) -> None:
        """Each sender is told once, of all its messages in order, and those that wait are let go."""
        batch, first, second = Batch(held=False), Sender(), Sender()
        batch.add([entry(1, b"a")], first)
        batch.add([entry(2, b"b")], second)
        batch.add([entry(3, b"c")], first)
        batch.await_receipt(second, [b"a"])
        waiting: Deferred[None] = Deferred()
        batch.waiters.append(waiting)
        batch.tell_stored()
        self.assertEqual(first.answers, [(b"a", ""), (b"c", "")])
        self.assertEqual(second.answers, [(b"b", ""), (b"a", "")])
        self.successResultOf(waiting)

    def test_refused(self) -> None:
        """The same where it failed, with the reason."""
        sender, waiting = Sender(), Deferred[None]()
        batch = Batch(held=False)
        batch.add([entry(1, b"a")], sender)
        batch.waiters.append(waiting)
        batch.tell_refused()
        self.assertEqual(sender.answers, [(b"a", STORAGE_UNAVAILABLE)])
        self.failureResultOf(waiting, StorageUnavailable)

    def test_one_fails(self) -> None:
        """A sender that fails at being told keeps the others from nothing; the log has it."""
        for tell in (Batch.tell_stored, Batch.tell_refused):
            bad, good, waiting = Sender(), Sender(), Deferred[None]()
            bad.on_answer = lambda: 1 // 0
            batch = Batch(held=False)
            batch.add([entry(1)], bad)
            batch.add([entry(2)], good)
            batch.waiters.append(waiting)
            tell(batch)
            self.assertEqual(len(good.answers), 1)
            self.assertTrue(waiting.called)
            waiting.addErrback(lambda failure: failure.trap(StorageUnavailable))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class DeviceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = DeviceState(2, "phone", 5)
        self.state.sent, self.state.shown, self.state.offered = 9, 8, 7
        self.batch = Batch(held=False)
        self.batch.dirty[self.state] = None

    def test_row(self) -> None:
        """A device is written as it is when it is asked for."""
        self.state.holes = [(6, 7)]
        (row,) = self.batch.device_rows()
        self.state.advance(6)
        self.assertEqual(row, (5, 9, 8, 7, "[[6, 7]]", False, 2, "phone"))

    def test_settled(self) -> None:
        """Single acknowledgements below the cursor written are over with the commit; those above it are not."""
        for scattered, left in ((5, 0), (6, 6)):
            self.state.scattered = scattered
            self.assertTrue(self.batch.device_rows()[0].scattered)
            self.assertEqual(self.state.scattered, scattered)
            self.batch.settle()
            self.assertEqual(self.state.scattered, left)

    def test_settled_as_written(self) -> None:
        """What counts is the cursor that was written, not where it is by then."""
        self.state.scattered = 6
        self.batch.device_rows()
        self.state.advance(7)
        self.batch.settle()
        self.assertEqual(self.state.scattered, 6)

    def test_kept(self) -> None:
        """After a failure acknowledgements come first in the next batch, in order, and each changed device once."""
        later, other = Batch(held=False), DeviceState(3, "phone")
        for after in (5, 7):
            self.batch.acknowledge(AckedRange(2, "phone", after, after + 1))
        later.acknowledge(AckedRange(2, "phone", 10, 11))
        later.dirty = {other: None, self.state: None}
        self.batch.keep_for(later)
        self.assertEqual([item.to for item in later.acked], [6, 8, 11])
        self.assertEqual(set(later.dirty), {self.state, other})
        self.assertEqual(len(later.device_rows()), 2)
