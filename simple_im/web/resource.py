"""From a coroutine to an answer: every request goes through here, and so does everything that goes wrong."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from simple_im.status import MethodNotAllowed, NotFound, Refused, TooLarge, UnknownError
from simple_im.web.document import Answer, refusal
from simple_im.web.encoding import Encoded, encode
from simple_im.web.request import BoundedRequest, Call
from simple_im.web.sending import send_all

Handler = Callable[..., Awaitable[Answer]]

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
        Deferred.fromCoroutine(self._answer(request, gone)).addErrback(_lost)
        return NOT_DONE_YET

    async def _answer(self, request: Request, gone: list[object]) -> None:
        answer, encoded = await self._result(request)
        try:
            await self._send(request, answer, encoded, gone)
        except Exception:
            log.failure("an answer could not be sent")
            if not gone:
                channel: Any = request.channel
                channel.forceAbortClient()

    async def _send(self, request: Request, answer: Answer, encoded: Encoded, gone: list[object]) -> None:
        if answer.writer is not None:
            await answer.writer(request, gone)
        if gone or answer.writer is not None:
            return
        request.setResponseCode(answer.http)
        for name, value in {**encoded.headers, **answer.headers}.items():
            request.setHeader(name, value)
        is_sent = await send_all(request, encoded.body, gone)
        if is_sent and answer.when_sent is not None and request.method != b"HEAD":
            answer.when_sent()

    async def _result(self, request: Request) -> tuple[Answer, Encoded]:
        try:
            answer = await self._handled(request)
            return answer, await encode(request, answer)
        except Exception:
            error = secrets.token_hex(4)
            log.failure("error {error}: a request failed", error=error)
            answer = refusal(UnknownError(), error=error)
            return answer, await encode(request, answer)

    async def _handled(self, request: Request) -> Answer:
        try:
            return await self._handler(request)(Call(request), *self._parameters)
        except Refused as refused:
            return refusal(refused)

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


def _lost(failure: Failure) -> None:
    log.failure("a request was lost", failure)
