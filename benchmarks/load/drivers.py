"""Who makes the load: the generator in C where there is one, or this package itself; both check what they get."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.load.numbers import Metrics
from benchmarks.load.processes import ServerUse, rss_kb
from benchmarks.load.traffic import Target, Traffic
from benchmarks.load.trouble import BenchError, TookTooLong, Unsound
from benchmarks.node import ROOT

GENERATOR: Final = ROOT / "benchmarks" / "imbench" / "gen" / "imbench"
NAMES: Final = ("auto", "c", "python")
_BUILD_PATIENCE: Final = 120.0
_RUN_PATIENCE: Final = 180.0
"""Seconds that a run of the generator may take beyond what it measures."""
_UNVERIFIED: Final = 2
_SHARES: Final = ("server_cpu_s", "server_cpu_share")
_COUNTS: Final = (
    *("lost", "unacked", "dup", "misrouted", "corrupt", "wrong_id", "wrong_from", "errors", "conn_lost"),
    "logins_failed",
)


class Driver(Protocol):
    """Runs workloads of pairs and of connections on a target: the first device writes to the second, and so on."""

    name: str

    def trickle(self, target: Target, rate: int, body: int, warmup: float, seconds: float) -> Metrics:
        """So many messages a second in all."""

    def flood(self, target: Target, window: int, body: int, warmup: float, seconds: float) -> Metrics:
        """So many messages of each pair in flight all the time."""

    def sign_ins(self, target: Target, at_once: int) -> Metrics:
        """All devices sign in, so many at a time."""

    def idle(self, target: Target, steps: Sequence[int], at_once: int, settle: float) -> Metrics:
        """The server's memory with so many connections, at each step after so many seconds."""


class PythonDriver:
    """This process."""

    name = "python"

    def trickle(self, target: Target, rate: int, body: int, warmup: float, seconds: float) -> Metrics:
        """See `Driver`."""
        with Traffic(target, by_sending=True) as traffic:
            traffic.pair_up(traffic.sign_in(target.devices, 16), body)
            return traffic.trickle(rate, warmup, seconds)

    def flood(self, target: Target, window: int, body: int, warmup: float, seconds: float) -> Metrics:
        """See `Driver`."""
        with Traffic(target) as traffic:
            traffic.pair_up(traffic.sign_in(target.devices, 16), body)
            return traffic.flood(window, warmup, seconds)

    def sign_ins(self, target: Target, at_once: int) -> Metrics:
        """See `Driver`."""
        with Traffic(target) as traffic:
            before = ServerUse.now(target.pid)
            traffic.sign_in(target.devices, at_once)
            after = ServerUse.now(target.pid)
            return _sign_ins(len(target.devices), after.at - before.at, before.until(after))

    def idle(self, target: Target, steps: Sequence[int], at_once: int, settle: float) -> Metrics:
        """See `Driver`."""
        found, before = {"rss_none_kb": float(rss_kb(target.pid))}, 0
        with Traffic(target) as traffic:
            for step in steps:
                traffic.sign_in(target.devices[before:step], at_once)
                traffic.run_for(settle)
                found |= _memory(step, rss_kb(target.pid), found["rss_none_kb"])
                before = step
        return found


