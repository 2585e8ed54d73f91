"""The SQL of the inbox: each function is one interaction, or a part of one, on the database's thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from simple_im.store.batch import AckedRange, DeviceRow
from simple_im.store.database import Cursor
from simple_im.store.entries import Entry
from simple_im.store.runs import Run, entries_of, runs_of
from simple_im.store.sequence import raise_epoch

_FEW: Final = 64
_ADD_RUNS: Final = "INSERT OR ROLLBACK INTO run (seq, first, ts, sender, device, ids, users, wire) VALUES :rows"
"""After an error nothing of the transaction is kept. Said so, it spares SQLite a journal of each statement, and so does
`OR IGNORE`."""
_INDEX: Final = (
    """
    INSERT OR IGNORE INTO inbox (user, seq)
    SELECT u.value, r.seq
    FROM node AS n CROSS JOIN run AS r ON r.seq > n.indexed CROSS JOIN json_each(r.users) AS u
    """,
    """
    INSERT OR IGNORE INTO message (sender, device, id, seq)
    SELECT r.sender, r.device, i.value, r.first + i.key
    FROM node AS n CROSS JOIN run AS r ON r.seq > n.indexed CROSS JOIN json_each(r.ids) AS i
    """,
    "UPDATE node SET indexed = (SELECT max(seq) FROM run) WHERE indexed < (SELECT max(seq) FROM run)",
)
_REMOVE_OUTGOING: Final = "WITH sent (id) AS (VALUES :rows) DELETE FROM outgoing WHERE id IN (SELECT id FROM sent)"
_ACKNOWLEDGE: Final = """
    WITH reach (user, device, after, upto) AS (VALUES :rows)
    INSERT OR IGNORE INTO acked SELECT o.user, o.device, r.first + n.key
    FROM reach AS o
    CROSS JOIN inbox AS i ON i.user = o.user AND i.seq > o.after
        AND i.seq <= coalesce((SELECT min(seq) FROM inbox WHERE user = o.user AND seq >= o.upto), o.upto)
    CROSS JOIN run AS r ON r.seq = i.seq
    CROSS JOIN json_each(r.ids) AS n ON r.first + n.key > o.after AND r.first + n.key <= o.upto
"""
"""The last of the runs may go on behind what is acknowledged."""
_WRITE_DEVICES: Final = """
    WITH new (cursor, sent, shown, offered, holes, user, name) AS (VALUES :rows)
    UPDATE OR ROLLBACK device
    SET cursor = new.cursor, sent = new.sent, shown = new.shown, offered = new.offered, holes = new.holes
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
_WAITING: Final = """
    FROM inbox AS i JOIN run AS r ON r.seq = i.seq
    WHERE i.user = :user AND i.seq > :after AND NOT (r.sender = :user AND r.device = :device)
"""
"""The runs in which something may wait for a device above a place: what it sent itself does not."""
_READ: Final = f"""
    SELECT r.seq, r.first, r.ts, r.sender, r.device, r.ids, r.users, r.wire,
        (SELECT group_concat(a.seq) FROM acked AS a
         WHERE a.user = :user AND a.device = :device AND a.seq >= r.first AND a.seq <= r.seq)
    {_WAITING} ORDER BY i.seq
"""
_FIND: Final = f"""
    SELECT r.first + n.key
    {_WAITING.replace("WHERE", "CROSS JOIN json_each(r.ids) AS n WHERE")}
      AND i.seq <= coalesce((SELECT min(seq) FROM inbox WHERE user = :user AND seq >= :to), :to)
      AND n.value = :id AND r.first + n.key > :after AND r.first + n.key <= :to
      AND NOT EXISTS (
          SELECT 1 FROM acked AS a WHERE a.user = :user AND a.device = :device AND a.seq = r.first + n.key
      )
    ORDER BY i.seq LIMIT {_FEW}
"""


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
    indexes: bool = True,
) -> None:
    """One commit: a handful of statements whatever the batch's size; see `index` for `indexes`."""
    cursor.many(_ADD_RUNS, list(runs_of(entries)))
    if indexes or acked:
        index(cursor)
    cursor.many(_REMOVE_OUTGOING, outgoing)
    cursor.many(_ACKNOWLEDGE, acked)
    cursor.many(
        _WRITE_DEVICES,
        [(row.cursor, row.sent, row.shown, row.offered, row.holes, row.user, row.device) for row in devices],
    )
    cursor.many(_FORGET_PASSED, [(row.user, row.device, row.cursor) for row in devices if row.scattered])


def index(cursor: Cursor) -> None:
    """Put the runs that are not yet into `inbox` and `message`.

    These have a page for each user that a commit concerns, `run` one for dozens of messages; so what many commits have
    stored is put into them at once. Until then nothing but `run` has it, and this is called before they are read.
    """
    for sql in _INDEX:
        cursor.execute(sql)


def begin_run(cursor: Cursor) -> int:
    """The epoch of a node that starts, with all indexed that an earlier run has stored."""
    index(cursor)
    return raise_epoch(cursor)


def read_page(
    cursor: Cursor, user: int, device: str, after: int, limit: int, max_bytes: int
) -> tuple[list[Entry], bool]:
    """What waits for a device after a place, at least one entry, and whether that was all."""
    entries: list[Entry] = []
    size = 0
    for entry in _waiting(cursor, user, device, after):
        size += len(entry.wire)
        if entries and (len(entries) >= limit or size > max_bytes):
            return entries, False
        entries.append(entry)
    return entries, True


def _waiting(cursor: Cursor, user: int, device: str, after: int) -> Iterator[Entry]:
    """What waits for a device after a place, in order."""
    cursor.execute(_READ, {"user": user, "device": device, "after": after})
    for *run, acked in cursor:
        taken = set(map(int, acked.split(","))) if acked else ()
        for entry in entries_of(Run(*run), user):
            if entry.seq > after and entry.seq not in taken:
                yield entry


def find_unacknowledged(cursor: Cursor, user: int, device: str, after: int, to: int, id_: bytes) -> list[int]:
    """The oldest few entries with this id that a device has not acknowledged, in (after, to]."""
    cursor.execute(_FIND, {"user": user, "device": device, "after": after, "to": to, "id": id_.decode()})
    return [seq for (seq,) in cursor]


def find_message(cursor: Cursor, sender: int, device: str, id_: bytes) -> bool:
    """Whether this device's message with this id is stored."""
    cursor.execute(
        "SELECT 1 FROM message WHERE sender = ? AND device = ? AND id = ? LIMIT 1", (sender, device, id_.decode())
    )
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


def open_device(cursor: Cursor, user: int, device: str) -> tuple[DeviceRecord | None, list[str], int]:
    """A device's row, or None, the names of all devices of its user, and the last seq in the user's inbox."""
    return read_device(cursor, user, device), device_names(cursor, user), _newest(cursor, user)


def _newest(cursor: Cursor, user: int) -> int:
    cursor.execute("SELECT coalesce(max(seq), 0) FROM inbox WHERE user = ?", (user,))
    return int(cursor.one()[0])


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
    index(cursor)
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
    waiting = next(_waiting(cursor, user, device, after), None)
    return max(after, _newest(cursor, user)) if waiting is None else waiting.seq - 1
