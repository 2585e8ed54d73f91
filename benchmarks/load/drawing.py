"""Pictures of a result, as SVG: latency at rest, throughput, memory, growth. Points and bars are medians, and lines
across them reach from the least to the most of all runs."""

from __future__ import annotations

import importlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.load.trouble import BenchError

OURS: Final = "simple_im"
_ACK: Final = f"{OURS}: acknowledged, on disk"
_RELAY: Final = "bare Twisted relay"
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
"""Okabe's and Ito's, which people tell apart who see fewer colours."""
_MARKS: Final = "osD^vPX"
_SIZE: Final = (7.2, 4.2)
_PERCENTILES: Final = ("p50", "p90", "p99", "max")
_KB: Final = 1_024
_BESIDE: Final = (0.94, 1, 1.06)
"""By how much points of the same size are moved, so that each can be seen."""
_STYLE: Final = {
    "svg.hashsalt": OURS,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
}

Report = Mapping[str, Any]
Spread = tuple[float, float, float]
"""The median, the least and the most of some runs."""


class Peers:
    """Other servers' results: the medians of the reports in a file, an object a line, that are sound and, where there
    are such, not noisy."""

    def __init__(self, reports: Sequence[Report] = ()) -> None:
        self._reports = [report for report in reports if report["ok"]]

    @classmethod
    def read(cls, path: Path) -> Peers:
        """Those of a file; raises `BenchError`."""
        try:
            return cls([json.loads(line) for line in path.read_text().splitlines() if line.strip()])
        except (OSError, ValueError) as error:
            raise BenchError(f"{path} holds no reports: {error}") from None

    @property
    def names(self) -> list[str]:
        """The servers, in the order in which they were measured; simple_im, if it is there, first."""
        names = list(dict.fromkeys(str(report["target"]) for report in self._reports))
        return sorted(names, key=lambda name: name != OURS)

    def spread(self, target: str, workload: str, of: Callable[[Report], float | None]) -> Spread | None:
        """Of something; None where it was not measured."""
        found = [report for report in self._reports if (report["target"], report["name"]) == (target, workload)]
        quiet = [report for report in found if not report["noisy"]]
        values = [value for report in quiet or found if (value := of(report)) is not None]
        return (statistics.median(values), min(values), max(values)) if values else None


def draw(result: dict[str, Any], directory: Path, peers: Path | None = None) -> list[Path]:
    """Draw what the result has; the files. Where simple_im is among the peers' reports, pictures with peers in them
    have nothing of the result: only what was taken in turn is comparable. Raises `BenchError`."""
    try:
        importlib.import_module("matplotlib").use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise BenchError("drawing needs matplotlib: pip install '.[bench]'") from None
    others = Peers() if peers is None else Peers.read(peers)
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    with pyplot.rc_context(_STYLE):
        for name, picture in _PICTURES.items():
            figure, axes = pyplot.subplots(figsize=_SIZE, layout="constrained")
            if picture(axes, result, others):
                made.append(directory / f"{name}.svg")
                figure.savefig(made[-1], metadata={"Date": None})
            pyplot.close(figure)
    return made


def _spreads(result: dict[str, Any], workload: str, case: str) -> dict[str, Spread]:
    """Of every metric of a case; nothing where it was not measured."""
    found = result["workloads"].get(workload, {}).get(case, {"median": {}})
    return {name: (middle, found["min"][name], found["max"][name]) for name, middle in found["median"].items()}


def _plot(axes: Any, places: Sequence[Any], spreads: Sequence[Spread], label: str, look: Mapping[str, str]) -> None:
    """A line through the medians."""
    middles = [middle for middle, _, _ in spreads]
    axes.errorbar(places, middles, yerr=_errors(spreads), label=label, capsize=3, elinewidth=1, **look)


def _errors(spreads: Sequence[Spread]) -> list[list[float]]:
    """How far the runs reach below the medians, and above them."""
    return [[middle - least for middle, least, _ in spreads], [most - middle for middle, _, most in spreads]]


# Latency.


