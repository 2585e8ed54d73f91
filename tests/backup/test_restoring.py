"""Restoring: what the state is then, and what is left where it fails."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from datetime import timedelta
from pathlib import Path

from simple_im.backup import folder, restoring
from simple_im.backup.restoring import restore
from simple_im.state import StateDirectory
from tests.backup.case import NOW, PICTURE, BackupCase, ask, execute, forge, image


class RestoreCase(BackupCase):
    def setUp(self) -> None:
        super().setUp()
        self.take()
        self.restored = self.directory / "restored"

        self.asked: list[int] = []
        self.drawn = 0

    def restore(self, minutes: int = 0) -> None:
        restore(self.target, self.restored, NOW + timedelta(minutes=minutes), self.chance)

    def chance(self, end: int) -> int:
        """A throw of the dice, which is the test's."""
        self.asked.append(end)
        return self.drawn % end

    def epoch(self, state: Path) -> int:
        ((epoch,),) = ask(state / "simple_im.db", "SELECT epoch FROM node")
        return int(epoch)


class RestoredTests(RestoreCase):
    def test_same(self) -> None:
        """The state is the backup without its manifest, private as it was, and the backup stays as it is.

        Only the database is another, in what the node counts up.
        """
        before = image(self.target)
        self.restore()
        after = image(self.restored)
        self.assertEqual(image(self.target), before)
        self.assertEqual(before.keys() - after.keys(), {"backup.toml"})
        self.assertEqual({name for name in after if after[name] != before[name]}, {"simple_im.db"})
        self.assertEqual(stat.S_IMODE(self.restored.stat().st_mode), 0o700)

    def test_checkout(self) -> None:
        """The state directory of a checkout, with its README, counts as empty, and the README stays."""
        self.restored.mkdir(mode=0o755)
        (self.restored / "README.md").write_text("read me")
        self.restore()
        self.assertEqual((self.restored / "README.md").read_text(), "read me")
        self.assertGreater(self.epoch(self.restored), self.epoch(self.target))
        self.assertEqual(stat.S_IMODE(self.restored.stat().st_mode), 0o700)

    def test_on_disk_before_its_name(self) -> None:
        """Every file and directory of it is synced before it has its name."""
        synced = self.watch_syncs()
        self.restore(minutes=5)
        self.assertEqual(synced.keys(), {str(self.directory)})


