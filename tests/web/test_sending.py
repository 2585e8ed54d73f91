"""When an answer counts as sent: over real sockets with TLS, as only the kernel knows what it has taken."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from simple_im import tls
from simple_im.limits import HTTP_IDLE
from simple_im.listen import adopt, bind
from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Endpoint
from simple_im.web.site import QuietSite
from tests.web.door import request_bytes

ENTRY = b'[[m]]\nc = "%b"\n\n' % (b"x" * 10_000)
COUNT = 400
SMALL = 8_192
TIMEOUT = 30.0


class Large(Endpoint):
    """A large answer. `finished` fires when its request is over, whatever came of it."""

    def __init__(self) -> None:
        super().__init__({"GET": self.show})
        self.times_sent = 0
        self.begun: Deferred[None] = Deferred()
        self.finished: Deferred[None] = Deferred()

    async def show(self, _call: Call) -> Answer:
        """The answer."""
        return Answer(entries=[ENTRY] * COUNT, when_sent=self.count)

    def count(self) -> None:
        """It was sent."""
        self.times_sent += 1

    def render(self, request: Request) -> int:
        """Note the end."""
        request.notifyFinish().addBoth(lambda _result: self.finished.callback(None))
        self.begun.callback(None)
        return super().render(request)


class Client:
    """A client that takes as little as it can; its methods block, for a thread."""

    def __init__(self, port: int, ca: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca))

    def ask(self, method: str = "GET") -> None:
        """Send a request and read nothing."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        plain.settimeout(TIMEOUT)
        plain.connect(("127.0.0.1", self._port))
        self._socket = self._context.wrap_socket(plain, server_hostname="localhost")
        self._method = method
        self._socket.sendall(request_bytes(method, "/x", {}))

    def read_some(self) -> None:
        """Read the beginning of the answer."""
        self._socket.recv(1_000)

    def read(self) -> int:
        """Read all of the answer; its size."""
        answer = http.client.HTTPResponse(self._socket, method=self._method)
        answer.begin()
        return len(answer.read())

    def reset(self) -> None:
        """Be gone without a word."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close."""
        self._socket.close()


class SendingTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        tls.ensure_certificates(directory, None, datetime.now(UTC))
        self.clock = Clock()
        self.large = Large()
        root = Resource()
        root.putChild(b"x", self.large)
        listening = bind("127.0.0.1", 0, "http")
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        port = listening.getsockname()[1]
        connections = tls.server_context_factory(directory)
        site: Any = QuietSite(root, self.clock)
        factory = TLSMemoryBIOFactory(connections, False, site)
        self.addCleanup(adopt(reactor, listening, factory, reactor).stopListening)  # type: ignore[arg-type]
        self.client = Client(port, directory / "cowboy-ca.crt")

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """What a method of the client returns, without stopping the server."""
        return await deferToThread(function, *args)

    async def turns(self) -> None:
        """Let the server do what it can."""
        for _ in range(20):
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]

    def run_test(self, test: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        return Deferred.fromCoroutine(test)

    def test_read_to_the_end(self) -> Deferred[None]:
        """An answer counts as sent when the kernel has its last byte, not before, and once."""
        return self.run_test(self.read_to_the_end())

    async def read_to_the_end(self) -> None:
        await self.call(self.client.ask)
        await self.large.begun
        await self.turns()
        self.assertEqual(self.large.times_sent, 0)
        self.assertGreater(await self.call(self.client.read), COUNT * 10_000)
        await self.large.finished
        await self.turns()
        self.assertEqual(self.large.times_sent, 1)
        await self.call(self.client.close)

    def test_cut_off(self) -> Deferred[None]:
        """An answer that the client cut off in the middle does not count as sent."""
        return self.run_test(self.cut_off())

    async def cut_off(self) -> None:
        await self.call(self.client.ask)
        await self.call(self.client.read_some)
        await self.call(self.client.reset)
        await self.large.finished
        await self.turns()
        self.assertEqual(self.large.times_sent, 0)

    def test_head(self) -> Deferred[None]:
        """A HEAD is answered to its end and sends nothing."""
        return self.run_test(self.head())

    async def head(self) -> None:
        await self.call(self.client.ask, "HEAD")
        self.assertEqual(await self.call(self.client.read), 0)
        await self.large.finished
        await self.turns()
        self.assertEqual(self.large.times_sent, 0)
        await self.call(self.client.close)

    def test_reader_that_stopped(self) -> Deferred[None]:
        """A reader that takes nothing at all for a while is cut off, and was sent nothing."""
        return self.run_test(self.reader_that_stopped())

    async def reader_that_stopped(self) -> None:
        await self.call(self.client.ask)
        await self.large.begun
        while not self.large.finished.called:
            self.clock.advance(HTTP_IDLE)
            await self.turns()
        self.assertEqual(self.large.times_sent, 0)
        await self.call(self.client.close)
