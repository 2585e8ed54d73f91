"""The SQL of the inbox: each function is one interaction, or a part of one, on the database's thread."""

from __future__ import annotations

from typing import Final, NamedTuple

from simple_im.store.batch import AckedRange, DeviceRow
from simple_im.store.database import Cursor
from simple_im.store.entries import Entry

_FEW: Final = 64
_ADD_ENTRIES: Final = "INSERT INTO entry (seq, ts, sender, device, id, users, wire) VALUES :rows"
_ADD_TO_INBOXES: Final = "INSERT INTO inbox (user, seq) VALUES :rows"
_REMOVE_OUTGOING: Final = "WITH sent (id) AS (VALUES :rows) DELETE FROM outgoing WHERE id IN (SELECT id FROM sent)"
_ACKNOWLEDGE: Final = """
    WITH reach (user, device, after, upto) AS (VALUES :rows)
    INSERT OR IGNORE INTO acked SELECT r.user, r.device, i.seq
    FROM reach AS r CROSS JOIN inbox AS i ON i.user = r.user AND i.seq > r.after AND i.seq <= r.upto
"""
_WRITE_DEVICES: Final = """
    WITH new (cursor, sent, shown, offered, holes, user, name) AS (VALUES :rows)
    UPDATE device SET cursor = new.cursor, sent = new.sent, shown = new.shown, offered = new.offered, holes = new.holes
    FROM new WHERE device.user = new.user AND device.name = new.name
"""
_FORGET_PASSED: Final = """
    WITH passed (user, device, cursor) AS (VALUES :rows)
    DELETE FROM acked WHERE rowid IN (
        SELECT a.rowid FROM passed AS p
        CROSS JOIN acked AS a ON a.user = p.user AND a.device = p.device AND a.seq <= p.cursor
    )
"""
"""What a device acknowledged singly is not needed once its cursor is past it."""
_UNACKNOWLEDGED: Final = """
    FROM inbox AS i JOIN entry AS e ON e.seq = i.seq
    WHERE i.user = :user AND i.seq > :after
      AND NOT (e.sender = :user AND e.device = :device)
      AND NOT EXISTS (SELECT 1 FROM acked AS a WHERE a.user = :user AND a.device = :device AND a.seq = i.seq)
"""
"""What waits for a device above a place: not acknowledged, and not sent by itself."""


class DeviceRecord(NamedTuple):
    """A device as it is stored, with the highest seq that it acknowledged singly."""

    cursor: int
    sent: int
    shown: int
    offered: int
    holes: str
    scattered: int
    expired: int


def write_batch(
    cursor: Cursor,
    entries: list[Entry],
    outgoing: list[tuple[int]],
    acked: list[AckedRange],
    devices: list[DeviceRow],
) -> None:
    """One commit: a handful of statements whatever the batch's size."""
    cursor.many(_ADD_ENTRIES, list(map(_entry_row, entries)))
    cursor.many(_ADD_TO_INBOXES, [(user, entry.seq) for entry in entries for user in entry.users])
    cursor.many(_REMOVE_OUTGOING, outgoing)
    cursor.many(_ACKNOWLEDGE, acked)
    cursor.many(
        _WRITE_DEVICES,
        [(row.cursor, row.sent, row.shown, row.offered, row.holes, row.user, row.device) for row in devices],
    )
    cursor.many(_FORGET_PASSED, [(row.user, row.device, row.cursor) for row in devices if row.scattered])


def _entry_row(entry: Entry) -> tuple[object, ...]:
    """As the table has it, which makes a single user a text. Python's sqlite3 takes a bytearray as it is, and looks for
    adapters for bytes."""
    users = entry.users[0] if len(entry.users) == 1 else " ".join(map(str, entry.users))
    return entry.seq, entry.ts, entry.sender, entry.device, bytearray(entry.id), users, bytearray(entry.wire)


