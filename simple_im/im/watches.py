"""What watches a connection for silence: of the peer that takes nothing, and of the one that says nothing."""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from simple_im.limits import WRITE_STALL

_STALL_CHECKS: Final = 10


class Watched(Protocol):
    """A connection, as its watches see it."""

    def slow(self) -> None:
        """Nothing could be written for too long."""

    def idle(self) -> None:
        """Nothing has come for too long."""

    def unwritten(self) -> int:
        """The bytes that wait in the transport's buffer."""

    def written(self) -> int:
        """The bytes that the kernel has taken."""


class Stall:
    """Watches a connection while something waits to be written: closed when nothing of it could be written for
    `limits.WRITE_STALL`."""

    def __init__(self, protocol: Watched, clock: IReactorTime) -> None:
        self._protocol = protocol
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._checks = self._written = 0

    def watch(self) -> None:
        """Something was written; watch until all of it is gone."""
        if self._call is None:
            self._checks, self._written = 0, self._protocol.written()
            self._again()

    def stop(self) -> None:
        """Watch no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _again(self) -> None:
        self._call = self._clock.callLater(WRITE_STALL / _STALL_CHECKS, self._check)

    def _check(self) -> None:
        self._call = None
        if self._protocol.unwritten():
            self._count()

    def _count(self) -> None:
        before, self._written = self._written, self._protocol.written()
        self._checks = self._checks + 1 if self._written == before else 0
        if self._checks >= _STALL_CHECKS:
            self._protocol.slow()
        else:
            self._again()


class Idle:
    """Closes a connection from which nothing has come for `timeout` seconds; 0 for never."""

    def __init__(self, protocol: Watched, clock: IReactorTime, timeout: float) -> None:
        self._protocol = protocol
        self._clock = clock
        self._timeout = timeout
        self._heard = 0.0
        self._call: IDelayedCall | None = None

    def heard(self) -> None:
        """Something has come."""
        self._heard = self._clock.seconds()

    def watch(self) -> None:
        """Begin; the deadline for signing in is met."""
        if self._timeout and self._call is None:
            self._call = self._clock.callLater(self._timeout, self._check)

    def stop(self) -> None:
        """Watch no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _check(self) -> None:
        self._call = None
        left = self._heard + self._timeout - self._clock.seconds()
        if left <= 0:
            self._protocol.idle()
        else:
            self._call = self._clock.callLater(left, self._check)
