"""Connections from which nothing comes."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from simple_im.im.watches import Idle
from tests.im.door import ANN, DoorTestCase, bye, done, r


class Silent:
    """A connection that notes when it is called idle."""

    def __init__(self) -> None:
        self.idle_calls = 0

    def slow(self) -> None:
        """Not watched for here."""

    def idle(self) -> None:
        self.idle_calls += 1

    def unwritten(self) -> int:
        return 0

    def written(self) -> int:
        return 0


class IdleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.connection = Silent()

    def watch(self, timeout: float) -> Idle:
        idle = Idle(self.connection, self.clock, timeout)
        idle.heard()
        idle.watch()
        return idle

    def test_silence(self) -> None:
        """After the timeout without a word a connection is idle, once, and not before."""
        self.watch(30)
        self.clock.advance(29.9)
        self.assertEqual(self.connection.idle_calls, 0)
        self.clock.pump([0.1, 100])
        self.assertEqual(self.connection.idle_calls, 1)

    def test_every_word_counts(self) -> None:
        """The time runs from the last thing that came."""
        idle = self.watch(30)
        for _ in range(5):
            self.clock.advance(20)
            idle.heard()
        self.assertEqual(self.connection.idle_calls, 0)
        self.clock.pump([29, 1])
        self.assertEqual(self.connection.idle_calls, 1)

    def test_off(self) -> None:
        """A timeout of 0 watches nothing and has no timer."""
        self.watch(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """A connection that has ended leaves no timer."""
        self.watch(30).stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class IdleConnectionTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.door.node.idle_timeout = 60

    def test_bye(self) -> None:
        """A device that says nothing for `--idle-timeout` gets `bye` `idle` and is cut off; a ping keeps it."""
        ann = self.door.online(ANN)
        self.door.clock.advance(50)
        ann.send(r("1", "ping"))
        self.door.clock.advance(50)
        self.assertEqual(ann.got(), [done("1")])
        self.door.clock.advance(10)
        self.assertEqual(ann.got(), [bye("idle")])
        self.assertTrue(ann.is_closed)
