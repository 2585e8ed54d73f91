"""Contacts: lists that change on both sides, and clients that keep in step with theirs."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from simple_im.status import ContactExists, NotFound, Refused, StorageUnavailable, WaitingForAccept
from simple_im.store.accounts import Accounts
from simple_im.store.accounts import Changes as Values
from simple_im.store.contacts import Changes, Contact, Contacts, PreContact
from simple_im.store.entries import Draft
from simple_im.store.outgoing import Notice
from simple_im.store.tokens import Session
from tests.fakes import MemoryDatabase, result_of
from tests.store.fakes import make_users
from tests.store.stepped import SteppedCase

USERS = (1, 2, 3, 4)


def notice(sender: int, to: int) -> Notice:
    return Notice(sender, "phone", "n", {"to": to})


class AtomicTests(SteppedCase):
    """What is done is done on both sides and told, or not at all."""

    def setUp(self) -> None:
        super().setUp()
        self.contacts = Contacts(self.database)

    def everything(self) -> list[Any]:
        tables = ("contact", "pre_contact", "outgoing", "user")
        return [self.database.rows(f"SELECT * FROM {table}") for table in tables]

    def assert_nothing_is_left(self, change: Coroutine[Any, Any, Draft]) -> None:
        """A change whose commit fails leaves all as it was."""
        before = self.everything()
        self.database.broken = True
        failing = self.start(change)
        self.database.settle()
        self.failureResultOf(failing, StorageUnavailable)
        self.database.broken = False
        self.assertEqual(self.everything(), before)

    def test_all_or_nothing(self) -> None:
        """A request, an acceptance and a removal whose commits fail leave no half of them, and no notice."""
        for change in (
            lambda: self.contacts.ask(notice(1, 2), 2, "hi", 7),
            lambda: self.contacts.accept(notice(2, 1), 1),
            lambda: self.contacts.remove(notice(1, 2), 2),
        ):
            self.assert_nothing_is_left(change())
            self.done(change())

    def test_told_in_the_same_transaction(self) -> None:
        """With each change its notice is stored, for both; with a refused one none."""
        self.done(self.contacts.ask(notice(1, 2), 2, "hi", 7))
        again = self.start(self.contacts.ask(notice(1, 2), 2, "hi", 7))
        self.database.settle()
        self.failureResultOf(again, WaitingForAccept)
        self.done(self.contacts.accept(notice(2, 1), 1))
        self.done(self.contacts.remove(notice(1, 2), 2))
        rows = self.database.rows("SELECT sender, users FROM outgoing ORDER BY id")
        self.assertEqual(rows, [(1, "2 1"), (2, "1 2"), (1, "2 1")])


@dataclass
class Owner:
    """A user in the model: the true list, its version, and the lists that clients have kept, by version."""

    id: int
    name: str
    avatar: str = ""
    version: int = 0
    contacts: dict[int, int] = field(default_factory=dict)
    """Their versions, by id."""
    kept: dict[int, dict[int, Contact]] = field(default_factory=lambda: {0: {}})

    def change(self, other: int, *, removed: bool = False) -> None:
        self.version += 1
        if removed:
            del self.contacts[other]
        else:
            self.contacts[other] = self.version


def brought_up(kept: dict[int, Contact], changes: Changes) -> dict[int, Contact]:
    """What a client makes of its list and of what has changed."""
    removed = set(changes.removed)
    changed = {contact.id: contact for contact in changes.contacts}
    return {id_: contact for id_, contact in {**kept, **changed}.items() if id_ not in removed}


users = st.sampled_from(USERS)
pairs = st.permutations(USERS).map(lambda users: (users[0], users[1]))


class ContactMachine(RuleBasedStateMachine):
    """Users that ask, accept, remove and rename, and a model of what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.database = MemoryDatabase()
        self.contacts, self.accounts = Contacts(self.database), Accounts(self.database)
        result_of(make_users(self.database, len(USERS)))
        self.owners = {user: Owner(user, f"user {user - 1}") for user in USERS}
        self.asked: dict[tuple[int, int], PreContact] = {}
        self.now = 0

    def teardown(self) -> None:
        self.database._connection.close()

    # What is done.

    @rule(pair=pairs)
    def go_on(self, pair: tuple[int, int]) -> None:
        """What is next for two users: to ask, to accept, to remove."""
        if pair[1] in self.owners[pair[0]].contacts:
            self.remove(pair)
        elif pair[::-1] in self.asked:
            self.accept(pair)
        else:
            self.ask(pair)

    @rule(pair=pairs)
    def ask(self, pair: tuple[int, int]) -> None:
        user, other = pair
        self.now += 1
        words = f"words {self.now}"
        outcome = self.outcome(self.contacts.ask(notice(user, other), other, words, self.now))
        assert outcome == self.asked_in_model(user, other, words), outcome

    def asked_in_model(self, user: int, other: int, words: str) -> str:
        if other in self.owners[user].contacts:
            return ContactExists.__name__
        if (other, user) in self.asked:
            return self.befriended(other, user)
        if (user, other) in self.asked:
            return WaitingForAccept.__name__
        self.asked[user, other] = PreContact(user, words, self.now)
        return "add_contact"

    def befriended(self, asker: int, user: int) -> str:
        del self.asked[asker, user]
        self.owners[asker].change(user)
        self.owners[user].change(asker)
        return "accept_contact"

    @rule(pair=pairs)
    def accept(self, pair: tuple[int, int]) -> None:
        user, other = pair
        outcome = self.outcome(self.contacts.accept(notice(user, other), other))
        assert outcome == self.accepted_in_model(user, other), outcome

    def accepted_in_model(self, user: int, other: int) -> str:
        if other in self.owners[user].contacts:
            return ContactExists.__name__
        return self.befriended(other, user) if (other, user) in self.asked else NotFound.__name__

    @rule(pair=pairs)
    def remove(self, pair: tuple[int, int]) -> None:
        user, other = pair
        outcome = self.outcome(self.contacts.remove(notice(user, other), other))
        assert outcome == self.removed_in_model(user, other), outcome

    def removed_in_model(self, user: int, other: int) -> str:
        if other not in self.owners[user].contacts:
            return NotFound.__name__
        self.owners[user].change(other, removed=True)
        self.owners[other].change(user, removed=True)
        return "delete_contact"

    @rule(user=users, name=st.sampled_from(["a", "b", None]), avatar=st.sampled_from(["x", "", None]))
    def update(self, user: int, name: str | None, avatar: str | None) -> None:
        result_of(self.accounts.update(Session(user, "phone", b""), Values(name, avatar)))
        owner = self.owners[user]
        if name is not None or avatar is not None:
            owner.name = owner.name if name is None else name
            owner.avatar = owner.avatar if avatar is None else avatar
            for other in owner.contacts:
                self.owners[other].change(user)

    def outcome(self, changing: Coroutine[Any, Any, Draft]) -> str:
        """What was told to whom it concerns, or why it was refused."""
        try:
            draft = result_of(changing)
        except Refused as refused:
            return type(refused).__name__
        return draft.head.decode().split('\nt = "')[1].split('"')[0]

    # What must be so.

    def truth(self, owner: Owner) -> dict[int, Contact]:
        """The list as the model has it."""
        found = {}
        for id_, version in owner.contacts.items():
            other = self.owners[id_]
            found[id_] = Contact(id_, other.name, str(10_000 + id_ - 1), other.avatar, version)
        return found

    @invariant()
    def every_client_can_catch_up(self) -> None:
        """A list of any earlier version becomes the true one by what has changed since, and by nothing else."""
        for owner in self.owners.values():
            truth = self.truth(owner)
            for version, kept in owner.kept.items():
                changes = result_of(self.contacts.changes(owner.id, version))
                assert changes.version == owner.version
                assert all(contact.contact_version > version for contact in changes.contacts)
                assert brought_up(kept, changes) == truth
                assert version < owner.version or not (changes.contacts or changes.removed)
            owner.kept.setdefault(owner.version, truth)

    @invariant()
    def requests_wait(self) -> None:
        """Who has asked and was not answered is found, the oldest first, from any time on."""
        for user in USERS:
            waiting = [request for (_, asked), request in self.asked.items() if asked == user]
            waiting.sort(key=lambda request: request.timestamp)
            for after in {0, *(request.timestamp for request in waiting)}:
                newer = [request for request in waiting if request.timestamp > after]
                assert result_of(self.contacts.requests(user, after)) == newer


class MachineTests(SynchronousTestCase):
    def test_random_changes(self) -> None:
        """Whatever several users do to each other, a client that has kept a list of any version gets in step by one
        request, and each change raises a list's version by one."""
        run_state_machine_as_test(
            ContactMachine,
            settings=settings(
                max_examples=12,
                stateful_step_count=200,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
