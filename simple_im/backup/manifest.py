"""What a backup says of itself, in `backup.toml`: when and from what it was taken, and each file with its SHA-256."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import tomli_w

from simple_im.backup.folder import BackupError, Piece, disk_errors, make_file
from simple_im.store.snapshot import Counts

MANIFEST: Final = "backup.toml"
FORMAT: Final = 1


@dataclass(frozen=True)
class Manifest:
    """A backup's description; `files` are its others, by path within it."""

    time: datetime
    simple_im: str
    schema: int
    counts: Counts
    files: Mapping[str, Piece]

    def __str__(self) -> str:
        return f"{self.counts}, of {self.time:%Y-%m-%d %H:%M:%S} UTC, by simple_im {self.simple_im}"


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Puts it into the backup, on disk. Its first line has the SHA-256 of the others. Raises OSError."""
    body = tomli_w.dumps(_document(manifest)).encode()
    make_file(directory / MANIFEST, _seal(body) + body)


def read_manifest(directory: Path) -> Manifest:
    """That of a backup, untouched since it was written; raises BackupError."""
    path = directory / MANIFEST
    with disk_errors(f"{directory} is no backup that can be read", "give the directory that `backup` made"):
        first, end, body = path.read_bytes().partition(b"\n")
    if first + end != _seal(body):
        raise BackupError(f"{path} was changed since the backup was taken: use another backup")
    return _manifest(path, body)


def check_outside(path: Path) -> None:
    """`path` is not below a backup, which would not be whole any more; raises BackupError."""
    with disk_errors(f"{path} can't be made"):
        for parent in path.parents:
            if (parent / MANIFEST).exists():
                raise BackupError(f"{path} is in the backup {parent}: choose a place beside it")


def _seal(body: bytes) -> bytes:
    return b'sha256 = "%s"\n' % hashlib.sha256(body).hexdigest().encode()


def _document(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "time": manifest.time,
        "simple_im": manifest.simple_im,
        "schema": manifest.schema,
        "counts": asdict(manifest.counts),
        "file": [{"path": path, **piece._asdict()} for path, piece in manifest.files.items()],
    }


def _manifest(path: Path, body: bytes) -> Manifest:
    """Raises BackupError where it is not of the format that is read here."""
    try:
        document = tomllib.loads(body.decode())
        if document["format"] != FORMAT:
            raise BackupError(f"{path} is of format {document['format']}: verify it with the simple_im that wrote it")
        files = {file["path"]: Piece(file["size"], file["sha256"]) for file in document["file"]}
        time, version, schema = (document[key] for key in ("time", "simple_im", "schema"))
        return Manifest(time, version, schema, Counts(**document["counts"]), files)
    except (ValueError, KeyError, TypeError):
        raise BackupError(f"{path} does not describe a backup: use another backup") from None
