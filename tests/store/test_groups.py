"""Groups in the store: who is in them, as the router knows it, and changes that are made whole or not at all."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from simple_im.status import Forbidden, GroupFull, MemberExists, NotFound, Refused, StorageUnavailable
from simple_im.store import groups as groups_module
from simple_im.store.groups import Group, Groups, Member
from simple_im.store.outgoing import Notice
from tests.store.stepped import SteppedCase

MOST = 3


def by(user: int) -> Notice:
    return Notice(user, "phone", "gn", {})


class GroupCase(SteppedCase):
    """Users 1 to 4, of whom 1 makes groups."""

    def setUp(self) -> None:
        super().setUp()
        self.groups = Groups(self.database, MOST)

    def make(self, *members: int, creator: int = 1) -> int:
        details, _ = self.done(self.groups.create(by(creator), "group", members, 1_000))
        return details.group.id

    def members(self, g_id: int) -> tuple[int, ...]:
        """As the router finds them."""
        known = self.groups.known_members(g_id)
        return self.done(self.groups.members(g_id)) if known is None else known

    def refusal(self, change: Coroutine[Any, Any, Any]) -> type[Exception]:
        started = self.start(change)
        self.database.settle()
        return type(self.failureResultOf(started, Refused).value)

    def rows(self) -> list[Any]:
        return [self.database.rows(f'SELECT * FROM "{table}"') for table in ("group", "member", "outgoing")]


class MakeTests(GroupCase):
    def test_made(self) -> None:
        """A group has its creator and the members that were named, each once, and a key that no other has."""
        details, draft = self.done(self.groups.create(by(2), "group", [3, 2, 3], 1_000))
        self.assertEqual(details.group, Group(1, "group", 2))
        self.assertEqual(details.members, [Member(2, "user 1", ""), Member(3, "user 2", "")])
        self.assertEqual(draft.users, (2, 3))
        other, _ = self.done(self.groups.create(by(2), "group", [], 1_000))
        self.assertNotEqual(other.g_key, details.g_key)
        rows = self.database.rows('SELECT creator, g_key, created FROM "group" ORDER BY id')
        self.assertEqual(rows, [(2, details.g_key, 1_000), (2, other.g_key, 1_000)])

    def test_not_made(self) -> None:
        """With a member that does not exist, or one too many, there is no group, no member and no notice."""
        self.assertEqual(self.refusal(self.groups.create(by(1), "group", [2, 99], 0)), NotFound)
        self.assertEqual(self.refusal(self.groups.create(by(1), "group", [2, 3, 4], 0)), GroupFull)
        self.assertEqual(self.rows(), [[], [], []])
        self.assertEqual(len(self.members(self.make(2, 3))), MOST)

    def test_id_not_given_again(self) -> None:
        """A group's id is no other's, also when the group has ended: its members are not the new one's."""
        g_id = self.make(2)
        self.done(self.groups.delete(by(1), g_id))
        self.assertGreater(self.make(3), g_id)


class ChangeTests(GroupCase):
    def test_limit(self) -> None:
        """A group takes as many as it may have, by any way, and not one more."""
        g_id = self.make()
        key = self.done(self.groups.show(1, g_id)).g_key
        self.done(self.groups.add(by(1), g_id, 2))
        self.done(self.groups.join(by(3), g_id, key))
        self.assertEqual(self.refusal(self.groups.join(by(4), g_id, key)), GroupFull)
        self.assertEqual(self.refusal(self.groups.add(by(1), g_id, 4)), GroupFull)
        self.assertEqual(self.refusal(self.groups.add(by(1), g_id, 3)), MemberExists)
        self.done(self.groups.leave(by(2), g_id))
        self.done(self.groups.join(by(4), g_id, key))
        self.assertEqual(self.members(g_id), (1, 3, 4))

    def test_key(self) -> None:
        """Only the whole key of that group lets one in."""
        g_id, key = self.make(), self.done(self.groups.show(1, self.make())).g_key
        own = self.done(self.groups.show(1, g_id)).g_key
        for wrong in ("", own[:-1], own + "x", own.swapcase(), key, "é", "\0"):
            self.assertEqual(self.refusal(self.groups.join(by(2), g_id, wrong)), Forbidden)
        self.assertEqual(self.members(g_id), (1,))

    def test_oldest_inherits(self) -> None:
        """A creator who leaves hands the group to who has been in it longest, not to the smallest id; a member who
        leaves and comes back is the youngest."""
        g_id = self.make(4, 2)
        self.done(self.groups.leave(by(1), g_id))
        self.assertEqual(self.done(self.groups.show(2, g_id)).group.creator, 4)
        self.done(self.groups.add(by(4), g_id, 1))
        self.done(self.groups.remove(by(4), g_id, 4))
        self.assertEqual(self.done(self.groups.show(1, g_id)).group.creator, 2)

    def test_who_has_inherited(self) -> None:
        """Who has got the group may do what the creator could, and who gave it away may not."""
        g_id = self.make(2)
        self.done(self.groups.leave(by(1), g_id))
        self.assertEqual(self.refusal(self.groups.delete(by(1), g_id)), Forbidden)
        self.done(self.groups.add(by(2), g_id, 1))
        self.done(self.groups.remove(by(2), g_id, 1))
        self.assertEqual(self.members(g_id), (2,))

    def test_last_one(self) -> None:
        """When the last member leaves the group ends, and nothing of it stays."""
        g_id = self.make(2)
        for user in (2, 1):
            self.done(self.groups.leave(by(user), g_id))
        self.assertEqual(self.rows()[:2], [[], []])
        self.assertEqual(self.refusal(self.groups.show(1, g_id)), NotFound)

    def test_all_or_nothing(self) -> None:
        """A change whose commit fails leaves the group, what is known of it, and the notices as they were."""
        g_id = self.make(2)
        key = self.done(self.groups.show(1, g_id)).g_key
        before = self.rows()
        for change in (
            lambda: self.groups.create(by(1), "other", [2], 0),
            lambda: self.groups.delete(by(1), g_id),
            lambda: self.groups.join(by(3), g_id, key),
            lambda: self.groups.add(by(1), g_id, 3),
            lambda: self.groups.leave(by(1), g_id),
            lambda: self.groups.remove(by(1), g_id, 2),
        ):
            self.database.broken = True
            self.assertEqual(self.refusal(change()), StorageUnavailable)
            self.database.broken = False
            self.assertEqual(self.rows(), before)
            self.assertEqual(self.members(g_id), (1, 2))


