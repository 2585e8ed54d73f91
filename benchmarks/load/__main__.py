"""`python -m benchmarks.load`: measures this checkout; exit code 1 where the server broke a promise.

`… compare OLD.json [NEW.json]` and `… draw RESULT.json DIRECTORY [--peers FILE.jsonl]` are about what was measured.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import interrupts
from benchmarks.load import machine, results
from benchmarks.load.compare import compare
from benchmarks.load.drivers import GENERATOR, NAMES, choose
from benchmarks.load.running import WORKLOADS, Runner, say
from benchmarks.load.sizes import FULL, QUICK
from benchmarks.load.stage import Stage
from benchmarks.load.trouble import BenchError
from benchmarks.node import NodeError
from benchmarks.peers.disk import is_in_memory

_SETTINGS: Final = ("quick", "repeats", "only", "attempts", "patience")


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for; the exit code."""
    interrupts.heed(signal.SIGHUP)
    try:
        options = _parser(arguments).parse_args(arguments)
        code: int = options.do(options)
    except (BenchError, NodeError) as error:
        print(f"benchmarks.load: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks.load: interrupted", file=sys.stderr)
        return 130
    return code


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Who gives no verb wants to run."""
    verb = arguments[0] if arguments else ""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    if verb == "compare":
        parser.add_argument("verb", choices=["compare"])
        parser.add_argument("old", type=Path, help="a result")
        parser.add_argument("new", type=Path, nargs="?", default=results.LATEST, help="another [default: the latest]")
        parser.set_defaults(do=_compare)
    elif verb == "draw":
        parser.add_argument("verb", choices=["draw"])
        parser.add_argument("result", type=Path, help="a result")
        parser.add_argument("directory", type=Path, help="where the pictures go")
        parser.add_argument("--peers", type=Path, help="reports of other servers, a JSON object a line")
        parser.set_defaults(do=_draw)
    else:
        _add_run_options(parser)
        parser.set_defaults(do=_run)
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", type=_names, default=list(WORKLOADS), help=f"some of {', '.join(WORKLOADS)}")
    parser.add_argument("--quick", action="store_true", help="a little of everything, to see that it works")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each [default: 5]")
    parser.add_argument("--driver", choices=NAMES, default="auto", help="who makes the load [default: auto]")
    parser.add_argument("--generator", type=Path, default=GENERATOR, help="the load generator's program")
    parser.add_argument("--out", type=Path, default=results.LATEST, help="where the result goes [default: %(default)s]")
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="where nodes keep their state")
    parser.add_argument("--attempts", type=int, default=3, help="runs at most where others disturb them [default: 3]")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine [default: 60]")


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no workload {unknown[0]}, but {', '.join(WORKLOADS)}")
    return names


def _run(options: argparse.Namespace) -> int:
    _allow_files()
    if is_in_memory(options.disk):
        say(f"{options.disk} is in memory: storing costs nothing there, say --disk DIR")
    driver = choose(options.driver, options.generator)
    stage = Stage(QUICK if options.quick else FULL, driver, options.disk)
    found = results.Results(_about(options, driver.name))
    runner = Runner(stage, found, options.attempts, options.patience)
    for repeat in range(options.repeats):
        say(f"run {repeat + 1} of {options.repeats}, the load comes from {driver.name}")
        runner.run(options.only)
        found.save(options.out)
    say(f"the result is in {options.out}")
    last = results.last_kept(options.out, options.quick)
    if last is not None:
        print(compare(results.load(last), found.document()))
    return 0


def _allow_files() -> None:
    """As many connections as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _about(options: argparse.Namespace, driver: str) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.describe(options.disk),
        "driver": driver,
        "settings": {name: getattr(options, name) for name in _SETTINGS},
        "sizes": dict(vars(QUICK if options.quick else FULL)),
    }


def _compare(options: argparse.Namespace) -> int:
    print(compare(results.load(options.old), results.load(options.new)))
    return 0


def _draw(options: argparse.Namespace) -> int:
    from benchmarks.load.drawing import draw

    for path in draw(results.load(options.result), options.directory, options.peers):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
