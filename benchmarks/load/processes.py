"""CPU time and memory of processes, from /proc."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STEAL: Final = 8
"""The column of the first line of /proc/stat that says what other virtual machines took."""


class _Process(NamedTuple):
    """`own` is the CPU time in seconds of the process, `all` that of the children it has waited for as well."""

    parent: int
    own: float
    all: float


def _read(pid: int) -> _Process:
    """Raises OSError where there is no such process."""
    text = Path(f"/proc/{pid}/stat").read_text()
    found = text[text.rindex(")") + 2 :].split()
    user, system, waited_user, waited_system = (int(found[column]) / _TICKS for column in (11, 12, 13, 14))
    return _Process(int(found[1]), user + system, user + system + waited_user + waited_system)


def _processes() -> dict[int, _Process]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):  # It has ended meanwhile.
                found[int(name)] = _read(int(name))
    return found


def _tree(processes: dict[int, _Process], root: int) -> Iterator[_Process]:
    """A process and its descendants."""
    for pid, process in processes.items():
        above = pid
        while above in processes and above != root:
            above = processes[above].parent
        if above == root:
            yield process


def rss_kb(pid: int) -> int:
    """The process's resident memory in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@dataclass(frozen=True)
class ServerUse:
    """The server's CPU time and this process's until a moment."""

    at: float
    server: float
    driver: float

    @classmethod
    def now(cls, pid: int) -> ServerUse:
        """As it is now, with the server's process id."""
        return cls(time.perf_counter(), _read(pid).own, time.process_time())

    def until(self, later: ServerUse) -> dict[str, float]:
        """What was used in between, as metrics."""
        wall, server = later.at - self.at, later.server - self.server
        return {
            "server_cpu_s": server,
            "server_cpu_share": server / wall,
            "driver_cpu_share": (later.driver - self.driver) / wall,
        }


@dataclass(frozen=True)
class MachineUse:
    """The CPU time of all that is no part of a measurement, until a moment."""

    at: float
    others: float
    stolen: float

    @classmethod
    def now(cls) -> MachineUse:
        """As it is now; this process and its descendants are a part of the measurement."""
        processes = _processes()
        ours = sum(process.all for process in _tree(processes, os.getpid()))
        every = sum(process.all for process in processes.values())
        with open("/proc/stat") as stat:
            stolen = int(stat.readline().split()[_STEAL]) / _TICKS
        return cls(time.perf_counter(), every - ours, stolen)

    def until(self, later: MachineUse) -> float:
        """The CPUs that others used in between."""
        used = max(later.others - self.others, 0) + max(later.stolen - self.stolen, 0)
        return used / (later.at - self.at)
