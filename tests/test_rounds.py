"""Connections that are served in rounds: real sockets, and rounds taken when the test says so, or by the reactor."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import ssl
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, IReadDescriptor
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from simple_im import rounds, tls
from simple_im.config import Config
from simple_im.listen import adopt, bind
from simple_im.rounds import MOST, Rounds
from simple_im.secure import SecureFactory
from simple_im.service import EmbeddedNode
from simple_im.transport import buffered_bytes
from tests.im.door import ANN, BOB, CAT, DoorTestCase, login, m, parse, r

reactor: Any = _reactor
PATIENCE = 30.0
LARGE = 8 << 20
SMALL = 65_536
"""What the kernel may keep of what is written; far less than is."""


class Told:
    """A node that notes what it is told; `happened` has what the connections are given too."""

    def __init__(self) -> None:
        self.happened: list[Any] = []
        self.fails = False

    def begin_round(self) -> None:
        self.happened.append("begin")

    def end_round(self) -> None:
        self.happened.append("end")
        if self.fails:
            raise ZeroDivisionError

    def took(self) -> list[Any]:
        """What has happened since anybody asked."""
        happened, self.happened = self.happened, []
        return happened


@implementer(IPushProducer)
class Heard(Protocol):
    """The server's end: notes what comes, and does what `steps` says then."""

    transport: Any

    def __init__(self, node: Told) -> None:
        self.node = node
        self.steps: dict[bytes, Callable[[], object]] = {}
        self.lost: list[Failure] = []
        self.told: list[str] = []
        self.fails_at_end = False

    def dataReceived(self, data: bytes) -> None:
        self.node.happened.append(data)
        self.steps.get(data, lambda: None)()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)
        if self.fails_at_end:
            raise ZeroDivisionError

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class RoundsCase(TestCase):
    """Connections whose rounds the test takes by `rounds.doRead`."""

    timeout = 60

    def setUp(self) -> None:
        if not rounds.IS_HERE:
            self.skipTest("there is no epoll")
        self.patch(rounds, "LONGEST", 30.0)
        self.node = Told()
        self.rounds = Rounds(reactor, self.node)
        self.opened: list[Heard] = []
        self.clients: list[socket.socket] = []
        self.listen(Factory.forProtocol(self.make))

    def listen(self, factory: Any) -> None:
        sock = bind("127.0.0.1", 0, "im")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        self.address = sock.getsockname()
        self.port = adopt(reactor, sock, factory, self.rounds)

    def make(self) -> Heard:
        self.opened.append(Heard(self.node))
        return self.opened[-1]

    async def tearDown(self) -> None:  # type: ignore[override]
        """Nothing is left registered once all connections have ended."""
        for client in self.clients:
            client.close()
        for heard in self.opened:
            heard.transport.abortConnection()
        await self.until(lambda: all(heard.lost for heard in self.opened))
        self.assertEqual((self.rounds._watched, self.rounds._transports), ({}, {}))
        await maybeDeferred(self.port.stopListening)
        self.rounds.stop()

    async def connect(self, count: int = 1) -> list[Heard]:
        """So many more connections; what they have of the server."""
        before = len(self.opened)
        for _ in range(count):
            client = socket.create_connection(self.address, PATIENCE)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            self.clients.append(client)
        await self.until(lambda: len(self.opened) == before + count)
        return self.opened[before:]

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor do what it can, until this is so."""
        while not condition():
            await self.turn()

    async def turn(self) -> None:
        await deferLater(reactor, 0.001)

    def say(self, *texts: bytes) -> None:
        """Each of the first clients says one, none of which was read yet."""
        for client, text in zip(self.clients, texts, strict=False):
            client.sendall(text)

    def round(self) -> list[Any]:
        """What one round brings."""
        self.node.took()
        self.rounds.doRead()
        return self.node.took()

    def read(self, size: int) -> bytes:
        """What comes to the first client until it is so much or the end, with rounds in between."""
        read, late = bytearray(), time.monotonic() + PATIENCE
        while len(read) < size and time.monotonic() < late:
            self.rounds.doRead()
            with contextlib.suppress(BlockingIOError):
                data = self.clients[0].recv(1 << 20, socket.MSG_DONTWAIT)
                if not data:
                    break
                read += data
        return bytes(read)

    def reset(self, which: int) -> None:
        """This client is gone, and its kernel says so."""
        self.clients[which].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.clients[which].close()

    def is_watched(self, heard: Heard) -> bool:
        return heard.transport.fileno() in self.rounds._watched


class RoundTests(RoundsCase):
    def test_interface(self) -> None:
        """To the reactor it is a descriptor to read from."""
        self.assertTrue(verifyObject(IReadDescriptor, self.rounds))
        self.assertGreaterEqual(self.rounds.fileno(), 0)

    async def test_one_round(self) -> None:
        """What has come on several connections is handed on between one beginning and one end."""
        await self.connect(3)
        self.say(b"one", b"two", b"three")
        begin, *texts, end = self.round()
        self.assertEqual((begin, sorted(texts), end), ("begin", [b"one", b"three", b"two"], "end"))

    async def test_nothing(self) -> None:
        """Without events there is no round."""
        await self.connect()
        self.assertEqual(self.round(), [])

    async def test_more_than_a_round(self) -> None:
        """More events than a round takes are the next one's; none is served twice, none forgotten."""
        await self.connect(MOST + 6)
        self.say(*(b"%d" % number for number in range(MOST + 6)))
        both = self.round()
        ends = [place for place, what in enumerate(both) if what == "end"]
        self.assertEqual(ends, [MOST + 1, MOST + 9])
        self.assertEqual(sorted(int(what) for what in both if isinstance(what, bytes)), list(range(MOST + 6)))
        self.assertEqual(self.round(), [])

    async def test_stopped_in_a_round(self) -> None:
        """The end of the last connection may end the rounds as well."""
        (heard,) = await self.connect()
        heard.steps = {b"stop": lambda: (self.lose(heard), self.rounds.stop())}
        self.say(b"stop")
        self.assertEqual(self.round(), ["begin", b"stop", "end"])
        self.assertEqual((self.flushLoggedErrors(), self.rounds._watched), ([], {}))
        self.rounds = Rounds(reactor, self.node)

    async def test_no_time(self) -> None:
        """When its time is over a round ends, and those left are served first in the next."""
        await self.connect(3)
        self.patch(rounds, "LONGEST", 0.0)
        self.say(b"0", b"1", b"2")
        self.say(b"0")
        served = [self.round() for _ in range(3)]
        self.assertEqual([len(each) for each in served], [3, 3, 3])
        self.assertEqual(sorted(each[1][:1] for each in served), [b"0", b"1", b"2"])

    async def test_one_fails(self) -> None:
        """What one connection's protocol raises ends that connection and is logged; the others are served, and told."""
        first, *others = await self.connect(4)
        for heard in others:
            heard.steps = {b"fail": lambda: 1 // 0}
        self.say(b"one", b"fail", b"three", b"four")
        self.assertEqual(sorted(self.round()[1:-1]), [b"fail", b"four", b"one", b"three"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        failed = others[0]
        self.assertTrue(failed.lost[0].check(ZeroDivisionError))
        self.assertEqual(self.clients[1].recv(1), b"")
        self.assertEqual([heard.lost for heard in (first, *others[1:])], [[], [], []])

    async def test_one_fails_at_its_end(self) -> None:
        """So does what it raises as it is told of its end."""
        heard, *_ = await self.connect(3)
        heard.fails_at_end = True
        self.clients[0].close()
        for client in self.clients[1:]:
            client.sendall(b"text")
        happened = self.round()
        self.assertEqual((happened.count(b"text"), happened[-1]), (2, "end"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_the_end_fails(self) -> None:
        """Where the end of a round fails, that is logged, and the next round is as any other."""
        await self.connect()
        self.node.fails = True
        self.say(b"one")
        self.assertEqual(self.round(), ["begin", b"one", "end"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.node.fails = False
        self.say(b"two")
        self.assertEqual(self.round(), ["begin", b"two", "end"])

    async def test_ended_by_another(self) -> None:
        """What one event ends is not served any more, though it has events of the same round."""
        for end in (self.lose, self.abort):
            pair = (await self.connect(2))[-2:]
            for heard, other in (pair, pair[::-1]):
                heard.steps = {b"end": partial(end, other)}
            for client in self.clients[-2:]:
                client.sendall(b"end")
            self.assertEqual(self.round(), ["begin", b"end", "end"])
            await self.until(lambda pair=pair: any(heard.lost for heard in pair))

    def lose(self, heard: Heard) -> None:
        heard.transport.connectionLost(Failure(ConnectionDone()))

    def abort(self, heard: Heard) -> None:
        heard.transport.abortConnection()

    async def test_paused_by_another(self) -> None:
        """What one event pauses is not read in the same round; it is when it is to go on."""
        pair = await self.connect(2)
        for heard, other in (pair, pair[::-1]):
            heard.steps = {b"pause": other.transport.pauseProducing}
        self.say(b"pause", b"pause")
        self.assertEqual(self.round(), ["begin", b"pause", "end"])
        for heard in pair:
            heard.steps = {}
            heard.transport.resumeProducing()
        self.assertEqual(self.round(), ["begin", b"pause", "end"])


class EndTests(RoundsCase):
    async def end(self, heard: Heard, reason: type[Exception]) -> None:
        """The protocol is told so, and nothing of the connection is watched."""
        await self.until(lambda: heard.lost)
        self.assertTrue(heard.lost[0].check(reason), heard.lost)
        self.assertEqual(len(heard.lost), 1)
        self.assertEqual((self.rounds._watched, self.rounds._transports), ({}, {}))

    async def test_by_the_peer(self) -> None:
        """A connection that its client closes has ended, when what came before is handed on."""
        (heard,) = await self.connect()
        self.say(b"last")
        self.clients[0].close()
        self.assertEqual(self.round(), ["begin", b"last", "end", "begin", "end"])
        await self.end(heard, ConnectionDone)

    async def test_half_closed(self) -> None:
        """So has one whose client only says that it sends no more."""
        (heard,) = await self.connect()
        self.clients[0].shutdown(socket.SHUT_WR)
        self.round()
        await self.end(heard, ConnectionDone)
        self.assertEqual(self.clients[0].recv(1), b"")

    async def test_by_us(self) -> None:
        """What was written before arrives."""
        (heard,) = await self.connect()
        heard.transport.write(b"bye")
        heard.transport.loseConnection()
        self.round()
        await self.end(heard, ConnectionDone)
        self.assertEqual(self.clients[0].makefile("rb").read(), b"bye")

    async def test_aborted(self) -> None:
        """An abort is no round's: the reactor sees to it."""
        (heard,) = await self.connect()
        heard.transport.abortConnection()
        self.assertFalse(self.is_watched(heard))
        self.assertEqual(heard.lost, [])
        await self.end(heard, ConnectionAborted)

    async def test_aborted_in_a_round(self) -> None:
        """Also where the protocol aborts as it is given something."""
        (heard,) = await self.connect()
        heard.steps = {b"abort": heard.transport.abortConnection}
        self.say(b"abort")
        self.assertEqual(self.round(), ["begin", b"abort", "end"])
        self.assertEqual(self.round(), [])
        await self.end(heard, ConnectionAborted)

    async def test_reset(self) -> None:
        """A client that is gone without a word is noticed."""
        (heard,) = await self.connect()
        self.reset(0)
        self.round()
        await self.end(heard, ConnectionLost)

    async def test_reset_while_written_to(self) -> None:
        """So it is while nothing is read from it, and something waits to be written."""
        (heard,) = await self.connect()
        heard.transport.write(bytes(LARGE))
        heard.transport.pauseProducing()
        self.reset(0)
        self.round()
        await self.end(heard, ConnectionLost)

    async def test_reset_while_paused(self) -> None:
        """While it is neither read nor written it is not watched; it is noticed when it is to go on."""
        (heard,) = await self.connect()
        heard.transport.pauseProducing()
        self.reset(0)
        self.assertEqual(self.round(), [])
        self.assertEqual(heard.lost, [])
        heard.transport.resumeProducing()
        self.round()
        await self.end(heard, ConnectionLost)

    async def test_while_it_is_written_to(self) -> None:
        """To close waits for what is written, and reads no more meanwhile."""
        (heard,) = await self.connect()
        heard.transport.write(bytes(LARGE))
        heard.transport.loseConnection()
        self.say(b"late")
        self.assertEqual(self.read(LARGE), bytes(LARGE))
        self.assertNotIn(b"late", self.node.took())
        await self.end(heard, ConnectionDone)


class WriteTests(RoundsCase):
    async def test_drains(self) -> None:
        """What the kernel does not take at once goes out as the client reads, and then no write is waited for."""
        (heard,) = await self.connect()
        heard.transport.registerProducer(heard, True)
        text = os.urandom(LARGE)
        heard.transport.write(text)
        self.assertEqual(heard.told, ["pause"])
        self.assertGreater(buffered_bytes(heard.transport), 0)
        self.assertEqual(self.read(LARGE), text)
        self.assertEqual((heard.told, buffered_bytes(heard.transport)), (["pause", "resume"], 0))
        self.assertEqual(list(self.rounds._watched.values()), [rounds._READ])
        self.say(b"still read")
        self.assertEqual(self.round(), ["begin", b"still read", "end"])

    async def test_read_and_written(self) -> None:
        """While something waits to be written the connection is read as before."""
        (heard,) = await self.connect()
        heard.transport.write(bytes(LARGE))
        self.say(b"hello")
        self.assertEqual(self.round(), ["begin", b"hello", "end"])
        self.assertEqual(list(self.rounds._watched.values()), [rounds._READ | rounds._WRITE])

    async def test_lost_between_reading_and_writing(self) -> None:
        """A connection that ends as it is read is not written to, though both were due."""
        (heard,) = await self.connect()
        heard.transport.write(bytes(LARGE))
        heard.steps = {b"end": lambda: heard.transport.connectionLost(Failure(ConnectionDone()))}
        self.say(b"end")
        self.clients[0].recv(1 << 20)
        self.assertEqual(self.round(), ["begin", b"end", "end"])
        self.assertEqual(len(heard.lost), 1)

    async def test_paused(self) -> None:
        """Nothing is read while it is paused, nor lost."""
        (heard,) = await self.connect()
        heard.transport.pauseProducing()
        self.assertFalse(self.is_watched(heard))
        self.say(b"hello")
        self.assertEqual(self.round(), [])
        heard.transport.resumeProducing()
        heard.transport.resumeProducing()
        self.assertEqual(self.round(), ["begin", b"hello", "end"])


class ReactorTests(RoundsCase):
    """The reactor takes the rounds."""

    def setUp(self) -> None:
        super().setUp()
        self.rounds.start()

    async def test_served(self) -> None:
        """It watches one descriptor, whatever the number of connections, and serves them by it."""
        opened = await self.connect(3)
        self.assertIn(self.rounds, reactor.getReaders())
        self.assertEqual({heard.transport for heard in opened} & {*reactor.getReaders(), *reactor.getWriters()}, set())
        self.say(b"one", b"two", b"three")
        await self.until(lambda: len([text for text in self.node.happened if text not in ("begin", "end")]) == 3)
        self.assertEqual(self.node.happened[-1], "end")

    async def test_nothing_to_do(self) -> None:
        """It is not woken where there is nothing to do, also while a paused connection has something."""
        (heard,) = await self.connect()
        heard.transport.pauseProducing()
        self.say(b"hello")
        await self.turn()
        self.node.took()
        await self.turn()
        self.assertEqual(self.node.took(), [])

    async def test_after_a_failure(self) -> None:
        """It goes on after whatever has failed in a round."""
        heard, _ = await self.connect(2)
        heard.steps = {b"fail": lambda: 1 // 0}
        heard.fails_at_end = self.node.fails = True
        self.say(b"fail")
        await self.until(lambda: heard.lost)
        self.node.fails = False
        self.clients[1].sendall(b"hello")
        await self.until(lambda: b"hello" in self.node.happened)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    async def test_stopped(self) -> None:
        """With no connection left it stops: the reactor does not watch it any more, and its descriptor is closed."""
        other = Rounds(reactor, self.node)
        other.start()
        other.stop()
        self.assertNotIn(other, reactor.getReaders())
        self.assertTrue(other._epoll.closed)


class SecureTests(RoundsCase):
    """With TLS in between."""

    def listen(self, factory: Any) -> None:
        self.directory = Path(self.mktemp())
        tls.ensure_certificates(self.directory, None, datetime.now(UTC))
        super().listen(SecureFactory(tls.server_context_factory(self.directory), factory))
        self.rounds.start()

    def client(self) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
        context = ssl.create_default_context(cafile=str(self.directory / "cowboy-ca.crt"))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return context.wrap_bio(incoming, outgoing, server_hostname="localhost"), incoming, outgoing

    async def test_closed_before_it_reads(self) -> None:
        """A client that asks for much, closes, and only then reads is closed when it has read all."""
        (heard,) = await self.connect()
        heard.transport.registerProducer(heard, True)
        heard.steps = {b"go": lambda: heard.transport.write(bytes(LARGE))}
        size = await deferToThread(self.ask_and_close, self.clients[0])
        self.assertGreater(size, LARGE)
        await self.until(lambda: heard.lost)
        self.assertEqual(heard.told[0], "pause")

    def ask_and_close(self, client: socket.socket) -> int:
        """How much comes until the server closes."""
        secure, incoming, outgoing = self.client()
        while True:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                incoming.write(client.recv(1 << 16))
            else:
                break
        secure.write(b"go")
        try:
            secure.unwrap()
        except ssl.SSLError:
            """The server's end has not come."""
        client.sendall(outgoing.read())
        client.settimeout(10)
        size = 0
        while data := client.recv(1 << 16):
            size += len(data)
        return size


class NodeTests(DoorTestCase):
    """A node of the IM door in rounds."""

    def test_written_once(self) -> None:
        """What several events of a round bring a connection is one write, at the round's end, in order."""
        ann, cat, bob = self.door.online(ANN), self.door.online(CAT), self.door.online(BOB)
        self.door.node.begin_round()
        ann.send(m("1", BOB))
        cat.send(m("2", BOB))
        ann.send(m("3", BOB), r("4", "ping"))
        self.assertEqual((bob.raw(), ann.raw()), ([], []))
        self.door.node.end_round()
        (write,) = bob.raw()
        self.assertEqual([keys["id"] for _, keys in parse(write)], ["1", "2", "3"])

    def test_committed_once(self) -> None:
        """And one commit."""
        ann, cat, _ = self.door.online(ANN), self.door.online(CAT), self.door.online(BOB)
        commits: list[object] = []
        write = self.database.write

        async def counted(*args: Any, **kwargs: Any) -> Any:
            commits.append(args)
            return await write(*args, **kwargs)

        self.patch(self.database, "write", counted)
        self.door.node.begin_round()
        ann.send(m("1", BOB))
        cat.send(m("2", BOB))
        self.assertEqual(commits, [])
        self.door.node.end_round()
        self.assertEqual(len(commits), 1)
        self.assertEqual([ann.got(), cat.got()], [[("a", {"id": "1"})], [("a", {"id": "2"})]])

    def test_between_rounds(self) -> None:
        """What comes otherwise is written as it is done with."""
        ann, bob = self.door.online(ANN), self.door.online(BOB)
        self.door.node.begin_round()
        self.door.node.end_round()
        ann.send(m("1", BOB))
        self.assertEqual(len(bob.raw()), 1)


class ServiceTests(TestCase):
    """A whole node, with rounds and where there is no epoll."""

    timeout = 60

    def setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(0o077))
        self.addCleanup(gc.unfreeze)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    async def test_with_rounds(self) -> None:
        """A message goes from one connection to another."""
        await self.check()

    async def test_without_epoll(self) -> None:
        """So it does where the connections are the reactor's own."""
        self.patch(rounds, "IS_HERE", False)
        self.patch(rounds, "select", None)
        await self.check()

    async def check(self) -> None:
        state = Path(self.mktemp()).absolute()
        node = EmbeddedNode(Config(state, 0, 0, "127.0.0.1", None, 1_000.0))
        node.startService()
        store, port = node._parts._store, node._ports[1].getHost().port
        tokens = []
        for user in (ANN, BOB):
            await store.accounts.create(str(user), f"0000{user}", "", 0)
            await store.inbox.add_device(user, "phone")
            tokens.append(await store.tokens.issue(user, "phone"))
        got = await deferToThread(self.converse, port, state / "ssl" / "cowboy-ca.crt", tokens)
        self.assertEqual([(table, keys["id"]) for table, keys in got], [("rr", "login"), ("m", "hello")])
        await maybeDeferred(node.stopService)

    def converse(self, port: int, ca: Path, tokens: list[str]) -> list[Any]:
        """What Bob gets when Ann writes to him."""
        context = ssl.create_default_context(cafile=str(ca))
        connections = [
            context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE), server_hostname="localhost")
            for _ in tokens
        ]
        got = b""
        for user, connection, token in zip((ANN, BOB), connections, tokens, strict=True):
            connection.sendall(login("login", user, "phone", token).encode())
            got = connection.recv(1 << 16)
        connections[0].sendall(m("hello", BOB).encode())
        got += connections[1].recv(1 << 16)
        for connection in connections:
            connection.close()
        return parse(got)
