"""Messages that share a row: how they are put into rows, and that nobody who reads, acknowledges or waits can tell."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain, pairwise, zip_longest
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simple_im.store import inbox_sql, retention
from simple_im.store.batch import AckedRange
from simple_im.store.committer import LAZY_COMMIT
from simple_im.store.database import Cursor
from simple_im.store.entries import Entry
from simple_im.store.runs import _MOST, _SIZE, Run, entries_of, runs_of
from tests.store.fakes import PHONE, draft, ids_of, seqs_of
from tests.store.stepped import SteppedCase

USERS = ((), (2,), (2, 3), (3, 2), (7, 1 << 40))
SENDERS = (1, 2)
DEVICES = ("", "phone", 'a "pad"', "é")
IDS = st.one_of(
    st.sampled_from(["a", "0", " ", "x" * 128, "é 漢 😀", "\u2028", "a\tb", "'", "a,b", "[", r"\"", r"\\", r"\u0000"]),
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"\\'), min_size=1, max_size=20),
)
"""As they stand between quotes on the wire, where a control character is only a tab."""
LINES = st.lists(st.sampled_from(["[[m]]", 'c = "hello"', "from = 1", "é", "x" * 200, "\t"]), min_size=1, max_size=5)
SIZES = st.sampled_from([0, 0, 0, 100, 255, 256, 257, 5_000, _SIZE - 1, _SIZE, 70_000])

settled = settings(
    max_examples=200,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors, HealthCheck.data_too_large],
)


@st.composite
def batches(draw: Any) -> list[Entry]:
    """Entries in `seq` order: streaks of one sender, some longer and larger than a row may be, with gaps or none."""
    entries: list[Entry] = []
    seq, users, sender, device, ts = 1, USERS[1], SENDERS[0], DEVICES[0], 0
    for _ in range(draw(st.integers(0, 6))):
        seq += draw(st.sampled_from([0, 0, 0, 1, 1 << 32]))
        match draw(st.integers(0, 4)):
            case 0:
                users = draw(st.sampled_from(USERS))
            case 1:
                sender = draw(st.sampled_from(SENDERS))
            case 2:
                device = draw(st.sampled_from(DEVICES))
            case 3:
                ts = draw(st.integers(0, 2))
        ids = draw(st.lists(IDS, min_size=1, max_size=5))
        body = "\n".join(draw(LINES)).encode() + b"x" * draw(SIZES) + b"\n\n"
        for at in range(draw(st.sampled_from([1, 2, 5, _MOST - 1, _MOST, _MOST + 1, 300]))):
            wire = b"%d %b" % (at, body)
            entries.append(Entry(seq, ts, sender, device, ids[at % len(ids)].encode(), users, wire))
            seq += 1
    return entries


def taken_by_rows(entries: list[Entry]) -> Iterator[tuple[Run, list[Entry]]]:
    """Each row with those that should be in it, by how many it says there are."""
    at = 0
    for run in runs_of(entries):
        count = run.seq - run.first + 1
        yield run, entries[at : at + count]
        at += count


def key(entry: Entry) -> tuple[object, ...]:
    """What those in a row have in common."""
    return entry.sender, entry.device, entry.users, entry.ts


def may_follow(last: Entry, entry: Entry) -> bool:
    return key(last) == key(entry) and entry.seq == last.seq + 1


def size_of(entries: list[Entry]) -> int:
    return sum(len(entry.wire) for entry in entries)


def plain(entry: Entry) -> tuple[object, ...]:
    """An entry without its users, to be compared."""
    return entry.seq, entry.ts, entry.sender, entry.device, entry.id, entry.wire


class RowTests(SynchronousTestCase):
    def assert_same(self, found: Iterable[object], wanted: Iterable[object]) -> None:
        """`assertEqual`, which for minutes looks for the least difference of long lists, for these."""
        for one, other in zip_longest(found, wanted):
            self.assertTrue(one == other, (one, other))

    @settled
    @given(batches())
    def test_same_again(self, entries: list[Entry]) -> None:
        """What is put into rows comes out of them as it was, in the inbox of who reads it."""
        found = list(chain.from_iterable(entries_of(run, 5) for run in runs_of(entries)))
        self.assert_same(map(plain, found), map(plain, entries))
        self.assertLessEqual({entry.users for entry in found}, {(5,)})
        self.assertLessEqual({type(entry.wire) for entry in found}, {bytes})

    @settled
    @given(batches())
    def test_who_shares(self, entries: list[Entry]) -> None:
        """Those in a row follow one another, and are one device's, of one time, for the same people."""
        for run, inside in taken_by_rows(entries):
            self.assertEqual((run.first, run.seq), (inside[0].seq, inside[-1].seq))
            for last, entry in pairwise(inside):
                self.assertTrue(may_follow(last, entry), (last, entry))

    @settled
    @given(batches())
    def test_limits(self, entries: list[Entry]) -> None:
        """A row takes as many as it may, and no more: none after it is full by number or by size."""
        rows = [inside for _, inside in taken_by_rows(entries)]
        for inside in rows:
            self.assertLessEqual(len(inside), _MOST)
            self.assertTrue(len(inside) == 1 or size_of(inside[:-1]) < _SIZE)
        for inside, behind in pairwise(rows):
            full = len(inside) == _MOST or size_of(inside) >= _SIZE
            self.assertTrue(full or not may_follow(inside[-1], behind[0]))

    def test_full_by_size(self) -> None:
        """A row goes on until it has reached its size, and not behind it."""
        for size, rows in ((_SIZE - 1, 1), (_SIZE, 2)):
            entries = [Entry(1 + at, 0, 1, PHONE, b"a", (2,), wire) for at, wire in enumerate((b"x" * size, b"y\n\n"))]
            self.assertEqual(len([*runs_of(entries)]), rows)

    def test_each_difference(self) -> None:
        """Whatever it is that two entries differ in, they are two rows; with the same they are one."""
        first = Entry(1, 0, 1, PHONE, b"a", (2, 3), b"x\n\n")
        same: dict[str, Any] = {"seq": 2, "ts": 0, "sender": 1, "device": PHONE, "users": (2, 3)}
        same |= {"id": b"b", "wire": b"y\n\n"}
        self.assertEqual(len([*runs_of([first, Entry(**same)])]), 1)
        for change in ({"seq": 3}, {"ts": 1}, {"sender": 2}, {"device": "pad"}, {"users": (2,)}, {"users": (2, 3, 4)}):
            self.assertEqual(len([*runs_of([first, Entry(**{**same, **change})])]), 2, change)

    @settled
    @given(batches())
    def test_in_sql(self, entries: list[Entry]) -> None:
        """SQLite takes the same ids and users out of a row, in their order."""
        with closing(sqlite3.connect(":memory:")) as connection:
            for run, inside in taken_by_rows(entries):
                ids = connection.execute("SELECT key, value FROM json_each(?)", (run.ids,)).fetchall()
                self.assert_same(ids, [(at, entry.id.decode()) for at, entry in enumerate(inside)])
                users = connection.execute("SELECT value FROM json_each(?)", (run.users,)).fetchall()
                self.assertEqual(users, [(user,) for user in inside[0].users])
                self.assertEqual(json.loads(run.users), [*inside[0].users])


