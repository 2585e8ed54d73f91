"""Samples to layers and functions, each kind of thread by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from benchmarks.layers import mapping
from benchmarks.layers.mapping import RESTING
from benchmarks.layers.stacks import Stack

REACTOR: Final = "reactor"
DATABASE: Final = "database"
OTHERS: Final = "others"
THREADS: Final = {REACTOR: "the reactor's thread", DATABASE: "the database's thread", OTHERS: "other threads"}
"""The kinds of threads, and what tables call them."""
_OF_THE_DATABASE: Final = "simple_im/store/database.py"

Figures = dict[str, dict[str, float]]
"""Something of each kind of thread, by layer."""


def kinds(stacks: Iterable[Stack], pid: int) -> dict[int, str]:
    """What each thread of the process is; the database's is known by what it was seen to do."""
    found = {pid: REACTOR}
    for stack in stacks:
        if stack.thread != pid:
            is_of_the_database = any(frame.file == _OF_THE_DATABASE for frame in stack.frames)
            found[stack.thread] = DATABASE if is_of_the_database else found.get(stack.thread, OTHERS)
    return found


def without_rest(stacks: Iterable[Stack]) -> list[Stack]:
    """The stacks of threads that had something to do."""
    return [stack for stack in stacks if stack.frames and stack.frames[-1].place not in RESTING]


class Samples:
    """The stacks of one recording. `threads` says what each thread is; what a sample weighs is asked for by kind."""

    def __init__(self, stacks: Iterable[Stack], threads: Mapping[int, str], known: mapping.Mapping) -> None:
        self._stacks = [(threads.get(stack.thread, OTHERS), stack) for stack in stacks if stack.frames]
        self._known = known

    def of(self, kind: str) -> int:
        """How many there are of a kind of thread."""
        return sum(stack.count for each, stack in self._stacks if each == kind)

    def by_layer(self, weights: Mapping[str, float]) -> Figures:
        """What the samples of each kind of thread weigh together, by layer."""
        figures: Figures = {kind: {} for kind in THREADS}
        for kind, stack in self._stacks:
            layer, _ = self._known.layer(reversed(stack.frames))
            figures[kind][layer] = figures[kind].get(layer, 0.0) + stack.count * weights[kind]
        return figures

    def unknown(self, weights: Mapping[str, float]) -> dict[str, float]:
        """The calls that no rule knows."""
        return self._weighed(weights, self._unknown)

    def by_self(self, weights: Mapping[str, float]) -> dict[str, float]:
        """What was seen in a function itself."""
        return self._weighed(weights, lambda stack: [stack.frames[-1].place])

    def inclusive(self, weights: Mapping[str, float]) -> dict[str, float]:
        """What was seen in a function or in what it calls."""
        return self._weighed(weights, lambda stack: {frame.place for frame in stack.frames})

    def _unknown(self, stack: Stack) -> list[str]:
        _, frame = self._known.layer(reversed(stack.frames))
        return [] if frame is None else [frame.place]

    def _weighed(self, weights: Mapping[str, float], names: Callable[[Stack], Iterable[str]]) -> dict[str, float]:
        """By name, the heaviest first."""
        figures: dict[str, float] = defaultdict(float)
        for kind, stack in self._stacks:
            for name in names(stack):
                figures[name] += stack.count * weights[kind]
        return dict(sorted(figures.items(), key=lambda figure: -figure[1]))