def _latency(axes: Any, result: dict[str, Any], peers: Peers) -> bool:
    series, sync = _latency_series(result, peers)
    for name, spreads in series.items():
        _plot(axes, _PERCENTILES, spreads, name, _look(name, peers))
    if sync:
        axes.axhline(sync[0], color="#777777", linestyle="--", linewidth=1)
        where = {"xycoords": ("axes fraction", "data"), "xytext": (0, -3), "textcoords": "offset points"}
        axes.annotate("one fsync (median)", (1, sync[0]), ha="right", va="top", color="#555555", **where)
    axes.set_yscale("log")
    axes.set_ylabel("µs after sending")
    axes.set_title(f"Latency at rest: {result['sizes']['rate']} messages a second, {result['sizes']['pairs']} pairs")
    _decimal(axes.yaxis)
    if series:
        axes.legend()
    return bool(series)


def _latency_series(result: dict[str, Any], peers: Peers) -> tuple[dict[str, list[Spread]], Spread | None]:
    """And how long an fsync took."""
    ours = _spreads(result, "latency", "at rest")
    found = {
        f"{OURS}: delivered": _percentiles(ours, "delivery"),
        f"{_RELAY}: delivered": _percentiles(_spreads(result, "floor", "at rest"), "delivery"),
        _ACK: _percentiles(ours, "ack"),
    }
    sync = ours.get("fsync_p50_us")
    if _reported(peers, OURS, "lat_us"):
        found = {f"{OURS}: delivered": [], _ACK: _reported(peers, OURS, "ack_us")}
        sync = peers.spread(OURS, "latency", partial(_latency_of, "fsync_us", "p50"))
    found |= {f"{name}: delivered": spreads for name in peers.names if (spreads := _reported(peers, name, "lat_us"))}
    return {name: spreads for name, spreads in found.items() if spreads}, sync


def _percentiles(metrics: Mapping[str, Spread], what: str) -> list[Spread]:
    names = [f"{what}_{percentile}_us" for percentile in _PERCENTILES]
    return [metrics[name] for name in names] if all(name in metrics for name in names) else []


def _reported(peers: Peers, name: str, kind: str) -> list[Spread]:
    """The same of a report; nothing where not all of them were measured."""
    found = [peers.spread(name, "latency", partial(_latency_of, kind, percentile)) for percentile in _PERCENTILES]
    return [spread for spread in found if spread] if all(found) else []


def _latency_of(kind: str, percentile: str, report: Report) -> float | None:
    found: float | None = report.get(kind, {}).get(percentile)
    return found


# Throughput.


def _throughput(axes: Any, result: dict[str, Any], peers: Peers) -> bool:
    windows = [int(window) for window in result["sizes"]["windows"]]
    bars = _throughput_bars(result, peers, windows)
    width = 0.8 / max(len(bars), 1)
    for place, (name, spreads) in enumerate(bars.items()):
        middle = (place - (len(bars) - 1) / 2) * width
        known = [(window + middle, spread) for window, spread in enumerate(spreads) if spread]
        _bars(axes, known, width * 0.94, name, _look(name, peers)["color"])
    axes.set_xticks(range(len(windows)), [str(window) for window in windows])
    axes.set_xlabel("messages in flight for each pair")
    axes.set_ylabel("thousand messages a second")
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.15)
    axes.set_title(f"Throughput: {result['sizes']['pairs']} pairs, {result['sizes']['body']}-byte messages")
    if bars:
        axes.legend()
    return bool(bars)


def _bars(axes: Any, known: Sequence[tuple[float, Spread]], width: float, name: str, color: str) -> None:
    """A server's, in thousands; the number stands above where its runs reach."""
    places = [place for place, _ in known]
    spreads = [(middle / 1_000, least / 1_000, most / 1_000) for _, (middle, least, most) in known]
    middles = [middle for middle, _, _ in spreads]
    style = {"capsize": 3, "error_kw": {"elinewidth": 1, "ecolor": "#333333"}}
    drawn = axes.bar(places, middles, width, yerr=_errors(spreads), label=name, color=color, **style)
    axes.bar_label(drawn, [f"{middle:.1f}" for middle in middles], padding=2, fontsize=8)


def _throughput_bars(result: dict[str, Any], peers: Peers, windows: Sequence[int]) -> dict[str, list[Spread | None]]:
    bars: dict[str, list[Spread | None]] = {
        OURS: [_spreads(result, "throughput", f"w{window}").get("messages_per_s") for window in windows],
        _RELAY: [_spreads(result, "floor", f"w{window}").get("messages_per_s") for window in windows],
    }
    reported = {
        name: [peers.spread(name, f"w{window}", lambda report: report["msg_per_s"]) for window in windows]
        for name in peers.names
    }
    if any(reported.get(OURS, [])):
        bars = {}
    bars |= {name: spreads for name, spreads in reported.items() if any(spreads)}
    return {name: spreads for name, spreads in bars.items() if any(spreads)}


