"""Notices of what was done over HTTPS: stored in one transaction with the change that they tell of, then sent.

A notice gets its place in the inboxes from the inbox, like every message, so that devices see one order. Until it is
there it is kept in `outgoing`: a crash, or a disk that is full, between the change and the notice loses neither.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from simple_im.status import StorageUnavailable
from simple_im.store.database import Cursor, Database
from simple_im.store.entries import Draft, Receipt
from simple_im.wire.toml import quote, write_entry

RETRY: Final = 1.0
"""Seconds after which a notice that could not be stored in the inboxes is tried again."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What to tell: `keys` of an `[[n]]` or `[[gn]]`, without the `id` and `d` that it gets when it is posted."""

    sender: int
    device: str
    table: str
    keys: dict[str, Any]

    def saying(self, what: str, **keys: object) -> Notice:
        """The same from the same device, of another kind (`t`)."""
        return replace(self, keys={**self.keys, "t": what, **keys})


class Inbox(Protocol):
    """Where notices go; see `store.inbox.SQLiteInbox`."""

    def append(self, draft: Draft, receipt: Receipt) -> None: ...

    def commit(self) -> None: ...


def post(cursor: Cursor, notice: Notice, users: Iterable[int]) -> Draft:
    """Store a notice for these users and the sender, in the transaction of the change that it tells of."""
    id_ = secrets.token_hex(12)
    head, tail = write_entry(notice.table, {"id": id_, **notice.keys, "d": notice.device})
    recipients = tuple(dict.fromkeys((*users, notice.sender)))
    cursor.execute(
        "INSERT INTO outgoing (sender, device, name, users, head, tail) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (notice.sender, notice.device, quote(id_), " ".join(map(str, recipients)), head, tail),
    )
    return Draft(notice.sender, notice.device, quote(id_), recipients, head, tail, outgoing=cursor.one()[0])


class Outgoing:
    """Brings posted notices into the inboxes."""

    def __init__(self, database: Database, inbox: Inbox, clock: IReactorTime) -> None:
        self._database = database
        self._inbox = inbox
        self._clock = clock

    async def send(self, *drafts: Draft) -> None:
        """Send notices; on return they are on disk. Raises `StorageUnavailable`; then they are sent later."""
        delivery = _Delivery(len(drafts))
        for draft in drafts:
            self._inbox.append(draft, delivery)
        self._inbox.commit()
        try:
            await delivery.done
        except StorageUnavailable:
            self._clock.callLater(RETRY, self._again, drafts)
            raise

    def _again(self, drafts: tuple[Draft, ...]) -> None:
        Deferred.fromCoroutine(self.send(*drafts)).addErrback(lambda failure: failure.trap(StorageUnavailable) and None)

    async def recover(self) -> None:
        """Send what an earlier run has left behind; raises `StorageUnavailable`."""
        left = await self._database.read(_left)
        if left:
            await self.send(*left)


class _Delivery:
    """The receipt of some notices; `done` fires when all are on disk, or one was refused."""

    def __init__(self, count: int) -> None:
        self.done: Deferred[None] = Deferred()
        self._left = count

    def stored(self, ids: list[bytes]) -> None:
        """These are on disk."""
        self._left -= len(ids)
        if not self._left and not self.done.called:
            self.done.callback(None)

    def refused(self, ids: list[bytes], reason: str) -> None:
        """These are not."""
        if not self.done.called:
            self.done.errback(StorageUnavailable())


def _left(cursor: Cursor) -> list[Draft]:
    rows = cursor.execute("SELECT id, sender, device, name, users, head, tail FROM outgoing ORDER BY id").all()
    return [
        Draft(sender, device, name, tuple(map(int, users.split())), head, tail, outgoing=id_)
        for id_, sender, device, name, users, head, tail in rows
    ]
