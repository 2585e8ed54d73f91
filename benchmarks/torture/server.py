"""The server under test: a process that is started, stopped, killed and deprived of its power."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.torture.disk import FaultyDisk
from benchmarks.torture.doors import Address
from benchmarks.torture.launcher import Launcher

ROOT: Final = Path(__file__).parents[2]
SABOTAGES: Final = (
    "ack-before-commit",
    "reuse-seq",
    "forget-cursor",
    "forget-single",
    "forget-late",
    "clean-too-much",
    "take-too-much",
)
"""What a server can be made to do wrong, see `benchmarks.torture.sabotage`."""
_NAMES_SURVIVE: Final = 0.3
"""How often a power failure leaves names that were not synced."""
PATIENCE: Final = 60.0
"""Seconds that a start may take."""
_BOTH: Final = re.compile(rb"(?:HTTPS|IM) door on")


class Server:
    """simple_im with its state on a disk that fails on command; `sabotage` names what it does wrong on purpose."""

    def __init__(self, directory: Path, sabotage: str = "") -> None:
        self._state = directory / "state"
        self.disk = FaultyDisk(self._state, directory / "disk")
        self.life = 0
        self._log = directory / "server.log"
        self._sabotage = sabotage
        self._http_port, self._im_port = _free_port(), _free_port()
        self._launcher: Launcher | None = None
        self._pid: int | None = None
        self._tls: ssl.SSLContext | None = None
        self._is_up = asyncio.Event()

    # Its life.

    def launch(self) -> None:
        """Start the process, and do not wait for its doors."""
        self.life += 1
        ports = ["--http-port", str(self._http_port), "--im-port", str(self._im_port)]
        if self._launcher is None:
            environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **self.disk.environ()}
            self._launcher = Launcher(self._sabotage, self._log, environ)
            self._log.touch()
        self._from = self._log.stat().st_size
        self._pid = self._launcher.start(["--state", str(self._state), *ports])

    async def await_doors(self) -> None:
        """Return when both are open; raises where the process ends instead."""
        async with asyncio.timeout(PATIENCE):
            while len(_BOTH.findall(self._said())) < 2:
                if self._launcher is None or self._pid is None or self._launcher.poll(self._pid) is not None:
                    self._pid = None
                    raise RuntimeError(f"the server did not start: {self._said().decode()}")
                await asyncio.sleep(0.01)
        self._is_up.set()

    def _said(self) -> bytes:
        with self._log.open("rb") as log:
            log.seek(self._from)
            return log.read()

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)
        self._wait()
        self._ended()

    def lose_power(self, random: Random) -> None:
        """SIGKILL, and what was not on the disk is lost, or some of it."""
        self.kill()
        self.disk.lose_power(random, names_survive=_NAMES_SURVIVE)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self._signal(signal.SIGTERM)
        code = await asyncio.to_thread(self._wait)
        self._ended()
        return code

    def _signal(self, number: signal.Signals) -> None:
        if self._pid is not None:
            os.kill(self._pid, number)

    def _wait(self) -> int:
        return self._launcher.wait(self._pid) if self._launcher is not None and self._pid is not None else 0

    def _ended(self) -> None:
        self._pid = None
        self._is_up.clear()

    def close(self) -> None:
        """Leave no process behind."""
        self.kill()
        if self._launcher is not None:
            self._launcher.close()

    # Its clients.

    async def address(self) -> Address:
        """Where its doors are, as soon as they are open."""
        await self._is_up.wait()
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=str(self._state / "ssl" / "cowboy-ca.crt"))
        return Address(self._http_port, self._im_port, self._tls)

    @property
    def complaints(self) -> list[str]:
        """The lines of its log that begin a traceback."""
        return [line for line in self._log.read_text(errors="replace").splitlines() if "Traceback" in line]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
