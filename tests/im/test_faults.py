"""Faults that were seen in the original server and in others like it, each with the test that keeps it out of here.

A docstring says the fault, then what is so here.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import CLOSE_GRACE, RECORD_SIZE, WINDOW_ENTRIES
from tests.im.door import ANN, BOB, CAT, Door, a, a_seq, acknowledged, bye, done, login, m, r, refused


class FaultTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = Door()
        self.database = self.door.database

    def known(self, *users: int) -> None:
        """Their existence is remembered, so that messages to them wait for no look-up."""
        client = self.door.online(CAT, "warm")
        for user in users:
            client.send(m("warm", user))
            self.door.commit()
            connection = self.door.online(user)
            connection.send(a("warm"))
            connection.lose()
        client.lose()


class OriginalFaultTests(FaultTestCase):
    def test_01_acknowledged_before_it_was_stored(self) -> None:
        """The acknowledgement came before anything was stored, and a crash lost the message: here it follows the
        commit, and with a failed commit there is none."""
        self.known(BOB)
        ann = self.door.online(ANN)
        self.database.hold()
        ann.send(m("1", BOB))
        self.assertEqual(ann.got(), [])
        self.database.writes_fail = True
        self.database.release()
        self.assertEqual(ann.got(), [refused("1", "storage unavailable")])

    def test_01_on_disk_when_acknowledged(self) -> None:
        """The same: what the database has at the moment of the acknowledgement has the message."""
        ann = self.door.online(ANN)
        ann.send(m("1", BOB))
        self.assertEqual(ann.got(), [acknowledged("1")])
        rows = self.database._connection.execute("SELECT ids, users FROM run")
        self.assertEqual(rows.fetchall(), [('["1"]', f"[{BOB}]")])

    def test_02_two_senders_with_the_same_id(self) -> None:
        """An entry's key had no sender in it, and the second sender's message overwrote the first's: here both come,
        and each acknowledgement takes one."""
        self.door.online(ANN).send(m("a_02", BOB, "from ann"))
        self.door.online(CAT).send(m("a_02", BOB, "from cat"))
        bob = self.door.log_in(BOB)
        self.assertEqual([keys["c"] for table, keys in bob.got() if table == "m"], ["from ann", "from cat"])
        bob.send(a("a_02"))
        self.door.commit()
        self.assertEqual(self.door.waiting_for(BOB, "phone"), ["a_02"])

    def test_04_everything_twice(self) -> None:
        """What was cached on time-out and again at the end was delivered twice: here a message that waited, was
        pushed and not acknowledged comes once on each connection."""
        ann = self.door.online(ANN)
        self.door.token(BOB, "phone")
        ann.send(m("1", BOB))
        for _ in range(3):
            bob = self.door.log_in(BOB)
            self.assertEqual(bob.ids(), ["1"])
            self.door.clock.advance(600)
            self.assertEqual(bob.ids(), [])
            bob.lose()

    def test_05_the_first_message_to_a_dead_connection(self) -> None:
        """The first message to a connection that had died was lost though acknowledged, the next crashed its user's
        process: here all of them come at the next login, whether the server knew of the end or not."""
        ann, dead = self.door.online(ANN), self.door.online(BOB)
        dead.transport.block()
        ann.send(m("1", BOB))
        dead.lose()
        ann.send(m("2", BOB))
        self.assertEqual(ann.got(), [acknowledged("1"), acknowledged("2")])
        self.assertEqual(self.door.log_in(BOB).ids(), ["1", "2"])

    def test_06_a_frame_in_two_parts(self) -> None:
        """Each TLS record was parsed as a document, and half a frame crashed its sender's process: here a frame may
        come in any parts."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        for byte in m("1", BOB).encode() + m("2", BOB).encode().replace(b"\n", b"\r\n"):
            ann.send(bytes([byte]))
        self.assertEqual(ann.got(), [acknowledged("1"), acknowledged("2")])
        self.assertEqual(bob.ids(), ["1", "2"])

    def test_06_a_compact_frame_in_two_records(self) -> None:
        """The same for a client whose frames end with their record: a full record does not end one."""
        bob, token = self.door.online(BOB), self.door.token(ANN, "phone")
        ann = self.door.connect()
        ann.send(f'[[r]] id = "1" t = "login" [r.user] id = {ANN} d = "phone" token = "{token}"')
        frame = f'[[m]] id = "2" t = "text" to = {BOB} c = "{"x" * RECORD_SIZE}"'
        ann.send(frame[:RECORD_SIZE])
        self.assertEqual(bob.got(), [])
        ann.send(frame[RECORD_SIZE:])
        self.assertEqual(bob.ids(), ["2"])

    def test_07_several_frames_in_a_record(self) -> None:
        """Several frames in one record were handled last first: here in the order in which they stand."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        ann.send(*(m(str(number), BOB) for number in range(9)))
        self.assertEqual(bob.ids(), [str(number) for number in range(9)])

    def test_07_several_entries_in_a_frame(self) -> None:
        """The same within a frame, whatever the tables are."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        n = f'[[n]]\nid = "{{}}"\nt = "x"\nto = {BOB}\n'
        ann.send((m("0", BOB) + n.format(1) + m("2", BOB) + n.format(3)).replace("\n\n", "\n") + "\n")
        self.assertEqual([keys["id"] for _, keys in bob.got()], ["0", "1", "2", "3"])

    def test_08_what_crashed_the_users_process(self) -> None:
        """An ack with an unknown or missing device, a blank line, a boolean or a negative number took all the user's
        devices down and deleted their tokens: here the connection goes on, and nobody else notices."""
        ann, pad = self.door.online(ANN, "phone"), self.door.online(ANN, "pad")
        for frame in (
            '[[a]]\nid = "1"\nd = "nobody\'s"\n\n',
            '[[a]]\nid = "1"\n\n',
            "\n\n\n",
            "\r\n\r\n",
            '[[a]]\nid = "1"\nread = true\n\n',
            "[[a]]\nseq = -1\n\n",
        ):
            ann.send(frame, r("0", "ping"))
            self.assertEqual((ann.got(), ann.is_closed), ([done("0")], False), frame)
        ann.send(m("1", BOB, more="urgent = true\ndegrees = -4\n"))
        self.assertEqual((ann.got(), pad.ids()), ([acknowledged("1")], ["1"]))

    def test_09_groups(self) -> None:
        """Group messages were taken from people who are not members: here from nobody, as long as there are none."""
        ann = self.door.online(ANN)
        ann.send('[[gm]]\nid = "1"\nt = "text"\nc = "hello"\ng_id = 1\n\n')
        self.assertEqual(ann.got(), [refused("1", "no such group")])

    def test_10_injection(self) -> None:
        """Clients' ids were pasted between quotes: here an id with quotes, lines and brackets comes back as itself, in
        the sender's answer and at the recipient, and stands for itself when it is acknowledged."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        written = r"1\"\n\n[[bye]]\nr = \"x\"\n\n\\"
        meant = '1"\n\n[[bye]]\nr = "x"\n\n\\'
        ann.send(m(written, BOB))
        self.assertEqual(ann.got(), [acknowledged(meant)])
        self.assertEqual(bob.ids(), [meant])
        bob.send(a(written))
        self.door.commit()
        self.assertEqual(self.door.waiting_for(BOB, "phone"), [])

    def test_10_injection_by_what_is_not_understood(self) -> None:
        """The same where the id is quoted in a refusal, or read from what is no TOML."""
        ann = self.door.online(ANN)
        ann.send('[[r]]\nid = "1\\"\\nr = 3"\nt = "dance"\n\n')
        self.assertEqual(ann.got(), [refused('1"\nr = 3', "t must be login, ping or logout")])
        ann.send("[[m]]\nid = '1\"' = \n\n")
        ((table, keys),) = ann.got()
        self.assertEqual((table, keys["s"]), ("rr", 1))

    def test_13_one_devices_ack(self) -> None:
        """One device's ack removed the message for all: here each device acknowledges for itself."""
        phone, pad = self.door.online(BOB, "phone"), self.door.online(BOB, "pad")
        self.door.online(ANN).send(m("1", BOB))
        phone.send(a("1"))
        self.door.commit()
        phone.lose()
        pad.lose()
        self.assertEqual(self.door.waiting_for(BOB, "phone"), [])
        self.assertEqual(self.door.waiting_for(BOB, "pad"), ["1"])

    def test_14_the_same_token_again(self) -> None:
        """Logging in again with the same token failed, since the check that makes it last failed the second time: here
        a token is good for every login until it is revoked."""
        token = self.door.token(ANN, "phone")
        for _ in range(3):
            self.door.clock.advance(90)
            client = self.door.connect()
            client.send(login("1", ANN, "phone", token))
            self.assertEqual(client.got(), [done("1")])
            client.lose()

    def test_15_a_notification_from_nobody_connected(self) -> None:
        """A notification from a user without a session stopped all later ones: here its sender may be gone before it is
        stored, and those behind it come."""
        self.known(BOB)
        ann, cat, bob = self.door.online(ANN), self.door.online(CAT), self.door.online(BOB)
        n = f'[[n]]\nid = "{{}}"\nt = "x"\nto = {BOB}\n\n'
        self.database.hold()
        ann.send(n.format(1))
        ann.lose()
        cat.send(n.format(2))
        self.database.release()
        self.assertEqual([keys["id"] for _, keys in bob.got()], ["1", "2"])
        self.assertEqual(cat.got(), [acknowledged("2")])

    def test_16_bad_logins(self) -> None:
        """Ten bad logins within five seconds ended the listener: here the next good one is let in."""
        for _ in range(30):
            client = self.door.connect()
            client.send(login("1", ANN, "phone", "x"))
            self.assertEqual(client.got(), [refused("1", "token error")])
        self.assertEqual(self.door.log_in(ANN).got(), [done("login")])


