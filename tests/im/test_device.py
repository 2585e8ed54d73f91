"""What is in flight to a device, and what comes next."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.im.device import RETRY_READ
from simple_im.limits import WINDOW_BYTES, WINDOW_ENTRIES
from simple_im.status import StorageUnavailable
from tests.im.door import ANN, BOB, Client, Door, a, a_seq, acknowledged, login, m

LARGE = 60_000
FIT = WINDOW_BYTES // (LARGE + 100)
"""How many large messages a window holds."""


class DeviceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = Door()

    def online(self) -> Client:
        """Bob's phone, in step."""
        return self.door.online(BOB)

    def again(self, client: Client) -> Client:
        """The same device on a new connection, after a clean end of this one; nothing was looked at yet."""
        client.lose()
        return self.door.log_in(BOB)

    def unacknowledged(self) -> list[str]:
        """What the device would get at its next login."""
        self.door.commit()
        return self.door.waiting_for(BOB, "phone")


class WindowTests(DeviceTestCase):
    def test_entries_at_login(self) -> None:
        """A device is sent as many entries as its window holds, and the next as it acknowledges."""
        self.door.token(BOB, "phone")
        ids = self.door.messages(BOB, 1, WINDOW_ENTRIES + 2)
        bob = self.door.log_in(BOB)
        self.assertEqual(bob.ids(), ids[:WINDOW_ENTRIES])
        bob.send(a("1"))
        self.assertEqual(bob.ids(), [ids[WINDOW_ENTRIES]])
        bob.send(a("2"))
        self.assertEqual(bob.ids(), [ids[WINDOW_ENTRIES + 1]])

    def test_entries_in_step(self) -> None:
        """Pushes stop at the last entry that the window holds, and go on where they stopped."""
        bob = self.online()
        ids = self.door.messages(BOB, 1, WINDOW_ENTRIES + 1)
        *_, last = seqs = bob.seqs()
        self.assertEqual(len(seqs), WINDOW_ENTRIES)
        bob.send(a_seq(last))
        self.assertEqual(bob.ids(), ids[WINDOW_ENTRIES:])
        self.assertEqual(self.unacknowledged(), ids[WINDOW_ENTRIES:])

    def test_in_step_again(self) -> None:
        """A device whose window was full is pushed to again once it has got all."""
        bob = self.online()
        self.door.messages(BOB, 1, WINDOW_ENTRIES + 1)
        bob.send(a_seq(bob.seqs()[-1]))
        bob.got()
        reads = self.door.database.reads
        self.door.message(BOB, "next")
        self.assertEqual(bob.ids(), ["next"])
        self.assertEqual(self.door.database.reads, reads)

    def test_the_last_place_in_the_window(self) -> None:
        """A window of exactly what waits is sent whole, and room behind it is used at once."""
        self.door.token(BOB, "phone")
        ids = self.door.messages(BOB, 1, WINDOW_ENTRIES)
        bob = self.door.log_in(BOB)
        self.assertEqual(bob.ids(), ids)
        bob.send(a("7"))
        self.door.message(BOB, "next")
        self.assertEqual(bob.ids(), ["next"])

    def test_bytes(self) -> None:
        """Large entries fill the window before their number does."""
        bob = self.online()
        ids = self.door.messages(BOB, 1, FIT + 1, LARGE)
        self.assertEqual(bob.ids(), ids[:FIT])
        bob.send(a("1"))
        self.assertEqual(bob.ids(), ids[FIT:])

    def test_bytes_at_login(self) -> None:
        """The same for what waited."""
        self.door.token(BOB, "phone")
        ids = self.door.messages(BOB, 1, FIT + 1, LARGE)
        bob = self.door.log_in(BOB)
        self.assertEqual(bob.ids(), ids[:FIT])
        bob.send(a("1"))
        self.assertEqual(bob.ids(), ids[FIT:])

    def test_at_least_one(self) -> None:
        """An entry larger than the whole window is sent where nothing else is in flight."""
        bob = self.online()
        self.door.message(BOB, "small")
        self.door.message(BOB, "huge", WINDOW_BYTES + 1)
        self.assertEqual(bob.ids(), ["small"])
        bob.send(a("small"))
        self.assertEqual(bob.ids(), ["huge"])

    def test_what_has_no_room_is_not_read_over_and_over(self) -> None:
        """The inbox is left alone until there is room for the entry that comes next."""
        bob = self.online()
        self.door.messages(BOB, 1, 10)
        self.door.message(BOB, "huge", WINDOW_BYTES - 500)
        bob.got()
        reads = self.door.database.reads
        bob.send(a("1"), a("2"))
        self.assertEqual((bob.got(), self.door.database.reads), ([], reads))
        bob.send(a_seq(1 << 62))
        self.assertEqual(bob.ids(), ["huge"])

    def test_a_page_that_has_no_room_for_its_last_entry(self) -> None:
        """What was read and did not fit is read again when there is room, and not before."""
        self.door.token(BOB, "phone")
        self.door.messages(BOB, 1, 10)
        self.door.message(BOB, "huge", WINDOW_BYTES - 500)
        bob = self.door.log_in(BOB)
        self.assertEqual(len(bob.ids()), 10)
        reads = self.door.database.reads
        bob.send(a("1"), a("2"))
        self.assertEqual((bob.got(), self.door.database.reads), ([], reads))
        bob.send(a_seq(1 << 62))
        self.assertEqual(bob.ids(), ["huge"])


