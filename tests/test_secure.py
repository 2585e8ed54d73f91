"""TLS below the IM door: records in, records out, and every way in which a connection may end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from simple_im import tls
from simple_im.limits import RECORD_SIZE
from simple_im.secure import SecureFactory, SecureProtocol
from tests.tls13 import Secrets, Spoken

ALERT, HANDSHAKE = 21, 22
TEXTS = st.lists(st.binary(min_size=1, max_size=40) | st.just(b"x" * RECORD_SIZE), min_size=1, max_size=6)
CUTS = st.lists(st.integers(1, 60) | st.integers(1, 20_000), max_size=30)
LARGE = 1 << 20


def checked(examples: int) -> Callable[[Any], Any]:
    """So many examples, each on connections of its own."""
    shared = [HealthCheck.too_slow, HealthCheck.differing_executors]
    return settings(max_examples=examples, deadline=None, database=None, print_blob=True, suppress_health_check=shared)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """A stream in pieces of these sizes, and the rest."""
    found = []
    for cut in cuts:
        found.append(stream[:cut])
        stream = stream[cut:]
    return list(filter(None, [*found, stream]))


def records(stream: bytes) -> list[bytes]:
    """The TLS records in a stream, each with its header: a type, a version, the length of what follows."""
    found = []
    while stream:
        end = 5 + int.from_bytes(stream[3:5])
        found.append(stream[:end])
        stream = stream[end:]
    return found


class Kept(Protocol):
    """Keeps what it is given; does what `steps` says when a text comes."""

    transport: Any

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.steps: dict[bytes, Callable[[], object]] = {}
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)
        self.steps.get(data, lambda: None)()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


@implementer(IPushProducer)
class Producer:
    """Somebody who wants to know when the transport takes no more."""

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class Line:
    """A connection: a client of pyOpenSSL's and the server's end, with a wire between them that is pumped by hand."""

    def __init__(self, factory: SecureFactory, kept: Kept, client: SSL.Connection) -> None:
        self.kept, self.client, self.wire = kept, client, StringTransport()
        self.server = factory.buildProtocol(None)
        client.set_connect_state()
        self.server.makeConnection(self.wire)

    @property
    def transport(self) -> Any:
        """What the server's protocol writes to."""
        return self.kept.transport

    def shake_hands(self) -> None:
        """Until both sides are done, tickets taken."""
        for _ in range(4):
            with contextlib.suppress(SSL.WantReadError):
                self.client.do_handshake()
            self.exchange()
        assert self.read() == []

    def exchange(self, size: int = LARGE) -> None:
        """Give the server what the client has written, in pieces of a size, and the client what it answers."""
        written = self.written()
        for start in range(0, len(written), size):
            self.server.dataReceived(written[start : start + size])
        if answered := self.answered():
            self.client.bio_write(answered)

    def written(self) -> bytes:
        """What the client has put on the wire."""
        try:
            return bytes(self.client.bio_read(LARGE))
        except SSL.WantReadError:
            return b""

    def answered(self) -> bytes:
        """What the server has."""
        answered: bytes = self.wire.value()
        self.wire.clear()
        return answered

    def said(self, *texts: bytes) -> bytes:
        """These as the client's records, taken off the wire."""
        for text in texts:
            self.client.send(text)
        return self.written()

    def say(self, *texts: bytes) -> None:
        """Have them arrive at once."""
        self.server.dataReceived(self.said(*texts))

    def read(self) -> list[bytes]:
        """What the client gets, record by record, with None at a regular end."""
        found: list[bytes] = []
        self.exchange()
        with contextlib.suppress(SSL.WantReadError):
            while True:
                found.append(self.client.recv(RECORD_SIZE))
        return found

    @property
    def is_ended(self) -> bool:
        """Whether the client is told that nothing more comes."""
        self.exchange()
        try:
            self.client.recv(1)
        except SSL.ZeroReturnError:
            return True
        except SSL.WantReadError:
            return False
        raise AssertionError("there is more")

    def lose(self) -> None:
        """The transport is gone."""
        self.server.connectionLost(Failure(ConnectionDone()))


