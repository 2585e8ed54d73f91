"""How a database's file is opened beside the node's own connection, and the schema that the node gives it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

READING: Final = "mode=ro"
"""It is not written to, and what its log has is read. SQLite makes a log, and an index of it, where there is none."""
AT_REST: Final = "mode=ro&immutable=1"
"""Nothing appears beside it: for one that nobody writes to meanwhile, and without a log, as none is read."""
WRITING: Final = "mode=rw"
"""It has to be there."""


@contextlib.contextmanager
def opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection, closed at the end; transactions are begun by hand. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?{mode}"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            yield connection
    except UnicodeDecodeError:  # from what SQLite says of a damaged schema, in the schema's own bytes
        raise sqlite3.DatabaseError("malformed database schema") from None


def log_of(path: Path) -> Path:
    """SQLite's log of the database at `path`."""
    return path.with_name(path.name + "-wal")


def schema() -> list[str]:
    """The SQL of each version, the first one's first; a database is of the version whose SQL it was given last."""
    folder = resources.files("simple_im.store") / "schema"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in files if file.name.endswith(".sql")]
