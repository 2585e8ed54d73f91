"""The numbers of entries."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simple_im.status import StorageUnavailable
from simple_im.store.database import prepare
from simple_im.store.sequence import SPAN_BITS, Sequence, raise_epoch
from tests.store.fakes import SteppedDatabase


class EpochTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def raised(self, *statements: str) -> int:
        """The next process's epoch, after these."""
        prepare(self.path, lambda cursor: [cursor.execute(statement) for statement in statements] and None)
        return prepare(self.path, raise_epoch)

    def test_first(self) -> None:
        """The first epoch is 1, so that no number is below 2^32."""
        self.assertEqual(self.raised(), 1)

    def test_raised(self) -> None:
        """Each process has the next, on disk before it has it."""
        self.assertEqual([self.raised() for _ in range(3)], [1, 2, 3])
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("SELECT epoch FROM node").fetchall(), [(3,)])

    def test_above_entries(self) -> None:
        """It is above that of every stored entry, whatever the database has noted."""
        self.raised()
        seq = (7 << SPAN_BITS) + 1
        sql = "INSERT INTO run VALUES (%d, %d, 0, 1, 'a', '[\"m\"]', '[2]', x'00')"
        self.assertEqual(self.raised(sql % (seq, seq)), 8)

    def test_above_sent(self) -> None:
        """And above that of everything that a device has been sent."""
        self.raised()
        self.assertEqual(
            self.raised(
                "INSERT INTO user (id, phone, name, password, created) VALUES (1, '1', 'n', 'p', 0)",
                f"INSERT INTO device (user, name, cursor, sent, seen) VALUES (1, 'a', 0, {9 << SPAN_BITS}, 0)",
            ),
            10,
        )


class SequenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = SteppedDatabase()
        self.addCleanup(self.database.stop)
        self.sequence = Sequence(self.database, self.database.raise_epoch(), span_bits=3)

    def take(self, count: int) -> list[int]:
        taken = []
        for _ in range(count):
            taken.append(self.sequence.take())
            self.assertNotEqual(taken[-1], 0)
        return taken

    def reserve(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.sequence.reserve())

    def epoch_on_disk(self) -> int:
        return int(self.database.rows("SELECT epoch FROM node")[0][0])

    def test_real_span(self) -> None:
        """An epoch has 2^32 numbers, all of them below 2^53 for two million epochs."""
        sequence = Sequence(self.database, 2_000_000)
        self.assertEqual(sequence.take(), (2_000_000 << 32) + 1)
        self.assertLess(sequence.take(), 1 << 53)

    def test_in_order(self) -> None:
        """Numbers follow one another within an epoch."""
        self.assertEqual(self.take(7), [(1 << SPAN_BITS) + n for n in range(1, 8)])

    def test_used_up(self) -> None:
        """When an epoch is used up and no other reserved, there is none to take."""
        self.take(7)
        self.assertEqual(self.sequence.take(), 0)

    def test_not_reserved_early(self) -> None:
        """The next epoch is not taken before half of this one is used up."""
        for _ in range(3):
            self.take(1)
            self.successResultOf(self.reserve())
        self.assertEqual(self.epoch_on_disk(), 1)
        self.take(1)
        self.reserve()
        self.database.settle()
        self.assertEqual(self.epoch_on_disk(), 2)

    def test_reserved_once(self) -> None:
        """It is asked for once, also when it is asked for again before or after it is there."""
        self.take(5)
        for _ in range(3):
            self.reserve()
        self.database.settle()
        self.successResultOf(self.reserve())
        self.assertEqual(self.epoch_on_disk(), 2)

    def test_switched(self) -> None:
        """What is left of an epoch is used before the next begins."""
        self.take(4)
        self.reserve()
        self.database.settle()
        taken = [(seq >> SPAN_BITS, seq % (1 << SPAN_BITS)) for seq in self.take(5)]
        self.assertEqual(taken, [(1, 5), (1, 6), (1, 7), (2, 1), (2, 2)])

    def test_not_before_it_is_on_disk(self) -> None:
        """The next epoch's numbers are not given out before it is on disk."""
        self.take(7)
        self.reserve()
        self.assertEqual(self.sequence.take(), 0)
        self.database.do()
        self.assertEqual(self.sequence.take(), 0)
        self.database.answer()
        self.assertEqual(self.take(1), [(2 << SPAN_BITS) + 1])

    def test_failure(self) -> None:
        """Where the database does not take it, it says so, and can be asked again."""
        self.take(7)
        self.database.broken = True
        failing = self.reserve()
        self.database.settle()
        self.failureResultOf(failing, StorageUnavailable)
        self.assertEqual(self.sequence.take(), 0)
        self.database.broken = False
        self.reserve()
        self.database.settle()
        self.take(1)

    def test_many_epochs(self) -> None:
        """Numbers only grow, through many epochs."""
        taken = []
        for _ in range(30):
            taken += self.take(3)
            self.reserve()
            self.database.settle()
        self.assertEqual(taken, sorted(set(taken)))
