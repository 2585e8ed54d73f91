"""What the clients of one run share: who there is, what was written down, what the end has to bring."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from benchmarks.torture.doors import ImDoor, Reply, request
from benchmarks.torture.history import History
from benchmarks.torture.server import Server


@dataclass(frozen=True)
class Person:
    """An account."""

    id: int
    phone: str
    password: str


@dataclass
class World:
    """A server and the people on it; all of them are in one group."""

    server: Server
    history: History = field(default_factory=History)
    people: list[Person] = field(default_factory=list)
    group: int = 0
    finishing: asyncio.Event = field(default_factory=asyncio.Event)
    files: dict[str, bytes] = field(default_factory=dict)
    """By uid, the files whose messages were acknowledged."""
    markers: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By user, the uids of the last messages of all: who has those has been sent all that there is."""
    silent: list[ImDoor] = field(default_factory=list)
    """Connections whose clients have vanished without a FIN."""
    _conns: count[int] = field(default_factory=lambda: count(1))

    def new_conn(self) -> int:
        """A number for a connection or a request."""
        return next(self._conns)

    @property
    def users(self) -> tuple[int, ...]:
        """The ids of all people."""
        return tuple(person.id for person in self.people)

    async def settle(self, people: int) -> None:
        """Sign people up, and make the group that they are all in."""
        for number in range(people):
            phone, password = str(8618266170000 + number), f"secret-{number}"
            form: dict[str, object] = {"name": f"person {number}", "phone": phone, "password": password}
            reply = await self._done("/user", "", form)
            self.people.append(Person(reply.response["user"]["id"], phone, password))
        first = self.people[0]
        form = {"phone": first.phone, "password": first.password, "device": "setup"}
        token = (await self._done("/server/login", "", form)).response["user"]["token"]
        group = await self._done("/group", token, {"name": "all", "members[]": self.users[1:]})
        self.group = group.response["g_id"]
        await self._done("/server/logout", token, {})

    async def _done(self, path: str, token: str, form: Mapping[str, object]) -> Reply:
        reply = await request(await self.server.address(), "POST", path, token, form)
        if reply.status != 200:
            raise RuntimeError(f"POST {path} was answered {reply.status}: {reply.body.decode()}")
        return reply
