"""`/user`: making accounts and looking people up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from simple_im.passwords import Passwords
from simple_im.store.accounts import Accounts, User
from simple_im.store.tokens import Tokens
from simple_im.web.document import Answer
from simple_im.web.form import to_integer, to_phone
from simple_im.web.request import Call


class Users:
    """The handlers of `/user`. `now` gives unix seconds."""

    def __init__(self, accounts: Accounts, passwords: Passwords, tokens: Tokens, now: Callable[[], float]) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._tokens = tokens
        self._now = now

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


def _found(user: User | None) -> Answer:
    return Answer(tables={"user": [] if user is None else [asdict(user)]})
