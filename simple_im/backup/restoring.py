"""Making a state directory of a backup."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from simple_im.backup.folder import BackupError, check_place, copy_file, disk_errors, make_file, sync, whole
from simple_im.backup.manifest import DATABASE, Manifest
from simple_im.backup.verifying import check_piece, verify
from simple_im.state import LOCK
from simple_im.store.snapshot import skip_epochs

_README: Final = "README"
"""How the names of files begin that may lie in a state directory that is otherwise empty."""


def restore(backup: Path, state: Path, now: datetime) -> Manifest:
    """Makes `state` of a backup, which is checked first; raises BackupError or StartError, and then made nothing.

    A backup may be restored a second time after a node had started from the first: the epoch is raised by one for
    each minute of the backup's age, so that the second node gives out no `seq` of the first.
    """
    state = Path(os.path.realpath(state))
    _check_target(state)
    manifest = verify(backup)
    with disk_errors(f"{state} can't be made"), _readmes(state) as readmes, whole(state) as draft:
        for name, piece in manifest.files.items():
            check_piece(backup / name, copy_file(backup / name, draft / name), piece)
        _skip_epochs(draft / DATABASE, int((now - manifest.time).total_seconds() // 60))
        _move(readmes, draft)
    return manifest


def _check_target(state: Path) -> None:
    check_place(state)
    with disk_errors(f"{state} can't be read"):
        if _is_served(state):
            raise BackupError(f"{state} is served by a running node: stop it, and move the directory away")
        if state.exists() and any(not name.startswith(_README) for name in os.listdir(state)):
            raise BackupError(f"{state} is not empty: move it away, or choose another --state DIR")


def _is_served(state: Path) -> bool:
    """Whether a node holds the lock; raises OSError."""
    try:
        lock = os.open(state / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextlib.contextmanager
def _readmes(state: Path) -> Iterator[dict[Path, bytes]]:
    """What those in the directory say; they are put back where it fails after they were moved."""
    found = {path: path.read_bytes() for path in state.glob(f"{_README}*")}
    try:
        yield found
    except BaseException:
        for path, content in found.items():
            if not path.exists():
                path.write_bytes(content)
        raise


def _move(readmes: dict[Path, bytes], draft: Path) -> None:
    """A directory can be renamed to an empty one only."""
    for path, content in readmes.items():
        make_file(draft / path.name, content)
        path.unlink()


def _skip_epochs(database: Path, number: int) -> None:
    """None where the clock says that the backup is of the future."""
    try:
        skip_epochs(database, max(0, number))
    except sqlite3.Error as error:
        raise BackupError(f"the database {database} can't be written ({error}): free some space there") from None
    sync(database)
