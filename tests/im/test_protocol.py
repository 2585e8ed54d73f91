"""When a connection is read, waited for, and closed."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import CLOSE_GRACE, LOGIN_DEADLINE, WRITE_STALL
from simple_im.status import StorageUnavailable
from tests.im.door import ANN, BOB, NOBODY, Client, Door, a, acknowledged, bye, done, login, m, r, refused


class ProtocolTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = Door()
        self.clock = self.door.clock

    def check_nothing_left(self) -> None:
        """No timer is left but the inbox's own, which a commit ends, and no session."""
        self.door.commit()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(list(self.door.sessions), [])


class DeadlineTests(ProtocolTestCase):
    def test_no_login(self) -> None:
        """A connection that says nothing is closed when its time is over, and not before."""
        client = self.door.connect()
        self.clock.advance(LOGIN_DEADLINE - 1)
        self.assertFalse(client.is_closed)
        self.clock.advance(1)
        self.assertEqual((client.is_closed, client.got()), (True, []))

    def test_half_a_login(self) -> None:
        """What is no whole frame does not help."""
        client = self.door.connect()
        client.send('[[r]]\nid = "1"\n')
        self.clock.advance(LOGIN_DEADLINE)
        self.assertTrue(client.is_closed)

    def test_too_late(self) -> None:
        """A login that comes then is not taken."""
        token = self.door.token(ANN, "phone")
        client = self.door.connect()
        self.clock.advance(LOGIN_DEADLINE)
        client.send(login("1", ANN, "phone", token))
        self.assertEqual((client.got(), list(self.door.sessions)), ([], []))

    def test_in_time(self) -> None:
        """A login that came in time may take longer to look up."""
        token = self.door.token(ANN, "phone")
        self.door.database.hold()
        client = self.door.connect()
        client.send(login("1", ANN, "phone", token))
        self.clock.advance(LOGIN_DEADLINE)
        self.assertFalse(client.is_closed)
        self.door.database.release()
        self.assertEqual(client.got(), [done("1")])

    def test_logged_in(self) -> None:
        """Who is logged in may be silent for as long as it likes."""
        client = self.door.online(ANN)
        self.clock.pump([3600] * 24)
        self.assertEqual((client.is_closed, client.got()), (False, []))


class ClosingTests(ProtocolTestCase):
    def closing(self) -> Client:
        """A connection that was told to go and has not gone yet."""
        client = self.door.online(ANN)
        self.door.online(ANN)
        self.assertEqual(client.got(), [bye("replaced")])
        return client

    def test_gently_first(self) -> None:
        """What was written is not cut off: the transport closes by itself."""
        client = self.closing()
        self.assertEqual((client.transport.lost, client.transport.aborted), (1, 0))
        self.assertIsNone(client.transport.producer)

    def test_cut_off(self) -> None:
        """A peer that does not close in time is cut off."""
        client = self.closing()
        self.clock.advance(CLOSE_GRACE - 1)
        self.assertEqual(client.transport.aborted, 0)
        self.clock.advance(1)
        self.assertEqual(client.transport.aborted, 1)

    def test_gone_in_time(self) -> None:
        """One that does is left alone."""
        client = self.closing()
        client.lose()
        self.clock.advance(CLOSE_GRACE)
        self.assertEqual(client.transport.aborted, 0)

    def test_what_comes_after_bye(self) -> None:
        """It is ignored: frames, bad frames, and too large ones."""
        bob = self.door.online(BOB)
        client = self.closing()
        client.send(m("1", BOB), r("2", "ping"), "bad\n\n", b"x" * 100_000)
        self.assertEqual((client.got(), bob.got(), client.transport.lost), ([], [], 1))

    def test_it_is_read_to_its_end(self) -> None:
        """A connection that closes is read from, though it was full: the peer's part of the closing has to be seen."""
        client = self.door.online(ANN)
        client.transport.fill()
        self.assertFalse(client.transport.is_read)
        self.door.online(ANN)
        self.assertTrue(client.transport.is_read)

    def test_told_to_go_twice(self) -> None:
        """The first reason stands."""
        client = self.closing()
        client.protocol.bye("shutdown")
        self.assertEqual((client.got(), client.transport.lost), ([], 1))


