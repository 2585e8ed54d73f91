"""Workloads one after the other, as often as asked for, each run bounded in time and watched for other programs."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final

from benchmarks.load import crowds, growth, messages, returns
from benchmarks.load.numbers import Metrics
from benchmarks.load.processes import MachineUse
from benchmarks.load.results import Results
from benchmarks.load.stage import Case, Cases, Stage
from benchmarks.load.trouble import TookTooLong

WORKLOADS: Final[Mapping[str, Callable[[Stage], Cases]]] = {
    "latency": messages.latency,
    "throughput": messages.throughput,
    "fanout": messages.fanout,
    "sign-ins": crowds.sign_ins,
    "idle": crowds.idle,
    "storm": returns.storm,
    "catch-up": returns.catch_up,
    "growth": growth.growth,
    "floor": messages.floor,
}
NOISE: Final = 0.10
"""CPUs used by others above which a run is noisy, and done again."""
PATIENCE: Final = 600
"""Seconds after which a run is stuck."""
_QUIET: Final = 1.0
"""Seconds for which the machine is looked at before a run."""
_SHOWN: Final = (
    *("messages_per_s", "deliveries_per_s", "entries_per_s", "sign_ins_per_s", "from_start_s", "from_open_port_s"),
    *("all_s", "delivery_p50_us", "delivery_p99_us", "one_delivery_p50_us", "ack_p50_us", "fsync_p50_us"),
    *("messages_per_cpu_s", "server_us_per_message", "server_us_per_delivery", "stored_bytes_per_message"),
    *("server_cpu_share", "driver_cpu_share"),
)
"""What of a run is said as it ends; memory as well."""


class Runner:
    """Runs workloads on a stage and collects what comes of it. A noisy run is done again, `attempts` times in all, and
    the least noisy of them is kept; before each there are at most `patience` seconds to wait for a quiet machine."""

    def __init__(self, stage: Stage, results: Results, attempts: int, patience: float) -> None:
        self._stage = stage
        self._results = results
        self._attempts = attempts
        self._patience = patience

    def run(self, names: Sequence[str]) -> None:
        """Each of them once; raises `BenchError`."""
        for name in names:
            with contextlib.closing(_cases(name, self._stage)) as cases:
                for case in cases:
                    self._results.add(name, case[0], self._best(name, case))

    def _best(self, workload: str, case: Case) -> dict[str, Any]:
        """The least noisy of some runs."""
        tries: list[dict[str, Any]] = []
        while len(tries) < self._attempts and all(run["noisy"] for run in tries):
            self._await_quiet()
            tries.append(self._once(workload, case))
        return min(tries, key=lambda run: float(run["other_cpu_share"]))

    def _await_quiet(self) -> None:
        end = time.monotonic() + self._patience
        while time.monotonic() < end and _others(lambda: time.sleep(_QUIET)) > NOISE:
            pass

    def _once(self, workload: str, case: Case) -> dict[str, Any]:
        name, measure = case
        found: Metrics = {}
        with bounded(PATIENCE, f"{workload}, {name}"):
            others = _others(lambda: found.update(measure()))
        noisy = others > NOISE
        say(f"{workload}, {name}: {brief(found)}" + (f" (noisy: others used {others:.2f} CPU)" if noisy else ""))
        return {**{key: round(value, 4) for key, value in found.items()}, "other_cpu_share": others, "noisy": noisy}


def _cases(name: str, stage: Stage) -> Cases:
    """A workload's, within their time: a node may have to start before the first."""
    cases = WORKLOADS[name](stage)
    with contextlib.closing(cases):
        while True:
            with bounded(PATIENCE, name):
                case = next(cases, None)
            if case is None:
                return
            yield case


def _others(action: Callable[[], object]) -> float:
    """The CPUs that others use meanwhile."""
    before = MachineUse.now()
    action()
    return round(before.until(MachineUse.now()), 3)


@contextlib.contextmanager
def bounded(seconds: float, what: str) -> Iterator[None]:
    """Raise `TookTooLong`, which says where it was, when this takes longer; to be used in the main thread."""

    def stop(_number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"{what}: not done after {seconds:g} s, in {_place(frame)}")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _place(frame: FrameType | None) -> str:
    calls = [f"{call.name} ({call.filename}:{call.lineno})" for call in traceback.extract_stack(frame)]
    ours = [call for call in calls if "benchmarks" in call]
    return (ours or calls or ["an unknown place"])[-1]


def brief(found: Mapping[str, float]) -> str:
    """A run in a line."""
    names = [name for name in _SHOWN if name in found] + [name for name in found if name.endswith("_kb")]
    return ", ".join(f"{name} {found[name]:,.{0 if abs(found[name]) >= 100 else 2}f}" for name in names)


def say(text: str) -> None:
    """Tell those who wait, with the time."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
