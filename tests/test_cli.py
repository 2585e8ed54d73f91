"""The command line: what it says, and its exit codes."""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simple_im import __version__, cli
from simple_im.backup import verifying
from simple_im.cli import FAILED, MISUSED, main, parser
from simple_im.config import Config
from simple_im.parts import database_path, files_path
from tests.backup.case import PICTURE, BackupCase, ask
from tests.docs.markdown import ROOT, Document


class CommandCase(BackupCase):
    def setUp(self) -> None:
        super().setUp()
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)

    def say(self, line: str) -> tuple[int, str, str]:
        """The exit code of a command, what it says, and what it says on stderr."""
        output, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        try:
            code = main(shlex.split(line))
        except SystemExit as end:
            code = int(end.code or 0)
        return code, output.getvalue(), errors.getvalue()

    def succeed(self, line: str) -> str:
        code, output, errors = self.say(line)
        self.assertEqual((code, errors), (0, ""))
        return output

    def fail(self, line: str, code: int = FAILED) -> str:  # type: ignore[override]
        found, output, errors = self.say(line)
        self.assertEqual((found, output), (code, ""))
        self.assertRegex(errors, r"\Asimple_im: [^\n]+\n\Z")
        return errors


START = "twistd --pidfile= -n simple_im --state"


class VerbTests(CommandCase):
    def test_backup(self) -> None:
        """`backup` says what it has copied, and where to."""
        self.assertEqual(
            self.succeed("backup backup"),
            f"backed up 2 users, 3 devices, 2 messages and notices, 2 media files to {self.target}\n",
        )

    def test_backup_without_a_file(self) -> None:
        """It says so when files were not there, also where only what goes wrong is looked at."""
        (self.state / "files" / "image" / PICTURE).unlink()
        code, output, errors = self.say("backup backup")
        self.assertEqual(code, 0)
        self.assertIn(f"1 media files to {self.target}\n", output)
        self.assertEqual(errors, "simple_im: left out: 1 files that the database names and that are not there\n")

    def test_verify(self) -> None:
        """`verify` says what a backup holds."""
        self.succeed("backup backup")
        self.assertRegex(
            self.succeed("verify backup"),
            rf"\A{self.target} is whole: 2 users, .*, of 20..-..-.. ..:..:.. UTC, by simple_im {__version__}\n\Z",
        )

    def test_verify_fails(self) -> None:
        """For any other it has another exit code."""
        self.succeed("backup backup")
        (self.target / "file").touch()
        self.assertIn(f"{self.target}/file does not belong to the backup", self.fail("verify backup"))

    def test_restore(self) -> None:
        """`restore` says what to do next."""
        self.succeed("backup backup")
        first, second = self.succeed("restore backup --state restored").splitlines()
        self.assertIn(f"restored to {self.directory}/restored: 2 users, ", first)
        self.assertEqual(second, f"start it with: {START} {self.directory}/restored")

    def test_restored_twice(self) -> None:
        """Two restorations of a backup differ by true chance; one in 100,000,000 pairs does not, and fails here."""
        self.succeed("backup backup")
        ids = []
        for name in ("first", "second"):
            self.succeed(f"restore backup --state {name}")
            ids += ask(self.directory / name / "simple_im.db", "SELECT seq FROM sqlite_sequence WHERE name = 'user'")
        self.assertNotEqual(*ids)

    def test_restore_fails(self) -> None:
        """A state directory is not overwritten."""
        self.succeed("backup backup")
        self.assertIn(f"{self.state} is not empty", self.fail("restore backup"))

    def test_faults(self) -> None:
        """A fault of the keys is said as at a start of the server."""
        (self.state / "ssl" / "server.key").unlink()
        self.assertIn("ssl/server.key is missing", self.fail("backup backup"))

    def test_interrupted(self) -> None:
        """Ctrl-C is no traceback."""

        def interrupt(*_arguments: object) -> None:
            raise KeyboardInterrupt

        self.patch(cli, "take", interrupt)
        self.assertIn("interrupted: nothing was left half done", self.fail("backup backup"))


