"""TLS that does no more for a record than it has to: most records here are one short message.

Twisted's protocol asks OpenSSL for plain text until there is no more, and then whether there is anything to send. Each
of those two answers is an exception, and together they take about as long as the rest of what it does for a short
record. How many records have come can be read off their headers, so nothing is asked for in vain.
"""

from __future__ import annotations

from typing import Final

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from simple_im.limits import RECORD_SIZE

_HEADER: Final = 5
"""A type, a version, and the length of what follows (RFC 8446, section 5.1); the same in every version."""


class RecordCounter:
    """Follows the headers of the records in a stream."""

    __slots__ = ("_begun", "_missing")

    def __init__(self) -> None:
        self._begun = b""
        self._missing = 0

    def feed(self, data: bytes) -> int:
        """Take what comes next; how many records it completes."""
        if self._begun:
            data, self._begun = self._begun + data, b""
        place, size, complete = self._missing, len(data), 0
        if place > size:
            self._missing -= size
            return 0
        if place:
            complete = 1
        while size - place >= _HEADER:
            end = place + _HEADER + (data[place + 3] << 8 | data[place + 4])
            if end > size:
                self._missing = end - size
                return complete
            place = end
            complete += 1
        self._begun, self._missing = data[place:], 0
        return complete


class RecordTLS(TLSMemoryBIOProtocol):
    """One connection; its protocol gets each record in a call of its own."""

    def __init__(self, factory: object, protocol: object, connect: bool = True) -> None:
        super().__init__(factory, protocol, connect)  # type: ignore[no-untyped-call]
        self._counter = RecordCounter()

    def dataReceived(self, data: bytes) -> None:
        """Take what the transport has read. What is out of the ordinary goes Twisted's way."""
        complete = self._counter.feed(data)
        if self._handshakeDone and not self._appSendBuffer:
            self._tlsConnection.bio_write(data)
            self._receive(complete)
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def _receive(self, complete: int) -> None:
        """Hand on so many records. One that holds no plain text may have OpenSSL answer it."""
        for _ in range(complete):
            if self._lostTLSConnection:
                return
            try:
                text = self._tlsConnection.recv(RECORD_SIZE)
            except WantReadError:
                break
            except ZeroReturnError:
                self._flushReceiveBIO()  # type: ignore[no-untyped-call]
                return
            except Error:
                self._tlsShutdownFinished(Failure())  # type: ignore[no-untyped-call]
                break
            if not self._aborted:
                self.wrappedProtocol.dataReceived(text)
        else:
            return
        self._flushSendBIO()  # type: ignore[no-untyped-call]
