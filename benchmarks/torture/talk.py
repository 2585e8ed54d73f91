"""What a phone says and hears on the IM door, whatever connection it has at the moment."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from benchmarks.torture.doors import GONE, ImDoor, entry
from benchmarks.torture.history import Acked, Answered, Received, Refused, Sent, Settled
from benchmarks.torture.world import World

_ENTRIES: Final = ("m", "gm", "n", "gn")
_BURST: Final = 20
_UNANSWERED: Final = 60
"""Messages that may be waiting for an answer before more are sent."""
_PAUSE: Final = 0.1
_NEVER: Final = 1_000_000
_SETTLING: Final = 0.5
_PROMISED: Final = 0.1
"""Seconds after which an acknowledgement is on its way to the disk."""
_PING: Final = "ping"


@dataclass
class Message:
    """A message of this phone's."""

    uid: str
    table: str
    keys: dict[str, Any]
    users: tuple[int, ...]
    refused: bool = False


class Talk:
    """One device's messages. What has not been answered when a connection breaks is sent again on the next."""

    def __init__(self, world: World, user: int, name: str, random: Random) -> None:
        self._world = world
        self._user = user
        self._name = name
        self._random = random
        self._count = 0
        self._prefix = random.choice(("", f"{user}-{name}-"))
        self._door: ImDoor | None = None
        self._conn = 0
        self._unanswered: dict[str, Message] = {}
        self._to_acknowledge: list[tuple[int, str]] = []
        self._patience = 1
        self._by_seq = True
        self._room = asyncio.Event()
        self._pong = asyncio.Event()
        self.seen: set[str] = set()
        self.heard: set[str] = set()
        """What has come on this connection."""
        self.own_markers: set[str] = set()

    @property
    def device(self) -> str:
        """Its name in the history."""
        return f"{self._user}/{self._name}"

    def begin(self, door: ImDoor, conn: int, *, acknowledges: bool) -> None:
        """Talk on this connection from now on; how it acknowledges is decided anew."""
        self._door, self._conn = door, conn
        self.heard.clear()
        self._to_acknowledge.clear()
        self._by_seq = self._random.random() < 0.5
        self._patience = self._random.choice((1, 5, 5, 40, 40, _NEVER)) if acknowledges else _NEVER

    def broken(self) -> None:
        """The connection is no more."""
        self._door = None

    async def _write(self, *frames: bytes) -> None:
        if self._door is None:
            raise EOFError
        await self._door.write(*frames)

    async def both_ways(self) -> None:
        """Hear and speak until the connection ends; raises EOFError."""
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._listen())
                ways.create_task(self._speak())
        except* GONE:
            raise EOFError from None

    # Hearing.

    async def _listen(self) -> None:
        """Take what comes until the connection ends."""
        while True:
            await self.take_next()
            if len(self._to_acknowledge) >= self._patience:
                await self._acknowledge(by_seq=self._by_seq)

    async def take_next(self) -> None:
        """Take the next frame."""
        if self._door is None:
            raise EOFError
        for table, keys in await self._door.receive():
            if table in _ENTRIES:
                self.heard.add(self.take_entry(self._conn, table, keys))
                self._to_acknowledge.append((keys["seq"], keys["id"]))
            elif keys.get("id") == _PING:
                self._pong.set()
            elif keys.get("id") in self._unanswered:
                self._take_answer(table, keys)

    async def acknowledge_all(self) -> None:
        """Acknowledge, every now and then, all that has come."""
        if len(self._to_acknowledge) >= _BURST:
            await self._acknowledge(by_seq=True)

    def take_entry(self, conn: int, table: str, keys: dict[str, Any]) -> str:
        """Write an entry down; its uid."""
        uid = keys["c"].split(" ", 1)[0] if "c" in keys else f"group:{keys['g_id']}"
        sender = f"{keys['from']}/{keys['d']}"
        self.seen.add(uid)
        received = Received(self.device, conn, keys["seq"], uid, sender, keys["id"], keys.get("dup", False))
        self._world.history.append(received)
        return uid

    def _take_answer(self, table: str, keys: dict[str, Any]) -> None:
        message = self._unanswered[keys["id"]]
        if table == "a":
            del self._unanswered[keys["id"]]
            self._world.history.append(Answered(self.device, self._conn, message.uid))
        else:
            message.refused = True
            self._world.history.append(Refused(self.device, message.uid, keys["r"]))
        self._room.set()

    async def _acknowledge(self, *, by_seq: bool) -> None:
        due, self._to_acknowledge = self._to_acknowledge, []
        if by_seq:
            await self._write(self._ack(max(seq for seq, _ in due), ""))
        else:
            self._random.shuffle(due)
            now, rest = self._some(due)
            self._to_acknowledge = self._some(rest)[0]  # some later, and some never
            await self._write(*(self._ack(0, id_) for _, id_ in now))

    def _some(self, due: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """A part of them, often all or none, and the rest."""
        end = self._random.choice((len(due), self._random.randint(0, len(due)), 0))
        return due[:end], due[end:]

    def _ack(self, seq: int, id_: str) -> bytes:
        self._world.history.append(Acked(self.device, self._conn, seq, id_))
        return entry("a", seq=seq) if seq else entry("a", id=id_, d=self._name)

    # Speaking.

    async def _speak(self) -> None:
        """Send again what was not answered, then talk until the connection ends."""
        if self._random.random() < 0.1:
            self._unanswered.clear()
        await self._send_again(list(self._unanswered.values()))
        while True:
            await self._send(*(self._compose() for _ in range(self._random.randint(1, _BURST))))
            await asyncio.sleep(self._random.random() * _PAUSE)
            await self._have_room()
            await self._send_again([message for message in self._unanswered.values() if message.refused])

    async def _have_room(self) -> None:
        while sum(not message.refused for message in self._unanswered.values()) > _UNANSWERED:
            self._room.clear()
            await self._room.wait()

    def _compose(self) -> Message:
        """Something for somebody, of any table."""
        table = self._random.choices(_ENTRIES, (5, 3, 1, 1))[0]
        if table in ("gm", "gn"):
            return self._message(table, {"g_id": self._world.group}, self._world.users)
        to = self._random.choice(self._world.users)
        return self._message(table, {"to": to}, (to,))

    def _message(self, table: str, keys: dict[str, Any], users: tuple[int, ...]) -> Message:
        self._count += 1
        uid = f"{self.device}#{self._count}"
        padding = " " + "x" * self._random.choices((0, 30, 200, 3_000), (6, 8, 5, 1))[0]
        keys = {"id": f"{self._prefix}{self._count}", "t": "text", "c": uid + padding, **keys, "d": self._name}
        return Message(uid, table, keys, users)

    async def _send(self, *messages: Message, **more: object) -> None:
        frames = []
        for message in messages:
            message.refused = False
            self._unanswered[message.keys["id"]] = message
            self._world.history.append(
                Sent(self.device, self._conn, message.uid, message.keys["id"], message.users)
            )
            frames.append(entry(message.table, **message.keys, **more))
        await self._write(*frames)

    async def _send_again(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), _BURST):
            await self._send(*messages[start : start + _BURST], dup=True)

    # The end.

    async def settle(self) -> None:
        """Take what comes for a while and acknowledge some of it, until that is on its way to the disk."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._random.random() * _SETTLING):
                await self._listen()
        if self._to_acknowledge:
            await self._acknowledge(by_seq=self._by_seq)
        await self._ping()
        await asyncio.sleep(_PROMISED)
        for _ in range(2):  # The first may be answered before the server looks at its clock, the second is not.
            await self._ping()

    async def _ping(self) -> None:
        """Have an answer to all that was written."""
        self._pong.clear()
        await self._write(entry("r", id=_PING, t="ping"))
        while not self._pong.is_set():
            await self.take_next()

    def has_settled(self) -> None:
        """What was acknowledged has been stored since."""
        self._world.history.append(Settled(self.device, self._conn))

    async def finish(self) -> None:
        """Have all answered that was sent."""
        await self._send_again(list(self._unanswered.values()))
        await self._until_answered()

    async def mark(self) -> None:
        """Send a marker to everybody."""
        for user in self._world.users:
            marker = self._message("m", {"to": user}, (user,))
            self.own_markers.add(marker.uid)
            self._world.markers[user].add(marker.uid)
            self._world.markers[self._user].add(marker.uid)
            await self._send(marker)
        await self._until_answered()

    async def _until_answered(self) -> None:
        while self._unanswered:
            await self.take_next()
