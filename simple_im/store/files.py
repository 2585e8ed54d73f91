"""Media on disk: under names of our own, whole before anybody hears of them, and who may have them."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from simple_im.media import KINDS
from simple_im.state import sync
from simple_im.status import NotFound, StorageUnavailable
from simple_im.store.database import Cursor, Database
from simple_im.store.trouble import cure_of_upload

DRAFTS: Final = "uploads"
"""The folder of uploads on their way; what lies there at start is what a crash left."""
_SLICE: Final = 64
"""Files that go in one step."""

log = Logger()


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is complete and on disk."""

    kind: str
    name: str
    path: Path


class Files:
    """Keeps media below `directory`: a folder a kind. Names are random and never a client's."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory

    def draft(self) -> Path:
        """Where a new upload goes."""
        return self._directory / DRAFTS / secrets.token_hex(16)

    async def keep(self, draft: Path, kind: str, ending: str, users: tuple[int, ...], now: int) -> Stored:
        """Give a written and fsynced draft its place, for these users to have; raises `StorageUnavailable`.

        The row comes first: a crash may leave one without a file, which goes in time, but no file without a row.
        """
        name = f"{secrets.token_hex(16)}.{ending}"
        stored = Stored(kind, name, self._directory / kind / name)
        await self._database.write(_insert, kind, name, users, now)
        try:
            await deferToThread(_move, draft, stored.path)
        except OSError as error:
            log.error("an upload could not be kept: {error}: {cure}", error=error, cure=cure_of_upload(error))
            await self.remove(stored)
            raise StorageUnavailable() from None
        return stored

    async def remove(self, stored: Stored) -> None:
        """Take back a file of which nobody has heard; raises `StorageUnavailable`, when only its row is left."""
        await deferToThread(stored.path.unlink, missing_ok=True)
        await self._database.write(_forget, [(stored.kind, stored.name)])

    async def find(self, kind: str, name: str, user: int) -> Path:
        """Where a file is, for one who may have it; raises `NotFound` for everybody else."""
        if not await self._database.read(_may_have, kind, name, user):
            raise NotFound()
        return self._directory / kind / name

    async def purge(self, before: int) -> bool:
        """Remove the oldest of the files from before unix time `before`; whether there were any."""
        gone = await self._database.read(_oldest, before)
        if gone:
            await deferToThread(self._unlink, gone)
            await self._database.write(_forget, gone)
        return bool(gone)

    def _unlink(self, names: list[tuple[str, str]]) -> None:
        for kind, name in names:
            (self._directory / kind / name).unlink(missing_ok=True)


def prepare_folders(directory: Path) -> None:
    """Make the folders, at start, and remove uploads that never came to their end; raises OSError.

    The database has to be there already: the folders show that there was one.
    """
    for folder in (*KINDS, DRAFTS):
        (directory / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    for draft in (directory / DRAFTS).iterdir():
        draft.unlink()


def were_prepared(directory: Path) -> bool:
    """Whether a start has come as far as to the folders, which it makes after the database; raises OSError."""
    return any((directory / folder).exists() for folder in (*KINDS, DRAFTS))


def _move(draft: Path, path: Path) -> None:
    """Rename, and have the new name on disk."""
    os.rename(draft, path)
    sync(path.parent)


def _insert(cursor: Cursor, kind: str, name: str, users: tuple[int, ...], now: int) -> None:
    cursor.execute("INSERT INTO file (kind, name, created) VALUES (?, ?, ?)", (kind, name, now))
    rows = [(kind, name, user) for user in users]
    cursor.many("INSERT INTO file_user (kind, name, user) VALUES :rows", rows)


def _may_have(cursor: Cursor, kind: str, name: str, user: int) -> bool:
    cursor.execute("SELECT 1 FROM file_user WHERE kind = ? AND name = ? AND user = ?", (kind, name, user))
    return cursor.one() is not None


def _oldest(cursor: Cursor, before: int) -> list[tuple[str, str]]:
    cursor.execute("SELECT kind, name FROM file WHERE created < ? ORDER BY created LIMIT ?", (before, _SLICE))
    return cursor.all()


def _forget(cursor: Cursor, names: list[tuple[str, str]]) -> None:
    for name in names:
        cursor.execute("DELETE FROM file_user WHERE kind = ? AND name = ?", name)
        cursor.execute("DELETE FROM file WHERE kind = ? AND name = ?", name)
