"""The connections of the IM door as one descriptor of the reactor's, served in rounds.

Whatever a round of events brings is written, and handed to the disk, at its end: once a connection and not once an
event. An event also costs less than half of what it does as one of the reactor's own (figures in
docs/performance.md).
"""

from __future__ import annotations

import select
import time
from collections import deque
from typing import Any, Final, Protocol

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

MOST: Final = 64
"""Events a round; more of them wait for the next, after what the reactor has to do for others."""
LONGEST: Final = 0.002
"""Seconds after which a round ends before all of them are served, and no other begins before the reactor's turn."""
_READ: Final = 0x1
_WRITE: Final = 0x4
_GONE: Final = 0x8 | 0x10
"""Of Linux's <sys/epoll.h>; `select` has their names only where there is an epoll."""

IS_HERE: Final = hasattr(select, "epoll")
"""Elsewhere the connections are the reactor's own."""

log = Logger()


class Node(Protocol):
    """Who is told of rounds; see `im.conversation.Node`."""

    def begin_round(self) -> None:
        """Events follow."""

    def end_round(self) -> None:
        """That was all of them."""


@implementer(IReadDescriptor)
class Rounds:
    """What the transports of the connections take for the reactor.

    To the reactor it is one descriptor: an epoll of its own, which is readable while any of its connections has
    events. What it does with them is what Twisted's epoll reactor does.
    """

    def __init__(self, reactor: Any, node: Node) -> None:
        self._reactor = reactor
        self._node = node
        self._epoll = select.epoll()
        self._watched: dict[int, int] = {}
        self._transports: dict[int, Any] = {}
        self._waiting: deque[tuple[Any, int]] = deque()
        self.callLater = reactor.callLater

    def start(self) -> None:
        """Have the reactor watch."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """No connection is left; the end of the last one, in a round, may be what calls this."""
        self._reactor.removeReader(self)
        self._epoll.close()

    # IReadDescriptor.

    def fileno(self) -> int:
        """The epoll's descriptor."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """For the log."""
        return "IM connections"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""

    def doRead(self) -> None:
        """Serve what has events, round after round while there are more and there is time.

        Whatever fails, the reactor must not part with all connections because of it.
        """
        end = time.monotonic() + LONGEST
        try:
            while self._has_events():
                self._round(end)
                if time.monotonic() >= end:
                    return
        except Exception:
            log.failure("a round failed")

    def _has_events(self) -> bool:
        if not self._waiting and not self._epoll.closed:
            self._waiting.extend((self._transports[fd], events) for fd, events in self._epoll.poll(0, MOST))
        return bool(self._waiting)

    def _round(self, end: float) -> None:
        """Those that are left when the time is over have their events in the next round still, and are first then."""
        self._node.begin_round()
        try:
            while self._waiting:
                transport, events = self._waiting.popleft()
                self._serve(transport, events & (self._watched.get(transport.fileno(), 0) | _GONE))
                if time.monotonic() >= end:
                    return
        finally:
            self._node.end_round()

    def _serve(self, transport: Any, events: int) -> None:
        """One that another's event has ended meanwhile has no more."""
        if not events or not transport.connected:
            return
        try:
            why = self._read_and_write(transport, events)
        except Exception as error:
            log.failure("a connection failed")
            why = error
        if why is not None:
            self._disconnect(transport, why)

    def _read_and_write(self, transport: Any, events: int) -> Exception | None:
        """What the events ask for; why the connection has ended, if it has."""
        if events & _GONE and not events & _READ:
            was_read = self._watched.get(transport.fileno(), 0) & _READ
            return ConnectionDone() if was_read else ConnectionLost()
        why: Exception | None = transport.doRead() if events & _READ else None
        if why is None and events & _WRITE and transport.connected:
            why = transport.doWrite()
        return why

    def _disconnect(self, transport: Any, why: Exception) -> None:
        try:
            self.removeReader(transport)
            self.removeWriter(transport)
            if transport.connected:
                transport.connectionLost(Failure(why))
        except Exception:
            log.failure("a connection failed as it ended")

    # IReactorFDSet, as far as transports use it.

    def addReader(self, transport: Any) -> None:
        """Tell it when there is something to read."""
        self._watch(transport, _READ, 0)

    def addWriter(self, transport: Any) -> None:
        """Tell it when it can write."""
        self._watch(transport, _WRITE, 0)

    def removeReader(self, transport: Any) -> None:
        """Do so no more."""
        self._watch(transport, 0, _READ)

    def removeWriter(self, transport: Any) -> None:
        """Do so no more."""
        self._watch(transport, 0, _WRITE)

    def _watch(self, transport: Any, more: int, less: int) -> None:
        fd = transport.fileno()
        before = self._watched.get(fd, 0)
        events = before & ~less | more
        if fd < 0 or events == before:
            return
        if not events:
            self._epoll.unregister(fd)
            del self._watched[fd], self._transports[fd]
            return
        (self._epoll.modify if before else self._epoll.register)(fd, events)
        self._watched[fd] = events
        self._transports[fd] = transport
