"""From an answer to bytes, in the form that its request asked for."""

from __future__ import annotations

import gzip
from typing import Any, Final, NamedTuple

from twisted.internet.threads import deferToThread
from twisted.web.server import Request

from simple_im.web.document import JSON, TOML, Answer, preferences, preferred, to_json, to_toml

_IN_THREAD: Final = 65_536
"""From so many bytes on, a document is written and packed in a thread."""
_ROWS_IN_THREAD: Final = 100
"""The same for rows of tables."""
_HEADERS: Final = {
    "Vary": "Accept, Accept-Encoding",
    "Server": "simple_im",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Encoded(NamedTuple):
    """A body, and the headers that say what it is."""

    body: bytes
    headers: dict[str, str]


async def encode(request: Request, answer: Answer) -> Encoded:
    """The answer as its request wants it; a large one is made in a thread."""
    rows = sum(map(len, answer.tables.values()))
    if sum(map(len, answer.entries)) <= _IN_THREAD and rows <= _ROWS_IN_THREAD:
        return encode_now(request, answer)
    encoded: Encoded = await deferToThread(encode_now, request, answer)
    return encoded


def encode_now(request: Request, answer: Answer) -> Encoded:
    """`encode` for an answer that is small, or in a thread."""
    media_type, body = _written(request, answer)
    headers = {"Content-Type": f"{media_type}; charset=utf-8", **_HEADERS}
    if not _takes_gzip(request):
        return Encoded(body, headers)
    return Encoded(gzip.compress(body, 5), {**headers, "Content-Encoding": "gzip"})


def _written(request: Request, answer: Answer) -> tuple[str, bytes]:
    if answer.text:
        return "text/plain", answer.text.encode()
    if preferred(_header(request, b"accept")) == JSON:
        return JSON, to_json(answer)
    return TOML, to_toml(answer)


def _takes_gzip(request: Request) -> bool:
    return preferences(_header(request, b"accept-encoding")).get("gzip", 0.0) > 0


def _header(request: Request, name: bytes) -> str:
    """A header's value; whatever bytes a client may put there, it is text."""
    value: Any = request.getHeader(name)
    return value.decode("latin-1") if isinstance(value, bytes) else ""
