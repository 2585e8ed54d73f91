"""Frames to items and items to frames: what a client may say, and how the server says what it has to.

Strings that identify something (`id`) are kept in the form in which they stand between quotes on the wire, so
that they are compared, stored and written without being read again; see `toml.quote`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from simple_im.limits import ID_SIZE, TYPE_SIZE
from simple_im.wire.compact import to_toml
from simple_im.wire.toml import NotToml, Written, quote, read_entries, without_escaped_quotes, write_entry

_SERVERS_KEYS: Final = ("from", "ts", "seq")
_LOOSE_ID: Final = re.compile(rb"""(?:^|[\s\]])id[ \t]*=[ \t]*(?:"([^"\\\x00-\x1f\x7f]*)"|'([^'\\\x00-\x1f\x7f"]*)')""")
_ADDRESS_KEY: Final = {"m": "to", "n": "to", "gm": "g_id", "gn": "g_id"}


@dataclass(slots=True)
class Request:
    """`[[r]]`: `what` is login, ping or logout; `user` the table within it."""

    id: bytes
    what: str
    user: dict[str, Any]


@dataclass(slots=True)
class Ack:
    """`[[a]]`: the entry with this id, or everything up to this seq."""

    id: bytes | None
    seq: int = 0


@dataclass(slots=True)
class Message:
    """`[[m]]`, `[[gm]]`, `[[n]]` or `[[gn]]` as `table` says, to user or group `to`.

    `head` and `tail` are its bytes with the sending device's `d` in them; what the server adds goes between.
    """

    table: str
    id: bytes
    to: int
    head: bytes
    tail: bytes = b""
    dup: bool = False


@dataclass(slots=True)
class Bad:
    """What could not be taken; `id` where one could be read. `is_login` where it would have been a login."""

    id: bytes | None
    reason: str
    is_login: bool = field(default=False, compare=False)


Item = Request | Ack | Message | Bad


class _Wrong(ValueError):
    """A key is missing or has the wrong type or size; the message says which and how."""


def read(frame: bytes, device: bytes, *, compact: bool = False) -> list[Item]:
    """The items of `frame` in written order, one an entry; a single `Bad` where the frame is not TOML.

    `device` is the (quoted) name that the connection logged in as: `d` whatever the frame says.
    """
    try:
        entries = read_entries(_as_toml(frame) if compact else frame)
    except NotToml as error:
        return [Bad(loose_id(frame), str(error))]
    return [_judge(table, keys, device) for table, keys in entries]


def _as_toml(frame: bytes) -> bytes:
    try:
        return to_toml(frame.decode()).encode()
    except UnicodeDecodeError:
        return frame


def loose_id(frame: bytes) -> bytes | None:
    """The first thing in `frame` that looks like an `id`, though the frame may not be TOML."""
    match = _LOOSE_ID.search(frame)
    if match is None:
        return None
    found = match[1] if match[1] is not None else match[2]
    try:
        return quote(found.decode())
    except UnicodeDecodeError:
        return None


def _judge(table: str, keys: dict[str, Any], device: bytes) -> Item:
    try:
        read_table = _TABLES.get(table)
        if read_table is None:
            raise _Wrong(f"unknown table {_shown(table)}")
        return read_table(table, keys, device)
    except _Wrong as error:
        found = keys.get("id")
        is_login = table == "r" and keys.get("t") == "login"
        return Bad(quote(found) if isinstance(found, str) else None, str(error), is_login)


def _shown(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "?" for c in name[:32])


def _read_request(_table: str, keys: dict[str, Any], _device: bytes) -> Request:
    user = keys.get("user", {})
    if not isinstance(user, dict):
        raise _Wrong("user must be a table")
    return Request(quote(_string(keys, "id", ID_SIZE)), _string(keys, "t", TYPE_SIZE), user)


def _read_ack(_table: str, keys: dict[str, Any], _device: bytes) -> Ack:
    if "id" not in keys and "seq" in keys:
        return Ack(None, _integer(keys, "seq"))
    return Ack(quote(_string(keys, "id", ID_SIZE)))


