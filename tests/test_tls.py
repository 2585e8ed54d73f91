"""Certificates, and TLS with them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from simple_im import tls
from simple_im.config import StartError
from simple_im.secure import SecureFactory
from simple_im.state import write_file
from simple_im.tls import (
    Identity,
    PrivateKey,
    ServerConnections,
    authority_certificate,
    ensure_certificates,
    fingerprint,
    general_name,
    load_chain,
    server_certificate,
    server_context_factory,
)

MakeDoor = Callable[[Factory, Clock], Any]

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey | x25519.X25519PrivateKey, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def other_authority(now: datetime = NOW) -> Identity:
    key = new_key()
    return Identity([authority_certificate(key, now)], key)


class CertificateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()

    def ensure(self, advertise: str | None = None, now: datetime = NOW) -> None:
        ensure_certificates(self.directory, advertise, now)

    def read(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()

    def write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        path = self.directory / name
        path.write_bytes(content)
        path.chmod(mode)

    def files(self) -> dict[str, bytes]:
        return {name: self.read(name) for name in os.listdir(self.directory)}

    def leaf(self) -> x509.Certificate:
        return load_chain(self.directory / "server.crt")[0]

    def install(self, authority: Identity, now: datetime = NOW, key: PrivateKey | None = None) -> None:
        """Puts an operator's own pair there: a certificate that `authority` signed, with its chain."""
        key = key or new_key()
        leaf = server_certificate(key, authority, [general_name("localhost")], now)
        self.directory.mkdir(exist_ok=True)
        self.write("server.crt", certificate_pem(leaf, *authority.chain), 0o644)
        self.write("server.key", key_pem(key))

    def refusal(self) -> str:
        sentence = str(self.assertRaises(StartError, self.ensure))
        self.assertNotIn("\n", sentence)
        return sentence


class MakingTests(CertificateCase):
    def test_first_start(self) -> None:
        """The first start makes an authority and a certificate, their keys for the owner's eyes only."""
        self.ensure()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in self.directory.iterdir()}
        self.assertEqual(set(modes), {"cowboy-ca.crt", "cowboy-ca.key", "server.crt", "server.key"})
        self.assertEqual((modes["cowboy-ca.key"], modes["server.key"]), (0, 0))

    def test_lives(self) -> None:
        """The authority is good for 20 years and the certificate for 397 days, both since an hour ago."""
        self.ensure()
        for name, days in (("cowboy-ca.crt", 7300), ("server.crt", 397)):
            certificate = load_chain(self.directory / name)[0]
            self.assertEqual(certificate.not_valid_before_utc, NOW - timedelta(hours=1))
            self.assertEqual(certificate.not_valid_after_utc, NOW + days * DAY)

    def test_names(self) -> None:
        """The certificate is for localhost by name and address, the host's name, and the advertised host."""
        self.patch(socket, "gethostname", lambda: "Box.example")
        for advertise, name in (
            ("im.example.org", general_name("im.example.org")),
            ("192.0.2.7", general_name("192.0.2.7")),
        ):
            self.ensure(advertise)
            names = self.leaf().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            expected = [*map(general_name, ("localhost", "127.0.0.1", "::1", "box.example")), name]
            self.assertEqual(list(names), expected)

    def test_host_name_that_is_none(self) -> None:
        """A host's name that no certificate can hold is left out, and one that is said already."""
        for name in ("under_score", "", "localhost", "bücher"):
            self.patch(socket, "gethostname", lambda name=name: name)
            names = tls._own_names(None)
            self.assertEqual(list(names), [*map(general_name, ("localhost", "127.0.0.1", "::1"))])

    def test_second_start(self) -> None:
        """A second start changes nothing."""
        self.ensure("im.example.org")
        before = self.files()
        self.ensure("im.example.org", NOW + DAY)
        self.assertEqual(self.files(), before)

    def test_cut_short(self) -> None:
        """A first start that was killed after any of its files is finished by the next, with what is there."""
        for count in (1, 2, 3):
            kept = ["cowboy-ca.key", "cowboy-ca.crt", "server.key"][:count]
            self.ensure()
            before = self.files()
            for name in before.keys() - set(kept):
                (self.directory / name).unlink()
            self.ensure()
            self.assertEqual({name: self.read(name) for name in kept}, {name: before[name] for name in kept})
            server_context_factory(self.directory)

    def test_order_of_files(self) -> None:
        """A certificate is written after its key, so being killed leaves no certificate without one."""
        written: list[str] = []

        def record(path: Path, content: bytes, mode: int) -> None:
            written.append(f"{path.name} {mode:o}")
            write_file(path, content, mode)

        self.patch(tls, "write_file", record)
        self.ensure()
        self.assertEqual(written, ["cowboy-ca.key 600", "cowboy-ca.crt 644", "server.key 600", "server.crt 644"])


