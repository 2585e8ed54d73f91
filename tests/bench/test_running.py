"""The whole, on a small scale: `python -m benchmarks.load`."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks.load.running import WORKLOADS, bounded
from benchmarks.load.trouble import TookTooLong
from benchmarks.node import ROOT

PATIENCE = 120.0
PEER = {
    "target": "peer",
    "ok": True,
    "noisy": False,
    "lat_us": {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0},
    "msg_per_s": 1_000.0,
    "steps": [{"conns": 0, "rss_kb": 1_000}, {"conns": 10, "rss_kb": 2_000}],
}


def start(*arguments: str) -> subprocess.Popen[str]:
    """`python -m benchmarks.load` with these."""
    command = [sys.executable, "-m", "benchmarks.load", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environ, text=True, stdout=pipe, stderr=pipe)


def run(*arguments: str) -> str:
    """What it prints; an error where it fails."""
    process = start(*arguments)
    output, errors = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise AssertionError(errors)
    return output


def quick(directory: Path, name: str, workloads: list[str]) -> tuple[subprocess.Popen[str], Path]:
    """A quick run of some workloads that has begun, and where its result will be."""
    out = directory / f"{name}.json"
    options = ("--driver", "python", "--repeats", "1", "--attempts", "1", "--patience", "0", "--disk", str(directory))
    return start("--quick", "--only", ",".join(workloads), "--out", str(out), *options), out


def results() -> list[dict[str, Any]]:
    """Those of two runs, which share the workloads and went on at the same time."""
    found = ran()
    if isinstance(found, str):
        raise AssertionError(found)
    return found


@cache
def ran() -> list[dict[str, Any]] | str:
    """The results, or what went wrong, which is not tried again."""
    directory = Path(mkdtemp(prefix="bench-"))
    try:
        halves = (["growth", "storm"], [name for name in WORKLOADS if name not in ("growth", "storm")])
        begun = [quick(directory, str(number), half) for number, half in enumerate(halves)]
        said = [process.communicate(timeout=PATIENCE)[1] for process, _ in begun]
        if any(process.returncode for process, _ in begun):
            return "\n".join(said)
        left = sorted(path.name for path in directory.iterdir())
        if left != ["0.json", "1.json"]:
            return f"something is left: {left}"
        return [json.loads(out.read_text()) for _, out in begun]
    finally:
        rmtree(directory)


def cases(workload: str) -> dict[str, dict[str, Any]]:
    """What was measured of a workload."""
    (found,) = [result["workloads"][workload] for result in results() if workload in result["workloads"]]
    return dict(found)


class WorkloadTests(SynchronousTestCase):
    """Every workload, quickly, with the load from Python."""

    def assert_metrics(self, workload: str, names: dict[str, list[str]]) -> None:
        """These are the workload's cases, and each has these metrics, which are more than nothing."""
        found = cases(workload)
        self.assertEqual(list(found), list(names))
        for case, metrics in names.items():
            self.assertEqual(len(found[case]["runs"]), 1)
            for which in ("median", "min", "max"):
                for metric in metrics:
                    self.assertGreater(found[case][which][metric], 0, f"{workload}, {case}: {which} {metric}")

    def test_latency(self) -> None:
        """At rest: how long a delivery, an acknowledgement and the disk take."""
        names = ["delivery_p50_us", "delivery_p90_us", "delivery_p99_us", "delivery_max_us"]
        self.assert_metrics("latency", {"at rest": [*names, "ack_p50_us", "ack_max_us", "fsync_p50_us"]})

    def test_throughput(self) -> None:
        """Full: messages a second, and what they cost the server."""
        names = ["messages_per_s", "delivery_p50_us", "delivery_p99_us", "ack_p50_us", "ack_p99_us"]
        self.assert_metrics("throughput", dict.fromkeys(["w1", "w16", "w16, 1,000 bytes"], names))

    def test_fanout(self) -> None:
        """Groups: the last member, deliveries, and what is stored; a body is not stored once a member."""
        names = ["deliveries_per_s", "one_delivery_p50_us", "one_delivery_p99_us", "stored_bytes_per_message"]
        self.assert_metrics("fanout", dict.fromkeys(["4 members", "10 members"], names))
        small, large = (case["median"]["stored_bytes_per_message"] for case in cases("fanout").values())
        self.assertLess(large - small, 6 * 256)

    def test_sign_ins(self) -> None:
        """By password and by token."""
        self.assert_metrics("sign-ins", {"password": ["sign_ins_per_s"], "token": ["sign_ins_per_s"]})

    def test_idle(self) -> None:
        """Memory with no connection, and with some."""
        self.assert_metrics("idle", {"memory": ["rss_none_kb", "rss_5_kb", "rss_10_kb"]})

    def test_storm(self) -> None:
        """All come back after a restart."""
        self.assert_metrics("storm", {"restart": ["from_start_s", "from_open_port_s", "tries_per_client"]})

    def test_catch_up(self) -> None:
        """One device takes more than a window."""
        self.assert_metrics("catch-up", {"one device": ["all_s", "entries_per_s"]})

    def test_growth(self) -> None:
        """The same with more users, entries, devices, and devices a recipient."""
        names = ["10 users", "100 users", "100 entries", "1,000 entries", "100 devices", "1,000 devices"]
        names += ["1 to a recipient", "3 to a recipient"]
        self.assert_metrics("growth", {name: ["messages_per_s"] for name in names})

    def test_floor(self) -> None:
        """What a bare relay takes."""
        metrics = ["messages_per_s", "delivery_p50_us"]
        self.assert_metrics("floor", {name: metrics for name in ("at rest", "w1", "w16")})

    def test_about(self) -> None:
        """A result says what it was taken on."""
        for result in results():
            self.assertEqual(result["driver"], "python")
            self.assertTrue(result["settings"]["quick"])
            for name in ("cpu", "cores", "kernel", "python", "openssl", "sqlite", "filesystem"):
                self.assertTrue(result["machine"][name], name)
            self.assertTrue(result["commit"])


