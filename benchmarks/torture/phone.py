"""A scripted client: does what phones do, on connections that end when they like, and writes everything down."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Final

from benchmarks.torture.doors import GONE, Address, ImDoor, Reply, entry, post_file, read_slowly, request
from benchmarks.torture.history import (
    Answered,
    Forgetting,
    Forgotten,
    Known,
    Missing,
    Opened,
    Refused,
    Requested,
    Sent,
)
from benchmarks.torture.talk import Talk
from benchmarks.torture.world import Person, World

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_UNAVAILABLE: Final = 503
_SESSION: Final = (0.05, 0.6)
"""Seconds on line."""
_SLOW_READS: Final = 2
"""Bytes, a second apart, that a slow reader takes."""
_PAUSE: Final = 0.15
"""Seconds off line, at most."""
_QUIET: Final = 10.0
"""Seconds in which something must come while the last messages of all have not."""


class Phone:
    """One device of a person; `random` decides all that it does."""

    def __init__(self, world: World, person: Person, name: str, random: Random) -> None:
        self._world = world
        self._person = person
        self._name = name
        self._random = random
        self._token = ""
        self._shown: list[int] = []
        self._in_doubt = False
        self._talk = Talk(world, person.id, name, random)

    @property
    def device(self) -> str:
        """Its name in the history."""
        return f"{self._person.id}/{self._name}"

    def _record(self, *events: Any) -> None:
        self._world.history.extend(events)

    # Its days.

    async def live(self) -> None:
        """Come and go until the world ends."""
        while not self._world.finishing.is_set():
            try:
                await self._act(await self._world.server.address())
            except GONE:
                self._talk.broken()
            await asyncio.sleep(self._random.random() * _PAUSE)

    async def _act(self, address: Address) -> None:
        if not self._token:
            await self._sign_in(address)
        whim = self._random.random()
        if whim < 0.15:
            await self._look_offline(address)
        elif whim < 0.3:
            await self._request_message(address)
        elif whim < 0.35:
            await self._read_slowly(address)
        if whim < 0.8:
            await self._be_on_line(address)

    async def _sign_in(self, address: Address) -> None:
        form = {"phone": self._person.phone, "password": self._person.password, "device": self._name}
        reply = await request(address, "POST", "/server/login", form=form)
        if self._is_good(reply):
            self._token = reply.response["user"]["token"]
            self._record(Known(self.device))

    def _is_good(self, reply: Reply) -> bool:
        """Whether it was done; what a sound server does not say is written down."""
        if reply.status == 401:
            self._token = ""
        elif reply.status not in (200, _UNAVAILABLE):
            self._record(Refused(self.device, "a request", f"{reply.status} {reply.body[:200]!r}"))
        return reply.status == 200

    # On line.

    async def _be_on_line(self, address: Address) -> None:
        door = await self._enter(address)
        if door is None:
            return
        try:
            async with asyncio.timeout(self._random.uniform(*_SESSION)):
                await self._talk.both_ways()
        except TimeoutError:
            await self._end(door)
        except EOFError:
            door.cut()
            raise
        finally:
            self._talk.broken()

    async def _enter(self, address: Address, *, final: bool = False, acknowledges: bool = True) -> ImDoor | None:
        """A connection that is signed in, or None where the token is no good; raises one of `GONE`."""
        door = await ImDoor.open(address)
        life = self._world.server.life
        await door.write(self._login())
        ((_, answer),) = await door.expect()
        if answer["s"] != 0:
            if answer["r"] == "token error":
                self._token = ""
            door.cut()
            return None
        conn = self._world.new_conn()
        self._record(Opened(self.device, conn, "im", life, final))
        self._talk.begin(door, conn, acknowledges=acknowledges)
        return door

    async def _end(self, door: ImDoor) -> None:
        whim = self._random.random()
        if whim < 0.25:
            door.close()
        elif whim < 0.5:
            door.fall_silent()
            self._world.silent.append(door)
        elif whim < 0.75:
            frame = entry("m", id="cut", t="text", c="in the middle", to=self._person.id)
            await door.write(frame[: self._random.randrange(1, len(frame) - 1)])
            door.cut()
        else:
            door.cut()

    async def _read_slowly(self, address: Address) -> None:
        """Sign in and take a byte now and then; what comes of it is too little to be written down."""
        conn = self._world.new_conn()
        self._record(Opened(self.device, conn, "im", self._world.server.life, False))
        await asyncio.to_thread(read_slowly, address, self._login(), _SLOW_READS)

    def _login(self) -> bytes:
        user = {"id": self._person.id, "d": self._name, "token": self._token}
        return entry("r", id="login", t="login", user=user)

    # Over HTTPS.

    async def _look_offline(self, address: Address) -> None:
        whole = await self._show(address, {"limit": self._random.choice((1, 7, 1000))}, final=False)
        if whole is not None and not self._in_doubt and self._random.random() < 0.6:
            await self._forget(address)

    async def _show(self, address: Address, form: dict[str, Any], *, final: bool) -> int | None:
        """How many entries a GET has shown; None where it was not answered. A broken one leaves in doubt what was
        shown, until one is answered that shows all."""
        conn = self._world.new_conn()
        self._record(Opened(self.device, conn, "get", self._world.server.life, final))
        self._in_doubt, was_in_doubt = True, self._in_doubt
        reply = await request(address, "GET", f"/offline?limit={form['limit']}", self._token)
        if not self._is_good(reply):
            self._in_doubt = was_in_doubt
            return None
        entries = [row for row in reply.rows if row[0] != "response"]
        for row in entries:
            self._talk.take_entry(conn, *row)
        self._shown.append(conn)
        self._in_doubt = was_in_doubt and bool(reply.response.get("more"))
        return len(entries)

    async def _forget(self, address: Address) -> None:
        shown = tuple(self._shown)
        self._record(Forgetting(self.device, shown))
        if self._is_good(await request(address, "DELETE", "/offline", self._token)):
            self._record(Forgotten(self.device, shown, self._world.server.life))
            self._shown.clear()

    async def _request_message(self, address: Address) -> None:
        conn = self._world.new_conn()
        self._record(Requested(self.device, conn))
        if self._random.random() < 0.5:
            await self._post_picture(address, conn)
        else:
            await self._make_group(address, conn)

    async def _post_picture(self, address: Address, conn: int) -> None:
        content = _PNG + self._random.randbytes(self._random.randrange(10, 20_000))
        users: tuple[int, ...] = (self._random.choice(self._world.users),)
        path, form = "/m/image", {"to": users[0]}
        if self._random.random() < 0.5:
            users = self._world.users
            path, form = "/gm/image", {"g_id": self._world.group}
        reply = await post_file(address, path, self._token, "image", content, **form)
        if self._is_good(reply):
            uid, id_ = reply.response["c"], reply.response["id"]
            self._record(Sent(self.device, conn, uid, id_, users), Answered(self.device, conn, uid))
            self._world.files[uid] = content

    async def _make_group(self, address: Address, conn: int) -> None:
        members = tuple(self._random.sample(self._world.users, 2))
        form = {"name": "some", "members[]": members}
        reply = await request(address, "POST", "/group", self._token, form)
        if self._is_good(reply):
            uid = f"group:{reply.response['g_id']}"
            self._record(Sent(self.device, conn, uid, "", members), Answered(self.device, conn, uid))

    # The end.

    async def finish(self) -> None:
        """Have everything that was sent and not answered answered."""
        while not self._token:
            await self._sign_in(await self._world.server.address())
        await self._enter_surely(final=False)
        await self._talk.finish()

    async def _enter_surely(self, *, final: bool, acknowledges: bool = False) -> ImDoor:
        address = await self._world.server.address()
        while (door := await self._enter(address, final=final, acknowledges=acknowledges)) is None:
            await self._sign_in(address)
        return door

    async def mark(self) -> None:
        """Tell everybody that this was all."""
        await self._enter_surely(final=False)
        await self._talk.mark()

    async def settle(self) -> None:
        """Acknowledge some of what there is, and nothing after it."""
        await self._enter_surely(final=False, acknowledges=True)
        await self._talk.settle()
        address = await self._world.server.address()
        for _ in range(2):  # One may be read while a commit runs, before the one that is meant.
            await request(address, "GET", f"/user/id/{self._person.id}", self._token)
        self._talk.has_settled()
        self._talk.broken()

    async def drain(self) -> None:
        """Take all that is left, over one door or the other."""
        if self._random.random() < 0.5:
            await self._drain_on_line()
        else:
            await self._drain_offline()

    async def _drain_on_line(self) -> None:
        """The first login leaves out what was shown by GET; the second does not."""
        (await self._enter_surely(final=False)).cut()
        door = await self._enter_surely(final=True)
        wanted = self._world.markers[self._person.id] - self._talk.own_markers
        while not wanted <= self._talk.heard:
            async with asyncio.timeout(_QUIET):
                await self._talk.take_next()
                await self._talk.acknowledge_all()
        door.cut()

    async def _drain_offline(self) -> None:
        address = await self._world.server.address()
        while await self._show(address, {"limit": 1000}, final=True):
            await self._forget(address)

    async def check_files(self) -> None:
        """Fetch what this device has been told of."""
        address = await self._world.server.address()
        for uid in sorted(self._talk.seen & self._world.files.keys()):
            reply = await request(address, "GET", f"/{uid}", self._token)
            if reply.body != self._world.files[uid]:
                self._record(Missing(self.device, uid))
