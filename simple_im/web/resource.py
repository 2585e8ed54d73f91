"""From a coroutine to an answer: every request goes through here, and so does everything that goes wrong."""

from __future__ import annotations

import gzip
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from simple_im.status import MethodNotAllowed, NotFound, Refused, TooLarge, UnknownError
from simple_im.web.document import JSON, Answer, preferences, preferred, refusal, to_json, to_toml
from simple_im.web.request import BoundedRequest, Call
from simple_im.web.sending import send_all

Handler = Callable[..., Awaitable[Answer]]
_IN_THREAD: Final = 65_536
"""From so many bytes on, a document is written and packed in a thread."""
_WORTH_PACKING: Final = 1_024

log = Logger()


class Endpoint(Resource):
    """One path: a handler a method, called with the `Call` and the path's parameters."""

    def __init__(self, methods: Mapping[str, Handler], *parameters: str) -> None:
        Resource.__init__(self)
        self._methods = methods
        self._parameters = parameters

    def getChild(self, path: bytes, request: Request) -> Resource:
        """There is nothing below."""
        return Missing()

    def render(self, request: Request) -> int:
        """Answer when the handler has; the connection may be gone by then."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        answering = Deferred.fromCoroutine(self._answer(request, gone))
        answering.addErrback(lambda failure: log.failure("an answer could not be sent", failure))
        return NOT_DONE_YET

    async def _answer(self, request: Request, gone: list[object]) -> None:
        answer = await self._result(request)
        body, headers = await _written(request, answer)
        if gone:
            return
        request.setResponseCode(answer.http)
        for name, value in {**headers, **answer.headers}.items():
            request.setHeader(name, value)
        is_sent = await send_all(request, body, gone)
        if is_sent and answer.when_sent is not None and request.method != b"HEAD":
            answer.when_sent()

    async def _result(self, request: Request) -> Answer:
        try:
            return await self._handler(request)(Call(request), *self._parameters)
        except Refused as refused:
            return refusal(refused)
        except Exception:
            error = secrets.token_hex(4)
            log.failure("error {error}: a request failed", error=error)
            return refusal(UnknownError(), error=error)

    def _handler(self, request: Request) -> Handler:
        method = request.method.decode("ascii", "replace")
        if isinstance(request, BoundedRequest) and request.is_too_large:
            raise TooLarge()
        if method == "OPTIONS":
            return self._options
        handler = self._methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise MethodNotAllowed(self._allowed())
        return handler

    async def _options(self, _call: Call, *_parameters: str) -> Answer:
        return Answer(headers={"Allow": self._allowed()})

    def _allowed(self) -> str:
        names = {*self._methods, "OPTIONS"} | ({"HEAD"} if "GET" in self._methods else set())
        return ", ".join(sorted(names))


class Missing(Endpoint):
    """A path where there is nothing, by any method."""

    def __init__(self) -> None:
        super().__init__({})

    def _handler(self, request: Request) -> Handler:
        raise NotFound()


class Folder(Resource):
    """A path that has others below it, and nothing itself."""

    def __init__(self) -> None:
        Resource.__init__(self)

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Any other path."""
        return Missing()

    def render(self, request: Request) -> int:
        """There is nothing here itself."""
        return Missing().render(request)


class Parameter(Folder):
    """A path whose next part is a parameter: `/user/id/N`."""

    def __init__(self, methods: Mapping[str, Handler]) -> None:
        super().__init__()
        self._methods = methods

    def getChild(self, path: bytes, request: Request) -> Resource:
        """The endpoint for this parameter."""
        try:
            return Endpoint(self._methods, path.decode()) if path else Missing()
        except UnicodeDecodeError:
            return Missing()


async def _written(request: Request, answer: Answer) -> tuple[bytes, dict[str, str]]:
    """The body in the form that the request asked for, and the headers that say so."""
    media_type = preferred(_header(request, "accept"))
    packed = preferences(_header(request, "accept-encoding")).get("gzip", 0.0) > 0
    if sum(map(len, answer.entries)) > _IN_THREAD:
        body: bytes = await deferToThread(_document, answer, media_type, packed)
    else:
        body = _document(answer, media_type, packed)
    headers = {"Content-Type": f"{media_type}; charset=utf-8", "Vary": "Accept, Accept-Encoding", "Server": "simple_im"}
    if body.startswith(b"\x1f\x8b"):
        headers["Content-Encoding"] = "gzip"
    return body, {**headers, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _document(answer: Answer, media_type: str, packed: bool) -> bytes:
    body = to_json(answer) if media_type == JSON else to_toml(answer)
    return gzip.compress(body, 5) if packed and len(body) >= _WORTH_PACKING else body


def _header(request: Request, name: str) -> str:
    value: Any = request.getHeader(name)
    return value if isinstance(value, str) else ""

