"""Media on disk: names, who may have them, and what goes in time."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from simple_im.media import KINDS
from simple_im.status import NotFound, StorageUnavailable
from simple_im.store import files as files_module
from simple_im.store.files import Files, Stored, prepare_folders
from tests.fakes import MemoryDatabase, result_of


class FilesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(files_module, "deferToThread", maybeDeferred)
        self.directory = Path(self.mktemp())
        prepare_folders(self.directory)
        self.database = MemoryDatabase()
        self.files = Files(self.database, self.directory)

    def draft(self, content: bytes = b"x") -> Path:
        draft = self.files.draft()
        draft.write_bytes(content)
        return draft

    def keep(self, *users: int, now: int = 0, kind: str = "image") -> Stored:
        return result_of(self.files.keep(self.draft(), kind, "png", users, now))

    def on_disk(self) -> set[Path]:
        return {path for path in self.directory.rglob("*") if path.is_file()}

    def count(self, table: str) -> int:
        return int(result_of(self.database.read(lambda c: c.execute(f"SELECT count(*) FROM {table}").one()))[0])

    def purge(self, before: int) -> int:
        """Purge until nothing is left to; how often it took."""
        times = 1
        while result_of(self.files.purge(before)):
            times += 1
        return times


class KeepTests(FilesCase):
    def test_kept(self) -> None:
        """A draft moves to its kind's folder, under a new name that nobody could guess."""
        stored = [self.keep(1, kind=kind) for kind in KINDS for _ in range(20)]
        self.assertEqual(self.on_disk(), {each.path for each in stored})
        for each in stored:
            self.assertEqual(each.path, self.directory / each.kind / each.name)
            self.assertRegex(each.name, r"^[0-9a-f]{32}\.png$")

    def test_who(self) -> None:
        """Those named get it, the others and those who mistake the kind do not."""
        stored = self.keep(1, 2)
        for user in (1, 2):
            self.assertEqual(result_of(self.files.find("image", stored.name, user)), stored.path)
        for kind, name, user in (("image", stored.name, 3), ("video", stored.name, 1), ("image", "x.png", 1)):
            self.assertRaises(NotFound, result_of, self.files.find(kind, name, user))

    def test_no_draft(self) -> None:
        """Where the draft is gone, nothing is kept."""
        keeping = self.files.keep(self.files.draft(), "image", "png", (1,), 0)
        self.assertRaises(StorageUnavailable, result_of, keeping)
        self.assertEqual((self.on_disk(), self.count("file"), self.count("file_user")), (set(), 0, 0))

    def test_no_database(self) -> None:
        """Where the database takes nothing, the draft stays where it is."""
        self.database.writes_fail = True
        draft = self.draft()
        self.assertRaises(StorageUnavailable, result_of, self.files.keep(draft, "image", "png", (1,), 0))
        self.assertEqual(self.on_disk(), {draft})

    def test_row_first(self) -> None:
        """A crash at any moment leaves no file in its place without a row."""
        self.database.hold()
        draft = self.draft()
        keeping = Deferred.fromCoroutine(self.files.keep(draft, "image", "png", (1,), 0))
        self.database.do()
        self.assertEqual(self.on_disk(), {draft})
        self.database.answer()
        self.assertEqual(self.on_disk(), {self.successResultOf(keeping).path})

    def test_removed(self) -> None:
        """What is taken back is gone, and the rest is there."""
        first, second = self.keep(1), self.keep(1)
        result_of(self.files.remove(first))
        self.assertEqual((self.on_disk(), self.count("file"), self.count("file_user")), ({second.path}, 1, 1))
        self.assertRaises(NotFound, result_of, self.files.find("image", first.name, 1))


class PurgeTests(FilesCase):
    def test_old_ones(self) -> None:
        """Files from before the time go, with all that is known of them; the others stay."""
        self.keep(1, 2, now=9)
        kept = self.keep(1, 2, now=10)
        self.purge(10)
        self.assertEqual((self.on_disk(), self.count("file"), self.count("file_user")), ({kept.path}, 1, 2))

    def test_in_steps(self) -> None:
        """Many go in steps, so that nobody waits long for the database; all of them go."""
        self.patch(files_module, "_SLICE", 3)
        for _ in range(7):
            self.keep(1)
        self.assertEqual(self.purge(10), 4)
        self.assertEqual((self.on_disk(), self.count("file")), (set(), 0))

    def test_gone_already(self) -> None:
        """A file that somebody has removed by hand is forgotten too."""
        self.keep(1).path.unlink()
        self.purge(10)
        self.assertEqual((self.count("file"), self.count("file_user")), (0, 0))

    def test_row_last(self) -> None:
        """A purge that is cut off after the files is finished by the next."""
        self.keep(1)
        self.database.writes_fail = True
        self.assertRaises(StorageUnavailable, result_of, self.files.purge(10))
        self.assertEqual((self.on_disk(), self.count("file")), (set(), 1))
        self.database.writes_fail = False
        self.purge(10)
        self.assertEqual(self.count("file"), 0)

    def test_nothing(self) -> None:
        """Without old files nothing is written."""
        self.keep(1, now=10)
        self.database.writes_fail = True
        self.assertFalse(result_of(self.files.purge(10)))


class FolderTests(FilesCase):
    def test_after_a_crash(self) -> None:
        """At start the drafts go and the files stay; the folders are the server's alone."""
        stored = self.keep(1)
        self.draft()
        prepare_folders(self.directory)
        self.assertEqual(self.on_disk(), {stored.path})
        for folder in (*KINDS, "uploads"):
            self.assertEqual((self.directory / folder).stat().st_mode & 0o777, 0o700)
