"""`POST /server/failed` with the real probe against real doors."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.wire import Echo
from twisted.trial.unittest import TestCase

from simple_im import tls
from simple_im.cluster.directory import Door
from simple_im.cluster.probe import TlsProbe
from simple_im.listen import adopt, bind
from simple_im.secure import SecureFactory
from tests.web.door import FORM, Answer, HttpsDoor, request_bytes


class ProbedDoorTests(TestCase):
    timeout = 30

    def listening(self, factory: IProtocolFactory) -> Door:
        """A door at which `factory` answers."""
        sock = bind("127.0.0.1", 0, "im")
        port = sock.getsockname()[1]
        real_reactor: Any = reactor
        self.addCleanup(adopt(real_reactor, sock, factory, real_reactor).stopListening)
        return Door("127.0.0.1", port)

    async def report(self, door: Door) -> Answer:
        """The answer to a client that says `door` failed, with another address in its request."""
        other = self.listening(Factory.forProtocol(Echo))
        https = HttpsDoor(door, TlsProbe(reactor))
        https.create()
        connection = https.connect()
        body = f"server={other.host}&port={other.port}".encode()
        headers = {"Cookie": f"token={https.sign_in()}", "Content-Type": FORM}
        connection.send(request_bytes("POST", "/server/failed", headers, body))
        while not connection.answers():
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]
        return connection.answers()[0]

    async def check(self, door: Door, status: int, reason: str) -> None:
        answer = await self.report(door)
        self.assertEqual((answer.status, answer.response["r"]), (status, reason))

    def test_living(self) -> Deferred[None]:
        """A door that answers a TLS handshake is online."""
        directory = Path(self.mktemp())
        tls.ensure_certificates(directory, None, datetime.now(UTC))
        connections = tls.server_context_factory(directory)
        door = self.listening(SecureFactory(connections, Factory.forProtocol(Echo)))
        return Deferred.fromCoroutine(self.check(door, 200, "IM is online"))

    def test_dead(self) -> Deferred[None]:
        """A door that nobody opens is not."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            door = Door("127.0.0.1", closed.getsockname()[1])
        return Deferred.fromCoroutine(self.check(door, 503, "No IM server"))

    def test_not_tls(self) -> Deferred[None]:
        """A door that answers something else is not either."""
        return Deferred.fromCoroutine(self.check(self.listening(Factory.forProtocol(Echo)), 503, "No IM server"))