class FullTransportTests(DeviceTestCase):
    def test_nothing_is_kept_for_it(self) -> None:
        """While the transport takes no more, pushes go nowhere; then they come, in order."""
        bob = self.online()
        bob.transport.fill()
        ids = self.door.messages(BOB, 1, 3)
        self.assertEqual(bob.raw(), [])
        bob.transport.drain()
        self.assertEqual(bob.ids(), ids)

    def test_nothing_came_meanwhile(self) -> None:
        """A device that missed nothing stays in step."""
        bob = self.online()
        bob.transport.fill()
        bob.transport.drain()
        reads = self.door.database.reads
        self.door.message(BOB, "1")
        self.assertEqual((bob.ids(), self.door.database.reads), (["1"], reads))

    def test_full_during_the_login(self) -> None:
        """A transport that is full before the login is answered holds back what waits, and only that."""
        token = self.door.token(BOB, "phone")
        self.door.message(BOB, "1")
        bob = self.door.connect()
        bob.transport.fill()
        bob.send(login("1", BOB, "phone", token))
        self.assertEqual([table for table, _ in bob.got()], ["rr"])
        bob.transport.drain()
        self.assertEqual(bob.ids(), ["1"])

    def test_appended_before_the_page_is_read(self) -> None:
        """What comes between asking for a page and reading it comes once, in its place."""
        bob = self.waits_for_page()
        self.door.message(BOB, "2")
        self.door.database.answer()
        self.check_in_step(bob)

    def test_appended_between_the_page_and_its_arrival(self) -> None:
        """What comes after the page was read and before it is here comes once, behind it."""
        bob = self.waits_for_page()
        self.door.database.do()
        self.door.message(BOB, "2")
        self.door.database.answer()
        self.check_in_step(bob)

    def test_committed_between_the_page_and_its_arrival(self) -> None:
        """The same where the commit is asked for before the page, and ends before it is here."""
        bob = self.door.online(BOB)
        bob.transport.fill()
        self.door.database.hold()
        self.door.message(BOB, "1")
        bob.transport.drain()
        self.door.message(BOB, "2")
        self.door.database.answer()
        self.check_in_step(bob)

    def waits_for_page(self) -> Client:
        """A device that has asked for message 1."""
        bob = self.online()
        bob.transport.fill()
        self.door.message(BOB, "1")
        self.door.database.hold()
        bob.transport.drain()
        return bob

    def check_in_step(self, bob: Client) -> None:
        """It has got 1 and 2, and gets 3 at once, before any commit."""
        self.door.message(BOB, "3")
        seqs = bob.seqs()
        self.assertEqual((len(seqs), seqs), (3, sorted(seqs)))
        self.door.database.release()
        self.assertEqual(bob.got(), [])
        bob.send(a_seq(seqs[-1]))
        self.assertEqual(self.unacknowledged(), [])

    def test_full_again_while_it_reads(self) -> None:
        """What the page did not hold comes later, in order."""
        bob = self.waits_for_page()
        bob.transport.fill()
        self.door.database.answer()
        self.door.message(BOB, "2")
        bob.transport.drain()
        self.door.database.release()
        self.assertEqual(bob.ids(), ["1", "2"])


