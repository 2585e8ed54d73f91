"""What does not belong on the doors: each gets what the protocol promises, and nobody else notices."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl

from tests.integration.case import NodeCase
from tests.integration.im_client import ImClient, connect, entry
from tests.integration.node import Node, until

MIB = 1_048_576


class GarbageTests(NodeCase):
    """Beside each, two others talk on, and the server's memory stays what it was."""

    def setUp(self) -> None:
        self.node = self.shared_node()
        self.ann, self.bob = self.node.new_user(), self.node.new_user()
        self.pair = self.connect(self.ann, "pc"), self.connect(self.bob, "pc")
        self.talks = 0
        self.talk()
        self.addCleanup(self.check, self.node.rss)

    def check(self, rss: int) -> None:
        """The two still talk, and the server is as it was."""
        self.talk()
        self.assertLess(self.node.rss - rss, 10 * MIB)
        self.assertNotIn("Traceback", self.node.log)

    def talk(self) -> None:
        """A message from one to the other, on connections that were there before."""
        ann, bob = self.pair
        self.talks += 1
        ann.message(self.bob.id, f"talk-{self.talks}")
        bob.expect("m", id=f"talk-{self.talks}")
        bob.acknowledge(f"talk-{self.talks}")

    def signed_in(self) -> ImClient:
        return self.connect(self.node.new_user(), "phone")

    def send_most(self, client: ImClient, data: bytes) -> None:
        """Send what the server takes before it closes."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for start in range(0, len(data), 16_384):
                client.send(data[start : start + 16_384])

    def test_random_bytes(self) -> None:
        """Bytes that are no text, with blank lines, are refused as bad frames, and closed at the twentieth."""
        client = self.stranger(self.node)
        client.send(os.urandom(1_000).replace(b"\n\n", b"") + b"\n\n")
        client.expect("rr", s=1, r="login required")
        self.assertEqual(client.rest(), [])

    def test_twenty_bad_frames(self) -> None:
        """A device that sends bad frames is told so each time; with the twentieth in a row it is closed."""
        client = self.signed_in()
        client.send(b"\xff\xfe\n\n" * 25)
        refusals = [keys for table, keys in client.rest() if table == "rr"]
        self.assertEqual([keys["s"] for keys in refusals], [1] * 20)
        self.assertTrue(all("UTF-8" in keys["r"] for keys in refusals))

    def test_endless_frame(self) -> None:
        """Of a frame without end no more than a frame's size is kept: refused with its id, `bye`, close."""
        client = self.signed_in()
        self.send_most(client, b'[[m]]\nid = "big"\nc = "' + b"x" * (10 * MIB))
        client.expect("rr", id="big", s=1, r="too large")
        client.expect("bye", r="error")
        self.assertEqual(client.rest(), [])

    def test_deep_nesting(self) -> None:
        """Ten thousand tables in each other are one bad frame, and the connection stays."""
        client = self.signed_in()
        client.send("[[m]]\nx = " + "[" * 10_000 + "]" * 10_000 + "\n\n")
        self.assertEqual(client.expect("rr", s=1)["s"], 1)
        client.send("[[m" + ".a" * 10_000 + "]]\n\n")
        self.assertEqual(client.expect("rr", s=1)["s"], 1)
        client.send("".join(f"[m{'.a' * 20}{n}]\n" for n in range(1_000)) + "\n")
        self.assertEqual(client.expect("rr", s=1)["s"], 1)
        client.ping()
        client.expect("rr", id="ping", s=0)

    def test_half_a_frame(self) -> None:
        """A client that goes away in the middle of a frame leaves nothing."""
        client = self.signed_in()
        client.send('[[m]]\nid = "half"\n')
        client.reset()

    def test_no_login(self) -> None:
        """A TLS handshake that does not go on, and a connection that does not sign in, are closed at the deadline."""
        client = self.stranger(self.node)
        with connect(self.node.im_port) as sock:
            sock.sendall(client_hello()[:100])
            self.assertEqual(drained(sock), b"")
        self.assertEqual(client.rest(), [])

    def test_plain_text(self) -> None:
        """Plain text gets no word of either protocol in return, on either door."""
        for port in (self.node.im_port, self.node.http_port):
            with connect(port) as sock:
                sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + entry("r", id="1", t="ping").encode())
                self.assertNotRegex(drained(sock), rb"HTTP|ok|rr|login")

    def test_old_tls(self) -> None:
        """TLS 1.1 is not spoken on either door."""
        for port in (self.node.im_port, self.node.http_port):
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                old_tls(port)

    def test_many_that_say_nothing(self) -> None:
        """Connections that come and go without a word leave nothing behind."""
        for _ in range(300):
            connect(self.node.im_port).close()
        until(lambda: open_files(self.node) < 100, "connections stay")
        self.talk()


def client_hello() -> bytes:
    """The first message of a TLS client."""
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def drained(sock: socket.socket) -> bytes:
    """All that comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65_536):
            found += data
    return found


def old_tls(port: int) -> None:
    """A handshake with TLS 1.1 as the newest version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.wrap_socket(connect(port)).close()


def open_files(node: Node) -> int:
    """How many files and sockets the server has open."""
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))
