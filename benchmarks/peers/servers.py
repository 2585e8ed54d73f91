"""The servers that take turns: each is started with nothing but its accounts, and stopped."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from benchmarks.filling import fill, write_users
from benchmarks.node import Node
from benchmarks.peers import generator
from benchmarks.peers.generator import Target

OURS: Final = "simple_im"
USERS: Final = 6000
"""As many as the generator makes for the others."""
PROGRAMS: Final = {
    "ejabberd": ("ejabberdctl",),
    "prosody": ("prosody",),
    "mosquitto": ("mosquitto", "mosquitto_passwd"),
}
"""What must be installed for each of the peers."""
PATH: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
_PATIENCE: Final = 600.0
"""Seconds that a script may take; the first start of a peer makes its accounts."""
_MARK: Final = "BENCHMARKS_PEERS"
_PAUSE: Final = 0.05


class ServerError(Exception):
    """A server did not start or stop; the message says which and what was seen of it."""


class Server(Protocol):
    """One that takes its turn."""

    @property
    def name(self) -> str: ...

    def start(self) -> Target:
        """Returns when it takes connections: where and how it is reached, as `targets.toml` says it."""

    def stop(self) -> None:
        """Leaves no process; does nothing where there is none."""


def missing(name: str, path: str) -> str:
    """The program of a peer that is not installed, or "" where all are."""
    return next((program for program in PROGRAMS[name] if shutil.which(program, path=path) is None), "")


class OurNode:
    """simple_im from this checkout: everything at its default, its state in `directory`, made anew for each start."""

    name = OURS

    def __init__(self, directory: Path) -> None:
        self._directory = directory / OURS
        self._node: Node | None = None

    def start(self) -> Target:
        self._directory.mkdir(mode=0o700)
        node = self._node = Node(self._directory)
        users, pid = self._directory / "users.txt", self._directory / "pid"
        write_users(users, fill(node.state, USERS))
        node.start()
        pid.write_text(str(node.pid))
        return {"proto": "toml", "port": node.im_port, "users": users, "pid": pid}

    def stop(self) -> None:
        node, self._node = self._node, None
        try:
            if node is not None:
                node.stop()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)


class Peer:
    """One of those that `benchmarks/imbench/peers` has scripts for.

    The scripts end what they started by its process id. Whatever is left after that, as where a start was interrupted,
    is found by a mark in its environment.
    """

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self._target = target
        self._mark = ""

    def start(self) -> Target:
        self._mark = f"{_MARK}={secrets.token_hex(8)}"
        self._run(self._target["start"])
        return self._target

    def stop(self) -> None:
        if not self._mark:
            return
        try:
            self._run(self._target["stop"])
        finally:
            end_marked(self._mark)
            self._mark = ""

    def _run(self, command: Sequence[str]) -> None:
        """In a session of its own, where Ctrl-C does not reach it; what it prints goes to our standard error."""
        name, _, value = self._mark.partition("=")
        environ = {**generator.environ(), name: value}
        process = subprocess.Popen(
            command, cwd=generator.FOLDER, env=environ, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
        )
        try:
            code = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.name}: {command[0]} did not end within {_PATIENCE:.0f} s") from None
        finally:
            process.kill()
            process.wait()
        if code:
            raise ServerError(f"{self.name}: {command[0]} failed (exit code {code})")


def end_marked(mark: str) -> None:
    """SIGKILL for the processes that have `mark`, a `NAME=value`, in their environment, until there are none."""
    while pids := list(_marked(mark.encode())):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)


def _marked(mark: bytes) -> Iterator[int]:
    """Those that have ended, and wait for their parent to take note, have no environment any more."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
