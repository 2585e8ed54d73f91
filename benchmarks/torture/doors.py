"""The server's two doors as a client finds them: frames on one, requests on the other. Nothing is tried twice here."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import tomli

PATIENCE: Final = 20.0
"""Seconds that the server may take for anything before it counts as gone; it is stopped for shorter times."""
GONE: Final = (OSError, EOFError, TimeoutError, ssl.SSLError)
"""What a connection ends with when the server is killed."""
_NO_LINGER: Final = struct.pack("ii", 1, 0)

_HEADER: Final = re.compile(r"^(?=\[\[)", re.MULTILINE)

Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Address:
    """Where a server's doors are, and what they are believed by."""

    http_port: int
    im_port: int
    tls: ssl.SSLContext


def entry(table: str, **keys: object) -> bytes:
    """A frame of one entry; a nested dict becomes a table within it."""
    lines = [f"[[{table}]]"]
    for key, value in keys.items():
        if isinstance(value, dict):
            lines += [f"[{table}.{key}]", *_lines(value)]
        else:
            lines += _lines({key: value})
    return "\n".join([*lines, "\n"]).encode()


def _lines(keys: Mapping[str, object]) -> list[str]:
    # JSON's strings, integers and booleans are TOML's.
    return [f"{key} = {json.dumps(value)}" for key, value in keys.items()]


def rows(text: str) -> Iterator[Row]:
    """The entries of a document in the order in which they are written, which a TOML parser loses.

    The server writes no line break within a string, so a line that begins with `[[` is a header.
    """
    for part in _HEADER.split(text):
        for table, found in tomli.loads(part).items() if part else ():
            yield table, found[0]


class ImDoor:
    """A connection to the IM door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: Address) -> ImDoor:
        """Connect; raises one of `GONE`."""
        opening = asyncio.open_connection("127.0.0.1", address.im_port, ssl=address.tls, server_hostname="localhost")
        async with asyncio.timeout(PATIENCE):
            return cls(*await opening)

    async def write(self, *frames: bytes) -> None:
        """Write these bytes."""
        self._writer.write(b"".join(frames))
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()

    async def receive(self) -> list[Row]:
        """The entries of the next frame; raises one of `GONE`."""
        frame = await self._reader.readuntil(b"\n\n")
        return list(rows(frame.decode()))

    async def expect(self) -> list[Row]:
        """`receive` where something has to come soon."""
        async with asyncio.timeout(PATIENCE):
            return await self.receive()

    def close(self) -> None:
        """Close as TLS wants it, and do not wait for the other side."""
        self._writer.close()

    def cut(self) -> None:
        """Be gone, with a TCP reset."""
        if not self._writer.transport.is_closing():
            raw: socket.socket = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._writer.transport.abort()

    def fall_silent(self) -> None:
        """Vanish without a FIN: read nothing and say nothing from now on, with the connection open."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]


def read_slowly(address: Address, first: bytes, count: int) -> None:
    """Connect, write, and read a byte a second, with as small a buffer as the system gives; this blocks."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", address.im_port))
        with address.tls.wrap_socket(sock, server_hostname="localhost") as secure:
            secure.sendall(first)
            for _ in range(count):
                secure.recv(1)
                time.sleep(1)


@dataclass(frozen=True)
class Reply:
    """The answer to a request."""

    status: int
    body: bytes

    @property
    def rows(self) -> list[Row]:
        """The answer's entries."""
        return list(rows(self.body.decode()))

    @property
    def response(self) -> dict[str, Any]:
        """Its `[[response]]`."""
        return next(row for table, row in self.rows if table == "response")


async def request(
    address: Address, method: str, path: str, token: str = "", form: Mapping[str, object] | None = None
) -> Reply:
    """One request with a form; raises one of `GONE` where no whole answer comes."""
    body = urlencode(form or {}, doseq=True).encode()
    return await send_request(address, method, path, token, "application/x-www-form-urlencoded", body)


async def post_file(address: Address, path: str, token: str, kind: str, content: bytes, **form: object) -> Reply:
    """One upload."""
    boundary = "torture"
    fields = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form.items()
    )
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{kind}"; filename="f"\r\n\r\n'
    body = fields.encode() + head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return await send_request(address, "POST", path, token, f"multipart/form-data; boundary={boundary}", body)


async def send_request(address: Address, method: str, path: str, token: str, kind: str, body: bytes) -> Reply:
    """One request, on a connection of its own."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: token={token}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", address.http_port, ssl=address.tls, server_hostname="localhost"
        )
        try:
            writer.write(head.encode() + body)
            return await _read_reply(reader)
        finally:
            writer.transport.abort()


async def _read_reply(reader: asyncio.StreamReader) -> Reply:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    return Reply(int(status.split()[1]), await reader.readexactly(int(headers["content-length"])))
