"""`/user`: making accounts and looking people up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from simple_im.im.sessions import Sessions
from simple_im.passwords import Passwords
from simple_im.status import BadRequest, Forbidden
from simple_im.store.accounts import Accounts, Changes, User
from simple_im.store.tokens import Session, Tokens
from simple_im.web.document import Answer
from simple_im.web.form import LONGEST_PASSWORD, can_be_password, to_integer, to_phone
from simple_im.web.request import Call
from simple_im.web.resource import Handler


class Users:
    """The handlers of `/user`. `now` gives unix seconds."""

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        tokens: Tokens,
        sessions: Sessions,
        now: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._tokens = tokens
        self._sessions = sessions
        self._now = now

    def routes(self) -> dict[str, Handler]:
        """Who answers where."""
        return {
            "POST /user": self.create,
            "PUT /user": self.update,
            "GET /user/id/*": self.by_id,
            "GET /user/phone/*": self.by_phone,
        }

    async def create(self, call: Call) -> Answer:
        """`POST /user`: a new account."""
        name, phone, password = call.form.name(), call.form.new_phone(), call.form.new_password()
        hash_ = await self._passwords.hash(password)
        user = await self._accounts.create(name, phone, hash_, int(self._now()))
        return Answer({"user": {"id": user}})

    async def by_id(self, call: Call, id_: str) -> Answer:
        """`GET /user/id/N`."""
        await self._tokens.check(call.token)
        return _found(await self._accounts.by_id(to_integer("id", id_)))

    async def by_phone(self, call: Call, phone: str) -> Answer:
        """`GET /user/phone/P`."""
        await self._tokens.check(call.token)
        return _found(await self._accounts.by_phone(to_phone(phone)))

    async def update(self, call: Call) -> Answer:
        """`PUT /user`: a new name, avatar or password; a new password ends the user's other sessions."""
        session = await self._tokens.check(call.token)
        form = call.form
        if not any(map(form.has, ("name", "avatar", "password"))):
            raise BadRequest("name, avatar or password Required")
        name = form.name() if form.has("name") else None
        avatar = form.avatar() if form.has("avatar") else None
        old, new = await self._hashes(session, call) if form.has("password") else (None, None)
        for revoked in await self._accounts.update(session, Changes(name, avatar, new), old):
            self._sessions.revoke(revoked)
        return Answer()

    async def _hashes(self, session: Session, call: Call) -> tuple[str | None, str]:
        """The hashes of the old password and the new; raises `Forbidden` where the old one is not right."""
        new, old = call.form.new_password(), call.form.text("old_password")
        known = await self._accounts.password_of(session.user) if can_be_password(old) else None
        if not await self._passwords.verify(old[:LONGEST_PASSWORD], known):
            raise Forbidden()
        return known, await self._passwords.hash(new)


def _found(user: User | None) -> Answer:
    return Answer(tables={"user": [] if user is None else [asdict(user)]})
