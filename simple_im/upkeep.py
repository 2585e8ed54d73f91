"""What a node does by itself from time to time: forgetting what is past its time, noting who is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from simple_im.im.sessions import Sessions
from simple_im.limits import DEVICE_LIFE, TOKEN_TOUCH
from simple_im.status import StorageUnavailable
from simple_im.store.database import Database
from simple_im.store.files import Files
from simple_im.store.retention import forget_devices, purge_entries
from simple_im.store.tokens import Tokens

_LONGEST: Final = 600
_SHORTEST: Final = 1
_RUNS_A_RETENTION: Final = 100

log = Logger()


class Upkeep:
    """Runs at start and then a hundred times in a retention time, at least every ten minutes."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        files: Files,
        sessions: Sessions,
        retention: float,
        clock: IReactorTime,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._files = files
        self._sessions = sessions
        self._retention = retention
        self._clock = clock
        self._loop = LoopingCall(self._run)
        self._loop.clock = clock
        self._running: Deferred[None] | None = None
        self._kept_alive = 0.0
        self._stopping = False

    def start(self) -> None:
        """Begin."""
        self._loop.start(min(max(self._retention / _RUNS_A_RETENTION, _SHORTEST), _LONGEST))

    async def stop(self) -> None:
        """Let what is under way come to its end, and begin nothing more."""
        self._stopping = True
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            await self._running

    def _run(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._running = done

        def finished(_result: object) -> None:
            self._running = None
            done.callback(None)

        Deferred.fromCoroutine(self.run()).addBoth(finished)
        return done

    async def run(self) -> None:
        """One run; what fails is logged and done by the next."""
        now = self._clock.seconds()
        try:
            await self._note_connected(now)
            await self._tokens.purge()
            await self._while_any(lambda: forget_devices(self._database, int(now - DEVICE_LIFE)))
            await self._while_any(lambda: purge_entries(self._database, int(now - self._retention)))
            await self._while_any(lambda: self._files.purge(int(now - self._retention)))
        except StorageUnavailable:
            log.warn("upkeep is put off: the database does not take it")
        except Exception:
            log.failure("upkeep failed")

    async def _note_connected(self, now: float) -> None:
        """A live connection is a use of its token."""
        if now - self._kept_alive >= TOKEN_TOUCH / 2:
            await self._tokens.keep_alive([connection.token_hash for connection in self._sessions])
            self._kept_alive = now

    async def _while_any(self, forget: Callable[[], Awaitable[bool]]) -> None:
        while not self._stopping and await forget():
            pass
