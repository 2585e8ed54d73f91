"""What a connection says, and what it is answered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import BAD_FRAMES, FRAME_SIZE, ID_SIZE, RECENT_ACKS
from simple_im.status import StorageUnavailable
from simple_im.store import inbox as inbox_module
from tests.im.door import (
    ANN,
    BAD,
    BOB,
    NOBODY,
    Client,
    Door,
    Entry,
    a,
    acknowledged,
    bye,
    done,
    login,
    m,
    r,
    refused,
)


class ConversationTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = Door()
        self.database = self.door.database


class FirstFrameTests(ConversationTestCase):
    """The login gate."""

    def answer(self, *frames: str | bytes) -> list[Entry]:
        """What a new connection gets for its first record, when it is closed for it."""
        client = self.door.connect()
        client.send(*frames)
        self.assertTrue(client.is_closed)
        self.assertEqual(list(self.door.sessions), [])
        return client.got()

    def test_login(self) -> None:
        """The right token is answered with success, and the connection stays."""
        client = self.door.log_in(ANN)
        self.assertEqual((client.got(), client.is_closed), ([done("login")], False))

    def test_token_error(self) -> None:
        """A wrong token, or another user's or device's, is a `token error`."""
        token = self.door.token(ANN, "phone")
        for user, device, tried in ((ANN, "phone", "x"), (BOB, "phone", token), (ANN, "pad", token)):
            self.assertEqual(self.answer(login("1", user, device, tried)), [refused("1", "token error")])

    def test_what_is_missing(self) -> None:
        """A login says which key of its user it lacks, or which is of the wrong type."""
        for user, reason in {
            'id = 1\ntoken = "x"\n': "d Required",
            'd = "phone"\ntoken = "x"\n': "id Required",
            'id = 1\nd = "phone"\n': "token Required",
            'id = "1"\nd = "phone"\ntoken = "x"\n': "id must be an integer",
            'id = 1\nd = 1\ntoken = "x"\n': "d must be a string",
        }.items():
            frame = f'[[r]]\nid = "1"\nt = "login"\n[r.user]\n{user}\n'
            self.assertEqual(self.answer(frame), [refused("1", reason)])

    def test_no_user_at_all(self) -> None:
        """A login without `[r.user]` lacks its first key."""
        self.assertEqual(self.answer(r("1", "login")), [refused("1", "id Required")])

    def test_anything_else(self) -> None:
        """Any other first frame is answered with `login required`."""
        for frame in (m("1", BOB), a("1"), r("1", "ping"), r("1", "logout"), r("1", "dance"), '[[x]]\nid = "1"\n\n'):
            self.assertEqual(self.answer(frame), [refused("1", "login required")])

    def test_no_toml(self) -> None:
        """Also one that is no TOML, with its id where one can be read."""
        self.assertEqual(self.answer(BAD), [refused(None, "login required")])
        self.assertEqual(self.answer(b'[[r]]\nid = "1"\nt = \xff\n\n'), [refused("1", "login required")])

    def test_a_login_that_is_not_first(self) -> None:
        """What stands before a login, in its frame or before it, decides."""
        token = self.door.token(ANN, "phone")
        good = login("2", ANN, "phone", token)
        self.assertEqual(self.answer(m("1", BOB).rstrip("\n") + "\n" + good), [refused("1", "login required")])
        self.assertEqual(self.answer(m("1", BOB), good), [refused("1", "login required")])

    def test_nothing_is_done(self) -> None:
        """Frames behind a refused one are not taken."""
        bob = self.door.online(BOB)
        client = self.door.connect()
        client.send(login("1", ANN, "phone", "x"), m("2", BOB))
        client.send(m("3", BOB))
        self.assertEqual(client.got(), [refused("1", "token error")])
        self.assertEqual(bob.got(), [])

    def test_behind_a_login(self) -> None:
        """Frames that come behind a login, while it is looked up too, are taken when it is answered."""
        bob, token = self.door.online(BOB), self.door.token(ANN, "phone")
        self.database.hold()
        client = self.door.connect()
        client.send(login("1", ANN, "phone", token), m("2", BOB))
        client.send(r("3", "ping"))
        self.assertEqual(client.got(), [])
        self.database.release()
        self.assertEqual(client.got(), [done("1"), done("3"), acknowledged("2")])
        self.assertEqual(bob.ids(), ["2"])

    def test_in_the_same_frame(self) -> None:
        """Messages in the login's own frame carry the device that it logs in, whatever they say."""
        bob, token = self.door.online(BOB), self.door.token(ANN, "phone")
        first = login("1", ANN, "phone", token).rstrip("\n") + "\n"
        client = self.door.connect()
        client.send(first + m("2", BOB, more='d = "other"').rstrip("\n") + "\n" + m("3", BOB))
        self.assertEqual(client.got(), [done("1"), acknowledged("2"), acknowledged("3")])
        self.assertEqual([(keys["id"], keys["d"]) for _, keys in bob.got()], [("2", "phone"), ("3", "phone")])

    def test_no_storage(self) -> None:
        """What the database can't tell is no `token error`; the client may try again."""
        token = self.door.token(ANN, "phone")
        self.database.fails_with = StorageUnavailable()
        self.assertEqual(self.answer(login("1", ANN, "phone", token)), [refused("1", "storage unavailable")])

    def test_a_fault_of_ours(self) -> None:
        """A look-up that fails is answered once, logged, and ends the connection."""
        token = self.door.token(ANN, "phone")
        self.database.fails_with = RuntimeError("a fault")
        self.assertEqual(self.answer(login("1", ANN, "phone", token)), [refused("1", "unknown error")])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_gone_before_the_answer(self) -> None:
        """A connection that ends while its login is looked up leaves no session, and takes nobody's place."""
        before = self.door.online(ANN)
        token = self.door.token(ANN, "phone")
        self.database.hold()
        client = self.door.connect()
        client.send(login("1", ANN, "phone", token), m("2", BOB))
        client.lose()
        self.database.release()
        self.assertEqual((client.got(), client.is_closed), ([], False))
        self.assertEqual((before.is_closed, len(list(self.door.sessions))), (False, 1))

    def test_gone_before_the_refusal(self) -> None:
        """The same where it would have been refused."""
        self.database.hold()
        client = self.door.connect()
        client.send(login("1", ANN, "phone", "x"))
        client.lose()
        self.database.release()
        self.assertEqual((client.got(), client.transport.lost), ([], 0))