class NoticeTests(GroupCase):
    def users_of(self, change: Coroutine[Any, Any, Any]) -> set[int]:
        return set(self.done(change).users)

    def test_who_is_told(self) -> None:
        """All members are told of each change: who has come, who goes, and those of a group that ends."""
        g_id = self.make(2)
        self.assertEqual(self.users_of(self.groups.add(by(1), g_id, 3)), {1, 2, 3})
        self.assertEqual(self.users_of(self.groups.remove(by(1), g_id, 2)), {1, 2, 3})
        key = self.done(self.groups.show(1, g_id)).g_key
        self.assertEqual(self.users_of(self.groups.join(by(4), g_id, key)), {1, 3, 4})
        self.assertEqual(self.users_of(self.groups.leave(by(1), g_id)), {1, 3, 4})
        self.assertEqual(self.users_of(self.groups.delete(by(3), g_id)), {3, 4})


class KnownTests(GroupCase):
    """What is in memory of the groups that are written to."""

    def test_after_each_change(self) -> None:
        """What the router finds is right after each change, and from then on without asking."""
        g_id = self.make(2)
        key = self.done(self.groups.show(1, g_id)).g_key
        for change, expected in (
            (self.groups.add(by(1), g_id, 3), (1, 2, 3)),
            (self.groups.remove(by(1), g_id, 2), (1, 3)),
            (self.groups.join(by(4), g_id, key), (1, 3, 4)),
            (self.groups.leave(by(1), g_id), (3, 4)),
            (self.groups.delete(by(3), g_id), ()),
        ):
            self.members(g_id)
            self.done(change)
            self.assertEqual(self.members(g_id), expected)
            self.assertEqual(self.groups.known_members(g_id), expected or None)

    def test_asked_before_the_change(self) -> None:
        """Who was found in a group by a look-up that a change overtakes is not what is remembered."""
        g_id = self.make(2)
        looking = self.start(self.groups.members(g_id))
        changing = self.start(self.groups.remove(by(1), g_id, 2))
        self.database.settle()
        self.successResultOf(changing)
        self.assertEqual(self.successResultOf(looking), (1, 2))
        self.assertEqual(self.members(g_id), (1,))

    def test_asked_during_the_change(self) -> None:
        """Who is found while a change is being made is right."""
        g_id = self.make(2)
        changing = self.start(self.groups.remove(by(1), g_id, 2))
        looking = self.start(self.groups.members(g_id))
        self.database.do()
        self.database.settle()
        self.successResultOf(changing)
        self.assertEqual(self.successResultOf(looking), (1,))
        self.assertEqual(self.members(g_id), (1,))

    def test_bounded(self) -> None:
        """As many groups as the limit are remembered; one more, and the oldest is forgotten and found again."""
        self.patch(groups_module, "KNOWN_GROUPS", 2)
        ids = [self.make(2) for _ in range(3)]
        for g_id in ids:
            self.members(g_id)
        self.assertEqual([self.groups.known_members(g_id) for g_id in ids], [None, (1, 2), (1, 2)])
        self.assertEqual(self.members(ids[0]), (1, 2))

    def test_no_group(self) -> None:
        """What is no group is not remembered, and takes no group's place."""
        self.patch(groups_module, "KNOWN_GROUPS", 1)
        g_id = self.make(2)
        for number in (g_id, g_id + 1, 0, -1, 2**63 - 1):
            self.members(number)
        self.assertEqual(self.groups._members, {g_id: (1, 2)})

    def test_asked_twice(self) -> None:
        """Two look-ups of the same group forget no other."""
        self.patch(groups_module, "KNOWN_GROUPS", 2)
        first, second = self.make(2), self.make(2)
        self.members(first)
        both = [self.start(self.groups.members(second)) for _ in range(2)]
        self.database.settle()
        self.assertEqual([self.successResultOf(each) for each in both], [(1, 2), (1, 2)])
        self.assertEqual(self.groups.known_members(first), (1, 2))
