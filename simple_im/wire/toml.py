"""TOML in and out: entries in the order in which they are written, strings as this server writes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any, Final, NamedTuple

import tomli

from simple_im.limits import NESTING
from simple_im.wire.scan import TooDeep, entry_order

_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**63 - 1
_TOO_LARGE: Final = "an integer does not fit in 64 bits"
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_UNWRITABLE: Final = re.compile(r'["\\\x00-\x08\x0a-\x1f\x7f]')
_ESCAPES: Final = {"\b": r"\b", "\n": r"\n", "\f": r"\f", "\r": r"\r", '"': r"\"", "\\": r"\\"}
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
        headers = entry_order(text)
        document = _parse(text)
        _check_values(document)
    except (ValueError, RecursionError) as error:
        raise NotToml(_one_line(f"not TOML: {error}")) from None
    return _in_order(document, [_name(header) for header in headers])


def _decode(frame: bytes) -> str:
    try:
        return frame.decode()
    except UnicodeDecodeError as error:
        raise NotToml(f"not UTF-8 (at byte {error.start})") from None


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError:
        raise
    except ValueError:  # Python's own limit on the digits of an integer.
        raise ValueError(_TOO_LARGE) from None


def _name(header: str) -> str:
    """The name in the brackets of a header that is TOML; a quoted one is read as TOML reads it."""
    if header[0] in "\"'":
        return str(next(iter(tomli.loads(f"{header} = 0"))))
    return header


def _one_line(message: str) -> str:
    return " ".join(message.replace('"', "'").split())[:200]


def _check_values(value: object, name: str = "", depth: int = 0) -> None:
    """Refuse integers that are none in TOML, which promises 64 bits, and what nests too deep to be written.

    `name` is the key that the value belongs to, for the message.
    """
    if depth > NESTING:
        raise TooDeep(f"nested more than {NESTING} levels deep")
    if type(value) is int and not _INTEGER_MIN <= value <= _INTEGER_MAX:
        raise ValueError(f"{name[:64]}: {_TOO_LARGE}")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_values(item, key, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_values(item, name, depth + 1)


def _in_order(document: dict[str, Any], order: list[str]) -> list[tuple[str, dict[str, Any]]]:
    counts = Counter(order)
    for name, value in document.items():
        if not isinstance(value, list) or not 0 < len(value) == counts[name]:
            raise NotToml(_one_line(f"{name[:64]} must be an entry: [[{name[:64]}]]"))
    if not order:
        raise NotToml("no entry in the frame")
    waiting = {name: iter(value) for name, value in document.items()}
    return [(name, next(waiting[name])) for name in order]


def write_entry(table: str, keys: Mapping[str, Any]) -> Written:
    """Write one entry without its blank line: the header and plain keys, then the tables within it.

    Every key is on a line of its own with all of its value, so no line is blank, and no name is written more
    often than it was read: what comes out is a small multiple of what came in.
    """
    own = {key: value for key, value in keys.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in keys.items() if isinstance(value, dict)}
    tail = "".join(f"[{table}.{_key(key)}]\n{_lines(value)}" for key, value in tables.items())
    return Written(f"[[{table}]]\n{_lines(own)}".encode(), tail.encode())


def _lines(keys: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in keys.items())


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def _value(value: object) -> str:
    return _WRITE[type(value)](value)


def _string(text: str) -> str:
    return f'"{_UNWRITABLE.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}"


def _array(values: list[Any]) -> str:
    return f"[{', '.join(map(_value, values))}]"


def _inline_table(keys: dict[str, Any]) -> str:
    return f"{{{', '.join(f'{_key(key)} = {_value(value)}' for key, value in keys.items())}}}"


_WRITE: Final[dict[type, Callable[[Any], str]]] = {
    str: _string,
    bool: lambda value: "true" if value else "false",
    int: str,
    float: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    list: _array,
    dict: _inline_table,
}


def quote(text: str) -> bytes:
    """The inside of the basic string that stands for `text`: what goes between the quotes."""
    return _string(text)[1:-1].encode()


def without_escaped_quotes(entry: bytes) -> bytes:
    """The same TOML with `\\u0022` for every `\\"`, for readers that take any quote for a string's end."""
    if b'\\"' not in entry:
        return entry
    return _ESCAPED_QUOTE.sub(lambda match: b"\\u0022" if match[1] else match[0], entry)
