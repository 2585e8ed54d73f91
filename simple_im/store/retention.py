"""What is forgotten in time: entries past the retention, devices and tokens that nobody uses."""

from __future__ import annotations

from simple_im.store.database import Cursor, Database
from simple_im.store.inbox_sql import device_place

_SLICE = 200
"""Entries a transaction, so that nobody waits long for the database meanwhile."""


async def purge_entries(database: Database, before: int) -> int:
    """Remove entries older than unix time `before`; devices that had not read them are counted for it."""
    removed = 0
    while (count := await database.write(_purge_slice, before)) > 0:
        removed += count
    return removed


def _purge_slice(cursor: Cursor, before: int) -> int:
    rows = cursor.execute(
        "SELECT seq, sender, device, users FROM entry WHERE ts < ? ORDER BY ts LIMIT ?", (before, _SLICE)
    ).all()
    for seq, sender, device, users in rows:
        for user in map(int, users.split()):
            _expire(cursor, seq, user, device if user == sender else None)
        cursor.execute("DELETE FROM entry WHERE seq = ?", (seq,))
    return len(rows)


def _expire(cursor: Cursor, seq: int, user: int, sent_by: str | None) -> None:
    """Take an entry out of a user's inbox, where `sent_by` is the user's device that sent it."""
    cursor.execute(
        "UPDATE device AS d SET expired = expired + 1 WHERE user = ? AND cursor < ? AND name IS NOT ?"
        " AND NOT EXISTS (SELECT 1 FROM acked AS a WHERE a.user = d.user AND a.device = d.name AND a.seq = ?)",
        (user, seq, sent_by, seq),
    )
    cursor.execute(
        "DELETE FROM acked WHERE user = ? AND device IN (SELECT name FROM device WHERE user = ?) AND seq = ?",
        (user, user, seq),
    )
    cursor.execute("DELETE FROM inbox WHERE user = ? AND seq = ?", (user, seq))


async def forget_devices(database: Database, before: int) -> int:
    """Remove devices not seen since unix time `before`; how far each had got stays with its user."""
    return await database.write(_forget, before)


def _forget(cursor: Cursor, before: int) -> int:
    gone = cursor.execute("SELECT user, name FROM device WHERE seen < ?", (before,)).all()
    for user, name in gone:
        place = device_place(cursor, user, name)
        cursor.execute("UPDATE user SET place = max(place, ?) WHERE id = ?", (place, user))
        cursor.execute("DELETE FROM acked WHERE user = ? AND device = ?", (user, name))
        cursor.execute("DELETE FROM token WHERE user = ? AND device = ?", (user, name))
        cursor.execute("DELETE FROM device WHERE user = ? AND name = ?", (user, name))
    return len(gone)
