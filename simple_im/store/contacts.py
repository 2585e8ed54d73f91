"""Contacts: who knows whom, who has asked whom, and what has changed since a client last looked.

Both sides of a contact change in one transaction. Each change of a user's list raises the list's version by one,
and the contact that changed, or went, is marked with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from simple_im.status import ContactExists, NotFound, WaitingForAccept
from simple_im.store.database import Cursor, Database
from simple_im.store.entries import Draft
from simple_im.store.outgoing import Notice, post


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact as its owner sees it; `contact_version` is the version of the list at which it last changed."""

    id: int
    name: str
    phone: str
    avatar: str
    contact_version: int


@dataclass(frozen=True, slots=True)
class PreContact:
    """Who has asked to be a contact, with what words and when (unix seconds)."""

    user_id: int
    message: str
    timestamp: int


@dataclass(slots=True)
class Changes:
    """What brings a list from an earlier version to `version`."""

    version: int
    contacts: list[Contact] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)


class Contacts:
    """Asks, accepts, removes, and tells what has changed. What is changed is posted in the same transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, notice: Notice, asked: int, message: str, now: int) -> Draft:
        """The notice's sender asks `asked`; where `asked` has asked the sender, that is an acceptance.

        Gives the notice to send. Raises `NotFound`, `ContactExists`, `WaitingForAccept`.
        """
        return await self._database.write(_ask, notice, asked, message, now)

    async def accept(self, notice: Notice, asker: int) -> Draft:
        """The notice's sender accepts `asker`; raises `NotFound` where there is no request, `ContactExists`."""
        return await self._database.write(_accept, notice, asker)

    async def remove(self, notice: Notice, other: int) -> Draft:
        """Neither is the other's contact any more; raises `NotFound` where they were none."""
        return await self._database.write(_remove, notice, other)

    async def changes(self, user: int, since: int) -> Changes:
        """What has changed in a user's list since version `since`."""
        return await self._database.read(_changes, user, since)

    async def requests(self, user: int, after: int) -> list[PreContact]:
        """Who has asked this user after unix time `after` and was not answered, oldest first."""
        return await self._database.read(_requests, user, after)


def _ask(cursor: Cursor, notice: Notice, asked: int, message: str, now: int) -> Draft:
    asker = notice.sender
    if cursor.execute("SELECT 1 FROM user WHERE id = ?", (asked,)).one() is None:
        raise NotFound()
    if _are_contacts(cursor, asker, asked):
        raise ContactExists()
    if _has_asked(cursor, asked, asker):
        return _befriend(cursor, notice, asked)
    if _has_asked(cursor, asker, asked):
        raise WaitingForAccept()
    cursor.execute(
        "INSERT INTO pre_contact (user, asker, message, ts) VALUES (?, ?, ?, ?)", (asked, asker, message, now)
    )
    return post(cursor, notice.saying("add_contact", ask=message), [asked])


def _accept(cursor: Cursor, notice: Notice, asker: int) -> Draft:
    if _are_contacts(cursor, notice.sender, asker):
        raise ContactExists()
    if not _has_asked(cursor, asker, notice.sender):
        raise NotFound()
    return _befriend(cursor, notice, asker)


def _befriend(cursor: Cursor, notice: Notice, asker: int) -> Draft:
    """The notice's sender takes `asker`, who has asked, for a contact."""
    accepter = notice.sender
    cursor.execute("DELETE FROM pre_contact WHERE user = ? AND asker = ?", (accepter, asker))
    _change(cursor, accepter, asker, removed=False)
    _change(cursor, asker, accepter, removed=False)
    return post(cursor, notice.saying("accept_contact"), [asker])


def _remove(cursor: Cursor, notice: Notice, other: int) -> Draft:
    user = notice.sender
    if not _are_contacts(cursor, user, other):
        raise NotFound()
    _change(cursor, user, other, removed=True)
    _change(cursor, other, user, removed=True)
    return post(cursor, notice.saying("delete_contact"), [other])


def touch_contact(cursor: Cursor, user: int) -> None:
    """What others see of this user has changed: so have the lists of all that have them."""
    owners = cursor.execute("SELECT user FROM contact WHERE other = ? AND NOT removed", (user,)).all()
    for (owner,) in owners:
        _change(cursor, owner, user, removed=False)


def _change(cursor: Cursor, user: int, other: int, *, removed: bool) -> None:
    """One change of one list."""
    cursor.execute(
        "UPDATE user SET contact_version = contact_version + 1 WHERE id = ? RETURNING contact_version", (user,)
    )
    (version,) = cursor.one()
    cursor.execute(
        "INSERT INTO contact (user, other, version, removed) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user, other) DO UPDATE SET version = excluded.version, removed = excluded.removed",
        (user, other, version, removed),
    )


def _are_contacts(cursor: Cursor, user: int, other: int) -> bool:
    found = cursor.execute("SELECT 1 FROM contact WHERE user = ? AND other = ? AND NOT removed", (user, other))
    return found.one() is not None


def _has_asked(cursor: Cursor, asker: int, asked: int) -> bool:
    found = cursor.execute("SELECT 1 FROM pre_contact WHERE user = ? AND asker = ?", (asked, asker))
    return found.one() is not None


def _changes(cursor: Cursor, user: int, since: int) -> Changes:
    (version,) = cursor.execute("SELECT contact_version FROM user WHERE id = ?", (user,)).one() or (0,)
    changes = Changes(version)
    cursor.execute(
        "SELECT u.id, u.name, u.phone, u.avatar, c.version, c.removed"
        " FROM contact AS c JOIN user AS u ON u.id = c.other WHERE c.user = ? AND c.version > ? ORDER BY c.version",
        (user, since),
    )
    for *contact, removed in cursor.all():
        if removed:
            changes.removed.append(contact[0])
        else:
            changes.contacts.append(Contact(*contact))
    return changes


def _requests(cursor: Cursor, user: int, after: int) -> list[PreContact]:
    cursor.execute(
        "SELECT asker, message, ts FROM pre_contact WHERE user = ? AND ts > ? ORDER BY ts, asker", (user, after)
    )
    return [PreContact(*row) for row in cursor.all()]
