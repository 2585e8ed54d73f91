"""TOML in and out: entries in the order in which they are written, strings as this server writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import tomli
import tomli_w

from simple_im.limits import NESTING
from simple_im.wire.scan import TooDeep, entry_order

_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**63 - 1
_ESCAPED_QUOTE: Final = re.compile(rb'\\(?:(")|.)', re.DOTALL)


class NotToml(ValueError):
    """The text is no TOML 1.0 document of array-of-tables entries; the message says what and where."""


class Written(NamedTuple):
    """An entry as bytes, in two parts: keys of the entry itself may be added between them."""

    head: bytes
    tail: bytes


def read_entries(frame: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The table name and the keys of each entry in `frame`, in written order; raises `NotToml`."""
    text = _decode(frame)
    try:
        order = [_name(header) for header in entry_order(text)]
        document = tomli.loads(text)
        _check_values(document)
    except (ValueError, RecursionError) as error:
        raise NotToml(_one_line(f"not TOML: {error}")) from None
    return _in_order(document, order)


def _decode(frame: bytes) -> str:
    try:
        return frame.decode()
    except UnicodeDecodeError as error:
        raise NotToml(f"not UTF-8 (at byte {error.start})") from None


def _name(header: str) -> str:
    """The name in a header's brackets; a quoted one is read as TOML reads it."""
    if header[:1] in "\"'":
        return str(next(iter(tomli.loads(f"{header} = 0"))))
    return header


def _one_line(message: str) -> str:
    return " ".join(message.replace('"', "'").split())[:200]


def _check_values(value: object, depth: int = 0) -> None:
    """Refuse integers that are none in TOML, which promises 64 bits, and what nests too deep to be written."""
    if type(value) is int and not _INTEGER_MIN <= value <= _INTEGER_MAX:
        raise ValueError("an integer does not fit in 64 bits")
    if depth > NESTING:
        raise TooDeep(f"nested more than {NESTING} levels deep")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_values(item, depth + 1)


def _in_order(document: dict[str, Any], order: list[str]) -> list[tuple[str, dict[str, Any]]]:
    for name, value in document.items():
        if not isinstance(value, list) or len(value) != order.count(name):
            raise NotToml(_one_line(f"{name[:64]} must be an entry: [[{name[:64]}]]"))
    if not order:
        raise NotToml("no entry in the frame")
    waiting = {name: iter(value) for name, value in document.items()}
    return [(name, next(waiting[name])) for name in order]


def write_entry(table: str, keys: Mapping[str, Any]) -> Written:
    """Write one entry without its blank line: the header and plain keys, then the tables within it.

    Strings are written with escapes, never as multi-line strings, so no line of it is blank.
    """
    lines = tomli_w.dumps({table: dict(keys)}).replace("\n\n", "\n")
    body = lines.removeprefix(f"[{table}]\n").encode()
    at = 0 if body.startswith(b"[") else body.find(b"\n[") + 1
    head, tail = (body[:at], body[at:]) if at or body.startswith(b"[") else (body, b"")
    return Written(b"[[%b]]\n%b" % (table.encode(), head), tail)


def quote(text: str) -> bytes:
    """The inside of the basic string that stands for `text`: what goes between the quotes."""
    return tomli_w.dumps({"x": text})[len('x = "') : -len('"\n')].encode()


def without_escaped_quotes(entry: bytes) -> bytes:
    """The same TOML with `\\u0022` for every `\\"`, for readers that take any quote for a string's end."""
    if b'\\"' not in entry:
        return entry
    return _ESCAPED_QUOTE.sub(lambda match: b"\\u0022" if match[1] else match[0], entry)

