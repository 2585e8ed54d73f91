"""Who is connected."""

from __future__ import annotations

from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from simple_im.im.device import Device
from simple_im.im.outbox import Turn
from simple_im.im.sessions import Sessions
from simple_im.limits import RECENT_REVOCATIONS
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Entry
from simple_im.store.tokens import Session

ANN, BOB = 1, 2


class Receiver:
    """A device that keeps what it is pushed."""

    def __init__(self, user: int, name: str) -> None:
        self.state = DeviceState(user, name)
        self.pushed: list[Entry] = []

    def push(self, entry: Entry) -> None:
        self.pushed.append(entry)


class SignedIn:
    """A signed-in connection."""

    token_hash = b"hash"

    def __init__(self, user: int, name: str) -> None:
        self.reasons: list[str] = []
        self.receiver = Receiver(user, name)
        self.device = cast(Device, self.receiver)

    def bye(self, reason: str) -> None:
        self.reasons.append(reason)


def entry(*users: int) -> Entry:
    return Entry(1, 0, 9, "phone", b"1", users, b"")


class SessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turn = Turn()
        self.sessions = Sessions(self.turn)

    def sign_in(self, user: int, name: str, names: list[str] | None = None) -> SignedIn:
        connection = SignedIn(user, name)
        self.sessions.add(connection, names or [name])
        return connection

    def test_delivered_to_every_device_of_every_user(self) -> None:
        """An entry goes to each connected device of each of its users, and to nobody else."""
        phone, pad = self.sign_in(ANN, "phone"), self.sign_in(ANN, "pad")
        bob, other = self.sign_in(BOB, "phone"), self.sign_in(3, "phone")
        sent = entry(ANN, BOB)
        self.sessions.deliver([sent])
        for connection in (phone, pad, bob):
            self.assertEqual(connection.receiver.pushed, [sent])
        self.assertEqual(other.receiver.pushed, [])

    def test_several(self) -> None:
        """Several entries go each to its own users, in their order."""
        ann, bob = self.sign_in(ANN, "phone"), self.sign_in(BOB, "phone")
        first, second, third = entry(ANN), entry(BOB, ANN), entry(BOB)
        self.sessions.deliver(iter([first, second, third]))
        self.assertEqual(ann.receiver.pushed, [first, second])
        self.assertEqual(bob.receiver.pushed, [second, third])
        self.sessions.deliver([])

    def test_nobody_connected(self) -> None:
        """An entry for people who are not connected goes nowhere."""
        bob = self.sign_in(BOB, "phone")
        self.sessions.deliver([entry(ANN)])
        self.assertEqual(bob.receiver.pushed, [])

    def test_found_by_device(self) -> None:
        """A connection is found by its user and device."""
        phone = self.sign_in(ANN, "phone")
        self.assertIs(self.sessions.find(ANN, "phone"), phone)
        self.assertIsNone(self.sessions.find(ANN, "pad"))
        self.assertIsNone(self.sessions.find(BOB, "phone"))

    def test_removed(self) -> None:
        """A removed connection gets nothing and is not found."""
        phone, pad = self.sign_in(ANN, "phone"), self.sign_in(ANN, "pad")
        self.sessions.remove(phone)
        self.sessions.deliver([entry(ANN)])
        self.assertEqual((phone.receiver.pushed, len(pad.receiver.pushed)), ([], 1))
        self.assertIsNone(self.sessions.find(ANN, "phone"))

    def test_removed_twice(self) -> None:
        """Removing what is not there does nothing."""
        phone = self.sign_in(ANN, "phone")
        self.sessions.remove(phone)
        self.sessions.remove(phone)
        self.assertEqual(list(self.sessions), [])

    def test_the_one_before_leaves_its_successor(self) -> None:
        """A connection that was replaced does not take the new one with it."""
        old = self.sign_in(ANN, "phone")
        new = self.sign_in(ANN, "phone")
        self.sessions.remove(old)
        self.assertIs(self.sessions.find(ANN, "phone"), new)

    def test_a_user_without_connections_is_forgotten(self) -> None:
        """Who comes back begins with the names that are known then."""
        self.sessions.remove(self.sign_in(ANN, "phone", ["phone", "pad"]))
        self.sessions.add_name(ANN, "watch")
        presence = self.sessions.add(SignedIn(ANN, "phone"), ["phone"])
        self.assertEqual(presence.names, {"phone"})

    def test_names_of_a_connected_user(self) -> None:
        """A device that becomes known is known to its user's connections at once."""
        presence = self.sessions.add(SignedIn(ANN, "phone"), ["phone", "pad"])
        self.sessions.add_name(ANN, "watch")
        self.assertEqual(presence.names, {"phone", "pad", "watch"})

    def test_all_of_them(self) -> None:
        """Every connection is named once, also when they end meanwhile."""
        connections = {self.sign_in(ANN, "phone"), self.sign_in(ANN, "pad"), self.sign_in(BOB, "phone")}
        found = set()
        for connection in self.sessions:
            self.sessions.remove(connection)
            found.add(connection)
        self.assertEqual(found, connections)

    def test_revoked(self) -> None:
        """A revoked token's connection ends, and only that one."""
        phone, pad = self.sign_in(ANN, "phone"), self.sign_in(ANN, "pad")
        self.sessions.revoke(Session(ANN, "phone", b"another"))
        self.assertEqual(phone.reasons, [])
        self.sessions.revoke(Session(ANN, "phone", b"hash"))
        self.assertEqual((phone.reasons, pad.reasons), (["revoked"], []))

    def test_revoked_while_signing_in(self) -> None:
        """A token that is revoked while a login with it is under way is remembered for that login; not for ever."""
        self.sessions.revoke(Session(ANN, "phone", b"hash"))
        self.assertTrue(self.sessions.was_revoked(b"hash"))
        for number in range(RECENT_REVOCATIONS):
            self.sessions.revoke(Session(ANN, "phone", b"%d" % number))
        self.assertFalse(self.sessions.was_revoked(b"hash"))
