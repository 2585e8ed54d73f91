"""The command line beside the server: what an operator does with a state directory. One function a verb."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from simple_im import __version__
from simple_im.backup.folder import BackupError, because
from simple_im.backup.restoring import restore
from simple_im.backup.taking import take
from simple_im.backup.verifying import verify
from simple_im.config import Given, StartError, directory, shown

FAILED: Final = 1
MISUSED: Final = 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one sentence; argparse would print the usage with it."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"simple_im: {shown(message)}: `python -m simple_im --help` lists the verbs\n")
        raise SystemExit(MISUSED)


def main(arguments: Sequence[str]) -> int:
    """Does what the command line says; the exit code."""
    given = parser().parse_args(arguments)
    try:
        print(given.verb(given))
    except (BackupError, StartError) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"it can't be done {because(error)}")
    except KeyboardInterrupt:
        return _failed("interrupted: nothing was left half done")
    return 0


def _failed(sentence: str) -> int:
    _warn(sentence)
    return FAILED


def _warn(sentence: str) -> None:
    sys.stderr.write(f"simple_im: {sentence}\n")


def parser() -> Parser:
    """Every verb with its arguments."""
    parser = Parser("python -m simple_im", description="Backs up a node, checks backups, and restores them.")
    parser.add_argument("--version", action="version", version=f"simple_im {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add_backup(verbs)
    add_verify(verbs)
    add_restore(verbs)
    return parser


def add_backup(verbs: Any) -> None:
    """`backup DIR [--state DIR]`, in `verbs`, which are argparse's: done by `back_up`."""
    verb = verbs.add_parser("backup", help="back up a node, which may be running", description=_first_line(back_up))
    verb.add_argument("directory", metavar="DIR", help="where the backup goes: a new directory or an empty one")
    _add_state(verb)
    verb.set_defaults(verb=back_up)


def add_verify(verbs: Any) -> None:
    """`verify DIR`, in `verbs`: done by `check`."""
    verb = verbs.add_parser("verify", help="check that a backup is whole", description=_first_line(check))
    verb.add_argument("directory", metavar="DIR", help="the backup")
    verb.set_defaults(verb=check)


def add_restore(verbs: Any) -> None:
    """`restore DIR [--state DIR]`, in `verbs`: done by `put_back`."""
    verb = verbs.add_parser("restore", help="make a state directory of a backup", description=_first_line(put_back))
    verb.add_argument("directory", metavar="DIR", help="the backup")
    _add_state(verb)
    verb.set_defaults(verb=put_back)


def _add_state(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--state", metavar="DIR", default="priv", help="the node's state directory [default: priv]")


def back_up(given: argparse.Namespace) -> str:
    """Copies database, media and keys of one moment; the node goes on meanwhile."""
    target = _backup(given.directory, "give a new one for the backup")
    taken = take(_path(given.state, "--state {}"), target, datetime.now(UTC))
    if taken.gone:
        _warn(f"left out: {taken.gone} files that the database names and that are not there")
    return f"backed up {taken.manifest.counts} to {target}"


def check(given: argparse.Namespace) -> str:
    """Reads all of a backup and changes nothing; the exit code is 0 only where it is whole."""
    target = _backup(given.directory)
    manifest = verify(target)
    return f"{target} is whole: {manifest}"


def put_back(given: argparse.Namespace) -> str:
    """Checks a backup and makes a new state directory of it, to be served by `twistd`."""
    state = _path(given.state, "--state {}")
    manifest = restore(_backup(given.directory), state, datetime.now(UTC), secrets.randbelow)
    return f"restored to {state}: {manifest}\nstart it with: twistd --pidfile= -n simple_im --state {state}"


def _backup(value: str, cure: str = "give the one that `backup` made") -> Path:
    if not value or "\0" in value:
        raise BackupError(f"{shown(value)} names no directory: {cure}")
    return _path(value, "{}")


def _path(value: str, place: str) -> Path:
    return Path(directory(Given(value, place)))


def _first_line(function: Any) -> str:
    return str(function.__doc__).splitlines()[0]