LONG = "x" * 260
AS_ANOTHER_USER = """
import os, sys
from simple_im.cli import main
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


class SystemTests(CommandCase):
    """What the system refuses is one sentence, too, with its cure."""

    def as_another_user(self, line: str) -> str:
        """How a command fails for a user who may not look into the directories that are closed."""
        command = [sys.executable, "-c", AS_ANOTHER_USER, *shlex.split(line)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (FAILED, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Asimple_im: [^\n]+\n\Z")
        return done.stderr

    def close(self, directory: Path) -> None:
        """Nobody may look into it but root."""
        self.addCleanup(directory.chmod, 0o700)
        directory.chmod(0)

    def test_state_of_another(self) -> None:
        """A state directory that this user may not look into."""
        self.close(self.state)
        sentence = self.as_another_user(f"backup {self.directory}/backup --state {self.state}")
        self.assertIn(f"{self.state} can't be read (Permission denied, ", sentence)
        self.assertIn(": say it as the user that runs the server", sentence)

    def test_closed_places(self) -> None:
        """A backup and a state directory below one that is closed."""
        self.succeed("backup backup")
        closed = self.directory / "closed"
        closed.mkdir()
        self.close(closed)
        sentence = self.as_another_user(f"restore {self.target} --state {closed}/state/priv")
        self.assertIn(f"{closed}/state/priv can't be made (Permission denied, ", sentence)
        self.assertIn(": say it as the user that runs the server", sentence)
        sentence = self.as_another_user(f"verify {closed}/backup")
        self.assertIn(f"{closed}/backup is no backup that can be read (Permission denied, ", sentence)

    def test_long_names(self) -> None:
        """A name that no file system takes, and one that leaves no room for that of a directory in the making."""
        self.succeed("backup backup")
        for line in (f"backup {LONG}", f"backup other --state {LONG}", f"verify {LONG}", f"verify {LONG}/backup"):
            self.assertRegex(self.fail(line), r" \(File name too long, .*\): give a shorter name\n")
        for line in (f"restore backup --state {LONG}", f"restore {LONG} --state new", f"backup {'x' * 250}"):
            self.assertRegex(self.fail(line), r" \(File name too long, .*\): give a shorter name\n")

    def test_keys(self) -> None:
        """Keys that can't be looked at."""

        def fail(*_paths: Path) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO), "/some/key")

        self.patch(verifying, "load_identity", fail)
        self.assertEqual(
            self.fail("backup backup"),
            f"simple_im: {self.state}/ssl can't be read (Input/output error, /some/key): "
            "see what the system's log says of its disk\n",
        )

    def test_anything_else(self) -> None:
        """Whatever nobody has thought of, such as a working directory that was removed."""
        (self.directory / "gone").mkdir()
        os.chdir(self.directory / "gone")
        os.rmdir(self.directory / "gone")
        self.assertIn("it can't be done (No such file or directory): ", self.fail("verify backup"))
        os.chdir(self.directory)
        for error, why in (
            (OSError(errno.EMFILE, "Too many open files", "/some/file"), "(Too many open files, /some/file)"),
            (OSError(errno.EIO, "Input/output error", b"/some/file"), "(Input/output error, /some/file)"),
            (OSError("odd"), "(odd)"),
        ):
            self.patch(cli, "verify", raising(error))
            self.assertIn(f"simple_im: it can't be done {why}: ", self.fail("verify backup"))


def raising(error: Exception) -> Callable[..., None]:
    """A function that raises it."""

    def fail(*_arguments: object) -> None:
        raise error

    return fail


class UsageTests(CommandCase):
    def test_wrong(self) -> None:
        """What is wrong with a command line is one sentence, with another exit code."""
        for line in ("", "dump", "backup", "backup a b", "verify a --state b", "restore --state", "--state b"):
            self.assertIn(": `python -m simple_im --help` lists the verbs", self.fail(line, MISUSED))

    def test_no_directory(self) -> None:
        """An empty name is no directory."""
        for line in ("verify ''", "restore '' --state new"):
            self.assertIn("'' names no directory: give the one that `backup` made", self.fail(line))
        self.assertIn("'' names no directory: give a new one for the backup", self.fail("backup ''"))
        self.assertIn("--state '' names no directory", self.fail("backup a --state ''"))

    def test_no_backup(self) -> None:
        """What is no backup is named, with what to say instead."""
        for line in ("verify priv", "verify nowhere", "restore priv --state new"):
            self.assertIn(": give the directory that `backup` made", self.fail(line))

    def test_wrong_state(self) -> None:
        """What is no state directory is named, with what to say instead."""
        for place in ("nowhere", "."):
            sentence = self.fail(f"backup a --state {place}")
            self.assertIn("is not the state of a node, as it has no simple_im.db: give that with --state DIR", sentence)

    def test_help(self) -> None:
        """`--help` lists the verbs, and that of a verb its arguments."""
        for verb in ("backup", "verify", "restore"):
            self.assertRegex(self.succeed("--help"), rf"(?m)^    {verb}  +\w.*\w$")
            self.assertIn("DIR", self.succeed(f"{verb} --help"))

    def test_version(self) -> None:
        """`--version` says the version and nothing else."""
        self.assertEqual(self.succeed("--version"), f"simple_im {__version__}\n")


class DocumentTests(SynchronousTestCase):
    def test_commands(self) -> None:
        """Every command in docs/operations.md is one."""
        text = re.sub(r"\$\(.*?\)", "NOW", Document("docs/operations.md").text)
        lines = re.findall(r"(?m)python -m simple_im (\w[^'\n]*?)(?:'| >|$)", text)
        for line in lines:
            parser().parse_args(line.split())
        self.assertEqual({line.split()[0] for line in lines}, {"backup", "verify", "restore"})


class PlaceTests(BackupCase):
    def test_places(self) -> None:
        """A backup has its parts where a node has them."""
        config = Config(Path("priv"), 0, 0, "", None, 0)
        self.assertEqual(database_path(config), config.state / verifying.DATABASE)
        self.assertEqual(files_path(config), config.state / verifying.FILES)
