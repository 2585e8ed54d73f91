"""The people."""

from __future__ import annotations

from simple_im.status import StorageUnavailable, UserExists
from simple_im.store import accounts as accounts_module
from simple_im.store.accounts import Accounts, Password, User
from tests.store.stepped import SteppedCase


class AccountCase(SteppedCase):
    def setUp(self) -> None:
        super().setUp()
        self.accounts = Accounts(self.database)

    def create(self, phone: str = "12345", name: str = "Ann") -> int:
        return self.done(self.accounts.create(name, phone, "$argon2id$…", 1_000))


class CreateTests(AccountCase):
    def test_created(self) -> None:
        """An account is found by its id and by its phone."""
        user = self.create()
        ann = User(user, "Ann", "12345", "")
        self.assertEqual(self.done(self.accounts.by_id(user)), ann)
        self.assertEqual(self.done(self.accounts.by_phone("12345")), ann)

    def test_ids(self) -> None:
        """Ids are positive, and no two are the same."""
        users = [self.create(f"{number}") for number in range(5)]
        self.assertEqual(users, sorted(set(users)))
        self.assertGreater(users[0], 0)

    def test_id_not_given_again(self) -> None:
        """A user's id is nobody else's, also when the user is gone."""
        user = self.create("1")
        self.database.rows("DELETE FROM user WHERE id = ?", user)
        self.assertGreater(self.create("2"), user)

    def test_phone_taken(self) -> None:
        """A phone belongs to one account, which stays as it is."""
        user = self.create(name="Ann")
        failure = self.start(self.accounts.create("Bob", "12345", "other", 2_000))
        self.database.settle()
        self.failureResultOf(failure, UserExists)
        self.assertEqual(self.done(self.accounts.by_phone("12345")), User(user, "Ann", "12345", ""))

    def test_two_at_once(self) -> None:
        """Of two that ask for the same phone at the same time one gets it."""
        both = [self.start(self.accounts.create(name, "12345", "hash", 0)) for name in ("Ann", "Bob")]
        self.database.settle()
        self.successResultOf(both[0])
        self.failureResultOf(both[1], UserExists)

    def test_leading_zero(self) -> None:
        """Phones are text: zeros in front make another phone."""
        self.assertNotEqual(self.create("0123"), self.create("123"))
        found = self.done(self.accounts.by_phone("0123"))
        assert found is not None
        self.assertEqual(found.phone, "0123")

    def test_any_name(self) -> None:
        """A name may hold any character."""
        name = "'; DROP TABLE user; -- é 漢 😀 \u0000 \""
        found = self.done(self.accounts.by_id(self.create(name=name)))
        assert found is not None
        self.assertEqual(found.name, name)

    def test_storage(self) -> None:
        """Where the database does not take it there is no account."""
        self.database.broken = True
        creating = self.start(self.accounts.create("Ann", "12345", "hash", 0))
        self.database.settle()
        self.failureResultOf(creating, StorageUnavailable)
        self.assertIsNone(self.done(self.accounts.by_phone("12345")))


class FindTests(AccountCase):
    def test_nobody(self) -> None:
        """Where there is nobody, nobody is found."""
        self.assertIsNone(self.done(self.accounts.by_phone("12345")))
        self.assertIsNone(self.done(self.accounts.password("12345")))
        for user in (99, 0, -1, 2**63 - 1, 2**63, 2**200, -(2**200)):
            self.assertIsNone(self.done(self.accounts.by_id(user)), user)
            self.assertFalse(self.done(self.accounts.exists(user)), user)

    def test_password(self) -> None:
        """The hash that a phone's password must match comes with whose it is."""
        user = self.create()
        self.assertEqual(self.done(self.accounts.password("12345")), Password(user, "$argon2id$…"))

    def test_survives(self) -> None:
        """Accounts are in the database, not in memory."""
        user = self.create()
        self.assertTrue(self.done(Accounts(self.database).exists(user)))


class KnownTests(AccountCase):
    def known(self, users: list[int]) -> list[bool]:
        return [self.accounts.is_known(user) for user in users]

    def test_remembered(self) -> None:
        """Who was found to exist is remembered; who was not is asked for again."""
        user = self.create()
        self.assertFalse(self.accounts.is_known(user))
        for other in (user, user + 1):
            self.done(self.accounts.exists(other))
        self.assertEqual(self.known([user, user + 1]), [True, False])
        self.assertTrue(self.done(self.accounts.exists(self.create("999"))))

    def test_bounded(self) -> None:
        """As many as the limit are remembered; one more, and the oldest is forgotten, though it exists."""
        self.patch(accounts_module, "KNOWN_USERS", 3)
        users = [self.create(f"{number}") for number in range(4)]
        for user in users[:3]:
            self.done(self.accounts.exists(user))
        self.assertEqual(self.known(users), [True, True, True, False])
        self.done(self.accounts.exists(users[3]))
        self.assertEqual(self.known(users), [False, True, True, True])
        self.assertTrue(self.done(self.accounts.exists(users[0])))

    def test_again(self) -> None:
        """Asking again for one that is remembered forgets nobody else."""
        self.patch(accounts_module, "KNOWN_USERS", 2)
        users = [self.create(f"{number}") for number in range(2)]
        for user in (*users, users[1], users[1]):
            self.done(self.accounts.exists(user))
        self.assertEqual(self.known(users), [True, True])
