"""The servers in turn: each workload, as often as asked for, and again where other processes disturbed it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TextIO

from benchmarks.node import NodeError
from benchmarks.peers import disk, generator
from benchmarks.peers.generator import NOISE, Report, Target, say
from benchmarks.peers.reports import wrong
from benchmarks.peers.servers import OURS, Server, ServerError

FSYNCS: Final = 200
"""Of the disk alone, half of them before a run and half of them after it."""
NO_START: Final = (NodeError, ServerError)
"""What ends a turn, and not the whole."""
NO_REPORT: Final = (RuntimeError, subprocess.SubprocessError)
"""What ends a run, and not the turn."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how long."""

    workloads: Sequence[str]
    repeats: int
    patience: float
    """The longest wait for a quiet machine before a run, in seconds."""
    attempts: int
    """Runs at most, where other processes disturb them."""
    options: Sequence[str]
    """The generator's, such as how many seconds."""

    @property
    def groups(self) -> list[list[str]]:
        """The workloads between a start and a stop: `idle` has a server to itself, as it is about memory."""
        others = [name for name in self.workloads if name != "idle"]
        return [group for group in (others, [name for name in self.workloads if name == "idle"]) if group]


class Measuring(Protocol):
    """Runs a workload."""

    def __call__(self, target: Target, name: str, workload: str, options: Sequence[str], /) -> Report: ...


class Turns:
    """Lets the servers take turns; reports are written to `out`, and what goes wrong is among `faults`.

    `directory` is on the disk whose fsync is measured: the one that simple_im's state is on.
    """

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        out: TextIO,
        measure: Measuring = generator.measure,
        wait_until_quiet: Callable[[float], bool] = generator.wait_until_quiet,
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._out = out
        self._measure = measure
        self._wait_until_quiet = wait_until_quiet
        self.faults: list[str] = []

    def take(self, servers: Sequence[Server]) -> None:
        """All of it; each server goes first in its turn."""
        for repeat in range(self._plan.repeats):
            first = repeat % len(servers)
            for server in [*servers[first:], *servers[:first]]:
                for group in self._plan.groups:
                    self._turn(server, group, repeat)

    def _turn(self, server: Server, workloads: Sequence[str], repeat: int) -> None:
        try:
            try:
                target = server.start()
                for workload in workloads:
                    self._run(target, server.name, workload, repeat)
            finally:
                server.stop()
        except NO_START as error:
            self._note(str(error))

    def _note(self, fault: str) -> None:
        self.faults.append(fault)
        say(fault)

    def _run(self, target: Target, name: str, workload: str, repeat: int) -> None:
        for attempt in range(1, self._plan.attempts + 1):
            quiet = self._wait_until_quiet(self._plan.patience)
            report = self._attempt(target, name, workload)
            report |= {"target": name, "name": workload, "repeat": repeat, "attempt": attempt}
            report["noisy"] = others(report) > NOISE
            self._out.write(json.dumps(report) + "\n")
            self._out.flush()
            say(name, workload, f"repeat {repeat + 1}", *_remarks(report), *([] if quiet else ["(not quiet before)"]))
            if not report["ok"]:
                self.faults.append(f"a run is not verified: {wrong(report)}")
            if not report["noisy"]:
                return

    def _attempt(self, target: Target, name: str, workload: str) -> Report:
        try:
            return self._measured(target, name, workload)
        except NO_REPORT as error:
            return {"ok": False, "error": str(error), "tls": "none"}

    def _measured(self, target: Target, name: str, workload: str) -> Report:
        if (name, workload) != (OURS, "latency"):
            return self._measure(target, name, workload, self._plan.options)
        times = disk.fsync_times(self._directory, FSYNCS // 2)
        report = self._measure(target, name, workload, self._plan.options)
        times += disk.fsync_times(self._directory, FSYNCS // 2)
        return report | {"fsync_us": disk.summary(times)}


def others(report: Report) -> float:
    """The CPUs that others used while it ran."""
    return float(report.get("other_cpu_share", 0) + report.get("steal_share", 0))


def _remarks(report: Report) -> Iterator[str]:
    yield report.get("error") or generator.brief(report)
    if not report["ok"]:
        yield "NOT VERIFIED"
    if report["noisy"]:
        yield f"NOISY {others(report):.2f}"
