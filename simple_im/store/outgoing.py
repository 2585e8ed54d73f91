"""Notices of what was done over HTTPS: stored in one transaction with the change that they tell of, then sent.

A notice gets its place in the inboxes from the inbox, like every message, so that devices see one order. Until it is
there it is kept in `outgoing`: a crash, or a disk that is full, between the change and the notice loses neither.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from simple_im.status import StorageUnavailable
from simple_im.store.database import Cursor, Database
from simple_im.store.entries import Draft, Receipt
from simple_im.wire.toml import quote, write_entry

RETRY: Final = 1.0
"""Seconds after which a notice that could not be stored in the inboxes is tried again."""
_REPEATED: Final = b"dup = true\n"

log = Logger()


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


def compose(notice: Notice, users: Iterable[int]) -> Draft:
    """A notice for these users and the sender, with an id of its own."""
    id_ = secrets.token_hex(12)
    head, tail = write_entry(notice.table, {"id": id_, **notice.keys, "d": notice.device})
    recipients = tuple(dict.fromkeys((*users, notice.sender)))
    return Draft(notice.sender, notice.device, quote(id_), recipients, head, tail)


def post(cursor: Cursor, notice: Notice, users: Iterable[int]) -> Draft:
    """Store a notice for these users and the sender, in the transaction of the change that it tells of."""
    draft = compose(notice, users)
    cursor.execute(
        "INSERT INTO outgoing (sender, device, name, users, head, tail) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (draft.sender, draft.device, draft.id, " ".join(map(str, draft.users)), draft.head, draft.tail),
    )
    return replace(draft, outgoing=cursor.one()[0])


async def deliver(inbox: Inbox, drafts: Sequence[Draft]) -> list[Draft]:
    """Append messages of the server's own making; on return each is on disk, but for those given back."""
    if not drafts:
        return []
    delivery = _Delivery(drafts)
    for draft in drafts:
        inbox.append(draft, delivery)
    inbox.commit()
    return await delivery.done


class Outgoing:
    """Brings posted notices into the inboxes."""

    def __init__(self, database: Database, inbox: Inbox, clock: IReactorTime) -> None:
        self._database = database
        self._inbox = inbox
        self._clock = clock

    async def send(self, *drafts: Draft) -> None:
        """Send notices; those that the inboxes don't take now are tried again, and are safe where they were posted."""
        refused = await deliver(self._inbox, drafts)
        if refused:
            self._clock.callLater(RETRY, self._again, refused)

    def _again(self, drafts: list[Draft]) -> None:
        Deferred.fromCoroutine(self.send(*map(_repeated, drafts))).addErrback(_not_sent)

    async def recover(self) -> None:
        """Send what an earlier run has left behind, as soon as it can be read."""
        try:
            left = await self._database.read(_left)
        except StorageUnavailable:
            self._clock.callLater(RETRY, self._recover_again)
            return
        if left:
            await self.send(*map(_repeated, left))

    def _recover_again(self) -> None:
        Deferred.fromCoroutine(self.recover()).addErrback(_not_sent)


def _not_sent(failure: Failure) -> None:
    log.failure("notices could not be sent", failure)


class _Delivery:
    """The receipt of some notices; `done` fires when each is on disk or refused, with those that were refused."""

    gone = False

    def __init__(self, drafts: Iterable[Draft]) -> None:
        self.done: Deferred[list[Draft]] = Deferred()
        self._waiting = {draft.id: draft for draft in drafts}
        self._refused: list[Draft] = []

    def stored(self, ids: list[bytes]) -> None:
        """These are on disk."""
        for id_ in ids:
            del self._waiting[id_]
        self._tell()

    def refused(self, ids: list[bytes], reason: str) -> None:
        """These are not."""
        self._refused += [self._waiting.pop(id_) for id_ in ids]
        self._tell()

    def _tell(self) -> None:
        if not self._waiting:
            self.done.callback(self._refused)


def _repeated(draft: Draft) -> Draft:
    """The same for another try, which says so: connected devices may have seen the first."""
    return draft if draft.head.endswith(_REPEATED) else replace(draft, head=draft.head + _REPEATED)


def _left(cursor: Cursor) -> list[Draft]:
    rows = cursor.execute("SELECT id, sender, device, name, users, head, tail FROM outgoing ORDER BY id").all()
    return [
        Draft(sender, device, name, tuple(map(int, users.split())), head, tail, outgoing=id_)
        for id_, sender, device, name, users, head, tail in rows
    ]