class ReplacedTests(ConversationTestCase):
    def test_one_connection_a_device(self) -> None:
        """A new login of the same device ends the old connection with `bye` `replaced`."""
        old = self.door.online(ANN)
        new = self.door.log_in(ANN)
        self.assertEqual((old.got(), old.is_closed), ([bye("replaced")], True))
        self.assertEqual((new.got(), new.is_closed), ([done("login")], False))

    def test_other_devices_stay(self) -> None:
        """Any number of devices may be on."""
        pad = self.door.online(ANN, "pad")
        self.door.online(ANN, "phone")
        self.assertEqual((pad.got(), pad.is_closed), ([], False))

    def test_what_was_not_acknowledged(self) -> None:
        """It goes to the new connection, and what was acknowledged does not."""
        old = self.door.online(BOB)
        self.door.messages(BOB, 1, 3)
        old.send(a("2"))
        self.assertEqual(self.door.log_in(BOB).ids(), ["1", "3"])

    def test_only_the_new_one_gets_what_comes(self) -> None:
        """The old connection is sent nothing behind its `bye`."""
        old = self.door.online(BOB)
        new = self.door.online(BOB)
        self.door.message(BOB, "1")
        self.assertEqual((old.got(), new.ids()), ([bye("replaced")], ["1"]))

    def test_the_end_of_the_old_one(self) -> None:
        """When the old connection is gone at last, the new one is still there."""
        old, new = self.door.online(BOB), self.door.online(BOB)
        old.lose()
        self.door.message(BOB, "1")
        self.assertEqual(new.ids(), ["1"])