class AcknowledgingTests(DeviceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bob = self.online()
        self.door.messages(BOB, 1, 4)
        self.seqs = self.bob.seqs()

    def test_by_id_in_order(self) -> None:
        """What was acknowledged is not sent again."""
        self.bob.send(a("1"), a("2"))
        self.assertEqual(self.unacknowledged(), ["3", "4"])

    def test_by_id_out_of_order(self) -> None:
        """An ack takes its entry alone: those before it are sent again, it is not."""
        self.bob.send(a("3"), a("1"))
        self.assertEqual(self.unacknowledged(), ["2", "4"])

    def test_out_of_order_to_the_end(self) -> None:
        """The place moves over what was acknowledged ahead of it."""
        self.bob.send(a("4"), a("2"), a("3"), a("1"))
        self.assertEqual(self.unacknowledged(), [])
        self.door.message(BOB, "5")
        self.assertEqual(self.unacknowledged(), ["5"])

    def test_by_seq(self) -> None:
        """Everything up to it is acknowledged, and nothing behind it."""
        self.bob.send(a_seq(self.seqs[2]))
        self.assertEqual(self.unacknowledged(), ["4"])

    def test_by_seq_after_single_ones(self) -> None:
        """What was acknowledged singly above it stays so."""
        self.bob.send(a("4"), a_seq(self.seqs[1]))
        self.assertEqual(self.unacknowledged(), ["3"])

    def test_beyond_the_last_sent(self) -> None:
        """A larger number counts as the last one sent: what comes later is not acknowledged by it."""
        self.bob.send(a_seq(2**63 - 1))
        self.door.message(BOB, "5")
        self.assertEqual(self.unacknowledged(), ["5"])

    def test_beyond_what_a_full_transport_let_through(self) -> None:
        """What was not sent is not acknowledged, though it was there when the ack came."""
        self.bob.transport.fill()
        self.door.message(BOB, "5")
        self.bob.send(a_seq(2**63 - 1))
        self.assertEqual(self.unacknowledged(), ["5"])

    def test_unknown(self) -> None:
        """Acks for nothing are ignored, and the connection stays."""
        self.bob.send(a("x"), a_seq(0), a_seq(-5), a_seq(self.seqs[0] - 1))
        self.assertEqual((self.bob.got(), self.bob.is_closed), ([], False))
        self.assertEqual(self.unacknowledged(), ["1", "2", "3", "4"])

    def test_twice(self) -> None:
        """The second ack of an entry is one for nothing."""
        self.bob.send(a("1"), a("1"))
        self.assertEqual(self.unacknowledged(), ["2", "3", "4"])

    def test_the_oldest_of_several_with_one_id(self) -> None:
        """Each ack takes one entry, the oldest."""
        self.door.message(BOB, "1")
        self.bob.send(a("1"))
        self.assertEqual(self.unacknowledged(), ["2", "3", "4", "1"])

    def test_one_id_several_times(self) -> None:
        """Where several in flight have one id, each ack takes one of them, the oldest first, whatever is between."""
        for id_ in ("1", "3", "1"):
            self.door.message(BOB, id_)
        self.bob.send(a("1"), a("1"), a("3"))
        self.assertEqual(self.unacknowledged(), ["2", "4", "3", "1"])
        self.bob = self.again(self.bob)
        self.bob.ids()
        self.bob.send(a("1"), a("1"), a("2"), a("3"))
        self.assertEqual(self.unacknowledged(), ["4"])

    def test_all_with_one_id(self) -> None:
        """As many acks as there are take all; one more is for nothing."""
        self.bob.send(a_seq(self.seqs[-1]))
        for _ in range(4):
            self.door.message(BOB, "x")
        self.bob.send(*[a("x")] * 3)
        self.assertEqual(self.unacknowledged(), ["x"])
        self.bob = self.again(self.bob)
        self.bob.send(*[a("x")] * 2)
        self.assertEqual(self.unacknowledged(), [])

    def test_order_and_what_is_not_in_it(self) -> None:
        """Acks that come at once, in order but for some, take each its own."""
        self.door.messages(BOB, 5, 8)
        self.bob.send(a("1"), a("2"), a("x"), a("3"), a("6"), a("4"), a("1"), a("5"))
        self.assertEqual(self.unacknowledged(), ["7", "8"])

    def test_backwards(self) -> None:
        """All of a full window in reverse, at once or one by one: what waits follows, and nothing is left."""
        for at_once in (True, False):
            bob = self.again(self.bob)
            bob.send(a_seq(max(bob.seqs(), default=0)))
            ids = self.door.messages(BOB, 1, WINDOW_ENTRIES + 3)
            self.assertEqual(len(bob.ids()), WINDOW_ENTRIES)
            acks = [a(id_) for id_ in ids[:WINDOW_ENTRIES][::-1]]
            for some in [acks] if at_once else [[ack] for ack in acks]:
                bob.send(*some)
            self.assertEqual(bob.ids(), ids[WINDOW_ENTRIES:])
            self.bob = self.again(bob)
            self.assertEqual(self.bob.ids(), ids[WINDOW_ENTRIES:])
            self.bob.send(*map(a, ids[WINDOW_ENTRIES:]))
            self.assertEqual(self.unacknowledged(), [])

    def test_a_full_window_from_its_end(self) -> None:
        """Each ack makes room for one more, whichever entry it takes; the place stays below the oldest in flight."""
        self.bob.send(a_seq(self.seqs[-1]))
        ids = self.door.messages(BOB, 1, WINDOW_ENTRIES + 2)
        seqs = self.bob.seqs()
        for count, id_ in enumerate((ids[WINDOW_ENTRIES - 1], ids[WINDOW_ENTRIES // 2])):
            self.bob.send(a(id_))
            self.assertEqual(self.bob.ids(), [ids[WINDOW_ENTRIES + count]])
        connection = self.door.sessions.find(BOB, "phone")
        assert connection is not None
        self.assertEqual(connection.device.state.cursor, seqs[0] - 1)
        self.bob.send(a(ids[0]))
        self.assertEqual(connection.device.state.cursor, seqs[1] - 1)

    def test_one_device_only(self) -> None:
        """What one device acknowledges, the user's others still have to."""
        pad = self.door.online(BOB, "pad")
        self.door.message(BOB, "5")
        self.bob.send(a_seq(2**62))
        self.door.commit()
        pad.lose()
        self.assertEqual(self.door.waiting_for(BOB, "pad"), ["1", "2", "3", "4", "5"])

    def test_what_an_earlier_connection_was_sent(self) -> None:
        """`seq` acknowledges also what this connection has not been sent yet, and then is not sent it."""
        bob = self.held_back()
        bob.send(a_seq(self.seqs[2]))
        self.door.database.release()
        bob.transport.drain()
        self.assertEqual(bob.ids(), ["4"])

    def test_an_id_that_an_earlier_connection_was_sent(self) -> None:
        """The same by id, which takes a look-up."""
        bob = self.held_back()
        bob.send(a("2"))
        self.door.database.release()
        bob.transport.drain()
        self.assertEqual(bob.ids(), ["1", "3", "4"])

    def test_acknowledged_while_the_page_is_read(self) -> None:
        """What `seq` acknowledges between a page and its arrival is not sent."""
        bob = self.held_back()
        bob.transport.drain()
        self.door.database.do()
        bob.send(a_seq(self.seqs[1]))
        self.door.database.release()
        self.assertEqual(bob.ids(), ["3", "4"])

    def test_acknowledged_by_id_while_the_page_is_read(self) -> None:
        """A page that holds what was acknowledged by id meanwhile is read again."""
        bob = self.held_back()
        bob.send(a("2"))
        bob.transport.drain()
        self.door.database.release()
        self.assertEqual(bob.ids(), ["1", "3", "4"])

    def held_back(self) -> Client:
        """Logged in with a full transport, all that was asked so far answered, and nothing from now on."""
        self.bob.lose()
        bob = self.door.connect()
        bob.transport.fill()
        bob.send(self.login())
        bob.got()
        self.door.commit()
        self.door.database.hold()
        return bob

    def login(self) -> str:
        return login("1", BOB, "phone", self.door.token(BOB, "phone"))

    def test_acks_reach_the_disk_by_themselves(self) -> None:
        """An ack is written though no message comes along that it could ride with."""
        self.bob.send(a("1"))
        self.door.clock.advance(1)
        self.assertEqual(self.place_on_disk(), self.seqs[0])

    def test_acks_are_on_disk_with_the_next_message(self) -> None:
        """Before the device's own message is stored without them, in whichever way it came."""
        self.bob.send(m("w", ANN))
        self.bob.send(a("1"), m("x", ANN))
        self.assertEqual(self.place_on_disk(), self.seqs[0])
        self.bob.send(a("2"), m("y", ANN, more="z = 1\n"))
        self.assertEqual(self.place_on_disk(), self.seqs[1])

    def place_on_disk(self) -> int:
        rows = self.door.database._connection.execute("SELECT cursor FROM device WHERE user = ?", (BOB,))
        return int(rows.fetchone()[0])


class OwnEntriesTests(DeviceTestCase):
    def test_not_sent_to_their_sender(self) -> None:
        """A device has acknowledged what it sent itself: it is never sent it, in step or not."""
        phone, pad = self.door.online(BOB, "phone"), self.door.online(BOB, "pad")
        phone.send(m("1", ANN), m("2", BOB))
        self.assertEqual(phone.got(), [acknowledged("1"), acknowledged("2")])
        self.assertEqual(pad.ids(), ["1", "2"])
        phone.lose()
        self.assertEqual(self.door.log_in(BOB, "phone").ids(), [])

    def test_between_others(self) -> None:
        """They do not stop what is around them from being acknowledged."""
        self.door.token(BOB, "pad")
        phone = self.door.online(BOB, "phone")
        self.door.message(BOB, "1")
        phone.send(m("own", BOB), m("own2", BOB))
        self.door.message(BOB, "2")
        phone.send(a("2"), a("1"))
        self.assertEqual(self.unacknowledged(), [])


class FailingReadTests(DeviceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.door.token(BOB, "phone")
        self.door.message(BOB, "1")
        self.bob = self.door.connect()
        self.bob.transport.fill()
        token = self.door.token(BOB, "phone")
        self.bob.send(login("1", BOB, "phone", token))
        self.bob.got()
        self.door.commit()
        self.door.database.fails_with = StorageUnavailable()

    def test_asked_again(self) -> None:
        """A page that the database did not give is asked for again, until it gives it."""
        self.bob.transport.drain()
        self.door.clock.advance(RETRY_READ)
        self.assertEqual(self.bob.got(), [])
        self.door.database.fails_with = None
        self.door.clock.advance(RETRY_READ)
        self.assertEqual(self.bob.ids(), ["1"])

    def test_one_question_at_a_time(self) -> None:
        """However often there is a reason to read meanwhile, there is one attempt a while."""
        for _ in range(5):
            self.bob.transport.drain()
            self.bob.transport.fill()
        self.bob.transport.drain()
        reads = self.door.database.reads
        self.door.clock.advance(RETRY_READ)
        self.assertEqual(self.door.database.reads, reads + 1)

    def test_the_end_meanwhile(self) -> None:
        """A connection that is gone asks no more."""
        self.bob.transport.drain()
        self.bob.lose()
        reads = self.door.database.reads
        self.door.clock.advance(10 * RETRY_READ)
        self.assertEqual(self.door.database.reads, reads)

    def test_anything_else_is_logged(self) -> None:
        """A fault of ours is logged with its traceback, and the page is asked for again."""
        self.door.database.fails_with = RuntimeError("a fault")
        self.bob.transport.drain()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.door.database.fails_with = None
        self.door.clock.advance(RETRY_READ)
        self.assertEqual(self.bob.ids(), ["1"])
