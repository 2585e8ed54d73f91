"""Certificates in the state directory, and the TLS that both doors speak with them.

`cowboy-ca.crt` and `cowboy-ca.key` are an authority of the server's own, `server.crt` and `server.key` what it shows
to clients. A pair of the operator's in the place of the latter is served as it is and never written to.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from simple_im.config import StartError, is_address, is_host_name
from simple_im.state import make_directory, write_file

CA_CERTIFICATE: Final = "cowboy-ca.crt"
CA_KEY: Final = "cowboy-ca.key"
CERTIFICATE: Final = "server.crt"
KEY: Final = "server.key"

CA_LIFE: Final = timedelta(days=20 * 365)
LIFE: Final = timedelta(days=397)
"""Apple's clients refuse a server certificate that is good for more than 398 days."""
RENEWAL: Final = timedelta(days=30)
"""What is left of a certificate when it is made anew."""
BACKDATE: Final = timedelta(hours=1)
"""For clients whose clock is slow."""

SESSION_LIFE: Final = 7_200
"""How long a client may resume a session instead of a full handshake, in seconds."""
CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption; TLS 1.3 has nothing else."""

PrivateKey = (
    dsa.DSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed448.Ed448PrivateKey
    | ed25519.Ed25519PrivateKey
    | rsa.RSAPrivateKey
)

log = Logger()


@dataclass(frozen=True)
class Identity:
    """Certificates, the holder's own first, and the key that fits it."""

    chain: list[x509.Certificate]
    key: PrivateKey

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]


def ensure_certificates(directory: Path, advertise: str | None, now: datetime) -> None:
    """Makes what is missing in `directory`, and the server's certificate anew where it is ours and has to be.

    That is where less than RENEWAL is left of it, or it does not cover `advertise`, the host that clients are sent
    to. Raises StartError where what is there can't be served.
    """
    make_directory(directory)
    if not (directory / CERTIFICATE).exists():
        _issue(directory, _ensure_authority(directory, now), advertise, now)
        return
    server = load_identity(directory / CERTIFICATE, directory / KEY)
    authority = _authority_of(directory, server.certificate)
    if authority is None:
        _report_end(directory / CERTIFICATE, server.certificate, now)
    elif _left(server.certificate, now) < RENEWAL or not covers(server.certificate, advertise):
        _issue(directory, authority, advertise, now)


def fingerprint(directory: Path) -> str:
    """The SHA-256 of the server's certificate, as people compare it: pairs of hex digits with colons between."""
    return load_chain(directory / CERTIFICATE)[0].fingerprint(hashes.SHA256()).hex(":").upper()


def server_context_factory(directory: Path) -> ServerConnections:
    """What the TLS of both doors is made with; raises StartError where the files can't be served."""
    return ServerConnections(directory)


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnections:
    """Hands out the server's side of TLS connections, each with the certificate that was current as it began."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.reload()

    def reload(self) -> None:
        """Takes the files as they are now for every connection to come; a StartError leaves all as it was."""
        certificate, key = self._directory / CERTIFICATE, self._directory / KEY
        context = https_context(load_identity(certificate, key))
        self.im_context = im_context(certificate, key)
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class PromptTLSFactory(TLSMemoryBIOFactory):
    """The HTTPS door's TLS, which writes when it is told to.

    Twisted's usual one defers writes to the reactor's next turn; until then nobody knows what the kernel will take.
    """

    protocol = TLSMemoryBIOProtocol


def im_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 for the IM door, on Python's own `ssl` (see `simple_im.secure`).

    The same as `https_context`: resumption, and buffers given back when a connection is idle, are what `ssl` does by
    itself.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(CIPHERS.decode())
    context.num_tickets = 1
    try:
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise _not_served(getattr(error, "reason", None) or error.strerror or "unknown error") from None
    return context


def https_context(identity: Identity) -> SSL.Context:
    """TLS 1.2 and 1.3 for a server that is `identity`, with resumption and without what has been broken before."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    # An idle connection gives its 32 KiB of buffers back.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS)
    _enable_resumption(context)
    _present(context, identity)
    return context


def _enable_resumption(context: SSL.Context) -> None:
    """Tickets for those who take them, else session ids in OpenSSL's cache, which is bounded at 20,480 sessions.

    Sessions are good for this context only, so a new certificate means full handshakes.
    """
    context.set_session_id(os.urandom(16))
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_timeout(SESSION_LIFE)


def _present(context: SSL.Context, identity: Identity) -> None:
    try:
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        for certificate in identity.chain[1:]:
            context.add_extra_chain_cert(certificate)
    except SSL.Error as error:
        reason = error.args[0][0][2] if error.args and error.args[0] else "unknown error"
        raise _not_served(reason) from None


def _not_served(reason: str) -> StartError:
    return StartError(f"{CERTIFICATE} can't be served ({reason}): put another one and its key there")


# Reading


