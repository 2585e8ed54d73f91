"""The results of a run, as JSON: every run of every case, and what they come to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.load.numbers import Metrics, summed_up
from benchmarks.load.trouble import BenchError
from benchmarks.node import ROOT

FOLDER: Final = ROOT / "benchmarks" / "results"
"""The results that are kept."""
LATEST: Final = FOLDER / "latest.json"
FORMAT: Final = "simple_im load 1"
_ABOUT_RUNS: Final = ("noisy", "other_cpu_share")
"""Keys of a run that are no metrics of the server."""


class Results:
    """What is known until now; `about` says where it comes from."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about
        self._workloads: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def add(self, workload: str, case: str, run: dict[str, Any]) -> None:
        """Note one more run: its metrics, `other_cpu_share`, and whether it was `noisy`."""
        self._workloads.setdefault(workload, {}).setdefault(case, []).append(run)

    def document(self) -> dict[str, Any]:
        """Everything, with medians."""
        workloads = {
            workload: {case: _summary(runs) for case, runs in cases.items()}
            for workload, cases in self._workloads.items()
        }
        return {"format": FORMAT, **self._about, "workloads": workloads}

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".draft")
        draft.write_text(json.dumps(self.document(), indent=1) + "\n")
        os.replace(draft, path)


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Noisy runs count only where there is no other."""
    quiet = [run for run in runs if not run["noisy"]]
    counted = [{name: value for name, value in run.items() if name not in _ABOUT_RUNS} for run in quiet or runs]
    return {**summed_up(counted), "noisy": not quiet, "runs": runs}


def load(path: Path) -> dict[str, Any]:
    """A result; raises `BenchError` where it is none."""
    try:
        found: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} is no result: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BenchError(f"{path} is no result of this program")
    return found


def last_kept(other_than: Path, quick: bool) -> Path | None:
    """The newest of the results that are kept, of the same sizes."""
    found = [(result["date"], path) for path, result in _kept(other_than) if result["settings"]["quick"] == quick]
    return max(found)[1] if found else None


def _kept(other_than: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in FOLDER.glob("*.json"):
        if path.resolve() not in (other_than.resolve(), LATEST.resolve()):
            try:
                yield path, load(path)
            except BenchError:
                continue


def medians(result: dict[str, Any], workload: str, case: str) -> Metrics:
    """The medians of a case; nothing where it was not measured."""
    found: Metrics = result["workloads"].get(workload, {}).get(case, {}).get("median", {})
    return found
