"""Pictures of a result, as SVG: latency at rest, throughput, memory, growth."""

from __future__ import annotations

import importlib
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.load.numbers import Metrics
from benchmarks.load.results import medians
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

    def value(self, target: str, workload: str, of: Callable[[Report], float]) -> float | None:
        """The median of something; None where it was not measured."""
        found = [report for report in self._reports if (report["target"], report["name"]) == (target, workload)]
        quiet = [report for report in found if not report["noisy"]]
        return statistics.median(of(report) for report in quiet or found) if found else None


def draw(result: dict[str, Any], directory: Path, peers: Path | None = None) -> list[Path]:
    """Draw what the result has; the files. simple_im's own numbers are those among the peers' reports where there are
    such: only what was taken in turn is comparable. Raises `BenchError`."""
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


# Latency.


def _latency(axes: Any, result: dict[str, Any], peers: Peers) -> bool:
    series = _latency_series(result, peers)
    for name, values in series.items():
        axes.plot(_PERCENTILES, values, label=name, **_look(name, peers))
    sync = medians(result, "latency", "at rest").get("fsync_p50_us")
    if sync:
        axes.axhline(sync, color="#777777", linestyle="--", linewidth=1)
        axes.annotate("one fsync (median)", (0, sync), xytext=(0, 3), textcoords="offset points", color="#555555")
    axes.set_yscale("log")
    axes.set_ylabel("µs after sending")
    axes.set_title(f"Latency at rest: {result['sizes']['rate']} messages a second, {result['sizes']['pairs']} pairs")
    _decimal(axes.yaxis)
    if series:
        axes.legend()
    return bool(series)


def _latency_series(result: dict[str, Any], peers: Peers) -> dict[str, list[float]]:
    ours = medians(result, "latency", "at rest")
    found = {
        f"{OURS}: delivered": _percentiles(ours, "delivery"),
        f"{_RELAY}: delivered": _percentiles(medians(result, "floor", "at rest"), "delivery"),
        _ACK: _percentiles(ours, "ack"),
    }
    for name in peers.names:
        title = f"{name}: delivered"
        found[title] = [
            value
            for percentile in _PERCENTILES
            if (value := peers.value(name, "latency", partial(_latency_of, percentile))) is not None
        ] or found.get(title, [])
    return {name: values for name, values in found.items() if values}


def _percentiles(metrics: Metrics, what: str) -> list[float]:
    names = [f"{what}_{percentile}_us" for percentile in _PERCENTILES]
    return [metrics[name] for name in names] if all(name in metrics for name in names) else []


def _latency_of(percentile: str, report: Report) -> float:
    return float(report["lat_us"][percentile])


# Throughput.


def _throughput(axes: Any, result: dict[str, Any], peers: Peers) -> bool:
    windows = [int(window) for window in result["sizes"]["windows"]]
    bars = _throughput_bars(result, peers, windows)
    width = 0.8 / max(len(bars), 1)
    for place, (name, values) in enumerate(bars.items()):
        middle = (place - (len(bars) - 1) / 2) * width
        places = [window + middle for window in range(len(windows))]
        drawn = axes.bar(places, values, width * 0.94, label=name, color=_look(name, peers)["color"])
        labels = [f"{value / 1_000:.1f}" if value else "" for value in values]
        axes.bar_label(drawn, labels, padding=2, fontsize=8)
    axes.set_xticks(range(len(windows)), [str(window) for window in windows])
    axes.set_xlabel("messages in flight for each pair")
    axes.set_ylabel("messages a second")
    axes.yaxis.set_major_formatter(_thousands)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.25)
    axes.set_title(f"Throughput: {result['sizes']['pairs']} pairs, {result['sizes']['body']}-byte messages (thousands)")
    if bars:
        axes.legend()
    return bool(bars)


def _throughput_bars(result: dict[str, Any], peers: Peers, windows: Sequence[int]) -> dict[str, list[float]]:
    bars = {
        OURS: [medians(result, "throughput", f"w{window}").get("messages_per_s", 0.0) for window in windows],
        _RELAY: [medians(result, "floor", f"w{window}").get("messages_per_s", 0.0) for window in windows],
    }
    for name in peers.names:
        values = [peers.value(name, f"w{window}", lambda report: report["msg_per_s"]) or 0.0 for window in windows]
        if any(values):
            bars[name] = values
    return {name: values for name, values in bars.items() if any(values)}


# Memory.


def _memory(axes: Any, result: dict[str, Any], peers: Peers) -> bool:
    series = {OURS: _our_memory(result)}
    for name in peers.names:
        series[name] = _peer_memory(peers, name) or series.get(name, [])
    series = {name: points for name, points in series.items() if points}
    for name, points in series.items():
        connections, megabytes = zip(*points, strict=True)
        each = (megabytes[-1] - megabytes[0]) * _KB / connections[-1]
        axes.plot(connections, megabytes, label=f"{name}: {each:.1f} KiB each", **_look(name, peers))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(_thousands)
    axes.set_xlabel("idle connections, signed in")
    axes.set_ylabel("resident memory of the server, MiB")
    axes.set_title("Memory")
    if series:
        axes.legend()
    return bool(series)


def _our_memory(result: dict[str, Any]) -> list[tuple[int, float]]:
    metrics = medians(result, "idle", "memory")
    steps = [(0, "rss_none_kb"), *((int(step), f"rss_{step}_kb") for step in result["sizes"]["idle"])]
    return [(step, metrics[name] / _KB) for step, name in steps if name in metrics]


def _peer_memory(peers: Peers, name: str) -> list[tuple[int, float]]:
    return list(_peer_steps(peers, name))


def _peer_steps(peers: Peers, name: str) -> Iterator[tuple[int, float]]:
    count = peers.value(name, "idle", lambda report: len(report["steps"]))
    for place in range(int(count or 0)):
        connections = peers.value(name, "idle", partial(_step_of, place, "conns"))
        kb = peers.value(name, "idle", partial(_step_of, place, "rss_kb"))
        if connections is not None and kb is not None:
            yield int(connections), kb / _KB


def _step_of(place: int, key: str, report: Report) -> float:
    return float(report["steps"][place][key])


# Growth.


def _growth(axes: Any, result: dict[str, Any], _peers: Peers) -> bool:
    found = False
    for place, (key, title) in enumerate((("users", "users"), ("stored", "entries"), ("devices", "devices"))):
        sizes = [int(size) for size in result["sizes"][key]]
        costs = [medians(result, "growth", f"{size:,} {title}").get("server_us_per_message") for size in sizes]
        known = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if cost]
        if known:
            first = known[0][1]
            relative = [cost / first for _, cost in known]
            label = f"{title} (from {first:.0f} µs a message)"
            axes.plot([size for size, _ in known], relative, label=label, **_looks(place))
            found = True
    axes.axhline(1.1, color="#777777", linestyle="--", linewidth=1)
    axes.annotate("10 % more", (1, 1.1), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#555555")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("how many there are")
    axes.set_ylabel("CPU time of a message, relative to the first")
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
