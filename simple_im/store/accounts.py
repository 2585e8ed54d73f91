"""The people: their accounts, and who of them there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from simple_im.limits import KNOWN_USERS
from simple_im.status import Forbidden, UserExists
from simple_im.store.contacts import touch_contact
from simple_im.store.database import Cursor, Database
from simple_im.store.tokens import Session, delete_others

LARGEST: Final = 2**63 - 1
"""The largest integer that SQLite holds."""


@dataclass(frozen=True, slots=True)
class User:
    """What a user's contacts may know."""

    id: int
    name: str
    phone: str
    avatar: str


class Password(NamedTuple):
    """Whose it is, and its hash in PHC form."""

    user: int
    hash: str


class Changes(NamedTuple):
    """New values for an account; None leaves a value as it is. `password` is a hash in PHC form."""

    name: str | None = None
    avatar: str | None = None
    password: str | None = None


class Accounts:
    """Creates and finds users; remembers which ids exist."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, None] = {}

    async def create(self, name: str, phone: str, password_hash: str, now: int) -> int:
        """The new user's id; raises `UserExists`."""
        user = await self._database.write(_insert, name, phone, password_hash, now)
        if user is None:
            raise UserExists()
        return user

    async def password(self, phone: str) -> Password | None:
        """Whom a phone belongs to and the hash that the password must match."""
        return await self._database.read(_password, phone)

    async def by_id(self, user: int) -> User | None:
        """The user with this id."""
        return await self._database.read(_find, "id", user) if _is_id(user) else None

    async def by_phone(self, phone: str) -> User | None:
        """The user with this phone."""
        return await self._database.read(_find, "phone", phone)

    async def update(self, session: Session, changes: Changes, old_hash: str | None = None) -> list[Session]:
        """Change what is given; the lists of those who have the user for a contact change with it.

        A new password revokes the user's other tokens; gives those. Raises `Forbidden`, and changes nothing, where
        `old_hash` is given and is not the user's any more.
        """
        return await self._database.write(_update, session, changes, old_hash)

    async def password_of(self, user: int) -> str | None:
        """The hash that the user's password must match."""
        return await self._database.read(_password_of, user)

    def is_known(self, user: int) -> bool:
        """Whether the user is remembered to exist; if not, `exists` knows."""
        return user in self._known

    async def exists(self, user: int) -> bool:
        """Whether there is such a user."""
        if not _is_id(user) or await self._database.read(_find, "id", user) is None:
            return False
        if user not in self._known and len(self._known) >= KNOWN_USERS:
            del self._known[next(iter(self._known))]
        self._known[user] = None
        return True


def _is_id(user: int) -> bool:
    return 0 < user <= LARGEST


def _insert(cursor: Cursor, name: str, phone: str, password_hash: str, now: int) -> int | None:
    cursor.execute(
        "INSERT INTO user (name, phone, password, created) VALUES (?, ?, ?, ?) ON CONFLICT (phone) DO NOTHING"
        " RETURNING id",
        (name, phone, password_hash, now),
    )
    row = cursor.one()
    return None if row is None else int(row[0])


def _password(cursor: Cursor, phone: str) -> Password | None:
    row = cursor.execute("SELECT id, password FROM user WHERE phone = ?", (phone,)).one()
    return None if row is None else Password(*row)


_FIND: Final = {
    "id": "SELECT id, name, phone, avatar FROM user WHERE id = ?",
    "phone": "SELECT id, name, phone, avatar FROM user WHERE phone = ?",
}


def _find(cursor: Cursor, by: str, value: Any) -> User | None:
    row = cursor.execute(_FIND[by], (value,)).one()
    return None if row is None else User(*row)


def _password_of(cursor: Cursor, user: int) -> str | None:
    row = cursor.execute("SELECT password FROM user WHERE id = ?", (user,)).one()
    return None if row is None else str(row[0])


def _update(cursor: Cursor, session: Session, changes: Changes, old_hash: str | None) -> list[Session]:
    cursor.execute(
        "UPDATE user SET name = coalesce(?, name), avatar = coalesce(?, avatar), password = coalesce(?, password)"
        " WHERE id = ? AND password = coalesce(?, password)",
        (*changes, session.user, old_hash),
    )
    if not cursor.count:
        raise Forbidden()
    if changes.name is not None or changes.avatar is not None:
        touch_contact(cursor, session.user)
    return [] if changes.password is None else delete_others(cursor, session)
