"""What a sampling profiler saw: call stacks of threads, and how often each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

_THREAD: Final = re.compile(r"thread \((\d+)\)")
_FRAME: Final = re.compile(r"(.*) \((.*?)(?::(\d+))?\)")


class Frame(NamedTuple):
    """A call: `file` as the profiler shortens it (below the directory that Python found it in), `line` 0 for none."""

    function: str
    file: str
    line: int

    @property
    def place(self) -> str:
        """Without the line."""
        return f"{self.function} ({self.file})"


@dataclass(frozen=True)
class Stack:
    """One that was seen `count` times; the innermost call is the last of `frames`."""

    thread: int
    """Its id, as the system counts threads."""
    frames: tuple[Frame, ...]
    count: int


def read(lines: Iterable[str]) -> list[Stack]:
    """The lines of `py-spy record --format raw --threads`; raises ValueError."""
    return [_stack(line) for line in lines if line.strip()]


def _stack(line: str) -> Stack:
    calls, _, count = line.rstrip("\n").rpartition(" ")
    thread, *frames = calls.split(";")
    found = _THREAD.match(thread)
    if found is None:
        raise ValueError(f"no thread at the beginning of {line!r}")
    return Stack(int(found[1]), tuple(map(_frame, frames)), int(count))


def _frame(text: str) -> Frame:
    found = _FRAME.fullmatch(text)
    return Frame(found[1], found[2], int(found[3] or 0)) if found else Frame(text, "", 0)
