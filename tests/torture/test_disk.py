"""The disk and the clock that fail on command."""

from __future__ import annotations

import itertools
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.torture.disk import BLOCK, SECTOR, CannotCompile, FaultyDisk, compiler, library

SEEDS = range(24)
WORDS = """
import os, sqlite3, signal, sys, time

def opened(name, flags=os.O_RDWR | os.O_CREAT):
    return os.open(name, flags, 0o600)

def put(name, data, at=0):
    file = opened(name)
    os.pwrite(file, data, at)
    return file

def synced(name, data=b""):
    file = put(name, data)
    os.fsync(file)
    os.close(file)

def error(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return os.strerror(error.errno)
    return "none"

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

"""
"""What the programs of these tests are written in."""


class Worst(random.Random):
    """The power failure that leaves nothing of what was not synced."""

    def choice(self, seq: Any) -> Any:
        return seq[0]


class DiskCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.roots = (Path(self.mktemp()).absolute() / str(number) for number in itertools.count())
        self.renew()

    def renew(self) -> None:
        """Another disk, with nothing on it."""
        self.root = next(self.roots)
        self.live = self.root / "live"
        self.disk = FaultyDisk(self.live, self.root / "side")

    def started(self, program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-I", "-S", "-c", WORDS + program]
        environ = {**os.environ, **self.disk.environ()}
        process = subprocess.Popen(command, cwd=self.live, env=environ, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def run_program(self, program: str) -> list[str]:
        """The lines that it prints before it ends or kills itself."""
        with self.started(program) as process:
            output, _ = process.communicate()
        self.assertIn(process.returncode, (0, -signal.SIGKILL))
        return output.splitlines()

    def lose_power(self) -> None:
        self.disk.lose_power(Worst())

    def read(self, name: str) -> bytes:
        return (self.live / name).read_bytes()

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.live)) for path in self.live.rglob("*") if path.is_file())

    def outcomes(self, program: str, name: str = "file") -> Iterator[bytes]:
        """What `file` holds after the program and a power failure, with many a chance."""
        for seed in SEEDS:
            self.renew()
            self.run_program(program)
            self.disk.lose_power(random.Random(seed))
            yield self.read(name)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


class PowerTests(DiskCase):
    def test_synced(self) -> None:
        """What was synced is there after every power failure."""
        for content in self.outcomes("synced('file', b'x' * 10_000)"):
            self.assertEqual(content, b"x" * 10_000)

    def test_not_synced(self) -> None:
        """Of what was written over it later there is nothing, everything, or some sectors; each is old or new."""
        size = 8 * BLOCK
        seen = set(self.outcomes(f"synced('file', b'o' * {size}); put('file', b'n' * {size})"))
        self.assertIn(b"o" * size, seen)
        self.assertIn(b"n" * size, seen)
        self.assertGreater(len(seen), 4)
        sectors = {sector for content in seen for sector in pieces(content, SECTOR)}
        self.assertEqual(sectors, {b"o" * SECTOR, b"n" * SECTOR})

    def test_torn(self) -> None:
        """Some blocks are torn: at a sector, and others are whole."""
        seen = self.outcomes(f"synced('file', b'o' * {8 * BLOCK}); put('file', b'n' * {8 * BLOCK})")
        kinds = {len(set(block)) for content in seen for block in pieces(content, BLOCK)}
        self.assertEqual(kinds, {1, 2})

    def test_grown(self) -> None:
        """A size that was not synced may be there or not, and then also without the content."""
        seen = set(self.outcomes("synced('file', b'o' * 700); put('file', b'n' * 20_000, 700)"))
        self.assertEqual({len(content) for content in seen}, {700, 20_700})
        self.assertEqual({content[:700] for content in seen}, {b"o" * 700})
        self.assertLess(set(b"".join(seen)), set(b"on\0" + b"?"))
        self.assertTrue(any(b"\0" in content for content in seen))

    def test_emptied(self) -> None:
        """Of a file that was opened to be written anew, the old content may be what is left."""
        program = "synced('file', b'o' * 9_000); opened('file', os.O_WRONLY | os.O_TRUNC)"
        self.assertEqual({len(content) for content in self.outcomes(program)}, {0, 9_000})

    def test_other_blocks(self) -> None:
        """A power failure takes nothing of the blocks that were not written since the sync."""
        program = f"synced('file', b'o' * {4 * BLOCK}); put('file', b'n', {BLOCK})"
        for content in self.outcomes(program):
            self.assertEqual(content[:BLOCK], b"o" * BLOCK)
            self.assertEqual(content[2 * BLOCK :], b"o" * 2 * BLOCK)

    def test_there_before(self) -> None:
        """What was there when the disk was made is on it, with the mode that it has."""
        (self.live / "ssl").mkdir()
        (self.live / "ssl" / "key").write_bytes(b"old")
        (self.live / "ssl" / "key").chmod(0o640)
        disk = FaultyDisk(self.live, self.root / "side")
        disk.lose_power(Worst())
        self.assertEqual(self.read("ssl/key"), b"old")
        self.assertEqual(stat.S_IMODE((self.live / "ssl" / "key").stat().st_mode), 0o640)

    def test_mode(self) -> None:
        """A mode is on disk at once, a new file's too."""
        self.run_program("synced('new'); synced('file'); os.chmod('file', 0o640)")
        self.lose_power()
        modes = [stat.S_IMODE((self.live / name).stat().st_mode) for name in ("new", "file")]
        self.assertEqual(modes, [0o600, 0o640])

    def test_what_is_left_stays(self) -> None:
        """What a power failure has left is on disk, and a second one takes nothing of it."""
        for seed in SEEDS[:8]:
            self.renew()
            self.run_program(f"synced('file', b'o' * {8 * BLOCK}); put('file', b'n' * {9 * BLOCK})")
            self.disk.lose_power(random.Random(seed))
            left = self.read("file")
            self.lose_power()
            self.assertEqual(self.read("file"), left)

    def test_shared_memory(self) -> None:
        """What SQLite maps is gone after a power failure, and only that."""
        self.run_program("synced('a.db-shm', b'x'); synced('a.db-wal', b'x')")
        self.lose_power()
        self.assertEqual(self.names(), ["a.db-wal"])


