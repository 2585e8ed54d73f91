"""Clients of both doors that send what they are given and show what comes, byte for byte."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPSConnection
from typing import Final

from tests.integration.node import PATIENCE, Node


def trusting(node: Node) -> ssl.SSLContext:
    """TLS that trusts the node's own authority and no other."""
    return ssl.create_default_context(cafile=str(node.ca))


PICTURE: Final = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")
"""A GIF of one pixel."""
PICTURE_SHOWN: Final = "(the bytes of cat.gif)"
"""What documents have in its place."""


def ask(node: Node, method: str, path: str, body: str, headers: Mapping[str, str]) -> str:
    """One request to the HTTPS door, and the whole answer to it."""
    sent = body.encode().replace(PICTURE_SHOWN.encode(), PICTURE)
    connection = HTTPSConnection("localhost", node.http_port, timeout=PATIENCE, context=trusting(node))
    with contextlib.closing(connection):
        connection.request(method, path, sent or None, dict(headers))
        answer = connection.getresponse()
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *map(": ".join, answer.getheaders())]
        shown = answer.read().replace(PICTURE, PICTURE_SHOWN.encode())
        return "\n".join([*lines, "", shown.decode()])


class Client:
    """One connection to the IM door."""

    def __init__(self, node: Node) -> None:
        plain = socket.create_connection(("127.0.0.1", node.im_port), PATIENCE)
        self._socket = trusting(node).wrap_socket(plain, server_hostname="localhost")
        self._text = ""

    def send(self, text: str) -> None:
        """Send `text`: up to 16 KiB of it are one TLS record."""
        self._socket.sendall(text.encode())

    def entries(self, count: int) -> str:
        """The next `count` entries, blank lines included; fewer where the server closes before."""
        pattern = re.compile(rf"(?:.*?\n\n){{{count}}}", re.DOTALL)
        while (match := pattern.match(self._text)) is None and (data := self._socket.recv(65_536)):
            self._text += data.decode()
        end = match.end() if match else len(self._text)
        taken, self._text = self._text[:end], self._text[end:]
        return taken

    def rest(self) -> str:
        """All that comes until the server closes."""
        while data := self._socket.recv(65_536):
            self._text += data.decode()
        return self._text

    def close(self) -> None:
        """Go away."""
        self._socket.close()
