"""The server under test: a process that is started, stopped, killed and deprived of its power."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.torture.disk import FaultyDisk
from benchmarks.torture.doors import Address

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
        self._process: subprocess.Popen[bytes] | None = None
        self._tls: ssl.SSLContext | None = None
        self._is_up = asyncio.Event()

    # Its life.

    def launch(self) -> None:
        """Start the process, and do not wait for its doors."""
        self.life += 1
        ports = ["--http-port", str(self._http_port), "--im-port", str(self._im_port)]
        options = ["--state", str(self._state), *ports]
        command = [sys.executable, "-m", "benchmarks.torture.sabotage", self._sabotage, *options]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **self.disk.environ()}
        with self._log.open("ab") as log:
            self._from = log.tell()
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=self._state.parent)

    async def await_doors(self) -> None:
        """Return when both are open; raises where the process ends instead."""
        async with asyncio.timeout(PATIENCE):
            while len(_BOTH.findall(self._said())) < 2:
                if self._process is None or self._process.poll() is not None:
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
        await asyncio.to_thread(self._wait)
        return self._ended()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self) -> int:
        return 0 if self._process is None else self._process.wait(PATIENCE)

    def _ended(self) -> int:
        code = self._wait()
        self._process = None
        self._is_up.clear()
        return code

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