class CallTests(DiskCase):
    """Each way to write counts as one, and each way to sync too."""

    WRITES = (
        "os.write(file, b'new')",
        "os.writev(file, [b'n', b'', b'ew'])",
        "os.pwrite(file, b'new', 0)",
        "os.pwritev(file, [b'n', b'ew'], 0)",
        "os.write(os.dup(file), b'new')",
        "os.write(opened('file', os.O_WRONLY), b'new')",
        "open('file', 'r+b').write(b'new')",
        "os.fork() or (os.write(file, b'new'), os._exit(0)); os.wait()",
        "program = \"open('file', 'r+b').write(b'new')\";"
        "os.posix_spawn(sys.executable, [sys.executable, '-c', program], os.environ); os.wait()",
    )
    SYNCS = (
        "os.fsync(file)",
        "os.fdatasync(file)",
        "os.fsync(opened('file', os.O_RDONLY))",
        "os.fsync(opened('file', os.O_WRONLY))",
        "os.fork() or (os.fsync(file), os._exit(0)); os.wait()",
    )

    def after(self, program: str) -> bytes:
        self.renew()
        self.run_program("synced('file', b'old'); file = opened('file');" + program)
        self.assertEqual(self.read("file"), b"new")
        self.lose_power()
        return self.read("file")

    def test_writes(self) -> None:
        """Without a sync, none is on disk."""
        for write in self.WRITES:
            self.assertEqual(self.after(write), b"old", write)

    def test_synced_writes(self) -> None:
        """With a sync, each is."""
        for write in self.WRITES:
            self.assertEqual(self.after(write + "; os.fsync(file)"), b"new", write)

    def test_syncs(self) -> None:
        """Each sync is one for what was written by any process through any descriptor."""
        for sync in self.SYNCS:
            self.assertEqual(self.after("os.write(file, b'new');" + sync), b"new", sync)

    def test_sizes(self) -> None:
        """A file that is made longer or shorter is so on disk only when it is synced."""
        for call in ("os.ftruncate(file, SIZE)", "os.truncate('file', SIZE)", "os.posix_fallocate(file, 0, SIZE)"):
            for size, sync in ((9_000, False), (9_000, True), (1, False), (1, True)):
                if size == 1 and "fallocate" in call:
                    continue
                self.renew()
                self.run_program("synced('file', b'old'); file = opened('file');" + call.replace("SIZE", str(size)))
                self.run_program("os.fsync(opened('file'))" if sync else "")
                self.lose_power()
                self.assertEqual(self.read("file"), b"old".ljust(size, b"\0")[:size] if sync else b"old", call)

    def test_shrunk_and_grown(self) -> None:
        """What was cut off does not come back when the file grows over it."""
        self.run_program("synced('file', b'o' * 20_000); os.truncate('file', 100); file = put('file', b'n', 19_999)")
        self.run_program("os.fsync(opened('file'))")
        self.lose_power()
        self.assertEqual(self.read("file"), b"o" * 100 + bytes(19_899) + b"n")

    def test_threads(self) -> None:
        """Threads that write and sync at the same time have all of theirs on disk."""
        self.run_program(
            "from threading import Thread\nbig = opened('big')\n"
            "def work(start):\n    for n in range(start, start + 40):\n"
            "        synced(str(n), b'%d' % n * 3_000); os.pwrite(big, b'x' * 100, n * 100); os.fsync(big)\n"
            "threads = [Thread(target=work, args=[start]) for start in (0, 40, 80)]\n"
            "[thread.start() for thread in threads]; [thread.join() for thread in threads]"
        )
        self.lose_power()
        self.assertEqual(self.read("big"), b"x" * 12_000)
        for n in range(120):
            self.assertEqual(self.read(str(n)), b"%d" % n * 3_000)

    def test_copied(self) -> None:
        """The kernel does not copy into a file by itself: whoever tries writes instead, and that counts."""
        program = (
            "import shutil; synced('source', b'new'); synced('file', b'old'); source = opened('source');"
            "print(error(os.copy_file_range, source, opened('file'), 3));"
            "print(error(os.sendfile, opened('file'), source, 0, 3));"
            "shutil.copyfile('source', 'file')"
        )
        self.assertEqual(self.run_program(program), ["Function not implemented"] * 2)
        self.assertEqual(self.read("file"), b"new")
        self.lose_power()
        self.assertEqual(self.read("file"), b"old")

    def test_elsewhere(self) -> None:
        """Files elsewhere have nothing to do with it."""
        self.disk.leave_room(0)
        self.disk.fail_syncs(9)
        self.run_program("synced('../elsewhere', b'x' * 10_000)")
        self.assertEqual((self.root / "elsewhere").stat().st_size, 10_000)
        self.assertEqual(self.disk.syncs, 0)


