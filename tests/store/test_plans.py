"""How SQLite goes about the statements that everybody waits for: by an index, however much there is."""

from __future__ import annotations

import sqlite3
from typing import Any

from simple_im.store import accounts, contacts, groups, inbox_sql, retention, tokens
from simple_im.store.batch import AckedRange, DeviceRow
from simple_im.store.database import Cursor
from simple_im.store.entries import Entry
from simple_im.store.outgoing import Notice
from simple_im.store.tokens import Session
from tests.store.stepped import SteppedCase

TABLES = {"user", "device", "acked", "run", "message", "inbox", "token", "outgoing", "a", "d", "i", "r", "t"}
TABLES |= {"contact", "pre_contact", "group", "member", "c", "u", "m"}
"""The tables, and what the statements call them; what they take out of a row's JSON is a virtual table."""


class Explained:
    """A connection's cursor that notes the plan of each statement before it runs it."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.plans: list[str] = []

    def execute(self, sql: str, parameters: Any = ()) -> None:
        for *_, step in self._cursor.execute(f"EXPLAIN QUERY PLAN {sql}", parameters):
            self.plans.append(step)
        self._cursor.execute(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class PlanTests(SteppedCase):
    def setUp(self) -> None:
        super().setUp()
        self.device(2)
        self.explained = Explained(self.database.cursor())
        self.cursor = Cursor(self.explained)

    def assert_by_index(self, *tables: str) -> None:
        """Each of these tables was searched, and none was gone through from end to end."""
        scans = [step for step in self.explained.plans if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
        scans = [step for step in scans if step.split()[1] in TABLES]
        self.assertEqual(scans, [])
        searched = {step.split()[1] for step in self.explained.plans if step.startswith("SEARCH")}
        self.assertLessEqual(set(tables), searched)

    def test_read_page(self) -> None:
        """A page, in order without sorting."""
        inbox_sql.read_page(self.cursor, 2, "phone", 0, 10, 100)
        self.assert_by_index("i", "r", "a")
        self.assertNotIn("USE TEMP B-TREE FOR ORDER BY", self.explained.plans)

    def test_find(self) -> None:
        """What an acknowledgement by id names."""
        inbox_sql.find_unacknowledged(self.cursor, 2, "phone", 0, 10, b"a")
        self.assert_by_index("i", "r", "a")

    def test_find_message(self) -> None:
        """A message that comes again."""
        inbox_sql.find_message(self.cursor, 2, "phone", b"a")
        self.assert_by_index("message")

    def test_devices(self) -> None:
        """A device, and one that becomes known."""
        inbox_sql.open_device(self.cursor, 2, "phone")
        inbox_sql.add_device(self.cursor, 2, "new", 0, 32)
        self.assert_by_index("device", "user", "inbox", "i", "r", "a", "d", "acked")

    def test_write_batch(self) -> None:
        """A commit, with one row of each kind and with many."""
        for count in (1, 300):
            entries = [Entry(count + n, 0, 1, "phone", b"a", (2,), b"a\n\n") for n in range(count)]
            rows = [DeviceRow(1, 1, 1, 1, "[]", True, 2, "phone")] * count
            acked = [AckedRange(2, "phone", 0, 9)] * count
            inbox_sql.write_batch(self.cursor, entries, [(1,)] * count, acked, rows)
            self.assert_by_index("i", "inbox", "r", "device", "a", "acked", "outgoing")

    def test_retention(self) -> None:
        """What expires, and who is forgotten."""
        entries = [Entry(n, 0, 1, "phone", b"a", (2,), b"a\n\n") for n in range(1, 300)]
        inbox_sql.write_batch(self.cursor, entries, [], [], [])
        retention._purge(self.cursor, 1)
        retention._forget(self.cursor, 1)
        self.assert_by_index("run", "r", "message", "inbox", "device", "acked", "d", "a", "token")

    def test_tokens(self) -> None:
        """A token's use, and those that have expired."""
        tokens._insert(self.cursor, b"hash", 2, "phone", 0, None)
        tokens._claim(self.cursor, b"hash", 2, "phone", 0)
        tokens._prolong(self.cursor, [b"hash", b"other"] * 200, 0)
        tokens._purge(self.cursor, 10)
        self.assert_by_index("token", "t", "device")

    def test_contacts(self) -> None:
        """Asking, accepting, removing, what has changed and what was asked; a new name in all lists."""
        said = Notice(1, "phone", "n", {"to": 2})
        contacts._ask(self.cursor, said, 2, "hi", 0)
        contacts._requests(self.cursor, 2, 0)
        contacts._accept(self.cursor, Notice(2, "phone", "n", {"to": 1}), 1)
        contacts._changes(self.cursor, 2, 0)
        accounts._update(self.cursor, Session(1, "phone", b"hash"), accounts.Changes("Ann", None, "hash"), None)
        contacts._remove(self.cursor, said, 2)
        self.assert_by_index("user", "pre_contact", "contact", "c", "u", "token")

    def test_groups(self) -> None:
        """All that happens to a group, and who is in it for every message."""
        said = Notice(1, "phone", "gn", {})
        details, _ = groups._create(self.cursor, said, "group", [2], 0, 9)
        g_id = details.group.id
        groups._member_ids(self.cursor, g_id)
        groups._groups_of(self.cursor, 1)
        groups._add(self.cursor, said, g_id, 3, 9)
        groups._join(self.cursor, Notice(4, "phone", "gn", {}), g_id, details.g_key, 9)
        groups._remove(self.cursor, said, g_id, 3)
        groups._leave(self.cursor, said, g_id)
        groups._delete(self.cursor, Notice(2, "phone", "gn", {}), g_id)
        self.assert_by_index("group", "member", "g", "m", "u", "user")
