"""The load generator of `benchmarks/imbench`: built, and what its own runner `bench.py` gives, with types."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from benchmarks.imbench import bench

Report = dict[str, Any]
"""What one run gave: a line of the results."""
Target = Mapping[str, Any]
"""An entry of `targets.toml`."""

FOLDER: Final = Path(bench.HERE)
STATE: Final = Path(bench.STATE)
"""Where the peers' accounts, keys and data are kept: $IMBENCH_STATE, or a folder in that for temporary files."""
WORKLOADS: Final = ("latency", "w1", "w16", "w64", "connect", "idle")
"""Those of its workloads that the goals are about."""
NOISE: Final[float] = bench.NOISE
"""The CPUs used by others above which a run is noisy."""
_PINNED_NOWHERE: Final = SimpleNamespace(gen_cpu=None)
_BUILD_PATIENCE: Final = 300.0


class CannotBuild(Exception):
    """The generator can't be built; the message is one sentence that says what to do."""


def build() -> None:
    """Compile it where it is not compiled yet; raises `CannotBuild`."""
    command = ["make", "-C", str(FOLDER / "gen")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_PATIENCE, check=False)
    except OSError as error:
        raise CannotBuild(_sentence(f"make: {error.strerror}")) from None
    if done.returncode:
        raise CannotBuild(_sentence(_first_error(done.stderr)))


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else "make failed")


def _sentence(reason: str) -> str:
    return f"the load generator can't be built ({reason}): it needs gcc, make and libssl-dev (apt-get install them)"


def targets() -> dict[str, Target]:
    """The servers that it knows, by name."""
    found: dict[str, Target] = bench.targets()
    return found


def environ() -> dict[str, str]:
    """What the peers' scripts need to find in their environment."""
    return {**os.environ, "IMBENCH_STATE": str(STATE)}


def wait_until_quiet(patience: float) -> bool:
    """Wait, at most so many seconds, until other processes leave the machine alone; whether they do."""
    quiet: bool = bench.wait_quiet(patience)
    return quiet


def measure(target: Target, name: str, workload: str, options: Sequence[str]) -> Report:
    """One run; raises RuntimeError, or an error of `subprocess`, where it came to no report."""
    report: Report = bench.measure(target, name, workload, _PINNED_NOWHERE, options)
    return report


def brief(report: Report) -> str:
    """A report in a line."""
    text: str = bench.brief(report)
    return text


def say(*words: object) -> None:
    """Tell those who wait, with the time."""
    bench.say(*words)


Format = Callable[[float], str]


def rounded(value: float) -> str:
    """A figure with as many digits as it deserves."""
    text: str = bench.si(value)
    return text


def milliseconds(microseconds: float) -> str:
    """Microseconds as milliseconds."""
    text: str = bench.ms(microseconds)
    return text


def spread(values: Sequence[float], format_: Format) -> str:
    """Median (min-max), as a cell of a table."""
    text: str = bench.cell(values, format_)
    return text
