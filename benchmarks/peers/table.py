"""The goals as a table in Markdown, with what a run says of them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.generator import NOISE, spread
from benchmarks.peers.goals import GOALS, Judgement
from benchmarks.peers.reports import Reports, wrong
from benchmarks.peers.servers import OURS

_VERDICTS = {True: "yes", False: "**no**", None: "not measured"}
NOT_MEASURED = "not measured"


def table(reports: Reports) -> str:
    """One row a goal, and below it how many runs the figures are from."""
    rows = [_row(goal.judge(reports)) for goal in GOALS]
    head = [f"| goal | {OURS} | in the same run | bound | met |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, "", *_footer(reports)])


def _row(judged: Judgement) -> str:
    goal = judged.goal
    cells = [f"{goal.what} {goal.sign} {goal.rule}", _ours(judged), _theirs(judged), _bound(judged), _met(judged)]
    return f"| {' | '.join(cells)} |"


def _ours(judged: Judgement) -> str:
    return spread(judged.ours, judged.goal.figure.format) if judged.ours else NOT_MEASURED


def _theirs(judged: Judgement) -> str:
    pairs = zip(judged.goal.beside, judged.theirs, strict=True)
    return "; ".join(
        f"{each.name} {spread(values, each.figure.format) if values else NOT_MEASURED}" for each, values in pairs
    )


def _bound(judged: Judgement) -> str:
    return "" if judged.bound is None else f"{judged.goal.sign} {judged.goal.figure.format(judged.bound)}"


def _met(judged: Judgement) -> str:
    return _VERDICTS[judged.met] + (" †" if judged.disturbed else "")


def _footer(reports: Reports) -> Iterator[str]:
    sizes = reports.sizes or [0]
    runs = f"{sizes[0]} runs" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} runs"
    yield (
        f"Medians (min to max) of {runs} each. Runs discarded because other processes used more than {NOISE:.2f} CPU: "
        f"{reports.noisy} of {reports.count}. † where there were only such, they are used."
    )
    yield "Runs left out because their checks failed: " + ("; ".join(map(wrong, reports.failed)) or "none") + "."
    yield f"TLS: {'; '.join(reports.tls) or 'none'}."