class KillTests(DiskCase):
    def test_killed(self) -> None:
        """A process's end, however sudden, takes nothing of what it wrote."""
        self.run_program("synced('file', b'old'); put('file', b'new'); kill()")
        self.assertEqual(self.run_program("print(open('file').read())"), ["new"])

    def test_killed_then_lost(self) -> None:
        """But a power failure does, after other processes too."""
        self.run_program("synced('file', b'old'); put('file', b'new'); kill()")
        self.run_program("synced('other')")
        self.lose_power()
        self.assertEqual(self.read("file"), b"old")

    def test_killed_then_synced(self) -> None:
        """The next process can sync what the killed one wrote."""
        self.run_program("synced('file', b'old'); put('file', b'new'); kill()")
        self.run_program("os.fsync(opened('file'))")
        self.lose_power()
        self.assertEqual(self.read("file"), b"new")


class NameTests(DiskCase):
    FOLDER = "os.fsync(os.open('.', os.O_RDONLY));"

    def after(self, program: str, names_survive: float = 0.0) -> dict[str, bytes]:
        self.run_program(program)
        self.disk.lose_power(Worst(), names_survive=names_survive)
        return {name: self.read(name) for name in self.names()}

    def test_created(self) -> None:
        """A new file has its name on disk when it or its directory is synced, not before."""
        self.assertEqual(self.after("put('a', b'a'); synced('b', b'b')"), {"b": b"b"})
        self.assertEqual(self.after("put('c', b'c');" + self.FOLDER), {"b": b"b", "c": b""})

    def test_renamed(self) -> None:
        """A rename without a sync of the directory is undone, and the file that was replaced comes back."""
        program = "synced('a', b'a'); synced('b', b'b'); os.replace('a', 'b');"
        self.assertEqual(self.after(program), {"a": b"a", "b": b"b"})

    def test_renamed_and_synced(self) -> None:
        """A sync of the directory, or of the file, makes it last."""
        program = "synced('a', b'a'); synced('b', b'b'); os.replace('a', 'b');"
        self.assertEqual(self.after(program + self.FOLDER), {"b": b"a"})
        self.renew()
        self.assertEqual(self.after(program + "os.fsync(opened('b'))"), {"b": b"a"})

    def test_renamed_too_early(self) -> None:
        """The name may get to disk before the content, or in time without a sync."""
        program = "synced('b', b'b'); put('a', b'a'); os.replace('a', 'b');"
        self.assertEqual(self.after(program + self.FOLDER), {"b": b""})
        self.renew()
        self.assertEqual(self.after(program, names_survive=1.0), {"b": b""})

    def test_written_after_rename(self) -> None:
        """The names do not matter for which content is on disk."""
        program = "synced('a', b'old'); os.rename('a', 'b'); file = put('b', b'new');"
        self.assertEqual(self.after(program), {"a": b"old"})
        self.assertEqual(self.after(program + "os.fdatasync(file)"), {"b": b"new"})

    def test_moved(self) -> None:
        """A move to another directory lasts with the sync of that one; no sync can lose the file."""
        program = "os.mkdir('new'); synced('a', b'a'); os.rename('a', 'new/a');"
        self.assertEqual(self.after(program + self.FOLDER), {"a": b"a"})
        self.assertEqual(self.after("os.rename('a', 'new/a'); os.fsync(os.open('new', 0))"), {"new/a": b"a"})

    def test_removed(self) -> None:
        """A file that was removed without a sync of the directory comes back with what was synced of it."""
        program = "synced('a', b'a'); put('a', b'b'); os.unlink('a');"
        self.assertEqual(self.after(program), {"a": b"a"})
        self.assertEqual(self.after("os.unlink('a');" + self.FOLDER), {})

    def test_number_used_again(self) -> None:
        """A new file that gets the inode of a removed one has nothing of it, in other processes neither."""
        program = "synced('a', b'a' * 9_000); os.unlink('a'); file = put('b', b'b' * 100); os.fdatasync(file);"
        self.assertEqual(self.after(program), {"a": b"a" * 9_000, "b": b"b" * 100})
        program = "synced('c', b'c'); os.fork() or (os.unlink('c'), put('d', b'd'), os._exit(0)); os.wait();"
        self.assertEqual(self.after(program + "synced('d')")["d"], b"d")

    def test_removed_unseen(self) -> None:
        """Nor has it anything of one that was removed by a program that is not on this disk."""
        self.run_program("synced('a', b'a' * 9_000)")
        (self.live / "a").unlink()
        self.assertEqual(self.after("synced('b', b'b' * 100)")["b"], b"b" * 100)

    def test_folders(self) -> None:
        """A directory is on disk at once, with its name."""
        self.run_program("os.makedirs('a/b'); synced('a/b/c', b'c'); os.rename('a', 'd')")
        self.lose_power()
        self.assertEqual(self.names(), ["d/b/c"])