class LeapTests(RestoreCase):
    """What a restored node gives out differs from the backup's, and from every other restoration's by chance."""

    def restored_at(self, drawn: int, minutes: int = 0) -> Path:
        """The database of a restoration."""
        self.drawn, self.restored = drawn, self.directory / f"restored {drawn} {minutes}"
        self.restore(minutes)
        return self.restored / "simple_im.db"

    def test_seq(self) -> None:
        """The epoch is above the backup's, by up to 1/128 of all that there are, as chance will have it."""
        before = self.epoch(self.target)
        for drawn in (0, 1, 7_000):
            self.restored_at(drawn)
            self.assertEqual(self.epoch(self.restored), before + 1 + drawn)
        self.assertEqual(self.asked[0], (2**21 - before) // 128)

    def test_bound(self) -> None:
        """However often a backup of a restored node is restored, `seq` stays below 2^53."""
        for epoch, end in ((2**20, 2**13), (2**21 - 200, 1), (2**21 - 2, 1)):
            with execute(self.target / "simple_im.db") as database:
                database.execute("UPDATE node SET epoch = ?", (epoch,))
            forge(self.target)
            self.restored_at(epoch - 1)
            self.assertEqual(self.asked[-2], end)
            self.assertLess(self.epoch(self.restored) << 32, 2**53)

    def test_ids(self) -> None:
        """So it is with ids of users and groups."""
        for drawn in (0, 1, 99_999_999):
            with execute(self.restored_at(drawn)) as database:
                database.execute("INSERT INTO user (phone, name, password, created) VALUES ('3', 'Cat', '', 0)")
                database.execute("""INSERT INTO "group" (name, creator, g_key, created) VALUES ('all', 1, '', 0)""")
                self.assertEqual(database.execute("SELECT max(id) FROM user").fetchone(), (2 + 100_000 + drawn + 1,))
                self.assertEqual(database.execute('SELECT id FROM "group"').fetchone(), (100_000 + drawn + 1,))
        self.assertEqual(self.asked[1], 100_000_000)

    def test_versions(self) -> None:
        """A client that has a list of the first restored node is shown all of its list again by the second."""
        first, second = (
            ask(self.restored_at(drawn, minutes), "SELECT version FROM contact UNION SELECT contact_version FROM user")
            for drawn, minutes in ((9_000, 10), (5, 11))
        )
        self.assertGreater(min(second)[0], max(first)[0] + 60_000)

    def test_clock_behind(self) -> None:
        """A clock that is behind the backup's takes nothing back."""
        database = self.restored_at(0, minutes=-90)
        self.assertGreater(self.epoch(self.restored), self.epoch(self.target))
        versions = "SELECT contact_version FROM user"
        self.assertEqual(ask(database, versions), ask(self.target / "simple_im.db", versions))


class RefusalTests(RestoreCase):
    def refused(self) -> str:
        sentence = self.refusal(self.restore)
        self.assertFalse((self.restored / "simple_im.db").exists())
        return sentence

    def test_not_whole(self) -> None:
        """A backup that is not whole is not restored."""
        (self.target / "files" / "image" / PICTURE).write_bytes(b"other")
        self.assertIn(f"{PICTURE} has 5 bytes instead of 7,000", self.refused())
        self.assertFalse(self.restored.exists())

    def test_changed_meanwhile(self) -> None:
        """Nor is one that changes between the check and the copy."""
        manifest = self.manifest()
        (self.target / "files" / "image" / PICTURE).write_bytes(b"PICTURE" * 1_000)
        self.patch(restoring, "verify", lambda _backup: manifest)
        self.assertIn(f"{PICTURE} was changed", self.refused())
        self.assertFalse(self.restored.exists())

    def test_not_empty(self) -> None:
        """Nothing is overwritten, be it named ever so much like a README."""
        self.restored.mkdir()
        for name in ("lock", "ssl", "readme"):
            (self.restored / name).touch()
            self.assertIn(f"{self.restored} is not empty: move it away", self.refused())
            (self.restored / name).unlink()

    def test_served(self) -> None:
        """A node's directory is not touched while the node runs."""
        state = StateDirectory(self.restored)
        self.addCleanup(state.close)
        self.assertIn(f"{self.restored} is served by a running node: stop it", self.refused())
        with open(self.restored / "lock") as lock:
            self.assertRaises(BlockingIOError, fcntl.flock, lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state.close()
        self.assertIn("is not empty", self.refused())

    def test_place(self) -> None:
        """A file, a place that nobody has made, and one where a disk is mounted are refused."""
        self.restored.touch()
        self.assertIn("is no directory: give a new or an empty one", self.refused())
        self.restored.unlink()
        self.patch(os.path, "ismount", lambda path: path == self.restored)
        self.assertIn("is where a disk is mounted: give a new directory below it", self.refused())
        self.restored = self.directory / "nowhere" / "priv"
        self.assertIn("nowhere is no directory: make it, or mount its disk", self.refused())

    def test_in_the_backup(self) -> None:
        """A state directory within the backup."""
        before = image(self.target)
        self.restored = self.target / "priv"
        self.assertIn(f"{self.restored} is in the backup {self.target}: choose", self.refused())
        self.assertEqual(image(self.target), before)

    def test_full_disk(self) -> None:
        """Whichever file does not go to the disk, nothing is left, and the README is where it was."""
        self.restored.mkdir()
        (self.restored / "README.md").write_text("read me")
        for count in range(12):
            done: list[int] = []

            def fsync(descriptor: int, count: int = count, done: list[int] = done) -> None:
                done.append(descriptor)
                if len(done) > count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            self.patch(os, "fsync", fsync)
            self.assertIn("can't be made (No space left on device): free some space there", self.refused())
            self.assertEqual((self.restored / "README.md").read_text(), "read me")

    def test_started_meanwhile(self) -> None:
        """A node that was started on the empty directory meanwhile keeps it, and its README."""
        self.restored.mkdir()
        (self.restored / "README.md").write_text("read me")
        real = folder.sync_tree

        def start(path: Path) -> None:
            (self.restored / "lock").touch()
            real(path)

        self.patch(folder, "sync_tree", start)
        self.assertIn("can't be made (Directory not empty", self.refused())
        self.assertEqual(sorted(os.listdir(self.restored)), ["README.md", "lock"])
