"""Does a door answer a TLS handshake?"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from simple_im.cluster.directory import Door

TIMEOUT = 3
"""Seconds for connecting, and again for the handshake."""

log = Logger()


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """`done` fires with whether the handshake came to its end; then, or when it is cancelled, the connection closes."""

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[bool] = Deferred(self._give_up)

    def handshakeCompleted(self) -> None:
        self._finish(True)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._finish(False)

    def _finish(self, answered: bool) -> None:
        if not self.done.called:
            self.done.callback(answered)

    def _give_up(self, _done: Deferred[bool]) -> None:
        self.transport.abortConnection()


class TlsProbe:
    """Connects to a door, and only finds out whether it speaks TLS."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def __call__(self, door: Door) -> bool:
        """Whether the door answers a TLS handshake in time."""
        handshake = _Handshake()
        factory = Factory.forProtocol(lambda: handshake)
        endpoint = HostnameEndpoint(self._reactor, door.host, door.port, timeout=TIMEOUT)
        try:
            await endpoint.connect(TLSMemoryBIOFactory(CertificateOptions(), True, factory, self._reactor))
        except Exception as error:
            log.info("the door {door} did not answer: {error}", door=door, error=error)
            return False
        handshake.done.addTimeout(TIMEOUT, self._reactor, onTimeoutCancel=lambda _result, _timeout: False)
        return await handshake.done