class SharedCase(SteppedCase):
    """An inbox with rows of several messages."""

    def store(self, *ids: bytes, users: tuple[int, ...] = (2, 3)) -> list[int]:
        """Messages that share a row; their places."""
        rows = self.count("run")
        sender = self.append(*(draft(id_, *users) for id_ in ids))
        self.done(self.inbox.flush())
        self.clock.advance(LAZY_COMMIT)
        self.database.settle()
        self.assertEqual((sender.stored_ids, self.count("run")), ([*ids], rows + 1))
        return seqs_of(self.outlet.entries)[-len(ids) :]

    def count(self, table: str) -> int:
        return int(self.database.rows(f"SELECT count(*) FROM {table}")[0][0])

    def cursor(self) -> Cursor:
        """That of a database in which all is indexed."""
        cursor = Cursor(self.database.cursor())
        inbox_sql.index(cursor)
        return cursor

    def acknowledge(self, user: int, device: str, *seqs: int) -> None:
        """Singly, on disk."""
        acked = [AckedRange(user, device, seq - 1, seq) for seq in seqs]
        inbox_sql.write_batch(self.cursor(), [], [], acked, [])


class ReadingTests(SharedCase):
    def setUp(self) -> None:
        super().setUp()
        self.state = self.device(2)
        self.seqs = self.store(*(b"%d" % number for number in range(6)))
        self.store(b"own", users=(3,))
        self.seqs += self.store(*(b"%d" % number for number in range(6, 10)))

    def read(self, after: int, limit: int = 100, max_bytes: int = 1 << 20) -> tuple[list[Entry], bool]:
        page = self.done(self.inbox.read(self.state, after, limit, max_bytes))
        return list(page.entries), page.last

    def pages(self, limit: int, max_bytes: int) -> list[list[Entry]]:
        """All, page by page; the last one says that it is."""
        after, last, pages = 0, False, []
        while not last:
            entries, last = self.read(after, limit, max_bytes)
            self.assertGreater(entries[0].seq, after)
            after = entries[-1].seq
            pages.append(entries)
        return pages

    def test_stored(self) -> None:
        """They are two rows, in two inboxes, with an id each."""
        rows = [(self.seqs[0], self.seqs[5]), (self.seqs[6], self.seqs[9])]
        self.assertEqual(self.database.rows("SELECT first, seq FROM run WHERE first < seq"), rows)
        self.assertEqual(self.database.rows("SELECT seq FROM inbox WHERE user = 2"), [(seq,) for _, seq in rows])
        ids = self.database.rows("SELECT id, seq FROM message WHERE id != 'own' ORDER BY seq")
        self.assertEqual(ids, [(f"{at}", seq) for at, seq in enumerate(self.seqs)])

    def test_any_place(self) -> None:
        """A reader can begin in the middle of a row, and gets what went out."""
        out = {entry.seq: entry.wire for entry in self.outlet.entries}
        for after in range(self.seqs[0] - 1, self.seqs[-1] + 1):
            entries, last = self.read(after)
            self.assertEqual((seqs_of(entries), last), ([seq for seq in self.seqs if seq > after], True))
            self.assertEqual([entry.wire for entry in entries], [out[entry.seq] for entry in entries])

    def test_limited_by_count(self) -> None:
        """A page may end anywhere in a row, and the next goes on there."""
        for limit in range(1, 12):
            pages = self.pages(limit, 1 << 20)
            self.assertEqual([seq for page in pages for seq in seqs_of(page)], self.seqs)
            self.assertEqual({len(page) for page in pages[:-1]} or {limit}, {limit})
            self.assertEqual(len(pages), -(-len(self.seqs) // limit))

    def test_limited_by_bytes(self) -> None:
        """The same where it is full by its size."""
        size = len(self.read(0)[0][0].wire)
        for max_bytes in (0, 1, *(count * size + more for count in range(1, 11) for more in (-1, 0, 1))):
            pages, each = self.pages(100, max_bytes), max(1, max_bytes // size)
            self.assertEqual([seq for page in pages for seq in seqs_of(page)], self.seqs)
            self.assertEqual({len(page) for page in pages[:-1]} or {each}, {each})

    def test_acknowledged_left_out(self) -> None:
        """What is acknowledged of a row takes no room in a page."""
        self.acknowledge(2, PHONE, self.seqs[0], self.seqs[2], self.seqs[3], self.seqs[9])
        pages = [seqs_of(page) for page in self.pages(2, 1 << 20)]
        left = [self.seqs[at] for at in (1, 4, 5, 6, 7, 8)]
        self.assertEqual(pages, [left[:2], left[2:4], left[4:]])


class AcknowledgingTests(SharedCase):
    def setUp(self) -> None:
        """User 4 has as many devices as a row of five messages can be acknowledged in parts."""
        super().setUp()
        self.names = [f"{number}" for number in range(32)]
        for name in self.names:
            self.device(4, name)
        self.earlier = self.store(b"z", users=(4,))
        self.seqs = self.store(*(b"%d" % number for number in range(5)), users=(4, 2))
        for number, name in enumerate(self.names):
            self.acknowledge(4, name, *self.earlier, *self.part(number))

    def part(self, number: int) -> list[int]:
        """One of the parts that the row has."""
        return [seq for at, seq in enumerate(self.seqs) if number >> at & 1]

    def test_singly(self) -> None:
        """Whatever part of a row a device has acknowledged, it is sent the others, and no other device is."""
        for number, name in enumerate(self.names):
            left = [seq for seq in self.seqs if seq not in self.part(number)]
            entries, last = inbox_sql.read_page(self.cursor(), 4, name, 0, 100, 1 << 20)
            self.assertEqual((seqs_of(entries), last), (left, True))

    def test_place(self) -> None:
        """A device has come to right below the first in the row that it has not acknowledged."""
        for number, name in enumerate(self.names):
            left = [seq for seq in self.seqs if seq not in self.part(number)]
            place = left[0] - 1 if left else self.seqs[-1]
            self.assertEqual(inbox_sql.device_place(self.cursor(), 4, name), place)

    def test_place_above_cursor(self) -> None:
        """Also where its cursor is within the row."""
        self.database.rows("UPDATE device SET cursor = ?", self.seqs[1])
        for number, name in enumerate(self.names):
            left = [seq for seq in self.seqs[2:] if seq not in self.part(number)]
            place = left[0] - 1 if left else self.seqs[-1]
            self.assertEqual(inbox_sql.device_place(self.cursor(), 4, name), place)

    def test_own_place(self) -> None:
        """A device that sent the row has nothing in it to read."""
        self.device(1)
        seqs = self.store(b"a", b"b", b"c", users=(1,))
        self.assertEqual(inbox_sql.device_place(self.cursor(), 1, PHONE), seqs[-1])

    def test_ranges(self) -> None:
        """A range takes what is in it and in the user's inbox, wherever in a row it begins and ends."""
        self.store(b"x", b"y", users=(2,))
        own = [*self.earlier, *self.seqs, *self.store(b"a", b"b", b"c", users=(4,))]
        self.store(b"v", users=(2,))
        reach = range(own[0] - 2, own[-1] + 3)
        for after in reach:
            for to in range(after, reach.stop):
                self.database.rows("DELETE FROM acked")
                inbox_sql.write_batch(self.cursor(), [], [], [AckedRange(4, "0", after, to)], [])
                acked = self.database.rows("SELECT user, device, seq FROM acked ORDER BY seq")
                self.assertEqual(acked, [(4, "0", seq) for seq in own if after < seq <= to], (after, to))

    def test_ranges_together(self) -> None:
        """Several ranges in one commit, in one row and of several devices, take what each says."""
        self.database.rows("DELETE FROM acked")
        first, last = AckedRange(4, "1", self.seqs[0] - 1, self.seqs[1]), AckedRange(4, "1", self.seqs[3], self.seqs[4])
        other, again = AckedRange(4, "2", self.seqs[1], self.seqs[3]), AckedRange(4, "2", self.seqs[2], self.seqs[4])
        inbox_sql.write_batch(self.cursor(), [], [], [first, last, other, again], [])
        for name, at in (("0", ()), ("1", (0, 1, 4)), ("2", (2, 3, 4))):
            acked = self.database.rows("SELECT seq FROM acked WHERE device = ? ORDER BY seq", name)
            self.assertEqual(acked, [(self.seqs[each],) for each in at])


class FindingTests(SharedCase):
    def setUp(self) -> None:
        super().setUp()
        self.state = self.device(2)

    def test_within_rows(self) -> None:
        """An id is found wherever in a row it stands, as often as it stands there, within the limits."""
        ids = [b"a", b"b", b"a", b"a", b"c", b"a", b"a", b"b"]
        seqs = self.store(*ids[:5])
        self.store(b"a", b"a", users=(3,))
        seqs += self.store(*ids[5:])
        acked = {seqs[2], seqs[6]}
        self.acknowledge(2, PHONE, *acked)
        reach = range(seqs[0] - 1, seqs[-1] + 2)
        for after in reach:
            for to in range(after, reach.stop):
                for id_ in (b"a", b"b", b"c", b"d"):
                    found = inbox_sql.find_unacknowledged(self.cursor(), 2, PHONE, after, to, id_)
                    named = [seq for seq, each in zip(seqs, ids, strict=True) if each == id_ and seq not in acked]
                    self.assertEqual(found, [seq for seq in named if after < seq <= to], (after, to, id_))

    def test_many_alike(self) -> None:
        """Where a row has more of an id than are looked at together, the next look goes on within it."""
        seqs = self.store(*[b"a"] * 100)
        self.state.sent = seqs[-1]
        for seq in seqs[:90]:
            self.inbox.acknowledge_range(self.state, seq - 1, seq)
        found = inbox_sql.find_unacknowledged(self.cursor(), 2, PHONE, seqs[63], seqs[-1], b"a")
        self.assertEqual(found, seqs[64:])
        self.assertEqual(self.done(self.inbox.find(self.state, b"a")), seqs[90])

    def test_own(self) -> None:
        """What a device sent itself is not found."""
        self.device(1)
        seqs = self.store(b"a", b"b", users=(1, 2))
        self.assertEqual(inbox_sql.find_unacknowledged(self.cursor(), 1, PHONE, 0, seqs[-1], b"b"), [])
        self.assertEqual(inbox_sql.find_unacknowledged(self.cursor(), 1, "pad", 0, seqs[-1], b"b"), [seqs[1]])

    def test_known_again(self) -> None:
        """Each message in a row is known by its id, its sender and its device, and no other."""
        ids = [b"a", rb"\"", rb"\\u0000", "é 😀".encode(), b"a\tb", b"z"]
        self.store(*ids)
        for id_ in ids:
            self.assertTrue(inbox_sql.find_message(self.cursor(), 1, PHONE, id_))
            self.assertFalse(inbox_sql.find_message(self.cursor(), 1, "pad", id_))
            self.assertFalse(inbox_sql.find_message(self.cursor(), 2, PHONE, id_))
        self.assertFalse(inbox_sql.find_message(self.cursor(), 1, PHONE, b"b"))


class ExpiringTests(SharedCase):
    TABLES = ("run", "message", "inbox", "acked")

    def expired(self, user: int, name: str) -> int:
        return int(self.database.rows("SELECT expired FROM device WHERE user = ? AND name = ?", user, name)[0][0])

    def purge(self, before: int) -> int:
        """How many slices went."""
        calls = 0
        while self.done(retention.purge_entries(self.database, before)):
            calls += 1
        return calls

    def test_counted(self) -> None:
        """Whatever a device has acknowledged of a row, up to its cursor and singly above it, the others are counted."""
        parts = [(cursor, acked) for cursor in range(5) for acked in range(1 << (4 - cursor))]
        for number in range(len(parts)):
            self.device(4, f"{number}")
        seqs = self.store(b"a", b"b", b"c", b"d", users=(2, 4))
        wanted = []
        for number, (at, part) in enumerate(parts):
            above = [seq for bit, seq in enumerate(seqs[at:]) if part >> bit & 1]
            self.database.rows("UPDATE device SET cursor = ? WHERE name = ?", seqs[0] + at - 1, f"{number}")
            self.acknowledge(4, f"{number}", *above)
            wanted.append(len(seqs) - at - len(above))
        self.purge(1)
        self.assertEqual([self.expired(4, f"{number}") for number in range(len(parts))], wanted)
        self.assertEqual([self.count(table) for table in self.TABLES], [0] * 4)

    def test_several_rows(self) -> None:
        """Rows that go together are added up; a device that had come past all of them is told of none."""
        for name in ("new", "half", "done"):
            self.device(2, name)
        seqs = self.store(b"a", b"b", b"c") + self.store(b"d", b"e") + self.store(b"f", b"g", b"h", users=(2,))
        self.database.rows("UPDATE device SET cursor = ? WHERE name = 'half'", seqs[3])
        self.database.rows("UPDATE device SET cursor = ? WHERE name = 'done'", seqs[-1])
        self.acknowledge(2, "half", seqs[5], seqs[7])
        self.assertEqual(self.purge(1), 1)
        self.assertEqual([self.expired(2, name) for name in ("new", "half", "done")], [8, 2, 0])

    def test_own(self) -> None:
        """The device that sent them has read them all; the user's others have not."""
        self.device(1), self.device(1, "pad")
        self.store(b"a", b"b", b"c", users=(1, 2))
        self.purge(1)
        self.assertEqual([self.expired(1, PHONE), self.expired(1, "pad")], [0, 3])

    def test_others_stay(self) -> None:
        """Of rows that are not past it everything stays: ids, inboxes and what was acknowledged of them."""
        state = self.device(2)
        old = self.store(b"a", b"b", b"c")
        self.clock.advance(10)
        new = self.store(b"a", b"b", b"c")
        self.acknowledge(2, PHONE, old[0], old[2], new[0], new[2])
        self.purge(10)
        self.assertEqual(self.database.rows("SELECT seq FROM acked ORDER BY seq"), [(new[0],), (new[2],)])
        self.assertEqual(self.database.rows("SELECT id, seq FROM message"), [*zip("abc", new, strict=True)])
        self.assertEqual(self.database.rows("SELECT user, seq FROM inbox"), [(2, new[2]), (3, new[2])])
        self.assertEqual(ids_of(self.waiting(state)), [b"b"])
        self.assertEqual(self.expired(2, PHONE), 1)

    def test_odd_ids(self) -> None:
        """Ids of any characters go with their row, and then are new."""
        ids = [rb"\"", rb"\\u0000", "é 😀".encode(), b"a\tb"]
        self.store(*ids, users=())
        self.purge(1)
        self.assertEqual([self.count(table) for table in self.TABLES], [0] * 4)
        self.assertFalse(any(inbox_sql.find_message(self.cursor(), 1, PHONE, id_) for id_ in ids))

    def test_slices(self) -> None:
        """A slice is as large as its messages are many."""
        self.patch(retention, "_SLICE", 10)
        for _ in range(8):
            self.store(b"a", b"b", b"c", b"d", b"e", users=(2,))
        self.assertEqual(self.purge(1), 4)
