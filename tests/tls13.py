"""TLS 1.3 records made by hand: what a client's TLS library does not let one send."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

TEXT: Final = 23
HANDSHAKE: Final = 22
ALERT: Final = 21
KEY_UPDATE: Final = b"\x18\x00\x00\x01"
"""The header of the message; a byte follows that asks for the other side's, or does not."""

_CIPHERS: Final = {
    "TLS_AES_128_GCM_SHA256": (AESGCM, 16, hashes.SHA256),
    "TLS_AES_256_GCM_SHA384": (AESGCM, 32, hashes.SHA384),
    "TLS_CHACHA20_POLY1305_SHA256": (ChaCha20Poly1305, 32, hashes.SHA256),
}


class Keys:
    """One direction's key (RFC 8446, sections 5.2, 5.3 and 7)."""

    def __init__(self, cipher: str, secret: bytes) -> None:
        self._make, self._size, self._hash = _CIPHERS[cipher]
        self._begin(secret)

    def _begin(self, secret: bytes) -> None:
        self._secret = secret
        self._key = self._make(self._expand(b"key", self._size))
        self._iv = self._expand(b"iv", 12)
        self._number = 0

    def update(self) -> None:
        """From here on it is the next one."""
        self._begin(self._expand(b"traffic upd", self._hash.digest_size))

    def seal(self, kind: int, content: bytes) -> bytes:
        """A record."""
        header = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2)
        return header + self._key.encrypt(self._nonce(), content + bytes([kind]), header)

    def open(self, record: bytes) -> tuple[int, bytes]:
        """What is in a record: its kind and its content."""
        content = self._key.decrypt(self._nonce(), record[5:], record[:5]).rstrip(b"\x00")
        return content[-1], content[:-1]

    def skip(self) -> None:
        """One record was opened elsewhere."""
        self._number += 1

    def _nonce(self) -> bytes:
        number, self._number = self._number, self._number + 1
        return (int.from_bytes(self._iv) ^ number).to_bytes(12)

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = size.to_bytes(2) + bytes([len(label)]) + label + b"\x00"
        return HKDFExpand(self._hash(), size, info).derive(self._secret)


class Secrets:
    """Those of the connection of a context that has shaken hands last."""

    def __init__(self, context: SSL.Context) -> None:
        self._found: dict[str, bytes] = {}
        context.set_keylog_callback(self._note)

    def _note(self, _connection: SSL.Connection, line: bytes) -> None:
        name, _, secret = line.decode().split()
        self._found[name] = bytes.fromhex(secret)

    def keys(self, cipher: str, side: str) -> Keys:
        """The first ones after the handshake; `side` is CLIENT or SERVER."""
        return Keys(cipher, self._found[f"{side}_TRAFFIC_SECRET_0"])


class Spoken:
    """What a client says and reads by itself once it has shaken hands, in place of its TLS library.

    The server must have said nothing but its one ticket since, and the client nothing.
    """

    def __init__(self, client: SSL.Connection, secrets: Secrets) -> None:
        cipher = client.get_cipher_name() or ""
        self._ours, self._theirs = secrets.keys(cipher, "CLIENT"), secrets.keys(cipher, "SERVER")
        self._theirs.skip()
        self.updates = 0

    def text(self, content: bytes) -> bytes:
        """A record of plain text."""
        return self._ours.seal(TEXT, content)

    def handshake(self, content: bytes) -> bytes:
        """A record of a handshake."""
        return self._ours.seal(HANDSHAKE, content)

    def key_update(self, *, answered: bool) -> bytes:
        """A record that changes the client's key, and asks for the server's to be changed, or does not."""
        record = self.handshake(KEY_UPDATE + bytes([answered]))
        self._ours.update()
        return record

    def read(self, stream: bytes) -> list[bytes]:
        """The texts in what the server has sent; `updates` counts the changes of its key."""
        texts = []
        while stream:
            end = 5 + int.from_bytes(stream[3:5])
            kind, content = self._theirs.open(stream[:end])
            stream = stream[end:]
            if kind == TEXT:
                texts.append(content)
            else:
                assert content == KEY_UPDATE + b"\x00", content
                self.updates += 1
                self._theirs.update()
        return texts
