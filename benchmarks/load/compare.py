"""Two results beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MORE: Final = ("messages_per_s", "deliveries_per_s", "entries_per_s", "sign_ins_per_s", "_per_cpu_s")
"""Ends of the names of what is the better the more of it there is."""
LESS: Final = ("_p50_us", "_p99_us", "_kb", "_per_message", "_per_delivery", "from_start_s", "open_port_s", "all_s")
"""The same, the less."""
_NOT_OURS: Final = "fsync_"


def compare(old: dict[str, Any], new: dict[str, Any]) -> str:
    """A table of what both have: the medians, how far the runs spread, and new by old.

    `better` and `worse` stand where no run of one is within what the runs of the other spread over.
    """
    heads = [_head("old", old), _head("new", new)]
    rows = [("", "old (min-max)", "new (min-max)", "new/old", ""), *_rows(old, new)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
    if len(rows) == 1:
        lines = ["they have nothing in common"]
    warnings = [f"the machines are not the same ({difference})" for difference in _differences(old, new)]
    return "\n".join([*heads, *warnings, *lines])


def _head(name: str, result: dict[str, Any]) -> str:
    return f"{name}: {result['commit']}, {result['date']}, load from {result['driver']}"


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for name, value in old["machine"].items():
        other = new["machine"].get(name)
        if other != value:
            yield f"{name}: {value}, {other}"


def _padded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """The first and the last to the left, numbers to the right."""
    last = len(row) - 1
    cells = enumerate(zip(row, widths, strict=True))
    return [text.ljust(width) if place in (0, last) else text.rjust(width) for place, (text, width) in cells]


def _rows(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for workload, cases in old["workloads"].items():
        for case, was in cases.items():
            now = new["workloads"].get(workload, {}).get(case)
            if now is not None:
                yield from _case_rows(f"{workload}, {case}", was, now)


def _case_rows(title: str, was: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name in was["median"]:
        better = direction(name)
        if better and name in now["median"]:
            before, after = was["median"][name], now["median"][name]
            ratio = f"{after / before:.2f}" if before else "-"
            noisy = " noisy" if was["noisy"] or now["noisy"] else ""
            yield f"{title}: {name}", _spread(was, name), _spread(now, name), ratio, _verdict(was, now, name) + noisy


def direction(name: str) -> int:
    """1 where more of it is better, -1 where less is, 0 where it is neither."""
    if name.startswith(_NOT_OURS):
        return 0
    return 1 if name.endswith(MORE) else -1 if name.endswith(LESS) else 0


def _spread(case: dict[str, Any], name: str) -> str:
    middle, least, most = (number(case[which][name]) for which in ("median", "min", "max"))
    return middle if least == most else f"{middle} ({least}-{most})"


def number(value: float) -> str:
    """With as many digits as it deserves."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _verdict(was: dict[str, Any], now: dict[str, Any], name: str) -> str:
    if now["min"][name] > was["max"][name]:
        return "better" if direction(name) > 0 else "worse"
    if now["max"][name] < was["min"][name]:
        return "worse" if direction(name) > 0 else "better"
    return ""
