"""Who is connected here: users, their devices, and their known device names."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from simple_im.im.device import Device
from simple_im.im.outbox import Turn
from simple_im.limits import RECENT_REVOCATIONS
from simple_im.status import BYE_REVOKED
from simple_im.store.entries import Entry
from simple_im.store.tokens import Session


class Connection(Protocol):
    """A signed-in connection, as others see it."""

    device: Device

    @property
    def token_hash(self) -> bytes:
        """The hash of the token that it signed in with."""

    def bye(self, reason: str) -> None:
        """Say why and close."""


class Presence:
    """A user with a device connected: the connections by device, and the names of all known devices."""

    __slots__ = ("connections", "names")

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.names: set[str] = set()


class Sessions:
    """The connections of this node; entries for connected devices go out through here (`entries.Outlet`)."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._users: dict[int, Presence] = {}
        self._revoked: deque[bytes] = deque(maxlen=RECENT_REVOCATIONS)

    def deliver(self, entries: Iterable[Entry]) -> None:
        """Push each entry to every connected device of every user that it is for."""
        find = self._users.get
        for entry in entries:
            for user in entry.users:
                presence = find(user)
                if presence is not None:
                    for connection in presence.connections.values():
                        connection.device.push(entry)

    def flush(self) -> None:
        """Write what was pushed."""
        self._turn.end()

    def add(self, connection: Connection, names: list[str]) -> Presence:
        """A connection has signed in; `names` are its user's known devices."""
        state = connection.device.state
        presence = self._users.setdefault(state.user, Presence())
        presence.connections[state.device] = connection
        presence.names.update(names)
        return presence

    def remove(self, connection: Connection) -> None:
        """A connection is gone, unless another has taken its place."""
        state = connection.device.state
        presence = self._users.get(state.user)
        if presence is not None and presence.connections.get(state.device) is connection:
            del presence.connections[state.device]
            if not presence.connections:
                del self._users[state.user]

    def find(self, user: int, device: str) -> Connection | None:
        """The connection of a device."""
        presence = self._users.get(user)
        return None if presence is None else presence.connections.get(device)

    def add_name(self, user: int, device: str) -> None:
        """A device has become known."""
        if user in self._users:
            self._users[user].names.add(device)

    def revoke(self, session: Session) -> None:
        """A token is good for nothing any more: its connection ends, also one that is about to begin."""
        self._revoked.append(session.token_hash)
        connection = self.find(session.user, session.device)
        if connection is not None and connection.token_hash == session.token_hash:
            connection.bye(BYE_REVOKED)

    def was_revoked(self, token_hash: bytes) -> bool:
        """Whether a token was revoked a short time ago, while a login with it may have been under way."""
        return token_hash in self._revoked

    def __iter__(self) -> Iterator[Connection]:
        for presence in list(self._users.values()):
            yield from list(presence.connections.values())
