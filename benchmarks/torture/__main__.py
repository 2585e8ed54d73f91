"""`python -m benchmarks.torture`: so many runs, and the sum of them in the last line; exit code 0 if all went well."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.torture.run import Outcome, run
from benchmarks.torture.server import SABOTAGES

_SHOWN = 20
"""Problems of a run that are printed."""


def main() -> int:
    """Run, print, and give the exit code."""
    options = _parser().parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # It tells of each write to a connection that was cut.
    seed = options.seed or secrets.token_hex(4)
    print(f"SEED={seed}" + (f" SABOTAGE={options.sabotage}" if options.sabotage else ""), flush=True)
    outcomes = []
    for outcome in _outcomes(seed, options):
        _tell(outcome)
        outcomes.append(outcome)
        if options.until_bad and not outcome.good:
            break
    print(_details(outcomes))
    print(summary(outcomes))
    return 0 if outcomes and all(outcome.good for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="how many runs [default: 5]")
    parser.add_argument("--seed", default="", help="what all chance comes from [default: a new one, printed]")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time [default: 1]")
    parser.add_argument("--sabotage", choices=["", *SABOTAGES], default="", help="what the server does wrong")
    parser.add_argument("--until-bad", action="store_true", help="end with the first bad run")
    parser.add_argument("--keep", type=Path, help="where the files of bad runs are left")
    return parser


def _outcomes(seed: str, options: argparse.Namespace) -> Iterator[Outcome]:
    seeds = [f"{seed}/{number}" for number in range(1, options.runs + 1)]
    pool = ProcessPoolExecutor(options.jobs)
    try:
        yield from pool.map(run, seeds, [options.sabotage] * len(seeds), [options.keep] * len(seeds))
    finally:
        pool.shutdown(cancel_futures=True)


def _tell(outcome: Outcome) -> None:
    """A line a run, and what was wrong with it."""
    verdict = outcome.verdict
    print(
        f"{outcome.seed}: {outcome.kills} kills, {verdict.acknowledged} acknowledged, {verdict.received} received, "
        f"{verdict.connections} connections, {'good' if outcome.good else 'BAD'}",
        flush=True,
    )
    for problem in outcome.problems()[:_SHOWN]:
        print("  " + problem, flush=True)


def _details(outcomes: list[Outcome]) -> str:
    faults: Counter[str] = sum((outcome.faults for outcome in outcomes), Counter())
    received = sum(outcome.verdict.received for outcome in outcomes)
    connections = sum(outcome.verdict.connections for outcome in outcomes)
    resent = sum(outcome.verdict.resent for outcome in outcomes)
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    return f"faults: {counts}; {received} received, {connections} connections, {resent} resent"


def summary(outcomes: list[Outcome]) -> str:
    """The line that says it all."""
    verdicts = [outcome.verdict for outcome in outcomes]
    bad = sum(bool(outcome.broken) for outcome in outcomes)
    return (
        f"{len(outcomes)} runs: {sum(outcome.kills for outcome in outcomes)} kills, "
        f"{sum(verdict.acknowledged for verdict in verdicts)} acknowledged, "
        f"{sum(len(verdict.lost) for verdict in verdicts)} lost, "
        f"{sum(len(verdict.disordered) for verdict in verdicts)} out of order, "
        f"{sum(len(verdict.doubled) for verdict in verdicts)} doubled" + (f", {bad} broken" if bad else "")
    )


if __name__ == "__main__":
    sys.exit(main())