def _read_message(table: str, keys: dict[str, Any], device: bytes) -> Message:
    id_ = quote(_string(keys, "id", ID_SIZE))
    _string(keys, "t", TYPE_SIZE)
    if table in ("m", "gm"):
        _string(keys, "c", None)
    to = _integer(keys, _ADDRESS_KEY[table])
    dup = keys.get("dup", False)
    if not isinstance(dup, bool):
        raise _Wrong("dup must be a boolean")
    written = _write_message(table, keys, device)
    return Message(table, id_, to, written.head, written.tail, dup)


def _write_message(table: str, keys: dict[str, Any], device: bytes) -> Written:
    """The entry as its recipients get it, but for what the server knows: `from`, `ts` and `seq` are never believed."""
    kept = {key: value for key, value in keys.items() if key not in _SERVERS_KEYS}
    kept["d"] = ""
    written = write_entry(table, kept)
    return Written(written.head.replace(b'\nd = ""\n', b'\nd = "%b"\n' % device, 1), written.tail)


_TABLES: Final[dict[str, Callable[[str, dict[str, Any], bytes], Item]]] = {
    "r": _read_request,
    "a": _read_ack,
    "m": _read_message,
    "gm": _read_message,
    "n": _read_message,
    "gn": _read_message,
}


def _string(keys: dict[str, Any], name: str, size: int | None) -> str:
    """A required string of 1 to `size` UTF-8 bytes, or of any size."""
    if name not in keys:
        raise _Wrong(f"{name} Required")
    value = keys[name]
    if not isinstance(value, str):
        raise _Wrong(f"{name} must be a string")
    if size is not None and not 0 < len(value.encode()) <= size:
        raise _Wrong(f"{name} must be 1 to {size} bytes")
    return value


def _integer(keys: dict[str, Any], name: str) -> int:
    if name not in keys:
        raise _Wrong(f"{name} Required")
    value = keys[name]
    if type(value) is not int:
        raise _Wrong(f"{name} must be an integer")
    return value


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a login says it is: `device` is the quoted name."""

    user: int
    device: str
    token: str


def credentials(user: dict[str, Any]) -> Credentials:
    """Read `[r.user]`; raises ValueError with the reason, such as `d Required`."""
    return Credentials(_integer(user, "id"), _string(user, "d", None), _string(user, "token", None))


def answer(id_: bytes | None, reason: str | None = None, more: Mapping[str, int] | None = None) -> bytes:
    """`[[rr]]`: done, or refused with a reason."""
    parts = [b"[[rr]]\n"]
    if id_ is not None:
        parts.append(b'id = "%b"\n' % id_)
    parts.append(b"s = %d\n" % (reason is not None))
    if reason is not None:
        parts.append(b'r = "%b"\n' % quote(reason))
    parts += [b"%b = %d\n" % (key.encode(), value) for key, value in (more or {}).items()]
    parts.append(b"\n")
    return b"".join(parts)


def acknowledgements(ids: Sequence[bytes]) -> bytes:
    """`[[a]]` for each id: the message is on disk."""
    return b'[[a]]\nid = "%b"\n\n' % b'"\n\n[[a]]\nid = "'.join(ids)


def bye(reason: str) -> bytes:
    """`[[bye]]`: why the server closes."""
    return b'[[bye]]\nr = "%b"\n\n' % quote(reason)


def stamp(sender: int, ts: int) -> bytes:
    """What only the server says of a message: from whom, and when (unix seconds). Its place follows."""
    return b"from = %d\nts = %d\nseq = " % (sender, ts)


def stamped(head: bytes, tail: bytes, stamp: bytes, seq: int) -> bytes:
    """A message's bytes with its stamp and its place."""
    return b"%b%b%d\n%b\n" % (head, stamp, seq, tail)


def for_compact(entry: bytes) -> bytes:
    """The same entry for a compact client, which reads no booleans and takes any quote for a string's end."""
    keys, nested, tables = without_escaped_quotes(entry).partition(b"\n[")
    return keys.replace(b"\ndup = true\n", b"\n").replace(b"\ndup = false\n", b"\n") + nested + tables
