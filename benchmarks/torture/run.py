"""One run: a server, people with their phones, a storm, and the verdict."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.torture.checker import Verdict, judge
from benchmarks.torture.history import Fault
from benchmarks.torture.phone import Phone
from benchmarks.torture.server import Server
from benchmarks.torture.storm import Storm
from benchmarks.torture.world import Person, World

PATIENCE: Final = 180.0
"""Seconds after which a run is stuck, which is a fault as well."""
_PEOPLE: Final = (3, 5)
_DEVICES: Final = ("phone", "tablet", "web")
_ENDS: Final = (4, 7)
_LATE: Final = 3.0
"""Seconds within which everybody has come."""


@dataclass
class Outcome:
    """What a run came to; `broken` says what went wrong beside the promises."""

    seed: str
    verdict: Verdict = field(default_factory=Verdict)
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every promise was kept, by a server that did something."""
        return self.verdict.good and not self.broken and self.verdict.acknowledged > 0

    def problems(self) -> list[str]:
        """All that was wrong, in sentences."""
        verdict = self.verdict
        kinds = {
            "broken": self.broken,
            "out of order": verdict.disordered,
            "doubled": verdict.doubled,
            "lost": verdict.lost,
        }
        return [f"{kind}: {sentence}" for kind, sentences in kinds.items() for sentence in sentences]


def run(seed: str, sabotage: str = "", keep: Path | None = None) -> Outcome:
    """Run it in a new directory, which goes away unless the outcome is bad and there is a place to `keep` it."""
    directory = Path(tempfile.mkdtemp(prefix="torture-"))
    try:
        outcome = asyncio.run(_Run(seed, directory, sabotage).outcome())
        if keep is not None and not outcome.good:
            shutil.copytree(directory, keep / seed.replace("/", "-"), ignore_dangling_symlinks=True)
        return outcome
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Run:
    """The clients' side of a run."""

    def __init__(self, seed: str, directory: Path, sabotage: str) -> None:
        self._seed = seed
        self._directory = directory
        self._random = Random(seed)
        self._server = Server(directory, sabotage)
        self._world = World(self._server)
        self._storm = Storm(self._world, Random(f"{seed}/storm"))

    async def outcome(self) -> Outcome:
        """Go through it all, and judge."""
        outcome = Outcome(self._seed)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._go_through()
                await self._end(outcome)
        except Exception as error:
            outcome.broken.append(f"the run did not come to its end: {error!r}")
            (self._directory / "error.txt").write_text("".join(traceback.format_exception(error)))
        finally:
            self._server.close()
        self._world.history.save(self._directory / "history.jsonl")
        outcome.kills = self._storm.kills
        outcome.faults = Counter(event.kind for event in self._world.history if isinstance(event, Fault))
        outcome.verdict = judge(self._world.history)
        outcome.broken += self._server.complaints
        return outcome

    async def _go_through(self) -> None:
        self._server.launch()
        await self._server.await_doors()
        await self._world.settle(self._random.randint(*_PEOPLE))
        phones = [phone for person in self._world.people for phone in self._phones_of(person)]
        async with asyncio.TaskGroup() as tasks:
            for phone in phones:
                tasks.create_task(self._live(phone))
            await self._storm.rage(self._random.randint(*_ENDS))
            self._world.finishing.set()
        await self._finish(phones)

    def _phones_of(self, person: Person) -> list[Phone]:
        names = _DEVICES[: self._random.randint(1, len(_DEVICES))]
        return [Phone(self._world, person, name, Random(f"{self._seed}/{person.id}/{name}")) for name in names]

    async def _live(self, phone: Phone) -> None:
        await asyncio.sleep(self._random.choice((0, self._random.random() * _LATE)))
        await phone.live()

    async def _finish(self, phones: list[Phone]) -> None:
        """Everybody has the last answers, and acknowledges some of what there is; the server meets a last end; then
        everybody takes what is left."""
        for door in self._world.silent:
            door.cut()
        await self._together(phones, Phone.finish)
        await self._together(phones, Phone.settle)
        await self._storm.strike_last()
        await self._together(phones, Phone.mark)
        await self._together(phones, Phone.drain)
        await self._together(phones, Phone.check_files)

    async def _together(self, phones: list[Phone], step: Callable[[Phone], Coroutine[None, None, None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for phone in phones:
                tasks.create_task(step(phone))

    async def _end(self, outcome: Outcome) -> None:
        code = await self._server.stop()
        if code != 0:
            outcome.broken.append(f"the server ended with {code}")
