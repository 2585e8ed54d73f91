"""A small state directory as a node leaves it, backed up."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simple_im.backup.folder import BackupError, piece_of
from simple_im.backup.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from simple_im.backup.taking import Taken, take
from simple_im.config import StartError
from simple_im.store.database import prepare
from simple_im.store.files import prepare_folders
from simple_im.store.sequence import raise_epoch
from simple_im.tls import ensure_certificates

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PICTURE, SOUND = f"{'a' * 32}.png", f"{'b' * 32}.mp3"
ROWS = f"""
    INSERT INTO user (phone, name, password, created, contact_version) VALUES ('1', 'Ann', '', 0, 3), ('2', 'Bob', '', 0, 1);
    INSERT INTO device (user, name, cursor, seen) VALUES (1, 'phone', 0, 0), (2, 'phone', 0, 0), (2, 'pad', 0, 0);
    INSERT INTO run (seq, first, ts, sender, device, ids, users, wire)
        VALUES (4294967298, 4294967297, 0, 1, 'phone', '["m1", "m2"]', '[1, 2]', x'68690a0a796f750a0a');
    INSERT INTO message (sender, device, id, seq) VALUES (1, 'phone', 'm1', 4294967297), (1, 'phone', 'm2', 4294967298);
    INSERT INTO inbox (user, seq) VALUES (1, 4294967298), (2, 4294967298);
    UPDATE node SET indexed = 4294967298;
    INSERT INTO contact (user, other, version) VALUES (1, 2, 3), (2, 1, 1);
    INSERT INTO file (kind, name, created) VALUES ('image', '{PICTURE}', 0), ('audio', '{SOUND}', 0);
    INSERT INTO file_user (kind, name, user) VALUES ('image', '{PICTURE}', 1), ('audio', '{SOUND}', 2);
"""  # noqa: E501


def make_state(state: Path) -> None:
    """What a node has after its first day."""
    prepare(state / "simple_im.db", raise_epoch)
    with execute(state / "simple_im.db") as database:
        database.executescript(ROWS)
    prepare_folders(state / "files")
    (state / "files" / "image" / PICTURE).write_bytes(b"picture" * 1_000)
    (state / "files" / "audio" / SOUND).write_bytes(b"sound")
    (state / "lock").write_text("1\n")


class execute:  # noqa: N801
    """A connection to a database, closed at the end."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_error: object) -> None:
        self._connection.close()


def ask(path: Path, sql: str) -> list[Any]:
    """The rows that a database gives."""
    with execute(path) as database:
        return database.execute(sql).fetchall()


def image(directory: Path) -> dict[str, str]:
    """All that is below a directory: each file's mode and digest, each directory's mode."""
    return {
        str(path.relative_to(directory)): f"{path.lstat().st_mode:o} {_digest(path)}" for path in directory.rglob("*")
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"


def forge(backup: Path, **changes: Any) -> None:
    """Write the manifest anew for the files as they are now, as somebody who knows how would do."""
    manifest = read_manifest(backup)
    (backup / MANIFEST).unlink()
    names = [str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file()]
    write_manifest(backup, replace(manifest, files={name: piece_of(backup / name) for name in names}, **changes))


class BackupCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(os.path.realpath(self.mktemp()))
        self.directory.mkdir()
        self.state = self.directory / "priv"
        self.target = self.directory / "backup"
        ensure_certificates(self.state / "ssl", None, datetime.now(UTC) - timedelta(days=1))
        make_state(self.state)

    def take(self) -> Taken:
        return take(self.state, self.target, NOW)

    def watch_syncs(self) -> dict[str, str]:
        """From now on a directory is renamed only when all in it is on disk as it is; what is synced after that."""
        synced: dict[str, str] = {}
        real_fsync, real_rename = os.fsync, os.rename

        def fsync(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            synced[str(path)] = _digest(path)
            real_fsync(descriptor)

        def rename(source: Path, target: Path) -> None:
            for path in (source, *source.rglob("*")):
                self.assertEqual(synced.get(str(path)), _digest(path), path)
            synced.clear()
            real_rename(source, target)

        self.patch(os, "fsync", fsync)
        self.patch(os, "rename", rename)
        return synced

    def manifest(self) -> Manifest:
        return read_manifest(self.target)

    def refusal(self, function: Callable[..., object], *arguments: object) -> str:
        """The sentence with which something is refused; beside the state and the backup nothing is left."""
        with self.assertRaises((BackupError, StartError)) as caught:
            function(*arguments)
        sentence = str(caught.exception)
        self.assertNotIn("\n", sentence)
        self.assertEqual([name for name in os.listdir(self.directory) if ".unfinished-" in name], [])
        return sentence


__all__ = ["NOW", "PICTURE", "SOUND", "BackupCase", "ask", "execute", "forge", "image"]
