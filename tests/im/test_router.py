"""Who gets what."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.im.door import ANN, BOB, NOBODY, Door, a, a_seq, acknowledged, done, m, r, refused


class RouterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = Door()

    def own_inbox(self, user: int) -> int:
        """How many entries there are in a user's inbox."""
        rows = self.door.database._connection.execute("SELECT count(*) FROM inbox WHERE user = ?", (user,))
        return int(rows.fetchone()[0])

    def test_every_device_of_the_addressee(self) -> None:
        """All connected devices of the addressee get it, and the sending device does not."""
        ann, phone, pad = self.door.online(ANN), self.door.online(BOB, "phone"), self.door.online(BOB, "pad")
        ann.send(m("1", BOB))
        self.assertEqual((phone.ids(), pad.ids()), (["1"], ["1"]))
        self.assertEqual(ann.got(), [acknowledged("1")])

    def test_the_senders_other_devices(self) -> None:
        """They get it too, from the user itself, with the device that sent it."""
        phone, pad = self.door.online(ANN, "phone"), self.door.online(ANN, "pad")
        phone.send(m("1", BOB))
        ((table, keys),) = pad.got()
        self.assertEqual((table, keys["from"], keys["to"], keys["d"]), ("m", ANN, BOB, "phone"))

    def test_the_senders_absent_devices(self) -> None:
        """A known device that is not connected gets it later."""
        phone = self.door.online(ANN, "phone")
        self.door.token(ANN, "pad")
        phone.send(m("1", BOB))
        self.assertEqual(self.door.waiting_for(ANN, "pad"), ["1"])
        self.assertEqual(self.door.waiting_for(ANN, "phone"), [])

    def test_to_oneself(self) -> None:
        """A message to oneself is one entry, for the other devices only."""
        phone, pad = self.door.online(ANN, "phone"), self.door.online(ANN, "pad")
        phone.send(m("1", ANN))
        self.assertEqual((phone.got(), pad.ids()), ([acknowledged("1")], ["1"]))
        self.assertEqual(self.own_inbox(ANN), 1)

    def test_to_oneself_alone(self) -> None:
        """With no other device it is acknowledged and goes nowhere."""
        ann = self.door.online(ANN)
        ann.send(m("1", ANN))
        self.assertEqual(ann.got(), [acknowledged("1")])
        self.assertEqual(self.door.waiting_for(ANN, "phone"), [])

    def test_alone_and_caught_up(self) -> None:
        """Where the sender's only device has acknowledged everything, its own inbox is left out."""
        ann = self.door.online(ANN)
        ann.send(m("1", BOB))
        self.assertEqual((self.own_inbox(ANN), self.own_inbox(BOB)), (0, 1))

    def test_alone_and_not_caught_up(self) -> None:
        """A device of later, which begins behind what was acknowledged, would miss it: the own inbox gets it."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        bob.send(m("1", ANN))
        ann.send(m("2", BOB))
        self.assertEqual(self.door.log_in(ANN, "pad").ids(), ["1", "2"])

    def test_caught_up_again(self) -> None:
        """An acknowledgement brings it back to where its own inbox is left out."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        bob.send(m("1", ANN))
        ann.send(a("1"), m("2", BOB))
        self.assertEqual(self.own_inbox(ANN), 1)
        self.assertEqual(self.door.log_in(ANN, "pad").ids(), [])

    def test_a_device_that_has_just_become_known(self) -> None:
        """It gets what is sent from then on, though it was not known when the sender logged in."""
        ann = self.door.online(ANN, "phone")
        self.door.token(ANN, "pad")
        ann.send(m("1", BOB))
        self.assertEqual(self.own_inbox(ANN), 1)

    def test_unknown_user(self) -> None:
        """Who is not there gets `no such user`, also where the number can be no user's."""
        ann = self.door.online(ANN)
        for user in (NOBODY, 0, -1, 2**63 - 1):
            ann.send(m("1", user))
            self.assertEqual(ann.got(), [refused("1", "no such user")])

    def test_a_known_user_is_not_looked_up_again(self) -> None:
        """The database is asked once whether a user exists."""
        ann = self.door.online(ANN)
        ann.send(m("1", BOB))
        self.door.database.hold()
        ann.send(m("2", BOB), r("3", "ping"))
        self.assertEqual(ann.got(), [acknowledged("1"), done("3")])

    def test_groups(self) -> None:
        """There are no groups yet: `no such group`, whatever the kind of message."""
        ann = self.door.online(ANN)
        for table in ("gm", "gn"):
            ann.send(f'[[{table}]]\nid = "1"\nt = "text"\nc = "hello"\ng_id = 1\n\n')
            self.assertEqual(ann.got(), [refused("1", "no such group")])

    def test_notifications(self) -> None:
        """`n` goes the way of `m`, with the app's own keys."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        ann.send(f'[[n]]\nid = "1"\nt = "typing"\nto = {BOB}\nwhere = "here"\n\n')
        ((table, keys),) = bob.got()
        self.assertEqual((table, keys["where"], keys["from"]), ("n", "here", ANN))
        self.assertEqual(ann.got(), [acknowledged("1")])

    def test_order_is_that_of_sending(self) -> None:
        """`seq` grows in the order in which messages were sent, whoever sent them."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        bob.send(m("1", BOB))
        for number in range(2, 6):
            ann.send(m(str(number), BOB))
        seqs = bob.seqs()
        self.assertEqual(seqs, sorted(seqs))
        bob.send(a_seq(seqs[-1]))
        self.assertEqual(self.door.waiting_for(BOB, "phone"), [])
