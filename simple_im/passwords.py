"""Passwords: argon2id, in threads of their own, so that sign-ins starve neither the reactor nor the database."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from simple_im.limits import PASSWORD_QUEUE
from simple_im.status import TooManyRequests

_T = TypeVar("_T")
_THREADS: Final = 2
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's parameters for argon2id: 19 MiB, two passes."""


class Passwords:
    """Hashes and verifies; at most `limits.PASSWORD_QUEUE` at a time are taken in."""

    def __init__(self, reactor: IReactorFromThreads, hasher: PasswordHasher = _HASHER) -> None:
        self._reactor = reactor
        self._hasher = hasher
        self._threads = ThreadPool(0, _THREADS, "passwords")
        self._waiting = 0
        self._decoy = ""

    def start(self) -> None:
        """Start the threads."""
        self._decoy = self._hasher.hash(secrets.token_urlsafe())
        self._threads.start()

    def stop(self) -> None:
        """Stop the threads when they are done."""
        self._threads.stop()

    async def hash(self, password: str) -> str:
        """The password's hash in PHC form; raises `TooManyRequests`."""
        return await self._in_thread(self._hasher.hash, password)

    async def verify(self, password: str, hash_: str | None) -> bool:
        """Whether the password fits the hash; without a hash it takes the same time to say no.

        Raises `TooManyRequests`.
        """
        fits = await self._in_thread(self._fits, password, self._decoy if hash_ is None else hash_)
        return fits and hash_ is not None

    def _fits(self, password: str, hash_: str) -> bool:
        try:
            return self._hasher.verify(hash_, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, function: Callable[..., _T], *args: str) -> _T:
        if self._waiting >= PASSWORD_QUEUE:
            raise TooManyRequests()
        self._waiting += 1
        try:
            result: _T = await deferToThreadPool(self._reactor, self._threads, function, *args)
        finally:
            self._waiting -= 1
        return result
