"""Runs of the load generator against a node, with the sampler beside them or without."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.layers import stacks
from benchmarks.layers.stacks import Stack
from benchmarks.layers.subject import Subject
from benchmarks.layers.trouble import CannotMeasure
from benchmarks.peers import generator
from benchmarks.peers.generator import Report
from benchmarks.peers.reports import wrong

RATE: Final = 500
"""Samples a second."""
_WARMUP: Final = 2.0
"""Seconds of a run that the generator does not count; by then everybody has signed in."""
_SLICE: Final = 2
"""Seconds for which threads are looked at in one way, before they are in the other."""
_BEGINNING: Final = 1.5
"""Seconds that py-spy may take to begin with a slice."""
_PATIENCE: Final = 120.0
"""Seconds beyond its own time that a process may take."""
_TAIL: Final = 600


class Seen(NamedTuple):
    """What threads were seen to do, and how often they were looked at."""

    stacks: list[Stack]
    ticks: int

    def and_then(self, later: Seen) -> Seen:
        """Both."""
        return Seen(self.stacks + later.stacks, self.ticks + later.ticks)


@dataclass(frozen=True)
class Recording:
    """What was seen of a node while messages went through it."""

    report: Report
    """The generator's."""
    running: Seen
    """Of the threads that the system runs."""
    everything: Seen
    """Of all threads, also those that it lets sleep; in turn with `running`."""
    cpu: dict[int, float]
    """Seconds of CPU that each of its threads used meanwhile."""


def sampler() -> str:
    """The path of py-spy; raises `CannotMeasure` where it is not installed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("py-spy", path=path)
    if found is None:
        raise CannotMeasure(f"py-spy is not installed: {sys.executable} -m pip install py-spy")
    return found


def run(node: Subject, window: int, seconds: int) -> Report:
    """The generator's report of a run that nothing disturbs."""
    with _running(_generator(node, window, seconds)) as process:
        return _report(process, window, seconds)


def record(node: Subject, window: int, seconds: int) -> Recording:
    """A run that is sampled for so many seconds in each of the two ways."""
    slices = -(-seconds // _SLICE)
    longer = 2 * slices * (_SLICE + _BEGINNING)
    with _running(_generator(node, window, longer)) as process:
        time.sleep(_WARMUP)
        running = everything = Seen([], 0)
        before = thread_times(node.pid)
        for _ in range(slices):
            running = running.and_then(_sample(node.pid, _SLICE, idle=False))
            everything = everything.and_then(_sample(node.pid, _SLICE, idle=True))
        cpu = {thread: used - before.get(thread, 0.0) for thread, used in thread_times(node.pid).items()}
        if process.poll() is not None:
            raise CannotMeasure(f"sampling took longer than {longer:.0f} s: the machine is too busy")
        return Recording(_report(process, window, longer), running, everything, cpu)


def thread_times(pid: int) -> dict[int, float]:
    """Seconds of CPU that each thread of a process has used."""
    times = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            times[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return times


def _generator(node: Subject, window: int, seconds: float) -> list[str]:
    options = {
        "--window": window,
        "--proto": "toml",
        "--port": node.im_port,
        "--users": node.users,
        "--server-pid": node.pid,
        "--warmup": _WARMUP,
        "--seconds": seconds,
    }
    words = [str(word) for option in options.items() for word in option]
    return [str(generator.FOLDER / "gen" / "imbench"), "throughput", *words, "--quiet"]


def _sample(pid: int, seconds: int, *, idle: bool) -> Seen:
    """`idle` says that threads which the system lets sleep are seen too.

    py-spy does not stop the process to look: a stop wakes threads that sleep, and on a busy machine they are seen awake
    the next time. Of a hundred stacks or so one changes while it is read, and is dropped.
    """
    with tempfile.TemporaryDirectory(prefix="simple_im-layers-") as folder:
        path = Path(folder) / "stacks"
        options = [
            "--pid",
            pid,
            "--format",
            "raw",
            "--threads",
            "--rate",
            RATE,
            "--duration",
            seconds,
            "--output",
            path,
        ]
        command = [sampler(), "record", "--nonblocking", *map(str, options), *(["--idle"] if idle else [])]
        with _running(command) as process:
            said, code = _wait(process, seconds, "py-spy")
        if code or not path.is_file():
            raise CannotMeasure(f"py-spy failed (exit code {code}):\n{said[-_TAIL:].strip()}")
        with path.open() as lines:
            return Seen(stacks.read(lines), seconds * RATE - _errors(said))


def _errors(said: str) -> int:
    found = re.search(r"Errors: (\d+)", said)
    return int(found[1]) if found else 0


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process of its own session, where Ctrl-C does not reach it; it is gone at the end, whatever happens."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotMeasure(f"{command[0]} can't be run ({error.strerror})") from None
    with process:
        try:
            yield process
        finally:
            process.kill()


def _wait(process: subprocess.Popen[str], seconds: float, name: str) -> tuple[str, int]:
    """What it printed, and its exit code."""
    try:
        said, _ = process.communicate(timeout=seconds + _PATIENCE)
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"{name} did not end within {seconds + _PATIENCE:.0f} s") from None
    return said, process.returncode


def _report(process: subprocess.Popen[str], window: int, seconds: float) -> Report:
    said, _ = _wait(process, seconds, "the load generator")
    lines = said.strip().splitlines() or [""]
    try:
        report: Report = json.loads(lines[-1])
    except ValueError:
        raise CannotMeasure(f"the load generator gave no report:\n{said[-_TAIL:].strip()}") from None
    if not report["ok"]:
        what = {"target": "simple_im", "name": f"with {window} in flight", **report}
        raise CannotMeasure(f"a run's checks failed: {wrong(what)}")
    return report
