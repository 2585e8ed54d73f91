"""`/offline`: what a device has not acknowledged, for those who ask over HTTPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from simple_im.im.sessions import Sessions
from simple_im.limits import OFFLINE_BYTES, OFFLINE_ENTRIES
from simple_im.status import BadRequest, TokenError
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Opened, Page
from simple_im.store.tokens import Tokens
from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Handler

_MOST: Final = 1_000_000
"""A larger `limit` counts as this one; the size limit cuts the answer long before."""


class Inbox(Protocol):
    """What this needs of the inbox; see `store.inbox.SQLiteInbox`."""

    async def open_device(self, user: int, device: str) -> Opened | None: ...

    async def read(self, state: DeviceState, after: int, limit: int, max_bytes: int) -> Page: ...

    def touch(self, state: DeviceState) -> None: ...

    async def forget_shown(self, state: DeviceState) -> None: ...


class Offline:
    """The handlers of `/offline`."""

    def __init__(self, tokens: Tokens, inbox: Inbox, sessions: Sessions) -> None:
        self._tokens = tokens
        self._inbox = inbox
        self._sessions = sessions

    def routes(self) -> dict[str, Handler]:
        """Who answers where."""
        return {"GET /offline": self.show, "DELETE /offline": self.forget}

    async def show(self, call: Call) -> Answer:
        """`GET /offline`: the oldest first; shown they are when the answer's last byte is written."""
        state = await self._device(call)
        limit = _limit(call)
        page = await self._inbox.read(state, state.cursor, limit, OFFLINE_BYTES)
        more = {} if page.last else {"more": True}
        return Answer(dict(more), entries=[entry.wire for entry in page.entries], when_sent=self._shown(state, page))

    def _shown(self, state: DeviceState, page: Page) -> Callable[[], None]:
        def remember() -> None:
            if page.entries:
                state.show(page.entries[-1].seq)
                self._inbox.touch(state)

        return remember

    async def forget(self, call: Call) -> Answer:
        """`DELETE /offline`: what has been shown so far is acknowledged, and nothing else."""
        state = await self._device(call)
        try:
            await self._inbox.forget_shown(state)
        finally:
            connection = self._sessions.find(state.user, state.device)
            if connection is not None:
                connection.device.cursor_moved()
        return Answer()

    async def _device(self, call: Call) -> DeviceState:
        session = await self._tokens.check(call.token)
        opened = await self._inbox.open_device(session.user, session.device)
        if opened is None:
            raise TokenError()
        return opened.state


def _limit(call: Call) -> int:
    if not call.form.has("limit"):
        return OFFLINE_ENTRIES
    limit = call.form.integer("limit")
    if limit < 1:
        raise BadRequest("limit must be 1 or more")
    return min(limit, _MOST)
