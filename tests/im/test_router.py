"""Who gets what."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from simple_im.im.router import Router
from simple_im.status import StorageUnavailable
from simple_im.store.entries import Draft
from simple_im.store.groups import Groups
from simple_im.store.outgoing import Notice, Outgoing
from tests.fakes import result_of
from tests.im import test_scenarios as scenarios
from tests.im.door import ANN, BOB, CAT, NOBODY, Door, a, a_seq, acknowledged, done, m, r, refused


def gm(id_: str, g_id: int, table: str = "gm", more: str = "") -> str:
    """A message to a group, with lines of `more`."""
    return f'[[{table}]]\nid = "{id_}"\nt = "text"\nc = "hello"\ng_id = {g_id}\n{more}\n'


class RouterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = Door()

    def own_inbox(self, user: int) -> int:
        """How many entries there are in a user's inbox."""
        count = "SELECT count(*) FROM run JOIN json_each(users) AS u ON u.value = ?"
        return int(self.door.database._connection.execute(count, (user,)).fetchone()[0])

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

    def test_no_group(self) -> None:
        """Where there is no group that is said, whatever the kind of message."""
        ann = self.door.online(ANN)
        for table in ("gm", "gn"):
            ann.send(gm("1", 1, table))
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


class GroupTests(SynchronousTestCase):
    """A group of Ann and Bob, which the router does not know yet; Cat is not in it."""

    def setUp(self) -> None:
        self.door = Door()
        groups = Groups(self.door.database, 9)
        details, _ = result_of(groups.create(Notice(ANN, "phone", "gn", {}), "group", [BOB], 0))
        self.g_id = details.group.id

    def test_every_member(self) -> None:
        """Members' devices get it, the sender's others included; the sending one does not, nor who is no member."""
        phone, pad = self.door.online(ANN, "phone"), self.door.online(ANN, "pad")
        bob, cat = self.door.online(BOB), self.door.online(CAT)
        for table in ("gm", "gn"):
            phone.send(gm("1", self.g_id, table))
            self.assertEqual(phone.got(), [acknowledged("1")])
            for client in (pad, bob):
                ((got, keys),) = client.got()
                self.assertEqual((got, keys["g_id"], keys["from"], keys["d"]), (table, self.g_id, ANN, "phone"))
        self.assertEqual(cat.got(), [])

    def test_not_a_member(self) -> None:
        """Who is no member is refused, before a look-up and after."""
        cat = self.door.online(CAT)
        for id_ in ("1", "2"):
            cat.send(gm(id_, self.g_id))
            self.assertEqual(cat.got(), [refused(id_, "not a member")])

    def test_a_known_group_is_not_looked_up_again(self) -> None:
        """The database is asked once who is in a group."""
        ann = self.door.online(ANN)
        ann.send(gm("1", self.g_id))
        before = self.door.database.reads
        ann.send(gm("2", self.g_id))
        self.assertEqual((ann.got(), self.door.database.reads), ([acknowledged("1"), acknowledged("2")], before))

    def test_order_during_a_look_up(self) -> None:
        """What comes behind a message to a group that has to be looked up stays behind it; also behind one that has to
        be looked up too, as it comes again."""
        for more in ("", "dup = true\n"):
            self.setUp()
            ann, bob = self.door.online(ANN), self.door.online(BOB)
            ann.send(m("0", BOB))
            bob.got()
            self.door.database.hold()
            ann.send(gm("1", self.g_id, more=more), m("2", BOB))
            self.assertEqual(bob.got(), [])
            self.door.database.answer()
            self.door.database.release()
            self.assertEqual([keys["id"] for _, keys in bob.got()], ["1", "2"])

    def test_dup(self) -> None:
        """A message to a group that comes again is acknowledged and delivered once, also right behind the first."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        ann.send(gm("1", self.g_id), *[gm("1", self.g_id, more="dup = true\n")] * 2)
        self.assertEqual(ann.got(), [acknowledged("1")] * 3)
        self.assertEqual(len(bob.got()), 1)

    def test_dup_of_one_who_has_left(self) -> None:
        """What a member has sent is acknowledged again when they are none any more; what is new is refused."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        ann.send(gm("1", self.g_id))
        groups = Groups(self.door.database, 9)
        result_of(groups.leave(Notice(ANN, "phone", "gn", {}), self.g_id))
        self.door.node.router = Router(self.door.accounts, groups, self.door.inbox)
        ann.send(gm("1", self.g_id, more="dup = true\n"), gm("2", self.g_id, more="dup = true\n"))
        self.assertEqual(ann.got(), [acknowledged("1"), acknowledged("1"), refused("2", "not a member")])
        self.assertEqual(len(bob.got()), 1)

    def test_storage_during_a_look_up(self) -> None:
        """Where the members can't be looked up that is said, and the next try is a look-up again."""
        ann = self.door.online(ANN)
        self.door.database.fails_with = StorageUnavailable()
        ann.send(gm("1", self.g_id))
        self.assertEqual(ann.got(), [refused("1", "storage unavailable")])
        self.door.database.fails_with = None
        ann.send(gm("1", self.g_id))
        self.assertEqual(ann.got(), [acknowledged("1")])


class GroupServer(scenarios.Server):
    """The server of scenarios, with groups. Two more steps: what a device does over HTTPS."""

    def start(self) -> None:
        """Begin, with the groups that the router looks at."""
        super().start()
        groups = self._node.router._groups
        assert isinstance(groups, Groups)
        self._groups, self._outgoing = groups, Outgoing(self.database, self._inbox, self._clock)

    def _notice(self, step: scenarios.Step) -> Notice:
        return Notice(*self._device(step.who), "gn", {})

    async def makes_a_group_of_all(self, step: scenarios.Step) -> None:
        """Group 1, of this user's."""
        _, notice = await self._groups.create(self._notice(step), "all", [1, 2, 3], 0)
        await self._send_notice(notice)

    async def leaves_the_group(self, step: scenarios.Step) -> None:
        """Group 1."""
        await self._send_notice(await self._groups.leave(self._notice(step), 1))

    async def _send_notice(self, notice: Draft) -> None:
        """Return when connected devices have it: they are written to when all who wait for a commit have been told."""
        await self._outgoing.send(notice)
        await self.database.read(scenarios._nothing)


class GroupScenarioTests(TestCase):
    """The conversations in `tests/scenarios/groups`."""

    timeout = 30

    async def play(self, name: str) -> None:
        """A scenario with a `GroupServer`."""
        player = scenarios.ScenarioTests("play")
        directory = Path(self.mktemp())
        directory.mkdir()
        player.server, player.unread = GroupServer(directory / "simple_im.db"), {}
        player.server.start()
        try:
            await player.server.make_users()
            await player.play(scenarios.SCENARIOS / "groups" / f"{name}.txt")
        finally:
            await player.server.stop()

    async def test_a_conversation(self) -> None:
        """A group's messages are for all its members; a device that is not there gets them later, in order, once."""
        await self.play("a_group_conversation_with_an_absent_device")

    async def test_a_former_member(self) -> None:
        """Who has left a group can't write to it, and gets nothing of it any more."""
        await self.play("a_former_member_is_refused")

    def test_all_files_are_played(self) -> None:
        """There is no other file."""
        names = {path.stem for path in (scenarios.SCENARIOS / "groups").iterdir()}
        self.assertEqual(names, {"a_group_conversation_with_an_absent_device", "a_former_member_is_refused"})
