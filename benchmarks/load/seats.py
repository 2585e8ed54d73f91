"""Devices on the IM door, the entries that come to them, and the judgement of each."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Final, Protocol

import tomli

from benchmarks.filling import Device
from benchmarks.load.lines import Line, Loop
from benchmarks.load.trouble import Tally

_LOGIN: Final = b'[[r]]\nid = "in"\nt = "login"\n[r.user]\nid = %d\nd = "%b"\ntoken = "%b"\n\n'
_SIGNED_IN: Final = b'[[rr]]\nid = "in"\ns = 0'
_ENTRIES: Final = (b"[[m]]\n", b"[[gm]]\n")
_SHOWN: Final = 200
_PLACE: Final = ("ts", "seq")
"""What only the server knows."""

Frames = Callable[[list[bytes]], None]


class Seat(Line):
    """A device's connection, which signs in as soon as it can; then `frames` gets what comes, without blank lines."""

    def __init__(self, loop: Loop, port: int, context: ssl.SSLContext, device: Device, tally: Tally) -> None:
        super().__init__(loop, port, context)
        self.device = device
        self.signed_in = False
        self.frames: Frames = self._unexpected
        self._tally = tally
        self._rest = b""

    def opened(self) -> None:
        """Sign in."""
        device = self.device
        self.write(_LOGIN % (device.user, device.name.encode(), device.token.encode()))

    def received(self, data: bytes) -> None:
        """Cut it into frames."""
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        if not self.signed_in and frames:
            self._answered(frames.pop(0))
        if frames:
            self.frames(frames)

    def _answered(self, frame: bytes) -> None:
        self.signed_in = frame.startswith(_SIGNED_IN)
        if not self.signed_in:
            self._tally.count("refused", 1, f"the login of user {self.device.user}: {shown(frame)}")

    def lost(self, why: str) -> None:
        """Nobody ends a connection here but the client."""
        self._tally.count("closed", 1, f"the connection of user {self.device.user}: {why}")

    def _unexpected(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._tally.count("misrouted", 1, f"to user {self.device.user}, who expects nothing: {shown(frame)}")


class Source(Protocol):
    """Where entries come from, in order: numbers from 0."""

    def expected(self, number: int) -> bytes:
        """How the frame begins that the reader gets, where all goes well, up to the value of `ts`."""

    def name(self, number: int) -> bytes:
        """The `id`."""

    def number(self, name: bytes) -> int | None:
        """Which one has this `id`; None where it is none of this source's."""

    def is_sent(self, number: int) -> bool:
        """Whether there is one with this number."""

    def arrived(self, number: int, now: int) -> None:
        """A reader has it, for the first time; the time is that of `time.perf_counter_ns`."""


class Reader:
    """Takes what comes from one source to one seat, and acknowledges it; everything else is trouble.

    One by one by `id`, or, where `by_seq`, all that came together by `seq`.
    """

    def __init__(self, seat: Seat, source: Source, tally: Tally, by_seq: bool = False) -> None:
        self._source = source
        self._tally = tally
        self._by_seq = by_seq
        self._tolerated = 0
        self.next = 0
        self.sit(seat)

    def sit(self, seat: Seat) -> None:
        """Go on at a new connection: what came before may come once more."""
        self._tolerated = self.next
        self._seat = seat
        self._acknowledgement = b'[[a]]\nid = "%%b"\nd = "%b"\n\n' % seat.device.name.encode()
        seat.frames = self.take

    def take(self, frames: list[bytes]) -> None:
        """Take what has come."""
        now = time.perf_counter_ns()
        source, names = self._source, []
        for frame in frames:
            number = self.next
            if not frame.startswith(source.expected(number)) or not source.is_sent(number):
                found = self._judge(frame)
                if found is None:
                    continue
                number = found
            names.append(source.name(number))
            if number >= self.next:
                self.next = number + 1
                source.arrived(number, now)
        if names:
            self._acknowledge(names, frames[-1])

    def _acknowledge(self, names: list[bytes], last: bytes) -> None:
        if self._by_seq:
            self._seat.write(b"[[a]]\nseq = %b\n\n" % last.rpartition(b"seq = ")[2])
        else:
            self._seat.write(b"".join([self._acknowledgement % name for name in names]))

    def _judge(self, frame: bytes) -> int | None:
        """The number of a frame that is not what was expected, where it is to be taken all the same."""
        number, wrong = self._compared(frame)
        if wrong:
            missing = number - self.next if number is not None and wrong == "lost" else 1
            self._tally.count(wrong, missing, f"user {self._seat.device.user} waits for {self.next}: {shown(frame)}")
        return number if wrong in ("", "lost") else None

    def _compared(self, frame: bytes) -> tuple[int | None, str]:
        """Its number, and what is wrong with it."""
        if not frame.startswith(_ENTRIES):
            return None, "closed" if frame.startswith(b"[[bye]]") else "refused"
        table, keys = next(iter(tomli.loads(frame.decode()).items()))
        number = self._source.number(keys[0]["id"].encode())
        if number is None or not self._source.is_sent(number):
            return None, "misrouted"
        if not same(self._source.expected(number), table, keys[0]):
            return number, "altered"
        if self._tolerated <= number < self.next:
            return number, "doubled"
        return number, "lost" if number > self.next else ""


def same(expected: bytes, table: str, keys: dict[str, object]) -> bool:
    """Whether an entry says what was expected, which ends before the value of `ts`, in any order and way of
    writing."""
    wanted_table, wanted = next(iter(tomli.loads(expected.decode() + "0").items()))
    return (table, _without_place(keys)) == (wanted_table, _without_place(wanted[0]))


def _without_place(keys: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in keys.items() if key not in _PLACE}


def shown(frame: bytes) -> str:
    """The beginning of a frame, for people."""
    return repr(frame[:_SHOWN])