class StallTests(ProtocolTestCase):
    """A connection to which nothing can be written."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.door.online(ANN)
        self.clock.advance(WRITE_STALL)

    def minutes(self, count: int) -> None:
        self.clock.pump([60] * count)

    def test_full(self) -> None:
        """It is told that it is slow and closed after the whole time, and not before."""
        self.ann.send(r("1", "ping"))
        self.ann.transport.fill()
        self.ann.got()
        self.minutes(WRITE_STALL // 60 - 1)
        self.assertFalse(self.ann.is_closed)
        self.minutes(1)
        self.assertEqual((self.ann.got(), self.ann.is_closed), ([bye("slow")], True))

    def test_not_full(self) -> None:
        """The same where what waits is little."""
        self.ann.transport.block()
        self.ann.send(r("1", "ping"))
        self.ann.got()
        self.minutes(WRITE_STALL // 60)
        self.assertEqual(self.ann.got(), [bye("slow")])

    def test_what_is_added_is_no_progress(self) -> None:
        """That more and more waits changes nothing."""
        self.ann.transport.block()
        for _ in range(WRITE_STALL // 60):
            self.ann.send(r("1", "ping"))
            self.minutes(1)
        self.assertTrue(self.ann.is_closed)

    def test_any_progress(self) -> None:
        """A single byte gives it the whole time again."""
        self.ann.transport.block()
        self.ann.send(r("1", "ping"))
        self.minutes(WRITE_STALL // 60 - 1)
        self.ann.transport.transport.take(1)
        self.minutes(WRITE_STALL // 60)
        self.assertFalse(self.ann.is_closed)
        self.minutes(1)
        self.assertTrue(self.ann.is_closed)

    def test_drained(self) -> None:
        """One that has taken everything may be silent."""
        self.ann.send(r("1", "ping"))
        self.ann.transport.fill()
        self.minutes(1)
        self.ann.transport.drain()
        self.minutes(10 * WRITE_STALL // 60)
        self.assertFalse(self.ann.is_closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_written_to_from_time_to_time(self) -> None:
        """Writing often to a connection that takes everything is no stall, and keeps one timer."""
        for _ in range(100):
            self.ann.send(r("1", "ping"))
            self.clock.advance(7)
        self.assertFalse(self.ann.is_closed)
        self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)


class ReadingTests(ProtocolTestCase):
    """While it is busy or full, a connection is not read from; it always is again."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.door.online(ANN)
        self.transport = self.ann.transport
        self.door.commit()

    def test_busy(self) -> None:
        """During a look-up."""
        self.door.database.hold()
        self.ann.send(m("1", NOBODY))
        self.assertFalse(self.transport.is_read)
        self.door.database.release()
        self.assertTrue(self.transport.is_read)

    def test_busy_with_a_login(self) -> None:
        """During a login's look-up."""
        token = self.door.token(BOB, "phone")
        self.door.database.hold()
        bob = self.door.connect()
        bob.send(login("1", BOB, "phone", token))
        self.assertFalse(bob.transport.is_read)
        self.door.database.release()
        self.assertTrue(bob.transport.is_read)

    def test_busy_and_failing(self) -> None:
        """A look-up that fails."""
        self.door.database.hold()
        self.ann.send(m("1", NOBODY))
        self.door.database.fails_with = StorageUnavailable()
        self.door.database.release()
        self.assertTrue(self.transport.is_read)
        self.assertEqual(self.ann.got(), [refused("1", "storage unavailable")])

    def test_full(self) -> None:
        """While what was written waits."""
        self.transport.fill()
        self.assertFalse(self.transport.is_read)
        self.transport.drain()
        self.assertTrue(self.transport.is_read)

    def test_full_while_busy(self) -> None:
        """Both have to end, in either order."""
        for first, second in (
            (self.transport.drain, self.door.database.release),
            (self.door.database.release, self.transport.drain),
        ):
            self.door.database.hold()
            self.ann.send(m("1", NOBODY))
            self.transport.fill()
            first()
            self.assertFalse(self.transport.is_read)
            second()
            self.assertTrue(self.transport.is_read)

    def test_filled_by_its_own_answer(self) -> None:
        """An answer that fills the transport stops the reading within the same turn."""
        self.transport.block()
        for _ in range(5000):
            if not self.transport.is_read:
                break
            self.ann.send(r("1", "ping"))
        self.assertFalse(self.transport.is_read)
        self.transport.drain()
        self.assertTrue(self.transport.is_read)

    def test_what_arrives_all_the_same(self) -> None:
        """Records that were in the same segment wait, and are taken in order."""
        self.door.database.hold()
        self.ann.send(m("1", NOBODY))
        self.ann.send(r("2", "ping"))
        self.ann.send(r("3", "ping"))
        self.door.database.release()
        self.assertEqual(self.ann.got(), [refused("1", "no such user"), done("2"), done("3")])

    def test_answers_while_full(self) -> None:
        """What a full connection asked for before is answered when its disk writes end, into the buffer."""
        self.ann.send(m("1", BOB))
        self.ann.got()
        self.door.database.hold()
        self.ann.send(m("2", BOB))
        self.transport.fill()
        self.door.database.release()
        self.assertEqual(self.ann.got(), [acknowledged("2")])
        self.assertFalse(self.transport.is_read)

    def test_one_write_a_record(self) -> None:
        """Everything that a record brings about is one write to its sender, once it needs no disk."""
        self.ann.send(*(r(str(number), "ping") for number in range(10)))
        self.assertEqual(len(self.ann.raw()), 1)


