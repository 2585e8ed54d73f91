"""The reports of a run, and which of them count."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.peers.generator import Report

COUNTS = (
    "lost",
    "unacked",
    "dup",
    "misrouted",
    "corrupt",
    "wrong_id",
    "wrong_from",
    "errors",
    "conn_lost",
    "logins_failed",
)
"""What fails a run where it is not 0."""


class Reports:
    """A run's reports. One whose checks failed never counts, and a noisy one only where there is no other."""

    def __init__(self, reports: Iterable[Report]) -> None:
        self._all = list(reports)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Reports:
        """Those in these files, one a line; raises OSError and ValueError."""
        return cls(json.loads(line) for path in paths for line in path.read_text().splitlines())

    def used(self, server: str, workload: str) -> list[Report]:
        """Those that count."""
        good = self._good(server, workload)
        return [report for report in good if not report["noisy"]] or good

    def is_disturbed(self, server: str, workload: str) -> bool:
        """Whether there are only noisy ones."""
        good = self._good(server, workload)
        return bool(good) and all(report["noisy"] for report in good)

    def _good(self, server: str, workload: str) -> list[Report]:
        return [r for r in self._all if (r["target"], r["name"]) == (server, workload) and r["ok"]]

    def values(self, server: str, workload: str, of: Callable[[Report], float | None]) -> list[float]:
        """The figures of those that count and have one."""
        return [value for report in self.used(server, workload) if (value := of(report)) is not None]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._all)

    @property
    def noisy(self) -> int:
        """How many were disturbed."""
        return sum(report["noisy"] for report in self._all)

    @property
    def failed(self) -> list[Report]:
        """Those whose checks failed."""
        return [report for report in self._all if not report["ok"]]

    @property
    def sizes(self) -> list[int]:
        """How many runs a figure is the median of: the different numbers, the smallest first."""
        pairs = {(report["target"], report["name"]) for report in self._all if report["ok"]}
        return sorted({len(self.used(*pair)) for pair in pairs})

    @property
    def tls(self) -> list[str]:
        """What was negotiated."""
        return sorted({report["tls"] for report in self._all if report["ok"]})


def wrong(report: Report) -> str:
    """What was wrong with a run whose checks failed."""
    counts = ", ".join(f"{name} {report[name]}" for name in COUNTS if report.get(name))
    return f"{report['target']} {report['name']}: {report.get('error') or counts or 'no count says why'}"
