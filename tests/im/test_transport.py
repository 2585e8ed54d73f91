"""TCP and TLS below the IM door."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump
from twisted.trial.unittest import SynchronousTestCase, TestCase

from simple_im import tls
from simple_im.limits import KEEPALIVE, LOGIN_DEADLINE, RECORD_SIZE
from simple_im.secure import SecureFactory, SecureProtocol
from simple_im.transport import DrainServer, buffered_bytes, taken_bytes, tune
from tests.fakes import TlsTransport
from tests.im.door import ANN, BOB, Door, bye, done, m, parse

reactor: Any = _reactor


class Records(Protocol):
    """Keeps each call of `dataReceived`."""

    transport: Any

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True


class PromptClients(TLSMemoryBIOFactory):
    """TLS of a client's that makes each write a record, at once."""

    protocol = TLSMemoryBIOProtocol


class TlsTestCase(SynchronousTestCase):
    """Both ends of a TLS connection in memory; the server's is the one that the service makes."""

    def setUp(self) -> None:
        directory = Path(self.mktemp()) / "ssl"
        directory.parent.mkdir()
        tls.ensure_certificates(directory, None, datetime.now(UTC))
        self.contexts = tls.server_context_factory(directory)
        self.clock = Clock()

    def server(self, factory: Any) -> SecureProtocol:
        return SecureFactory(self.contexts, factory).buildProtocol(None)

    def connect(self, factory: Any) -> None:
        """Sets `client`, whose `received` has a record an item, and `pump`; the handshake is done."""
        self.connect_to(self.server(factory))

    def connect_to(self, server: SecureProtocol) -> None:
        self.client = Records()
        client = PromptClients(CertificateOptions(), True, Factory.forProtocol(lambda: self.client), self.clock)
        self.join(server, client.buildProtocol(None))

    def join(self, server: Any, client: Any) -> None:
        server_end, client_end = FakeTransport(server, True), FakeTransport(client, False)
        self.pump = IOPump(client, server, client_end, server_end, False)
        server.makeConnection(server_end)
        client.makeConnection(client_end)
        self.pump.flush()


class RecordTests(TlsTestCase):
    def test_a_record_is_one_call(self) -> None:
        """Records that come in one TCP segment are still handed over one by one."""
        server = Records()
        self.connect(Factory.forProtocol(lambda: server))
        for record in (b"first", b"second", b"third"):
            self.client.transport.write(record)
        self.pump.flush()
        self.assertEqual(server.received, [b"first", b"second", b"third"])

    def test_a_full_record_is_not_split(self) -> None:
        """The largest record is one call too, also with others around it."""
        server = Records()
        self.connect(Factory.forProtocol(lambda: server))
        for size in (10, RECORD_SIZE, 20):
            self.client.transport.write(b"x" * size)
        self.pump.flush()
        self.assertEqual([len(record) for record in server.received], [10, RECORD_SIZE, 20])

    def test_a_record_in_pieces(self) -> None:
        """A record that comes byte by byte is handed over when it is whole."""
        server = Records()
        protocol = self.server(Factory.forProtocol(lambda: server))
        self.connect_to(protocol)
        for byte in self.segment(b"hello"):
            protocol.dataReceived(bytes([byte]))
        self.assertEqual(server.received, [b"hello"])

    def segment(self, record: bytes) -> bytes:
        """What the client sends for a record, taken off the wire."""
        wire = self.pump.clientIO
        self.client.transport.write(record)
        data: bytes = b"".join(wire.stream)
        wire.stream.clear()
        return data

    def test_a_write_is_a_record(self) -> None:
        """What the server writes at once arrives as one record, at once."""
        server = Records()
        self.connect(Factory.forProtocol(lambda: server))
        for size in (10, RECORD_SIZE, 20):
            server.transport.write(b"x" * size)
        self.pump.flush()
        self.assertEqual([len(record) for record in self.client.received], [10, RECORD_SIZE, 20])