# Memory.


def _memory(axes: Any, result: dict[str, Any], peers: Peers) -> bool:
    series = {OURS: _our_memory(result)}
    series |= {name: steps for name in peers.names if (steps := _peer_memory(peers, name))}
    series = {name: steps for name, steps in series.items() if steps}
    for name, steps in series.items():
        spreads = list(steps.values())
        each = (spreads[-1][0] - spreads[0][0]) * _KB / list(steps)[-1]
        _plot(axes, list(steps), spreads, f"{name}: {each:.1f} KiB each", _look(name, peers))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(_thousands)
    axes.yaxis.set_major_formatter(_thousands)
    axes.set_xlabel("idle connections, signed in")
    axes.set_ylabel("resident memory of the server, MiB")
    axes.set_title("Memory of idle TLS connections")
    if series:
        axes.legend()
    return bool(series)


def _our_memory(result: dict[str, Any]) -> dict[int, Spread]:
    """MiB by connections."""
    metrics = _spreads(result, "idle", "memory")
    steps = [(0, "rss_none_kb"), *((int(step), f"rss_{step}_kb") for step in result["sizes"]["idle"])]
    return {step: _in_mib(metrics[name]) for step, name in steps if name in metrics}


def _peer_memory(peers: Peers, name: str) -> dict[int, Spread]:
    """The same; as many steps as reports have in the middle."""
    count = peers.spread(name, "idle", lambda report: len(report["steps"]))
    found = {}
    for place in range(int(count[0]) if count else 0):
        connections = peers.spread(name, "idle", partial(_step_of, place, "conns"))
        kb = peers.spread(name, "idle", partial(_step_of, place, "rss_kb"))
        if connections and kb:
            found[int(connections[0])] = _in_mib(kb)
    return found


def _in_mib(kb: Spread) -> Spread:
    middle, least, most = kb
    return middle / _KB, least / _KB, most / _KB


def _step_of(place: int, key: str, report: Report) -> float | None:
    return float(report["steps"][place][key]) if place < len(report["steps"]) else None


# Growth.


def _growth(axes: Any, result: dict[str, Any], _peers: Peers) -> bool:
    found = False
    for place, (key, title) in enumerate((("users", "users"), ("stored", "entries"), ("devices", "devices"))):
        costs = {
            int(size): _spreads(result, "growth", f"{size:,} {title}").get("server_us_per_message")
            for size in result["sizes"][key]
        }
        known = {size * _BESIDE[place]: cost for size, cost in costs.items() if cost and cost[0]}
        if known:
            first = next(iter(known.values()))[0]
            relative = [(middle / first, least / first, most / first) for middle, least, most in known.values()]
            _plot(axes, list(known), relative, f"{title} (1.0 is {first:.1f} µs)", _looks(place))
            found = True
    axes.axhline(1.1, color="#777777", linestyle="--", linewidth=1)
    where = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
    axes.annotate("10 % more", (0.93, 1.1), color="#555555", **where)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("how many there are")
    axes.set_ylabel("CPU time of a message; 1.0: with the fewest")
    axes.set_title("Growth: what a message costs the server as there is more of everything")
    _decimal(axes.xaxis)
    if found:
        axes.legend(loc="lower left")
    return found


def _look(name: str, peers: Peers) -> dict[str, str]:
    """The same for a server in every picture."""
    known = [OURS, _RELAY, _ACK, *(peer for peer in peers.names if peer != OURS)]
    return _looks(known.index(name if name == _ACK else name.partition(":")[0]))


def _looks(place: int) -> dict[str, str]:
    return {"color": _COLOURS[place % len(_COLOURS)], "marker": _MARKS[place % len(_MARKS)]}


def _thousands(value: float, _position: object = None) -> str:
    return f"{value:,.0f}"


def _decimal(axis: Any) -> None:
    """Numbers as people write them, not as powers of ten."""
    axis.set_major_formatter(_thousands)


_PICTURES: Final[Mapping[str, Callable[[Any, dict[str, Any], Peers], bool]]] = {
    "latency": _latency,
    "throughput": _throughput,
    "memory": _memory,
    "growth": _growth,
}
