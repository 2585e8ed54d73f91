"""`/m/audio` and the like: sending media."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from simple_im import media
from simple_im.status import BadRequest, Forbidden, NotFound, StorageUnavailable
from simple_im.store.files import Files, Stored
from simple_im.store.groups import Groups
from simple_im.store.outgoing import Inbox, Notice, compose, deliver
from simple_im.store.tokens import Session, Tokens
from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Handler


class Users(Protocol):
    """Who there is; see `store.accounts.Accounts`."""

    async def exists(self, user: int) -> bool: ...


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
        keys = {"t": stored.kind, "c": _link(stored), **to}
        message = compose(Notice(session.user, session.device, table, keys), users)
        if await deliver(self._inbox, [message]):
            await self._files.remove(stored)
            raise StorageUnavailable()
        return Answer({"id": message.id.decode(), "c": _link(stored)})


def _link(stored: Stored) -> str:
    return f"file/{stored.kind}/{stored.name}"
