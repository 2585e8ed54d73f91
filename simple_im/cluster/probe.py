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
"""Seconds for connecting and the handshake."""

log = Logger()


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Fires `done` with whether the handshake came to its end, and closes."""

    def __init__(self, done: Deferred[bool]) -> None:
        self._done = done

    def handshakeCompleted(self) -> None:
        self._finish(True)
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._finish(False)

    def _finish(self, answered: bool) -> None:
        if not self._done.called:
            self._done.callback(answered)


class TlsProbe:
    """Connects to a door, and only finds out whether it speaks TLS."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def __call__(self, door: Door) -> bool:
        """Whether the door answers a TLS handshake in time."""
        done: Deferred[bool] = Deferred()
        done.addTimeout(TIMEOUT, self._reactor, onTimeoutCancel=lambda _result, _timeout: False)
        factory = Factory.forProtocol(lambda: _Handshake(done))
        endpoint = HostnameEndpoint(self._reactor, door.host, door.port, timeout=TIMEOUT)
        try:
            await endpoint.connect(TLSMemoryBIOFactory(CertificateOptions(), True, factory))
        except Exception as error:
            log.info("the door {door} did not answer: {error}", door=door, error=error)
            return False
        return await done
