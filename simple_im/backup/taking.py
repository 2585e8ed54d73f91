"""Taking a backup of a node that may be running."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from simple_im import __version__
from simple_im.backup.folder import (
    AS_SERVER,
    BackupError,
    Piece,
    check_place,
    copy_file,
    disk_errors,
    make_file,
    piece_of,
)
from simple_im.backup.folder import whole as whole_folder
from simple_im.backup.manifest import Manifest, check_outside, write_manifest
from simple_im.backup.verifying import check_keys, check_schema
from simple_im.config import StartError, shown
from simple_im.state import DATABASE, FILES, KEYS, sync
from simple_im.store import snapshot
from simple_im.store.snapshot import Leap
from simple_im.store.trouble import CURE, DAMAGED, primary_code

LEAP: Final = Leap(epochs=1_024, versions=1_024, ids=100_000)
"""How far a copy is above the node. A node raises the epoch by one a start, so no `seq` that it gives out later, in up
to so many starts, is one of a node that starts from the copy; who signs up there gets the id of nobody of here."""
_CURES: Final = {
    **dict.fromkeys((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY), AS_SERVER),
    **dict.fromkeys(DAMAGED, CURE),
}
_DRAFT: Final = ".new"
"""What the names of keys end in while they are written."""


@dataclass(frozen=True)
class Taken:
    """A backup's manifest, and how many files it is without that the database named and that were not there."""

    manifest: Manifest
    gone: int


def take(state: Path, target: Path, now: datetime) -> Taken:
    """Makes `target` of the state directory of a node, which goes on meanwhile; raises BackupError or StartError.

    The database is of one moment. Media are copied after it: their files are never changed, so the only thing that
    can happen to one is that its time is over and it goes, and then its row does not stay in the copy either.
    """
    state, target = Path(os.path.realpath(state)), Path(os.path.realpath(target))
    _check_source(state)
    _check_target(state, target)
    with disk_errors(f"{target} can't be made"), _target_errors(target), whole_folder(target) as draft:
        with _source_errors(state / DATABASE):
            _copy_database(state / DATABASE, draft / DATABASE)
            _check_copy(draft / DATABASE, state / DATABASE)
        media, gone = _copy_media(state / FILES, draft)
        _make_startable(draft / DATABASE, gone)
        keys = _copy_keys(state / KEYS, draft / KEYS)
        files = {DATABASE: piece_of(draft / DATABASE), **media, **keys}
        manifest = _describe(draft / DATABASE, files, now)
        write_manifest(draft, manifest)
    return Taken(manifest, len(gone))


def _check_source(state: Path) -> None:
    with disk_errors(f"{state} can't be read"):
        if not (state / DATABASE).is_file():
            raise BackupError(
                f"{state} is not the state of a node, as it has no {DATABASE}: give that with --state DIR"
            )
    check_keys(state / KEYS)


def _check_target(state: Path, target: Path) -> None:
    check_place(target)
    check_outside(target)
    if target == state or state in target.parents:
        raise BackupError(f"{target} is in the state directory: choose a place that is not lost together with it")
    with disk_errors(f"{target} can't be read"):
        if target.exists() and os.listdir(target):
            raise BackupError(f"{target} is not empty: give a new directory")


@contextlib.contextmanager
def _source_errors(source: Path) -> Iterator[None]:
    """But not those of a disk that does not take the copy."""
    try:
        yield
    except sqlite3.Error as error:
        if snapshot.is_of_writing(error):
            raise
        cure = _CURES.get(primary_code(error), "see that its disk can be read, and try again")
        raise BackupError(f"the database {source} can't be copied ({shown(error)}): {cure}") from None


@contextlib.contextmanager
def _target_errors(target: Path) -> Iterator[None]:
    """What is left is about the copy."""
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(
            f"{target} can't be made ({shown(error)}): see that its disk has room, and takes files as large"
        ) from None


def _copy_database(source: Path, copy: Path) -> None:
    make_file(copy, b"")
    snapshot.copy_database(source, copy, lambda: sync(copy))


def _check_copy(copy: Path, source: Path) -> None:
    """A backup of what could not be used is none."""
    check_schema(source, snapshot.schema_version(copy))
    damage = snapshot.damage(copy)
    if damage is not None:
        raise BackupError(f"the database {source} is damaged ({shown(damage)}): {CURE}")


def _copy_media(source: Path, draft: Path) -> tuple[dict[str, Piece], list[tuple[str, str]]]:
    """Copies what the copy of the database names; what of it is there, and what is not."""
    found: dict[str, Piece] = {}
    gone: list[tuple[str, str]] = []
    for kind, name in snapshot.files(draft / DATABASE):
        try:
            found[f"{FILES}/{kind}/{name}"] = copy_file(source / kind / name, draft / FILES / kind / name)
        except FileNotFoundError:
            gone.append((kind, name))
    return found, gone


def _make_startable(copy: Path, gone: list[tuple[str, str]]) -> None:
    """A node may start from it: it names no file that is not there, and gives nothing out a second time."""
    snapshot.forget_files(copy, gone)
    snapshot.leap(copy, LEAP)
    sync(copy)


def _copy_keys(source: Path, target: Path) -> dict[str, Piece]:
    """Copies all that is in `ssl/`, also behind links; but for files on their way there."""
    names = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.endswith(_DRAFT))
    keys = {f"{KEYS}/{path.relative_to(source)}": copy_file(path, target / path.relative_to(source)) for path in names}
    try:
        check_keys(target)
    except StartError:
        raise BackupError(f"the keys in {source} were replaced while they were copied: try again") from None
    return keys


def _describe(copy: Path, files: dict[str, Piece], now: datetime) -> Manifest:
    time = now.replace(microsecond=0)
    return Manifest(time, __version__, snapshot.schema_version(copy), snapshot.count(copy), files)
