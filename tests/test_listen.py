"""Listening sockets."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from simple_im import listen
from simple_im.config import StartError
from simple_im.listen import adopt, bind, describe, plain_host
from simple_im.transport import DrainServer

reactor: Any = _reactor


def has_ipv6() -> bool:
    """Whether this machine can be reached by IPv6, if only by itself."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


LOOPBACK = ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",)
EVERY = ("0.0.0.0", "::") if has_ipv6() else ("0.0.0.0",)


class BindTests(SynchronousTestCase):
    def bound(self, interface: str, port: int = 0) -> socket.socket:
        sock = bind(interface, port, "im")
        self.addCleanup(sock.close)
        return sock

    def taken(self, host: str) -> int:
        """A port at which another program listens."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, 0), family=family)
        self.addCleanup(sock.close)
        return int(sock.getsockname()[1])

    def connect(self, host: str, sock: socket.socket) -> None:
        socket.create_connection((host, sock.getsockname()[1])).close()

    def refusal(self, interface: str, port: int, name: str = "im") -> str:
        return str(self.assertRaises(StartError, bind, interface, port, name))

    def test_everywhere(self) -> None:
        """Without an interface, clients of IPv4 and of IPv6 come in by one socket that does not block."""
        sock = self.bound("")
        for host in LOOPBACK:
            self.connect(host, sock)
        self.assertFalse(sock.getblocking())

    def test_without_ipv6(self) -> None:
        """Where Python has no IPv6, every IPv4 address is listened on."""
        self.patch(socket, "has_ipv6", False)
        sock = self.bound("")
        self.assertEqual(sock.family, socket.AF_INET)
        self.connect("127.0.0.1", sock)

    def test_ipv6_switched_off(self) -> None:
        """Where the system has no IPv6, every IPv4 address is listened on."""
        real = socket.socket

        def ipv4_only(family: int, kind: int) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            return real(family, kind)

        self.patch(socket, "socket", ipv4_only)
        self.assertEqual(self.bound("").family, socket.AF_INET)

    def test_one_address(self) -> None:
        """With an interface only that address is listened on."""
        for host in LOOPBACK:
            self.assertEqual(self.bound(host).getsockname()[0], host)

    def test_busy(self) -> None:
        """A port that another program has is refused with its number and the option that changes it."""
        port = self.taken("127.0.0.1")
        for name in ("http", "im"):
            sentence = self.refusal("127.0.0.1", port, name)
            self.assertIn(f"port {port} is in use", sentence)
            self.assertIn(f"--{name}-port", sentence)

    def test_busy_half(self) -> None:
        """To listen everywhere, the port has to be free for IPv4 and for IPv6."""
        for host in EVERY + LOOPBACK:
            port = self.taken(host)
            self.assertIn(f"port {port} is in use", self.refusal("", port))

    def test_bound_twice(self) -> None:
        """Two of our own doors can't have one port either."""
        port = self.bound("").getsockname()[1]
        self.assertIn("in use", self.refusal("", port))

    def test_restart(self) -> None:
        """A port can be had again while connections of the last server are still closing."""
        sock = self.bound("127.0.0.1")
        port = sock.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(client.close)
        sock.setblocking(True)
        sock.accept()[0].close()
        sock.close()
        self.bound("127.0.0.1", port)

    def test_address_elsewhere(self) -> None:
        """An address of another machine is refused by name."""
        sentence = self.refusal("198.51.100.1", 1987)
        self.assertIn("198.51.100.1 is no address of this machine", sentence)
        self.assertIn("1987", sentence)
        self.assertIn("--interface", sentence)

    def test_not_an_address(self) -> None:
        """So is what is no address."""
        self.assertIn("nonsense is no address", self.refusal("nonsense", 1987))

    def test_no_permission(self) -> None:
        """A port that the user may not open, and any other fault, is refused with the option that changes it."""
        for number, words in ((errno.EACCES, "not for this user"), (errno.EMFILE, "EMFILE")):

            def fail(host: str, port: int, number: int = number) -> socket.socket:
                raise OSError(number, "no")

            self.patch(listen, "_listening", fail)
            sentence = self.refusal("127.0.0.1", 443, "http")
            self.assertIn("port 443", sentence)
            self.assertIn(words, sentence)
            self.assertIn("--http-port", sentence)


class Watching:
    """What transports take for their reactor: notes who is watched, and has the real one do it."""

    def __init__(self) -> None:
        self.readers: list[object] = []
        self.callLater = reactor.callLater

    def addReader(self, transport: object) -> None:
        self.readers.append(transport)
        reactor.addReader(transport)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class AdoptTests(TestCase):
    async def test_accepts(self) -> None:
        """The reactor accepts for the factory at the port that was bound, and has it to itself."""
        sock = bind("127.0.0.1", 0, "im")
        number = sock.getsockname()[1]
        port = adopt(reactor, sock, Factory.forProtocol(Protocol), reactor)
        self.assertEqual(sock.fileno(), -1)
        self.assertEqual(describe(port), f"127.0.0.1:{number}")
        endpoint = HostnameEndpoint(reactor, b"127.0.0.1", number)
        client: Any = await endpoint.connect(Factory.forProtocol(Protocol))
        client.transport.abortConnection()
        await maybeDeferred(port.stopListening)
        bind("127.0.0.1", number, "im").close()

    async def test_connections(self) -> None:
        """What it accepts is a `DrainServer`, watched by what was named for that; the port itself is not."""
        opened: Deferred[Any] = Deferred()

        class Told(Protocol):
            def connectionMade(self) -> None:
                opened.callback(self.transport)

        sock, connections = bind("127.0.0.1", 0, "im"), Watching()
        number = sock.getsockname()[1]
        port = adopt(reactor, sock, Factory.forProtocol(Told), connections)
        client: Any = await HostnameEndpoint(reactor, b"127.0.0.1", number).connect(Factory.forProtocol(Protocol))
        server = await opened
        self.assertIsInstance(server, DrainServer)
        self.assertEqual(connections.readers, [server])
        self.assertIs(server.reactor, connections)
        self.assertEqual(server.getHost(), port.getHost())
        self.assertEqual(server.getPeer(), client.transport.getHost())
        for transport in (server, client.transport):
            transport.abortConnection()
        await maybeDeferred(port.stopListening)


@implementer(IListeningPort)
class FakePort:
    """A port at an address."""

    def __init__(self, address: IPv4Address | IPv6Address) -> None:
        self.address = address

    def startListening(self) -> None:
        pass

    def stopListening(self) -> None:
        pass

    def getHost(self) -> Any:
        return self.address


class WordsTests(SynchronousTestCase):
    def test_describe(self) -> None:
        """A port is described as people write it, and "every address" as *."""
        for address, words in (
            (IPv4Address("TCP", "127.0.0.1", 1987), "127.0.0.1:1987"),
            (IPv4Address("TCP", "0.0.0.0", 8080), "*:8080"),
            (IPv6Address("TCP", "::", 8080), "*:8080"),
            (IPv6Address("TCP", "::1", 1987), "[::1]:1987"),
        ):
            self.assertEqual(describe(FakePort(address)), words)

    def test_plain_host(self) -> None:
        """A peer is named by the address that it knows itself by."""
        for host, plain in (
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("::ffff:0:1", "::ffff:0:1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
        ):
            self.assertEqual(plain_host(host), plain)
