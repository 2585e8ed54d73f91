"""The login gate, and the other requests."""

from __future__ import annotations

from simple_im.status import StorageUnavailable
from tests.im.door import (
    ANN,
    BAD,
    BOB,
    DoorTestCase,
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


class FirstFrameTests(DoorTestCase):
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

    def test_wrong_in_itself(self) -> None:
        """A login that is wrong before its user is looked at says how."""
        self.assertEqual(self.answer('[[r]]\nt = "login"\n\n'), [refused(None, "id Required")])
        frame = '[[r]]\nid = "1"\nt = "login"\nuser = 3\n\n'
        self.assertEqual(self.answer(frame), [refused("1", "user must be a table")])

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


class ReplacedTests(DoorTestCase):
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


class ExpiredTests(DoorTestCase):
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


class RequestTests(DoorTestCase):
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

    def test_logout_beside_a_login(self) -> None:
        """A login with the same token that is under way does not outlive it."""
        self.door.commit()
        other = self.door.connect()
        self.database.hold()
        other.send(login("3", ANN, "phone", self.token))
        self.ann.send(r("2", "logout"))
        self.database.release()
        self.assertEqual(list(self.door.sessions), [])
        self.assertEqual((self.ann.is_closed, other.is_closed), (True, True))

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
