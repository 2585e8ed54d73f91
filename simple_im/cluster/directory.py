"""Which IM nodes there are: for an embedded node, itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from simple_im.status import ImIsOnline, NoServer


class Door(NamedTuple):
    """Where clients connect: `host` is a name or an address."""

    host: str
    port: int


Probe = Callable[[Door], Awaitable[bool]]


class LocalDirectory:
    """The list of one node. `probe` says whether a door answers a TLS handshake."""

    def __init__(self, door: Door, advertise: str | None, probe: Probe) -> None:
        self._door = door
        self._advertise = advertise
        self._probe = probe
        self._listed = True

    def announce(self) -> None:
        """The node is there; it says so every few seconds."""
        self._listed = True

    def choose(self, reached: str) -> Door:
        """The door to send a client to that reached the HTTPS door at `reached`; raises `NoServer`."""
        if not self._listed:
            raise NoServer()
        return Door(self._advertise or reached, self._door.port)

    async def report_failed(self) -> Door:
        """A client could not connect: another door, with the dead one off the list.

        Raises `ImIsOnline` where the node answers, whatever the client says, and `NoServer` where there is no other.
        """
        if await self._probe(self._door):
            raise ImIsOnline()
        self._listed = False
        raise NoServer()
