"""One HTTP request as the resources see it, and the bounds on what it may bring."""

from __future__ import annotations

import re
from functools import cached_property
from io import BytesIO
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.http import RESPONSES, parse_qs
from twisted.web.server import Request

from simple_im.limits import BODY_SIZE
from simple_im.listen import plain_host
from simple_im.status import BadRequest, Refused, TokenError, TooLarge
from simple_im.web.document import refusal
from simple_im.web.encoding import encode_now
from simple_im.web.form import Form
from simple_im.web.upload import Upload, Uploads

_BEARER: Final = re.compile(rb"bearer +([^\s]+) *", re.IGNORECASE)
_FORM: Final = b"application/x-www-form-urlencoded"
_PATIENCE: Final = 16
"""A body of this many times the limit is answered before its end, and the connection closed."""

log = Logger()


class BoundedRequest(Request):
    """A request whose body is kept in memory up to `limits.BODY_SIZE`; the rest is dropped and `is_too_large` set.

    The body of an upload goes to disk as it comes; see `upload`.
    """

    is_too_large = False
    upload: Upload | None = None
    _received = 0
    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        """Prepare for a body; Twisted's own way would put a large one into a file of any size."""
        self.content = BytesIO()
        channel: Any = self.channel
        uploads: Uploads | None = channel.site.uploads
        if uploads is not None:
            content_type = (self.getHeader(b"content-type") or b"").decode("latin-1")
            self.upload = uploads.begin(content_type, token_of(self), channel.transport)
        if self.upload is not None:
            self.notifyFinish().addBoth(self._discard)

    def _discard(self, _result: object = None) -> None:
        assert self.upload is not None
        discarding = Deferred.fromCoroutine(self.upload.discard())
        discarding.addErrback(lambda failure: log.failure("an upload's draft stays behind", failure))

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        self._received += len(data)
        if self.upload is not None:
            self.upload.feed(data)
        elif self._received <= BODY_SIZE:
            Request.handleContentChunk(self, data)
        else:
            self.is_too_large = True
            self.content = BytesIO()
        if self._received > _PATIENCE * BODY_SIZE and not self._is_refused:
            self._refuse_early()

    def _refuse_early(self) -> None:
        """Answer before a large body's end, where it is known what the answer will be."""
        refused = self.upload.error if self.upload is not None else TooLarge()
        if refused is not None:
            self._is_refused = True
            if self.upload is not None:
                self._discard()
            channel: Any = self.channel
            channel.refuse(self._refusal(refused))

    def _refusal(self, refused: Refused) -> bytes:
        encoded = encode_now(self, refusal(refused))
        lines = {**encoded.headers, "Content-Length": str(len(encoded.body)), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (refused.http, RESPONSES[refused.http], head.encode(), encoded.body)


def token_of(request: Request) -> str | None:
    """The token in a request's cookie or `Authorization: Bearer`."""
    header: Any = request.getHeader(b"authorization")
    match = _BEARER.fullmatch(header) if header else None
    token = match[1] if match else request.getCookie(b"token")
    return bytes(token).decode("utf-8", "replace") if token else None


def _parameters(request: Request) -> dict[bytes, list[bytes]]:
    """What `twisted.web` has parsed, and the forms of the methods for which it does not."""
    args = dict(request.args or {})
    content_type: Any = request.getHeader(b"content-type") or b""
    if request.method != b"POST" and content_type.partition(b";")[0].strip().lower() == _FORM:
        content: Any = request.content
        args.update(parse_qs(content.read(), True))
    return args


class Call:
    """What a handler needs of its request."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.upload = request.upload if isinstance(request, BoundedRequest) else None

    @cached_property
    def form(self) -> Form:
        """The parameters; raises `BadRequest` where they came as an upload does."""
        if self.upload is not None:
            raise BadRequest(f"the form must be {_FORM.decode()}")
        return Form(_parameters(self._request))

    @property
    def upload_form(self) -> Form:
        """The fields that came with an upload."""
        return Form(self.upload.fields if self.upload is not None else {})

    @property
    def token(self) -> str:
        """The token; raises `TokenError` where there is none."""
        token = token_of(self._request)
        if token is None:
            raise TokenError()
        return token

    @property
    def reached(self) -> str:
        """The address of ours that the client reached."""
        return plain_host(str(self._request.getHost().host))
