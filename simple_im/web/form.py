"""Parameters of requests, checked: each error says which one and what it must be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from simple_im.status import BadRequest, NotFound
from simple_im.store.accounts import LARGEST

_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_DIGITS: Final = re.compile(r"[0-9]{5,20}")
_NAME_SIZE: Final = 64
_ASK_SIZE: Final = 256
_AVATAR_SIZE: Final = 256
LONGEST_PASSWORD: Final = 128
_PASSWORD_SIZES: Final = (6, LONGEST_PASSWORD)
_DEVICE_SIZE: Final = 32


class Form:
    """The parameters of one request; `args` are as `twisted.web` parses them."""

    def __init__(self, args: Mapping[bytes, Sequence[bytes]]) -> None:
        self._args = args

    def has(self, name: str) -> bool:
        """Whether the parameter is there."""
        return name.encode() in self._args

    def text(self, name: str) -> str:
        """A parameter that must be there and not be empty."""
        values = self._args.get(name.encode()) or [b""]
        if not values[0]:
            raise BadRequest(f"{name} Required")
        return decoded(name, values[0])

    def integer(self, name: str) -> int:
        """A required integer."""
        return to_integer(name, self.text(name))

    def present(self, name: str) -> str:
        """A parameter that must be there and may be empty."""
        if not self.has(name):
            raise BadRequest(f"{name} Required")
        return decoded(name, self._args[name.encode()][0])

    def id(self, name: str) -> int:
        """The id of something that there is; see `to_id`."""
        return to_id(name, self.text(name))

    def ids(self, name: str) -> list[int]:
        """The ids in a parameter that may be there any number of times."""
        return [to_id(name, decoded(name, value)) for value in self._args.get(name.encode(), ())]

    def ask(self) -> str:
        """What a user says who asks another to be a contact; it may be nothing."""
        return _sized("ask", self.present("ask"), 0, _ASK_SIZE)

    def avatar(self) -> str:
        """Where a user's picture is, or nothing."""
        return _sized("avatar", self.present("avatar"), 0, _AVATAR_SIZE)

    def name(self) -> str:
        """A user's or a group's name."""
        return _sized("name", self.text("name"), 1, _NAME_SIZE)

    def new_phone(self) -> str:
        """A phone, checked."""
        return to_phone(self.text("phone"))

    def new_password(self) -> str:
        """A password, checked."""
        return _sized("password", self.text("password"), *_PASSWORD_SIZES)

    def device(self) -> str:
        """A device's name."""
        return _sized("device", self.text("device"), 1, _DEVICE_SIZE)


def decoded(name: str, value: bytes) -> str:
    """The text of a parameter or of a part of a path."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{name} must be UTF-8") from None


def to_integer(name: str, text: str) -> int:
    """The integer that `text` is."""
    if not _INTEGER.fullmatch(text):
        raise BadRequest(f"{name} must be an integer")
    return int(text)


def to_id(name: str, text: str) -> int:
    """The id that `text` is; raises `NotFound` for a number that is nobody's."""
    number = to_integer(name, text)
    if not 0 < number <= LARGEST:
        raise NotFound()
    return number


def to_phone(text: str) -> str:
    """The phone that `text` is."""
    if not _DIGITS.fullmatch(text):
        raise BadRequest("phone must be 5 to 20 digits")
    return text


def can_be_password(text: str) -> bool:
    """Whether any user could have this password."""
    return _PASSWORD_SIZES[0] <= len(text) <= _PASSWORD_SIZES[1]


def _sized(name: str, text: str, smallest: int, largest: int) -> str:
    if not smallest <= len(text) <= largest:
        raise BadRequest(f"{name} must be {smallest} to {largest} characters")
    return text
