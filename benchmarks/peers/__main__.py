"""`python -m benchmarks.peers`: runs simple_im and its peers in turn, and prints the table of goals.

`python -m benchmarks.peers table FILE.jsonl` prints it again. The peers are those of benchmarks/imbench that are
installed. It takes the better part of an hour; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import interrupts
from benchmarks.node import ROOT
from benchmarks.peers import generator
from benchmarks.peers.disk import is_in_memory
from benchmarks.peers.generator import WORKLOADS, CannotBuild, say
from benchmarks.peers.reports import Reports
from benchmarks.peers.servers import OURS, PATH, PROGRAMS, OurNode, Peer, Server, missing
from benchmarks.peers.table import table
from benchmarks.peers.turns import Plan, Turns

LATEST: Final = ROOT / "benchmarks" / "results" / "peers-latest.jsonl"
INTERRUPTED: Final = 130
_T = TypeVar("_T")
_NAMES: Final = (*WORKLOADS, OURS, *PROGRAMS)


def main() -> int:
    """Do what the command line says; the exit code is 1 where something could not be measured."""
    options = _parser().parse_args()
    try:
        return _table(options.files) if options.verb == "table" else _measure(options)
    except CannotBuild as error:
        return _refuse(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        usage="%(prog)s [options] | %(prog)s table FILE.jsonl ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", type=_names, default=[], metavar="NAME,...", help="these workloads and servers: " + ", ".join(_NAMES)
    )
    parser.add_argument("--repeats", type=_count, help="how often each server takes its turn [default: 5]")
    parser.add_argument("--seconds", type=float, help="how long messages are counted in a run [default: 10]")
    parser.add_argument("--quick", action="store_true", help="a look: one repeat, 2 seconds, no waiting for quiet")
    parser.add_argument("--patience", type=float, help="longest wait for a quiet machine before a run [default: 300 s]")
    parser.add_argument("--attempts", type=_count, help="runs at most where others disturb them [default: 5]")
    parser.add_argument("--out", type=Path, default=LATEST, help="where the reports go [default: %(default)s]")
    verbs = parser.add_subparsers(dest="verb", metavar="table")
    usage = f"{parser.prog} table FILE.jsonl ..."
    verb = verbs.add_parser("table", help="print the table of earlier reports", usage=usage)
    verb.add_argument("files", nargs="+", type=Path)
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in _NAMES:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(_NAMES)}")
    return names


def _table(files: Sequence[Path]) -> int:
    try:
        print(table(Reports.read(files)))
    except OSError as error:
        return _refuse(f"{error.filename} can't be read ({error.strerror})")
    except (ValueError, KeyError, TypeError) as error:
        return _refuse(f"these are no reports of this program ({error!r})")
    return 0


def _refuse(sentence: str) -> int:
    print(f"peers: {sentence}", file=sys.stderr)
    return 1


def _measure(options: argparse.Namespace) -> int:
    generator.build()
    out: Path = options.out
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.name + ".part")
    interrupts.heed()
    try:
        with tempfile.TemporaryDirectory(prefix="simple_im-peers-") as folder:
            if is_in_memory(Path(folder)):
                return _refuse(f"{folder} is in memory, where fsync takes no time: set TMPDIR to a folder on a disk")
            if not (taking_part := servers(options.only, Path(folder))):
                return _refuse("there is nothing to measure, as none of the servers asked for is installed")
            faults = _take_turns(plan(options), taking_part, Path(folder), draft)
    except KeyboardInterrupt:
        print(f"peers: interrupted; the reports until now are in {draft}", file=sys.stderr)
        return INTERRUPTED
    draft.replace(out)
    _table([out])
    for fault in faults:
        _refuse(fault)
    return 1 if faults else 0


def _take_turns(plan: Plan, servers: Sequence[Server], directory: Path, out: Path) -> list[str]:
    """What went wrong."""
    try:
        with out.open("w") as file:
            turns = Turns(plan, directory, file)
            turns.take(servers)
            return turns.faults
    finally:
        for server in servers:  # a stop that a signal interrupted is done again
            server.stop()


def plan(options: argparse.Namespace) -> Plan:
    """What the options ask for."""
    quick = options.quick
    seconds = _given(options.seconds, 2 if quick else 10)
    return Plan(
        workloads=[name for name in WORKLOADS if name in options.only] or WORKLOADS,
        repeats=_given(options.repeats, 1 if quick else 5),
        patience=_given(options.patience, 0 if quick else 300),
        attempts=_given(options.attempts, 1 if quick else 5),
        options=["--seconds", str(seconds), *(["--settle", "2"] if quick else [])],
    )


def _given(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def servers(only: Sequence[str], directory: Path, path: str = PATH) -> list[Server]:
    """Those that take turns: the ones asked for, or all; says which of them is not installed, and leaves it out."""
    wanted = [name for name in (OURS, *PROGRAMS) if name in only] or [OURS, *PROGRAMS]
    found: list[Server] = [OurNode(directory)] if OURS in wanted else []
    targets = generator.targets()
    for name in wanted:
        if name in PROGRAMS and (program := missing(name, path)):
            say(f"{name} is left out, as {program} is not installed (apt-get install {name})")
        elif name in PROGRAMS:
            found.append(Peer(name, targets[name]))
    return found


if __name__ == "__main__":
    sys.exit(main())
