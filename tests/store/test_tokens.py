"""Tokens: who is signed in on which device, and for how long."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from twisted.trial.unittest import TestCase

from simple_im.limits import TOKEN_LIFE, TOKEN_TOUCH, TOKEN_TRIAL
from simple_im.status import Mismatch, StorageUnavailable, TokenError
from simple_im.store import tokens as tokens_module
from simple_im.store.database import Cursor, Database, prepare
from simple_im.store.sequence import raise_epoch
from simple_im.store.tokens import Session, Tokens, new_token, token_hash
from tests.store.fakes import PHONE, make_users
from tests.store.stepped import SteppedCase

DAY = 86_400


class TokenCase(SteppedCase):
    """Two users' devices, and `now` to be moved."""

    def setUp(self) -> None:
        super().setUp()
        for user, name in ((1, PHONE), (1, "tablet"), (2, PHONE)):
            self.device(user, name)
        self.now = 1_000_000.75
        self.tokens = Tokens(self.database, lambda: self.now)

    def issue(self, user: int = 1, device: str = PHONE) -> str:
        return self.done(self.tokens.issue(user, device))

    def claim(self, token: str, user: int = 1, device: str = PHONE) -> Session:
        return self.done(self.tokens.claim(token, user, device))

    def lasting(self) -> str:
        token = self.issue()
        self.claim(token)
        return token

    def is_good(self, token: str) -> bool:
        checking = self.start(self.tokens.check(token))
        checking.addErrback(lambda failure: failure.trap(TokenError))
        self.database.settle()
        return isinstance(self.successResultOf(checking), Session)

    def assert_no_claim(self, token: str, user: int = 1, device: str = PHONE) -> None:
        claiming = self.start(self.tokens.claim(token, user, device))
        self.database.settle()
        self.failureResultOf(claiming, TokenError)

    def seen(self, user: int = 1, device: str = PHONE) -> int:
        return int(self.database.rows("SELECT seen FROM device WHERE user = ? AND name = ?", user, device)[0][0])


class MakeTests(TokenCase):
    def test_form(self) -> None:
        """A token is 32 URL-safe characters, and no two are the same."""
        tokens = [new_token() for _ in range(100)]
        for token in tokens:
            self.assertTrue(re.fullmatch(r"[A-Za-z0-9_-]{32}", token), token)
        self.assertEqual(len(set(tokens)), 100)

    def test_session(self) -> None:
        """A token says whose it is, on which device."""
        token = self.issue(1, "tablet")
        session = Session(1, "tablet", hashlib.sha256(token.encode()).digest())
        self.assertEqual(self.done(self.tokens.check(token)), session)

    def test_unknown(self) -> None:
        """What was never issued is no token, whatever characters it holds."""
        self.issue()
        for token in ("", "x", new_token(), "' OR 1=1 --", "\ud800", "é", "\u0000"):
            self.assertFalse(self.is_good(token), repr(token))

    def test_case(self) -> None:
        """A token in other letters is another."""
        token = self.issue()
        self.assertFalse(self.is_good(token.swapcase()))


class TrialTests(TokenCase):
    def test_hundred_seconds(self) -> None:
        """A token that no IM login has used is good for 100 seconds."""
        self.assertEqual(TOKEN_TRIAL, 100)
        token = self.issue()
        self.now += 99
        self.assertTrue(self.is_good(token))
        self.now += 1
        self.assertFalse(self.is_good(token))

    def test_not_prolonged(self) -> None:
        """HTTP requests do not prolong it."""
        token = self.issue()
        for _ in range(99):
            self.now += 1
            self.assertTrue(self.is_good(token))
        self.now += 1
        self.assertFalse(self.is_good(token))

    def test_not_prolonged_by_age(self) -> None:
        """Nor do they where its life is longer than the time after which a use is written down."""
        self.patch(tokens_module, "TOKEN_TOUCH", 10)
        token = self.issue()
        self.now += 50
        self.assertTrue(self.is_good(token))
        self.now += 50
        self.assertFalse(self.is_good(token))

    def test_login_too_late(self) -> None:
        """An IM login after its time is refused."""
        token = self.issue()
        self.now += 100
        self.assert_no_claim(token)
        self.assertFalse(self.is_good(token))

    def test_older_stay(self) -> None:
        """A new token alone leaves the older ones good."""
        tokens = [self.issue() for _ in range(3)]
        self.assertEqual([self.is_good(token) for token in tokens], [True] * 3)


