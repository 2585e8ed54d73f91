"""Does a door answer?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from simple_im import tls
from simple_im.cluster.directory import Door
from simple_im.cluster.probe import TIMEOUT, TlsProbe


@implementer(IHostnameResolver)
class Resolver:
    """Knows addresses only."""

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *_others: Any) -> Any:
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        receiver.resolutionComplete()
        return receiver


@implementer(IReactorPluggableNameResolver)
class Reactor(MemoryReactorClock):
    """A reactor in memory."""

    nameResolver = Resolver()

    def installNameResolver(self, resolver: Any) -> Any:
        """It has one."""
        return self.nameResolver


class ProbeTests(SynchronousTestCase):
    """A probe of a door in memory."""

    def setUp(self) -> None:
        self.clock = Reactor()
        self.outcome: list[Any] = []
        Deferred.fromCoroutine(TlsProbe(self.clock)(Door("127.0.0.1", 1987))).addBoth(self.outcome.append)

    def test_connecting(self) -> None:
        """It connects to the door that was named."""
        self.assertEqual(self.clock.tcpClients[0][:2], ("127.0.0.1", 1987))

    def test_nobody_there(self) -> None:
        """A connection that can't be made is no answer, and leaves no timer."""
        factory = self.factory()
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.clock.advance(TIMEOUT)
        self.check(False)

    def test_no_connection_in_time(self) -> None:
        """Nor is one that is not made in time."""
        self.assertEqual(self.clock.tcpClients[0][3], TIMEOUT)

    def check(self, outcome: bool) -> None:
        self.assertEqual(self.outcome, [outcome])
        self.clock.advance(2 * TIMEOUT)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def factory(self) -> Any:
        """What the probe connects with."""
        return self.clock.tcpClients[0][2]

    def connected(self, transport: Any) -> Any:
        protocol = self.factory().buildProtocol(None)
        protocol.makeConnection(transport)
        return protocol

    def test_silence(self) -> None:
        """A door that accepts and says nothing is no answer when the time is over; the connection is cut off."""
        transport = StringTransport()
        protocol = self.connected(transport)
        self.clock.advance(TIMEOUT - 1)
        self.assertEqual(self.outcome, [])
        self.clock.advance(1)
        self.assertTrue(transport.disconnected)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.check(False)

    def test_closed(self) -> None:
        """A door that closes is no answer."""
        protocol = self.connected(StringTransport())
        protocol.connectionLost(Failure(ConnectionDone()))
        self.check(False)

    def test_no_tls(self) -> None:
        """Something that speaks plain text is none."""
        transport = StringTransport()
        protocol = self.connected(transport)
        protocol.dataReceived(b"220 mail.example.org ESMTP\r\n")
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.check(False)

    def test_tls(self) -> None:
        """A handshake that comes to its end is an answer, whoever's certificate it is; then the probe closes."""
        server = self.server()
        client = self.factory().buildProtocol(None)
        server_end, client_end = FakeTransport(server, True), FakeTransport(client, False)
        pump = IOPump(client, server, client_end, server_end, False)
        server.makeConnection(server_end)
        client.makeConnection(client_end)
        pump.flush()
        self.assertTrue(client_end.disconnected)
        self.check(True)

    def server(self) -> Any:
        factory = tls.PromptTLSFactory(contexts(self.mktemp()), False, Factory.forProtocol(Protocol), self.clock)
        return factory.buildProtocol(None)


def contexts(directory: str) -> tls.ServerConnections:
    """Certificates of a node that has just been started for the first time."""
    path = Path(directory) / "ssl"
    path.parent.mkdir()
    tls.ensure_certificates(path, None, datetime.now(UTC))
    return tls.server_context_factory(path)


class RealProbeTests(TestCase):
    """The same over TCP."""

    async def test_a_door(self) -> None:
        """A TLS door answers; once its port is closed it does not."""
        secure = tls.PromptTLSFactory(contexts(self.mktemp()), False, Factory.forProtocol(Protocol))
        real: Any = reactor
        port = real.listenTCP(0, secure, interface="127.0.0.1")
        door = Door("127.0.0.1", port.getHost().port)
        self.assertTrue(await TlsProbe(real)(door))
        await port.stopListening()
        self.assertFalse(await TlsProbe(real)(door))
