"""The login gate of the IM door: whose token it is, and the device behind it."""

from __future__ import annotations

from typing import Protocol

from simple_im.status import TOKEN_ERROR, Refused, TokenError
from simple_im.store.entries import Opened
from simple_im.store.tokens import Session
from simple_im.wire.frames import Credentials


class Tokens(Protocol):
    """Who is signed in; see `store.tokens.Tokens`."""

    async def claim(self, token: str, user: int, device: str) -> Session: ...

    async def revoke(self, hash_: bytes) -> None: ...


class Inbox(Protocol):
    """Where devices are known; see `store.inbox.SQLiteInbox`."""

    async def open_device(self, user: int, device: str) -> Opened | None: ...


class LoginRefused(Refused):
    """The token is not that user's and that device's, or not good any more."""

    reason = TOKEN_ERROR


class Gate:
    """Lets devices in by their tokens."""

    def __init__(self, tokens: Tokens, inbox: Inbox) -> None:
        self._tokens = tokens
        self._inbox = inbox

    async def admit(self, who: Credentials) -> tuple[Session, Opened]:
        """Who has come in, and the device's state; raises `LoginRefused` or `StorageUnavailable`."""
        try:
            session = await self._tokens.claim(who.token, who.user, who.device)
        except TokenError:
            raise LoginRefused() from None
        opened = await self._inbox.open_device(session.user, session.device)
        if opened is None:
            raise LoginRefused()
        return session, opened

    async def leave(self, session: Session) -> None:
        """Log out: the token is good for nothing any more."""
        await self._tokens.revoke(session.token_hash)
