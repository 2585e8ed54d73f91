"""A device as it sees itself: what it knows, what it has acknowledged, and what it must not be sent."""

from __future__ import annotations

import re
from typing import Final

from simple_im.im.device import Device

WINDOW_ENTRIES: Final = 4
WINDOW_BYTES: Final = 700
LARGEST: Final = 400
"""Above the size of any message here."""
_MESSAGE: Final = re.compile(rb'c = "(\d+)[^"]*"\nfrom = \d+\nts = \d+\nseq = (\d+)\n')


def numbers_of(wire: bytes) -> tuple[int, int]:
    """A message's number and its place."""
    found = _MESSAGE.search(wire)
    assert found is not None, wire
    return int(found[1]), int(found[2])


class Link:
    """A connection, as `Sessions` knows it."""

    token_hash = b""

    def __init__(self, device: Device) -> None:
        self.device = device

    def bye(self, reason: str) -> None:
        """Nobody says it here."""


class Client:
    """A device with what it knows: all that it was sent and shown, and what it has acknowledged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.link: Link | None = None
        self.acked: set[int] = set()
        self.seqs: dict[int, int] = {}
        """By number, of all that it was ever sent on the IM door."""
        self.shown: set[int] = set()
        self.offered: set[int] = set()
        self.left_out: set[int] = set()
        self.got: list[int] = []
        """What came on this connection."""
        self.sizes: dict[int, int] = {}
        self.paused = False
        self.wrong: list[str] = []

    def login(self) -> None:
        self.left_out, self.offered = self.offered - self.acked, set()
        self.got = []
        self.paused = False

    def write(self, data: bytes) -> None:
        """What comes on the IM door comes in order, once a connection, and is nothing acknowledged or left out."""
        for frame in data.split(b"\n\n")[:-1]:
            number, seq = numbers_of(frame + b"\n")
            if self.got and number <= self.got[-1]:
                self.wrong.append(f"{number} after {self.got[-1]}")
            if number in self.acked or number in self.left_out:
                self.wrong.append(f"{number} again")
            self.got.append(number)
            self.seqs[number] = seq
            self.sizes[number] = len(frame) + 2

    def show(self, numbers: list[int]) -> None:
        """A GET was answered to its end."""
        self.shown.update(numbers)
        self.offered.update(numbers)

    def named(self, id_: bytes, ids: dict[int, bytes]) -> int | None:
        """Which message an acknowledgement by id is for."""
        known = (self.seqs.keys() | self.shown) - self.acked
        return min((number for number in known if ids.get(number) == id_), default=None)

    def acknowledge_seq(self, to: int) -> None:
        self.acked |= {number for number, seq in self.seqs.items() if seq <= to}

    def delete(self) -> None:
        self.acked |= {number for number in range(max(self.shown, default=-1) + 1)}

    def is_served(self, numbers: list[int]) -> bool:
        """Whether it has got all of these, which it has not acknowledged, on its connection, if it takes any."""
        missing = set(numbers) - {*self.got, *self.left_out}
        return self.link is None or self.paused or not missing or not self.has_room()

    def has_room(self) -> bool:
        """Whether whatever comes next has room in its window."""
        in_flight = [number for number in self.got if number not in self.acked]
        in_bytes = sum(self.sizes[number] for number in in_flight)
        return not in_flight or (len(in_flight) < WINDOW_ENTRIES and in_bytes + LARGEST <= WINDOW_BYTES)