class SecureCase(SynchronousTestCase):
    """Connections in one of the versions."""

    version: ClassVar[int] = SSL.TLS1_3_VERSION

    def setUp(self) -> None:
        directory = Path(self.mktemp()) / "ssl"
        directory.parent.mkdir()
        tls.ensure_certificates(directory, None, datetime.now(UTC))
        self.contexts = tls.server_context_factory(directory)
        self.clients = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.clients.set_min_proto_version(self.version)
        self.clients.set_max_proto_version(self.version)

    def client(self, session: SSL.Session | None = None) -> SSL.Connection:
        client = SSL.Connection(self.clients, None)
        if session is not None:
            client.set_session(session)
        return client

    def line(self, client: SSL.Connection | None = None) -> Line:
        """A connection without a word said."""
        kept = Kept()
        factory = SecureFactory(self.contexts, Factory.forProtocol(lambda: kept))
        return Line(factory, kept, client or self.client())

    def connected(self, session: SSL.Session | None = None) -> Line:
        """A connection whose handshake is done."""
        line = self.line(self.client(session))
        line.shake_hands()
        return line

    def assert_nothing_more(self, line: Line) -> None:
        """Nothing is written whatever is called, and nothing raises."""
        line.answered()
        line.transport.write(b"more")
        line.transport.writeSequence([b"more", b"still"])
        line.transport.loseConnection()
        self.assertEqual(line.answered(), b"")


