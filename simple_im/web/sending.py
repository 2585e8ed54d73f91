"""Writing an answer to its last byte, and knowing that it was."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.task import deferLater
from twisted.web.server import Request

from simple_im.limits import HTTP_IDLE
from simple_im.transport import buffered_bytes

_LOOK_AGAIN: Final = 0.02
"""Seconds between looks at what the transport still holds."""
_LOOKS: Final = int(HTTP_IDLE / _LOOK_AGAIN)


async def send_all(request: Request, body: bytes, gone: list[object]) -> bool:
    """Write `body` and finish; whether the kernel has taken all of it.

    `gone` is empty as long as the connection is there. A reader that takes nothing for `limits.HTTP_IDLE` seconds
    is cut off.
    """
    request.setHeader("Content-Length", str(len(body)))
    request.write(body)
    await _drained(request, gone)
    if gone:
        return False
    request.finish()
    return True


async def _drained(request: Request, gone: list[object]) -> None:
    site: Any = request.site
    channel: Any = request.channel
    left, looks = buffered_bytes(channel.transport), 0
    while left and not gone:
        await deferLater(site.reactor, _LOOK_AGAIN)
        before, left = left, 0 if gone else buffered_bytes(channel.transport)
        looks = 0 if left < before else looks + 1
        if looks > _LOOKS:
            channel.forceAbortClient()
            looks = 0
