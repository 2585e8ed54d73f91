"""Groups: who made them, who is in them, and who may do what.

Each change is posted to the members in its own transaction. The members of groups that are written to are kept in
memory for the router; every change here drops what is kept.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from simple_im.limits import KNOWN_GROUPS
from simple_im.status import Forbidden, GroupFull, MemberExists, NotFound
from simple_im.store.database import Cursor, Database
from simple_im.store.entries import Draft
from simple_im.store.outgoing import Notice, post

_KEY_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its members see it in their list."""

    id: int
    name: str
    creator: int


@dataclass(frozen=True, slots=True)
class Member:
    """A member as the others see them."""

    id: int
    name: str
    avatar: str


@dataclass(frozen=True, slots=True)
class Details:
    """A group with the key to join it by and its members, the oldest first."""

    group: Group
    g_key: str
    members: list[Member]


class Groups:
    """Makes, changes and shows groups of up to `most` members. Who acts is the notice's sender."""

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most
        self._members: dict[int, tuple[int, ...]] = {}

    # For the router.

    def known_members(self, g_id: int) -> tuple[int, ...] | None:
        """The members, where they are in memory; if not, `members` knows."""
        return self._members.get(g_id)

    async def members(self, g_id: int) -> tuple[int, ...]:
        """The members of a group; none where there is no such group."""
        found = await self._database.read(_member_ids, g_id)
        if found:
            self._remember(g_id, found)
        return found

    def _remember(self, g_id: int, members: tuple[int, ...]) -> None:
        if g_id not in self._members and len(self._members) >= KNOWN_GROUPS:
            del self._members[next(iter(self._members))]
        self._members[g_id] = members

    # For the HTTPS door.

    async def of(self, user: int) -> list[Group]:
        """The groups that a user is in."""
        return await self._database.read(_groups_of, user)

    async def show(self, user: int, g_id: int) -> Details:
        """A group, for a member; raises `NotFound`, `Forbidden`."""
        return await self._database.read(_show, user, g_id)

    async def create(self, notice: Notice, name: str, members: Sequence[int], now: int) -> tuple[Details, Draft]:
        """A new group of the creator and `members`; raises `NotFound` for one that does not exist, `GroupFull`."""
        return await self._database.write(_create, notice, name, members, now, self._most)

    async def delete(self, notice: Notice, g_id: int) -> Draft:
        """The creator ends the group; raises `NotFound`, `Forbidden`."""
        return await self._change(g_id, _delete, notice)

    async def join(self, notice: Notice, g_id: int, g_key: str) -> Draft:
        """Who knows the key joins; raises `NotFound`, `Forbidden`, `MemberExists`, `GroupFull`."""
        return await self._change(g_id, _join, notice, g_key, self._most)

    async def add(self, notice: Notice, g_id: int, user: int) -> Draft:
        """The creator adds a user; raises `NotFound`, `Forbidden`, `MemberExists`, `GroupFull`."""
        return await self._change(g_id, _add, notice, user, self._most)

    async def leave(self, notice: Notice, g_id: int) -> Draft:
        """A member leaves; a creator hands the group to its oldest member, and the last one ends it."""
        return await self._change(g_id, _leave, notice)

    async def remove(self, notice: Notice, g_id: int, user: int) -> Draft:
        """The creator removes a member; raises `NotFound`, `Forbidden`."""
        return await self._change(g_id, _remove, notice, user)

    async def _change(self, g_id: int, change: Callable[..., Draft], notice: Notice, *args: object) -> Draft:
        draft = await self._database.write(change, notice, g_id, *args)
        self._members.pop(g_id, None)
        return draft


def _group(cursor: Cursor, g_id: int) -> Group:
    row = cursor.execute('SELECT id, name, creator FROM "group" WHERE id = ?', (g_id,)).one()
    if row is None:
        raise NotFound()
    return Group(*row)


def _owned(cursor: Cursor, g_id: int, user: int) -> Group:
    """The group, for its creator alone."""
    group = _group(cursor, g_id)
    if group.creator != user:
        raise Forbidden()
    return group


def _member_ids(cursor: Cursor, g_id: int) -> tuple[int, ...]:
    cursor.execute("SELECT user FROM member WHERE g_id = ? ORDER BY id", (g_id,))
    return tuple(user for (user,) in cursor.all())


def _is_member(cursor: Cursor, g_id: int, user: int) -> bool:
    return cursor.execute("SELECT 1 FROM member WHERE g_id = ? AND user = ?", (g_id, user)).one() is not None


def _groups_of(cursor: Cursor, user: int) -> list[Group]:
    cursor.execute(
        'SELECT g.id, g.name, g.creator FROM member AS m JOIN "group" AS g ON g.id = m.g_id'
        " WHERE m.user = ? ORDER BY g.id",
        (user,),
    )
    return [Group(*row) for row in cursor.all()]