def load_identity(certificate: Path, key: Path) -> Identity:
    """The pair that is in two files; raises StartError where it is none or anyone else can read its key."""
    identity = Identity(load_chain(certificate), load_key(key))
    if identity.key.public_key() != identity.certificate.public_key():
        raise StartError(
            f"{key} does not fit the first certificate in {certificate}: put the key there that belongs to it"
        )
    return identity


def load_chain(path: Path) -> list[x509.Certificate]:
    """The certificates in the PEM file `path`, at least one."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise StartError(f"{path} holds no readable PEM certificate: put one there, or remove it") from None


def load_key(path: Path) -> PrivateKey:
    """The private key in the PEM file `path`, which nobody but its owner may be able to read."""
    content = _read(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StartError(f"{path} can be read by others than its owner: say chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError:
        raise StartError(f"{path} is encrypted: put the key there without a password, mode 600") from None
    except (ValueError, UnsupportedAlgorithm):
        raise StartError(f"{path} holds no readable PEM private key: put the one of its certificate there") from None
    if not isinstance(key, PrivateKey):
        raise StartError(f"{path} holds a key that can't sign: put the one of its certificate there")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StartError(f"{path} is missing: put it back, or remove what it belongs to as well") from None
    except OSError as error:
        raise StartError(f"{path} can't be read ({error.strerror}): let this user read it") from None


def covers(certificate: x509.Certificate, host: str | None) -> bool:
    """Whether `certificate` is good for clients that connect to `host`; for no host it is."""
    return host is None or general_name(host) in _names(certificate)


def general_name(host: str) -> x509.GeneralName:
    """A host as certificates name it: by address, or by name in small letters."""
    return x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host.lower())


def _names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, ValueError):
        return []


def _authority_of(directory: Path, certificate: x509.Certificate) -> Identity | None:
    """The authority in `directory` if it has signed `certificate` and could sign another."""
    if not (directory / CA_CERTIFICATE).exists() or not (directory / CA_KEY).exists():
        return None
    authority = load_identity(directory / CA_CERTIFICATE, directory / CA_KEY)
    return authority if _has_signed(authority.certificate, certificate) else None


def _has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _left(certificate: x509.Certificate, now: datetime) -> timedelta:
    return certificate.not_valid_after_utc - now


def _report_end(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    left = _left(certificate, now)
    if left < timedelta(0):
        log.error("{path} ended on {end:%Y-%m-%d}: clients refuse it", path=path, end=certificate.not_valid_after_utc)
    elif left < RENEWAL:
        log.warn("{path} ends in {days} days: put a new one there", path=path, days=left.days)


# Making


def _ensure_authority(directory: Path, now: datetime) -> Identity:
    """The authority in `directory`, made if there is none. A key alone is a first start that was cut short."""
    path, key_path = directory / CA_CERTIFICATE, directory / CA_KEY
    if path.exists():
        return load_identity(path, key_path)
    key = _ensure_key(key_path)
    certificate = authority_certificate(key, now)
    write_file(path, _pem(certificate), 0o644)
    log.info("made {path}: clients need it to trust this server", path=path)
    return Identity([certificate], key)


def _issue(directory: Path, authority: Identity, advertise: str | None, now: datetime) -> None:
    """A new certificate for the key that is there: a pair stays one if the process dies in between."""
    path = directory / CERTIFICATE
    key = _ensure_key(directory / KEY)
    certificate = server_certificate(key, authority, list(_own_names(advertise)), now)
    write_file(path, _pem(certificate), 0o644)
    log.info("made {path}, good until {end:%Y-%m-%d}", path=path, end=certificate.not_valid_after_utc)


def _ensure_key(path: Path) -> PrivateKey:
    if path.exists():
        return load_key(path)
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write_file(path, key.private_bytes(encoding, form, serialization.NoEncryption()), 0o600)
    return key


def _own_names(advertise: str | None) -> Iterator[x509.GeneralName]:
    """Every name that clients may know this server by, each once."""
    hosts = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *([advertise] if advertise else [])]
    yield from dict.fromkeys(general_name(host) for host in hosts if is_address(host) or is_host_name(host))


def authority_certificate(key: PrivateKey, now: datetime) -> x509.Certificate:
    """A certificate that signs itself and may sign servers' certificates, and nothing below those."""
    name = _name(f"simple_im authority {os.urandom(4).hex()}")
    builder = (
        _builder(name, name, key, key, now, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )
    return builder.sign(key, _digest(key))


def server_certificate(
    key: PrivateKey, authority: Identity, names: list[x509.GeneralName], now: datetime
) -> x509.Certificate:
    """A certificate for a server that goes by `names`; it does not outlive its authority."""
    issuer = authority.certificate
    end = min(now + LIFE, issuer.not_valid_after_utc)
    builder = (
        _builder(_name("simple_im"), issuer.subject, key, authority.key, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(authority.key, _digest(authority.key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, issuer_key: PrivateKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    """The Edwards curves bring their own."""
    return None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