class AfterwardsTests(SynchronousTestCase):
    """What is done with results."""

    def saved(self) -> str:
        """The path of one."""
        path = Path(self.mktemp())
        workloads = {name: found for result in results() for name, found in result["workloads"].items()}
        path.write_text(json.dumps({**results()[0], "workloads": workloads}))
        return str(path.absolute())

    def test_compare(self) -> None:
        """A result is as good as itself."""
        path = self.saved()
        lines = run("compare", path, path).splitlines()
        (line,) = [line for line in lines if line.startswith("throughput, w16: messages_per_s ")]
        self.assertIn(" 1.00", line)
        self.assertFalse([line for line in lines if "better" in line or "worse" in line])

    def test_draw(self) -> None:
        """Four pictures, with another server in them."""
        if importlib.util.find_spec("matplotlib") is None:
            raise SkipTest("matplotlib is not installed")
        peers, directory = Path(self.mktemp()), Path(self.mktemp())
        peers.write_text("".join(json.dumps({**PEER, "name": name}) + "\n" for name in ("latency", "w1", "idle")))
        run("draw", self.saved(), str(directory.absolute()), "--peers", str(peers.absolute()))
        names = ["growth.svg", "latency.svg", "memory.svg", "throughput.svg"]
        self.assertEqual(sorted(path.name for path in directory.iterdir()), names)
        for name in names[1:]:
            self.assertIn("<!-- peer", (directory / name).read_text())

    def test_no_result(self) -> None:
        """What is no result is said to be none."""
        process = start("compare", str(ROOT / "setup.cfg"))
        _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1)
        self.assertIn("is no result", errors)


class EndTests(SynchronousTestCase):
    """Runs that do not come to their end."""

    def test_interrupted(self) -> None:
        """Ctrl-C leaves no process and no file."""
        directory = Path(self.mktemp())
        directory.mkdir()
        process, out = quick(directory.absolute(), "result", ["catch-up", "idle"])
        try:
            pid = self.node_pid(directory, process)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
        self.assertEqual(process.returncode, 130, errors)
        self.assertEqual(list(directory.iterdir()), [])
        self.assertFalse(Path(f"/proc/{pid}").exists())
        self.assertFalse(out.exists())

    def node_pid(self, directory: Path, process: subprocess.Popen[str]) -> int:
        """That of a node which has come to be below the directory, while the process runs."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            for lock in directory.glob("*/state/lock"):
                if text := lock.read_text().strip():
                    return int(text)
            time.sleep(0.01)
        raise AssertionError("no node has started")

    def test_stuck(self) -> None:
        """What takes too long ends with an error that says where it was."""
        with self.assertRaises(TookTooLong) as caught, bounded(0.05, "sleeping"):
            time.sleep(PATIENCE)
        self.assertRegex(str(caught.exception), r"^sleeping: not done after 0.05 s, in ")