class Generator:
    """The load generator in C, see benchmarks/imbench."""

    name = "c"

    def __init__(self, binary: Path = GENERATOR) -> None:
        self._binary = binary

    def trickle(self, target: Target, rate: int, body: int, warmup: float, seconds: float) -> Metrics:
        """See `Driver`."""
        report = self._pairs(target, "latency", body, warmup, seconds, "--rate", str(rate))
        return _messages(report)

    def flood(self, target: Target, window: int, body: int, warmup: float, seconds: float) -> Metrics:
        """See `Driver`."""
        report = self._pairs(target, "throughput", body, warmup, seconds, "--window", str(window))
        return _messages(report)

    def sign_ins(self, target: Target, at_once: int) -> Metrics:
        """See `Driver`."""
        count = len(target.devices)
        report = self._run(target, 0, "connect", "--conns", str(count), "--concurrency", str(at_once))
        use = {**{name: report[name] for name in _SHARES}, "driver_cpu_share": report["gen_cpu_share"]}
        return _sign_ins(count, count / report["logins_per_s"], use)

    def idle(self, target: Target, steps: Sequence[int], at_once: int, settle: float) -> Metrics:
        """See `Driver`."""
        listed = ",".join(map(str, steps))
        seconds = settle * len(steps)
        options = ("--steps", listed, "--concurrency", str(at_once), "--settle", f"{settle:g}")
        empty, *full = self._run(target, seconds, "idle", *options)["steps"]
        found: Metrics = {"rss_none_kb": empty["rss_kb"]}
        for step in full:
            found |= _memory(step["conns"], step["rss_kb"], empty["rss_kb"])
        return found

    def _pairs(
        self, target: Target, workload: str, body: int, warmup: float, seconds: float, *more: str
    ) -> dict[str, Any]:
        pairs = str(len(target.devices) // 2)
        times = ("--warmup", f"{warmup:g}", "--seconds", f"{seconds:g}")
        return self._run(target, warmup + seconds, workload, "--pairs", pairs, "--body", str(body), *times, *more)

    def _run(self, target: Target, seconds: float, workload: str, *options: str) -> dict[str, Any]:
        """The report; raises `Unsound` where its checks have failed."""
        where = ("--proto", "toml", "--port", str(target.port), "--server-pid", str(target.pid))
        command = [str(self._binary), workload, *where, "--users", str(target.users), "--quiet", *options]
        limit = seconds + _RUN_PATIENCE
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"the generator's {workload} did not end within {limit:g} s") from None
        if done.returncode not in (0, _UNVERIFIED) or not done.stdout:
            raise BenchError(f"the generator's {workload} ended with {done.returncode}: {done.stderr.strip()}")
        report: dict[str, Any] = json.loads(done.stdout)
        if not report["ok"]:
            wrong = ", ".join(f"{report[name]} {name}" for name in _COUNTS if report.get(name))
            raise Unsound(f"{wrong} ({done.stderr.strip()})")
        return report


def choose(name: str, binary: Path = GENERATOR) -> Driver:
    """The driver that is asked for; `auto` is the generator where it is there or can be built."""
    if name == "python":
        return PythonDriver()
    why = _build(binary)
    if why and name == "c":
        raise BenchError(f"there is no load generator: {why}")
    if why:
        print(f"the load comes from Python, which may be slower than the server: {why}", file=sys.stderr)
        return PythonDriver()
    return Generator(binary)


def _build(binary: Path) -> str:
    """Have the generator built where it is not there; why it is not."""
    if binary.exists():
        return ""
    if not (binary.parent / "Makefile").exists():
        return f"{binary.parent} has no Makefile"
    if shutil.which("make") is None:
        return "make is not installed"
    try:
        command = ["make", "-C", str(binary.parent), binary.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return "building it took too long"
    # What the compiler says first is what is missing.
    return "" if binary.exists() else (done.stderr.strip() or "building it failed").splitlines()[0]


def _messages(report: dict[str, Any]) -> Metrics:
    found: Metrics = {"messages_per_s": report["msg_per_s"]}
    if "msg_per_cpu_s" in report:
        found["messages_per_cpu_s"] = report["msg_per_cpu_s"]
    for what, key in (("delivery", "lat_us"), ("ack", "ack_us")):
        found |= {f"{what}_{name}_us": value for name, value in report[key].items() if name != "n"}
    return {**found, **{name: report[name] for name in _SHARES}, "driver_cpu_share": report["gen_cpu_share"]}


def _sign_ins(count: int, seconds: float, use: Metrics) -> Metrics:
    found: Metrics = {"sign_ins_per_s": count / seconds, **use}
    if use["server_cpu_s"] > 0:
        found["sign_ins_per_cpu_s"] = count / use["server_cpu_s"]
    return found


def _memory(connections: int, kb: float, none_kb: float) -> Metrics:
    return {f"rss_{connections}_kb": float(kb), f"connection_{connections}_kb": (kb - none_kb) / connections}