class RenewalTests(CertificateCase):
    def test_near_its_end(self) -> None:
        """With less than 30 days left the certificate is made anew for the same key; before that it stays."""
        self.ensure()
        before = self.files()
        self.ensure(now=NOW + 367 * DAY)
        self.assertEqual(self.files(), before)
        later = NOW + 367 * DAY + timedelta(seconds=1)
        self.ensure(now=later)
        self.assertEqual(self.leaf().not_valid_after_utc, later + 397 * DAY)
        changed = {name for name, content in self.files().items() if content != before[name]}
        self.assertEqual(changed, {"server.crt"})

    def test_ended(self) -> None:
        """So it is after a year with the server switched off."""
        self.ensure()
        self.ensure(now=NOW + 1000 * DAY)
        self.assertEqual(self.leaf().not_valid_after_utc, NOW + 1397 * DAY)

    def test_new_advertised_host(self) -> None:
        """A host that the certificate does not cover has it made anew; one that it covers does not."""
        self.ensure("im.example.org")
        first = self.leaf()
        self.ensure("IM.example.org")
        self.ensure("127.0.0.1")
        self.assertEqual(self.leaf(), first)
        self.ensure("192.0.2.7")
        self.assertTrue(tls.covers(self.leaf(), "192.0.2.7"))
        self.ensure("2001:DB8::7")
        self.assertTrue(tls.covers(self.leaf(), "2001:db8:0::7"))

    def test_never_longer_than_the_authority(self) -> None:
        """A certificate ends with its authority at the latest."""
        self.ensure()
        self.ensure(now=NOW + 7200 * DAY)
        self.assertEqual(self.leaf().not_valid_after_utc, NOW + 7300 * DAY)

    def test_authority_key_kept_elsewhere(self) -> None:
        """Where the authority's key is not there, its certificate stays as it is and a warning says when it ends."""
        self.ensure()
        (self.directory / "cowboy-ca.key").unlink()
        before = self.files()
        with capturedLogs() as logs:
            self.ensure("192.0.2.7", NOW + 390 * DAY)
        self.assertEqual(self.files(), before)
        self.assertEqual([event["days"] for event in logs], [7])


