"""What clients say in ways of their own: messages sent again, entries on one line."""

from __future__ import annotations

from simple_im.limits import RECENT_ACKS
from tests.im.door import (
    ANN,
    BOB,
    NOBODY,
    Client,
    DoorTestCase,
    Entry,
    a,
    acknowledged,
    done,
    login,
    m,
    r,
    refused,
)


class DupTests(DoorTestCase):
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


class CompactTests(DoorTestCase):
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
