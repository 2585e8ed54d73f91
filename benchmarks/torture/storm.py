"""What is done to the server in a run, at moments and in an order that come from the seed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from benchmarks.torture.history import Fault
from benchmarks.torture.world import World

_HOUR: Final = 3_600.0
_CALM: Final = (0.01, 0.3)
"""Seconds between two things that are done."""
_START: Final = 0.2
"""A start takes about so many seconds."""
_STARTS_KILLED: Final = 0.3
_TWICE: Final = 0.15
_SYNC: Final = (0, 0.002, 0.006)
"""Seconds that a sync takes, as of different disks: the longer, the more is shown that is not stored yet."""


class Storm:
    """Faults, one after another, until it is over; then the server is up and the disk is whole."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._server = world.server
        self._disk = world.server.disk
        self._random = random
        self.kills = 0

    async def rage(self, ends: int) -> None:
        """Have the server meet so many violent ends, with lesser faults before each."""
        for _ in range(ends):
            self._disk.slow_syncs(self._random.choice(_SYNC))
            await self._calm()
            for disturb in self._random.sample(self._disturbances(), self._random.choice((0, 0, 1, 1, 2))):
                await disturb()
                await self._calm()
            if self._random.random() < _TWICE:
                await self._strike_twice()
            self._strike()
            await self._start_again()
        self._disk.step_clock(0)
        self._disk.slow_syncs(0)

    async def strike_last(self) -> None:
        """A last end, after a calm."""
        self._strike()
        self._server.launch()
        await self._server.await_doors()

    async def _calm(self) -> None:
        await asyncio.sleep(self._random.uniform(*_CALM))

    def _strike(self) -> None:
        """The end of the process, with the power or without."""
        if self._random.random() < 0.4:
            self._fault("power")
            self._server.lose_power(self._random)
        else:
            self._fault("kill")
            self._server.kill()
        self._ended()

    def _ended(self) -> None:
        """The next life begins with a sound disk."""
        self.kills += 1
        self._disk.fail_syncs(0)
        self._disk.leave_room(None)

    async def _strike_twice(self) -> None:
        """What was written when fsync failed can still be read after the process has been killed, and goes with the
        power only after the next one has built on it."""
        await self._fail_syncs()
        await self._calm()
        self._fault("kill")
        self._server.kill()
        self._ended()
        await self._start_again()
        await self._calm()

    async def _start_again(self) -> None:
        """Start, be killed while starting now and then, and start again."""
        self._server.launch()
        while self._random.random() < _STARTS_KILLED:
            await asyncio.sleep(self._random.random() * _START)
            self._strike()
            self._server.launch()
        await self._server.await_doors()

    def _fault(self, kind: str) -> None:
        self._world.history.append(Fault(kind, self._server.life))

    # What it lives through.

    def _disturbances(self) -> list[Callable[[], Awaitable[None]]]:
        return [self._stop, self._fill_disk, self._fail_syncs, self._slow_down, self._step_clock]

    async def _stop(self) -> None:
        self._fault("stop")
        with self._server.stopped():
            await asyncio.sleep(self._random.uniform(0.1, 1.5))

    async def _fill_disk(self) -> None:
        self._fault("full")
        self._disk.leave_room(self._random.choice((0, 5_000, 200_000)))
        await asyncio.sleep(self._random.uniform(0.1, 1))
        if self._random.random() < 0.7:
            self._disk.leave_room(None)

    async def _fail_syncs(self) -> None:
        self._fault("sync")
        self._disk.fail_syncs(self._random.choice((1, 1, 2, 5)))

    async def _slow_down(self) -> None:
        self._fault("slow")
        self._disk.slow_syncs(self._random.uniform(0.01, 0.05))
        await self._calm()
        self._disk.slow_syncs(self._random.choice(_SYNC))

    async def _step_clock(self) -> None:
        self._fault("clock")
        self._disk.step_clock(self._random.choice((0, -_HOUR)))