class OperatorsTests(CertificateCase):
    """A pair of the operator's own."""

    def test_alone(self) -> None:
        """It is served as it is; no authority is made beside it."""
        self.install(other_authority())
        before = self.files()
        self.ensure("im.example.org")
        self.assertEqual(self.files(), before)
        server_context_factory(self.directory)

    def test_beside_our_authority(self) -> None:
        """It is not written to because there is an authority of ours either, whatever it covers and when it ends."""
        self.ensure()
        self.install(other_authority())
        before = self.files()
        self.ensure("im.example.org", NOW + 500 * DAY)
        self.assertEqual(self.files(), before)

    def test_near_its_end(self) -> None:
        """Near its end the log says so with the days that are left, after its end as an error, before that nothing."""
        self.install(other_authority())
        events = []
        for days in (366, 368, 398):
            with capturedLogs() as logs:
                self.ensure(now=NOW + days * DAY)
            events.append([event["log_level"].name for event in logs])
        self.assertEqual(events, [[], ["warn"], ["error"]])

    def test_same_authority_name(self) -> None:
        """An authority is known by its key, not by its name."""
        self.ensure()
        ours = load_chain(self.directory / "cowboy-ca.crt")[0]
        self.patch(tls, "_name", lambda text: ours.subject)
        self.install(other_authority())
        before = self.files()
        self.ensure("im.example.org")
        self.assertEqual(self.files(), before)

    def test_rsa(self) -> None:
        """A pair with an RSA key is as good."""
        self.install(other_authority(), key=rsa.generate_private_key(65537, 2048))
        server_context_factory(self.directory)

    def test_weak_key(self) -> None:
        """A key that OpenSSL calls too weak is refused in its words."""
        self.install(other_authority(), key=rsa.generate_private_key(65537, 1024))
        sentence = str(self.assertRaises(StartError, server_context_factory, self.directory))
        self.assertIn("key too small", sentence)
        pair = self.directory / "server.crt", self.directory / "server.key"
        self.assertIn("KEY_TOO_SMALL", str(self.assertRaises(StartError, tls.im_context, *pair)))


