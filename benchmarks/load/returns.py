"""Workloads of coming back: a whole crowd at once after a restart, and one device that was away for long."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from benchmarks.filling import Device, fill
from benchmarks.load.backlog import Waiting, store
from benchmarks.load.crowds import await_answer
from benchmarks.load.lines import Loop, client_context
from benchmarks.load.numbers import Metrics
from benchmarks.load.processes import ServerUse
from benchmarks.load.seats import Reader, Seat
from benchmarks.load.stage import DEVICE, Cases, Stage, node_in
from benchmarks.load.trouble import Tally, TookTooLong

PATIENCE: Final = 180.0
"""Seconds until everybody must have everything."""
_POLL: Final = 0.002
"""Seconds after which a port that is closed is tried again."""
_PAUSE: Final = 0.1
"""Seconds after which a client that was turned away comes again."""


def storm(stage: Stage) -> Cases:
    """Everybody comes back at once after a restart, and something waits for each."""
    yield "restart", partial(_storm, stage)


def _storm(stage: Stage) -> Metrics:
    clients, entries = stage.sizes.storm_clients, stage.sizes.storm_entries
    with stage.directory() as directory:
        author, *devices = fill(directory / "state", clients + 1, (DEVICE,))
        sources = [Waiting(author.user, device.user, entries) for device in devices]
        store(directory / "state", sources)
        port = _free_port()
        with node_in(directory, "--im-port", str(port)) as node:
            await_answer(node.http_port)
            node.stop()
            with ThreadPoolExecutor(1) as pool:
                begin = time.perf_counter()
                opened = _await_port(port, pool.submit(node.start))
                with Crowd(port, devices, sources) as crowd:
                    crowd.come_back()
                end = time.perf_counter()
    return {
        "from_start_s": end - begin,
        "from_open_port_s": end - opened,
        "entries_per_s": clients * entries / (end - opened),
        "tries_per_client": crowd.tries / clients,
    }


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _await_port(port: int, start: Future[None]) -> float:
    """When it has opened; raises `TookTooLong`, or what the start raises."""
    end = time.perf_counter() + PATIENCE
    while time.perf_counter() < end:
        if start.done():
            start.result()
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return time.perf_counter()
        time.sleep(_POLL)
    raise TookTooLong(f"port {port} did not open within {PATIENCE:g} s")


def catch_up(stage: Stage) -> Cases:
    """One device takes what has gathered while it was away."""
    yield "one device", partial(_catch_up, stage)


def _catch_up(stage: Stage) -> Metrics:
    count = stage.sizes.backlog
    with stage.directory() as directory:
        author, device = fill(directory / "state", 2, (DEVICE,))
        sources = [Waiting(author.user, device.user, count)]
        store(directory / "state", sources)
        with node_in(directory) as node, Crowd(node.im_port, [device], sources, by_seq=True) as crowd:
            before = ServerUse.now(node.pid)
            crowd.come_back()
            after = ServerUse.now(node.pid)
    return {"all_s": after.at - before.at, "entries_per_s": count / (after.at - before.at), **before.until(after)}


class Crowd:
    """Devices that come back, each for what `sources` has for it, and come again when they are turned away."""

    def __init__(self, port: int, devices: Sequence[Device], sources: Sequence[Waiting], by_seq: bool = False) -> None:
        self.tries = 0
        self._port = port
        self._loop = Loop()
        self._context = client_context()
        self._tally = Tally()
        self._sources = sources
        self._again: list[tuple[float, Comer]] = []
        self._comers = [Comer(self, device, source, by_seq) for device, source in zip(devices, sources, strict=True)]

    def __enter__(self) -> Crowd:
        self._loop.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.close()

    def come_back(self) -> None:
        """Return when everybody has everything, once; raises `Unsound`, `TookTooLong`."""
        for comer in self._comers:
            comer.come()
        self._loop.run_until(self._is_over, PATIENCE, self._missing)
        self._tally.verify()

    def _is_over(self) -> bool:
        now = time.perf_counter()
        while self._again and self._again[0][0] <= now:
            self._again.pop(0)[1].come()
        return not self._tally.is_empty or all(comer.has_all for comer in self._comers)

    def _missing(self) -> str:
        left = sum(not comer.has_all for comer in self._comers)
        return f"{left} of {len(self._comers)} do not have everything"

    def connect(self, device: Device, comer: Comer) -> Seat:
        """One more try."""
        self.tries += 1
        return _ReturningSeat(self._loop, self._port, self._context, device, self._tally, comer)

    def turned_away(self, comer: Comer) -> None:
        """Have it come again in a moment."""
        self._again.append((time.perf_counter() + _PAUSE, comer))

    def reader(self, seat: Seat, source: Waiting, by_seq: bool) -> Reader:
        """Who takes what comes."""
        return Reader(seat, source, self._tally, by_seq)


class Comer:
    """One device."""

    def __init__(self, crowd: Crowd, device: Device, source: Waiting, by_seq: bool) -> None:
        self._crowd = crowd
        self._device = device
        self._source = source
        self._by_seq = by_seq
        self._reader: Reader | None = None

    def come(self) -> None:
        """Connect, and go on where the last connection has ended."""
        seat = self._crowd.connect(self._device, self)
        if self._reader is None:
            self._reader = self._crowd.reader(seat, self._source, self._by_seq)
        else:
            self._reader.sit(seat)

    def turned_away(self) -> None:
        """The connection has ended; what was acknowledged on it may not have arrived."""
        self._crowd.turned_away(self)

    @property
    def has_all(self) -> bool:
        """Whether everything is here."""
        return self._reader is not None and self._reader.next == self._source.count


class _ReturningSeat(Seat):
    """A connection that may end."""

    def __init__(
        self, loop: Loop, port: int, context: ssl.SSLContext, device: Device, tally: Tally, comer: Comer
    ) -> None:
        super().__init__(loop, port, context, device, tally)
        self._comer = comer

    def lost(self, why: str) -> None:
        """Come again."""
        self._comer.turned_away()
