"""TLS records as they come in pieces."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from simple_im import tls
from simple_im.records import RecordCounter

RECORDS = st.lists(st.binary(max_size=40), max_size=8)
CUTS = st.lists(st.integers(1, 30), max_size=30)


def record(content: bytes) -> bytes:
    """A record as it is on the wire."""
    return b"\x17\x03\x03" + len(content).to_bytes(2, "big") + content


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """A stream in pieces of these sizes, and the rest."""
    found = []
    for cut in cuts:
        found.append(stream[:cut])
        stream = stream[cut:]
    return [*filter(None, found), stream]


class CounterTests(SynchronousTestCase):
    @settings(max_examples=300)
    @given(RECORDS, CUTS)
    def test_any_pieces(self, contents: list[bytes], cuts: list[int]) -> None:
        """However a stream is cut, a record is counted with its last byte."""
        counter, come, counted = RecordCounter(), 0, 0
        ends, stream = [], b""
        for content in contents:
            stream += record(content)
            ends.append(len(stream))
        for piece in pieces(stream, cuts):
            counted += counter.feed(piece)
            come += len(piece)
            self.assertEqual(counted, sum(end <= come for end in ends))


class Kept(Protocol):
    """Keeps what it is given, and answers nothing."""

    transport: Any

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)
        if data == b"abort":
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class RecordTlsTests(SynchronousTestCase):
    """The server's end, with what a client has written given to it in pieces."""

    version: TLSVersion | None = None

    def setUp(self) -> None:
        directory = Path(self.mktemp()) / "ssl"
        directory.parent.mkdir()
        tls.ensure_certificates(directory, None, datetime.now(UTC))
        self.kept = Kept()
        factory = tls.PromptTLSFactory(
            tls.server_context_factory(directory), False, Factory.forProtocol(lambda: self.kept)
        )
        self.server = factory.buildProtocol(None)
        self.wire = StringTransport()
        options = CertificateOptions(lowerMaximumSecurityTo=self.version) if self.version else CertificateOptions()
        self.client = SSL.Connection(options.getContext(), None)
        self.client.set_connect_state()
        self.server.makeConnection(self.wire)
        self.shake_hands()

    def shake_hands(self) -> None:
        for _ in range(4):
            with contextlib.suppress(SSL.WantReadError):
                self.client.do_handshake()
            self.exchange()

    def exchange(self, size: int = 100_000) -> None:
        """Give the server what the client has written, in pieces of a size, and the client what it answers."""
        written = self.written()
        for start in range(0, len(written), size):
            self.server.dataReceived(written[start : start + size])
        answered = self.wire.value()
        self.wire.clear()
        if answered:
            self.client.bio_write(answered)

    def written(self) -> bytes:
        try:
            return bytes(self.client.bio_read(1 << 20))
        except SSL.WantReadError:
            return b""

    def test_one_by_one(self) -> None:
        """Each record is a call, whether it comes alone, with others, or in pieces."""
        sent = [b"first", b"x" * 16_384, b"", b"third", b"y" * 5_000]
        for size in (100_000, 1, 7, 1_000):
            self.kept.received.clear()
            for text in filter(None, sent):
                self.client.send(text)
            self.exchange(size)
            self.assertEqual(self.kept.received, list(filter(None, sent)))

    def test_answered(self) -> None:
        """What the server writes meanwhile arrives."""
        self.client.send(b"hello")
        self.exchange()
        self.kept.transport.write(b"and you")
        self.exchange()
        self.assertEqual(self.client.recv(100), b"and you")

    def test_closed(self) -> None:
        """The client's end is taken behind what it wrote before, and answered."""
        self.client.send(b"last")
        self.client.shutdown()
        self.exchange()
        self.assertEqual(self.kept.received, [b"last"])
        self.assertTrue(self.wire.disconnecting)
        self.assertTrue(self.client.shutdown())

    def test_altered(self) -> None:
        """A record that was altered on its way ends the connection, and what comes behind it is not taken."""
        self.client.send(b"good")
        good = self.written()
        self.client.send(b"bad")
        bad = self.written()
        self.client.send(b"behind")
        self.server.dataReceived(good + bad[:-1] + bytes([bad[-1] ^ 1]) + self.written())
        self.assertEqual(self.kept.received, [b"good"])
        self.assertTrue(self.wire.disconnecting)

    def test_aborted(self) -> None:
        """Where the protocol aborts, it is given nothing more."""
        for text in (b"abort", b"more"):
            self.client.send(text)
        self.exchange()
        self.assertEqual(self.kept.received, [b"abort"])


class RecordTls12Tests(RecordTlsTests):
    """The same with TLS 1.2."""

    version = TLSVersion.TLSv1_2
