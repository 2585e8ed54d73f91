"""Passwords."""

from __future__ import annotations

import threading
from typing import Any, Literal

from argon2 import PasswordHasher
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from simple_im import passwords as passwords_module
from simple_im.passwords import Passwords
from simple_im.status import TooManyRequests

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Noting(PasswordHasher):
    """Notes what it verified against, and in which thread."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[str | bytes] = []
        self.threads: list[threading.Thread] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verified.append(hash)
        self.threads.append(threading.current_thread())
        return super().verify(hash, password)


class Waiting(PasswordHasher):
    """Takes as long as the test wants for any password but the one hashed at the start."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go_on = threading.Event()
        self.hashed = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        if password == "wait":
            self.go_on.wait()
        self.hashed += 1
        return super().hash(password)


class PasswordCase(TestCase):
    def started(self, *args: Any) -> Passwords:
        passwords = Passwords(reactor, *args)  # type: ignore[arg-type]
        passwords.start()
        self.addCleanup(passwords.stop)
        return passwords


class HashTests(PasswordCase):
    async def test_argon2id(self) -> None:
        """A password is hashed with argon2id: 19 MiB, two passes, as OWASP asks."""
        hash_ = await self.started().hash("888888")
        self.assertRegex(hash_, r"^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$")

    async def test_salted(self) -> None:
        """The same password's hashes are not the same."""
        passwords = self.started(QUICK)
        self.assertNotEqual(await passwords.hash("888888"), await passwords.hash("888888"))

    async def test_verified(self) -> None:
        """A password fits its own hash and no other."""
        passwords = self.started(QUICK)
        for password in ("888888", " 888888", "é漢😀\u0000x", "x" * 128):
            hash_ = await passwords.hash(password)
            self.assertIs(await passwords.verify(password, hash_), True)
            for other in (password + "x", password[:-1], password.swapcase() + " ", ""):
                self.assertIs(await passwords.verify(other, hash_), False)

    async def test_other_parameters(self) -> None:
        """A hash that was made with other parameters is still verified."""
        hash_ = PasswordHasher(time_cost=3, memory_cost=16, parallelism=2).hash("888888")
        passwords = self.started(QUICK)
        self.assertTrue(await passwords.verify("888888", hash_))
        self.assertFalse(await passwords.verify("888889", hash_))

    async def test_no_hash(self) -> None:
        """What is no hash fits nothing."""
        passwords = self.started(QUICK)
        for hash_ in ("", "888888", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv"):
            self.assertFalse(await passwords.verify("888888", hash_))


class UnknownTests(PasswordCase):
    async def test_still_hashed(self) -> None:
        """Where there is no account the same work is done, on a hash with the same parameters, to say no."""
        hasher = Noting()
        passwords = self.started(hasher)
        self.assertIs(await passwords.verify("888888", None), False)
        (decoy,) = hasher.verified
        self.assertIsInstance(decoy, str)
        self.assertFalse(hasher.check_needs_rehash(str(decoy)))

    async def test_decoy_is_no_password(self) -> None:
        """Nor does anything fit where there is no account, whatever the work comes to."""
        hasher = Noting()
        passwords = self.started(hasher)
        self.patch(hasher, "verify", lambda hash_, password: True)
        self.assertIs(await passwords.verify("888888", None), False)
        self.assertIs(await passwords.verify("888888", "hash"), True)


class ThreadTests(PasswordCase):
    async def test_own_threads(self) -> None:
        """The work is done in threads of its own: neither the reactor's nor its pool's."""
        hasher = Noting()
        passwords = self.started(hasher)
        await gatherResults([Deferred.fromCoroutine(passwords.verify("888888", None)) for _ in range(20)])
        self.assertEqual({thread.name.split("-")[1] for thread in hasher.threads}, {"passwords"})
        self.assertLessEqual(len(set(hasher.threads)), 2)

    async def test_bounded(self) -> None:
        """As many as the limit may wait; one more is turned away at once and told when to come back."""
        self.patch(passwords_module, "PASSWORD_QUEUE", 3)
        hasher = Waiting()
        passwords = self.started(hasher)
        self.addCleanup(hasher.go_on.set)
        waiting = [Deferred.fromCoroutine(passwords.hash("wait")) for _ in range(3)]
        for refused in (passwords.hash("one more"), passwords.verify("one more", None)):
            with self.assertRaises(TooManyRequests) as caught:
                await refused
            self.assertEqual(caught.exception.headers, {"Retry-After": "1"})
        hasher.go_on.set()
        await gatherResults(waiting)
        self.assertTrue(await passwords.hash("one more"))

    async def test_failures_make_room(self) -> None:
        """Work that fails makes room like any other."""
        self.patch(passwords_module, "PASSWORD_QUEUE", 1)
        passwords = self.started(QUICK)
        for _ in range(3):
            with self.assertRaises(UnicodeEncodeError):
                await passwords.hash("\ud800")
        self.assertTrue(await passwords.hash("888888"))

    async def test_stop(self) -> None:
        """Stopping lets what was taken in come to its end, and answers it."""
        hasher = Waiting()
        passwords = Passwords(reactor, hasher)  # type: ignore[arg-type]
        passwords.start()
        waiting = [Deferred.fromCoroutine(passwords.hash("wait")) for _ in range(6)]
        hasher.go_on.set()
        passwords.stop()
        self.assertEqual(len(await gatherResults(waiting)), 6)
        self.assertEqual(hasher.hashed, 7)
