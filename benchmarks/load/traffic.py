"""Flows on a server from beginning to end: everybody signs in, messages go to and fro, nothing is left open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks.filling import Device
from benchmarks.load.flows import Address, Flow, Stopwatch
from benchmarks.load.lines import Loop, client_context
from benchmarks.load.numbers import Metrics, latencies
from benchmarks.load.processes import ServerUse
from benchmarks.load.seats import Seat
from benchmarks.load.trouble import Tally, TookTooLong

LOGIN_PATIENCE: Final = 120.0
DRAIN_PATIENCE: Final = 20.0
"""Seconds that the last messages have to arrive in."""
_LINGER: Final = 0.3
"""Seconds in which a late second copy would show."""
_SECOND: Final = 1_000_000_000


@dataclass(frozen=True)
class Target:
    """A server that runs: the port of its IM door, its process, and who can sign in there; `users` has the latter in
    the form that the load generator reads."""

    port: int
    pid: int
    devices: Sequence[Device]
    users: Path


class Traffic:
    """Seats and flows on a target, as a context manager; leaving it closes every connection."""

    def __init__(self, target: Target, by_sending: bool = False) -> None:
        self._target = target
        self._loop = Loop()
        self._context = client_context()
        self._tally = Tally()
        self._stopwatch = Stopwatch(by_sending)
        self._seats: list[Seat] = []
        self._flows: list[Flow] = []

    def __enter__(self) -> Self:
        self._loop.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.close()

    # Before.

    def seat(self, device: Device) -> Seat:
        """A connection that signs in."""
        seat = Seat(self._loop, self._target.port, self._context, device, self._tally)
        self._seats.append(seat)
        return seat

    def sign_in(self, devices: Iterable[Device], at_once: int) -> list[Seat]:
        """Their connections, when all are signed in; so many at a time are about to."""
        waiting, coming, seats = list(reversed(list(devices))), list[Seat](), list[Seat]()
        total, end = len(waiting), time.perf_counter() + LOGIN_PATIENCE
        while waiting or coming:
            while waiting and len(coming) < at_once:
                coming.append(self.seat(waiting.pop()))
                seats.append(coming[-1])
            self._loop.turn(0.05)
            self._tally.verify()
            coming = [seat for seat in coming if not seat.signed_in]
            if time.perf_counter() > end:
                raise TookTooLong(f"{len(coming) + len(waiting)} of {total} are not signed in")
        return seats

    def flow(self, sender: Seat, readers: Sequence[Seat], address: Address, body: int) -> None:
        """Messages from one to others, as soon as there is traffic."""
        number = len(self._flows)
        self._flows.append(Flow(number, sender, readers, address, body, self._stopwatch, self._tally))

    def pair_up(self, seats: Sequence[Seat], body: int) -> None:
        """The first writes to the second, the third to the fourth, and so on."""
        for sender, reader in zip(seats[::2], seats[1::2], strict=True):
            self.flow(sender, [reader], Address(reader.device.user), body)

    @property
    def sent(self) -> int:
        """How many messages there were until now."""
        return sum(flow.sent for flow in self._flows)

    # Meanwhile.

    def run_for(self, seconds: float) -> None:
        """Let what goes on go on."""
        self._loop.run_for(seconds)

    def flood(self, window: int, warmup: float, seconds: float) -> Metrics:
        """Keep so many messages of each flow in flight."""
        for flow in self._flows:
            flow.window = window
            flow.pump()
        return self._measured(warmup, seconds, self._loop.run_for)

    def trickle(self, rate: int, warmup: float, seconds: float) -> Metrics:
        """Send so many messages a second, the flows in turn."""
        due = [time.perf_counter()]
        sent = [0]

        def send_for(seconds: float) -> None:
            end = time.perf_counter() + seconds
            while due[0] < end:
                self._loop.run_for(due[0] - time.perf_counter())
                self._flows[sent[0] % len(self._flows)].send(1)
                sent[0] += 1
                due[0] += 1 / rate
            self._loop.run_for(end - time.perf_counter())

        return self._measured(warmup, seconds, send_for)

    def _measured(self, warmup: float, seconds: float, go_on: Callable[[float], None]) -> Metrics:
        watch = self._stopwatch
        go_on(warmup)
        before = ServerUse.now(self._target.pid)
        watch.begin = time.perf_counter_ns()
        watch.end = watch.begin + int(seconds * _SECOND)
        go_on(seconds)
        after = ServerUse.now(self._target.pid)
        self._drain()
        return self._metrics(seconds, before.until(after))

    def _drain(self) -> None:
        """Send no more, wait for what was sent, and see that nothing is wrong; raises `Unsound`."""
        for flow in self._flows:
            flow.window = 0
        try:
            self._loop.run_until(self._is_over, DRAIN_PATIENCE, lambda: "messages are on their way")
        except TookTooLong:
            for flow in self._flows:
                flow.settle()
        self._loop.run_for(_LINGER)
        self._tally.verify()

    def _is_over(self) -> bool:
        return not self._tally.is_empty or all(flow.is_done for flow in self._flows)

    def _metrics(self, seconds: float, use: Metrics) -> Metrics:
        watch = self._stopwatch
        found: Metrics = {"messages_per_s": watch.messages / seconds}
        if watch.deliveries != watch.messages:
            found["deliveries_per_s"] = watch.deliveries / seconds
        if use["server_cpu_s"] > 0:
            found["messages_per_cpu_s"] = watch.messages / use["server_cpu_s"]
        found |= latencies("delivery", watch.arrivals) | latencies("ack", watch.acknowledgements) | use
        watch.begin = watch.end = 2**63 - 1
        watch.messages = watch.deliveries = 0
        watch.arrivals, watch.acknowledgements = [], []
        return found
