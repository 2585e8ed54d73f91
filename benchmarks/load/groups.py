"""Groups put into a node's database before its start, by the store's own functions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

from benchmarks.filling import AtOnce, Device
from simple_im.state import DATABASE
from simple_im.store import inbox_sql
from simple_im.store.database import Cursor, Database, prepare
from simple_im.store.groups import Groups
from simple_im.store.outgoing import Notice


def make_group(state: Path, creator: Device, members: Sequence[Device]) -> int:
    """The id of a new group, whose members are told nothing of it. No node may run on `state`."""
    return prepare(state / DATABASE, partial(_make, creator=creator, members=[device.user for device in members]))


def _make(cursor: Cursor, creator: Device, members: list[int]) -> int:
    groups = Groups(cast(Database, AtOnce(cursor)), len(members) + 1)
    notice = Notice(creator.user, creator.name, "gn", {})
    details, draft = asyncio.run(groups.create(notice, "load", members, int(time.time())))
    if draft.outgoing is not None:
        inbox_sql.write_batch(cursor, [], [(draft.outgoing,)], [], [])
    return details.group.id
