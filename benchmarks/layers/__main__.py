"""`python -m benchmarks.layers`: what one message costs the server, in microseconds of CPU time by layer.

A fresh node of this checkout (or of another one, `--source`) is driven by the load generator of benchmarks/imbench, and
sampled with py-spy. `python -m benchmarks.layers table BEFORE.json AFTER.json` prints what has changed. A window takes
about a minute; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import interrupts
from benchmarks.layers import recording, results, tables, windows
from benchmarks.layers.mapping import Mapping
from benchmarks.layers.results import Result
from benchmarks.layers.subject import Subject, check_source
from benchmarks.layers.trouble import CannotMeasure
from benchmarks.load.machine import commit, describe
from benchmarks.node import ROOT, NodeError
from benchmarks.peers import generator
from benchmarks.peers.disk import is_in_memory
from benchmarks.peers.generator import CannotBuild, say

LATEST: Final = ROOT / "benchmarks" / "results" / "layers-latest.txt"
INTERRUPTED: Final = 130


def main() -> int:
    """Do what the command line says; the exit code is 1 where it could not be done."""
    options = _parser().parse_args()
    try:
        return _table(options.before, options.after) if options.verb == "table" else _measure(options)
    except (CannotBuild, CannotMeasure, NodeError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("layers: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.layers",
        usage="%(prog)s [options] | %(prog)s table BEFORE.json AFTER.json",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--windows", type=_windows, default=[1, 16, 64], metavar="N,...", help="in flight a pair [default: 1,16,64]"
    )
    parser.add_argument("--seconds", type=_count, default=10, help="how long a run is measured [default: 10]")
    parser.add_argument("--source", type=Path, default=ROOT, metavar="DIR", help="the checkout [default: this one]")
    parser.add_argument("--out", type=Path, default=LATEST, help="the text, JSON beside it [default: %(default)s]")
    parser.add_argument(
        "--patience", type=float, default=300.0, help="longest wait for a quiet machine, each window [default: 300 s]"
    )
    verbs = parser.add_subparsers(dest="verb", metavar="table")
    usage = f"{parser.prog} table BEFORE.json AFTER.json"
    verb = verbs.add_parser("table", help="what has changed from one measurement to another", usage=usage)
    verb.add_argument("before", type=Path)
    verb.add_argument("after", type=Path)
    return parser


def _windows(text: str) -> list[int]:
    return [_count(number) for number in text.split(",")]


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _refuse(sentence: str) -> int:
    print(f"layers: {sentence}", file=sys.stderr)
    return 1


def _table(before: Path, after: Path) -> int:
    try:
        print(tables.change(results.read(before).windows, results.read(after).windows))
    except OSError as error:
        return _refuse(f"{error.filename} can't be read ({error.strerror})")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return _refuse(f"these can't be compared ({error})")
    return 0


def _measure(options: argparse.Namespace) -> int:
    source = check_source(options.source)
    if options.out.suffix == ".json":
        raise CannotMeasure(f"{options.out} is where the numbers go: name the text, such as layers.txt")
    recording.sampler()
    generator.build()
    interrupts.heed()
    with tempfile.TemporaryDirectory(prefix="simple_im-layers-") as folder:
        if is_in_memory(Path(folder)):
            raise CannotMeasure(f"{folder} is in memory, where fsync takes no time: set TMPDIR to a folder on a disk")
        result = _run(options, source, Path(folder))
    results.write(result, options.out)
    print(tables.cost(result.windows), tables.waiting(result.windows), sep="\n\n")
    return 0


def _run(options: argparse.Namespace, source: Path, folder: Path) -> Result:
    node, known = Subject(folder, source), Mapping(source)
    version, machine = commit(source), describe(folder)
    node.fill()
    found = {}
    with node:
        for window in options.windows:
            quiet = generator.wait_until_quiet(options.patience)
            figures = found[window] = windows.measure(node, known, window, options.seconds)
            say(f"W={window}: {figures.messages:.0f} messages a second", *([] if quiet else ["(not quiet before)"]))
    return Result(version, machine, options.seconds, found)


if __name__ == "__main__":
    sys.exit(main())
