"""Tokens: who is signed in on which device, and for how long. Only their SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from simple_im.limits import TOKEN_LIFE, TOKEN_TOUCH, TOKEN_TRIAL
from simple_im.status import Mismatch, TokenError
from simple_im.store.database import Cursor, Database

_BYTES: Final = 24
"""192 bits: 32 URL-safe characters."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a good token says: its user, the user's device, and the token's hash."""

    user: int
    device: str
    token_hash: bytes


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(_BYTES)


def token_hash(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Tokens:
    """Makes, checks and revokes tokens. `now` gives unix seconds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def issue(self, user: int, device: str, password_hash: str | None = None) -> str:
        """A new token, good for `limits.TOKEN_TRIAL` seconds until an IM login makes it last.

        Raises `Mismatch` where `password_hash` is given and is not the user's any more: a new password, which revokes
        tokens, came between its check and this.
        """
        token = new_token()
        if not await self._database.write(
            _insert, token_hash(token), user, device, int(self._now()), password_hash
        ):
            raise Mismatch()
        return token

    async def check(self, token: str) -> Session:
        """Whose token it is; a lasting one lasts longer with it. Raises `TokenError`."""
        session = await self._database.write(_use, token_hash(token), int(self._now()))
        if session is None:
            raise TokenError()
        return session

    async def claim(self, token: str, user: int, device: str) -> Session:
        """An IM login: the token lasts from now on, and the device's older ones are revoked.

        Raises `TokenError` where it is not this user's and this device's.
        """
        session = await self._database.write(_claim, token_hash(token), user, device, int(self._now()))
        if session is None:
            raise TokenError()
        return session

    async def revoke(self, hash_: bytes) -> None:
        """The token is good for nothing any more."""
        await self._database.write(_delete, hash_)

    async def keep_alive(self, hashes: Iterable[bytes]) -> None:
        """These tokens are in use by a live connection."""
        await self._database.write(_prolong, list(hashes), int(self._now()))

    async def purge(self) -> None:
        """Forget tokens that are past their time."""
        await self._database.write(_purge, int(self._now()))


def _insert(cursor: Cursor, hash_: bytes, user: int, device: str, now: int, password_hash: str | None) -> bool:
    cursor.execute(
        "INSERT INTO token (hash, user, device, used, expires)"
        " SELECT ?, id, ?, ?, ? FROM user WHERE id = ? AND password = coalesce(?, password)",
        (hash_, device, now, now + TOKEN_TRIAL, user, password_hash),
    )
    return cursor.count == 1


def _use(cursor: Cursor, hash_: bytes, now: int) -> Session | None:
    row = cursor.execute("SELECT user, device, lasting, used, expires FROM token WHERE hash = ?", (hash_,)).one()
    if row is None or row[4] <= now:
        return None
    user, device, lasting, used, _ = row
    if lasting and used <= now - TOKEN_TOUCH:
        _prolong(cursor, [hash_], now)
    return Session(user, device, hash_)


def _claim(cursor: Cursor, hash_: bytes, user: int, device: str, now: int) -> Session | None:
    session = _use(cursor, hash_, now)
    if session is None or (session.user, session.device) != (user, device):
        return None
    id_, lasting = cursor.execute("SELECT id, lasting FROM token WHERE hash = ?", (hash_,)).one()
    if not lasting:
        cursor.execute("UPDATE token SET lasting = 1 WHERE id = ?", (id_,))
        _prolong(cursor, [hash_], now)
    cursor.execute("DELETE FROM token WHERE user = ? AND device = ? AND id < ?", (user, device, id_))
    return session


_USED: Final = """
    WITH given (hash) AS (VALUES :rows)
    UPDATE token SET used = ?, expires = ? WHERE hash IN (SELECT hash FROM given)
"""
_SEEN: Final = """
    WITH given (hash) AS (VALUES :rows)
    UPDATE device SET seen = ?
    FROM (SELECT DISTINCT t.user, t.device FROM given AS g CROSS JOIN token AS t ON t.hash = g.hash) AS s
    WHERE device.user = s.user AND device.name = s.device
"""


def _prolong(cursor: Cursor, hashes: list[bytes], now: int) -> None:
    """A token's use is its device's too."""
    rows = [(hash_,) for hash_ in hashes]
    cursor.many(_USED, rows, (now, now + TOKEN_LIFE))
    cursor.many(_SEEN, rows, (now,))


def _delete(cursor: Cursor, hash_: bytes) -> None:
    cursor.execute("DELETE FROM token WHERE hash = ?", (hash_,))


def _purge(cursor: Cursor, now: int) -> None:
    cursor.execute("DELETE FROM token WHERE expires <= ?", (now,))


def delete_others(cursor: Cursor, session: Session) -> list[Session]:
    """All of the user's tokens but this session's are good for nothing any more; whose they were."""
    others = "DELETE FROM token WHERE user = ? AND hash <> ? RETURNING user, device, hash"
    cursor.execute(others, (session.user, session.token_hash))
    return [Session(*row) for row in cursor.all()]
