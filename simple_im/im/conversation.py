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
from simple_im.wire import frames, plain
from simple_im.wire.frames import Ack, Bad, Credentials, Item, Message, Request
from simple_im.wire.plain import Plain
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
        self._in_round = False

    def begin_round(self) -> None:
        """Several events follow at once: their turns end together, with the round."""
        self._in_round = True

    def end_round(self) -> None:
        """That was all of them."""
        self._in_round = False
        self.end_turn()

    def end_turn(self) -> None:
        """An event is dealt with: write what it brought, to whom it is for and to disk, in this order."""
        if not self._in_round:
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
        self._recent_acks: RecentIds | None = None

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
        if self._items and type(self._items[0]) is Message and self._node.inbox.full:
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
        """Take the plain frames of one kind that come next together, or one frame of another kind."""
        received, device = self._frames, self._quoted_device
        if not self._outbox.compact:
            if ids := plain.take_acknowledgements(received):
                self._take_plain_acks(ids)
                return
            if self._node.inbox.full and plain.read_message(received[0], device):
                self._wait_for(self._node.inbox.drained())
                return
            if messages := plain.take_messages(received, device):
                self._take_plain_messages(messages)
                return
        self._take_items(frames.read(received.popleft(), device, compact=self._outbox.compact))

    def _take_plain_acks(self, ids: list[bytes]) -> None:
        """What is not acknowledged in order is looked for one by one."""
        self._bad_frames = 0
        taken = self.device.acknowledge_in_order(ids)
        if taken < len(ids):
            self._items.extend(map(Ack, ids[taken:]))

    def _take_plain_messages(self, messages: list[Plain]) -> None:
        """From the first on whose addressee has to be looked up, they are taken one by one."""
        assert self._presence is not None
        self._bad_frames = 0
        taken = self._node.router.route_plain(messages, self.device, self._presence, self)
        if taken < len(messages):
            self._items.extend(Message("m", *message) for message in messages[taken:])

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
        """The first frame must begin with a login; what follows it there is read again when it is known whose `d` it
        has."""
        login = plain.read_login(frame)
        first, *more = (login,) if login else frames.read(frame, b"", compact=self._outbox.compact)
        if type(first) is Request and first.what == "login":
            self._line.logged_in()
            self._wait_for(Deferred.fromCoroutine(self._log_in(first, bool(more))), first.id)
        else:
            self._refuse(first.id, first.reason if type(first) is Bad and first.is_login else LOGIN_REQUIRED)
            self._end()

    async def _log_in(self, request: Request, has_more: bool) -> None:
        session, opened = await self._node.gate.admit(_credentials(request))
        if self._node.sessions.was_revoked(session.token_hash):
            raise LoginRefused()
        if not self._closed:
            self._replace(session)
            self._begin(request, session, opened)
            frame = self._frames.popleft()
            if has_more:
                self._take_items(frames.read(frame, self._quoted_device, compact=self._outbox.compact)[1:])

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
        if self._transport_full:
            self.device.pause()
        self.device.begin(opened.newest)

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
        elif self._recent_acks is None or not self._recent_acks.take(ack.id):
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
            self._stored_for_compact(ids)
        else:
            self._outbox.send(frames.acknowledgements(ids))

    def _stored_for_compact(self, ids: list[bytes]) -> None:
        """These clients answer an acknowledgement with one, which acknowledges nothing."""
        if self._recent_acks is None:
            self._recent_acks = RecentIds(RECENT_ACKS)
        for id_ in ids:
            self._recent_acks.add(id_)
            self._outbox.send(frames.acknowledgements([id_]))

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
