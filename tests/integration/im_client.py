"""A client of the IM door that blocks, and shows what comes as it comes."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMEOUT = 30.0
"""Seconds to wait for what has to come."""

Entry = tuple[str, dict[str, Any]]


def entry(table: str, **keys: object) -> str:
    """A frame of one entry; nested dicts become tables within it."""
    plain = {key: value for key, value in keys.items() if not isinstance(value, dict)}
    nested = {key: value for key, value in keys.items() if isinstance(value, dict)}
    lines = [f"[[{table}]]", *_lines(plain)]
    for name, value in nested.items():
        lines += [f"[{table}.{name}]", *_lines(value)]
    return "\n".join(lines) + "\n\n"


def _lines(keys: dict[str, Any]) -> list[str]:
    # JSON's strings, integers and booleans are TOML's.
    return [f"{key} = {json.dumps(value)}" for key, value in keys.items()]


def connect(port: int, receive_buffer: int | None = None) -> socket.socket:
    """A TCP connection to the node; `receive_buffer` bytes are all that the kernel takes for it."""
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(TIMEOUT)
    sock.connect(("127.0.0.1", port))
    return sock


class ImClient:
    """One connection. What it has received and nobody has asked for yet waits in `_buffer`."""

    def __init__(self, port: int, ca: Path, receive_buffer: int | None = None) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        self._socket = context.wrap_socket(connect(port, receive_buffer), server_hostname="localhost")
        self._buffer = b""
        self._ended = False
        self._logins = 0

    # Sending.

    def send(self, *frames: str | bytes) -> None:
        """Send all of it at once."""
        self._socket.sendall(b"".join(f.encode() if isinstance(f, str) else f for f in frames))

    def send_message(self, to: int, id_: str, c: str = "hello", **keys: object) -> None:
        """Send an `[[m]]` and wait for nothing."""
        self.send(entry("m", id=id_, t="text", c=c, to=to, **keys))

    def message(self, to: int, id_: str, c: str = "hello", **keys: object) -> None:
        """Send an `[[m]]` and see it acknowledged."""
        self.send_message(to, id_, c, **keys)
        self.expect("a", id=id_)

    def acknowledge(self, id_: str) -> None:
        """Send an `[[a]]` with an id."""
        self.send(entry("a", id=id_))

    def acknowledge_to(self, seq: int) -> None:
        """Send an `[[a]]` with a seq."""
        self.send(entry("a", seq=seq))

    def login(self, user: int, device: str, token: str) -> None:
        """Sign in, and see that it is done."""
        self._logins += 1
        id_ = f"login-{self._logins}"
        self.send(entry("r", id=id_, t="login", user={"id": user, "d": device, "token": token}))
        self.expect("rr", id=id_, s=0)

    def ping(self) -> None:
        """A round trip: all that was sent before has been taken, as frames are taken in order."""
        self.send(entry("r", id="ping", t="ping"))

    # Receiving.

    def receive(self) -> Entry:
        """The next entry."""
        found = self.receive_or_end()
        if found is None:
            raise EOFError("the server has closed")
        return found

    def receive_or_end(self) -> Entry | None:
        """The next entry, or None where the server has closed instead."""
        while b"\n\n" not in self._buffer:
            if not self._read():
                return None
        frame, self._buffer = self._buffer.split(b"\n\n", 1)
        ((table, rows),) = tomllib.loads(frame.decode()).items()
        return table, rows[0]

    def receive_all(self, count: int) -> list[dict[str, Any]]:
        """The next `count` entries, whatever their tables."""
        return [self.receive()[1] for _ in range(count)]

    def rest(self) -> list[Entry]:
        """All that comes until the server closes."""
        return list(iter(self.receive_or_end, None))

    def expect(self, table: str, **keys: object) -> dict[str, Any]:
        """The next entry, which has to be of this table and have these keys."""
        found_table, found = self.receive()
        shown = {key: found.get(key) for key in keys}
        if (found_table, shown) != (table, keys):
            raise AssertionError(f"[[{found_table}]] {found} is not [[{table}]] {keys}")
        return found

    def records(self) -> Iterator[bytes]:
        """What comes, by TLS records, until the server closes."""
        while record := self._socket.recv(16_384):
            yield record

    def read_some(self, size: int) -> int:
        """Read up to `size` bytes and keep them for later; how many it were."""
        return self._read(size)

    def _read(self, size: int = 65_536) -> int:
        try:
            data = b"" if self._ended else self._socket.recv(size)
        except (ConnectionError, ssl.SSLError):
            data = b""
        self._ended = not data
        self._buffer += data
        return len(data)

    def set_timeout(self, seconds: float) -> None:
        """How long to wait for the server to take or to give something."""
        self._socket.settimeout(seconds)

    # The end.

    def close(self) -> None:
        """Close as a process does that ends."""
        self._socket.close()

    def reset(self) -> None:
        """Be gone without a word."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def compact(table: str, **keys: object) -> str:
    """An entry on one line, as the original's clients write it, without a line end."""
    plain = " ".join(_lines({key: value for key, value in keys.items() if not isinstance(value, dict)}))
    nested = [f"[{table}.{name}] {' '.join(_lines(value))}" for name, value in keys.items() if isinstance(value, dict)]
    return " ".join([f"[[{table}]]", plain, *nested])
