"""A seat without a connection."""

from __future__ import annotations

from typing import cast

from benchmarks.filling import Device
from benchmarks.load.seats import Frames, Seat


class FakeSeat:
    """Keeps what is written; `frames` is called by tests in the place of a connection."""

    def __init__(self, user: int) -> None:
        self.device = Device(user, "bench", "secret")
        self.frames: Frames = self._nobody
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data.split(b"\n\n")[:-1]

    def _nobody(self, frames: list[bytes]) -> None:
        raise AssertionError(f"nobody takes {frames}")

    @property
    def seat(self) -> Seat:
        """As those who use it know it."""
        return cast(Seat, self)


def delivered(frame: bytes, sender: int, seq: int = 7) -> bytes:
    """What a recipient gets of a frame."""
    return b"%b\nfrom = %d\nts = 1\nseq = %d" % (frame, sender, seq)


def acknowledged(frame: bytes) -> bytes:
    """What its sender gets."""
    return b"[[a]]\n" + frame.splitlines()[1]
