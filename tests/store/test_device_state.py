"""What one device has been sent, was shown, and has acknowledged."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import HOLES
from simple_im.store.device_state import DeviceState


def state_at(cursor: int = 0, sent: int = 0, shown: int = 0, offered: int = 0) -> DeviceState:
    state = DeviceState(2, "phone", cursor)
    state.sent, state.shown, state.offered = sent, shown, offered
    return state


class ShowTests(SynchronousTestCase):
    def test_shown(self) -> None:
        """What a GET has shown is noted for DELETE and for the next login."""
        state = state_at()
        state.show(5)
        self.assertEqual((state.shown, state.offered), (5, 5))

    def test_older(self) -> None:
        """An answer that was written later and shows less takes nothing back."""
        state = state_at(shown=9, offered=7)
        state.show(8)
        self.assertEqual((state.shown, state.offered), (9, 8))
        state.show(6)
        self.assertEqual((state.shown, state.offered), (9, 8))


class LoginTests(SynchronousTestCase):
    def test_nothing_shown(self) -> None:
        """Without a GET since the last login nothing is left out."""
        state = state_at(cursor=3, sent=5, shown=9)
        self.assertEqual(state.begin_login(), 0)
        self.assertEqual((state.sent, state.holes), (5, []))

    def test_left_out_once(self) -> None:
        """What a GET has shown is left out at one login, not at the next."""
        state = state_at(cursor=3, sent=5, shown=9, offered=9)
        self.assertEqual([state.begin_login(), state.begin_login()], [9, 0])

    def test_acknowledged_since(self) -> None:
        """What is acknowledged since need not be left out."""
        for cursor in (9, 10):
            state = state_at(cursor=cursor, sent=5, shown=9, offered=9)
            self.assertEqual(state.begin_login(), 0)
            self.assertEqual((state.sent, state.holes, state.offered), (5, [], 0))

    def test_hole(self) -> None:
        """What was left out and never sent is a hole in what was sent."""
        state = state_at(cursor=3, sent=5, offered=9)
        state.begin_login()
        self.assertEqual((state.holes, state.sent), ([(5, 9)], 9))

    def test_hole_above_cursor(self) -> None:
        """What is acknowledged is in no hole."""
        state = state_at(cursor=7, sent=5, offered=9)
        state.begin_login()
        self.assertEqual(state.holes, [(7, 9)])

    def test_sent_before(self) -> None:
        """What was sent before it was left out is no hole."""
        state = state_at(cursor=3, sent=9, offered=9)
        self.assertEqual(state.begin_login(), 9)
        self.assertEqual((state.holes, state.sent), ([], 9))


class HoleTests(SynchronousTestCase):
    def filled(self, after: int, to: int) -> list[tuple[int, int]]:
        state = state_at()
        state.holes = [(10, 20), (30, 40)]
        state.fill_holes(after, to)
        return state.holes

    def test_filled(self) -> None:
        """What has been sent on the IM door is in a hole no more."""
        cases = {
            (0, 10): [(10, 20), (30, 40)],
            (20, 30): [(10, 20), (30, 40)],
            (0, 15): [(15, 20), (30, 40)],
            (0, 20): [(30, 40)],
            (15, 20): [(10, 15), (30, 40)],
            (12, 18): [(10, 12), (18, 20), (30, 40)],
            (15, 35): [(10, 15), (35, 40)],
            (10, 40): [],
            (0, 99): [],
            (40, 99): [(10, 20), (30, 40)],
        }
        for sent, left in cases.items():
            self.assertEqual(self.filled(*sent), left, sent)

    def test_cursor(self) -> None:
        """What is acknowledged is in a hole no more."""
        state = state_at(sent=40)
        state.holes = [(10, 20), (30, 40)]
        state.advance(33)
        self.assertEqual((state.cursor, state.holes), (33, [(33, 40)]))

    def test_cursor_only_grows(self) -> None:
        """The cursor never moves back."""
        state = state_at(cursor=10)
        state.advance(9)
        self.assertEqual(state.cursor, 10)

    def test_limit(self) -> None:
        """As many holes as the limit are kept as they are; beyond it the two oldest become one that spans both."""
        state = state_at()
        for number in range(HOLES):
            state.sent = 10 * number + 5
            state.show(10 * number + 10)
            state.begin_login()
        holes = [(10 * n + 5, 10 * n + 10) for n in range(HOLES)]
        self.assertEqual(state.holes, holes)
        state.sent = 1_000
        state.show(1_010)
        state.begin_login()
        self.assertEqual(state.holes, [(5, 20), *holes[2:], (1_000, 1_010)])

    def test_text(self) -> None:
        """Holes come back from the database as they went in."""
        for holes in ([], [(1, 2)], [(1, 2), (1 << 52, (1 << 52) + 1)]):
            state, again = state_at(), state_at()
            state.holes = holes
            again.load_holes(state.holes_text())
            self.assertEqual(again.holes, holes)


class SentTests(SynchronousTestCase):
    def sent(self, to: int, cursor: int = 0) -> list[tuple[int, int]]:
        state = state_at(cursor=cursor)
        state.holes = [(10, 20), (30, 40)]
        return state.sent_ranges(to)

    def test_ranges(self) -> None:
        """What was sent on the IM door up to a place is what lies between the holes."""
        cases: dict[int, list[tuple[int, int]]] = {
            -1: [],
            0: [],
            5: [(0, 5)],
            10: [(0, 10)],
            15: [(0, 10)],
            20: [(0, 10)],
            25: [(0, 10), (20, 25)],
            35: [(0, 10), (20, 30)],
            50: [(0, 10), (20, 30), (40, 50)],
        }
        for to, ranges in cases.items():
            self.assertEqual(self.sent(to), ranges, to)

    def test_above_cursor(self) -> None:
        """What is acknowledged is not in them."""
        self.assertEqual(self.sent(50, cursor=5), [(5, 10), (20, 30), (40, 50)])
        self.assertEqual(self.sent(50, cursor=20), [(20, 30), (40, 50)])
        self.assertEqual(self.sent(50, cursor=45), [(45, 50)])
        self.assertEqual(self.sent(50, cursor=50), [])

    def test_hole_at_cursor(self) -> None:
        """Where a hole begins at the cursor the first range is behind it."""
        self.assertEqual(self.sent(25, cursor=10), [(20, 25)])