class FailureTests(DiskCase):
    def test_failed(self) -> None:
        """What a failed sync should have written shows in the file, but no later sync or chance gets it to disk."""
        for seed in SEEDS[:8]:
            self.renew()
            self.run_program("synced('file', b'old')")
            self.disk.fail_syncs(1)
            program = "file = put('file', b'newer'); print(error(os.fsync, file), error(os.fsync, file))"
            self.assertEqual(self.run_program(program), ["Input/output error none"])
            self.assertEqual(self.read("file"), b"newer")
            self.disk.lose_power(random.Random(seed))
            self.assertEqual(self.read("file"), b"old")

    def test_written_again(self) -> None:
        """Unless it is written again."""
        self.run_program("synced('file', b'old')")
        self.disk.fail_syncs(1)
        self.run_program("file = put('file', b'new'); error(os.fsync, file); synced('file', b'new')")
        self.lose_power()
        self.assertEqual(self.read("file"), b"new")

    def test_directory(self) -> None:
        """A directory's sync fails as well; the next one that succeeds has the names."""
        self.disk.fail_syncs(1)
        program = "file = put('file', b''); folder = os.open('.', 0); print(error(os.fsync, folder));"
        self.assertEqual(self.run_program(program), ["Input/output error"])
        self.run_program("os.fsync(os.open('.', 0))")
        self.lose_power()
        self.assertEqual(self.names(), ["file"])

    def test_counted(self) -> None:
        """Syncs are counted, of files and directories, failed ones too."""
        self.disk.fail_syncs(2)
        program = "file = opened('file'); print(error(os.fsync, file), error(os.fdatasync, file)); os.fsync(file);"
        self.assertEqual(self.run_program(program), ["Input/output error Input/output error"])
        self.run_program("os.fsync(os.open('.', 0))")
        self.assertEqual(self.disk.syncs, 4)

    def test_slow(self) -> None:
        """A slow sync takes no less than it was told to."""
        self.disk.slow_syncs(0.01)
        program = "start = time.monotonic(); synced('file'); print(time.monotonic() - start)"
        self.assertGreaterEqual(float(self.run_program(program)[0]), 0.01)


