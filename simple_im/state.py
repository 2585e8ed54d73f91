"""The state directory: made, locked against a second server, and written to so that a crash leaves whole files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from simple_im.config import StartError

LOCK: Final = "lock"
DATABASE: Final = "simple_im.db"
FILES: Final = "files"
KEYS: Final = "ssl"
PID_WIDTH: Final = 10

_CURES: Final = {
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "free some space of this user's share of its disk",
    errno.EEXIST: "remove the file that stands in its place, or choose another --state DIR",
    errno.ENOTDIR: "remove the file that stands in its way, or choose another --state DIR",
}
_OTHER_CURE: Final = "make it a directory that this user can write to, or choose another --state DIR"


class StateDirectory:
    """A directory that one server has to itself, from the constructor until `close` or the process's end.

    The lock (flock(2)) belongs to the open file, so a fork takes it along: twistd may become a daemon after this.
    A program that the server starts does not get it.
    """

    def __init__(self, path: Path) -> None:
        """Makes `path` where there is none, for this user only; raises StartError where it can't be had."""
        self.path = path
        make_directory(path)
        self._lock = _open_lock(path / LOCK)
        try:
            _take(self._lock, path)
            self.write_pid()
        except BaseException:
            self.close()
            raise

    def write_pid(self) -> None:
        """Says in the lock file whose lock it is; to be repeated by the process that a fork leaves in charge."""
        with start_errors(self.path):
            os.pwrite(self._lock, b"%-*d\n" % (PID_WIDTH, os.getpid()), 0)

    def close(self) -> None:
        """Leaves the directory to the next server. The lock file stays: removing it would let two in at once."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def make_directory(path: Path) -> None:
    """Makes `path` and what is missing above it, mode 0700; StartError where that fails or it can't be written."""
    with start_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Puts `content` at `path` in one step: after a crash there is the old file or the new one, on disk and whole.

    The file has no wider mode than `mode` at any moment. Raises StartError.
    """
    draft = path.with_name(path.name + ".new")
    with start_errors(path):
        draft.unlink(missing_ok=True)
        try:
            _write_draft(draft, content, mode)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync(path.parent)


@contextlib.contextmanager
def start_errors(path: Path) -> Iterator[None]:
    """Turns an OSError about `path` into the StartError that says what to do."""
    try:
        yield
    except OSError as error:
        cure = _CURES.get(error.errno or 0, _OTHER_CURE)
        raise StartError(f"{path} can't be written ({error.strerror}): {cure}") from None


def _write_draft(draft: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def sync(path: Path) -> None:
    """Has a file, or a directory's names, on disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    with start_errors(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError(
            f"{path} is served by another process{_holder(lock)}: stop it or choose another --state DIR"
        ) from None
    except OSError as error:
        raise StartError(
            f"{path} can't be locked ({error.strerror}): choose a --state DIR on a disk of this machine"
        ) from None


def _holder(lock: int) -> str:
    """Who says in the lock file that the lock is its own: nobody yet, for a moment while it starts."""
    pid = os.pread(lock, PID_WIDTH, 0).strip()
    return f" (pid {pid.decode()})" if pid.isdigit() else ""