class RefusalTests(CertificateCase):
    def setUp(self) -> None:
        super().setUp()
        self.ensure()

    def assert_refused(self, *words: str) -> None:
        """The start is refused with `words`, and leaves the files as they were."""
        before = self.files()
        sentence = self.refusal()
        for word in words:
            self.assertIn(word, sentence)
        self.assertEqual(self.files(), before)

    def test_key_of_another(self) -> None:
        """A key that does not fit its certificate is refused with both names."""
        for key, certificate in (("server.key", "server.crt"), ("cowboy-ca.key", "cowboy-ca.crt")):
            before = self.read(key)
            self.write(key, key_pem(new_key()))
            self.assert_refused(f"{self.directory}/{key} does not fit", f"{self.directory}/{certificate}")
            self.write(key, before)

    def test_chain_in_the_wrong_order(self) -> None:
        """So is a chain that does not begin with the server's certificate."""
        self.write("server.crt", self.read("cowboy-ca.crt") + self.read("server.crt"), 0o644)
        self.assert_refused("does not fit the first certificate")

    def test_unreadable_pem(self) -> None:
        """A file without PEM in it is refused by name."""
        for name in ("server.crt", "server.key", "cowboy-ca.crt", "cowboy-ca.key"):
            for content in (b"", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
                before = self.read(name)
                self.write(name, content)
                self.assert_refused(f"{self.directory}/{name} holds no readable PEM")
                self.write(name, before)

    def test_encrypted_key(self) -> None:
        """A key with a password is refused: nobody is there to type it."""
        self.write("server.key", key_pem(new_key(), b"secret"))
        self.assert_refused("server.key is encrypted", "without a password")

    def test_key_that_cannot_sign(self) -> None:
        """A key of the wrong kind is refused."""
        self.write("server.key", key_pem(x25519.X25519PrivateKey.generate()))
        self.assert_refused("server.key holds a key that can't sign")

    def test_certificate_without_key(self) -> None:
        """A certificate whose key is not there is refused."""
        (self.directory / "server.key").unlink()
        self.assert_refused("server.key is missing", "put it back")

    def test_authority_without_key(self) -> None:
        """Without its key an authority can't sign the certificate that is missing."""
        for name in ("server.crt", "server.key", "cowboy-ca.key"):
            (self.directory / name).unlink()
        self.assert_refused("cowboy-ca.key is missing")

    def test_key_that_others_can_read(self) -> None:
        """A key that group or others can read, or write, is refused with the command that mends it."""
        for name in ("server.key", "cowboy-ca.key"):
            for mode in (0o640, 0o604, 0o620, 0o644):
                (self.directory / name).chmod(mode)
                self.assert_refused(f"chmod 600 {self.directory}/{name}")
            (self.directory / name).chmod(0o400)
            self.ensure()

    def test_directory_in_the_place_of_a_file(self) -> None:
        """A file that can't be read is refused in the system's words."""
        (self.directory / "server.crt").unlink()
        (self.directory / "server.crt").mkdir()
        sentence = self.refusal()
        self.assertIn("server.crt can't be read (Is a directory)", sentence)

    def test_directory_that_cannot_be_written(self) -> None:
        """A directory that can't be written to is refused with the option that names another."""
        self.directory = Path("/proc/simple_im")
        self.assertIn("--state", self.refusal())


class Record(Protocol):
    """The server's side of a connection: keeps what it gets, and answers when told to."""

    def __init__(self) -> None:
        self.received = b""

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class Wire:
    """A client of the standard library's and a door of ours, with a wire between them that is pumped by hand."""

    def __init__(self, make_door: MakeDoor, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost", session=session)
        self.transport, self.clock, self.record = StringTransport(), Clock(), Record()
        self.server = make_door(Factory.forProtocol(lambda: self.record), self.clock).buildProtocol(None)
        self.server.makeConnection(self.transport)

    def pump(self) -> None:
        self.clock.advance(0)
        if self.outgoing.pending:
            self.server.dataReceived(self.outgoing.read())
        self.incoming.write(self.transport.value())
        self.transport.clear()

    def until_done(self, step: Callable[[], object]) -> None:
        """Repeats `step` while it waits for the other side; flights are few, so it is tried a few times."""
        for _ in range(6):
            try:
                step()
            except ssl.SSLWantReadError:
                self.pump()
            else:
                self.pump()
                return
        raise AssertionError("the two sides wait for each other")

    def shake_hands(self) -> None:
        self.until_done(self.client.do_handshake)

    def read(self) -> bytes:
        """What the client has got so far, tickets taken too."""
        self.pump()
        try:
            return self.client.read()
        except ssl.SSLWantReadError:
            return b""


class TlsCase(CertificateCase):
    """TLS of the IM door."""

    def setUp(self) -> None:
        super().setUp()
        self.ensure()
        self.connections = server_context_factory(self.directory)

    def make_door(self, factory: Factory, _clock: Clock) -> Any:
        """What listens, as the service makes it."""
        return SecureFactory(self.connections, factory)

    def wire(self, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Wire:
        """A connection without a word said."""
        return Wire(self.make_door, client, session)

    def offered(self) -> list[str]:
        """The names of the ciphers that the door offers."""
        return [cipher["name"] for cipher in self.connections.im_context.get_ciphers()]

    def client(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """A client as strict as Python can be, which speaks `version`."""
        context = ssl.create_default_context(cafile=str(self.directory / "cowboy-ca.crt"))
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
        context.minimum_version = context.maximum_version = version
        return context

    def connected(self, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Wire:
        wire = self.wire(client, session)
        wire.shake_hands()
        return wire


def https_ciphers(connections: ServerConnections) -> list[str]:
    """The names of the ciphers that the HTTPS door offers."""
    return SSL.Connection(connections._context, None).get_cipher_list()


class HttpsCase(TlsCase):
    """TLS of the HTTPS door."""

    def make_door(self, factory: Factory, clock: Clock) -> Any:
        return tls.PromptTLSFactory(self.connections, False, factory, clock)

    def offered(self) -> list[str]:
        return https_ciphers(self.connections)


class HandshakeTests(TlsCase):
    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, with forward secrecy, to a client that checks all it can."""
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            wire = self.connected(self.client(version))
            self.assertEqual(wire.client.version(), name)
            cipher = wire.client.cipher()
            assert cipher is not None
            self.assertTrue(cipher[0].startswith(("ECDHE-ECDSA-", "TLS_")), cipher)
            self.assertIsNone(wire.client.compression())

    def test_older_versions(self) -> None:
        """TLS 1.1 is refused."""
        client = self.client(ssl.TLSVersion.TLSv1_2)
        client.set_ciphers("ALL:@SECLEVEL=0")
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
        error = self.assertRaises(ssl.SSLError, self.connected, client)
        self.assertIn("protocol version", str(error).lower().replace("_", " "))
        self.flushWarnings()

    def test_ciphers(self) -> None:
        """No cipher without forward secrecy and authenticated encryption is offered."""
        self.assertNotEqual(self.offered(), [])
        for name in self.offered():
            self.assertRegex(name, r"^(TLS_|ECDHE-).*(GCM|CHACHA20|CCM)")

    def test_same_at_both_doors(self) -> None:
        """Both doors offer the same ciphers in the same order."""
        self.assertEqual(TlsCase.offered(self), https_ciphers(self.connections))

    def test_plain_text(self) -> None:
        """Plain text ends the connection, and reaches nobody."""
        wire = self.wire(self.client())
        wire.server.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(wire.transport.disconnecting)
        self.assertEqual(wire.record.received, b"")

    def test_chain(self) -> None:
        """A chain is served whole, so that a client who knows its root alone can follow it."""
        root_key, middle_key, key = new_key(), new_key(), new_key()
        root = Identity([self.authority("root", root_key, "root", root_key)], root_key)
        middle = Identity([self.authority("middle", middle_key, "root", root_key)], middle_key)
        leaf = server_certificate(key, middle, [general_name("localhost")], NOW)
        self.write("server.crt", certificate_pem(leaf, *middle.chain), 0o644)
        self.write("server.key", key_pem(key))
        self.write("cowboy-ca.crt", certificate_pem(root.certificate))
        self.connections.reload()
        self.connected(self.client())

    def authority(
        self, name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        return (
            tls._builder(tls._name(name), tls._name(issuer), key, signer, NOW, NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(tls._key_usage(key_cert_sign=True), critical=True)
            .sign(signer, hashes.SHA256())
        )


class HttpsHandshakeTests(HttpsCase, HandshakeTests):
    """The same of the HTTPS door; of the IM door there is more in `test_secure`."""

    def test_renegotiation(self) -> None:
        """A client that asks for a new handshake within a connection does not get one."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        server = self.connections.serverConnectionForTLS(None)  # type: ignore[arg-type]
        server.set_accept_state()
        for side, other in ((client, server), (server, client)) * 2:
            exchange(side.do_handshake, side, other)
        client.do_handshake()
        client.renegotiate()
        exchange(client.do_handshake, client, server)
        exchange(lambda: server.recv(1), server, client)
        error = self.assertRaises(SSL.Error, client.do_handshake)
        self.assertIn("no renegotiation", str(error))


def exchange(step: Callable[[], object], side: SSL.Connection, other: SSL.Connection) -> None:
    """Has one side take a step as far as it gets, and gives the other what it sends."""
    with contextlib.suppress(SSL.WantReadError):
        step()
    with contextlib.suppress(SSL.WantReadError):
        other.bio_write(side.bio_read(65_536))


class ResumptionTests(TlsCase):
    def resumed(self, client: ssl.SSLContext) -> bool:
        """Whether a second connection with the first one's session does without a full handshake."""
        first = self.connected(client)
        first.read()
        session = first.client.session
        assert session is not None
        second = self.connected(client, session)
        self.assertEqual(second.read(), b"")
        return second.client.session_reused is True

    def test_tls_1_3(self) -> None:
        """TLS 1.3 resumes with a ticket."""
        self.assertTrue(self.resumed(self.client()))

    def test_tls_1_2_ticket(self) -> None:
        """TLS 1.2 resumes with a ticket."""
        self.assertTrue(self.resumed(self.client(ssl.TLSVersion.TLSv1_2)))

    def test_tls_1_2_session_id(self) -> None:
        """TLS 1.2 resumes by session id for a client that takes no tickets."""
        client = self.client(ssl.TLSVersion.TLSv1_2)
        client.options |= ssl.OP_NO_TICKET
        self.assertTrue(self.resumed(client))

    def test_session_life(self) -> None:
        """A session can be resumed for two hours."""
        client = self.client(ssl.TLSVersion.TLSv1_2)
        wire = self.connected(client)
        assert wire.client.session is not None
        self.assertEqual(wire.client.session.ticket_lifetime_hint, 7200)

    def test_not_across_a_reload(self) -> None:
        """After a reload a full handshake shows the new certificate, and the connection works all the same."""
        client = self.client()
        first = self.connected(client)
        first.read()
        self.connections.reload()
        second = self.connected(client, first.client.session)
        self.assertFalse(second.client.session_reused)


class HttpsResumptionTests(HttpsCase, ResumptionTests):
    """The same of the HTTPS door."""


class ReloadTests(TlsCase):
    def certificate(self, wire: Wire) -> bytes:
        found = wire.client.getpeercert(binary_form=True)
        assert found is not None
        return found

    def test_new_certificate(self) -> None:
        """New connections get the new certificate; those that are on go on."""
        old = self.connected(self.client())
        self.ensure("192.0.2.7")
        self.connections.reload()
        new = self.connected(self.client())
        self.assertNotEqual(self.certificate(old), self.certificate(new))
        self.assertEqual(self.certificate(new), self.leaf().public_bytes(serialization.Encoding.DER))
        old.record.write(b"still here")
        self.assertEqual(old.read(), b"still here")

    def test_bad_pair(self) -> None:
        """A pair that does not fit leaves the old one in use."""
        before = self.certificate(self.connected(self.client()))
        self.write("server.key", key_pem(new_key()))
        self.assertRaises(StartError, self.connections.reload)
        self.assertEqual(self.certificate(self.connected(self.client())), before)

    def test_fingerprint(self) -> None:
        """The fingerprint is that of the certificate that clients see, as pairs of digits."""
        shown = fingerprint(self.directory)
        self.assertRegex(shown, r"^([0-9A-F]{2}:){31}[0-9A-F]{2}$")
        self.assertEqual(bytes.fromhex(shown.replace(":", "")), self.leaf().fingerprint(hashes.SHA256()))


class HttpsReloadTests(HttpsCase, ReloadTests):
    """The same of the HTTPS door."""


class PromptnessTests(TlsCase):
    def test_written_at_once(self) -> None:
        """What is written is on its way when `write` returns, each write a record of its own."""
        wire = self.connected(self.client())
        wire.read()
        wire.record.write(b"one")
        wire.record.write(b"two")
        self.assertEqual(len(records(wire.transport.value())), 2)
        self.assertEqual((wire.read(), wire.read()), (b"one", b"two"))

    def test_full_record(self) -> None:
        """16 KiB are one record, one byte more is two."""
        wire = self.connected(self.client())
        wire.read()
        for size, count in ((16_384, 1), (16_385, 2)):
            wire.record.write(b"x" * size)
            self.assertEqual(len(records(wire.transport.value())), count)
            wire.transport.clear()

    def test_received(self) -> None:
        """What a client writes arrives record by record."""
        wire = self.connected(self.client())
        wire.client.write(b"hello")
        wire.pump()
        self.assertEqual(wire.record.received, b"hello")


class HttpsPromptnessTests(HttpsCase, PromptnessTests):
    """The same of the HTTPS door, where an answer counts as shown when the kernel has it."""


def records(data: bytes) -> list[bytes]:
    """The TLS records in `data`: five bytes of header, the last two of them the length."""
    found = []
    while data:
        end = 5 + int.from_bytes(data[3:5])
        found.append(data[:end])
        data = data[end:]
    return found