class RoomTests(DiskCase):
    FULL = "No space left on device"

    def test_limit(self) -> None:
        """A write that fits in part is short, and then there is no room at all."""
        self.run_program("synced('file', b'x' * 100)")
        self.disk.leave_room(10_000)
        program = "file = opened('file', os.O_WRONLY | os.O_APPEND); write = lambda: os.write(file, b'x' * 4096);"
        printed = self.run_program(program + "print(write(), write(), write(), error(write))")
        self.assertEqual(printed, [f"4096 4096 1808 {self.FULL}"])
        self.assertEqual(len(self.read("file")), 10_100)

    def test_vector(self) -> None:
        """The same for a write of many parts: it ends where one does not fit, and that one is cut next."""
        self.disk.leave_room(10)
        program = "file = opened('file'); write = lambda: os.writev(file, [b'x' * 6, b'y' * 6]);"
        printed = self.run_program(program + "print(write(), write(), error(write))")
        self.assertEqual(printed, [f"6 4 {self.FULL}"])
        self.assertEqual(self.read("file"), b"x" * 10)

    def test_sum(self) -> None:
        """The room is for all files and all processes together."""
        self.disk.leave_room(100)
        self.run_program("put('a', b'x' * 60)")
        self.run_program("put('b', b'x' * 60)")
        self.assertEqual(len(self.read("a")) + len(self.read("b")), 100)

    def test_overwriting(self) -> None:
        """What was written can be written again without room; the part beyond the end is cut off."""
        self.run_program("synced('file', b'x' * 100)")
        self.disk.leave_room(0)
        program = "file = opened('file'); print(os.pwrite(file, b'y' * 100, 0), os.pwrite(file, b'z' * 100, 50))"
        self.assertEqual(self.run_program(program + "; os.fsync(file)"), ["100 50"])
        self.assertEqual(self.read("file"), b"y" * 50 + b"z" * 50)

    def test_full(self) -> None:
        """A full disk takes no new and no longer file; an old one can be opened, emptied and removed."""
        self.run_program("synced('file', b'x'); synced('other')")
        self.disk.leave_room(0)
        printed = self.run_program(
            "print(error(opened, 'new'))\nprint(error(os.truncate, 'file', 2))\n"
            "print(error(os.posix_fallocate, opened('file'), 0, 2))\n"
            "print(error(os.pwrite, opened('file'), b'x', 10))\n"
            "opened('file', os.O_WRONLY | os.O_CREAT | os.O_TRUNC); os.unlink('other')\n"
            "print(error(opened, 'file', os.O_CREAT | os.O_EXCL))"
        )
        self.assertEqual(printed, [self.FULL] * 4 + ["File exists"])
        self.assertEqual(self.names(), ["file"])

    def test_room_again(self) -> None:
        """Without a limit, there is room again."""
        self.disk.leave_room(0)
        self.disk.leave_room(None)
        self.run_program("put('file', b'x' * 10_000)")
        self.assertEqual(len(self.read("file")), 10_000)

    def test_sqlite(self) -> None:
        """SQLite says that the disk is full, and goes on when it is not."""
        program = "db = sqlite3.connect('db', isolation_level=None)\ndb.execute('PRAGMA journal_mode=WAL')\n"
        self.run_program(program + "db.execute('CREATE TABLE t(x)')")
        insert = program + (
            "try:\n    db.execute('INSERT INTO t VALUES (zeroblob(100000))')\n"
            "except sqlite3.Error as error:\n    print(error)"
        )
        self.disk.leave_room(60_000)
        self.assertEqual(self.run_program(insert), ["database or disk is full"])
        self.disk.leave_room(None)
        self.assertEqual(self.run_program(insert), [])


