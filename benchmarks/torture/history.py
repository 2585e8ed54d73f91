"""What happened in a run, as the clients saw it: one event after another, kept as lines of JSON.

Nothing here, nor in the checker, knows the server's code. A device is named `"USER/NAME"`; a message has a `uid` of
its own, which it carries in what recipients see, so that it is known again whatever `id` and `seq` it has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias, get_args


class Known(NamedTuple):
    """A login over HTTPS was answered: from here on the device is owed everything."""

    device: str


class Opened(NamedTuple):
    """A login on the IM door was answered, or a `GET /offline` was begun; `life` counts the server's starts."""

    device: str
    conn: int
    door: str
    """`"im"` or `"get"`."""
    life: int
    final: bool
    """Whether it is the last one of this device, which takes all that is left."""


class Requested(NamedTuple):
    """A request over HTTPS is about to be made that has the server send a message of its own making."""

    device: str
    conn: int


class Sent(NamedTuple):
    """A message is about to be written, for these users; again if an earlier one had its `uid`.

    Where the server makes the message, this is known with the answer to the request `conn` only.
    """

    device: str
    conn: int
    uid: str
    id: str
    users: tuple[int, ...]


class Answered(NamedTuple):
    """The message was acknowledged by the server."""

    device: str
    conn: int
    uid: str


class Refused(NamedTuple):
    """The message was refused."""

    device: str
    uid: str
    reason: str


class Received(NamedTuple):
    """An entry has come; `sender` is its `from` and `d` as a device."""

    device: str
    conn: int
    seq: int
    uid: str
    sender: str
    id: str
    dup: bool


class Acked(NamedTuple):
    """An acknowledgement is about to be written: of all sent on the IM door up to `seq`, or, where that is 0, by
    `id`."""

    device: str
    conn: int
    seq: int
    id: str


class Settled(NamedTuple):
    """A tenth of a second has passed since the last acknowledgement on this connection, with nothing wrong, and the
    database has done what it was asked for until then: it is stored."""

    device: str
    conn: int


class Forgetting(NamedTuple):
    """A `DELETE /offline` is about to be asked for, for what the GETs `conns` have shown."""

    device: str
    conns: tuple[int, ...]


class Forgotten(NamedTuple):
    """That `DELETE` was answered with success, in this life of the server."""

    device: str
    conns: tuple[int, ...]
    life: int


class Fault(NamedTuple):
    """Something was done to the server, in this life of it."""

    kind: str
    life: int


class Missing(NamedTuple):
    """A file whose message had been acknowledged was not there, or not as it was sent."""

    device: str
    uid: str


Event: TypeAlias = (
    Known
    | Opened
    | Requested
    | Sent
    | Answered
    | Refused
    | Received
    | Acked
    | Settled
    | Forgetting
    | Forgotten
    | Fault
    | Missing
)
_KINDS: dict[str, Callable[..., Event]] = {kind.__name__: kind for kind in get_args(Event)}


class History(list[Event]):
    """Events in the order in which the clients' process saw them."""

    def save(self, path: Path) -> None:
        """Write it, an event a line."""
        path.write_text("".join(json.dumps([type(event).__name__, *event]) + "\n" for event in self))

    @classmethod
    def load(cls, path: Path) -> History:
        """The reverse of `save`."""
        return cls(_events(path.read_text().splitlines()))


def _events(lines: Iterable[str]) -> Iterator[Event]:
    for line in lines:
        kind, *values = json.loads(line)
        yield _KINDS[kind](*(tuple(value) if isinstance(value, list) else value for value in values))