class TlsDoorTests(TlsTestCase):
    """The door behind real TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.door = Door()
        self.clock = self.door.clock

    def log_in(self) -> None:
        self.connect(self.door.factory)
        token = self.door.token(ANN, "phone")
        self.say(f'[[r]] id = "1" t = "login" [r.user] id = {ANN} d = "phone" token = "{token}"')

    def say(self, *records: str) -> None:
        for record in records:
            self.client.transport.write(record.encode())
        self.pump.flush()

    def test_compact_records(self) -> None:
        """Entries of a compact client are told apart by their records, though they come in one segment."""
        bob = self.door.online(BOB)
        self.log_in()
        entry = '[[m]] id = "{}" t = "text" c = "hello" to = 2'
        self.say(*(entry.format(number) for number in range(3)))
        self.assertEqual(bob.ids(), ["0", "1", "2"])

    def test_written_records(self) -> None:
        """What a compact client gets comes in records of whole entries."""
        self.log_in()
        ids = self.door.messages(ANN, 1, 5, 100) + self.door.messages(ANN, 6, 8, 20_000)
        self.pump.flush()
        self.assertEqual([keys["id"] for table, keys in parse(b"".join(self.client.received)) if table == "m"], ids)
        begins = [record.startswith(b"[[") for record in self.client.received]
        self.assertEqual(begins.count(False), 3)
        self.assertLessEqual(max(map(len, self.client.received)), RECORD_SIZE)

    def test_bye_arrives(self) -> None:
        """The reason comes before the end, and the end follows when the client closes too."""
        self.log_in()
        self.say('[[r]] id = "2" t = "logout"')
        self.assertEqual(parse(b"".join(self.client.received)), [done("1"), done("2"), bye("revoked")])
        self.assertTrue(self.client.is_lost)
        self.door.commit()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def raw_connection(self) -> StringTransport:
        transport = StringTransport()
        self.protocol = self.server(self.door.factory)
        self.protocol.makeConnection(transport)
        return transport

    def test_plain_text(self) -> None:
        """Who does not speak TLS is closed, and leaves nothing behind."""
        transport = self.raw_connection()
        self.protocol.dataReceived(m("1", BOB).encode())
        self.assertTrue(transport.disconnecting)
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_half_a_handshake(self) -> None:
        """A handshake that does not go on is cut off when the time for the login is over."""
        transport = self.raw_connection()
        self.protocol.dataReceived(self.client_hello()[:50])
        self.clock.advance(LOGIN_DEADLINE - 1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(transport.disconnecting)
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def client_hello(self) -> bytes:
        wire = StringTransport()
        client = TLSMemoryBIOFactory(CertificateOptions(), True, Factory.forProtocol(Records), self.clock)
        client.buildProtocol(None).makeConnection(wire)
        hello: bytes = wire.value()
        return hello


class TuneTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.addCleanup(self.socket.close)

    def option(self, level: int, name: int) -> int:
        return self.socket.getsockopt(level, name)

    def test_keepalive(self) -> None:
        """The kernel looks for dead peers, when and as often as the limits say."""
        tune(SimpleNamespace(transport=SimpleNamespace(socket=self.socket)))
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        self.assertTrue(self.option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(tuple(self.option(socket.IPPROTO_TCP, name) for name in names), KEEPALIVE)

    def test_every_connection(self) -> None:
        """The door does so to each connection as it begins."""
        transport = TlsTransport()
        transport.transport.socket = self.socket  # type: ignore[attr-defined]
        Door().connect(transport)
        self.assertTrue(self.option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def test_no_delay(self) -> None:
        """Small writes are sent at once."""
        tune(SimpleNamespace(transport=SimpleNamespace(socket=self.socket)))
        self.assertTrue(self.option(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_no_socket(self) -> None:
        """A transport in memory is left as it is."""
        tune(StringTransport())


class Refusing:
    """A socket that takes nothing, with an error."""

    def __init__(self, sock: socket.socket, error: OSError) -> None:
        self.socket = sock
        self._error = error

    def send(self, _data: bytes) -> int:
        raise self._error


class DrainServerTests(TestCase):
    """A real connection."""

    async def connected(self) -> tuple[Any, Any]:
        """The server's and the client's end."""
        opened: Deferred[Records] = Deferred()

        def build() -> Records:
            protocol = Records()
            protocol.connectionMade = lambda: opened.callback(protocol)  # type: ignore[method-assign]
            return protocol

        port = reactor.listenTCP(0, Factory.forProtocol(build), interface="127.0.0.1")
        port.transport = DrainServer
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        client = await connectProtocol(endpoint, Records())
        server = await opened
        return server.transport, client.transport

    async def test_drained(self) -> None:
        """It tells when the kernel has taken everything, and counts how much that was."""
        server, client = await self.connected()
        size = 8 << 20
        server.write(b"x" * size)
        waiting = buffered_bytes(server)
        await server.when_drained()
        self.assertGreater(waiting, 0)
        self.assertEqual((buffered_bytes(server), taken_bytes(server)), (0, size))
        await self.end(server, client)

    async def test_at_once(self) -> None:
        """What the kernel takes it has been given when `write` returns; what is written behind something waits."""
        server, client = await self.connected()
        server.write(b"first")
        self.assertEqual((buffered_bytes(server), taken_bytes(server)), (0, 5))
        server.write(b"x" * (8 << 20))
        before = taken_bytes(server)
        server.write(b"last")
        self.assertEqual(taken_bytes(server), before)
        await server.when_drained()
        self.assertEqual(taken_bytes(server), 5 + (8 << 20) + 4)
        await self.end(server, client)

    async def test_nothing_to_write(self) -> None:
        """Then it tells so at once."""
        server, client = await self.connected()
        self.assertTrue(server.when_drained().called)
        await self.end(server, client)

    async def test_broken(self) -> None:
        """To write where the peer is gone raises nothing; the end follows, and nothing more counts as taken."""
        server, client = await self.connected()
        client.abortConnection()
        while client.connected:
            await self.turn()
        taken = 0
        while server.connected:
            server.write(b"x")
            taken = taken_bytes(server)
            await self.turn()
        server.write(b"x")
        self.assertEqual(taken_bytes(server), taken)
        self.assertTrue(server.when_drained().called)

    async def test_broken_socket(self) -> None:
        """What the kernel does not take, whatever it says, waits for the reactor, which finds out."""
        for error in (BlockingIOError(), BrokenPipeError(), ConnectionResetError()):
            server, client = await self.connected()
            server.socket = Refusing(server.socket, error)
            server.write(b"hello")
            self.assertEqual((taken_bytes(server), buffered_bytes(server)), (0, 5))
            server.socket = server.socket.socket
            await server.when_drained()
            self.assertEqual(taken_bytes(server), 5)
            await self.end(server, client)

    async def test_a_part(self) -> None:
        """Of what the kernel takes a part of, the rest goes out in its turn, before what is written later."""
        server, client = await self.connected()
        text = bytes(range(256)) * (1 << 15)
        server.write(text)
        self.assertEqual(taken_bytes(server) + buffered_bytes(server), len(text))
        server.write(b"end")
        received = client.protocol._wrappedProtocol.received
        while sum(map(len, received)) < len(text) + 3:
            await self.turn()
        self.assertEqual(b"".join(received), text + b"end")
        await self.end(server, client)

    async def test_the_end(self) -> None:
        """It tells also when the rest will never be taken."""
        server, client = await self.connected()
        client.pauseProducing()
        server.write(b"x" * (64 << 20))
        waiting = server.when_drained()
        server.abortConnection()
        await waiting
        self.assertLess(taken_bytes(server), 64 << 20)
        await self.end(server, client)

    async def end(self, *transports: Any) -> None:
        """Close both ends and wait until they are closed."""
        for transport in transports:
            transport.abortConnection()
        for transport in transports:
            while transport.connected:
                await self.turn()

    async def turn(self) -> None:
        """Let the reactor do what it can."""
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn
