"""Users with devices and lasting tokens, put into a node's database before its start.

Over HTTPS a user takes two password hashes and an IM login; here all users have one hash, and are made by the store's
own functions in one transaction.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar, cast

from argon2 import PasswordHasher

from simple_im.limits import DEVICES
from simple_im.state import DATABASE, make_directory
from simple_im.store import inbox_sql
from simple_im.store.accounts import Accounts
from simple_im.store.database import Cursor, Database, prepare
from simple_im.store.tokens import Tokens

PASSWORD: Final = "888888"
"""Everybody's."""
FIRST_PHONE: Final = 15_500_000_000
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Device:
    """A user's device, signed in by a token that lasts."""

    user: int
    name: str
    token: str


def fill(state: Path, users: int, devices: Sequence[str] = ("bench",), first: int = 0) -> list[Device]:
    """Have `users` users in the database of `state`, each with all of `devices`; the devices, user by user.

    No node may run on `state`, which may be new. User n of all (from 0) has the phone `FIRST_PHONE` + n; where there
    are some already, `first` is how many. Raises `StartError`, or `UserExists`.
    """
    make_directory(state)
    return prepare(state / DATABASE, partial(_fill, numbers=range(first, first + users), devices=devices))


def write_users(path: Path, devices: Iterable[Device]) -> None:
    """Write lines `user token device`, for the load generator; the file is for this user only."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{device.user} {device.token} {device.name}\n" for device in devices)


class AtOnce:
    """The part of `Database` that the store's classes use, within a transaction that has begun."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    async def read(self, interaction: Callable[Concatenate[Cursor, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return interaction(self._cursor, *args, **kwargs)

    write = read


def _fill(cursor: Cursor, numbers: Iterable[int], devices: Sequence[str]) -> list[Device]:
    return asyncio.run(_make(cast(Database, AtOnce(cursor)), numbers, devices))


async def _make(database: Database, numbers: Iterable[int], devices: Sequence[str]) -> list[Device]:
    accounts, tokens = Accounts(database), Tokens(database, time.time)
    password = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1).hash(PASSWORD)
    made = []
    for number in numbers:
        user = await accounts.create(f"user {number}", str(FIRST_PHONE + number), password, int(time.time()))
        made += [Device(user, name, await _sign_in(database, tokens, user, name)) for name in devices]
    return made


async def _sign_in(database: Database, tokens: Tokens, user: int, device: str) -> str:
    """The token of a device that has signed in on both doors."""
    await database.write(inbox_sql.add_device, user, device, int(time.time()), DEVICES)
    token = await tokens.issue(user, device)
    await tokens.claim(token, user, device)
    return token