def _show(cursor: Cursor, user: int, g_id: int) -> Details:
    group = _group(cursor, g_id)
    if not _is_member(cursor, g_id, user):
        raise Forbidden()
    (g_key,) = cursor.execute('SELECT g_key FROM "group" WHERE id = ?', (g_id,)).one()
    cursor.execute(
        "SELECT u.id, u.name, u.avatar FROM member AS m JOIN user AS u ON u.id = m.user WHERE m.g_id = ? ORDER BY m.id",
        (g_id,),
    )
    return Details(group, g_key, [Member(*row) for row in cursor.all()])


def _create(
    cursor: Cursor, notice: Notice, name: str, members: Sequence[int], now: int, most: int
) -> tuple[Details, Draft]:
    g_key = secrets.token_urlsafe(_KEY_BYTES)
    cursor.execute(
        'INSERT INTO "group" (name, creator, g_key, created) VALUES (?, ?, ?, ?) RETURNING id',
        (name, notice.sender, g_key, now),
    )
    (g_id,) = cursor.one()
    for user in dict.fromkeys((notice.sender, *members)):
        _insert_member(cursor, g_id, user, most)
    draft = post(cursor, notice.saying("create_group", g_id=g_id, name=name), _member_ids(cursor, g_id))
    return _show(cursor, notice.sender, g_id), draft


def _insert_member(cursor: Cursor, g_id: int, user: int, most: int) -> None:
    if cursor.execute("SELECT 1 FROM user WHERE id = ?", (user,)).one() is None:
        raise NotFound()
    if _is_member(cursor, g_id, user):
        raise MemberExists()
    (count,) = cursor.execute("SELECT count(*) FROM member WHERE g_id = ?", (g_id,)).one()
    if count >= most:
        raise GroupFull()
    cursor.execute("INSERT INTO member (g_id, user) VALUES (?, ?)", (g_id, user))


def _delete(cursor: Cursor, notice: Notice, g_id: int) -> Draft:
    _owned(cursor, g_id, notice.sender)
    draft = post(cursor, notice.saying("delete_group", g_id=g_id), _member_ids(cursor, g_id))
    _end(cursor, g_id)
    return draft


def _end(cursor: Cursor, g_id: int) -> None:
    cursor.execute("DELETE FROM member WHERE g_id = ?", (g_id,))
    cursor.execute('DELETE FROM "group" WHERE id = ?', (g_id,))


def _join(cursor: Cursor, notice: Notice, g_id: int, g_key: str, most: int) -> Draft:
    _group(cursor, g_id)
    (key,) = cursor.execute('SELECT g_key FROM "group" WHERE id = ?', (g_id,)).one()
    if not hmac.compare_digest(key.encode(), g_key.encode()):
        raise Forbidden()
    return _enter(cursor, notice, g_id, notice.sender, most)


def _add(cursor: Cursor, notice: Notice, g_id: int, user: int, most: int) -> Draft:
    _owned(cursor, g_id, notice.sender)
    return _enter(cursor, notice, g_id, user, most)


def _enter(cursor: Cursor, notice: Notice, g_id: int, user: int, most: int) -> Draft:
    _insert_member(cursor, g_id, user, most)
    said = notice.saying("create_group_member", g_id=g_id, member_id=user)
    return post(cursor, said, _member_ids(cursor, g_id))


def _leave(cursor: Cursor, notice: Notice, g_id: int) -> Draft:
    group, user = _group(cursor, g_id), notice.sender
    if not _is_member(cursor, g_id, user):
        raise Forbidden()
    draft = _exit(cursor, notice, g_id, user)
    members = _member_ids(cursor, g_id)
    if not members:
        _end(cursor, g_id)
    elif group.creator == user:
        cursor.execute('UPDATE "group" SET creator = ? WHERE id = ?', (members[0], g_id))
    return draft


def _remove(cursor: Cursor, notice: Notice, g_id: int, user: int) -> Draft:
    _owned(cursor, g_id, notice.sender)
    if not _is_member(cursor, g_id, user):
        raise NotFound()
    if user == notice.sender:
        return _leave(cursor, notice, g_id)
    return _exit(cursor, notice, g_id, user)


def _exit(cursor: Cursor, notice: Notice, g_id: int, user: int) -> Draft:
    """The one who goes is told too."""
    draft = post(
        cursor, notice.saying("delete_group_member", g_id=g_id, member_id=user), _member_ids(cursor, g_id)
    )
    cursor.execute("DELETE FROM member WHERE g_id = ? AND user = ?", (g_id, user))
    return draft
