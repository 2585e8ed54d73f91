"""What Twisted itself takes: a TLS relay that does nothing but look up where a message goes.

`python -m benchmarks.load.floor DIRECTORY` listens on a port of its own choice, with certificates in DIRECTORY, and
prints the port. It speaks as much of the IM door's protocol as the load needs: whoever signs in is believed; what one
read has brought becomes one write to each recipient and one to the sender, as in simple_im; nothing is stored.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from benchmarks.load.trouble import BenchError
from benchmarks.node import ROOT
from simple_im import tls

_START_PATIENCE: Final = 30.0
_STOP_PATIENCE: Final = 10.0
_BACKLOG: Final = 1_024
_LOGIN: Final = re.compile(rb'\[\[r\]\]\nid = "([^"]*)"\n.*^id = (\d+)\n', re.DOTALL | re.MULTILINE)
_MESSAGE: Final = re.compile(rb'\[\[m\]\]\nid = "([^"]*)"\nt = "text"\nc = "[^"]*"\nto = (\d+)\n')

_STAMPED: Final = b"%b\nfrom = %d\nts = 1700000000\nseq = 4294967297\n\n"


class Relay(Protocol):
    """One connection; `there` is where all of them are, by user."""

    transport: Any

    def __init__(self, there: dict[int, Relay]) -> None:
        self._there = there
        self._user = 0
        self._rest = b""

    def connectionMade(self) -> None:
        """Send small writes at once."""
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """Pass on what is for others."""
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        out: defaultdict[Relay, list[bytes]] = defaultdict(list)
        for frame in frames:
            self._take(frame, out)
        for relay, gathered in out.items():
            relay.transport.write(b"".join(gathered))

    def _take(self, frame: bytes, out: defaultdict[Relay, list[bytes]]) -> None:
        message = _MESSAGE.match(frame)
        if message is not None:
            name, to = message.groups()
            out[self._there[int(to)]].append(_STAMPED % (frame, self._user))
            out[self].append(b'[[a]]\nid = "%b"\n\n' % name)
        elif (login := _LOGIN.match(frame)) is not None:
            self._user = int(login[2])
            self._there[self._user] = self
            out[self].append(b'[[rr]]\nid = "%b"\ns = 0\n\n' % login[1])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be found no more."""
        if self._there.get(self._user) is self:
            del self._there[self._user]


class RelayFactory(Factory):
    """Makes relays of a kind, that know each other."""

    noisy = False

    def __init__(self, kind: type[Relay]) -> None:
        self._kind = kind
        self._there: dict[int, Relay] = {}

    def buildProtocol(self, _address: object) -> Relay:
        """One for a new connection."""
        return self._kind(self._there)


class _UnbufferedTLS(TLSMemoryBIOFactory):
    """Twisted's TLS as it is, but for its delay of small writes."""

    protocol = TLSMemoryBIOProtocol


@implementer(IOpenSSLServerConnectionCreator)
class _Connections:
    """The server's side of TLS connections, set as simple_im sets it where that matters to how fast it is."""

    def __init__(self, directory: Path) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        self._context.use_certificate_chain_file(str(directory / tls.CERTIFICATE))
        self._context.use_privatekey_file(str(directory / tls.KEY))

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One more."""
        return SSL.Connection(self._context, None)


def main(relay: type[Relay] = Relay) -> None:
    """Run until SIGTERM."""
    from twisted.internet import reactor as found

    reactor: Any = found
    directory = Path(sys.argv[1])
    tls.ensure_certificates(directory, None, datetime.now(UTC))
    factory = _UnbufferedTLS(_Connections(directory), False, RelayFactory(relay), reactor)
    port = reactor.listenTCP(0, factory, _BACKLOG, "127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


@contextlib.contextmanager
def relaying(directory: Path, module: str = "benchmarks.load.floor") -> Iterator[tuple[int, int]]:
    """A relay that runs, for as long as this lasts: its port and its process id. `module` calls `main`."""
    command = [sys.executable, "-m", module, str(directory)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, start_new_session=True)
    try:
        yield _port(process), process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _port(process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + _START_PATIENCE
    while process.stdout is not None and time.monotonic() < end and process.poll() is None:
        if select.select([process.stdout], [], [], 0.1)[0]:
            line = process.stdout.readline()
            if line:
                return int(line)
    raise BenchError("the relay did not start")


if __name__ == "__main__":
    main()
