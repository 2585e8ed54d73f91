"""`/m/audio` and the like: sending media."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from twisted.internet.defer import Deferred

from simple_im import media
from simple_im.status import BadRequest, Forbidden, NotFound, StorageUnavailable
from simple_im.store.entries import Draft, Receipt
from simple_im.store.files import Files, Stored
from simple_im.store.groups import Groups
from simple_im.store.tokens import Session, Tokens
from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Handler
from simple_im.wire.toml import quote, write_entry

_ID_BYTES: Final = 12


class Inbox(Protocol):
    """Where messages are appended; see `store.inbox.SQLiteInbox`."""

    def append(self, draft: Draft, receipt: Receipt) -> None: ...

    def commit(self) -> None: ...


class Users(Protocol):
    """Who there is; see `store.accounts.Accounts`."""

    async def exists(self, user: int) -> bool: ...


class Delivered:
    """A receipt to wait for."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    def stored(self, ids: list[bytes]) -> None:
        """It is on disk."""
        self.done.callback(None)

    def refused(self, ids: list[bytes], reason: str) -> None:
        """It is not."""
        self.done.errback(StorageUnavailable())


class MediaPages:
    """The handlers of `/m` and `/gm`: a file is stored, then the message that says where it is.

    `now` gives unix seconds.
    """

    def __init__(
        self, files: Files, inbox: Inbox, users: Users, groups: Groups, tokens: Tokens, now: Callable[[], float]
    ) -> None:
        self._files = files
        self._inbox = inbox
        self._users = users
        self._groups = groups
        self._tokens = tokens
        self._now = now

    def routes(self) -> dict[str, Handler]:
        """Who answers where."""
        to_users = {f"POST /m/{kind}": self.to_user(kind) for kind in media.KINDS}
        return {**to_users, **{f"POST /gm/{kind}": self.to_group(kind) for kind in media.KINDS}}

    def to_user(self, kind: str) -> Callable[[Call], Awaitable[Answer]]:
        """The handler of `POST /m/KIND`."""

        async def send(call: Call) -> Answer:
            session, found = await self._checked(call, kind)
            to = call.upload_form.id("to")
            if not await self._users.exists(to):
                raise NotFound()
            users = tuple(dict.fromkeys((to, session.user)))
            stored = await self._stored(call, kind, found, users)
            return await self._send(session, stored, users, "m", {"to": to})

        return send

    def to_group(self, kind: str) -> Callable[[Call], Awaitable[Answer]]:
        """The handler of `POST /gm/KIND`."""

        async def send(call: Call) -> Answer:
            session, found = await self._checked(call, kind)
            g_id = call.upload_form.id("g_id")
            members = await self._groups.members(g_id)
            if not members:
                raise NotFound()
            if session.user not in members:
                raise Forbidden()
            stored = await self._stored(call, kind, found, members)
            return await self._send(session, stored, members, "gm", {"g_id": g_id})

        return send

    async def _checked(self, call: Call, kind: str) -> tuple[Session, media.Format]:
        """Who sends, and the format of what is of this kind by its content."""
        session = await self._tokens.check(call.token)
        if call.upload is None:
            raise BadRequest(f"{kind} Required")
        await call.upload.finish()
        if call.upload.kind != kind or not call.upload.file.size:
            raise BadRequest(f"{kind} Required")
        found = media.recognized(kind, call.upload.file.head)
        if found is None:
            raise BadRequest(f"{kind} must be {media.names(kind)}")
        return session, found

    async def _stored(self, call: Call, kind: str, found: media.Format, users: tuple[int, ...]) -> Stored:
        assert call.upload is not None
        return await self._files.keep(call.upload.file.path, kind, found.ending, users, int(self._now()))

    async def _send(
        self, session: Session, stored: Stored, users: tuple[int, ...], table: str, to: dict[str, int]
    ) -> Answer:
        message = _message(session, stored, users, table, to)
        delivered = Delivered()
        self._inbox.append(message, delivered)
        self._inbox.commit()
        try:
            await delivered.done
        except StorageUnavailable:
            await self._files.remove(stored)
            raise
        return Answer({"id": message.id.decode(), "c": _link(stored)})


def _link(stored: Stored) -> str:
    return f"file/{stored.kind}/{stored.name}"


def _message(session: Session, stored: Stored, users: tuple[int, ...], table: str, to: dict[str, int]) -> Draft:
    id_ = secrets.token_hex(_ID_BYTES)
    keys = {"id": id_, "t": stored.kind, "c": _link(stored), **to, "d": session.device}
    head, tail = write_entry(table, keys)
    return Draft(session.user, session.device, quote(id_), users, head, tail)
