"""Writing an answer to its last byte, and knowing that it was."""

from __future__ import annotations

from typing import Any

from twisted.web.server import Request

from simple_im.limits import HTTP_IDLE
from simple_im.transport import DrainServer, below_tls, buffered_bytes


async def send_all(request: Request, body: bytes, gone: list[object]) -> bool:
    """Write `body` and finish; whether the kernel has taken all of it.

    `gone` is empty as long as the connection is there. A reader that takes nothing for `limits.HTTP_IDLE` seconds
    is cut off.
    """
    request.setHeader("Content-Length", str(len(body)))
    request.write(body)
    await drained(request, gone)
    if gone:
        return False
    request.finish()
    return True


async def drained(request: Request, gone: list[object]) -> None:
    """Return when the kernel has taken all that was written, or the connection is gone."""
    site: Any = request.site
    channel: Any = request.channel
    transport = below_tls(channel.transport)
    while not gone and isinstance(transport, DrainServer) and (left := buffered_bytes(transport)):
        waiting = transport.when_drained()
        waiting.addTimeout(HTTP_IDLE, site.reactor, onTimeoutCancel=lambda _result, _timeout: None)
        await waiting
        if not gone and buffered_bytes(transport) >= left:
            channel.forceAbortClient()
