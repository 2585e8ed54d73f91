"""TLS connections that never block, and the loop that they live in: as fast as Python can, for many of them."""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from benchmarks.load.trouble import TookTooLong

_IN: Final = select.EPOLLIN
_BOTH: Final = select.EPOLLIN | select.EPOLLOUT
_RECORD: Final = 16_384
"""The most that one read gives: what a TLS record holds, so that OpenSSL keeps nothing back."""
_TURN: Final = 0.05
"""Seconds after which a condition is looked at again, though nothing has come."""


def client_context() -> ssl.SSLContext:
    """TLS as the clients speak it. The certificate is not verified: that would be the clients' time, not the
    server's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Loop:
    """Tells lines that something has come for them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lines: dict[int, Line] = {}

    def begin(self) -> None:
        """From now on nothing but the lines takes time here."""
        gc.collect()
        gc.disable()

    def add(self, line: Line, descriptor: int) -> None:
        """Have a line be told, for a start when it can be written to."""
        self._lines[descriptor] = line
        self._epoll.register(descriptor, _BOTH)

    def change(self, descriptor: int, writes: bool) -> None:
        """Tell also when it can be written to, or not any more."""
        self._epoll.modify(descriptor, _BOTH if writes else _IN)

    def remove(self, descriptor: int) -> None:
        """Tell no more; before it is closed."""
        if self._lines.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def turn(self, seconds: float) -> None:
        """Wait for something, at most so long, and pass it on."""
        for descriptor, _ in self._epoll.poll(max(seconds, 0)):
            line = self._lines.get(descriptor)
            if line is not None:
                line.happened()

    def run_for(self, seconds: float) -> None:
        """Pass on what comes in this time."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.turn(left)

    def run_until(self, done: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
        """Pass on what comes until it is `done`; raises `TookTooLong` with `what` was waited for."""
        end = time.perf_counter() + seconds
        while not done():
            if time.perf_counter() > end:
                raise TookTooLong(f"{what()} after {seconds:g} s")
            self.turn(_TURN)

    def close(self) -> None:
        """Close all lines, and let the collector go on."""
        gc.enable()
        for line in list(self._lines.values()):
            line.close()
        self._epoll.close()


class Line:
    """One connection to a port of this machine. `opened`, `received` and `lost` are for those who build on it."""

    def __init__(self, loop: Loop, port: int, context: ssl.SSLContext) -> None:
        self._loop = loop
        self._context = context
        self._unsent: deque[bytes] = deque()
        self._tls: ssl.SSLSocket | None = None
        self._greeted = self._closed = False
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed = self._socket.connect_ex(("127.0.0.1", port))
        self._failed = 0 if failed == errno.EINPROGRESS else failed
        loop.add(self, self._socket.fileno())

    def opened(self) -> None:
        """The handshake is done."""

    def received(self, data: bytes) -> None:
        """This has come: what one TLS record held, or a part of it."""

    def lost(self, why: str) -> None:
        """The connection did not come to be, or the server has ended it; not called after `close`."""

    def write(self, data: bytes) -> None:
        """Send this, as soon as that is possible; it goes nowhere where the connection has ended."""
        if self._closed:
            return
        if self._unsent or not self._greeted or self._tls is None:
            self._unsent.append(data)
            return
        try:
            self._tls.send(data)
        except ssl.SSLWantWriteError:
            self._unsent.append(data)
            self._loop.change(self._tls.fileno(), True)
        except OSError as error:
            self._end(error)

    def close(self) -> None:
        """End the connection without a word."""
        self._closed = True
        self._loop.remove(self._socket.fileno() if self._tls is None else self._tls.fileno())
        (self._tls or self._socket).close()

    def happened(self) -> None:
        """The loop has something for this line."""
        try:
            if self._greeted and self._tls is not None:
                self._go_on(self._tls)
            else:
                self._begin()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._end(error)

    def _begin(self) -> None:
        """Connect, or shake hands, as far as that goes now."""
        if self._tls is None:
            failed = self._failed or self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed))
            self._tls = self._context.wrap_socket(self._socket, do_handshake_on_connect=False)
            self._loop.change(self._tls.fileno(), False)
        self._tls.do_handshake()
        self._greeted = True
        if self._unsent:
            self._loop.change(self._tls.fileno(), True)
        self.opened()

    def _go_on(self, tls: ssl.SSLSocket) -> None:
        if self._unsent:
            self._send_on(tls)
        data = tls.recv(_RECORD)
        if data:
            self.received(data)
        else:
            self._end("it was closed")

    def _send_on(self, tls: ssl.SSLSocket) -> None:
        """Send what waits; OpenSSL wants what it has begun to send again as it was."""
        while self._unsent:
            try:
                tls.send(self._unsent[0])
            except ssl.SSLWantWriteError:
                return
            self._unsent.popleft()
        self._loop.change(tls.fileno(), False)

    def _end(self, why: object) -> None:
        self.close()
        self.lost(str(why))
