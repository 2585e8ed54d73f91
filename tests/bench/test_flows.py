"""What the driver takes for right, and what it finds wrong."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load.backlog import Waiting
from benchmarks.load.flows import NEVER, Address, Flow, Stopwatch
from benchmarks.load.seats import Reader
from benchmarks.load.trouble import Tally, Unsound
from tests.bench.fakes import FakeSeat, acknowledged, delivered


class FlowCase(SynchronousTestCase):
    """User 1 writes to users 2 and 3."""

    def setUp(self) -> None:
        self.tally = Tally()
        self.watch = Stopwatch(begin=0)
        self.sender, self.first, self.second = FakeSeat(1), FakeSeat(2), FakeSeat(3)
        readers = [self.first.seat, self.second.seat]
        self.flow = Flow(0, self.sender.seat, readers, Address(9, "gm", "g_id"), 32, self.watch, self.tally)

    def deliver(self, *frames: bytes, to: FakeSeat | None = None) -> None:
        """To one reader, or to both."""
        for seat in [to] if to is not None else [self.first, self.second]:
            seat.frames([delivered(frame, 1) for frame in frames])

    def acknowledge(self, *frames: bytes) -> None:
        """To the sender."""
        self.sender.frames([acknowledged(frame) for frame in frames])

    def wrong(self) -> dict[str, int]:
        """What was counted."""
        counts = {key: value for key, value in vars(self.tally).items() if key != "examples"}
        return {key: value for key, value in counts.items() if value}


class SoundTests(FlowCase):
    """A server that does what it should."""

    def test_message(self) -> None:
        """A message has its size and goes to whom it is for."""
        self.flow.send(1)
        name = b"0" * 16
        frame = b'[[gm]]\nid = "%b"\nt = "text"\nc = "%b%b"\ng_id = 9\nd = "bench"' % (name, name, b"x" * 16)
        self.assertEqual(self.sender.written, [frame])

    def test_all_well(self) -> None:
        """Everything arrives in order, is acknowledged both ways, and counts once for a reader."""
        self.flow.send(3)
        self.deliver(*self.sender.written)
        self.acknowledge(*reversed(self.sender.written))
        self.flow.settle()
        self.tally.verify()
        self.assertTrue(self.flow.is_done)
        self.assertEqual((self.watch.messages, self.watch.deliveries), (3, 6))
        self.assertEqual((len(self.watch.arrivals), len(self.watch.acknowledgements)), (3, 3))
        self.assertEqual(self.first.written, [b'[[a]]\nid = "%b"\nd = "bench"' % self.flow.name(n) for n in range(3)])

    def test_window(self) -> None:
        """So many are in flight; the next goes when all readers have one."""
        self.flow.window = 2
        self.flow.pump()
        self.assertEqual(self.flow.sent, 2)
        self.deliver(self.sender.written[0], to=self.first)
        self.assertEqual(self.flow.sent, 2)
        self.deliver(self.sender.written[0], to=self.second)
        self.assertEqual(self.flow.sent, 3)

    def test_another_order_of_keys(self) -> None:
        """An entry may be written in another way."""
        self.flow.send(1)
        lines = delivered(self.sender.written[0], 1).split(b"\n")
        self.first.frames([b"\n".join([lines[0], *reversed(lines[1:])])])
        self.assertEqual(self.wrong(), {})

    def test_outside_of_the_time(self) -> None:
        """What comes before and after the measured time does not count."""
        self.watch.begin = NEVER
        self.flow.send(1)
        self.deliver(*self.sender.written)
        self.assertEqual((self.watch.messages, self.watch.arrivals), (0, []))


class PlantedTests(FlowCase):
    """A server that does one thing wrong is found out."""

    def setUp(self) -> None:
        super().setUp()
        self.flow.send(3)
        self.frames = list(self.sender.written)

    def test_lost_at_the_end(self) -> None:
        """One that never comes to one reader."""
        self.acknowledge(*self.frames)
        self.deliver(*self.frames[:2], to=self.first)
        self.deliver(*self.frames, to=self.second)
        self.assertFalse(self.flow.is_done)
        self.flow.settle()
        self.assertEqual(self.wrong(), {"lost": 1})
        self.assertRaises(Unsound, self.tally.verify)

    def test_lost_in_between(self) -> None:
        """One that is left out."""
        self.deliver(self.frames[0], self.frames[2], to=self.first)
        self.assertEqual(self.wrong(), {"lost": 1})

    def test_doubled(self) -> None:
        """One that comes twice."""
        self.deliver(*self.frames, self.frames[1], to=self.first)
        self.assertEqual(self.wrong(), {"doubled": 1})

    def test_out_of_order(self) -> None:
        """One that is overtaken."""
        self.deliver(self.frames[1], self.frames[0], self.frames[2], to=self.first)
        self.assertEqual(self.wrong(), {"lost": 1, "doubled": 1})

    def test_altered(self) -> None:
        """One whose content is another."""
        self.deliver(self.frames[0].replace(b"xx", b"xy"), to=self.first)
        self.assertEqual(self.wrong(), {"altered": 1})

    def test_from_another(self) -> None:
        """One that is said to be from somebody else."""
        self.first.frames([delivered(self.frames[0], 5)])
        self.assertEqual(self.wrong(), {"altered": 1})

    def test_for_another(self) -> None:
        """One that was sent to somebody else."""
        other = FakeSeat(4)
        flow = Flow(1, other.seat, [], Address(2), 32, self.watch, self.tally)
        flow.send(1)
        self.first.frames([delivered(other.written[0], 4)])
        self.assertEqual(self.wrong(), {"misrouted": 1})

    def test_never_sent(self) -> None:
        """One that nobody has sent yet."""
        self.deliver(*self.frames, to=self.first)
        self.first.frames([self.flow.expected(3) + b"1\nseq = 9"])
        self.assertEqual(self.wrong(), {"misrouted": 1})

    def test_not_acknowledged(self) -> None:
        """One that its sender hears nothing of."""
        self.deliver(*self.frames)
        self.acknowledge(*self.frames[1:])
        self.flow.settle()
        self.assertEqual(self.wrong(), {"unacknowledged": 1})

    def test_acknowledged_twice(self) -> None:
        """One that is answered twice."""
        self.acknowledge(self.frames[0], self.frames[0])
        self.assertEqual(self.wrong(), {"refused": 1})

    def test_refused(self) -> None:
        """A refusal in the place of an acknowledgement."""
        self.sender.frames([b'[[rr]]\nid = "0000000000000000"\ns = 1\nr = "storage unavailable"'])
        self.assertEqual(self.wrong(), {"refused": 1})

    def test_goodbye(self) -> None:
        """A connection that the server ends."""
        self.first.frames([b'[[bye]]\nr = "slow"'])
        self.assertEqual(self.wrong(), {"closed": 1})


class BacklogTests(SynchronousTestCase):
    """What waits for a device."""

    def setUp(self) -> None:
        self.tally = Tally()
        self.source = Waiting(1, 2, 3)
        self.frames = [self.source.expected(number) + b"1\nseq = %d" % (number + 50) for number in range(3)]

    def test_by_seq(self) -> None:
        """All that came together is acknowledged at once."""
        seat = FakeSeat(2)
        reader = Reader(seat.seat, self.source, self.tally, by_seq=True)
        seat.frames(self.frames)
        self.tally.verify()
        self.assertEqual((reader.next, seat.written), (3, [b"[[a]]\nseq = 52"]))

    def test_comes_again(self) -> None:
        """After a new connection what came before may come again, and is acknowledged again; on the same it may
        not."""
        reader = Reader(FakeSeat(2).seat, self.source, self.tally)
        reader.take(self.frames[:2])
        again = FakeSeat(2)
        reader.sit(again.seat)
        again.frames(self.frames)
        self.tally.verify()
        self.assertEqual((reader.next, len(again.written)), (3, 3))
        again.frames(self.frames[2:])
        self.assertEqual(self.tally.doubled, 1)