class LastingTests(TokenCase):
    def test_thirty_days(self) -> None:
        """An IM login makes it last for 30 days."""
        self.assertEqual(TOKEN_LIFE, 30 * DAY)
        token = self.lasting()
        self.now += 30 * DAY
        self.assertFalse(self.is_good(token))

    def test_just_before(self) -> None:
        """Until then it is good, for IM logins too."""
        token = self.lasting()
        self.now += 30 * DAY - 1
        self.assertEqual(self.claim(token).user, 1)

    def test_use_prolongs(self) -> None:
        """An HTTP request makes it last for 30 days from then."""
        token = self.lasting()
        for _ in range(4):
            self.now += 30 * DAY - 1
            self.assertTrue(self.is_good(token))
        self.now += 30 * DAY
        self.assertFalse(self.is_good(token))

    def test_login_prolongs(self) -> None:
        """So does an IM login."""
        token = self.lasting()
        for _ in range(3):
            self.now += 30 * DAY - 1
            self.claim(token)
        self.assertTrue(self.is_good(token))

    def test_connection_prolongs(self) -> None:
        """So does a live connection, for each of many tokens, and for no others."""
        tokens = [self.lasting(), self.issue(1, "tablet"), self.issue(2)]
        self.claim(tokens[1], 1, "tablet")
        self.claim(tokens[2], 2)
        self.now += 20 * DAY
        self.done(self.tokens.keep_alive([token_hash(token) for token in tokens[:2]]))
        self.now += 20 * DAY
        self.assertEqual([self.is_good(token) for token in tokens], [True, True, False])

    def test_no_connection(self) -> None:
        """With no connection nothing is prolonged, and a revoked token is not brought back."""
        token = self.lasting()
        self.done(self.tokens.revoke(token_hash(token)))
        self.done(self.tokens.keep_alive([]))
        self.done(self.tokens.keep_alive([token_hash(token)]))
        self.assertFalse(self.is_good(token))

    def test_written_to_the_hour(self) -> None:
        """A use is written down when the one on record is an hour old, not each time."""
        token = self.lasting()
        for wait, written in ((TOKEN_TOUCH - 1, False), (1, True), (1, False)):
            self.now += wait
            before = self.database.rows("SELECT used, expires FROM token")
            self.is_good(token)
            self.assertEqual(self.database.rows("SELECT used, expires FROM token") != before, written)

    def test_device_seen(self) -> None:
        """The use of a lasting token is its device's, and no other's."""
        token = self.lasting()
        before = self.seen(1, "tablet"), self.seen(2)
        self.now += DAY
        self.is_good(token)
        self.assertEqual(self.seen(), int(self.now))
        self.now += DAY
        self.done(self.tokens.keep_alive([token_hash(token)]))
        self.assertEqual(self.seen(), int(self.now))
        self.assertEqual((self.seen(1, "tablet"), self.seen(2)), before)


class ClaimTests(TokenCase):
    def test_bound(self) -> None:
        """A token is good for its user and its device only, and being tried for others changes nothing."""
        token = self.issue()
        self.assert_no_claim(token, user=2)
        self.assert_no_claim(token, device="tablet")
        self.assert_no_claim(token, user=2**70)
        self.assertTrue(self.is_good(token))
        self.now += TOKEN_TRIAL
        self.assertFalse(self.is_good(token))

    def test_older_revoked(self) -> None:
        """An IM login with a new token revokes the device's older ones, lasting or not, and not the newer ones."""
        older, old, used, newer = self.lasting(), self.issue(), self.issue(), self.issue()
        self.claim(used)
        self.assertEqual([self.is_good(token) for token in (older, old, used, newer)], [False, False, True, True])

    def test_others_stay(self) -> None:
        """Other devices' and other users' tokens stay."""
        others = [self.issue(1, "tablet"), self.issue(2)]
        self.lasting()
        self.assertEqual([self.is_good(token) for token in others], [True, True])

    def test_again(self) -> None:
        """A device may come back with its token as often as it likes."""
        token = self.lasting()
        for _ in range(3):
            self.assertEqual(self.claim(token), Session(1, PHONE, token_hash(token)))

    def test_old_after_new(self) -> None:
        """A login with an older token after a newer one's is refused."""
        old, new = self.issue(), self.issue()
        self.claim(new)
        self.assert_no_claim(old)
        self.assertTrue(self.is_good(new))


    def test_old_while_new(self) -> None:
        """A login with an older token, whose use is to be noted, does not come in while a newer one's revokes it."""
        old = self.lasting()
        self.now += TOKEN_TOUCH
        new = self.issue()
        first = self.start(self.tokens.claim(new, 1, PHONE))
        late = self.start(self.tokens.claim(old, 1, PHONE))
        self.database.settle()
        self.successResultOf(first)
        self.failureResultOf(late, TokenError)


