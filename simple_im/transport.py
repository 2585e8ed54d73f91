"""What Twisted's TCP transports do not offer by themselves, for both doors."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from simple_im.limits import KEEPALIVE


class DrainServer(tcp.Server):
    """A TCP connection that writes at once, and tells when the kernel has taken the last byte of what was written, and
    how much it has taken so far (`taken`)."""

    taken = 0
    _waiting: list[Deferred[None]] = []

    def write(self, data: bytes) -> None:
        """Give it to the kernel now where nothing waits before it.

        Twisted's own way waits for the reactor's next turn, with two system calls to be told of it: at rest that is
        the larger part of what a delivery takes.
        """
        if self.connected and not self._tempDataLen and len(self.dataBuffer) == self.offset:
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0
            self.taken += sent
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Called by Twisted with what it has for the kernel."""
        sent = super().writeSomeData(data)
        if isinstance(sent, int):
            self.taken += sent
        return sent

    def when_drained(self) -> Deferred[None]:
        """Fires when nothing is left to write, or the connection is gone; at once where that is so already."""
        waiting: Deferred[None] = Deferred()
        if self.connected and buffered_bytes(self):
            self._waiting = [*self._waiting, waiting]
        else:
            waiting.callback(None)
        return waiting

    def stopWriting(self) -> None:
        """Called by Twisted when the buffer is empty, among other times."""
        super().stopWriting()  # type: ignore[no-untyped-call]
        if not buffered_bytes(self):
            self._tell()

    def connectionLost(self, reason: Failure) -> None:
        """Nothing more will be written."""
        super().connectionLost(reason)
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            if not deferred.called:
                deferred.callback(None)


def tune(transport: Any) -> None:
    """Have the kernel find a dead peer and send small writes at once; a transport without a socket has no kernel."""
    handle = getattr(below_tls(transport), "socket", None)
    if not isinstance(handle, socket.socket):
        return
    idle, interval, probes = KEEPALIVE
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", idle), ("TCP_KEEPINTVL", interval), ("TCP_KEEPCNT", probes)):
        if hasattr(socket, option):
            handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def buffered_bytes(transport: Any) -> int:
    """How much the TCP transport still has to give to the kernel."""
    tcp_transport = below_tls(transport)
    held = len(getattr(tcp_transport, "dataBuffer", b"")) - getattr(tcp_transport, "offset", 0)
    return held + int(getattr(tcp_transport, "_tempDataLen", 0))


def taken_bytes(transport: Any) -> int:
    """How much the kernel has taken from a `DrainServer` in all."""
    return int(getattr(below_tls(transport), "taken", 0))


def below_tls(transport: Any) -> Any:
    """The TCP transport below TLS, or the transport itself."""
    return getattr(transport, "transport", transport)
