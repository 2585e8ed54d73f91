"""Whether a backup is whole. Nothing here changes one."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from simple_im.backup.folder import BackupError, Piece, disk_errors, piece_of
from simple_im.backup.manifest import MANIFEST, Manifest, read_manifest
from simple_im.config import shown
from simple_im.state import DATABASE, FILES, KEYS
from simple_im.store import snapshot
from simple_im.store.opening import schema
from simple_im.tls import CA_CERTIFICATE, CA_KEY, CERTIFICATE, KEY, load_identity

_CURE = "use another backup"


def verify(directory: Path) -> Manifest:
    """The manifest of a backup that is whole; raises BackupError or StartError where it is not."""
    manifest = read_manifest(directory)
    with disk_errors(f"{directory} can't be read"):
        check_names(directory, manifest)
        for name, piece in manifest.files.items():
            check_piece(directory / name, piece_of(directory / name), piece)
    check_database(directory / DATABASE, manifest)
    check_keys(directory / KEYS)
    return manifest


def check_names(directory: Path, manifest: Manifest) -> None:
    """No file is missing and none too many; raises BackupError, OSError."""
    found, wanted = set(_files(directory)), {DATABASE, MANIFEST, *manifest.files}
    for name in sorted(wanted - found):
        raise BackupError(f"{directory / name} is missing: {_CURE}")
    for name in sorted(found - wanted):
        raise BackupError(f"{directory / name} does not belong to the backup: remove it, or {_CURE}")


def _files(directory: Path) -> Iterator[str]:
    """The paths of the files below a directory; raises BackupError for what is neither file nor directory."""
    for folder, folders, names in os.walk(directory, onerror=_raise):
        for name in (*folders, *names):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                yield str(path.relative_to(directory))
            elif not stat.S_ISDIR(mode):
                raise BackupError(f"{path} is neither a file nor a directory: copy the backup without making links")


def _raise(error: OSError) -> None:
    raise error


def check_piece(path: Path, found: Piece, wanted: Piece) -> None:
    """A file is what the manifest says it is; raises BackupError."""
    if found.size != wanted.size:
        raise BackupError(f"{path} has {found.size:,} bytes instead of {wanted.size:,}: {_CURE}")
    if found.sha256 != wanted.sha256:
        raise BackupError(f"{path} was changed since the backup was taken, or its disk is failing: {_CURE}")


def check_database(path: Path, manifest: Manifest) -> None:
    """A database is sound and what the manifest says, and its media are there; raises BackupError."""
    try:
        check_schema(path, snapshot.schema_version(path))
        damage = snapshot.damage(path)
        if damage is not None:
            raise BackupError(f"the database {path} is damaged ({damage}): {_CURE}")
        _check_numbers(path, manifest)
        _check_media(path, snapshot.files(path), manifest)
    except sqlite3.Error as error:
        raise BackupError(f"the database {path} can't be read ({shown(error)}): {_CURE}") from None


def check_schema(path: Path, version: int) -> None:
    """This simple_im knows the version of a database's schema; raises BackupError."""
    known = len(schema())
    if version > known:
        raise BackupError(
            f"the database {path} is of version {version} and this simple_im knows up to {known}: "
            "install the simple_im that wrote it, or a newer one"
        )


def _check_numbers(path: Path, manifest: Manifest) -> None:
    version, counts = snapshot.schema_version(path), snapshot.count(path)
    if version != manifest.schema:
        raise BackupError(f"the database {path} is of version {version} instead of {manifest.schema}: {_CURE}")
    if counts != manifest.counts:
        raise BackupError(f"the database {path} has {counts} instead of {manifest.counts}: {_CURE}")


def _check_media(path: Path, named: list[tuple[str, str]], manifest: Manifest) -> None:
    """Every file that the database names is there, and no others."""
    found = {name for name in manifest.files if name.startswith(f"{FILES}/")}
    for name in sorted(found ^ {f"{FILES}/{kind}/{name}" for kind, name in named}):
        raise BackupError(f"{name} is only in one of the database {path} and the backup's files: {_CURE}")


def check_keys(directory: Path) -> None:
    """The server's key fits its certificate, and the authority's its own where there is one.

    Raises StartError, and BackupError where there is no looking.
    """
    with disk_errors(f"{directory} can't be read"):
        load_identity(directory / CERTIFICATE, directory / KEY)
        if (directory / CA_CERTIFICATE).exists() and (directory / CA_KEY).exists():
            load_identity(directory / CA_CERTIFICATE, directory / CA_KEY)