class RecordTests(SecureCase):
    def test_one_by_one(self) -> None:
        """Each record is a call, whether it comes alone, with others, or in pieces."""
        line, sent = self.connected(), [b"first", b"x" * RECORD_SIZE, b"third", b"y" * 5_000]
        for size in (LARGE, 1, 7, 1_000):
            line.kept.received.clear()
            for text in sent:
                line.client.send(text)
            line.exchange(size)
            self.assertEqual(line.kept.received, sent)

    @checked(100)
    @given(TEXTS, CUTS)
    def test_any_pieces(self, texts: list[bytes], cuts: list[int]) -> None:
        """However the stream is cut, a record is handed on with its last byte."""
        line = self.connected()
        ends, stream, come = [], b"", 0
        for text in texts:
            stream += line.said(text)
            ends.append(len(stream))
        for piece in pieces(stream, cuts):
            line.server.dataReceived(piece)
            come += len(piece)
            self.assertEqual(line.kept.received, texts[: sum(end <= come for end in ends)])

    def test_a_long_text(self) -> None:
        """What the client writes as one and is more than a record comes as several."""
        line = self.connected()
        line.client.sendall(b"x" * (RECORD_SIZE + 1))
        line.exchange()
        self.assertEqual(list(map(len, line.kept.received)), [RECORD_SIZE, 1])

    def test_a_write_is_a_record(self) -> None:
        """It has left when `write` returns."""
        line, texts = self.connected(), [b"one", b"x" * RECORD_SIZE, b"three"]
        for count, text in enumerate(texts, 1):
            line.transport.write(text)
            self.assertEqual(len(records(line.wire.value())), count)
        self.assertEqual(line.read(), texts)

    def test_a_sequence_is_a_record(self) -> None:
        """Parts that are written together too."""
        line = self.connected()
        line.transport.writeSequence([b"one", b"two"])
        self.assertEqual(len(records(line.wire.value())), 1)
        self.assertEqual(line.read(), [b"onetwo"])

    def test_a_large_write(self) -> None:
        """More than a record holds goes out as full ones, all of it at once."""
        line, text = self.connected(), bytes(range(256)) * (LARGE // 256) + b"end"
        line.transport.write(text)
        self.assertEqual(len(records(line.wire.value())), LARGE // RECORD_SIZE + 1)
        self.assertEqual(b"".join(line.read()), text)

    def test_nothing_written(self) -> None:
        """To write nothing sends nothing."""
        line = self.connected()
        line.transport.write(b"")
        self.assertEqual(line.answered(), b"")

    def test_answered_between(self) -> None:
        """What is written in the middle of several records goes out in its place, and the others are handed on."""
        line = self.connected()
        line.kept.steps = {b"two": lambda: line.transport.write(b"and you")}
        line.say(b"one", b"two", b"three")
        self.assertEqual(line.kept.received, [b"one", b"two", b"three"])
        self.assertEqual(line.read(), [b"and you"])

    @checked(50)
    @given(TEXTS, TEXTS)
    def test_both_ways(self, theirs: list[bytes], ours: list[bytes]) -> None:
        """What one side writes the other gets, as it was written."""
        line = self.connected()
        for text in ours:
            line.transport.write(text)
        line.say(*theirs)
        self.assertEqual((line.kept.received, line.read()), (theirs, ours))


class RecordTls12Tests(RecordTests):
    """The same with TLS 1.2."""

    version = SSL.TLS1_2_VERSION


class HandshakeTests(SecureCase):
    def test_before(self) -> None:
        """The protocol has its transport from the start; what it writes before the handshake is done is dropped."""
        line = self.line()
        line.transport.write(b"early")
        line.transport.writeSequence([b"early", b"too"])
        self.assertEqual(line.answered(), b"")
        line.shake_hands()
        line.transport.write(b"now")
        self.assertEqual(line.read(), [b"now"])

    def test_in_pieces(self) -> None:
        """A handshake that comes byte by byte, with what is said right behind it, is as good."""
        line, is_done = self.line(), False
        while not is_done:
            with contextlib.suppress(SSL.WantReadError):
                line.client.do_handshake()
                line.client.send(b"hello")
                is_done = True
            line.exchange(1)
        self.assertEqual(line.kept.received, [b"hello"])

    def test_half(self) -> None:
        """Half a handshake is waited for; that it takes no longer than it may is the protocol's to see to."""
        line = self.line()
        with contextlib.suppress(SSL.WantReadError):
            line.client.do_handshake()
        line.server.dataReceived(line.written()[:50])
        self.assertEqual((line.answered(), line.wire.disconnecting), (b"", False))
        line.transport.loseConnection()
        self.assertEqual((line.answered(), line.wire.disconnecting), (b"", True))
        self.assert_nothing_more(line)
        line.lose()
        self.assertEqual(len(line.kept.lost), 1)

    def test_lost_in_the_middle(self) -> None:
        """The peer is gone before it is done."""
        line = self.line()
        with contextlib.suppress(SSL.WantReadError):
            line.client.do_handshake()
        line.exchange()
        line.lose()
        self.assertEqual((line.kept.received, len(line.kept.lost)), ([], 1))
        self.assert_nothing_more(line)

    def test_plain_text(self) -> None:
        """Who does not speak TLS is closed, and nothing of it is handed on."""
        for text in (b"GET / HTTP/1.1\r\n\r\n", b'[[r]]\nid = "1"\n\n', b"\x00" * 100):
            line = self.line()
            line.server.dataReceived(text)
            self.assertTrue(line.wire.disconnecting, text)
            line.server.dataReceived(text)
            self.assertEqual(line.kept.received, [])
            self.assert_nothing_more(line)

    def test_older_version(self) -> None:
        """TLS 1.1 is refused, in words that the client can read, and closed."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_min_proto_version(SSL.TLS1_1_VERSION)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        line = self.line(SSL.Connection(context, None))
        with contextlib.suppress(SSL.WantReadError):
            line.client.do_handshake()
        line.exchange()
        self.assertIn("protocol version", str(self.assertRaises(SSL.Error, line.client.do_handshake)))
        self.assertTrue(line.wire.disconnecting)

    def test_resumed(self) -> None:
        """A second connection with the session of the first does without a full handshake; both go on."""
        first = self.connected()
        second = self.connected(first.client.get_session())
        self.assertEqual([is_resumed(line.client) for line in (first, second)], [False, True])
        for line in (first, second):
            line.say(b"hello")
            line.transport.write(b"and you")
            self.assertEqual((line.kept.received, line.read()), ([b"hello"], [b"and you"]))

    def test_certificate(self) -> None:
        """Each connection is shown what is the certificate as it begins."""
        before = certificate(self.connected())
        tls.ensure_certificates(self.contexts._directory, "192.0.2.7", datetime.now(UTC))
        line = self.line()
        self.contexts.reload()
        line.shake_hands()
        self.assertEqual(certificate(line), before)
        self.assertNotEqual(certificate(self.connected()), before)


def certificate(line: Line) -> object:
    """What the client was shown."""
    return line.client.get_peer_certificate(as_cryptography=True)


def is_resumed(client: SSL.Connection) -> bool:
    """Whether the client's session is one of an earlier connection; pyOpenSSL has no name for that."""
    return bool(SSL._lib.SSL_session_reused(client._ssl))  # type: ignore[attr-defined]


class HandshakeTls12Tests(HandshakeTests):
    """The same with TLS 1.2."""

    version = SSL.TLS1_2_VERSION


class EndTests(SecureCase):
    def test_by_the_peer(self) -> None:
        """The peer's end is taken behind what it wrote before, and answered."""
        line = self.connected()
        line.client.send(b"last")
        line.client.shutdown()
        line.exchange()
        self.assertEqual(line.kept.received, [b"last"])
        self.assertTrue(line.wire.disconnecting)
        self.assertTrue(line.client.shutdown())
        self.assert_nothing_more(line)
        self.assertEqual(line.kept.lost, [])
        line.lose()
        self.assertEqual(len(line.kept.lost), 1)

    def test_behind_the_peers_end(self) -> None:
        """What comes behind it is not taken."""
        line = self.connected()
        stream = line.said(b"last")
        line.client.shutdown()
        line.server.dataReceived(stream + line.written() + stream)
        line.server.dataReceived(stream)
        self.assertEqual(line.kept.received, [b"last"])

    def test_by_us(self) -> None:
        """What was written before arrives, then the end; the connection is closed when the peer's end comes."""
        line = self.connected()
        line.transport.write(b"bye")
        line.transport.loseConnection()
        self.assert_nothing_more_but_the_end(line)
        self.assertFalse(line.wire.disconnecting)
        line.client.shutdown()
        line.exchange()
        self.assertTrue(line.wire.disconnecting)
        self.assert_nothing_more(line)

    def assert_nothing_more_but_the_end(self, line: Line) -> None:
        sent = records(line.wire.value())
        self.assertEqual(len(sent), 2)
        line.transport.loseConnection()
        line.transport.write(b"more")
        self.assertEqual(records(line.wire.value()), sent)
        line.exchange()
        self.assertEqual(line.client.recv(100), b"bye")
        self.assertTrue(line.is_ended)

    def test_behind_our_end(self) -> None:
        """What the peer still sends is dropped, and the connection stays open until its end comes."""
        line = self.connected()
        line.transport.loseConnection()
        for text in (b"late", b"x" * RECORD_SIZE):
            line.say(text, text)
        self.assertEqual((line.kept.received, line.wire.disconnecting), ([], False))
        self.assertTrue(line.is_ended)
        line.client.send(b"later")
        line.client.shutdown()
        line.exchange()
        self.assertEqual((line.kept.received, line.wire.disconnecting), ([], True))

    @checked(60)
    @given(CUTS)
    def test_between_records(self, cuts: list[int]) -> None:
        """Where the protocol closes in the middle of several records, the others are dropped, and the connection
        stays open until the peer's end comes, however that is cut."""
        line = self.connected()
        line.kept.steps = {b"close": line.transport.loseConnection}
        line.say(b"one", b"close", b"late", b"later")
        self.assertEqual((line.kept.received, line.wire.disconnecting), ([b"one", b"close"], False))
        stream = line.said(b"latest")
        self.assertTrue(line.is_ended)
        line.client.shutdown()
        for piece in pieces(stream + line.written(), cuts):
            self.assertFalse(line.wire.disconnecting)
            line.server.dataReceived(piece)
        self.assertTrue(line.wire.disconnecting)
        self.assertEqual(line.kept.received, [b"one", b"close"])

    def test_with_half_a_record(self) -> None:
        """So where half a record has come; its other half is dropped too."""
        line = self.connected()
        stream = line.said(b"x" * 100)
        line.server.dataReceived(stream[:50])
        line.transport.loseConnection()
        line.server.dataReceived(stream[50:])
        self.assertEqual((line.kept.received, line.wire.disconnecting), ([], False))
        self.assertTrue(line.is_ended)
        line.client.shutdown()
        line.exchange()
        self.assertTrue(line.wire.disconnecting)

    def test_both_at_once(self) -> None:
        """The two ends cross on the wire."""
        line = self.connected()
        line.client.shutdown()
        line.transport.loseConnection()
        line.exchange()
        self.assertTrue(line.wire.disconnecting)
        self.assertTrue(line.client.shutdown())

    def test_on_the_peers_end(self) -> None:
        """A protocol that closes on the last record before the peer's end closes once."""
        line = self.connected()
        line.kept.steps = {b"last": line.transport.loseConnection}
        line.client.send(b"last")
        line.client.shutdown()
        line.exchange()
        self.assertEqual((line.kept.received, line.wire.disconnecting), ([b"last"], True))
        self.assertTrue(line.client.shutdown())

    def test_without_a_word(self) -> None:
        """A connection that is gone without TLS's end is lost to the protocol, with the reason."""
        line = self.connected()
        line.lose()
        (reason,) = line.kept.lost
        self.assertTrue(reason.check(ConnectionDone))
        self.assert_nothing_more(line)
        line.say(b"from beyond")
        self.assertEqual(line.kept.received, [])

    def test_lost_while_closing(self) -> None:
        """So it is where we have closed and the peer's end never comes."""
        line = self.connected()
        line.transport.loseConnection()
        line.lose()
        self.assertEqual(len(line.kept.lost), 1)
        self.assert_nothing_more(line)

    def test_aborted(self) -> None:
        """What aborts is closed without a word, and given nothing more, whatever has come already."""
        line = self.connected()
        line.kept.steps = {b"abort": line.transport.abortConnection}
        line.say(b"abort", b"more")
        self.assertEqual((line.kept.received, line.answered()), ([b"abort"], b""))
        self.assertTrue(line.wire.disconnected)
        line.say(b"still more")
        self.assertEqual(line.kept.received, [b"abort"])
        self.assert_nothing_more(line)

    def test_aborted_while_closing(self) -> None:
        """A peer whose end does not come can be cut off."""
        line = self.connected()
        line.transport.loseConnection()
        line.transport.abortConnection()
        self.assertTrue(line.wire.disconnected)

    def test_aborted_before(self) -> None:
        """One that does not even shake hands too."""
        line = self.line()
        line.transport.abortConnection()
        self.assertTrue(line.wire.disconnected)
        self.assert_nothing_more(line)

    def test_lost_between_records(self) -> None:
        """Where the transport goes in the middle of several records, the rest is not handed on."""
        line = self.connected()
        line.kept.steps = {b"two": line.lose}
        line.say(b"one", b"two", b"three")
        self.assertEqual(line.kept.received, [b"one", b"two"])

    def test_protocol_that_fails(self) -> None:
        """What the protocol raises is the transport's to deal with."""
        line = self.connected()
        line.kept.steps = {b"fail": lambda: 1 // 0}
        self.assertRaises(ZeroDivisionError, line.say, b"fail", b"more")
        line.lose()
        self.assertEqual((line.kept.received, len(line.kept.lost)), ([b"fail"], 1))


class EndTls12Tests(EndTests):
    """The same with TLS 1.2."""

    version = SSL.TLS1_2_VERSION


class FaultTests(SecureCase):
    def test_altered(self) -> None:
        """A record that was altered on its way ends the connection; what comes behind it is not taken."""
        line = self.connected()
        good, bad, behind = line.said(b"good"), line.said(b"bad"), line.said(b"behind")
        line.server.dataReceived(good + bad[:-1] + bytes([bad[-1] ^ 1]) + behind)
        self.assertEqual((line.kept.received, line.wire.disconnecting), ([b"good"], True))
        self.assertIn("bad record mac", str(self.assertRaises(SSL.Error, line.read)))
        self.assert_nothing_more(line)

    def test_sent_twice(self) -> None:
        """So does one that comes twice."""
        line = self.connected()
        line.server.dataReceived(line.said(b"good") * 2)
        self.assertEqual((line.kept.received, line.wire.disconnecting), ([b"good"], True))

    def test_too_long(self) -> None:
        """So does one that says it is longer than any may be, when only its header has come."""
        line = self.connected()
        line.server.dataReceived(b"\x17\x03\x03\xff\xff")
        self.assertEqual((line.kept.received, line.wire.disconnecting), ([], True))
        self.assert_nothing_more(line)

    def test_while_closing(self) -> None:
        """Where we have closed, it ends the connection at once."""
        line = self.connected()
        line.transport.loseConnection()
        line.server.dataReceived(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.assertTrue(line.wire.disconnecting)
        self.assert_nothing_more(line)

    @checked(200)
    @given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
    def test_garbage(self, garbage: list[bytes]) -> None:
        """Whatever comes, before the handshake or after it, nothing raises and nothing is handed on."""
        for line in (self.line(), self.connected()):
            for piece in garbage:
                line.server.dataReceived(piece)
            self.assertEqual(line.kept.received, [])
            line.transport.write(b"hello")
            line.transport.loseConnection()
            line.lose()

    @checked(200)
    @given(st.data(), TEXTS)
    def test_spoilt(self, data: st.DataObject, texts: list[bytes]) -> None:
        """What is handed on is the beginning of what was said, whatever was done to the stream."""
        line = self.connected()
        stream = bytearray(line.said(*texts))
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(stream) - 1))
            stream[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        for piece in pieces(bytes(stream), data.draw(CUTS)):
            line.server.dataReceived(piece)
        self.assertEqual(line.kept.received, texts[: len(line.kept.received)])
        line.transport.write(b"hello")
        line.transport.loseConnection()
        line.lose()

    @checked(100)
    @given(st.data())
    def test_spoilt_handshake(self, data: st.DataObject) -> None:
        """A handshake to which anything was done is none, or one; nothing raises."""
        line = self.line()
        for _ in range(3):
            with contextlib.suppress(SSL.Error):
                line.client.do_handshake()
            stream = bytearray(line.written())
            if stream and data.draw(st.booleans()):
                place = data.draw(st.integers(0, len(stream) - 1))
                stream[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
            for piece in pieces(bytes(stream), data.draw(CUTS)):
                line.server.dataReceived(piece)
            line.client.bio_write(line.answered() or b"\x00")
        line.transport.write(b"hello")
        self.assertEqual(line.kept.received, [])


class FaultTls12Tests(FaultTests):
    """The same with TLS 1.2."""

    version = SSL.TLS1_2_VERSION


class RenegotiationTests(SecureCase):
    version = SSL.TLS1_2_VERSION

    def test_refused(self) -> None:
        """A client that asks for a new handshake within a connection does not get one."""
        line = self.connected()
        line.client.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            line.client.do_handshake()
        line.exchange()
        error = self.assertRaises(SSL.Error, line.client.do_handshake)
        self.assertIn("no renegotiation", str(error))

    def test_goes_on(self) -> None:
        """The server's side goes on as before."""
        line = self.connected()
        line.client.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            line.client.do_handshake()
        line.server.dataReceived(line.written())
        sent = [record[0] for record in records(line.answered())]
        self.assertEqual((sent, line.wire.disconnecting), ([ALERT], False))
        line.transport.write(b"hello")
        self.assertEqual(len(records(line.answered())), 1)
        line.transport.loseConnection()
        line.lose()


class KeyUpdateTests(SecureCase):
    """TLS 1.3's change of keys within a connection, by a client that encrypts by itself from the handshake on."""

    def setUp(self) -> None:
        super().setUp()
        self.secrets = Secrets(self.clients)

    def spoken(self) -> tuple[Line, Spoken]:
        line = self.connected()
        return line, Spoken(line.client, self.secrets)

    def test_theirs(self) -> None:
        """A client that changes its key is understood before and after, also in one segment."""
        line, spoken = self.spoken()
        stream = spoken.text(b"one") + spoken.key_update(answered=False) + spoken.text(b"two")
        line.server.dataReceived(stream + spoken.key_update(answered=False))
        line.server.dataReceived(spoken.text(b"three"))
        self.assertEqual(line.kept.received, [b"one", b"two", b"three"])
        line.transport.write(b"hello")
        self.assertEqual(spoken.read(line.answered()), [b"hello"])

    def test_ours(self) -> None:
        """A client that asks for it gets the server's new key before anything else is said with it."""
        for rest in (b"", b"two"):
            line, spoken = self.spoken()
            line.server.dataReceived(spoken.key_update(answered=True) + (spoken.text(rest) if rest else b""))
            line.transport.write(b"hello")
            line.transport.write(b"again")
            self.assertEqual(spoken.read(line.answered()), [b"hello", b"again"])
            self.assertEqual((line.kept.received, spoken.updates), ([rest] if rest else [], 1))

    def test_answered_at_once(self) -> None:
        """What OpenSSL answers does not wait, and gather, for the server's next word."""
        line, spoken = self.spoken()
        answers = []
        for _ in range(4):
            line.server.dataReceived(spoken.key_update(answered=True) + spoken.text(b"\n"))
            answers.append(line.answered())
        self.assertEqual(len([answer for answer in answers[1:] if answer]), 3)

    def test_half(self) -> None:
        """Half a change, which keeps OpenSSL from writing, ends the connection with the next write; none raises."""
        line, spoken = self.spoken()
        line.server.dataReceived(spoken.handshake(b"\x18\x00\x00\x01"))
        self.assertFalse(line.wire.disconnecting)
        line.transport.write(b"hello")
        self.assertTrue(line.wire.disconnecting)
        self.assert_nothing_more(line)

    def test_closed_in_the_middle(self) -> None:
        """To close in that state raises nothing either, and the peer's end is taken, or the connection's."""
        line, spoken = self.spoken()
        line.server.dataReceived(spoken.handshake(b"\x18\x00\x00\x01"))
        line.transport.loseConnection()
        self.assert_nothing_more(line)
        line.lose()
        self.assertEqual(len(line.kept.lost), 1)


class TransportTests(SecureCase):
    def test_interfaces(self) -> None:
        """The protocol has a transport that is told to pause, and tells it to."""
        server = self.line().server
        for interface in (ITransport, IConsumer, IPushProducer):
            self.assertTrue(verifyObject(interface, server))

    def test_addresses(self) -> None:
        """Both ends' addresses are the transport's."""
        line = self.line()
        self.assertEqual(line.transport.getPeer(), line.wire.getPeer())
        self.assertEqual(line.transport.getHost(), line.wire.getHost())

    def test_pause(self) -> None:
        """Who reads no more has the transport read no more."""
        line = self.connected()
        line.transport.pauseProducing()
        self.assertEqual(line.wire.producerState, "paused")
        line.transport.resumeProducing()
        self.assertEqual(line.wire.producerState, "producing")

    def test_paused_between_records(self) -> None:
        """What the transport has read by then is handed on all the same."""
        line = self.connected()
        line.kept.steps = {b"one": line.transport.pauseProducing}
        line.say(b"one", b"two")
        self.assertEqual(line.kept.received, [b"one", b"two"])

    def test_producer(self) -> None:
        """A producer is the transport's."""
        line, producer = self.connected(), Producer()
        line.transport.registerProducer(producer, True)
        self.assertEqual((line.wire.producer, line.wire.streaming), (producer, True))
        line.transport.unregisterProducer()
        self.assertIsNone(line.wire.producer)

    def test_producer_at_the_end(self) -> None:
        """When all is over it is not waited for: it would be told to go on, and nothing it writes would go out."""
        ends: list[Callable[[Line], object]] = [
            lambda line: (line.client.shutdown(), line.exchange()),
            lambda line: line.server.dataReceived(b"no record"),
        ]
        for end in ends:
            line = self.connected()
            line.transport.registerProducer(Producer(), True)
            end(line)
            self.assertTrue(line.wire.disconnecting)
            self.assertIsNone(line.wire.producer)
            line.transport.unregisterProducer()

    def test_stopped(self) -> None:
        """To be stopped is to close."""
        line = self.connected()
        line.transport.stopProducing()
        self.assertTrue(line.is_ended)


class Counted(Factory):
    """Counts how often it is started and stopped."""

    protocol = Kept

    def __init__(self) -> None:
        self.started = self.stopped = 0

    def startFactory(self) -> None:
        self.started += 1

    def stopFactory(self) -> None:
        self.stopped += 1


class FactoryTests(SecureCase):
    def test_started(self) -> None:
        """The factory is started and stopped with the one that puts TLS below it."""
        inner = Counted()
        factory = SecureFactory(self.contexts, inner)
        factory.doStart()
        self.assertEqual((inner.started, inner.stopped), (1, 0))
        factory.doStop()
        self.assertEqual((inner.started, inner.stopped), (1, 1))

    def test_built(self) -> None:
        """It makes the protocols of the factory, with TLS below."""
        kept = Kept()
        server = SecureFactory(self.contexts, Factory.forProtocol(lambda: kept)).buildProtocol(None)
        self.assertIsInstance(server, SecureProtocol)
        server.makeConnection(StringTransport())
        self.assertIs(kept.transport, server)
