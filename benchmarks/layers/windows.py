"""What a message costs with so many in flight a pair of users: one run that nothing disturbs, and one that is sampled.

The first says what the server's CPU time is in all; the second, of threads that the system runs, whose it is. What it
sees beyond that, of all threads, is waiting: for the interpreter lock, and at a commit for the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.layers import attribution, recording
from benchmarks.layers.attribution import THREADS, Figures, Samples, without_rest
from benchmarks.layers.mapping import Mapping
from benchmarks.layers.recording import Recording
from benchmarks.layers.subject import Subject
from benchmarks.peers.generator import Report
from benchmarks.peers.turns import others

_TOP: Final = 30
Top = dict[str, float]
"""Microseconds of CPU a message by function, the most first."""


@dataclass(frozen=True)
class Window:
    """All times are microseconds a message. `cpu` and `waiting` are by kind of thread and layer."""

    messages: float
    """A second, undisturbed."""
    cost: float
    """CPU time of the whole process, undisturbed."""
    sampled_messages: float
    """A second, while the sampler ran."""
    disturbance: float
    """The CPUs that others used in the undisturbed run."""
    cpu: Figures
    waiting: Figures
    unknown: Top
    by_self: Top
    inclusive: Top


def measure(node: Subject, known: Mapping, window: int, seconds: int) -> Window:
    """Both runs; raises `CannotMeasure`."""
    undisturbed = recording.run(node, window, seconds)
    return judge(undisturbed, recording.record(node, window, seconds), known, node.pid)


def judge(undisturbed: Report, sampled: Recording, known: Mapping, pid: int) -> Window:
    """The figures of both runs against the process `pid`."""
    ways = (sampled.running, sampled.everything)
    threads = attribution.kinds([stack for way in ways for stack in way.stacks], pid)
    samples = Samples(sampled.running.stacks, threads, known)
    cost = 1e6 / undisturbed["msg_per_cpu_s"]
    weights = cpu_weights(samples, threads, sampled.cpu, cost)
    messages = sampled.report["msg_per_s"]
    seen = [_wall(Samples(without_rest(way.stacks), threads, known), way.ticks * messages) for way in ways]
    return Window(
        messages=undisturbed["msg_per_s"],
        cost=cost,
        sampled_messages=messages,
        disturbance=others(undisturbed),
        cpu=samples.by_layer(weights),
        waiting=_difference(*seen),
        unknown=_top(samples.unknown(weights)),
        by_self=_top(samples.by_self(weights)),
        inclusive=_top(samples.inclusive(weights)),
    )


def cpu_weights(samples: Samples, threads: dict[int, str], used: dict[int, float], cost: float) -> dict[str, float]:
    """What a sample of each kind of thread stands for, so that all together are `cost`.

    How the threads share that is what the system has counted, as a thread that waits for a CPU is sampled too.
    """
    by_kind = dict.fromkeys(THREADS, 0.0)
    for thread, seconds in used.items():
        by_kind[threads.get(thread, attribution.OTHERS)] += seconds
    seen = {kind: seconds for kind, seconds in by_kind.items() if samples.of(kind)}
    whole = sum(seen.values()) or 1.0
    return {kind: seen.get(kind, 0.0) / whole * cost / (samples.of(kind) or 1) for kind in THREADS}


def _wall(samples: Samples, whole: float) -> Figures:
    """The time of the clock that the samples stand for, of which all together are a second."""
    return samples.by_layer(dict.fromkeys(THREADS, 1e6 / whole))


def _difference(less: Figures, more: Figures) -> Figures:
    return {
        kind: {layer: more[kind].get(layer, 0.0) - less[kind].get(layer, 0.0) for layer in {**more[kind], **less[kind]}}
        for kind in THREADS
    }


def _top(figures: Top) -> Top:
    return dict(list(figures.items())[:_TOP])
