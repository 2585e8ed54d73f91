"""A node as an operator runs it, for measurements: a process of its own, started from this checkout and stopped."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).parents[1]
"""The checkout."""
START_PATIENCE: Final = 60.0
"""Seconds until both doors must be open."""
STOP_PATIENCE: Final = 30.0
"""Seconds that a stop may take before the process is killed."""
_DOOR: Final = re.compile(r"(HTTPS|IM) door on \S*:(\d+),")
_TAIL: Final = 2000


class NodeError(Exception):
    """The node did not start or stop as it should; the message says so with the end of its log."""


class Node:
    """`twistd -n simple_im` with everything at its default, but for the ports, which the system picks, and `options`.
    It is that of this checkout, or of `source`.

    `directory` gets the state (in `state`, which may be there already) and the log. As a context manager it is started,
    and stopped at the end, whatever happens. Ctrl-C in a terminal does not reach the process.
    """

    def __init__(
        self, directory: Path, *options: str, environ: Mapping[str, str] | None = None, source: Path = ROOT
    ) -> None:
        self.state = directory / "state"
        self.log = directory / "node.log"
        self._options = ("--http-port", "0", "--im-port", "0", "--state", str(self.state), *options)
        self._environ = {**os.environ, **(environ or {}), "PYTHONPATH": str(source)}
        self._process: subprocess.Popen[bytes] | None = None
        self._doors: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return when both doors are open; raises `NodeError`, and no process is left."""
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--pidfile=", "-n"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "simple_im", *self._options],
                cwd=self.log.parent,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _allow_files(self._process.pid)
            self._await_doors(self._process)
        except BaseException:
            self.kill()
            raise

    def _await_doors(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_PATIENCE
        while len(self._doors) < 2:
            if process.poll() is not None:
                raise NodeError(f"the node ended at its start (exit code {process.returncode}):\n{self._tail()}")
            if time.monotonic() > end:
                raise NodeError(f"the node's doors did not open within {START_PATIENCE:.0f} s:\n{self._tail()}")
            time.sleep(0.02)
            self._doors = {name: int(port) for name, port in _DOOR.findall(self._said())}

    def _said(self) -> str:
        return self.log.read_text(errors="replace")

    def _tail(self) -> str:
        return self._said()[-_TAIL:].strip()

    def stop(self) -> None:
        """SIGTERM; returns when the process has ended. Raises `NodeError` where it had to be killed or failed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            code = self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            raise NodeError(f"the node did not stop within {STOP_PATIENCE:.0f} s:\n{self._tail()}") from None
        finally:
            self.kill()
        if code:
            raise NodeError(f"the node ended with exit code {code}:\n{self._tail()}")

    def kill(self) -> None:
        """SIGKILL, where it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._doors = {}

    @property
    def pid(self) -> int:
        """The process's id."""
        if self._process is None:
            raise NodeError("the node does not run")
        return self._process.pid

    @property
    def http_port(self) -> int:
        """The port of the HTTPS door."""
        return self._doors["HTTPS"]

    @property
    def im_port(self) -> int:
        """The port of the IM door."""
        return self._doors["IM"]

    @property
    def ca(self) -> Path:
        """The certificate that clients need."""
        return self.state / "ssl" / "cowboy-ca.crt"


def _allow_files(pid: int) -> None:
    """As many open files, and so connections, as the system lets the process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
