"""Two results beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load import results
from benchmarks.load.compare import compare, direction
from benchmarks.load.results import Results


def result(metric: str, *values: float, kernel: str = "Linux 6") -> dict[str, Any]:
    """A result with a single metric."""
    about = {"commit": "c0ffee", "date": "2025-01-01", "driver": "python", "machine": {"kernel": kernel}}
    made = Results(about)
    for value in values:
        made.add("work", "case", {metric: value, "other_cpu_share": 0.0, "noisy": False})
    return made.document()


class CompareTests(SynchronousTestCase):
    """The table."""

    def last(self, metric: str, old: tuple[float, ...], new: tuple[float, ...]) -> list[str]:
        """The words of its only row, without the name."""
        line = compare(result(metric, *old), result(metric, *new)).splitlines()[-1]
        return line.split(f"{metric} ")[1].split()

    def test_ratio(self) -> None:
        """New by old, of the medians."""
        row = self.last("messages_per_s", (90, 100, 130), (125, 120, 200))
        self.assertEqual(row, ["100", "(90.0-130)", "125", "(120-200)", "1.25"])

    def test_better(self) -> None:
        """More messages a second are better, more microseconds worse; but only where the runs do not overlap."""
        self.assertEqual(self.last("messages_per_s", (1, 2), (3, 4))[-1], "better")
        self.assertEqual(self.last("delivery_p50_us", (1, 2), (3, 4))[-1], "worse")
        self.assertEqual(self.last("delivery_p50_us", (3, 4), (1, 2))[-1], "better")

    def test_directions(self) -> None:
        """The disk's own time and shares of the CPU are neither."""
        names = ("messages_per_cpu_s", "rss_10_kb", "server_us_per_message", "fsync_p50_us", "driver_cpu_share")
        self.assertEqual([direction(name) for name in names], [1, -1, -1, 0, 0])

    def test_other_machine(self) -> None:
        """A difference between the machines is said."""
        text = compare(result("messages_per_s", 1), result("messages_per_s", 1, kernel="Linux 7"))
        self.assertIn("the machines are not the same (kernel: Linux 6, Linux 7)", text)

    def test_nothing_in_common(self) -> None:
        """Different workloads can't be compared."""
        other = {**result("messages_per_s", 1), "workloads": {}}
        self.assertIn("nothing in common", compare(result("messages_per_s", 1), other))


class NoisyTests(SynchronousTestCase):
    """Runs that others disturbed."""

    def test_left_out(self) -> None:
        """They count only where there is no other, and are kept all the same."""
        made = Results({})
        made.add("work", "case", {"all_s": 1.0, "other_cpu_share": 0.0, "noisy": False})
        made.add("work", "case", {"all_s": 9.0, "other_cpu_share": 1.0, "noisy": True})
        made.add("work", "other", {"all_s": 9.0, "other_cpu_share": 1.0, "noisy": True})
        found = made.document()["workloads"]["work"]
        self.assertEqual((found["case"]["median"]["all_s"], found["case"]["noisy"]), (1.0, False))
        self.assertEqual((found["other"]["median"]["all_s"], found["other"]["noisy"]), (9.0, True))
        self.assertEqual(len(found["case"]["runs"]), 2)


class KeptTests(SynchronousTestCase):
    """The results in the repository."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.patch(results, "FOLDER", self.folder)
        self.patch(results, "LATEST", self.folder / "latest.json")

    def keep(self, name: str, date: str, quick: bool = False) -> Path:
        """A result with nothing in it."""
        path = self.folder / name
        Results({"date": date, "settings": {"quick": quick}}).save(path)
        return path

    def test_last(self) -> None:
        """The newest is found, whatever it is called; neither the latest run, nor one of other sizes."""
        self.keep("b.json", "2025-01-01")
        newest = self.keep("a.json", "2025-01-02")
        self.keep("quick.json", "2025-01-03", quick=True)
        self.keep("latest.json", "2025-01-04")
        (self.folder / "other.json").write_text("{}")
        self.assertEqual(results.last_kept(results.LATEST, False), newest)

    def test_itself(self) -> None:
        """A result is not compared with itself."""
        only = self.keep("a.json", "2025-01-01")
        self.assertIsNone(results.last_kept(only, False))
