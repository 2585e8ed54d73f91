"""The documents that the HTTPS door answers with: TOML, or the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from math import isfinite
from typing import Any, Final

import tomli
import tomli_w
from twisted.web.server import Request

from simple_im.status import Refused

TOML: Final = "application/toml"
JSON: Final = "application/json"


@dataclass(slots=True)
class Answer:
    """What a request is answered with.

    `response` goes into `[[response]]` behind the status, `tables` are rows by table name, and `entries` are inbox
    entries as they are on the wire. `text` is plain text in place of all that.
    """

    response: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    entries: list[bytes] = field(default_factory=list)
    text: str = ""
    http: int = 200
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    writer: Callable[[Request, list[object]], Awaitable[None]] | None = None
    """Writes the whole answer, where that is no document; its second argument is empty while it can be written."""
    when_sent: Callable[[], None] | None = None
    """Called when the last byte of it is written, if it is."""


def refusal(refused: Refused, **more: str) -> Answer:
    """The answer that says no: `r` is the reason, and `reason` repeats it for the original's clients."""
    response = {"r": refused.reason, "reason": refused.reason, **more}
    return Answer(response, http=refused.http, status=refused.status, headers=refused.headers)


def to_toml(answer: Answer) -> bytes:
    """The answer as a TOML document that begins with `[[response]]`."""
    rows = [("response", {"status": answer.status, **answer.response})]
    rows += [(table, row) for table, found in answer.tables.items() for row in found]
    written = "".join(_row(table, row) for table, row in rows)
    return written.encode() + b"".join(entry.removesuffix(b"\n") for entry in answer.entries)


def _row(table: str, row: dict[str, Any]) -> str:
    """One `[[table]]`, without the blank lines that the library puts between tables."""
    header, lines = tomli_w.dumps({table: row}).replace("\n\n", "\n").split("\n", 1)
    return f"[{header}]\n{lines}"


def to_json(answer: Answer) -> bytes:
    """The same document as JSON: a list of objects a table."""
    document = _plain(tomli.loads(to_toml(answer).decode()))
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    """The same with strings for what TOML has and JSON has not: times, and numbers that are none or have no end."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case datetime() | date() | time():
            return value.isoformat()
        case float() if not isfinite(value):
            return str(value)
        case _:
            return value


def preferred(accept: str) -> str:
    """The media type for an `Accept` header: JSON only where it is asked for and liked more than TOML."""
    likes = preferences(accept)
    return JSON if likes.get(JSON, 0.0) > likes.get(TOML, 0.0) else TOML


def preferences(header: str) -> dict[str, float]:
    """What an `Accept` or `Accept-Encoding` header names, and how much each is liked (`q`)."""
    return dict(_preference(part) for part in header.lower().split(",") if part.strip())


def _preference(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip() for piece in part.split(";"))
    quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 0.0
