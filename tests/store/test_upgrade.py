"""A database of version 2, in which every message had a row of its own, opened by this simple_im."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simple_im.store import inbox_sql, retention
from simple_im.store.batch import AckedRange
from simple_im.store.database import Cursor, prepare
from simple_im.store.entries import Entry
from simple_im.store.sequence import SPAN_BITS, raise_epoch
from tests.store.earlier import Message, make_second

FIRST = (1 << SPAN_BITS) + 1
ODD = rb"\" \\ \u0000"
MESSAGES = [
    Message(FIRST + at, at, sender, device, id_, users, b'[[m]]\nid = "%b"\nseq = %d\n\n' % (id_, at))
    for at, (sender, device, id_, users) in enumerate(
        [
            (1, "phone", b"a", (2,)),
            (1, "phone", ODD, (2, 3)),
            (2, "phone", "é 漢 😀".encode(), (3, 2, 1)),
            (1, "phone", b"a\tb", ()),
            (3, 'a "pad"', b"a", (2,)),
            (1, "phone", b"a", (2, 3)),
        ]
    )
]
SEQS = [message.seq for message in MESSAGES]
PEOPLE = (
    "INSERT INTO user (id, phone, name, password, created) VALUES (1, '1', 'Ann', '', 0), (2, '2', 'Bob', '', 0),"
    " (3, '3', 'Cat', '', 0)",
    "INSERT INTO device (user, name, cursor, seen) VALUES"
    f" (2, 'phone', 0, 0), (2, 'pad', {SEQS[0]}, 0), (3, 'phone', 0, 0), (1, 'phone', 0, 0)",
    "INSERT INTO acked (user, device, seq) VALUES"
    f" (2, 'pad', {SEQS[1]}), (2, 'pad', {SEQS[4]}), (3, 'phone', {SEQS[5]})",
)
DEVICES = ((2, "phone"), (2, "pad"), (3, "phone"), (1, "phone"))
WAITING = ([0, 1, 4, 5], [2, 5], [1, 2], [2])
"""Of these devices, which messages they have not acknowledged; a device's own do not count."""


class UpgradeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        make_second(self.path, MESSAGES, *PEOPLE)
        self.epoch = prepare(self.path, raise_epoch)
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(self.connection.close)
        self.cursor = Cursor(self.connection.cursor())

    def page(self, user: int, device: str, limit: int = 100) -> list[Entry]:
        """What a device is sent."""
        record = inbox_sql.read_device(self.cursor, user, device)
        assert record is not None
        return inbox_sql.read_page(self.cursor, user, device, record.cursor, limit, 1 << 20)[0]

    def waiting(self) -> tuple[list[int], ...]:
        """As in `WAITING`, what can be read now."""
        return tuple([entry.seq - FIRST for entry in self.page(*device)] for device in DEVICES)

    def test_read(self) -> None:
        """Each device gets what it has not acknowledged, with nothing of it changed."""
        self.assertEqual(self.waiting(), WAITING)
        for user, device in DEVICES:
            for entry in self.page(user, device):
                found = Message(entry.seq, entry.ts, entry.sender, entry.device, entry.id, entry.users, entry.wire)
                self.assertEqual(found, MESSAGES[entry.seq - FIRST]._replace(users=(user,)))
        self.assertEqual([entry.seq for entry in self.page(2, "phone", limit=2)], SEQS[:2])

    def test_epoch(self) -> None:
        """The numbers go on above those of the messages there are."""
        self.assertEqual(self.epoch, 2)

    def test_known_again(self) -> None:
        """What comes again with `dup` is known by its sender, device and id, also what is in no inbox."""
        for message in MESSAGES:
            self.assertTrue(inbox_sql.find_message(self.cursor, message.sender, message.device, message.id))
            self.assertFalse(inbox_sql.find_message(self.cursor, 4, message.device, message.id))
            self.assertFalse(inbox_sql.find_message(self.cursor, message.sender, "other", message.id))
            self.assertFalse(inbox_sql.find_message(self.cursor, message.sender, message.device, message.id + b"x"))

    def test_found(self) -> None:
        """An acknowledgement by id finds what it is for."""
        for (user, device), waiting in zip(DEVICES, WAITING, strict=True):
            for id_ in {message.id for message in MESSAGES}:
                after = SEQS[0] if device == "pad" else 0
                found = inbox_sql.find_unacknowledged(self.cursor, user, device, after, SEQS[-1], id_)
                self.assertEqual(found, [SEQS[at] for at in waiting if MESSAGES[at].id == id_])

    def test_acknowledged(self) -> None:
        """Single acknowledgements and ranges take what they name."""
        acked = [AckedRange(2, "phone", SEQS[0], SEQS[4]), AckedRange(3, "phone", SEQS[1], SEQS[2])]
        inbox_sql.write_batch(self.cursor, [], [], acked, [])
        self.assertEqual(self.waiting(), ([0, 5], [2, 5], [1], [2]))

    def test_new_ones(self) -> None:
        """What is sent then stands behind what there was."""
        seq = self.epoch << SPAN_BITS
        entries = [Entry(seq + at, 9, 1, "phone", b"n%d" % at, (2, 3), b"n%d\n\n" % at) for at in range(1, 4)]
        inbox_sql.write_batch(self.cursor, entries, [], [], [])
        self.assertEqual([entry.id for entry in self.page(2, "pad")], [MESSAGES[2].id, b"a", b"n1", b"n2", b"n3"])

    def test_expires(self) -> None:
        """What goes past the retention is counted for those that had not read it, and nothing of it stays."""
        self.assertTrue(retention._purge(self.cursor, MESSAGES[4].ts))
        self.assertEqual(self.expired(), [2, 1, 2, 1])
        self.assertEqual(self.waiting(), ([4, 5], [5], [], []))
        while retention._purge(self.cursor, 1 << 40):
            pass
        self.assertEqual(self.expired(), [4, 2, 2, 1])
        for table in ("run", "message", "inbox", "acked"):
            self.assertEqual(self.connection.execute(f"SELECT * FROM {table}").fetchall(), [], table)

    def expired(self) -> list[int]:
        found = []
        for user, device in DEVICES:
            record = inbox_sql.read_device(self.cursor, user, device)
            assert record is not None
            found.append(record.expired)
        return found
