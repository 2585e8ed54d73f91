"""Ranges against a plain set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simple_im.store.ranges import Ranges

TOP = 40
PAIRS = st.tuples(st.integers(0, TOP), st.integers(1, 6))


class RangesTests(SynchronousTestCase):
    @given(st.lists(PAIRS))
    def test_as_a_set(self, pairs: list[tuple[int, int]]) -> None:
        """It has the numbers that were added and no other, in as few ranges as that takes, in order."""
        ranges, numbers = Ranges(), set()
        for after, size in pairs:
            ranges.add(after, after + size)
            numbers.update(range(after + 1, after + size + 1))
        self.assertEqual({number for number in range(-1, TOP + 9) if number in ranges}, numbers)
        found = list(ranges)
        self.assertEqual({n for after, to in found for n in range(after + 1, to + 1)}, numbers)
        self.assertTrue(all(to < after for (_, to), (after, _) in pairwise(found)))

    def test_again(self) -> None:
        """The same a thousand times is one range."""
        ranges = Ranges()
        for _ in range(1_000):
            ranges.add(4, 9)
        self.assertEqual(list(ranges), [(4, 9)])
