"""What `verify` finds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from simple_im.backup.manifest import MANIFEST
from simple_im.backup.verifying import verify
from tests.backup.case import PICTURE, SOUND, BackupCase, execute, forge, image


class VerifyCase(BackupCase):
    def setUp(self) -> None:
        super().setUp()
        self.take()

    def refused(self) -> str:
        return self.refusal(verify, self.target)

    def files(self) -> list[Path]:
        return sorted(path for path in self.target.rglob("*") if path.is_file())


class WholeTests(VerifyCase):
    def test_nothing_changes(self) -> None:
        """A look at a backup leaves it as it is, and nothing beside its database."""
        before = image(self.target)
        times = [path.stat().st_mtime_ns for path in self.target.rglob("*")]
        verify(self.target)
        self.assertEqual(image(self.target), before)
        self.assertEqual([path.stat().st_mtime_ns for path in self.target.rglob("*")], times)

    def test_relative(self) -> None:
        """A path may be relative, and hold what means something in an address."""
        strange = self.directory / "50% of? #1"
        self.target.rename(strange)
        verify(Path(os.path.relpath(strange)))


class DamageTests(VerifyCase):
    """Every file of the backup is harmed in every way; `verify` names it."""

    def test_all_are_there(self) -> None:
        """The manifest, the database, two media, four keys."""
        self.assertEqual(len(self.files()), 8)

    def test_flipped(self) -> None:
        """One bit, at the start, in the middle, at the end."""
        for path in self.files():
            content = path.read_bytes()
            for place in (0, len(content) // 2, len(content) - 1):
                flipped = bytearray(content)
                flipped[place] ^= 1
                path.write_bytes(flipped)
                self.assertRegex(self.refused(), f"{path} was changed since the backup was taken")
            path.write_bytes(content)
        verify(self.target)

    def test_every_byte_of_the_manifest(self) -> None:
        """No byte of the manifest can be another one."""
        path = self.target / MANIFEST
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :])
            self.assertIn("was changed", self.refused())

    def test_truncated(self) -> None:
        """By one byte, and to nothing."""
        for path in self.files():
            content = path.read_bytes()
            for size in (len(content) - 1, 0):
                path.write_bytes(content[:size])
                self.assertRegex(self.refused(), f"{path} (was changed|has {size:,} bytes instead of)")
            path.write_bytes(content)

    def test_grown(self) -> None:
        """By one byte."""
        for path in self.files():
            with open(path, "ab") as file:
                file.write(b"\n")
            self.assertRegex(self.refused(), f"{path} (was changed|has [0-9,]+ bytes instead of)")
            path.write_bytes(path.read_bytes()[:-1])

    def test_missing(self) -> None:
        """One that is gone."""
        for path in self.files():
            content = path.read_bytes()
            path.unlink()
            self.assertRegex(self.refused(), f"{path}( is missing|: use)|is no backup that can be read .*{path}")
            path.write_bytes(content)

    def test_extra(self) -> None:
        """One too many, wherever it lies."""
        for name in ("file", "simple_im.db-wal", "ssl/other.key", f"files/image/{SOUND}"):
            (self.target / name).touch()
            self.assertIn(f"{self.target / name} does not belong to the backup: remove it", self.refused())
            (self.target / name).unlink()

    def test_linked(self) -> None:
        """A link is no copy."""
        path = self.target / "files" / "image" / PICTURE
        path.rename(self.directory / "elsewhere")
        path.symlink_to(self.directory / "elsewhere")
        self.assertIn(f"{path} is neither a file nor a directory", self.refused())

    def test_readable_by_others(self) -> None:
        """A key that others can read is no secret."""
        path = self.target / "ssl" / "server.key"
        path.chmod(0o644)
        self.assertIn(f"{path} can be read by others than its owner: say chmod 600", self.refused())


class ContradictionTests(VerifyCase):
    """Each file is what the manifest says, and together they are still not what a node left."""

    def test_counts(self) -> None:
        """A count that the database does not have."""
        counts = self.manifest().counts
        forge(self.target)
        verify(self.target)
        for name in ("users", "devices", "entries", "files"):
            forge(self.target, counts=replace(counts, **{name: 7}))
            self.assertRegex(self.refused(), "has .* instead of .*7 ")

    def test_edited_count(self) -> None:
        """A count that was edited by hand."""
        path = self.target / MANIFEST
        path.write_text(path.read_text().replace("entries = 2", "entries = 3"))
        self.assertIn("was changed", self.refused())

    def test_row_without_file(self) -> None:
        """A file that the database names and nobody copied."""
        (self.target / "files" / "image" / PICTURE).unlink()
        forge(self.target)
        self.assertIn(f"files/image/{PICTURE} is only in one of", self.refused())

    def test_file_without_row(self) -> None:
        """A file that the database does not name."""
        (self.target / "files" / "image" / "other.png").touch()
        forge(self.target)
        self.assertIn("files/image/other.png is only in one of", self.refused())

    def test_database(self) -> None:
        """A database that SQLite finds fault with."""
        with open(self.target / "simple_im.db", "r+b") as file:
            file.seek(4_096 * 3)
            file.write(b"\xff" * 4_096)
        forge(self.target)
        self.assertRegex(self.refused(), "the database .* (is damaged|can't be read)")

    def test_references(self) -> None:
        """A row that refers to one that is not there."""
        with execute(self.target / "simple_im.db") as database:
            database.execute("DELETE FROM user WHERE id = 2")
        forge(self.target)
        self.assertRegex(self.refused(), r"is damaged \(a row of table \w+ refers to one of user that is not there\)")

    def test_newer(self) -> None:
        """A version that this simple_im does not know."""
        with execute(self.target / "simple_im.db") as database:
            database.execute("PRAGMA user_version = 99")
        forge(self.target, schema=99)
        self.assertIn("is of version 99 and this simple_im knows up to 3: install the simple_im that", self.refused())

    def test_other_version(self) -> None:
        """A version that is not the manifest's."""
        forge(self.target, schema=1)
        self.assertIn("is of version 3 instead of 1", self.refused())

    def test_no_database(self) -> None:
        """A backup without a database."""
        (self.target / "simple_im.db").unlink()
        forge(self.target)
        self.assertIn("simple_im.db is missing", self.refused())

    def test_no_keys(self) -> None:
        """A backup without its keys."""
        (self.target / "ssl" / "server.key").unlink()
        forge(self.target)
        self.assertIn("server.key is missing", self.refused())

    def test_other_key(self) -> None:
        """Keys that do not fit, the server's and its authority's."""
        server, authority = self.target / "ssl" / "server.crt", self.target / "ssl" / "cowboy-ca.crt"
        for path, other, key in ((server, authority, "server.key"), (authority, server, "cowboy-ca.key")):
            content = path.read_bytes()
            path.write_bytes(other.read_bytes())
            forge(self.target)
            self.assertIn(f"{self.target}/ssl/{key} does not fit", self.refused())
            path.write_bytes(content)
