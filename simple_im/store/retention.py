"""What is forgotten in time: entries past the retention, devices that nobody uses.

Each call is one short transaction, so that nobody waits long for the database meanwhile; call again while more is left.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from simple_im.store.database import Cursor, Database
from simple_im.store.inbox_sql import device_place, index

_SLICE: Final = 256
"""Entries a transaction, and inboxes that their runs are in."""
_DEVICES: Final = 32
"""Devices a transaction."""

_COUNT_EXPIRED: Final = """
    WITH gone (user, first, seq, sent_by) AS (VALUES :rows)
    UPDATE device SET expired = expired + unread.entries
    FROM (
        SELECT d.user, d.name, sum(g.seq - max(d.cursor, g.first - 1) - (
            SELECT count(*) FROM acked AS a
            WHERE a.user = d.user AND a.device = d.name AND a.seq > max(d.cursor, g.first - 1) AND a.seq <= g.seq
        )) AS entries
        FROM gone AS g CROSS JOIN device AS d ON d.user = g.user AND d.cursor < g.seq AND d.name IS NOT g.sent_by
        GROUP BY d.user, d.name
    ) AS unread
    WHERE device.user = unread.user AND device.name = unread.name
"""
_REMOVE_ACKED: Final = """
    WITH gone (user, first, seq, sent_by) AS (VALUES :rows)
    DELETE FROM acked WHERE rowid IN (
        SELECT a.rowid FROM gone AS g
        CROSS JOIN device AS d ON d.user = g.user
        CROSS JOIN acked AS a ON a.user = d.user AND a.device = d.name AND a.seq >= g.first AND a.seq <= g.seq
    )
"""
_REMOVE_FROM_INBOXES: Final = """
    WITH gone (user, first, seq, sent_by) AS (VALUES :rows)
    DELETE FROM inbox WHERE (user, seq) IN (SELECT user, seq FROM gone)
"""
_REMOVE_MESSAGES: Final = """
    WITH gone (seq) AS (VALUES :rows)
    DELETE FROM message WHERE (sender, device, id, seq) IN (
        SELECT r.sender, r.device, i.value, r.first + i.key
        FROM gone AS g CROSS JOIN run AS r ON r.seq = g.seq CROSS JOIN json_each(r.ids) AS i
    )
"""
_REMOVE_RUNS: Final = "WITH gone (seq) AS (VALUES :rows) DELETE FROM run WHERE seq IN (SELECT seq FROM gone)"


class _Place(NamedTuple):
    """A run in a user's inbox, and the user's device that sent it, if one did."""

    user: int
    first: int
    seq: int
    sent_by: str | None


async def purge_entries(database: Database, before: int) -> bool:
    """Remove the oldest of the entries from before unix time `before`; whether there were any.

    Devices that had not read them are counted for it.
    """
    return await database.write(_purge, before)


def _purge(cursor: Cursor, before: int) -> bool:
    index(cursor)
    runs, places = _oldest(cursor, before)
    cursor.many(_COUNT_EXPIRED, places)
    cursor.many(_REMOVE_ACKED, places)
    cursor.many(_REMOVE_FROM_INBOXES, places)
    cursor.many(_REMOVE_MESSAGES, runs)
    cursor.many(_REMOVE_RUNS, runs)
    return bool(runs)


def _oldest(cursor: Cursor, before: int) -> tuple[list[tuple[int]], list[_Place]]:
    runs: list[tuple[int]] = []
    places: list[_Place] = []
    weight = 0
    cursor.execute(
        "SELECT seq, first, sender, device, users FROM run WHERE ts < ? ORDER BY ts LIMIT ?", (before, _SLICE)
    )
    for seq, first, sender, device, users in cursor:
        runs.append((seq,))
        places += [_Place(user, first, seq, device if user == sender else None) for user in json.loads(users)]
        weight += seq - first
        if weight + len(places) >= _SLICE:
            break
    return runs, places


async def forget_devices(database: Database, before: int) -> bool:
    """Remove some devices not seen since unix time `before`; whether there were any.

    How far each had got stays with its user.
    """
    return await database.write(_forget, before)


def _forget(cursor: Cursor, before: int) -> bool:
    gone = cursor.execute(
        "SELECT user, name FROM device WHERE seen < ? ORDER BY seen LIMIT ?", (before, _DEVICES)
    ).all()
    if gone:
        index(cursor)
    for user, name in gone:
        place = device_place(cursor, user, name)
        cursor.execute("UPDATE user SET place = max(place, ?) WHERE id = ?", (place, user))
        cursor.execute("DELETE FROM acked WHERE user = ? AND device = ?", (user, name))
        cursor.execute("DELETE FROM token WHERE user = ? AND device = ?", (user, name))
        cursor.execute("DELETE FROM device WHERE user = ? AND name = ?", (user, name))
    return bool(gone)
