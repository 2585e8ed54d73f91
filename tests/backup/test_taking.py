"""Taking a backup: what is in it, what happens to the node, what is left where it fails."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from simple_im import __version__
from simple_im.backup import taking
from simple_im.backup.folder import Piece, copy_file
from simple_im.backup.manifest import Manifest, write_manifest
from simple_im.backup.taking import LEAP, take
from simple_im.backup.verifying import verify
from simple_im.store import snapshot
from simple_im.store.database import prepare
from simple_im.store.sequence import raise_epoch
from simple_im.store.snapshot import Counts
from tests.backup.case import NOW, PICTURE, SOUND, BackupCase, ask, execute, image
from tests.store.earlier import SECOND, Message, make_second
from tests.store.faulty import error


class ContentTests(BackupCase):
    def test_whole(self) -> None:
        """What was taken is whole, and says what it is; messages that share a row are counted each."""
        taken = self.take()
        self.assertEqual(verify(self.target), taken.manifest)
        manifest = taken.manifest
        self.assertEqual((manifest.time, manifest.simple_im, manifest.schema), (NOW, __version__, 3))
        self.assertEqual(manifest.counts, Counts(users=2, devices=3, entries=2, files=2))
        self.assertEqual(taken.gone, 0)

    def test_earlier_version(self) -> None:
        """The state of an earlier simple_im is taken as it is, with its messages counted, and is whole then."""
        database = self.state / "simple_im.db"
        database.unlink()
        messages = [Message(seq, 0, 1, "phone", b"m%d" % seq, (1,), b"hi\n\n") for seq in range(1, 4)]
        make_second(database, messages, "INSERT INTO user VALUES (1, '1', 'Ann', '', '', 0, 0, 0)")
        manifest = self.take().manifest
        self.assertEqual((manifest.schema, manifest.counts), (SECOND, Counts(1, 0, 3, 0)))
        self.assertEqual(verify(self.target), manifest)

    def test_one_file(self) -> None:
        """The database is a single file, which also a disk that can't be written to may hold."""
        self.take()
        self.assertEqual(ask(self.target / "simple_im.db", "PRAGMA journal_mode"), [("delete",)])

    def test_files(self) -> None:
        """Database, media and keys are in it, and nothing else, for the owner's eyes only."""
        (self.state / "files" / "uploads" / "draft").write_bytes(b"half")
        (self.state / "files" / "image" / "unnamed.png").write_bytes(b"nobody's")
        (self.state / "ssl" / "server.crt.new").write_bytes(b"half")
        self.take()
        keys = {"cowboy-ca.crt", "cowboy-ca.key", "server.crt", "server.key"}
        media = {f"files/image/{PICTURE}", f"files/audio/{SOUND}"}
        files = {str(path.relative_to(self.target)) for path in self.target.rglob("*") if path.is_file()}
        self.assertEqual(files, {"backup.toml", "simple_im.db", *media, *(f"ssl/{name}" for name in keys)})
        for path in (self.target, *self.target.rglob("*")):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700 if path.is_dir() else 0o600, path)

    def test_media_and_keys(self) -> None:
        """They are the same, byte for byte."""
        self.take()
        for path in (*self.target.glob("files/*/*"), *self.target.glob("ssl/*")):
            self.assertEqual(path.read_bytes(), (self.state / path.relative_to(self.target)).read_bytes())

    def test_linked_keys(self) -> None:
        """A certificate that is a link to elsewhere is in it as a file; so is what lies deeper."""
        certificate = self.state / "ssl" / "server.crt"
        elsewhere = self.directory / "elsewhere.crt"
        certificate.rename(elsewhere)
        certificate.symlink_to(elsewhere)
        (self.state / "ssl" / "old").mkdir()
        (self.state / "ssl" / "old" / "server.crt").write_bytes(b"old")
        self.take()
        self.assertFalse((self.target / "ssl" / "server.crt").is_symlink())
        self.assertEqual((self.target / "ssl" / "server.crt").read_bytes(), elsewhere.read_bytes())
        self.assertEqual((self.target / "ssl" / "old" / "server.crt").read_bytes(), b"old")
        verify(self.target)

    def test_empty_target(self) -> None:
        """An empty directory is taken, also behind a link and with a wider mode."""
        self.target.mkdir(mode=0o755)
        link = self.directory / "link"
        link.symlink_to(self.target)
        take(self.state, link, NOW)
        verify(self.target)
        self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o700)

    def test_on_disk_before_its_name(self) -> None:
        """Every file and directory of it is synced before it has its name."""
        synced = self.watch_syncs()
        self.take()
        self.assertEqual(synced.keys(), {str(self.directory)})


