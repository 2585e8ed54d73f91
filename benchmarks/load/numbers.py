"""What becomes of many measurements: percentiles of one run, and the middle of several runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

Metrics = dict[str, float]
"""What one run came to, by name; a name ends with its unit."""
PERCENTILES: Final = (50, 90, 99, 99.9)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """By nearest rank: the smallest value that so many of a hundred values do not exceed. `ordered` is sorted, and is
    not empty."""
    rank = math.ceil(round(percent / 100 * len(ordered), 9))
    return ordered[max(rank, 1) - 1]


def latencies(what: str, nanoseconds: Sequence[int]) -> Metrics:
    """`WHAT_p50_us` and so on, and `WHAT_max_us`; nothing where there are none."""
    ordered = sorted(nanoseconds)
    if not ordered:
        return {}
    found = {f"{what}_p{percent}_us": percentile(ordered, percent) / 1_000 for percent in PERCENTILES}
    return {**found, f"{what}_max_us": ordered[-1] / 1_000}


def summed_up(runs: Sequence[Mapping[str, float]]) -> dict[str, Metrics]:
    """`median`, `min` and `max` of every metric that all the runs have."""
    names = [name for name in runs[0] if all(name in run for run in runs)] if runs else []
    columns = {name: [run[name] for run in runs] for name in names}
    return {
        "median": {name: statistics.median(column) for name, column in columns.items()},
        "min": {name: min(column) for name, column in columns.items()},
        "max": {name: max(column) for name, column in columns.items()},
    }
