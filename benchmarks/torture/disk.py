"""A disk and a clock that fail on command, for a program that is made to run on them by its environment.

`faults.c` says how it works. What it sees is what the program does: a process without `environ` that writes to the
live directory (also one that only opens a SQLite database there) makes changes that the disk never hears of.
"""

from __future__ import annotations

import hashlib
import importlib.util
import mmap
import os
import platform
import shlex
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

SOURCE: Final = Path(__file__).with_name("faults.c")
FLAGS: Final = ("-std=c11", "-O2", "-Wall", "-Wextra", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-pthread")

BLOCK: Final = 4096
SECTOR: Final = 512
_SECOND: Final = 1_000_000_000
_NO_LIMIT: Final = -1

_CLOCK_STEP, _ROOM, _FAILURES, _DELAY, _SYNCS = range(0, 40, 8)
_CONTROL_SIZE: Final = 40
_MAP_HEADER: Final = struct.Struct("=4xIQ")
"""Whether the size is not on disk, and the end of the dirty blocks; these follow from offset BLOCK on, a byte each."""


class Share(NamedTuple):
    """How much of what was not synced gets to disk all the same."""

    blocks: tuple[float, ...]
    """The probability for a sector: one of these in each block, so some are torn."""
    size: float
    """The probability for the size."""


NOTHING: Final = Share((0.0,), 0.0)
EVERYTHING: Final = Share((1.0,), 1.0)
SOMETHING: Final = Share((0.0, 0.5, 1.0), 0.5)
_SHARES: Final = (NOTHING, EVERYTHING, SOMETHING)


class CannotCompile(Exception):
    """There is no C compiler, or it does not take the library; the text is a sentence for who runs this."""


class FaultyDisk:
    """The disk below the directory `live`, whose power can be cut, and which can fill up, fail and slow down.

    What is in `live` when this is made counts as on disk. Commands take effect at once, also in running programs, and
    stay over a power failure; the constructor takes back those of an earlier FaultyDisk.
    """

    def __init__(self, live: Path, side: Path) -> None:
        """`side` is for the disk's own files, on the same file system; both are made where they are missing.

        No program may be using `live` yet. Raises CannotCompile.
        """
        self._library = library()
        live.mkdir(parents=True, exist_ok=True)
        side.mkdir(parents=True, exist_ok=True)
        self._live = live.resolve()
        self._side = side.resolve()
        if self._live.stat().st_dev != self._side.stat().st_dev:
            raise ValueError(f"{live} and {side} are not on the same file system")
        self._control = _control(self._side / "control")
        self.leave_room(None)
        self._take_stock()

    def environ(self) -> dict[str, str]:
        """What a program that is to run on this disk needs in its environment in addition to os.environ."""
        preloaded = os.environ.get("LD_PRELOAD", "").split(":")
        others = [library for library in preloaded if library and library != str(self._library)]
        return {
            "LD_PRELOAD": ":".join([str(self._library), *others]),
            "FAULTS_LIVE": str(self._live),
            "FAULTS_SIDE": str(self._side),
        }

    def step_clock(self, seconds: float) -> None:
        """Puts the real-time clock ahead of the true time by `seconds`, or back; the monotonic clocks stay true."""
        self._command(_CLOCK_STEP, round(seconds * _SECOND))

    def leave_room(self, size: int | None) -> None:
        """Lets files grow by `size` bytes in sum, then ENOSPC, for new files too. None: there is no limit.

        What gets shorter or goes away gives no room back.
        """
        self._command(_ROOM, _NO_LIMIT if size is None else size)

    def fail_syncs(self, count: int) -> None:
        """Lets the next `count` syncs of files and directories return EIO.

        What they should have written shows in the files, but never gets to disk, unless it is written again.
        """
        self._command(_FAILURES, count)

    def slow_syncs(self, seconds: float) -> None:
        """Lets each sync take that much longer; as it is, one takes less than a true disk's."""
        self._command(_DELAY, round(seconds * _SECOND))

    @property
    def syncs(self) -> int:
        """How many syncs of files and directories there have been, failed ones too."""
        (count,) = struct.unpack_from("=q", self._control, _SYNCS)
        return int(count)

    def lose_power(self, random: Random, *, names_survive: float = 0.0) -> None:
        """Makes `live` what the disk holds after a power failure; no process may be using it.

        That is what was synced and an arbitrary part of what was not: nothing, everything, or something of each
        file. Names that were given and taken without a sync are as before, or with the probability `names_survive`,
        all as they were last: a file that was renamed before it was synced may then be found empty. `*-shm` is gone.
        """
        names = self._live_names() if random.random() < names_survive else self._durable_names()
        left = self._side / "left"
        _make_empty(left)
        self._write_what_is_left(left, names, random)
        for path in _files(self._live):
            path.unlink()
        for path in _files(left):
            place = self._live / path.relative_to(left)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        self._take_stock()

    def _command(self, offset: int, value: int) -> None:
        struct.pack_into("=q", self._control, offset, value)

    def _take_stock(self) -> None:
        """Everything that there is is on disk."""
        for kind in ("kept", "dirty", "names", "moved"):
            _make_empty(self._side / kind)
        for path in _files(self._live):
            self._enroll(path)

    def _enroll(self, path: Path) -> None:
        inode = str(path.stat().st_ino)
        kept = self._side / "kept" / inode
        if not kept.exists():
            shutil.copy(path, kept)
            (self._side / "dirty" / inode).touch()
        name = self._side / "names" / path.relative_to(self._live)
        name.parent.mkdir(parents=True, exist_ok=True)
        name.hardlink_to(kept)

    def _durable_names(self) -> dict[Path, Path]:
        """The names that are on disk, each with the kept content of its file."""
        root = self._side / "names"
        return {path.relative_to(root): path for path in _files(root)}

    def _live_names(self) -> dict[Path, Path]:
        """The names that there are, with the same. A file that the library never saw is not among them."""
        kept = {path.relative_to(self._live): self._kept(path) for path in _files(self._live)}
        return {name: path for name, path in kept.items() if path.exists()}

    def _kept(self, path: Path) -> Path:
        return self._side / "kept" / str(path.stat().st_ino)

    def _write_what_is_left(self, left: Path, names: dict[Path, Path], random: Random) -> None:
        shares = random.choice(((NOTHING,), (EVERYTHING,), _SHARES))
        living = {kept.stat().st_ino: name for name, kept in self._live_names().items()}
        for name, kept in sorted(names.items()):
            if name.name.endswith("-shm"):
                continue
            copy = left / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(kept, copy)
            live = living.get(kept.stat().st_ino)
            if live is not None:
                self._add_unsynced(self._live / live, copy, random.choice(shares), random)

    def _add_unsynced(self, live: Path, copy: Path, share: Share, random: Random) -> None:
        resized, blocks = _dirty(self._side / "dirty" / str(live.stat().st_ino))
        written = live.read_bytes() if blocks or resized else b""
        with copy.open("r+b") as file:
            old_size = file.seek(0, os.SEEK_END)
            for start in _chosen_sectors(blocks, share, random):
                file.seek(start)
                file.write(written[start : start + SECTOR])
            if resized:
                file.truncate(len(written) if random.random() < share.size else old_size)
        copy.chmod(stat.S_IMODE(live.stat().st_mode))


def compiler() -> list[str]:
    """The command of a C compiler: $CC, or one that is installed. Raises CannotCompile if there is none."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise CannotCompile("there is no C compiler: install gcc or clang, `pip install ziglang`, or name one in $CC")


def library() -> Path:
    """The library that makes a disk faulty, compiled if it was not yet. Raises CannotCompile."""
    command = [*compiler(), *FLAGS]
    source = SOURCE.read_bytes()
    key = hashlib.sha256(b"\0".join([source, shlex.join(command).encode(), platform.machine().encode()]))
    path = _cache() / f"faults-{key.hexdigest()[:16]}.so"
    if not path.exists():
        _compile(command, path)
    return path


def _compile(command: list[str], path: Path) -> None:
    """In one step, for another process may be at it too."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        try:
            done = subprocess.run([*command, "-o", str(draft), str(SOURCE), "-ldl"], capture_output=True, text=True)
        except OSError as error:
            raise CannotCompile(f"the C compiler {command[0]} can't be run ({error.strerror}): correct $CC") from None
        if done.returncode:
            raise CannotCompile(f"{shlex.join(command)} can't compile {SOURCE}:\n{done.stderr}")
        draft.replace(path)


def _cache() -> Path:
    """A directory that nobody else can put a library into."""
    path = Path(tempfile.gettempdir()) / f"simple_im-torture-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise CannotCompile(f"{path} is not this user's alone: remove it")
    return path


def _control(path: Path) -> mmap.mmap:
    """The block of commands, new: a program that is still running on an earlier one is not commanded any more."""
    path.unlink(missing_ok=True)
    path.write_bytes(bytes(_CONTROL_SIZE))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _CONTROL_SIZE)


def _dirty(path: Path) -> tuple[bool, bytes]:
    """Whether the size is not on disk, and a byte for each block, zero where it is.

    A program that was killed while it made a file may have left no map of it; then it has written nothing.
    """
    if not path.exists():
        return False, b""
    with path.open("rb") as file:
        header = file.read(_MAP_HEADER.size)
        if not header:
            return False, b""
        resized, end = _MAP_HEADER.unpack(header)
        file.seek(BLOCK)
        return bool(resized), file.read(end)


def _chosen_sectors(blocks: bytes, share: Share, random: Random) -> Iterator[int]:
    for block in (number for number, dirty in enumerate(blocks) if dirty):
        chance = random.choice(share.blocks)
        for start in range(block * BLOCK, (block + 1) * BLOCK, SECTOR):
            if random.random() < chance:
                yield start


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