class LeapTests(BackupCase):
    """A node that starts from the copy gives out nothing that the first one gave out after the backup."""

    def test_seq(self) -> None:
        """Its first epoch is above a thousand more starts of the first node."""
        self.take()
        for _ in range(LEAP.epochs):
            epoch = prepare(self.state / "simple_im.db", raise_epoch)
        self.assertGreater(prepare(self.target / "simple_im.db", raise_epoch), epoch)

    def test_ids(self) -> None:
        """Ids of users and groups are left out too, also where there was none yet."""
        self.take()
        with execute(self.target / "simple_im.db") as copy:
            copy.execute("INSERT INTO user (phone, name, password, created) VALUES ('3', 'Cat', '', 0)")
            copy.execute("""INSERT INTO "group" (name, creator, g_key, created) VALUES ('all', 1, '', 0)""")
            self.assertEqual(copy.execute("SELECT max(id) FROM user").fetchone(), (2 + LEAP.ids + 1,))
            self.assertEqual(copy.execute('SELECT id FROM "group"').fetchone(), (LEAP.ids + 1,))

    def test_versions(self) -> None:
        """A client with a later version of its contact list is shown all of it again."""
        self.take()
        self.assertEqual(
            ask(self.target / "simple_im.db", "SELECT version FROM contact ORDER BY user"),
            [(3 + LEAP.versions,), (1 + LEAP.versions,)],
        )
        self.assertEqual(
            ask(self.target / "simple_im.db", "SELECT contact_version FROM user ORDER BY id"),
            [(3 + LEAP.versions,), (1 + LEAP.versions,)],
        )


class NodeTests(BackupCase):
    """What a backup means for the node."""

    def test_nothing_changes(self) -> None:
        """Nothing of the state is changed, with a log of writes that a killed node has left beside its database."""
        self.leave_wal()
        before = image(self.state)
        self.take()
        after = image(self.state)
        self.assertEqual({**after, "simple_im.db-shm": before["simple_im.db-shm"]}, before)

    def test_stopped_node(self) -> None:
        """Beside the database of a node that was stopped nothing appears; its directory need not be writable."""
        before = image(self.state)
        self.assertNotIn("simple_im.db-wal", before)
        self.take()
        self.assertEqual(image(self.state), before)

    def leave_wal(self) -> None:
        """A process that has committed and is killed."""
        child = os.fork()
        if child == 0:
            database = sqlite3.connect(self.state / "simple_im.db", isolation_level=None)
            database.execute("INSERT INTO device (user, name, cursor, seen) VALUES (1, 'watch', 0, 0)")
            os._exit(0)
        os.waitpid(child, 0)
        self.assertGreater((self.state / "simple_im.db-wal").stat().st_size, 0)

    def test_killed_node(self) -> None:
        """What only that log has is in the backup, also where its index is lost."""
        self.leave_wal()
        (self.state / "simple_im.db-shm").unlink()
        self.take()
        self.assertEqual(self.manifest().counts.devices, 4)
        self.assertEqual(sorted(path.name for path in self.target.glob("simple_im.db*")), ["simple_im.db"])

    def test_node_that_writes(self) -> None:
        """A transaction that is under way neither holds the backup up nor is in it, and can go on."""
        with execute(self.state / "simple_im.db") as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("DELETE FROM device")
            self.take()
            database.execute("COMMIT")
        self.assertEqual(self.manifest().counts.devices, 3)
        self.assertEqual(ask(self.target / "simple_im.db", "SELECT count(*) FROM device"), [(3,)])

    def test_one_moment(self) -> None:
        """What a node commits while page after page is copied is not in the copy, and does not start it again."""
        with execute(self.state / "simple_im.db") as node:
            node.execute("SELECT * FROM node").fetchall()
            self.take_while_written()
        self.assertEqual(verify(self.target).counts.devices, 3)
        self.assertEqual(ask(self.target / "simple_im.db", "SELECT name FROM user"), [("Ann",), ("Bob",)])

    def test_started_meanwhile(self) -> None:
        """A node that starts while the database is copied as one at rest has it copied again, as of one moment."""
        commits = self.take_while_written()
        devices = verify(self.target).counts.devices
        self.assertGreater(devices, 3)
        self.assertLess(devices, 3 + commits)
        name = "x" * (devices - 3)
        self.assertEqual(
            ask(self.target / "simple_im.db", "SELECT name FROM user"), [(f"Ann{name}",), (f"Bob{name}",)]
        )

    def take_while_written(self) -> int:
        """A backup with a commit after each page; how many those were."""
        commits: list[int] = []

        def commit(_copy: Path) -> None:
            with execute(self.state / "simple_im.db") as database:
                database.execute("BEGIN")
                database.execute("INSERT INTO device (user, name, cursor, seen) VALUES (1, ?, 0, 0)", (len(commits),))
                database.execute("UPDATE user SET name = name || 'x'")
                database.execute("COMMIT")
            commits.append(1)
            self.assertLess(len(commits), 1_000)

        self.patch(snapshot, "_PAGES", 1)
        self.patch(taking, "sync", commit)
        self.take()
        self.assertGreater(len(commits), 10)
        return len(commits)

    def test_file_that_goes(self) -> None:
        """A file that the retention removes meanwhile is not in the copied database either."""
        (self.state / "files" / "image" / PICTURE).unlink()
        self.assertEqual(self.take().gone, 1)
        self.assertEqual(verify(self.target).counts.files, 1)
        self.assertEqual(ask(self.target / "simple_im.db", "SELECT name FROM file"), [(SOUND,)])
        self.assertEqual(ask(self.target / "simple_im.db", "SELECT name FROM file_user"), [(SOUND,)])


