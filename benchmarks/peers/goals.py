"""How fast simple_im is to be: figures of its own, and beside those of its peers in the same run."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.peers.generator import Format, Report, milliseconds, rounded
from benchmarks.peers.reports import Reports
from benchmarks.peers.servers import OURS

Bound = Callable[[Sequence[float]], float]
Holds = Callable[[float, float], bool]

AT_MOST: Final = operator.le
AT_LEAST: Final = operator.ge
MORE: Final = operator.gt
_SIGNS: Final[dict[Holds, str]] = {AT_MOST: "≤", AT_LEAST: "≥", MORE: ">"}

_ORIGINAL: Final = 12_000
"""The most messages a second of the server in Erlang that simple_im took its protocol from."""


@dataclass(frozen=True)
class Figure:
    """What is taken from a report, and how it is written."""

    workload: str
    of: Callable[[Report], float | None]
    format: Format = rounded


@dataclass(frozen=True)
class Beside:
    """A figure of the same run that a goal is measured by; `name` is who it is of."""

    name: str
    server: str
    figure: Figure


@dataclass(frozen=True)
class Goal:
    """A figure of ours, and what it has to be; `bound` gets the medians of `beside`, in their order."""

    what: str
    figure: Figure
    holds: Holds
    rule: str
    bound: Bound
    beside: tuple[Beside, ...] = ()

    def judge(self, reports: Reports) -> Judgement:
        """Whether a run meets it."""
        ours = reports.values(OURS, self.figure.workload, self.figure.of)
        theirs = [reports.values(each.server, each.figure.workload, each.figure.of) for each in self.beside]
        measured = [(OURS, self.figure.workload)] if ours else []
        measured += [(each.server, each.figure.workload) for each in self.beside]
        disturbed = any(reports.is_disturbed(*pair) for pair in measured)
        bound = self.bound([statistics.median(values) for values in theirs]) if all(theirs) else None
        met = self.holds(statistics.median(ours), bound) if ours and bound is not None else None
        return Judgement(self, ours, theirs, bound, met, disturbed)

    @property
    def sign(self) -> str:
        """How `holds` is written."""
        return _SIGNS[self.holds]


@dataclass(frozen=True)
class Judgement:
    """A goal, and what a run says of it."""

    goal: Goal
    ours: list[float]
    theirs: list[list[float]]
    """The figures of each of `goal.beside`; none where it was not measured."""
    bound: float | None
    met: bool | None
    """None where not everything that it takes was measured."""
    disturbed: bool
    """Whether some of it is from noisy runs only."""


def _percentile(kind: str, name: str) -> Callable[[Report], float | None]:
    def of(report: Report) -> float | None:
        value: float | None = report.get(kind, {}).get(name)
        return value

    return of


def _key(name: str) -> Callable[[Report], float | None]:
    return operator.itemgetter(name)


def _memory(connections: int) -> Callable[[Report], float | None]:
    def of(report: Report) -> float | None:
        steps = [step for step in report["steps"] if step["conns"] == connections]
        return float(steps[0]["rss_kb_per_conn"]) if steps else None

    return of


def _fixed(value: float) -> Bound:
    return lambda _: value


def _times(factor: float, more: float = 0) -> Bound:
    return lambda medians: factor * min(medians) + more


def _peers(figure: Figure, *names: str) -> tuple[Beside, ...]:
    return tuple(Beside(name, name, figure) for name in names)


_P50: Final = Figure("latency", _percentile("lat_us", "p50"))
_P99: Final = Figure("latency", _percentile("lat_us", "p99"))
_ACK: Final = Figure("latency", _percentile("ack_us", "p50"))
_FSYNC: Final = Beside("fsync", OURS, Figure("latency", _percentile("fsync_us", "p50")))
_W1: Final = Figure("w1", _key("msg_per_s"))
_W16: Final = Figure("w16", _key("msg_per_s"))
_W16_ACK: Final = Figure("w16", _percentile("ack_us", "p99"), milliseconds)
_W64: Final = Figure("w64", _key("msg_per_s"))
_LOGINS: Final = Figure("connect", _key("logins_per_s"))
_MEMORY: Final = Figure("idle", _memory(5000))

_XMPP: Final = ("ejabberd", "prosody")
_DELIVERY: Final = "at rest (200 msg/s): delivery p50, µs"
GOALS: Final = (
    Goal(_DELIVERY, _P50, AT_MOST, "2.5 times mosquitto's", _times(2.5), _peers(_P50, "mosquitto")),
    Goal(_DELIVERY, _P50, AT_MOST, "0.6 times the better XMPP server's", _times(0.6), _peers(_P50, *_XMPP)),
    Goal("at rest: delivery p99, µs", _P99, AT_MOST, "ejabberd's", _times(1), _peers(_P99, "ejabberd")),
    Goal("at rest: acknowledgement, fsynced, p50, µs", _ACK, AT_MOST, "3 times fsync + 500", _times(3, 500), (_FSYNC,)),
    Goal("1 in flight a pair: msg/s", _W1, AT_LEAST, "18,000", _fixed(18_000)),
    Goal("16 in flight a pair: msg/s", _W16, AT_LEAST, "65,000", _fixed(65_000)),
    Goal("16 in flight a pair: msg/s", _W16, MORE, "mosquitto's", _times(1), _peers(_W16, "mosquitto")),
    Goal("64 in flight a pair: msg/s", _W64, AT_LEAST, "105,000", _fixed(105_000)),
    Goal("64 in flight a pair: msg/s", _W64, AT_LEAST, "1.5 times mosquitto's", _times(1.5), _peers(_W64, "mosquitto")),
    Goal("16 in flight a pair: acknowledgement p99, ms", _W16_ACK, AT_MOST, "50 ms", _fixed(50_000)),
    Goal("sign-ins by token on the IM door, a second", _LOGINS, AT_LEAST, "1,000", _fixed(1_000)),
    Goal("kB for an idle TLS connection, at 5,000", _MEMORY, AT_MOST, "32", _fixed(32)),
    Goal(
        "at saturation (64 in flight a pair): msg/s",
        _W64,
        AT_LEAST,
        f"5 times the {_ORIGINAL:,} of the original server in Erlang",
        _fixed(5 * _ORIGINAL),
    ),
)
"""Each is a row of the table."""
