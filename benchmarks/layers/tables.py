"""Tables in Markdown: layers are rows, under the thread that they run on, and windows are columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from benchmarks.layers.attribution import DATABASE, REACTOR, THREADS, Figures
from benchmarks.layers.mapping import LAYERS
from benchmarks.layers.windows import Window

Windows = Mapping[int, Window]
Row = tuple[str, list[str]]
_SHOWN: Final = 0.005
"""A layer that has less than this everywhere is left out."""
_ARROW: Final = "\N{RIGHTWARDS ARROW}"


def cost(windows: Windows) -> str:
    """CPU time a message."""
    rows = [*_rows([_cpu(windows)], _one), *_totals([windows], _one)]
    return _table("CPU, µs a message", windows, rows)


def waiting(windows: Windows) -> str:
    """Time a message for which a thread could not go on."""
    return _table("waiting, µs a message", windows, _rows([_waiting(windows)], _one))


def change(before: Windows, after: Windows) -> str:
    """What it was and what it is, for the windows that both have; raises ValueError where there are none."""
    common = [window for window in before if window in after]
    if not common:
        raise ValueError("they have no window in common")
    both = [{window: each[window] for window in common} for each in (before, after)]
    rows = [*_rows([_cpu(each) for each in both], _two), *_totals(both, _two), *_waits(both)]
    return _table("CPU, µs a message", common, rows)


def _cpu(windows: Windows) -> list[Figures]:
    return [window.cpu for window in windows.values()]


def _waiting(windows: Windows) -> list[Figures]:
    return [window.waiting for window in windows.values()]


Cells = Callable[[Sequence[Sequence[float]]], list[str]]
"""From what each version has for each window to the cells of a row."""


def _one(values: Sequence[Sequence[float]]) -> list[str]:
    return [_number(value) for value in values[0]]


def _two(values: Sequence[Sequence[float]]) -> list[str]:
    return [f"{_number(before)} {_ARROW} {_number(after)}" for before, after in zip(*values, strict=True)]


def _rows(versions: Sequence[list[Figures]], cells: Cells) -> Iterator[Row]:
    """Each kind of thread with its layers under it."""
    for kind, name in THREADS.items():
        found = [
            (layer, [[figures[kind].get(layer, 0.0) for figures in version] for version in versions])
            for layer in LAYERS
        ]
        shown = [(layer, values) for layer, values in found if any(_is_shown(each) for each in values)]
        if shown:
            yield f"**{name}**", _bold(cells(_sums(versions, kind)))
            yield from ((layer, cells(values)) for layer, values in shown)


def _is_shown(values: Iterable[float]) -> bool:
    return any(abs(value) >= _SHOWN for value in values)


def _sums(versions: Sequence[list[Figures]], kind: str) -> list[list[float]]:
    return [[sum(figures[kind].values()) for figures in version] for version in versions]


def _totals(versions: Sequence[Windows], cells: Cells) -> Iterator[Row]:
    yield "**together**", _bold(cells([[window.cost for window in each.values()] for each in versions]))
    yield "messages a second", cells([[window.messages for window in each.values()] for each in versions])


def _waits(versions: Sequence[Windows]) -> Iterator[Row]:
    for kind in (REACTOR, DATABASE):
        yield f"waiting, {THREADS[kind]}", _two(_sums([_waiting(each) for each in versions], kind))


def _bold(cells: list[str]) -> list[str]:
    return [f"**{cell}**" for cell in cells]


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _table(title: str, windows: Iterable[int], rows: Iterable[Row]) -> str:
    heads = [f"W={window}" for window in windows]
    lines = [[title, *heads], ["---", *["--:" for _ in heads]], *([name, *cells] for name, cells in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