class ClockTests(DiskCase):
    REAL = (
        "time.time()",
        "time.clock_gettime(time.CLOCK_REALTIME)",
        "time.clock_gettime(5)",  # CLOCK_REALTIME_COARSE
        "float(sqlite3.connect(':memory:').execute('SELECT strftime(\"%s\")').fetchone()[0])",  # gettimeofday
        "float(__import__('ctypes').CDLL(None).time(None))",
    )

    def times(self, *clocks: str) -> Iterable[float]:
        return map(float, self.run_program("".join(f"print({clock})\n" for clock in clocks)))

    def test_stepped(self) -> None:
        """Every way to ask for the time of day gives the stepped one, ahead or back, and the true one after that."""
        for step in (86_400.25, -3_600.5, 0):
            self.disk.step_clock(step)
            start = time.time() + step - 1.1  # the coarsest clock's second
            times = list(self.times(*self.REAL))
            for clock, now in zip(self.REAL, times, strict=True):
                self.assertTrue(start <= now <= time.time() + step, clock)

    def test_monotonic(self) -> None:
        """The monotonic clock does not know of it."""
        self.disk.step_clock(86_400)
        start = time.monotonic()
        (now,) = self.times("time.monotonic()")
        self.assertTrue(start <= now <= time.monotonic())


class SqliteTests(DiskCase):
    """SQLite on this disk, killed and cut off at any moment."""

    PROGRAM = """
db = sqlite3.connect("db", isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=MODE")
db.execute("PRAGMA wal_autocheckpoint=8")
db.execute("CREATE TABLE IF NOT EXISTS row (n INTEGER PRIMARY KEY, more BLOB)")
print(db.execute("PRAGMA integrity_check").fetchone()[0])
print(*(n for n, in db.execute("SELECT n FROM row")), flush=True)
while True:
    n = db.execute("INSERT INTO row (more) VALUES (randomblob(3000)) RETURNING n").fetchone()[0]
    print(n, flush=True)
"""

    def committed(self, mode: str, chance: random.Random) -> tuple[str, set[int], set[int]]:
        """A run up to a kill: what the check says, the rows that were there and those that were committed."""
        with self.started(self.PROGRAM.replace("MODE", mode)) as process:
            assert process.stdout is not None
            verdict = process.stdout.readline().strip()
            there = {int(n) for n in process.stdout.readline().split()}
            lines = [process.stdout.readline() for _ in range(chance.randrange(1, 12))]
            process.kill()
            lines += process.stdout.readlines()
        return verdict, there, {int(line) for line in lines if line.endswith("\n")}

    def test_full(self) -> None:
        """With synchronous=FULL, no power failure takes a transaction whose commit returned."""
        chance = random.Random(5)
        known: set[int] = set()
        for _ in range(30):
            verdict, there, new = self.committed("FULL", chance)
            self.assertEqual(verdict, "ok")
            self.assertEqual(known - there, set())
            known |= new
            self.disk.lose_power(chance)

    def test_off(self) -> None:
        """With synchronous=OFF, one does."""
        _, _, known = self.committed("OFF", random.Random(5))
        self.assertTrue(known)
        self.lose_power()
        _, there, _ = self.committed("OFF", random.Random(5))
        self.assertEqual(known & there, set())

    def test_only_killed(self) -> None:
        """Without a power failure, not even then."""
        _, _, known = self.committed("OFF", random.Random(5))
        verdict, there, _ = self.committed("OFF", random.Random(5))
        self.assertEqual((verdict, known - there), ("ok", set()))


class CompilerTests(SynchronousTestCase):
    def test_named(self) -> None:
        """$CC is the compiler, with its options."""
        self.patch(os, "environ", {**os.environ, "CC": "tcc -g"})
        self.assertEqual(compiler(), ["tcc", "-g"])

    def test_missing(self) -> None:
        """Without one, it says what to install."""
        self.patch(os, "environ", {"PATH": ""})
        self.patch(sys.modules["importlib.util"], "find_spec", lambda name: None)
        self.assertIn("install gcc", str(self.assertRaises(CannotCompile, compiler)))

    def test_broken(self) -> None:
        """A compiler that is not there, or that fails, is named."""
        for command in ("/nowhere/cc", "false"):
            self.patch(os, "environ", {**os.environ, "CC": command})
            self.assertIn(command, str(self.assertRaises(CannotCompile, library)))

    def test_once(self) -> None:
        """The library is compiled once, into a directory of this user's alone."""
        path = library()
        self.assertEqual(library(), path)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