class ExpiredTests(ConversationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.token = self.door.token(ANN, "phone")
        self.database._connection.execute("UPDATE device SET expired = 3 WHERE user = ?", (ANN,))

    def log_in(self) -> list[Entry]:
        client = self.door.connect()
        client.send(login("1", ANN, "phone", self.token))
        return client.got()

    def test_told_once(self) -> None:
        """A login says how many entries expired unread; the next one does not."""
        self.assertEqual(self.log_in(), [done("1", expired=3)])
        self.assertEqual(self.log_in(), [done("1")])

    def test_told_again(self) -> None:
        """Where the database could not note it, the next login says it again; each has one answer."""
        self.database.hold()
        client = self.door.connect()
        client.send(login("1", ANN, "phone", self.token))
        self.database.answer()
        self.database.answer()
        self.database.writes_fail = True
        self.database.release()
        self.assertEqual((client.got(), client.is_closed), ([done("1", expired=3)], False))
        self.assertEqual(len(self.flushLoggedErrors(StorageUnavailable)), 1)
        self.database.writes_fail = False
        self.assertEqual(self.log_in(), [done("1", expired=3)])


class RequestTests(ConversationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.token = self.door.token(ANN, "phone")
        self.ann = self.door.connect()
        self.ann.send(login("1", ANN, "phone", self.token))
        self.ann.got()

    def test_ping(self) -> None:
        """It is answered."""
        self.ann.send(r("2", "ping"))
        self.assertEqual(self.ann.got(), [done("2")])

    def test_unknown(self) -> None:
        """An unknown request is refused, and the connection stays."""
        self.ann.send(r("2", "dance"), r("3", "ping"))
        self.assertEqual(self.ann.got(), [refused("2", "t must be login, ping or logout"), done("3")])

    def test_a_second_login(self) -> None:
        """A connection that is logged in is `already logged in`, and stays who it is."""
        self.ann.send(login("2", BOB, "phone", self.door.token(BOB, "phone")), r("3", "ping"))
        self.assertEqual(self.ann.got(), [refused("2", "already logged in"), done("3")])
        self.assertIsNone(self.door.sessions.find(BOB, "phone"))

    def test_logout(self) -> None:
        """It is answered, then `bye` `revoked` and the end; the token is good for nothing any more."""
        self.ann.send(r("2", "logout"))
        self.assertEqual(self.ann.got(), [done("2"), bye("revoked")])
        self.assertTrue(self.ann.is_closed)
        again = self.door.connect()
        again.send(login("3", ANN, "phone", self.token))
        self.assertEqual(again.got(), [refused("3", "token error")])

    def test_logout_behind_messages(self) -> None:
        """What was sent before the logout is acknowledged first, though the disk was slow."""
        self.door.online(BOB)
        self.database.hold()
        self.ann.send(m("2", BOB), r("3", "logout"))
        self.database.release()
        self.assertEqual(self.ann.got(), [acknowledged("2"), done("3"), bye("revoked")])

    def test_behind_a_logout(self) -> None:
        """Nothing that comes behind a logout is taken."""
        bob = self.door.online(BOB)
        self.ann.send(r("2", "logout"), m("3", BOB))
        self.ann.send(m("4", BOB))
        self.assertEqual((self.ann.got(), bob.got()), ([done("2"), bye("revoked")], []))

    def test_a_logout_that_fails(self) -> None:
        """Where the token can't be revoked the logout is refused, and the connection goes on."""
        self.door.commit()
        self.database.writes_fail = True
        self.ann.send(r("2", "logout"), r("3", "ping"))
        self.assertEqual(self.ann.got(), [refused("2", "storage unavailable"), done("3")])
        self.assertFalse(self.ann.is_closed)


class BadFrameTests(ConversationTestCase):
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


class TooLargeTests(ConversationTestCase):
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


class OrderTests(ConversationTestCase):
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

    def test_more_than_may_wait_for_the_disk(self) -> None:
        """While too much waits for the disk nothing more is taken, nor read; then all of it is, in order."""
        self.ann.send(m("0", BOB))
        self.bob.ids()
        self.patch(inbox_module, "UNCOMMITTED_BYTES", 300)
        self.database.hold()
        self.ann.send(m("first", BOB))
        self.ann.send(*(m(str(number), BOB) for number in range(1, 9)))
        some = self.bob.ids()
        self.assertLess(len(some), 9)
        self.assertFalse(self.ann.transport.is_read)
        self.database.release()
        self.assertEqual(some + self.bob.ids(), ["first", *map(str, range(1, 9))])
        self.assertTrue(self.ann.transport.is_read)


class FailureTests(ConversationTestCase):
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
        self.patch(self.door.inbox, "append", None)
        self.addCleanup(lambda: self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1))
        client.send(m("2", BOB))


class DupTests(ConversationTestCase):
    """`dup = true`: sent again because no answer was seen."""

    AGAIN = "dup = true\n"

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.door.online(ANN), self.door.online(BOB)

    def again(self, client: Client, id_: str = "1") -> list[Entry]:
        client.send(m(id_, BOB, more=self.AGAIN))
        return client.got()

    def test_stored(self) -> None:
        """What is stored is acknowledged again and not delivered again."""
        self.ann.send(m("1", BOB))
        self.assertEqual(self.ann.got(), [acknowledged("1")])
        self.assertEqual(self.again(self.ann), [acknowledged("1")])
        self.assertEqual(self.bob.ids(), ["1"])

    def test_not_stored(self) -> None:
        """What never came is taken as new, and says `dup` to its recipients."""
        self.assertEqual(self.again(self.ann), [acknowledged("1")])
        ((_, keys),) = self.bob.got()
        self.assertEqual((keys["id"], keys["dup"]), ("1", True))

    def test_not_yet_on_disk(self) -> None:
        """What a commit holds that is under way is acknowledged with it."""
        self.ann.send(m("0", BOB))
        self.database.hold()
        self.ann.send(m("1", BOB))
        self.ann.got()
        self.assertEqual(self.again(self.ann), [])
        self.database.release()
        self.assertEqual(self.ann.got(), [acknowledged("1"), acknowledged("1")])
        self.assertEqual(self.bob.ids(), ["0", "1"])

    def test_from_the_next_connection(self) -> None:
        """A new connection of the device has the answer that the old one did not get."""
        self.ann.send(m("0", BOB))
        token = self.door.token(ANN, "phone")
        self.database.hold()
        self.ann.send(m("1", BOB))
        again = self.door.connect()
        again.send(login("login", ANN, "phone", token), m("1", BOB, more=self.AGAIN))
        self.database.release()
        self.assertEqual(again.got(), [done("login"), acknowledged("1")])
        self.assertEqual(self.bob.ids(), ["0", "1"])

    def test_acknowledged_by_all(self) -> None:
        """It is remembered after every recipient has acknowledged it."""
        self.ann.send(m("1", BOB))
        self.ann.got()
        self.bob.send(a("1"))
        self.door.commit()
        self.assertEqual(self.again(self.ann), [acknowledged("1")])
        self.assertEqual(self.bob.ids(), ["1"])

    def test_refused_before(self) -> None:
        """What could not be stored is new."""
        self.database.writes_fail = True
        self.ann.send(m("1", BOB))
        self.database.writes_fail = False
        self.ann.got()
        self.door.clock.advance(1)
        self.assertEqual(self.again(self.ann), [acknowledged("1")])
        self.assertEqual(self.door.waiting_for(BOB, "phone"), ["1"])

    def test_another_device(self) -> None:
        """Ids are a device's own: another device's message with the same id is another message."""
        self.ann.send(m("1", BOB))
        pad = self.door.online(ANN, "pad")
        self.assertEqual(self.again(pad), [acknowledged("1")])
        self.assertEqual(self.bob.ids(), ["1", "1"])

    def test_without_dup(self) -> None:
        """The same id without `dup` is a new message."""
        self.ann.send(m("1", BOB))
        self.ann.send(m("1", BOB))
        self.assertEqual(self.bob.ids(), ["1", "1"])

    def test_twice_in_a_record(self) -> None:
        """Both are answered, and it is delivered once."""
        self.ann.send(m("1", BOB, more=self.AGAIN), m("1", BOB, more=self.AGAIN))
        self.assertEqual(self.ann.got(), [acknowledged("1"), acknowledged("1")])
        self.assertEqual(self.bob.ids(), ["1"])

    def test_to_nobody(self) -> None:
        """It is refused like any other."""
        self.ann.send(m("1", NOBODY, more=self.AGAIN))
        self.assertEqual(self.ann.got(), [refused("1", "no such user")])

    def test_false(self) -> None:
        """`dup = false` says nothing."""
        self.ann.send(m("1", BOB))
        self.ann.send(m("1", BOB, more="dup = false\n"))
        self.assertEqual(self.bob.ids(), ["1", "1"])


class CompactTests(ConversationTestCase):
    """A client of the original: entries on one line, one TLS record each."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.door.online(BOB)
        self.token = self.door.token(ANN, "phone")
        self.ann = self.door.connect()
        self.ann.send(f'[[r]] id = "1" t = "login" [r.user] id = {ANN} d = "phone" token = "{self.token}"')

    def m(self, id_: str, more: str = "") -> str:
        return f'[[m]] id = "{id_}" t = "text" c = "hello" to = {BOB} d = "phone"{more}'

    def test_login(self) -> None:
        """A record without a line end is a frame, and is answered in TOML."""
        self.assertEqual(self.ann.got(), [done("1")])

    def test_a_message(self) -> None:
        """It reaches its recipient as TOML."""
        self.ann.send(self.m("2"))
        self.assertEqual(self.bob.ids(), ["2"])

    def test_each_record_begins_with_an_entry(self) -> None:
        """What the server writes comes in records of whole entries."""
        self.door.messages(ANN, 1, 100, 1000)
        self.ann.send(r("2", "ping"))
        for record in self.ann.raw():
            self.assertTrue(record.startswith(b"[["))
            self.assertTrue(record.endswith(b"\n\n"))
            self.assertLessEqual(len(record), 16_384)

    def test_acks_of_the_servers_acks(self) -> None:
        """An ack whose id is that of an `[[a]]` just sent takes that one, and not another sender's entry."""
        self.ann.send(self.m("7"))
        self.bob.send(m("7", ANN))
        self.assertEqual(self.ann.got(), [done("1"), acknowledged("7"), ("m", self.from_bob("7"))])
        self.ann.send('[[a]] id = "7" d = "phone"')
        self.assertEqual(self.unacknowledged(), ["7"])

    def from_bob(self, id_: str) -> dict[str, object]:
        seq = (1 << 32) + 2
        return {"id": id_, "t": "text", "c": "hello", "to": ANN, "d": "phone", "from": BOB, "ts": 0, "seq": seq}

    def test_the_second_ack(self) -> None:
        """The next ack with that id takes the entry."""
        self.ann.send(self.m("7"))
        self.bob.send(m("7", ANN))
        self.ann.send('[[a]] id = "7"')
        self.ann.send('[[a]] id = "7"')
        self.assertEqual(self.unacknowledged(), [])

    def unacknowledged(self) -> list[str]:
        self.door.commit()
        return self.door.waiting_for(ANN, "phone")

    def test_only_the_latest_are_remembered(self) -> None:
        """A client that acknowledges none of the server's acks costs no more than a bounded memory."""
        for number in range(RECENT_ACKS + 1):
            self.ann.send(self.m(str(number)))
        self.bob.send(m("0", ANN))
        self.ann.send('[[a]] id = "0"')
        self.assertEqual(self.unacknowledged(), [])

    def test_only_on_a_compact_connection(self) -> None:
        """A client that speaks TOML acknowledges entries only."""
        cat = self.door.online(3)
        cat.send(m("7", BOB))
        self.bob.send(m("7", 3))
        cat.send(a("7"))
        self.door.commit()
        self.assertEqual(self.door.waiting_for(3, "phone"), [])

    def test_what_it_cannot_read(self) -> None:
        """No `dup`, no escaped quote: the recipient's dialect decides what is written."""
        self.ann.got()
        self.bob.send(m("8", ANN, r"a \"quoted\" word", "dup = true\n"))
        (data,) = self.ann.raw()
        self.assertNotIn(b"dup", data)
        self.assertNotIn(b'\\"', data)

    def test_bad_ones(self) -> None:
        """A record that is no frame even so is answered, and the connection goes on."""
        self.ann.got()
        self.ann.send("[[m]] id = 3 t = = 4\n\n")
        ((table, keys),) = self.ann.got()
        self.assertEqual((table, keys["s"]), ("rr", 1))
        self.ann.send('[[r]] id = "9" t = "ping"')
        self.assertEqual(self.ann.got(), [done("9")])