class PeersFaultTests(FaultTestCase):
    def test_a_dead_peer_that_the_server_believes_in(self) -> None:
        """ejabberd lost what it had sent to a peer that was gone: here an entry is the device's until the device itself
        has acknowledged it, however often it was written to a connection."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        bob.transport.block()
        ann.send(*(m(str(number), BOB) for number in range(3)))
        self.assertEqual(ann.got(), [acknowledged(str(number)) for number in range(3)])
        self.assertEqual(self.door.log_in(BOB).ids(), ["0", "1", "2"])
        self.door.clock.advance(CLOSE_GRACE)
        self.assertEqual((bob.got()[-1], bob.transport.aborted), (bye("replaced"), 1))

    def test_delivery_mechanisms_that_overlap(self) -> None:
        """MongooseIM and ejabberd doubled messages where several ways of delivery met: here a login, a push while its
        page is read, a GET and a replaced connection bring each message once."""
        ann, old = self.door.online(ANN), self.door.online(BOB)
        ann.send(m("1", BOB))
        self.assertEqual(old.ids(), ["1"])
        token = self.door.token(BOB, "phone")
        self.database.hold()
        new = self.door.connect()
        new.send(login("1", BOB, "phone", token))
        for number in range(2, 9):
            ann.send(m(str(number), BOB))
            self.database.answer()
        self.database.release()
        ids = new.ids()
        self.assertEqual(ids, [str(number) for number in range(1, 9)])
        self.assertEqual(self.door.get_offline(BOB, "phone"), ids)
        self.assertEqual(new.ids(), [])

    def test_catching_up_by_clock(self) -> None:
        """Mattermost caught up by time and left gaps: here messages of one second, and of a clock that goes back, come
        in their order, across several windows."""
        self.door.token(BOB, "phone")
        ids = []
        for number in range(2 * WINDOW_ENTRIES + 10):
            ids.append(str(number))
            self.door.clock.rightNow = 1000.0 - number // 100
            self.door.message(BOB, str(number))
        bob = self.door.log_in(BOB)
        came: list[str] = []
        while (page := bob.got()) and (messages := [keys for table, keys in page if table == "m"]):
            came += [keys["id"] for keys in messages]
            bob.send(a_seq(messages[-1]["seq"]))
        self.assertEqual(came, ids)

    def test_a_queue_that_discards_without_a_word(self) -> None:
        """ejabberd's full offline queue threw messages away silently: here one that can't be stored is refused to its
        sender, and one that was acknowledged is there."""
        self.known(BOB)
        ann = self.door.online(ANN)
        ann.send(m("1", BOB))
        self.database.writes_fail = True
        ann.send(m("2", BOB))
        self.database.writes_fail = False
        self.door.clock.advance(2)
        self.assertEqual(ann.got(), [acknowledged("1"), refused("2", "storage unavailable")])
        self.assertEqual(self.door.waiting_for(BOB, "phone"), ["1"])
