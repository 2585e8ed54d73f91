"""Databases as earlier versions of simple_im have left them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from simple_im.store.opening import schema

SECOND: Final = 2
"""The last version in which every message had a row of its own."""


class Message(NamedTuple):
    """A row of table `entry`."""

    seq: int
    ts: int
    sender: int
    device: str
    id: bytes
    users: tuple[int, ...]
    wire: bytes


def make_second(path: Path, messages: list[Message], *statements: str) -> None:
    """A database of version 2 with these messages, in the inboxes that they are for, and with what else is said."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("\n".join(schema()[:SECOND]))
        connection.execute(f"PRAGMA user_version = {SECOND}")
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        for message in messages:
            users = " ".join(map(str, message.users))
            connection.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", message._replace(users=users))  # type: ignore[arg-type]
            for user in message.users:
                connection.execute("INSERT INTO inbox VALUES (?, ?)", (user, message.seq))
        connection.execute("COMMIT")
