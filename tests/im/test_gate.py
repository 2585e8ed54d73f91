"""Who is let in."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from simple_im.im.gate import Gate, LoginRefused
from simple_im.limits import TOKEN_TRIAL
from simple_im.status import StorageUnavailable, TokenError
from simple_im.store.accounts import Accounts
from simple_im.store.tokens import Tokens
from simple_im.wire.frames import Credentials
from tests.fakes import MemoryDatabase, result_of
from tests.im.door import ANN, BOB, make_node


class GateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.database = MemoryDatabase()
        _node, accounts, self.tokens, self.inbox = make_node(self.database, 1, self.clock)
        self.gate = Gate(self.tokens, self.inbox)
        self.make_users(accounts)
        self.token = self.issue(self.tokens)

    def make_users(self, accounts: Accounts) -> None:
        for phone in ("00001", "00002"):
            result_of(accounts.create("name", phone, "", 0))
        for user, device in ((ANN, "phone"), (ANN, "pad"), (BOB, "phone")):
            result_of(self.inbox.add_device(user, device))

    def issue(self, tokens: Tokens, device: str = "phone") -> str:
        return result_of(tokens.issue(ANN, device))

    def refusal(self, user: int, device: str, token: str) -> str:
        error = self.assertRaises(LoginRefused, result_of, self.gate.admit(Credentials(user, device, token)))
        return str(error)

    def test_the_right_token(self) -> None:
        """It lets its user's device in, with the names of the user's devices."""
        session, opened = result_of(self.gate.admit(Credentials(ANN, "phone", self.token)))
        self.assertEqual((session.user, session.device), (ANN, "phone"))
        self.assertEqual((opened.state.user, opened.state.device), (ANN, "phone"))
        self.assertEqual(sorted(opened.names), ["pad", "phone"])

    def test_anything_else(self) -> None:
        """An unknown token, another user's and another device's are all the same `token error`."""
        for who in ((ANN, "phone", "x"), (BOB, "phone", self.token), (ANN, "pad", self.token), (-1, "", "")):
            self.assertEqual(self.refusal(*who), "token error")

    def test_too_late(self) -> None:
        """A token that no login has used is good for its trial."""
        self.clock.advance(TOKEN_TRIAL)
        self.assertEqual(self.refusal(ANN, "phone", self.token), "token error")

    def test_it_lasts_from_then_on(self) -> None:
        """A token that was let in is let in again, long after its trial."""
        result_of(self.gate.admit(Credentials(ANN, "phone", self.token)))
        self.clock.advance(100 * TOKEN_TRIAL)
        result_of(self.gate.admit(Credentials(ANN, "phone", self.token)))

    def test_a_forgotten_device(self) -> None:
        """A token whose device is not known any more is a `token error`."""
        token = self.issue(self.tokens, "gone")
        self.assertEqual(self.refusal(ANN, "gone", token), "token error")

    def test_no_storage(self) -> None:
        """What the database can't tell is no `token error`."""
        self.database.fails_with = StorageUnavailable()
        admission = self.gate.admit(Credentials(ANN, "phone", self.token))
        self.assertRaises(StorageUnavailable, result_of, admission)

    def test_leaving(self) -> None:
        """Who has left is not let in again with the same token."""
        session, _opened = result_of(self.gate.admit(Credentials(ANN, "phone", self.token)))
        result_of(self.gate.leave(session))
        self.assertEqual(self.refusal(ANN, "phone", self.token), "token error")
        self.assertRaises(TokenError, result_of, self.tokens.check(self.token))
