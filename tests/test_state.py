"""The state directory."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simple_im.config import StartError
from simple_im.state import LOCK, StateDirectory, make_directory, start_errors, write_file


class StateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def opened(self) -> StateDirectory:
        state = StateDirectory(self.path)
        self.addCleanup(state.close)
        return state

    def refusal(self) -> str:
        return str(self.assertRaises(StartError, StateDirectory, self.path))


class DirectoryTests(StateCase):
    def test_made(self) -> None:
        """A missing directory is made, with what is missing above it, for its owner alone."""
        self.path = self.path / "a" / "b"
        self.opened()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)

    def test_existing(self) -> None:
        """A directory that is there is taken, with the mode that it has and what lies in it."""
        self.path.mkdir(mode=0o755)
        (self.path / "file").write_text("kept")
        self.opened()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o755)
        self.assertEqual((self.path / "file").read_text(), "kept")

    def test_file_in_its_place(self) -> None:
        """A path that is a file is refused with what to do about it."""
        self.path.write_text("")
        sentence = self.refusal()
        self.assertIn(str(self.path), sentence)
        self.assertIn("remove the file", sentence)
        self.assertIn("--state", sentence)

    def test_file_in_its_way(self) -> None:
        """So is one below a file."""
        self.path.write_text("")
        self.path = self.path / "below"
        self.assertIn("remove the file", self.refusal())

    def test_cannot_be_made(self) -> None:
        """Where the system lets nobody make a directory, the sentence names it and the option to change."""
        self.path = Path("/proc/simple_im")
        sentence = self.refusal()
        self.assertIn("/proc/simple_im can't be written", sentence)
        self.assertIn("--state", sentence)

    def test_cannot_be_written(self) -> None:
        """A directory that is there and takes no file is refused too."""
        self.path = Path("/proc/self")
        self.assertIn("can't be written", self.refusal())

    def test_no_right_to_write(self) -> None:
        """A directory that is not this user's to write to is refused before anything is tried in it."""
        self.path.mkdir()
        self.patch(os, "access", lambda path, mode: False)
        self.assertIn("Permission denied", self.refusal())

    def test_full_disk(self) -> None:
        """A full disk is found at the start, and said."""
        self.path.mkdir()
        (self.path / LOCK).symlink_to("/dev/full")
        sentence = self.refusal()
        self.assertIn("No space left", sentence)
        self.assertIn("free some space", sentence)

    def test_other_errors(self) -> None:
        """Any other fault of the system is said in its words."""

        def fail() -> None:
            with start_errors(self.path):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        sentence = str(self.assertRaises(StartError, fail))
        self.assertIn("Read-only file system", sentence)
        self.assertIn("--state", sentence)


class LockTests(StateCase):
    def test_second_server(self) -> None:
        """A second server on the directory is refused with the process id of the first."""
        self.opened()
        sentence = self.refusal()
        self.assertIn(f"{self.path} is served by another process (pid {os.getpid()})", sentence)
        self.assertIn("stop it or choose another --state DIR", sentence)

    def test_second_server_while_the_first_starts(self) -> None:
        """Where the first has not yet said who it is, the second is refused without the number."""
        self.opened()
        (self.path / LOCK).write_text("")
        self.assertIn("is served by another process: stop it", self.refusal())

    def test_refused_twice(self) -> None:
        """A refusal leaves the lock as it was."""
        self.opened()
        self.assertEqual(self.refusal(), self.refusal())

    def test_close(self) -> None:
        """After `close` the next server may have the directory; closing again does nothing."""
        first = self.opened()
        first.close()
        self.opened()
        first.close()
        self.assertIn("served by another process", self.refusal())

    def test_lock_left_behind(self) -> None:
        """A lock file that a dead server left, with a longer number in it, is no obstacle and gets the new number."""
        self.path.mkdir()
        (self.path / LOCK).write_text("4194304999\n")
        self.opened()
        self.assertEqual(int((self.path / LOCK).read_text()), os.getpid())

    def test_fork(self) -> None:
        """The lock goes along with a fork, and goes away when that process is killed."""
        state = self.opened()
        child, ready = self.forked(state)
        self.addCleanup(os.close, ready)
        os.read(ready, 1)
        state.close()
        self.assertIn(f"(pid {child})", self.refusal())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.opened()

    def forked(self, state: StateDirectory) -> tuple[int, int]:
        """A child that holds `state` until it is killed, and the pipe on which it says that it does."""
        ready, write = os.pipe()
        child = os.fork()
        if child == 0:
            state.write_pid()
            os.write(write, b".")
            while True:
                signal.pause()
        os.close(write)
        return child, ready

    def test_programs_started_by_the_server(self) -> None:
        """A program that the server starts does not hold the lock on after the server."""
        state = self.opened()
        child = subprocess.Popen(
            [sys.executable, "-c", "print('up', flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=False,
        )
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        assert child.stdout is not None
        child.stdout.readline()
        state.close()
        self.opened()


class WriteFileTests(StateCase):
    def setUp(self) -> None:
        super().setUp()
        make_directory(self.path)
        self.file = self.path / "file"

    def test_content_and_mode(self) -> None:
        """The file has the content and the mode asked for, and nothing is left beside it."""
        write_file(self.file, b"content", 0o600)
        self.assertEqual(self.file.read_bytes(), b"content")
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.path), ["file"])

    def test_replaces(self) -> None:
        """A file that is there is replaced, as is what a crash left of an earlier try, whatever its mode."""
        self.file.write_bytes(b"old")
        (self.path / "file.new").write_bytes(b"half")
        (self.path / "file.new").chmod(0o666)
        write_file(self.file, b"new", 0o600)
        self.assertEqual(self.file.read_bytes(), b"new")
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)

    def test_never_readable_by_others(self) -> None:
        """The file is made with its mode, not changed to it later, and is on disk before it has its name."""
        steps: list[str] = []
        real_open, real_fsync = os.open, os.fsync

        def record_open(path: Path, flags: int, mode: int = 0o777) -> int:
            descriptor = real_open(path, flags, mode)
            steps.append(f"open {Path(path).name} {stat.S_IMODE(os.fstat(descriptor).st_mode):o}")
            return descriptor

        def record_fsync(descriptor: int) -> None:
            steps.append(f"fsync while {sorted(os.listdir(self.path))}")
            real_fsync(descriptor)

        self.patch(os, "open", record_open)
        self.patch(os, "fsync", record_fsync)
        write_file(self.file, b"secret", 0o600)
        self.assertEqual(steps[:2], ["open file.new 600", "fsync while ['file.new']"])
        self.assertEqual(steps[3:], ["fsync while ['file']"])

    def test_failure(self) -> None:
        """Where the disk does not take it, the old file stays, nothing is left beside it, and a sentence says why."""
        self.file.write_bytes(b"old")

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(os, "fsync", full)
        sentence = str(self.assertRaises(StartError, write_file, self.file, b"new", 0o600))
        self.assertIn("free some space", sentence)
        self.assertEqual(self.file.read_bytes(), b"old")
        self.assertEqual(os.listdir(self.path), ["file"])