def read_page(
    cursor: Cursor, user: int, device: str, after: int, limit: int, max_bytes: int
) -> tuple[list[Entry], bool]:
    """What waits for a device after a place, at least one entry, and whether that was all."""
    cursor.execute(
        f"SELECT e.seq, e.ts, e.sender, e.device, e.id, e.wire {_UNACKNOWLEDGED} ORDER BY i.seq LIMIT :limit",
        {"user": user, "device": device, "after": after, "limit": limit + 1},
    )
    entries: list[Entry] = []
    size = 0
    for seq, ts, sender, sending_device, id_, wire in cursor:
        size += len(wire)
        if entries and (len(entries) >= limit or size > max_bytes):
            return entries, False
        entries.append(Entry(seq, ts, sender, sending_device, id_, (user,), wire))
    return entries, True


def find_unacknowledged(cursor: Cursor, user: int, device: str, after: int, to: int, id_: bytes) -> list[int]:
    """The oldest few entries with this id that a device has not acknowledged, in (after, to]."""
    cursor.execute(
        f"SELECT i.seq {_UNACKNOWLEDGED} AND i.seq <= :to AND e.id = :id ORDER BY i.seq LIMIT {_FEW}",
        {"user": user, "device": device, "after": after, "to": to, "id": id_},
    )
    return [seq for (seq,) in cursor]


def find_message(cursor: Cursor, sender: int, device: str, id_: bytes) -> bool:
    """Whether this device's message with this id is stored."""
    cursor.execute("SELECT 1 FROM entry WHERE sender = ? AND device = ? AND id = ? LIMIT 1", (sender, device, id_))
    return cursor.one() is not None


def read_device(cursor: Cursor, user: int, device: str) -> DeviceRecord | None:
    """A device's row, or None where it is not known."""
    cursor.execute(
        "SELECT cursor, sent, shown, offered, holes,"
        " coalesce((SELECT max(seq) FROM acked WHERE user = d.user AND device = d.name), 0), expired"
        " FROM device AS d WHERE user = ? AND name = ?",
        (user, device),
    )
    row = cursor.one()
    return None if row is None else DeviceRecord(*row)


def device_names(cursor: Cursor, user: int) -> list[str]:
    """The devices of a user."""
    return [name for (name,) in cursor.execute("SELECT name FROM device WHERE user = ?", (user,))]


def open_device(cursor: Cursor, user: int, device: str) -> tuple[DeviceRecord | None, list[str]]:
    """A device's row, or None, and the names of all devices of its user."""
    return read_device(cursor, user, device), device_names(cursor, user)


def told_expired(cursor: Cursor, user: int, device: str, count: int) -> None:
    """The device knows of so many entries that went past the retention unread."""
    cursor.execute("UPDATE device SET expired = expired - ? WHERE user = ? AND name = ?", (count, user, device))


def add_device(cursor: Cursor, user: int, device: str, now: int, limit: int) -> bool:
    """Make a device known, or note that it was seen; False where the user has `limit` others."""
    cursor.execute("UPDATE device SET seen = ? WHERE user = ? AND name = ?", (now, user, device))
    if cursor.count:
        return True
    names = device_names(cursor, user)
    if len(names) >= limit:
        return False
    place = highest_place(cursor, user, names)
    cursor.execute("INSERT INTO device (user, name, cursor, seen) VALUES (?, ?, ?, ?)", (user, device, place, now))
    return True


def highest_place(cursor: Cursor, user: int, names: list[str]) -> int:
    """The highest place up to which any device of the user, also a forgotten one, acknowledged everything."""
    cursor.execute("SELECT place FROM user WHERE id = ?", (user,))
    (place,) = cursor.one() or (0,)
    return max([place, *(device_place(cursor, user, name) for name in names)])


def device_place(cursor: Cursor, user: int, device: str) -> int:
    """The highest place up to which a device has acknowledged everything: right below what it has not."""
    record = read_device(cursor, user, device)
    after = record.cursor if record else 0
    cursor.execute(
        f"SELECT i.seq {_UNACKNOWLEDGED} ORDER BY i.seq LIMIT 1",
        {"user": user, "device": device, "after": after},
    )
    row = cursor.one()
    if row is not None:
        return int(row[0]) - 1
    cursor.execute("SELECT coalesce(max(seq), 0) FROM inbox WHERE user = ?", (user,))
    return max(after, int(cursor.one()[0]))
