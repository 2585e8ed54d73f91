"""The ids that a compact client may acknowledge a second time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.im.recent import RecentIds


class RecentIdsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.recent = RecentIds(3)

    def add(self, *ids: bytes) -> None:
        for id_ in ids:
            self.recent.add(id_)

    def test_as_often_as_added(self) -> None:
        """An id is taken as often as it was added, and no more."""
        self.add(b"a", b"b", b"a")
        self.assertEqual([self.recent.take(b"a") for _ in range(5)], [True, True, False, False, False])
        self.assertEqual([self.recent.take(b"b") for _ in range(2)], [True, False])

    def test_unknown(self) -> None:
        """What was not added is not taken, and asking for it leaves nothing behind."""
        self.assertFalse(self.recent.take(b"a"))
        self.assertEqual((len(self.recent._counts), len(self.recent._taken)), (0, 0))

    def test_the_oldest_go(self) -> None:
        """More than the limit are not remembered; the oldest goes first."""
        self.add(b"a", b"b", b"c", b"d")
        self.assertEqual([self.recent.take(id_) for id_ in (b"a", b"b", b"c", b"d")], [False, True, True, True])

    def test_taken_and_added_again(self) -> None:
        """One that was taken and is added again can be taken again, also when the first is forgotten."""
        self.add(b"a")
        self.assertTrue(self.recent.take(b"a"))
        self.add(b"a", b"b", b"c")
        self.assertEqual([self.recent.take(b"a") for _ in range(2)], [True, False])

    def test_bounded(self) -> None:
        """Nothing is kept of what is forgotten."""
        for number in range(100):
            self.add(b"%d" % number)
            self.recent.take(b"%d" % number)
        self.assertEqual([len(kept) for kept in (self.recent._order, self.recent._counts, self.recent._taken)], [3] * 3)
