"""The HTTPS door's side of HTTP/1.1: Twisted's, with an end to every connection that is to be closed."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Site

from simple_im.limits import HTTP_IDLE
from simple_im.web.request import BoundedRequest
from simple_im.web.upload import Uploads


class Channel(HTTPChannel):
    """One connection. Closing waits for the peer, so a peer that never answers the close is cut off in the end."""

    transport: Any
    callLater: Any
    _cut: IDelayedCall | None = None

    def refuse(self, answer: bytes) -> None:
        """Answer a request in the middle of its body, and take no more from this connection."""
        if self._cut is None:
            self.transport.write(answer)
            self.loseConnection()

    def allContentReceived(self) -> None:
        """A request has come to its end; one that was refused before has its answer."""
        if self._cut is None:
            HTTPChannel.allContentReceived(self)

    def dataReceived(self, data: bytes) -> None:
        """Take what comes until the connection is to be closed."""
        if self._cut is None:
            HTTPChannel.dataReceived(self, data)

    def loseConnection(self) -> None:
        """Close when what was written is gone, at the latest after `limits.HTTP_IDLE` seconds."""
        if self._cut is None:
            self._cut = self.callLater(HTTP_IDLE, self.transport.abortConnection)
            HTTPChannel.loseConnection(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave no timer behind."""
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        HTTPChannel.connectionLost(self, reason)


class QuietSite(Site):
    """A site without an access log: paths hold phone numbers, and what goes wrong is logged where it does."""

    noisy = False
    displayTracebacks = False
    # Annotated as a proxy around a channel; a channel itself does.
    protocol = Channel  # type: ignore[assignment]

    def __init__(self, root: Resource, reactor: Any, uploads: Uploads | None = None) -> None:
        self.uploads = uploads
        Site.__init__(self, root, requestFactory=BoundedRequest, timeout=HTTP_IDLE, reactor=reactor)

    def log(self, request: object) -> None:
        """Write nothing."""