class ConnectionLostTests(ProtocolTestCase):
    """Whatever state a connection ends in, no timer and no session is left."""

    def test_before_the_login(self) -> None:
        """Nothing was said."""
        self.door.connect().lose()
        self.check_nothing_left()

    def test_refused(self) -> None:
        """It was being closed."""
        client = self.door.connect()
        client.send(r("1", "ping"))
        client.lose()
        self.check_nothing_left()

    def test_logged_in(self) -> None:
        """It was in use."""
        client = self.door.log_in(ANN)
        client.send(m("1", BOB))
        client.lose()
        self.check_nothing_left()

    def test_full(self) -> None:
        """What it was written waited."""
        client = self.door.online(ANN)
        client.transport.fill()
        self.door.message(ANN, "1")
        client.lose()
        self.check_nothing_left()

    def test_during_a_login(self) -> None:
        """Its login was being looked up, and would have been let in or turned away."""
        for token in (self.door.token(ANN, "phone"), "x"):
            self.door.database.hold()
            client = self.door.connect()
            client.send(login("1", ANN, "phone", token))
            client.lose()
            self.door.database.release()
            self.check_nothing_left()

    def test_during_a_look_up(self) -> None:
        """Its message was being looked up."""
        client = self.door.online(ANN)
        self.door.database.hold()
        client.send(m("1", BOB), r("2", "logout"))
        client.lose()
        self.door.database.release()
        self.check_nothing_left()

    def test_waiting_to_read_again(self) -> None:
        """The database had not given it its page."""
        client = self.door.online(ANN)
        client.transport.fill()
        self.door.message(ANN, "1")
        self.door.database.fails_with = StorageUnavailable()
        client.transport.drain()
        client.lose()
        self.door.database.fails_with = None
        self.check_nothing_left()

    def test_while_a_page_fails(self) -> None:
        """The database does not give it its page, and says so only then."""
        client = self.door.online(ANN)
        client.transport.fill()
        self.door.message(ANN, "1")
        self.door.database.hold()
        client.transport.drain()
        client.lose()
        self.door.database.fails_with = StorageUnavailable()
        self.door.database.release()
        self.door.database.fails_with = None
        self.check_nothing_left()

    def test_after_bye(self) -> None:
        """It had been told to go, or told that it is slow."""
        client = self.door.online(ANN)
        client.transport.block()
        client.send(r("1", "ping"))
        self.clock.pump([60] * (WRITE_STALL // 60))
        self.assertTrue(client.is_closed)
        client.lose()
        self.check_nothing_left()


class CloseAllTests(ProtocolTestCase):
    def close_all(self) -> list[object]:
        """What comes of closing: nothing while it waits."""
        outcome: list[object] = []
        Deferred.fromCoroutine(self.door.factory.close_all("shutdown")).addBoth(outcome.append)
        return outcome

    def test_nobody_there(self) -> None:
        """It is over at once."""
        self.assertEqual(self.close_all(), [None])

    def test_everybody_is_told(self) -> None:
        """Every connection gets `bye` `shutdown`, logged in or not, and it is over when the last is gone."""
        clients = [self.door.online(ANN), self.door.online(BOB), self.door.connect()]
        outcome = self.close_all()
        for client in clients:
            self.assertEqual((client.got(), client.is_closed, outcome), ([bye("shutdown")], True, []))
            client.lose()
        self.assertEqual(outcome, [None])

    def test_who_is_gone_already(self) -> None:
        """Connections that have ended are not waited for."""
        self.door.online(ANN).lose()
        self.assertEqual(self.close_all(), [None])

    def test_who_does_not_go(self) -> None:
        """They are cut off when their grace is over."""
        client = self.door.online(ANN)
        self.close_all()
        self.clock.advance(CLOSE_GRACE)
        self.assertEqual(client.transport.aborted, 1)

    def test_who_was_closing(self) -> None:
        """Who was told before is not told again, and is waited for."""
        client = self.door.connect()
        self.clock.advance(LOGIN_DEADLINE)
        outcome = self.close_all()
        self.assertEqual((client.got(), client.transport.lost, outcome), ([], 1, []))
        client.lose()
        self.assertEqual(outcome, [None])

    def test_what_was_on_its_way(self) -> None:
        """What was pushed before comes before the `bye`."""
        client = self.door.online(ANN)
        self.door.message(ANN, "1")
        self.close_all()
        self.assertEqual([table for table, _ in client.got()], ["m", "bye"])
        client.send(a("1"))
        self.assertEqual(self.door.waiting_for(ANN, "phone"), ["1"])