class UnavailableTests(TokenCase):
    """While the database takes nothing."""

    def test_lasting(self) -> None:
        """A token that lasts is good, for requests and for logins, also where its use is to be noted down."""
        token = self.lasting()
        for _ in range(2):
            self.now += TOKEN_TOUCH
            self.database.broken = True
            self.assertTrue(self.is_good(token))
            self.assertEqual(self.claim(token), Session(1, PHONE, token_hash(token)))
        self.database.broken = False
        self.now += TOKEN_LIFE - 2 * TOKEN_TOUCH
        self.assertFalse(self.is_good(token), "nothing was noted down")

    def test_nothing_to_write(self) -> None:
        """It is only read unless there is something to change."""
        token = self.lasting()
        before = self.database.attempts
        self.assertTrue(self.is_good(token))
        self.claim(token)
        self.assertEqual(self.database.attempts, before)

    def test_new(self) -> None:
        """A new token is good for requests; a login that could not make it last fails, and says why."""
        token = self.issue()
        self.database.broken = True
        self.assertTrue(self.is_good(token))
        claiming = self.start(self.tokens.claim(token, 1, PHONE))
        self.database.settle()
        self.failureResultOf(claiming, StorageUnavailable)

    def test_older_one(self) -> None:
        """A token that lasts still revokes an older one that is there after all."""
        older, token = self.issue(), self.lasting()
        self.database.cursor().execute(
            "INSERT INTO token (id, hash, user, device, used, expires) VALUES (0, ?, 1, ?, 0, ?)",
            (token_hash(older), PHONE, self.now + TOKEN_LIFE),
        )
        self.assertTrue(self.is_good(older))
        self.claim(token)
        self.assertFalse(self.is_good(older))

    def test_wrong(self) -> None:
        """Another's token is refused as ever."""
        token = self.lasting()
        self.database.broken = True
        self.assert_no_claim(token, user=2)
        self.assert_no_claim(token, device="tablet")


class RevokeTests(TokenCase):
    def test_revoked(self) -> None:
        """A revoked token is good for nothing; others are."""
        token, other = self.lasting(), self.issue()
        self.done(self.tokens.revoke(token_hash(token)))
        self.assertFalse(self.is_good(token))
        self.assert_no_claim(token)
        self.assertTrue(self.is_good(other))

    def test_purged(self) -> None:
        """Tokens past their time leave the database; the others stay."""
        self.issue()
        lasting = self.issue(2)
        self.claim(lasting, 2)
        self.now += TOKEN_TRIAL - 1
        self.done(self.tokens.purge())
        self.assertEqual(len(self.database.rows("SELECT * FROM token")), 2)
        self.now += 1
        self.done(self.tokens.purge())
        self.assertEqual(self.database.rows("SELECT hash FROM token"), [(token_hash(lasting),)])
        self.assertTrue(self.is_good(lasting))


class DiskTests(TestCase):
    """What lies in the files."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.path = Path(self.mktemp())
        self.open()
        self.addCleanup(lambda: self.database.stop())
        await make_users(self.database, 1)

    def open(self) -> None:
        prepare(self.path, raise_epoch)
        self.database = Database(self.path)
        self.database.start()
        self.tokens = Tokens(self.database, lambda: 1_000.0)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.path.parent.glob(self.path.name + "*")}

    async def test_only_hash(self) -> None:
        """Neither the database nor its log holds a token's text or bytes: only its SHA-256."""
        tokens = [await self.tokens.issue(1, PHONE) for _ in range(3)]
        await self.tokens.claim(tokens[1], 1, PHONE)
        await self.tokens.check(tokens[2])
        files = self.files()
        self.assertIn(self.path.name + "-wal", files)
        everything = b"".join(files.values())
        for token in tokens:
            self.assertIn(hashlib.sha256(token.encode()).digest(), everything)
            self.assertNotIn(token.encode(), everything)
            self.assertNotIn(token.encode("utf-16-le"), everything)

    async def test_survives(self) -> None:
        """Tokens are good in the next process, with the lives that they had."""
        trial, lasting = await self.tokens.issue(1, "tablet"), await self.tokens.issue(1, PHONE)
        await self.tokens.claim(lasting, 1, PHONE)
        self.database.stop()
        self.open()
        self.assertEqual((await self.tokens.check(trial)).device, "tablet")
        later = Tokens(self.database, lambda: 1_000.0 + TOKEN_TRIAL)
        self.assertEqual((await later.check(lasting)).device, PHONE)
        with self.assertRaises(TokenError):
            await later.check(trial)


class PasswordTests(TokenCase):
    def hash_of(self, user: int) -> str:
        return str(self.done(self.database.read(_password_of, user)))

    def test_as_it_was_checked(self) -> None:
        """A token is made for the password that was checked."""
        self.assertTrue(self.done(self.tokens.issue(1, PHONE, self.hash_of(1))))

    def test_changed_meanwhile(self) -> None:
        """A new password between the check and the token leaves no token of the old one."""
        issuing = self.start(self.tokens.issue(1, PHONE, "another hash"))
        self.database.settle()
        self.failureResultOf(issuing, Mismatch)


def _password_of(cursor: Cursor, user: int) -> str:
    return str(cursor.execute("SELECT password FROM user WHERE id = ?", (user,)).one()[0])
