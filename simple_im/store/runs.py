"""Messages that one device sent one after the other to the same people, as the one row in which they are stored.

A row costs the database about as much as dozens of messages in it, and a sender in a hurry sends dozens at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from simple_im.store.entries import Entry

_MOST: Final = 128
"""Messages in a row."""
_SIZE: Final = 32_768
"""Bytes in a row, after which no more go into it: a reader that takes one of them reads all."""
_END: Final = b"\n\n"
"""Of a frame; there is none within one."""


class Run(NamedTuple):
    """A row of table `run`."""

    seq: int
    first: int
    ts: int
    sender: int
    device: str
    ids: str
    users: str
    wire: bytes | bytearray


def runs_of(entries: Iterable[Entry]) -> Iterator[Run]:
    """The rows for entries in `seq` order."""
    run: list[Entry] = []
    size = 0
    for entry in entries:
        if run and not (_follows(run[-1], entry) and size < _SIZE and len(run) < _MOST):
            yield _row(run)
            run, size = [], 0
        run.append(entry)
        size += len(entry.wire)
    if run:
        yield _row(run)


def _follows(last: Entry, entry: Entry) -> bool:
    """Whether it may stand in the row of the one before it."""
    return (
        entry.users == last.users
        and entry.seq == last.seq + 1
        and entry.sender == last.sender
        and entry.device == last.device
        and entry.ts == last.ts
    )


def _row(run: list[Entry]) -> Run:
    """Python's sqlite3 takes a bytearray as it is, and looks for adapters for bytes."""
    first, last = run[0], run[-1]
    ids = b'["%b"]' % b'","'.join([entry.id for entry in run])
    is_json = b"\\" not in ids and b"\t" not in ids  # TOML's strings have tabs as they are, JSON's have not
    text = ids.decode() if is_json else json.dumps([entry.id.decode() for entry in run], ensure_ascii=False)
    wire = bytearray(b"".join([entry.wire for entry in run]))
    return Run(last.seq, first.seq, first.ts, first.sender, first.device, text, str([*first.users]), wire)


def entries_of(run: Run, user: int) -> list[Entry]:
    """The entries of a row, in `user`'s inbox."""
    ids = json.loads(run.ids)
    wire = bytes(run.wire)
    wires = [wire] if len(ids) == 1 else [each + _END for each in wire.split(_END)]
    return [
        Entry(seq, run.ts, run.sender, run.device, id_.encode(), (user,), each)
        for seq, (id_, each) in enumerate(zip(ids, wires, strict=False), run.first)
    ]