class RefusalTests(BackupCase):
    """Each fault is one sentence, and nothing is left."""

    def refused(self) -> str:
        before = image(self.directory)
        sentence = self.refusal(self.take)
        beside = {"priv/simple_im.db-shm", "priv/simple_im.db-wal"}
        self.assertEqual(image(self.directory).keys() - before.keys() - beside, set())
        return sentence

    def test_no_state(self) -> None:
        """A directory without a database is none of a node."""
        (self.state / "simple_im.db").unlink()
        self.assertIn("is not the state of a node, as it has no simple_im.db", self.refused())

    def test_not_empty(self) -> None:
        """What is there is not overwritten."""
        self.target.mkdir()
        (self.target / "file").touch()
        self.assertIn(f"{self.target} is not empty: give a new directory", self.refused())

    def test_file(self) -> None:
        """Nor is a file."""
        self.target.touch()
        self.assertIn(f"{self.target} is no directory", self.refused())

    def test_no_parent(self) -> None:
        """A disk that is not mounted is not made up for by a directory."""
        self.target = self.directory / "disk" / "backup"
        self.assertIn(f"{self.directory}/disk is no directory: make it, or mount its disk", self.refused())

    def test_mounted(self) -> None:
        """A place where a disk is mounted can't be renamed to."""
        self.patch(os.path, "ismount", lambda path: path == self.target)
        self.assertIn("give a new directory below it", self.refused())

    def test_in_the_state(self) -> None:
        """A backup that would be lost together with the node is none."""
        self.target = self.state / "backup"
        self.assertIn("is in the state directory: choose", self.refused())

    def test_in_a_backup(self) -> None:
        """A backup within another, which would not be whole any more."""
        outer = self.directory / "backup"
        take(self.state, outer, NOW)
        for target in (outer / "sub", outer / "ssl" / "sub"):
            self.target = target
            self.assertIn(f"{target} is in the backup {outer}: choose a place beside it", self.refused())
        verify(outer)

    def test_no_room_for_the_database(self) -> None:
        """It is the disk of the backup that is full, not the database's."""

        def fill(*_arguments: object) -> None:
            raise error(sqlite3.SQLITE_FULL)

        for name in ("copy_database", "leap"):
            patch = self.patch(snapshot, name, fill)
            self.assertIn(f"{self.target} can't be made (database or disk is full): see that its", self.refused())
            patch.restore()

    def test_database_of_another(self) -> None:
        """A database that this user can't open."""

        def deny(*_arguments: object) -> None:
            raise error(sqlite3.SQLITE_CANTOPEN)

        self.patch(snapshot, "copy_database", deny)
        sentence = self.refused()
        self.assertIn(f"the database {self.state}/simple_im.db can't be copied (", sentence)
        self.assertIn("): say it as the user that runs the server", sentence)

    def test_unreadable_file(self) -> None:
        """A file that can't be read is not the target's fault."""
        picture = self.state / "files" / "image" / PICTURE
        picture.unlink()
        picture.mkdir()
        self.assertIn(f"{picture} can't be read (Is a directory): ", self.refused())

    def test_schema_in_no_encoding(self) -> None:
        """A database whose schema is not UTF-8."""
        path = self.state / "simple_im.db"
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE inbox", b"CREATE TABLE \xff\xff\xff\xff\xff"))
        self.assertIn(f"{path} can't be copied (malformed database schema", self.refused())

    def test_damaged(self) -> None:
        """A database with a damaged page is not backed up as if it were good."""
        with open(self.state / "simple_im.db", "r+b") as file:
            file.seek(4_096)
            file.write(b"\xff" * 4_096)
        self.assertRegex(self.refused(), rf"{self.state}/simple_im.db (is damaged|can't be copied) .*: ")

    def test_no_database(self) -> None:
        """Nor is a file that is no database."""
        (self.state / "simple_im.db").write_bytes(b"not a database" * 1_000)
        self.assertIn("simple_im.db can't be copied (file is not a database): ", self.refused())

    def test_newer(self) -> None:
        """Nor is one of a newer simple_im, which this one could not check."""
        with execute(self.state / "simple_im.db") as database:
            database.execute("PRAGMA user_version = 99")
        self.assertIn("is of version 99 and this simple_im knows up to 3", self.refused())

    def test_keys(self) -> None:
        """Keys that a node could not start with are named."""
        self.replace_key()
        self.assertIn(f"{self.state}/ssl/server.key does not fit", self.refused())

    def replace_key(self) -> None:
        """The server's key is another one, whose certificate is not there yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        form, protection = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path = self.state / "ssl" / "server.key"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, protection))

    def test_keys_replaced_meanwhile(self) -> None:
        """A certificate of before and a key of after make no backup."""

        def copy(source: Path, target: Path) -> Piece:
            if source.name == "server.crt":
                self.replace_key()
            return copy_file(source, target)

        self.patch(taking, "copy_file", copy)
        self.assertIn(f"the keys in {self.state}/ssl were replaced while they were copied: try", self.refused())

    def test_unreadable(self) -> None:
        """A file that this user may not read is named with the cure."""
        self.patch(taking, "copy_file", self.deny)
        self.assertIn("(Permission denied, /some/file): say it as the user that runs the server", self.refused())

    def deny(self, *_paths: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/some/file")

    def test_full_disk(self) -> None:
        """Whichever write does not go to the disk, nothing is left."""
        for count in range(12):
            self.patch(os, "fsync", self.failing_after(count))
            self.assertIn("can't be made (No space left on device): free some space there", self.refused())

    def failing_after(self, count: int):  # type: ignore[no-untyped-def]
        done: list[int] = []

        def fsync(descriptor: int) -> None:
            done.append(descriptor)
            if len(done) > count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return fsync

    def test_interrupted(self) -> None:
        """Ctrl-C leaves nothing."""

        def interrupt(_descriptor: int) -> None:
            raise KeyboardInterrupt

        self.patch(os, "fsync", interrupt)
        self.assertRaises(KeyboardInterrupt, self.take)
        self.assertEqual(os.listdir(self.directory), ["priv"])

    def test_taken_meanwhile(self) -> None:
        """What another made at the same place at the same time is not overwritten."""
        real = write_manifest

        def write(directory: Path, manifest: Manifest) -> None:
            (self.target / "other").mkdir(parents=True)
            real(directory, manifest)

        self.patch(taking, "write_manifest", write)
        self.assertIn("can't be made (Directory not empty", self.refusal(self.take))
        self.assertEqual(os.listdir(self.target), ["other"])
