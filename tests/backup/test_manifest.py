"""The manifest: written and read."""

from __future__ import annotations

import hashlib
import stat
import tomllib

from simple_im.backup.folder import Piece
from simple_im.backup.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from simple_im.store.snapshot import Counts
from tests.backup.case import NOW, BackupCase

COUNTS = Counts(users=1, devices=2, entries=3_000, files=4)
SAMPLE = Manifest(NOW, "0.1", 2, COUNTS, {"files/image/ä.png": Piece(5, "0" * 64)})


class ManifestTests(BackupCase):
    def setUp(self) -> None:
        super().setUp()
        self.target.mkdir()
        self.path = self.target / MANIFEST

    def write(self, body: str) -> None:
        """A manifest with a true first line and any body."""
        self.path.write_text(f'sha256 = "{hashlib.sha256(body.encode()).hexdigest()}"\n{body}')

    def test_there_and_back(self) -> None:
        """What is written is read, and is TOML for everybody, for the owner's eyes only."""
        write_manifest(self.target, SAMPLE)
        self.assertEqual(read_manifest(self.target), SAMPLE)
        document = tomllib.loads(self.path.read_text())
        self.assertEqual((document["time"], document["counts"]["entries"]), (NOW, 3_000))
        self.assertEqual(document["file"], [{"path": "files/image/ä.png", "size": 5, "sha256": "0" * 64}])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_in_words(self) -> None:
        """It tells people what there is and of when."""
        self.assertEqual(
            str(SAMPLE),
            "1 users, 2 devices, 3,000 messages and notices, 4 media files, "
            "of 2026-11-23 12:00:00 UTC, by simple_im 0.1",
        )

    def test_other_format(self) -> None:
        """One of a later simple_im is left to that."""
        self.write("format = 2\n")
        sentence = self.refusal(read_manifest, self.target)
        self.assertIn("is of format 2: verify it with the simple_im that wrote it", sentence)

    def test_no_manifest(self) -> None:
        """What is no manifest, though its first line is true, is none."""
        for body in ("", "format = 1\n", "format =\n", 'format = 1\nfile = ["x"]\n', "\x00"):
            self.write(body)
            self.assertIn("does not describe a backup", self.refusal(read_manifest, self.target))

    def test_no_backup(self) -> None:
        """A directory without a manifest, or none, is no backup."""
        for directory in (self.target, self.directory / "nowhere"):
            sentence = self.refusal(read_manifest, directory)
            self.assertIn(f"{directory} is no backup that can be read (No such file or directory", sentence)
