"""Making a state directory of a backup."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from simple_im.backup.folder import BackupError, check_place, copy_file, disk_errors, make_file, whole
from simple_im.backup.manifest import Manifest, check_outside
from simple_im.backup.verifying import check_piece, verify
from simple_im.state import DATABASE, LOCK, sync
from simple_im.store import snapshot
from simple_im.store.sequence import SPAN_BITS
from simple_im.store.snapshot import Leap

_EPOCHS: Final = 1 << (53 - SPAN_BITS)
"""How many there are while `seq` stays below 2^53."""
_SHARE: Final = 128
"""Of the epochs that are left, a restoration takes up to one in so many: 16,384 at first, and never all."""
_IDS: Final = 100_000_000
"""How many ids of users and of groups it leaves out at most."""
_VERSIONS_A_SECOND: Final = 1_024
"""More than anybody's contacts change in one."""
_README: Final = "README"
"""How the names of files begin that may lie in a state directory that is otherwise empty."""


def restore(backup: Path, state: Path, now: datetime, chance: Callable[[int], int]) -> Manifest:
    """Makes `state` of a backup, which is checked first; raises BackupError or StartError, and then made nothing.

    `chance` gives a number below another, as `secrets.randbelow` does, and is asked how far this restoration is from
    every other of the same backup; see `_leap`.
    """
    state = Path(os.path.realpath(state))
    _check_target(state)
    manifest = verify(backup)
    with disk_errors(f"{state} can't be made"), _readmes(state) as readmes, whole(state) as draft:
        for name, piece in manifest.files.items():
            check_piece(backup / name, copy_file(backup / name, draft / name), piece)
        _make_different(draft / DATABASE, now - manifest.time, chance)
        _move(readmes, draft)
    return manifest


def _check_target(state: Path) -> None:
    check_place(state)
    check_outside(state)
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


def _make_different(database: Path, age: timedelta, chance: Callable[[int], int]) -> None:
    try:
        snapshot.leap(database, _leap(snapshot.epoch(database), age, chance))
    except sqlite3.Error as error:
        raise BackupError(f"the database {database} can't be written ({error}): free some space there") from None
    sync(database)


def _leap(epoch: int, age: timedelta, chance: Callable[[int], int]) -> Leap:
    """What two nodes restored from one backup give out differs by this.

    Epochs are few, so how many are left out is up to chance, and so it is with ids: the second node's may be above the
    first's or below. Versions of contact lists must be above, or a client of the first node would never be told of a
    change: they grow with the backup's age, by none where the clock says that it is of the future.
    """
    epochs = 1 + chance(max(1, (_EPOCHS - epoch) // _SHARE))
    versions = _VERSIONS_A_SECOND * max(0, int(age.total_seconds()))
    return Leap(epochs, versions, chance(_IDS))
