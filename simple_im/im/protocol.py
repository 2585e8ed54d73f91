"""The IM door's protocol: TLS records in, entries out, and when to stop reading, to wait no longer, to close."""

from __future__ import annotations

from typing import Any
from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from simple_im.im.conversation import Conversation, Node
from simple_im.im.outbox import Outbox
from simple_im.im.watches import Idle, Stall
from simple_im.limits import CLOSE_GRACE, LOGIN_DEADLINE
from simple_im.status import BYE_IDLE, BYE_SLOW
from simple_im.transport import buffered_bytes, taken_bytes, tune
from simple_im.wire.framing import Framer


class Doorkeeper(Interface):
    """Who knows which connections are open."""

    def opened(self, protocol: ImProtocol) -> None:
        """A connection has begun."""

    def closed(self, protocol: ImProtocol) -> None:
        """A connection has ended."""


@implementer(IPushProducer)
class ImProtocol(Protocol):
    """One connection. Each call of `dataReceived` brings one TLS record; see `simple_im.secure`."""

    transport: Any

    def __init__(self, node: Node, doorkeeper: Doorkeeper) -> None:
        self._node = node
        self._doorkeeper = doorkeeper
        self._framer = Framer()
        self._outbox = Outbox(self._write, node.turn, self._give_up)
        self._conversation = Conversation(node, self, self._outbox)
        self._deadline: IDelayedCall | None = None
        self._stall = Stall(self, node.clock)
        self._idle = Idle(self, node.clock, node.idle_timeout)
        self._paused = self._reads = self._hung_up = False

    # From the transport.

    def connectionMade(self) -> None:
        """Begin to wait for the login."""
        self._reads = True
        self._doorkeeper.opened(self)
        tune(self.transport)
        self.transport.registerProducer(self, True)
        self._deadline = self._node.clock.callLater(LOGIN_DEADLINE, self._too_late)

    def dataReceived(self, data: bytes) -> None:
        """Take one TLS record."""
        if self._hung_up:
            return
        self._idle.heard()
        received = self._framer.feed(data)
        self._outbox.compact = self._framer.compact
        self._conversation.frames_received(received)
        if self._framer.overflow is not None:
            self._conversation.overflowed(self._framer.overflow)
        self._node.end_turn()
        self.changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave no timer and no session behind."""
        self._hung_up = True
        self._cancel_deadline()
        self._stall.stop()
        self._idle.stop()
        self._conversation.closed()
        self._doorkeeper.closed(self)

    # IPushProducer: what the transport can take.

    def pauseProducing(self) -> None:
        """The transport's buffer is full: send no more, and read no more either."""
        self._paused = True
        self._conversation.pause()
        self.changed()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._paused = False
        self._conversation.resume()
        self.changed()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    # Line: what the conversation asks for.

    def logged_in(self) -> None:
        """The login frame has come."""
        self._cancel_deadline()
        self._idle.watch()

    def changed(self) -> None:
        """Read only while what was read is done with and what was written is gone."""
        reads = not (self._paused or self._conversation.is_busy) or self._hung_up
        if reads != self._reads:
            self._reads = reads
            self._idle.heard()
            (self.transport.resumeProducing if reads else self.transport.pauseProducing)()

    def hang_up(self) -> None:
        """Close when what waits is written; cut off a peer that does not let that happen."""
        self._outbox.flush()
        self._hung_up = True
        self._cancel_deadline()
        self._stall.stop()
        self._idle.stop()
        self.transport.unregisterProducer()
        self.changed()
        self._deadline = self._node.clock.callLater(CLOSE_GRACE, self.transport.abortConnection)
        self.transport.loseConnection()

    def slow(self) -> None:
        """Nothing could be written for too long."""
        self._conversation.bye(BYE_SLOW)

    def idle(self) -> None:
        """Nothing has come for too long; unless it was not read."""
        if self._reads:
            self._conversation.bye(BYE_IDLE)
        else:
            self._idle.heard()
            self._idle.watch()

    def unwritten(self) -> int:
        """The bytes that wait in the transport's buffer."""
        return buffered_bytes(self.transport)

    def written(self) -> int:
        """The bytes that the kernel has taken."""
        return taken_bytes(self.transport)

    def bye(self, reason: str) -> None:
        """Say why and close."""
        self._conversation.bye(reason)

    def _write(self, data: bytes) -> None:
        if not self._hung_up:
            self.transport.write(data)
            self._stall.watch()

    def _give_up(self) -> None:
        self.transport.abortConnection()

    def _too_late(self) -> None:
        self._deadline = None
        self._conversation.closed()
        self.hang_up()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class ImFactory(Factory):
    """Makes the protocols of the IM door, and ends them."""

    noisy = False

    def __init__(self, node: Node) -> None:
        self._node = node
        self._open: set[ImProtocol] = set()
        self._all_gone: Deferred[None] | None = None

    def buildProtocol(self, _address: object) -> ImProtocol:
        """A protocol for a new connection."""
        return ImProtocol(self._node, self)

    def opened(self, protocol: ImProtocol) -> None:
        """A connection has begun."""
        self._open.add(protocol)

    def closed(self, protocol: ImProtocol) -> None:
        """A connection has ended."""
        self._open.discard(protocol)
        if not self._open and self._all_gone is not None:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)

    async def close_all(self, reason: str) -> None:
        """Say `bye` to every connection and return when all are closed, at the latest when their grace is over."""
        for protocol in list(self._open):
            protocol.bye(reason)
        self._node.turn.end()
        if self._open:
            self._all_gone = Deferred()
            await self._all_gone
