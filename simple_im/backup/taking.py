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
from simple_im.backup.folder import BackupError, Piece, check_place, copy_file, disk_errors, make_file, piece_of, sync
from simple_im.backup.folder import whole as whole_folder
from simple_im.backup.manifest import DATABASE, FILES, KEYS, Manifest, write_manifest
from simple_im.backup.verifying import check_keys, check_schema
from simple_im.config import StartError
from simple_im.store import snapshot
from simple_im.store.snapshot import Leap

LEAP: Final = Leap(epochs=1_024, versions=1_024, ids=100_000)
"""How far a copy is above the node. A node raises the epoch by one a start, so no `seq` that it gives out later, in up
to so many starts, is one of a node that starts from the copy; who signs up there gets the id of nobody of here."""
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
    with disk_errors(f"{target} can't be made"), whole_folder(target) as draft:
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
    if target == state or state in target.parents:
        raise BackupError(f"{target} is in the state directory: choose a place that is not lost together with it")
    with disk_errors(f"{target} can't be read"):
        if target.exists() and os.listdir(target):
            raise BackupError(f"{target} is not empty: give a new directory")


@contextlib.contextmanager
def _database_errors(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(f"{what} ({error}): see that its disk has room and can be read, and try again") from None


def _copy_database(source: Path, target: Path) -> None:
    make_file(target, b"")
    with _database_errors(f"the database {source} can't be copied"):
        snapshot.copy_database(source, target, lambda: sync(target))


def _check_copy(copy: Path, source: Path) -> None:
    """A backup of what could not be used is none."""
    with _database_errors(f"the database {source} can't be copied"):
        check_schema(source, snapshot.schema_version(copy))
        damage = snapshot.damage(copy)
    if damage is not None:
        raise BackupError(f"the database {source} is damaged ({damage}): restore the last backup that is whole")


def _copy_media(source: Path, draft: Path) -> tuple[dict[str, Piece], list[tuple[str, str]]]:
    """Copies what the copy of the database names; what of it is there, and what is not."""
    found: dict[str, Piece] = {}
    gone: list[tuple[str, str]] = []
    with _database_errors("the copied database can't be read"):
        names = snapshot.files(draft / DATABASE)
    for kind, name in names:
        try:
            found[f"{FILES}/{kind}/{name}"] = copy_file(source / kind / name, draft / FILES / kind / name)
        except FileNotFoundError:
            gone.append((kind, name))
    return found, gone


def _make_startable(copy: Path, gone: list[tuple[str, str]]) -> None:
    """A node may start from it: it names no file that is not there, and gives nothing out a second time."""
    with _database_errors("the copied database can't be written"):
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
    with _database_errors("the copied database can't be read"):
        time = now.replace(microsecond=0)
        return Manifest(time, __version__, snapshot.schema_version(copy), snapshot.count(copy), files)
