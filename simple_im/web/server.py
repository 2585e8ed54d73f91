"""`/server`: signing in and out, and where to connect."""

from __future__ import annotations

from typing import Protocol

from simple_im.cluster.directory import Door
from simple_im.im.sessions import Sessions
from simple_im.passwords import Passwords
from simple_im.status import Mismatch, TokenError
from simple_im.store.accounts import Accounts, Password
from simple_im.store.tokens import Tokens
from simple_im.web.document import Answer
from simple_im.web.form import LONGEST_PASSWORD, can_be_password
from simple_im.web.request import Call
from simple_im.web.resource import Handler


class Directory(Protocol):
    """Which IM nodes there are; see `cluster.directory.LocalDirectory`."""

    def choose(self, reached: str) -> Door: ...

    async def report_failed(self) -> Door: ...


class Devices(Protocol):
    """Where devices become known; see `store.inbox.SQLiteInbox`."""

    async def add_device(self, user: int, device: str) -> None: ...


class Login:
    """`POST /server/login`."""

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        tokens: Tokens,
        devices: Devices,
        sessions: Sessions,
        directory: Directory,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._tokens = tokens
        self._devices = devices
        self._sessions = sessions
        self._directory = directory

    def routes(self) -> dict[str, Handler]:
        """Who answers where."""
        return {"POST /server/login": self.login}

    async def login(self, call: Call) -> Answer:
        """A token and the address of an IM node, for the phone's owner."""
        phone, password, device = call.form.text("phone"), call.form.text("password"), call.form.device()
        user, hash_ = await self._verified(phone, password)
        door = self._directory.choose(call.reached)
        await self._devices.add_device(user, device)
        self._sessions.add_name(user, device)
        token = await self._tokens.issue(user, device, hash_)
        return Answer({**_address(door), "user": {"id": user, "token": token}})

    async def _verified(self, phone: str, password: str) -> Password:
        """Whose phone it is, and the hash that fitted; raises `Mismatch`, after the same time, whatever is wrong."""
        found = await self._accounts.password(phone)
        known = found.hash if found is not None and can_be_password(password) else None
        if not await self._passwords.verify(password[:LONGEST_PASSWORD], known) or found is None:
            raise Mismatch()
        return found


class Servers:
    """The other handlers of `/server`, for those who have a token."""

    def __init__(self, tokens: Tokens, sessions: Sessions, directory: Directory) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._directory = directory

    def routes(self) -> dict[str, Handler]:
        """Who answers where."""
        return {
            "POST /server/reconnect": self.reconnect,
            "POST /server/failed": self.failed,
            "POST /server/logout": self.logout,
        }

    async def reconnect(self, call: Call) -> Answer:
        """`POST /server/reconnect`: where to connect with the token that one has."""
        session = await self._tokens.check(call.token)
        if call.form.integer("id") != session.user:
            raise TokenError()
        return Answer(_address(self._directory.choose(call.reached)))

    async def failed(self, call: Call) -> Answer:
        """`POST /server/failed`: the node that was named does not answer."""
        await self._tokens.check(call.token)
        return Answer(_address(await self._directory.report_failed()))

    async def logout(self, call: Call) -> Answer:
        """`POST /server/logout`: the token is good for nothing any more, and its connection ends."""
        session = await self._tokens.check(call.token)
        await self._tokens.revoke(session.token_hash)
        self._sessions.revoke(session)
        return Answer()


def _address(door: Door) -> dict[str, object]:
    return {"server": door.host, "port": str(door.port)}
