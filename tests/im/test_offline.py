"""A device that is shown its messages over HTTPS too."""

from __future__ import annotations

from simple_im.im import device as device_module
from simple_im.limits import WINDOW_ENTRIES
from tests.im.door import BOB, Client, a, a_seq, login
from tests.im.test_device import DeviceTestCase


class OfflineTests(DeviceTestCase):
    """`GET` and `DELETE /offline` beside the IM door."""

    def setUp(self) -> None:
        super().setUp()
        self.door.token(BOB, "phone")
        self.door.messages(BOB, 1, 3)

    def get(self, limit: int = 1000) -> list[str]:
        return self.door.get_offline(BOB, "phone", limit)

    def delete(self) -> None:
        self.door.delete_offline(BOB, "phone")

    def test_shown_is_left_out_once(self) -> None:
        """The login after a GET leaves out what it showed; the one after that does not."""
        self.assertEqual(self.get(), ["1", "2", "3"])
        bob = self.door.log_in(BOB)
        self.assertEqual(bob.ids(), [])
        self.assertEqual(self.again(bob).ids(), ["1", "2", "3"])

    def test_refused_and_acknowledged(self) -> None:
        """An acknowledgement by id takes what was shown and could not be stored, not a later message with that id."""
        self.get()
        bob = self.door.log_in(BOB)
        bob.got()
        self.door.database.writes_fail = True
        self.door.message(BOB, "x")
        self.door.database.writes_fail = False
        self.door.message(BOB, "x")
        self.assertEqual(bob.ids(), ["x", "x"])
        bob.send(a("x"))
        again = self.again(bob)
        self.assertEqual(again.ids(), ["1", "2", "3", "x"])
        again.send(a("x"))
        self.assertEqual(self.again(again).ids(), ["1", "2", "3"])

    def test_what_it_did_not_show_comes(self) -> None:
        """What a limit cut off, and what came later, is sent."""
        self.get(2)
        self.door.message(BOB, "4")
        bob = self.door.log_in(BOB)
        self.assertEqual(bob.ids(), ["3", "4"])

    def test_also_what_was_pushed_before(self) -> None:
        """A GET leaves out what an earlier connection was sent too."""
        self.door.log_in(BOB).lose()
        self.get()
        self.assertEqual(self.door.log_in(BOB).ids(), [])

    def test_shown_is_not_acknowledged_by_seq(self) -> None:
        """`seq` acknowledges what was sent on the IM door, and not what was only shown."""
        self.get(2)
        bob = self.door.log_in(BOB)
        (seq,) = bob.seqs()
        bob.send(a_seq(seq))
        self.assertEqual(self.again(bob).ids(), ["1", "2"])

    def test_shown_is_acknowledged_by_id(self) -> None:
        """An id takes an entry that was only shown."""
        self.get()
        bob = self.door.log_in(BOB)
        bob.send(a("2"))
        self.assertEqual(self.again(bob).ids(), ["1", "3"])

    def test_shown_on_a_living_connection(self) -> None:
        """The same where the connection was there before the GET and its transport was full."""
        bob = self.online_and_full()
        self.door.message(BOB, "4")
        self.assertEqual(self.get(), ["4"])
        bob.send(a("4"))
        bob.transport.drain()
        self.assertEqual(bob.ids(), [])
        self.assertEqual(self.again(bob).ids(), [])

    def online_and_full(self) -> Client:
        bob = self.door.log_in(BOB)
        bob.send(a_seq(bob.seqs()[-1]))
        bob.transport.fill()
        return bob

    def test_deleted(self) -> None:
        """What was shown and deleted is never sent again; what came later is."""
        self.get()
        self.door.message(BOB, "4")
        self.delete()
        self.assertEqual(self.door.log_in(BOB).ids(), ["4"])

    def test_deleted_while_connected(self) -> None:
        """It leaves the window of the living connection, and the connection goes on."""
        bob = self.door.log_in(BOB)
        self.get()
        self.delete()
        bob.got()
        self.door.message(BOB, "4")
        (seq,) = bob.seqs()
        bob.send(a_seq(seq))
        self.assertEqual(self.again(bob).ids(), [])

    def test_deleted_makes_room(self) -> None:
        """A window that was full of what was deleted takes more."""
        self.door.messages(BOB, 4, WINDOW_ENTRIES + 1)
        bob = self.door.log_in(BOB)
        self.assertEqual(len(bob.ids()), WINDOW_ENTRIES)
        self.get(WINDOW_ENTRIES)
        self.delete()
        self.assertEqual(bob.ids(), [str(WINDOW_ENTRIES + 1)])

    def test_deleted_without_a_get(self) -> None:
        """Nothing was shown, so nothing is forgotten."""
        self.delete()
        self.assertEqual(self.door.log_in(BOB).ids(), ["1", "2", "3"])

    def test_holes_between_what_was_sent(self) -> None:
        """Sent, shown, sent: a later `seq` acknowledges the first and the last, and the hole stays."""
        bob = self.door.log_in(BOB)
        bob.lose()
        self.door.message(BOB, "4")
        self.get()
        self.door.message(BOB, "5")
        bob = self.door.log_in(BOB)
        (seq,) = bob.seqs()
        bob.send(a_seq(seq))
        self.assertEqual(self.again(bob).ids(), ["4"])

    def test_a_hole_that_was_sent_after_all(self) -> None:
        """What was only shown and then sent at a later login is acknowledged by `seq`."""
        self.get()
        self.door.log_in(BOB).lose()
        bob = self.door.log_in(BOB)
        bob.send(a_seq(bob.seqs()[-1]))
        self.assertEqual(self.again(bob).ids(), [])

    def test_a_hole_that_an_earlier_connection_was_sent(self) -> None:
        """The same where the `seq` comes on the next connection, before that has been sent anything itself."""
        self.get()
        self.door.log_in(BOB).lose()
        bob = self.door.log_in(BOB)
        last = bob.seqs()[-1]
        bob.lose()
        bob = self.door.connect()
        bob.transport.fill()
        bob.send(login("1", BOB, "phone", self.door.token(BOB, "phone")))
        self.door.database.hold()
        bob.send(a_seq(last))
        self.door.database.release()
        self.assertEqual(self.again(bob).ids(), [])


class RoomTests(DeviceTestCase):
    """A window with room for what comes behind a message that has none."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(device_module, "WINDOW_BYTES", 1_000)
        self.bob = self.door.online(BOB)
        for id_, size in (("1", 400), ("2", 800), ("3", 100)):
            self.door.message(BOB, id_, size)
        self.assertEqual(self.bob.ids(), ["1"])
        self.assertEqual(self.door.get_offline(BOB, "phone"), ["1", "2", "3"])

    def test_by_id(self) -> None:
        """Where the one that did not fit is acknowledged, since a GET has shown it, the next is sent at once."""
        self.bob.send(a("2"))
        self.assertEqual(self.bob.ids(), ["3"])

    def test_by_delete(self) -> None:
        """A DELETE makes room for what comes later."""
        self.door.delete_offline(BOB, "phone")
        self.door.message(BOB, "4", 100)
        self.assertEqual(self.bob.ids(), ["4"])
