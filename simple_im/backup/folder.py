"""Directories that are whole or not there: built beside their place, on disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

from simple_im.state import sync
from simple_im.store.trouble import LOOK

UNFINISHED: Final = ".unfinished-"
"""What stands between a directory's name and chance while it is built; such a directory is what a crash left."""
_CHUNK: Final = 4 * 1_048_576
"""What is copied and synced at once. A node on the same disk waits for all that is on its way there when it commits."""

_CURES: Final = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space of this user's share there",
    errno.EFBIG: "choose a disk, and a limit for this user, that take larger files",
    errno.EACCES: "say it as the user that runs the server, on a directory which that user may write to",
    errno.EPERM: "say it as the user that runs the server, on a directory which that user may write to",
    errno.EROFS: "choose a disk that can be written to",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EIO: LOOK,
}
AS_SERVER: Final = "say it as the user that runs the server, and have that user own it"
_TO_READ: Final = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), AS_SERVER),
    errno.EIO: LOOK,
}
_ANY: Final = "mend that and try again"


class BackupError(Exception):
    """It can't be done, or a backup is not whole; the message is one sentence."""


class Piece(NamedTuple):
    """What a file holds."""

    size: int
    sha256: str


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A private directory to fill, which becomes `path` at the end; where anything goes wrong, nothing is left.

    `path` must not exist, or be an empty directory. Raises OSError.
    """
    draft = Path(tempfile.mkdtemp(prefix=f"{path.name}{UNFINISHED}", dir=path.parent))
    try:
        yield draft
        sync_tree(draft)
        os.rename(draft, path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync(path.parent)


@contextlib.contextmanager
def disk_errors(what: str, otherwise: str = _ANY) -> Iterator[None]:
    """Turns an OSError into a BackupError: `what`, why, and what to do, or `otherwise`."""
    try:
        yield
    except OSError as error:
        raise BackupError(f"{what} {because(error, otherwise)}") from None


def because(error: OSError, otherwise: str = _ANY) -> str:
    """How a sentence ends that an error is the reason of: why and where, and what to do, or `otherwise`."""
    place = f", {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    cure = _CURES.get(error.errno or 0, otherwise)
    return f"({error.strerror or error}{place}): {cure}"


def check_place(path: Path) -> None:
    """Raises BackupError where `path` can't be made with one rename."""
    with disk_errors(f"{path} can't be made"):
        if not path.parent.is_dir():
            raise BackupError(f"{path.parent} is no directory: make it, or mount its disk")
        if os.path.ismount(path):
            raise BackupError(f"{path} is where a disk is mounted: give a new directory below it")
        if path.exists() and not path.is_dir():
            raise BackupError(f"{path} is no directory: give a new or an empty one")


def make_file(path: Path, content: bytes) -> None:
    """A new private file, on disk; raises OSError."""
    with _create(path) as file:
        file.write(content)
        _sync_file(file)


def copy_file(source: Path, target: Path) -> Piece:
    """Copies a file to a new private one, on disk, with the directories above it.

    Raises FileNotFoundError where there is no `source`, BackupError where it can't be read, and OSError for `target`.
    """
    with _open(source) as original:
        make_folders(target.parent)
        with _create(target) as copy:
            piece = _pass_on(original, copy)
            _sync_file(copy)
    return piece


def make_folders(path: Path) -> None:
    """Makes a private directory, and those above it that are missing; raises OSError."""
    if not path.is_dir():
        make_folders(path.parent)
        path.mkdir(mode=0o700)


def piece_of(path: Path) -> Piece:
    """What is in a file; raises FileNotFoundError, and BackupError where it can't be read."""
    with _open(path) as file:
        return _pass_on(file, None)


def _open(path: Path) -> IO[bytes]:
    with _reading(path):
        return open(path, "rb")


@contextlib.contextmanager
def _reading(path: object) -> Iterator[None]:
    """What can't be read is told from what can't be written."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        cure = _TO_READ.get(error.errno or 0, _ANY)
        raise BackupError(f"{path} can't be read ({error.strerror}): {cure}") from None


def _pass_on(source: IO[bytes], target: IO[bytes] | None) -> Piece:
    digest, size = hashlib.sha256(), 0
    while chunk := _next(source):
        digest.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
            if len(chunk) == _CHUNK:
                _sync_file(target)
    return Piece(size, digest.hexdigest())


def _next(source: IO[bytes]) -> bytes:
    with _reading(source.name):
        return source.read(_CHUNK)


def _create(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _sync_file(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def sync_tree(path: Path) -> None:
    """Has every directory's names on disk, the deepest first."""
    for directory, _, _ in os.walk(path, topdown=False):
        sync(Path(directory))
