"""What a connection says, and what it is answered."""

from __future__ import annotations

from simple_im import limits
from simple_im.limits import BAD_FRAMES, FRAME_SIZE, ID_SIZE
from simple_im.status import StorageUnavailable
from simple_im.store.sequence import Sequence
from tests.im.door import (
    ANN,
    BAD,
    BOB,
    CAT,
    NOBODY,
    Client,
    DoorTestCase,
    a,
    acknowledged,
    bye,
    done,
    login,
    m,
    r,
    refused,
)


class BadFrameTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann = self.door.online(ANN)

    def reasons(self) -> list[tuple[str | None, str]]:
        return [(keys.get("id"), keys["r"]) for table, keys in self.ann.got() if table == "rr" and keys["s"] == 1]

    def check(self, frame: str | bytes, id_: str | None, part: str) -> None:
        """The frame is refused with a reason that says `part`, and the connection goes on."""
        self.ann.send(frame)
        ((found, reason),) = self.reasons()
        self.assertEqual(found, id_)
        self.assertIn(part, reason)
        self.ann.send(r("0", "ping"))
        self.assertEqual(self.ann.got(), [done("0")])

    def test_what_and_where(self) -> None:
        """A bad frame is answered with its id where one can be read, and what is wrong where."""
        self.check(BAD, None, "line 1")
        self.check('[[m]]\nid = "1"\nt = text\n\n', "1", "line 3")
        self.check(b'[[m]]\nid = "1"\nt = "\xff"\n\n', "1", "not UTF-8")
        self.check('[[m]]\nid = "1"\nt = "text"\nto = 2\n\n', "1", "c Required")
        self.check('[[m]]\nid = "1"\nt = "text"\nc = "x"\n\n', "1", "to Required")
        self.check('[[m]]\nid = "1"\nt = "text"\nc = "x"\nto = "2"\n\n', "1", "to must be an integer")
        self.check('[[m]]\nid = 1\nt = "text"\nc = "x"\nto = 2\n\n', None, "id must be a string")
        self.check('[[q]]\nid = "1"\n\n', "1", "unknown table")
        self.check("[[a]]\n\n", None, "id Required")

    def test_sizes(self) -> None:
        """An id of the largest size is taken, and one byte more is not."""
        self.ann.send(m("é" * (ID_SIZE // 2), BOB))
        self.assertEqual(self.ann.got(), [acknowledged("é" * (ID_SIZE // 2))])
        self.check(m("x" * (ID_SIZE + 1), BOB), "x" * (ID_SIZE + 1), "id must be")
        self.check(m("", BOB), "", "id must be")

    def test_nothing_of_it_is_done(self) -> None:
        """Where a frame is no TOML, its good entries are not taken either."""
        bob = self.door.online(BOB)
        self.ann.send(m("1", BOB).rstrip("\n") + '\n[[m]]\nid = "2"\nt = \n\n')
        self.assertEqual(len(self.reasons()), 1)
        self.assertEqual(bob.got(), [])

    def test_entries_are_judged_one_by_one(self) -> None:
        """In a frame that is TOML each entry has its own answer, in written order whatever the tables."""
        bob = self.door.online(BOB)
        frame = m("1", BOB) + '[[r]]\nid = "2"\nt = "ping"\n' + m("3", NOBODY) + '[[q]]\nid = "4"\n' + m("5", BOB)
        self.ann.send(frame.replace("\n\n", "\n") + "\n")
        answers = [done("2"), refused("3", "no such user"), refused("4", "unknown table q")]
        self.assertEqual(self.ann.got(), [*answers, acknowledged("1"), acknowledged("5")])
        self.assertEqual(bob.ids(), ["1", "5"])

    def send_bad(self, count: int) -> None:
        for _ in range(count):
            self.ann.send(BAD)

    def test_too_many_in_a_row(self) -> None:
        """The last that is allowed is answered like the others, then `bye` `error` and the end."""
        self.send_bad(BAD_FRAMES - 1)
        self.assertEqual((len(self.reasons()), self.ann.is_closed), (BAD_FRAMES - 1, False))
        self.send_bad(1)
        first, last = self.ann.got()
        self.assertEqual((first[0], last, self.ann.is_closed), ("rr", bye("error"), True))

    def test_in_one_record(self) -> None:
        """The same where they come at once; what is behind them is not taken."""
        self.ann.send(BAD * (BAD_FRAMES + 5))
        *answers, last = self.ann.got()
        self.assertEqual((len(answers), last), (BAD_FRAMES, bye("error")))

    def test_a_good_one_in_between(self) -> None:
        """It begins the count anew."""
        self.send_bad(BAD_FRAMES - 1)
        self.ann.send(r("1", "ping"))
        self.send_bad(BAD_FRAMES - 1)
        self.assertFalse(self.ann.is_closed)
        self.send_bad(1)
        self.assertTrue(self.ann.is_closed)

    def test_a_frame_counts_once(self) -> None:
        """However many bad entries are in it."""
        for _ in range(BAD_FRAMES - 1):
            self.ann.send('[[q]]\nid = "1"\n' * 5 + "\n")
        self.assertEqual((len(self.reasons()), self.ann.is_closed), (5 * (BAD_FRAMES - 1), False))

    def test_refusals_are_not_bad_frames(self) -> None:
        """A message to nobody is a good frame."""
        for _ in range(BAD_FRAMES + 1):
            self.ann.send(m("1", NOBODY))
        self.assertFalse(self.ann.is_closed)


class TooLargeTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.door.online(ANN), self.door.online(BOB)

    def test_the_largest(self) -> None:
        """A frame of the largest size is taken."""
        self.ann.send(m("1", BOB, "x" * (FRAME_SIZE - len(m("1", BOB, "").rstrip("\n")) - 2)).rstrip("\n") + "\n\n")
        self.assertEqual(self.ann.got(), [acknowledged("1")])

    def test_one_byte_more(self) -> None:
        """It is refused as `too large`, then `bye` `error` and the end."""
        self.ann.send(m("1", BOB, "x" * (FRAME_SIZE - len(m("1", BOB, "").rstrip("\n")) - 1)).rstrip("\n") + "\n\n")
        self.assertEqual(self.ann.got(), [refused("1", "too large"), bye("error")])
        self.assertTrue(self.ann.is_closed)
        self.assertEqual(self.bob.got(), [])

    def test_without_an_end(self) -> None:
        """It is refused as soon as it is too large."""
        self.ann.send('[[m]]\nid = "1"\nc = "' + "x" * FRAME_SIZE)
        self.assertEqual(self.ann.got(), [refused("1", "too large"), bye("error")])

    def test_before_the_login(self) -> None:
        """The same as a first frame."""
        client = self.door.connect()
        client.send(b"x" * (FRAME_SIZE + 1))
        self.assertEqual((client.got(), client.is_closed), ([refused(None, "too large"), bye("error")], True))

    def test_frames_before_it(self) -> None:
        """What came before it is answered before it, also where that takes a look-up."""
        self.door.database.hold()
        self.ann.send(m("1", NOBODY), r("2", "ping"), b"x" * (FRAME_SIZE + 1))
        self.ann.send(b"x")
        self.assertEqual((self.ann.got(), self.ann.is_closed), ([], False))
        self.door.database.release()
        self.assertEqual(
            self.ann.got(), [refused("1", "no such user"), done("2"), refused(None, "too large"), bye("error")]
        )


class OrderTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.door.online(ANN), self.door.online(BOB)
        self.door.commit()

    def test_a_look_up(self) -> None:
        """What comes behind a message whose addressee is looked up waits for it."""
        self.database.hold()
        self.ann.send(m("1", NOBODY), r("2", "ping"))
        self.ann.send(r("3", "ping"))
        self.assertEqual(self.ann.got(), [])
        self.database.release()
        self.assertEqual(self.ann.got(), [refused("1", "no such user"), done("2"), done("3")])

    def test_messages_keep_their_order(self) -> None:
        """A message that is looked up is not overtaken by a later one that is not."""
        self.database.hold()
        self.ann.send(m("1", BOB), m("2", ANN), m("3", BOB))
        self.database.release()
        self.assertEqual(self.bob.ids(), ["1", "3"])

    def test_acks_that_are_looked_up(self) -> None:
        """Also an ack waits its turn."""
        self.door.message(BOB, "1")
        self.bob.lose()
        bob = self.door.online(BOB)
        bob.transport.fill()
        self.door.message(BOB, "2")
        self.assertEqual(self.door.get_offline(BOB, "phone"), ["1", "2"])
        self.database.hold()
        bob.send(a("2"), r("3", "ping"))
        self.assertEqual(bob.got(), [])
        self.database.release()
        self.assertEqual(bob.got(), [done("3")])

    def test_pushed_before_it_is_on_disk_acknowledged_after(self) -> None:
        """The recipient has a message at once; its sender's tick waits for the commit."""
        self.ann.send(m("0", BOB))
        self.assertEqual((self.ann.got(), self.bob.ids()), ([acknowledged("0")], ["0"]))
        self.database.hold()
        self.ann.send(m("1", BOB))
        self.assertEqual((self.ann.got(), self.bob.ids()), ([], ["1"]))
        self.database.release()
        self.assertEqual(self.ann.got(), [acknowledged("1")])

    def test_gone_before_the_commit(self) -> None:
        """A message whose sender is gone is stored all the same."""
        self.database.hold()
        self.ann.send(m("1", BOB))
        self.ann.lose()
        self.database.release()
        self.assertEqual(self.bob.ids(), ["1"])
        self.assertEqual(self.door.waiting_for(BOB, "phone"), ["1"])

    def test_gone_before_the_look_up(self) -> None:
        """What was read from a connection that is gone meanwhile and waited behind a look-up is not taken."""
        self.database.hold()
        self.ann.send(m("1", BOB), m("2", BOB))
        self.ann.lose()
        self.database.release()
        self.assertEqual(self.bob.ids(), ["1"])

    def test_later_connection_before_the_look_up(self) -> None:
        """What waited for a look-up while its device signed in again does not come behind what is sent there."""
        self.ann.send(m("0", BOB))
        self.ann.got()
        token = self.door.token(ANN, "phone")
        again = self.door.connect()
        self.database.hold()
        again.send(login("login", ANN, "phone", token), m("new", BOB))
        tries = 0
        while not again.got():
            tries += 1
            self.ann.send(m(f"old {tries}", BOB, more="dup = true\n"))
            self.database.answer()
        self.database.release()
        ids = self.door.waiting_for(BOB, "phone")
        self.assertEqual((ids[0], ids[-1]), ("0", "new"))
        self.assertLess(len(ids), 2 + tries)

    def test_more_than_may_wait_for_the_disk(self) -> None:
        """While too much waits for the disk nothing more is taken, nor read; then all of it is, in order."""
        self.ann.send(m("0", BOB))
        self.bob.ids()
        self.patch(limits, "UNCOMMITTED_BYTES", 300)
        self.database.hold()
        self.ann.send(m("first", BOB))
        for number in range(1, 9):
            self.ann.send(m(str(number), BOB))
        some = self.bob.ids()
        self.assertLess(len(some), 9)
        self.assertFalse(self.ann.transport.is_read)
        self.database.release()
        self.assertEqual(some + self.bob.ids(), ["first", *map(str, range(1, 9))])
        self.assertTrue(self.ann.transport.is_read)

    def test_a_run_and_what_may_wait_for_the_disk(self) -> None:
        """What has come at once is taken together; what comes behind it waits, whatever of it is plain."""
        self.ann.send(m("0", BOB))
        self.bob.ids()
        self.patch(limits, "UNCOMMITTED_BYTES", 300)
        self.database.hold()
        self.ann.send(m("first", BOB))
        self.ann.send(*(m(str(number), BOB) for number in range(1, 9)))
        self.assertEqual(self.bob.ids(), ["first", *map(str, range(1, 9))])
        self.assertTrue(self.ann.transport.is_read)
        self.ann.send(m("9", BOB), m("10", BOB, more="x = 1\n"), m("11", BOB))
        self.assertEqual(self.bob.ids(), [])
        self.assertFalse(self.ann.transport.is_read)
        self.database.release()
        self.assertEqual(self.bob.ids(), ["9", "10", "11"])
        self.assertTrue(self.ann.transport.is_read)


class FailureTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.door.online(ANN), self.door.online(BOB)
        self.ann.send(m("0", BOB))
        self.ann.got()
        self.bob.got()

    def test_storage_unavailable(self) -> None:
        """A message that can't be stored is refused, and the connection goes on."""
        self.database.writes_fail = True
        self.ann.send(m("1", BOB), r("2", "ping"))
        self.assertEqual(self.ann.got(), [done("2"), refused("1", "storage unavailable")])
        self.assertFalse(self.ann.is_closed)

    def test_stored_again(self) -> None:
        """Once the database takes messages again they are acknowledged, and come once."""
        self.database.writes_fail = True
        self.ann.send(m("1", BOB))
        self.database.writes_fail = False
        self.ann.send(m("2", BOB))
        self.ann.send(m("3", BOB))
        self.assertEqual(self.ann.got(), [refused("1", "storage unavailable"), acknowledged("2"), acknowledged("3")])
        self.assertEqual(self.door.waiting_for(BOB, "phone"), ["0", "2", "3"])

    def test_a_look_up_without_storage(self) -> None:
        """A message whose addressee can't be looked up is refused."""
        self.database.fails_with = StorageUnavailable()
        self.ann.send(m("1", NOBODY), r("2", "ping"))
        self.assertEqual(self.ann.got(), [refused("1", "storage unavailable"), done("2")])

    def test_a_fault_of_ours(self) -> None:
        """A look-up that fails is an `unknown error`, logged once, and the connection goes on."""
        self.database.fails_with = RuntimeError("a fault")
        self.ann.send(m("1", NOBODY), r("2", "ping"))
        self.assertEqual(self.ann.got(), [refused("1", "unknown error"), done("2")])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_ack_that_fails(self) -> None:
        """It is not answered, the connection goes on, and the entry comes again."""
        self.bob.lose()
        bob = self.door.connect()
        bob.transport.fill()
        bob.send(login("1", BOB, "phone", self.door.token(BOB, "phone")))
        bob.got()
        self.door.commit()
        self.database.fails_with = StorageUnavailable()
        bob.send(a("0"), r("2", "ping"))
        self.database.fails_with = None
        self.assertEqual(bob.got(), [done("2")])
        bob.transport.drain()
        self.assertEqual(bob.ids(), ["0"])

    def test_no_number(self) -> None:
        """A message that gets no place is refused, and nothing is acknowledged for it when others are stored."""
        cat = self.door.online(CAT)
        numbers = self.patch(Sequence, "take", lambda _sequence: 0)
        self.ann.send(m("1", BOB))
        numbers.restore()
        self.assertEqual(self.ann.got(), [refused("1", "storage unavailable")])
        cat.send(m("2", BOB))
        self.assertEqual((self.ann.got(), cat.got()), ([], [acknowledged("2")]))

    def test_a_fault_in_the_middle(self) -> None:
        """A fault that no answer is meant for is logged and ends the connection, not the node."""
        self.break_appending(self.ann)
        self.assertEqual((self.ann.got(), self.ann.is_closed), ([bye("error")], True))
        self.bob.send(r("3", "ping"))
        self.assertEqual(self.bob.got(), [done("3")])

    def test_a_fault_behind_a_look_up(self) -> None:
        """The same where the conversation had waited for the database."""
        self.database.hold()
        self.ann.send(m("1", NOBODY))
        self.break_appending(self.ann)
        self.assertFalse(self.ann.is_closed)
        self.database.release()
        self.assertEqual(self.ann.got(), [refused("1", "no such user"), bye("error")])

    def break_appending(self, client: Client) -> None:
        """The client's message meets a fault of the server's."""
        self.patch(self.door.inbox, "append_all", None)
        self.addCleanup(lambda: self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1))
        client.send(m("2", BOB))
