"""Messages from one seat to others: numbered, timed, with so many in flight, and every answer checked."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.load.seats import Reader, Seat, shown
from benchmarks.load.trouble import Tally

_NAME: Final = b"%04x%012x"
_FLOW_DIGITS: Final = 4
_ACK: Final = b'[[a]]\nid = "'
_ACKS_BEHIND: Final = 1_024
"""Messages that may be delivered and not yet acknowledged to their sender, beside those in flight."""
NEVER: Final = 2**63 - 1


@dataclass
class Stopwatch:
    """What is measured from `begin` to `end`, in the time of `time.perf_counter_ns`.

    `by_sending`: what was sent in that time, however late it comes; otherwise what has come in that time.
    """

    by_sending: bool = False
    begin: int = NEVER
    end: int = NEVER
    messages: int = 0
    """Those that all their readers have."""
    deliveries: int = 0
    arrivals: list[int] = field(default_factory=list)
    """From sending until the last reader has it."""
    acknowledgements: list[int] = field(default_factory=list)

    def delivered(self, sent: int, now: int, last: bool) -> None:
        """A reader has a message, the `last` one that had not."""
        if self.begin <= (sent if self.by_sending else now) < self.end:
            self.deliveries += 1
            if last:
                self.messages += 1
                if sent >= self.begin:
                    self.arrivals.append(now - sent)

    def acknowledged(self, sent: int, now: int) -> None:
        """A sender has an acknowledgement."""
        if self.begin <= sent and (sent if self.by_sending else now) < self.end:
            self.acknowledgements.append(now - sent)


@dataclass(frozen=True)
class Address:
    """To whom a flow goes: a user, or a group where `table` is `gm` and `key` is `g_id`."""

    to: int
    table: str = "m"
    key: str = "to"


class Flow:
    """Messages with bodies of `body` bytes, at least 16, from a seat to the seats of `readers`.

    The server keeps their order, so a reader knows which comes next.
    """

    def __init__(
        self,
        number: int,
        sender: Seat,
        readers: Sequence[Seat],
        address: Address,
        body: int,
        stopwatch: Stopwatch,
        tally: Tally,
    ) -> None:
        self.window = 0
        self._number = number
        self._sender = sender
        self._tally = tally
        self._stopwatch = stopwatch
        filler = b"x" * (body - len(self.name(0)))
        head = f'[[{address.table}]]\nid = "%b"\nt = "text"\nc = "%b'.encode()
        end = f'"\n{address.key} = {address.to}\nd = "{sender.device.name}"\n'.encode()
        self._sent_as = head + filler + end + b"\n"
        self._comes_as = head + filler + end + b"from = %d\nts = " % sender.device.user
        self._sent_at = array("q")
        self._missing = array("l")
        self._acked = bytearray()
        self._complete = self._ack_count = 0
        sender.frames = self._answered
        self._readers = [Reader(seat, self, tally) for seat in readers]

    # Sending.

    @property
    def sent(self) -> int:
        """How many messages there were until now."""
        return len(self._sent_at)

    def pump(self) -> None:
        """Send as many as may be in flight; with a `window` of 0, nothing."""
        if not self.window:
            return
        open_ = min(self._complete, self._ack_count + _ACKS_BEHIND) + self.window - len(self._sent_at)
        if open_ > 0:
            self.send(open_)

    def send(self, count: int) -> None:
        """Send so many."""
        first, now = len(self._sent_at), time.perf_counter_ns()
        names = [self.name(number) for number in range(first, first + count)]
        self._sent_at.extend([now] * count)
        self._missing.extend([len(self._readers)] * count)
        self._acked.extend(bytes(count))
        self._sender.write(b"".join([self._sent_as % (name, name) for name in names]))

    def _answered(self, frames: list[bytes]) -> None:
        """Take what has come to the sender."""
        now = time.perf_counter_ns()
        for frame in frames:
            number = self.number(frame[len(_ACK) : -1]) if frame.startswith(_ACK) else None
            if number is None or not self.is_sent(number) or self._acked[number]:
                self._tally.count("refused", 1, f"to the sender {self._sender.device.user}: {shown(frame)}")
                continue
            self._acked[number] = 1
            self._ack_count += 1
            self._stopwatch.acknowledged(self._sent_at[number], now)
        self.pump()

    # For its readers.

    def expected(self, number: int) -> bytes:
        """How the frame begins, up to the value of `ts`."""
        name = self.name(number)
        return self._comes_as % (name, name)

    def name(self, number: int) -> bytes:
        """The `id`, also the beginning of the body."""
        return _NAME % (self._number, number)

    def number(self, name: bytes) -> int | None:
        """Which message has this `id`."""
        try:
            number = int(name[_FLOW_DIGITS:], 16)
        except ValueError:
            return None
        return number if name == self.name(number) else None

    def is_sent(self, number: int) -> bool:
        """Whether it was sent."""
        return 0 <= number < len(self._sent_at)

    def arrived(self, number: int, now: int) -> None:
        """A reader has it."""
        self._missing[number] -= 1
        last = not self._missing[number]
        self._stopwatch.delivered(self._sent_at[number], now, last)
        if last:
            self._complete += 1
            self.pump()

    # The end.

    @property
    def is_done(self) -> bool:
        """Whether all that was sent has arrived and is acknowledged."""
        return self._complete == self._ack_count == len(self._sent_at)

    def settle(self) -> None:
        """Count what has not come."""
        sent = len(self._sent_at)
        for reader in self._readers:
            if reader.next < sent:
                self._tally.count("lost", sent - reader.next, f"flow {self._number}, from {reader.next} on")
        if self._ack_count < sent:
            self._tally.count("unacknowledged", sent - self._ack_count, f"flow {self._number}")
