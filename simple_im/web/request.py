"""One HTTP request as the resources see it, and the bounds on what it may bring."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, Final

from twisted.web.server import Request

from simple_im.limits import BODY_SIZE
from simple_im.listen import plain_host
from simple_im.status import TokenError, TooLarge
from simple_im.web.document import refusal
from simple_im.web.encoding import encode_now
from simple_im.web.form import Form

_BEARER: Final = re.compile(rb"bearer +([^\s]+) *", re.IGNORECASE)
_PATIENCE: Final = 16
"""A body of this many times the limit is answered before its end, and the connection closed."""


class BoundedRequest(Request):
    """A request whose body is kept in memory up to `limits.BODY_SIZE`; the rest is dropped and `is_too_large` set."""

    is_too_large = False
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Prepare for a body; Twisted's own way would put a large one into a file of any size."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        self._received += len(data)
        if self._received <= BODY_SIZE:
            Request.handleContentChunk(self, data)
            return
        self.is_too_large = True
        self.content = BytesIO()
        if self._received > _PATIENCE * BODY_SIZE:
            self._refuse()

    def _refuse(self) -> None:
        channel: Any = self.channel
        encoded = encode_now(self, refusal(TooLarge()))
        lines = {**encoded.headers, "Content-Length": str(len(encoded.body)), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        channel.refuse(b"HTTP/1.1 413 Content Too Large\r\n%b\r\n%b" % (head.encode(), encoded.body))


class Call:
    """What a handler needs of its request."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.form = Form(request.args or {})

    @property
    def token(self) -> str:
        """The token, from the cookie or from `Authorization: Bearer`; raises `TokenError`."""
        header: Any = self._request.getHeader(b"authorization")
        match = _BEARER.fullmatch(header) if header else None
        token = match[1] if match else self._request.getCookie(b"token")
        if not token:
            raise TokenError()
        return bytes(token).decode("utf-8", "replace")

    @property
    def reached(self) -> str:
        """The address of ours that the client reached."""
        return plain_host(str(self._request.getHost().host))
