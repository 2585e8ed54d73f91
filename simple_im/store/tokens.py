"""Tokens: who is signed in on which device, and for how long. Only their SHA-256 is kept."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from simple_im.limits import TOKEN_LIFE, TOKEN_TOUCH, TOKEN_TRIAL
from simple_im.status import Mismatch, StorageUnavailable, TokenError
from simple_im.store.database import Cursor, Database

_BYTES: Final = 24
"""192 bits: 32 URL-safe characters."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a good token says: its user, the user's device, and the token's hash."""

    user: int
    device: str
    token_hash: bytes


@dataclass(frozen=True, slots=True)
class _Found:
    """A good token."""

    session: Session
    is_due: bool
    """Its use is to be noted down."""
    is_settled: bool
    """An IM login has changed all that one changes: it lasts, and the device has no older one."""


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
        found = await self._find(token)
        await self._note_use(found)
        return found.session

    async def claim(self, token: str, user: int, device: str) -> Session:
        """An IM login: the token lasts from now on, and the device's older ones are revoked.

        One that lasts already is only read, so that the device comes in also while the disk takes nothing. Raises
        `TokenError` where it is not this user's and this device's.
        """
        found = await self._find(token)
        if not found.is_settled:
            return await self._settle(token, user, device)
        if (found.session.user, found.session.device) != (user, device):
            raise TokenError()
        await self._note_use(found)
        return found.session

    async def _find(self, token: str) -> _Found:
        found = await self._database.read(_find, token_hash(token), int(self._now()))
        if found is None:
            raise TokenError()
        return found

    async def _settle(self, token: str, user: int, device: str) -> Session:
        session = await self._database.write(_claim, token_hash(token), user, device, int(self._now()))
        if session is None:
            raise TokenError()
        return session

    async def _note_use(self, found: _Found) -> None:
        """One that can't be noted down is a use all the same; one of a token that is gone meanwhile is none."""
        if not found.is_due:
            return
        with contextlib.suppress(StorageUnavailable):
            if not await self._database.write(_use, found.session.token_hash, int(self._now())):
                raise TokenError()

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


def _find(cursor: Cursor, hash_: bytes, now: int) -> _Found | None:
    cursor.execute(
        "SELECT t.user, t.device, t.lasting, t.used, t.expires, EXISTS ("
        " SELECT 1 FROM token AS o WHERE o.user = t.user AND o.device = t.device AND o.id < t.id"
        ") FROM token AS t WHERE t.hash = ?",
        (hash_,),
    )
    row = cursor.one()
    if row is None or row[4] <= now:
        return None
    user, device, lasting, used, _, has_older = row
    is_due = bool(lasting) and used <= now - TOKEN_TOUCH
    return _Found(Session(user, device, hash_), is_due, bool(lasting) and not has_older)


def _claim(cursor: Cursor, hash_: bytes, user: int, device: str, now: int) -> Session | None:
    found = _find(cursor, hash_, now)
    if found is None or (found.session.user, found.session.device) != (user, device):
        return None
    id_, lasting = cursor.execute("SELECT id, lasting FROM token WHERE hash = ?", (hash_,)).one()
    if found.is_due or not lasting:
        cursor.execute("UPDATE token SET lasting = 1 WHERE id = ?", (id_,))
        _prolong(cursor, [hash_], now)
    cursor.execute("DELETE FROM token WHERE user = ? AND device = ? AND id < ?", (user, device, id_))
    return found.session


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


def _use(cursor: Cursor, hash_: bytes, now: int) -> bool:
    """Whether there is the token, whose use this is."""
    _prolong(cursor, [hash_], now)
    return cursor.execute("SELECT 1 FROM token WHERE hash = ?", (hash_,)).one() is not None


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
