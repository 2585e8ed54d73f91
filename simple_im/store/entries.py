"""What the inbox holds and what it asks of those that use it: the shapes that both doors and every store share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from simple_im.store.device_state import DeviceState

Unstored = tuple[bytes, tuple[int, ...], bytes, bytes]
"""A message that has been judged and not been stored: its id, the users whose inboxes it is for, and its bytes before
and behind what the server adds (see `wire.frames.stamped`). A bare tuple, as most messages are one of many."""


@dataclass(slots=True, eq=False)
class Draft:
    """An `Unstored` message with its sender."""

    sender: int
    device: str
    id: bytes
    users: tuple[int, ...]
    head: bytes
    tail: bytes = b""
    outgoing: int | None = None
    """Where it was kept until now, if it was (`store.outgoing`); with its commit it is not any more."""


@dataclass(slots=True, eq=False)
class Entry:
    """A message in the inboxes of `users`; `wire` is the whole frame, its blank line included."""

    seq: int
    ts: int
    sender: int
    device: str
    id: bytes
    users: tuple[int, ...]
    wire: bytes

    def is_from(self, user: int, device: str) -> bool:
        """Whether this device sent it, and so has acknowledged it."""
        return self.sender == user and self.device == device


@dataclass(slots=True)
class Page:
    """Entries for a device in `seq` order; `last` where nothing waits behind them, also not in memory."""

    entries: Sequence[Entry]
    last: bool


@dataclass(slots=True)
class Opened:
    """A device's state, the names of all devices of its user, how many entries expired unread, and the last seq in
    its user's inbox."""

    state: DeviceState
    names: list[str]
    expired: int
    newest: int


class Receipt(Protocol):
    """Where the outcome of an append goes: the connection it came in by, say."""

    @property
    def gone(self) -> bool:
        """Whether the sender has begun anew, and what it sent before must not come behind what it sends now."""

    def stored(self, ids: list[bytes]) -> None:
        """The messages with these ids are on disk."""

    def refused(self, ids: list[bytes], reason: str) -> None:
        """They are not, and will not be delivered again."""


class Outlet(Protocol):
    """The way to the devices that are connected."""

    def deliver(self, entries: Iterable[Entry]) -> None:
        """Push these to the connected devices of their users; entries come in `seq` order."""

    def flush(self) -> None:
        """That was all for now: write it."""
