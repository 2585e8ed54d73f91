"""Percentiles and medians."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load.numbers import latencies, percentile, summed_up


class PercentileTests(SynchronousTestCase):
    """By nearest rank."""

    def test_hundred(self) -> None:
        """Of 1 to 100 each percentile is its own number."""
        values = list(range(1, 101))
        self.assertEqual([percentile(values, percent) for percent in (1, 50, 90, 99, 100)], [1, 50, 90, 99, 100])

    def test_between(self) -> None:
        """Between two ranks it is the upper: no fewer than so many do not exceed it."""
        self.assertEqual(percentile(range(1, 101), 99.9), 100)
        self.assertEqual(percentile([10, 20, 30], 50), 20)
        self.assertEqual(percentile([10, 20, 30, 40], 50), 20)
        self.assertEqual(percentile(range(1, 1_001), 99.9), 999)

    def test_one(self) -> None:
        """A single value is every percentile, also the smallest."""
        self.assertEqual([percentile([7], percent) for percent in (0, 50, 100)], [7, 7, 7])

    def test_latencies(self) -> None:
        """Nanoseconds in any order become microseconds."""
        found = latencies("delivery", [number * 1_000 for number in range(100, 0, -1)])
        self.assertEqual((found["delivery_p50_us"], found["delivery_p99_us"], found["delivery_max_us"]), (50, 99, 100))

    def test_no_latencies(self) -> None:
        """Where nothing was measured, nothing is said."""
        self.assertEqual(latencies("ack", []), {})


class SumTests(SynchronousTestCase):
    """What several runs come to."""

    def test_middle_and_ends(self) -> None:
        """Median, least and most of each metric; one that a run lacks is left out."""
        found = summed_up([{"a": 3.0, "b": 1.0}, {"a": 1.0}, {"a": 8.0}])
        self.assertEqual(found, {"median": {"a": 3.0}, "min": {"a": 1.0}, "max": {"a": 8.0}})
