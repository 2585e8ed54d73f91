"""What one connection says and is answered, frame by frame, in order; no transport in it.

Frames are taken one after the other: while one waits for the database, the next ones wait too.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from simple_im.im.device import Device
from simple_im.im.device import Inbox as DeviceInbox
from simple_im.im.gate import Gate, LoginRefused
from simple_im.im.outbox import Outbox, Turn
from simple_im.im.recent import RecentIds
from simple_im.im.router import Router
from simple_im.im.sessions import Presence, Sessions
from simple_im.limits import BAD_FRAMES, RECENT_ACKS
from simple_im.status import (
    ALREADY_LOGGED_IN,
    BYE_ERROR,
    BYE_REPLACED,
    BYE_REVOKED,
    LOGIN_REQUIRED,
    STORAGE_UNAVAILABLE,
    TOO_LARGE,
    UNKNOWN_ERROR,
    Refused,
    StorageUnavailable,
)
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Opened
from simple_im.store.tokens import Session
from simple_im.wire import frames
from simple_im.wire.frames import Ack, Bad, Credentials, Item, Message, Request
from simple_im.wire.plain import Plain
from simple_im.wire.plain import read as read_plain
from simple_im.wire.toml import quote

log = Logger()


class Inbox(DeviceInbox, Protocol):
    """What a conversation needs of the inbox beside what its device does."""

    def commit(self) -> None: ...

    async def flush(self) -> None: ...

    @property
    def full(self) -> bool: ...

    def drained(self) -> Deferred[None]: ...

    async def told_expired(self, state: DeviceState, count: int) -> None: ...


class Line(Protocol):
    """The connection beneath."""

    def logged_in(self) -> None:
        """The login frame has come; its deadline is met."""

    def changed(self) -> None:
        """Whether the conversation is busy may have changed."""

    def hang_up(self) -> None:
        """Write what waits and close."""


class Node:
    """What the conversations of a node share."""

    def __init__(
        self,
        gate: Gate,
        router: Router,
        inbox: Inbox,
        sessions: Sessions,
        turn: Turn,
        clock: IReactorTime,
        idle_timeout: float = 0,
    ) -> None:
        self.gate = gate
        self.router = router
        self.inbox = inbox
        self.sessions = sessions
        self.turn = turn
        self.clock = clock
        self.idle_timeout = idle_timeout

    def end_turn(self) -> None:
        """An event of the reactor is dealt with: write what it brought to whom, and to disk."""
        self.turn.end()
        self.inbox.commit()


class Conversation:
    """Takes frames, answers them, and is the `Receipt` of the messages among them."""

    device: Device

    def __init__(self, node: Node, line: Line, outbox: Outbox) -> None:
        self._node = node
        self._line = line
        self._outbox = outbox
        self._session: Session | None = None
        self._presence: Presence | None = None
        self._quoted_device = b""
        self._frames: deque[bytes] = deque()
        self._items: deque[Item] = deque()
        self._overflow: bytes | None = None
        self._waiting = self._running = self._closed = self._transport_full = False
        self._bad_frames = 0
        self._recent_acks = RecentIds(RECENT_ACKS)

    # Frames in order.

    @property
    def is_busy(self) -> bool:
        """Whether something waits for the database; then nothing more should be read."""
        return self._waiting

    @property
    def token_hash(self) -> bytes:
        """The hash of the token that the connection signed in with."""
        return self._session.token_hash if self._session else b""

    def frames_received(self, received: list[bytes]) -> None:
        """Take frames in the order in which they came."""
        self._frames.extend(received)
        self._go_on()

    def overflowed(self, frame: bytes) -> None:
        """A frame came that is too large; `frame` is its beginning. It is the last that is taken."""
        self._overflow = frame
        self._go_on()

    def _go_on(self) -> None:
        self._running = True
        try:
            while not self._waiting and not self._closed and self._has_more:
                self._take_next()
        except Exception:
            log.failure("a conversation failed")
            self.bye(BYE_ERROR)
        self._running = False

    @property
    def _has_more(self) -> bool:
        return bool(self._items or self._frames or self._overflow is not None or self._bad_frames >= BAD_FRAMES)

    def _take_next(self) -> None:
        if self._node.inbox.full:
            self._wait_for(self._node.inbox.drained())
        elif self._items:
            self._take_item(self._items.popleft())
        elif self._bad_frames >= BAD_FRAMES:
            self._wait_for(Deferred.fromCoroutine(self._give_up()))
        elif not self._frames:
            self._refuse(frames.loose_id(self._overflow or b""), TOO_LARGE)
            self._wait_for(Deferred.fromCoroutine(self._give_up()))
        elif self._session is None:
            self._take_first_frame(self._frames[0])
        else:
            self._take_frames()

    def _take_frames(self) -> None:
        """Take frames as long as they are plain and nothing has to be waited for, and one that is not plain.

        Nearly all that comes goes through here, so nothing is made for it that is not kept.
        """
        received, inbox = self._frames, self._node.inbox
        while received:
            frame = received.popleft()
            if self._outbox.compact:
                self._take_items(frames.read(frame, self._quoted_device, compact=True))
                return
            plain = read_plain(frame, self._quoted_device)
            if plain is None:
                self._take_items(frames.read_any(frame, self._quoted_device))
                return
            self._bad_frames = 0
            self._take_plain(plain)
            if self._waiting or self._closed or inbox.full:
                return

    def _take_plain(self, plain: Plain) -> None:
        id_, to, head = plain
        if to < 0:
            waiting = self.device.acknowledge_id(id_)
            if waiting is not None:
                self._wait_for(waiting)
            return
        assert self._presence is not None
        waiting = self._node.router.route_plain(id_, to, head, self.device, self._presence, self)
        if waiting is not None:
            self._wait_for(waiting, id_)

    def _take_items(self, items: list[Item]) -> None:
        """These are taken next, one by one."""
        is_bad = any(type(item) is Bad for item in items)
        self._bad_frames = self._bad_frames + 1 if is_bad else 0
        self._items.extend(items)

    async def _give_up(self) -> None:
        """Close, when all that came before has its answer."""
        try:
            await self._node.inbox.flush()
        finally:
            self.bye(BYE_ERROR)

    def _wait_for(self, waiting: Deferred[None] | None, id_: bytes | None = None) -> None:
        """Take nothing more until it fires; what fails is answered with `id_`."""
        if waiting is None:
            return
        self._waiting = True
        waiting.addErrback(self._failed, id_)
        waiting.addCallback(self._resume)

    def _resume(self, _result: object) -> None:
        self._waiting = False
        if not self._running:
            self._go_on()
            self._node.end_turn()
            self._line.changed()

    def _failed(self, failure: Failure, id_: bytes | None) -> None:
        reason = _reason(failure)
        if id_ is not None:
            self._refuse(id_, reason)
        if self._session is None:
            self._end()

    # Signing in.

    def _take_first_frame(self, frame: bytes) -> None:
        """The first frame must begin with a login; it is read again when it is known whose `d` its entries have."""
        first = frames.read(frame, b"", compact=self._outbox.compact)[0]
        if type(first) is Request and first.what == "login":
            self._line.logged_in()
            self._wait_for(Deferred.fromCoroutine(self._log_in(first)), first.id)
        else:
            self._refuse(first.id, first.reason if type(first) is Bad and first.is_login else LOGIN_REQUIRED)
            self._end()

    async def _log_in(self, request: Request) -> None:
        session, opened = await self._node.gate.admit(_credentials(request))
        if self._node.sessions.was_revoked(session.token_hash):
            raise LoginRefused()
        if not self._closed:
            self._replace(session)
            self._begin(request, session, opened)

    def _replace(self, session: Session) -> None:
        """One connection a device: the one before goes."""
        other = self._node.sessions.find(session.user, session.device)
        if other is not None:
            other.bye(BYE_REPLACED)

    def _begin(self, request: Request, session: Session, opened: Opened) -> None:
        node = self._node
        self._session = session
        self._quoted_device = quote(session.device)
        self.device = Device(opened.state, node.inbox, self._outbox, node.turn, node.clock)
        self._presence = node.sessions.add(self, opened.names)
        self._welcome(request, opened)
        self._take_items(frames.read(self._frames.popleft(), self._quoted_device, compact=self._outbox.compact))
        self._items.popleft()
        if self._transport_full:
            self.device.pause()
        self.device.catch_up()

    def _welcome(self, request: Request, opened: Opened) -> None:
        if opened.expired:
            self._send(frames.answer(request.id, more={"expired": opened.expired}))
            Deferred.fromCoroutine(self._node.inbox.told_expired(opened.state, opened.expired)).addErrback(_told_again)
        else:
            self._send(frames.answer(request.id))

    # Items.

    def _take_item(self, item: Item) -> None:
        if type(item) is Message:
            self._take_message(item)
        elif type(item) is Ack:
            self._take_ack(item)
        elif type(item) is Request:
            self._take_request(item)
        elif type(item) is Bad:
            self._refuse(item.id, item.reason)

    def _take_message(self, message: Message) -> None:
        assert self._presence is not None
        self._wait_for(self._node.router.route(message, self.device, self._presence, self), message.id)

    def _take_ack(self, ack: Ack) -> None:
        if ack.id is None:
            self.device.acknowledge_seq(ack.seq)
        elif not (self._outbox.compact and self._recent_acks.take(ack.id)):
            self._wait_for(self.device.acknowledge_id(ack.id))

    def _take_request(self, request: Request) -> None:
        if request.what == "ping":
            self._send(frames.answer(request.id))
        elif request.what == "logout":
            self._wait_for(Deferred.fromCoroutine(self._log_out(request)), request.id)
        elif request.what == "login":
            self._refuse(request.id, ALREADY_LOGGED_IN)
        else:
            self._refuse(request.id, "t must be login, ping or logout")

    async def _log_out(self, request: Request) -> None:
        assert self._session is not None
        await self._node.inbox.flush()
        await self._node.gate.leave(self._session)
        self._send(frames.answer(request.id))
        self.bye(BYE_REVOKED)
        self._node.sessions.revoke(self._session)

    # Answers.

    @property
    def gone(self) -> bool:
        """Whether the device has signed in again since, on another connection."""
        return not self.device.is_latest

    def stored(self, ids: list[bytes]) -> None:
        """The messages are on disk: acknowledge them."""
        if self._closed:
            return
        if self._outbox.compact:
            for id_ in ids:
                self._recent_acks.add(id_)
                self._outbox.send(frames.acknowledgements([id_]))
        else:
            self._outbox.send(frames.acknowledgements(ids))

    def refused(self, ids: list[bytes], reason: str) -> None:
        """The messages were not taken."""
        for id_ in ids:
            self._refuse(id_, reason)

    def _refuse(self, id_: bytes | None, reason: str) -> None:
        self._send(frames.answer(id_, reason))

    def _send(self, entry: bytes) -> None:
        if not self._closed:
            self._outbox.send(entry)

    # The transport.

    def pause(self) -> None:
        """The transport takes no more."""
        self._transport_full = True
        if self._session is not None:
            self.device.pause()

    def resume(self) -> None:
        """The transport takes more."""
        self._transport_full = False
        if self._session is not None:
            self.device.resume()

    # The end.

    def bye(self, reason: str) -> None:
        """Say why and close; nothing that comes from now on is taken."""
        self._send(frames.bye(reason))
        self._end()

    def _end(self) -> None:
        if not self._closed:
            self.closed()
            self._line.hang_up()

    def closed(self) -> None:
        """The connection is gone, or about to be."""
        self._closed = True
        self._frames.clear()
        self._items.clear()
        if self._session is not None:
            self.device.close()
            self._node.sessions.remove(self)


def _credentials(request: Request) -> Credentials:
    try:
        return frames.credentials(request.user)
    except ValueError as error:
        raise LoginRefused(str(error)) from None


def _reason(failure: Failure) -> str:
    """What the client is told; what nobody expected is for the log."""
    if failure.check(StorageUnavailable):
        return STORAGE_UNAVAILABLE
    if failure.check(Refused):
        return str(failure.value)
    log.failure("a frame failed", failure)
    return UNKNOWN_ERROR


def _told_again(failure: Failure) -> None:
    log.failure("how many entries expired will be told once more", failure)
