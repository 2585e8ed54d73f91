"""A measurement as it is kept: as JSON, for tables to come, and as text, for people."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.layers import tables
from benchmarks.layers.mapping import LAYERS
from benchmarks.layers.recording import RATE
from benchmarks.layers.windows import Top, Window

_ABOUT: Final = f"""\
Microseconds of CPU time that one message costs the server, by layer: from its sender to its recipient, with both
acknowledgements. W is how many messages each of 50 pairs of users has in flight.

The whole is the server's CPU time in a run that was not sampled. How its threads share it is what the system has
counted in a second run, and how the layers share a thread's part is what py-spy saw of it there, {RATE} times a second,
while the system ran it or was about to. On a machine without a CPU to spare, where a thread has just been woken its
figures are too large.

Waiting is what py-spy saw beyond that when it looked at threads that the system lets sleep as well, in microseconds of
the clock a message: for the interpreter lock, and in `commit` and `statements` for the disk too. It is a difference, so
it may be a little below 0. Where a thread waits for work it can't be told from waiting for the lock, and is left
out."""


@dataclass(frozen=True)
class Result:
    """One version, on one machine."""

    commit: str
    machine: dict[str, Any]
    seconds: int
    """How long each run counts messages, or is sampled."""
    windows: dict[int, Window]
    when: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))


def write(result: Result, path: Path) -> None:
    """The text to `path`, and the JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    json_path(path).write_text(json.dumps(asdict(result), indent=1) + "\n")
    path.write_text(text(result))


def json_path(path: Path) -> Path:
    """Where the numbers of a text are."""
    return path.with_suffix(".json")


def read(path: Path) -> Result:
    """The reverse of `write`, of the JSON; raises OSError, ValueError, KeyError and TypeError."""
    found = json.loads(path.read_text())
    windows = {int(window): Window(**figures) for window, figures in found.pop("windows").items()}
    return Result(windows=windows, **found)


def text(result: Result) -> str:
    """All there is to say."""
    machine = "\n".join(f"{name}: {value}" for name, value in result.machine.items())
    layers = "\n".join(f"{layer}: {what}" for layer, what in LAYERS.items())
    about = f"commit: {result.commit}\nwhen: {result.when}\nseconds a run: {result.seconds}\n{machine}"
    parts = [_ABOUT, about, layers, tables.cost(result.windows), tables.waiting(result.windows)]
    parts += [part for window, figures in result.windows.items() for part in _functions(window, figures)]
    return "\n\n".join(parts) + "\n"


def _functions(window: int, figures: Window) -> Iterator[str]:
    yield (
        f"W={window}: {figures.messages:,.0f} messages a second, {figures.sampled_messages:,.0f} while sampled; "
        f"others used {figures.disturbance:.2f} CPUs"
    )
    tops = {"in the function itself": figures.by_self, "with what it calls": figures.inclusive}
    for what, top in (tops | ({"known to no rule": figures.unknown} if figures.unknown else {})).items():
        yield f"W={window}, µs of CPU a message {what}:\n{_lines(top)}"


def _lines(top: Top) -> str:
    return "\n".join(f"{microseconds:8.2f}  {name}" for name, microseconds in top.items())
