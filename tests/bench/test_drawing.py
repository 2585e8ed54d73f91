"""Pictures of results, and the reports of other servers that are drawn beside them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks.load.drawing import OURS, Peers, Report, draw
from benchmarks.load.results import Results

PERCENTILES = ("p50", "p90", "p99", "max")
RELAY = "<!-- bare Twisted relay"


def report(target: str, name: str, value: float, **more: Any) -> dict[str, Any]:
    """One of a server, with the same everywhere."""
    percentiles = dict.fromkeys(PERCENTILES, value)
    figures = {"msg_per_s": value, "lat_us": percentiles, "ack_us": percentiles, "fsync_us": percentiles}
    return {"target": target, "name": name, "ok": True, "noisy": False, **figures, **more}


def result() -> dict[str, Any]:
    """One of simple_im and the relay, at rest and with a message in flight."""
    sizes = {"rate": 200, "pairs": 1, "body": 32, "windows": [1], "idle": [], "users": [], "stored": [], "devices": []}
    made = Results({"sizes": sizes})
    latencies = {f"{what}_{name}_us": 1.0 for what in ("delivery", "ack") for name in PERCENTILES}
    run = {**latencies, "messages_per_s": 1_000.0, "other_cpu_share": 0.0, "noisy": False}
    for workload, case in (("latency", "at rest"), ("floor", "at rest"), ("throughput", "w1"), ("floor", "w1")):
        made.add(workload, case, run)
    return made.document()


def rate(report: Report) -> float | None:
    """What is asked for."""
    found: float | None = report.get("msg_per_s")
    return found


class PeersTests(SynchronousTestCase):
    """Other servers' reports."""

    def test_spread(self) -> None:
        """The median, the least and the most of what is sound and not noisy."""
        quiet = [report("peer", "w1", value) for value in (3.0, 1.0, 4.0)]
        bad = [report("peer", "w1", 9.0, ok=False), report("peer", "w1", 9.0, noisy=True), report("other", "w1", 9.0)]
        self.assertEqual(Peers([*quiet, *bad]).spread("peer", "w1", rate), (3.0, 1.0, 4.0))

    def test_noisy(self) -> None:
        """Noisy ones count where there is no other."""
        self.assertEqual(Peers([report("peer", "w1", 9.0, noisy=True)]).spread("peer", "w1", rate), (9.0, 9.0, 9.0))

    def test_not_measured(self) -> None:
        """Neither the workload, nor this of it."""
        peers = Peers([report("peer", "w1", 1.0, msg_per_s=None)])
        self.assertIsNone(peers.spread("peer", "w1", rate))
        self.assertIsNone(peers.spread("peer", "w16", rate))


class DrawTests(SynchronousTestCase):
    """The pictures."""

    def setUp(self) -> None:
        if importlib.util.find_spec("matplotlib") is None:
            raise SkipTest("matplotlib is not installed")

    def drawn(self, *reports: Report) -> dict[str, str]:
        """The pictures by name."""
        peers, directory = Path(self.mktemp()), Path(self.mktemp())
        peers.write_text("".join(json.dumps(each) + "\n" for each in reports))
        return {path.stem: path.read_text() for path in draw(result(), directory, peers)}

    def test_beside(self) -> None:
        """What the result has is drawn beside other servers."""
        pictures = self.drawn(report("peer", "latency", 1.0), report("peer", "w1", 1.0))
        for name in ("latency", "throughput"):
            self.assertIn(RELAY, pictures[name])
            self.assertIn("<!-- peer", pictures[name])

    def test_taken_in_turn(self) -> None:
        """Where simple_im was measured in turn with others, nothing is beside them that was not."""
        reports = [report(target, name, 1.0) for target in (OURS, "peer") for name in ("latency", "w1")]
        pictures = self.drawn(*reports)
        for name in ("latency", "throughput"):
            self.assertNotIn(RELAY, pictures[name])
            self.assertIn(f"<!-- {OURS}", pictures[name])
            self.assertIn("<!-- peer", pictures[name])
