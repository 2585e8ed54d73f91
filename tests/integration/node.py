"""A server as an operator runs it: a process of its own, by `twistd`."""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from tests.integration.https_client import HttpsClient
from tests.integration.im_client import ImClient

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds that anything here may take before it has failed."""
_DOOR = re.compile(r"(HTTPS|IM) door on \S*:(\d+), certificate SHA-256 ([0-9A-F:]{95}), state in (.*)")
_T = TypeVar("_T")


def twistd(*options: str, cwd: Path, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """`twistd` with these options, whether simple_im is installed or only checked out.

    `environ` is what it finds in its environment in addition.
    """
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *options]
    env = {**os.environ, **(environ or {}), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def until(condition: Callable[[], _T | None], what: str) -> _T:
    """What `condition` gives as soon as it is something; an error when that takes too long."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)
    return found


class Node:
    """A node in a directory; its state is in the directory's `priv` unless `--state` is among the options."""

    def __init__(self, directory: Path, *options: str, environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._environ = environ
        self._options = ("--http-port", "0", "--im-port", "0", *options)
        self._users = 0
        self.earlier_log = ""

    @property
    def ca(self) -> Path:
        """The certificate that clients need."""
        return self.directory / "priv" / "ssl" / "cowboy-ca.crt"

    def start(self) -> Node:
        """Return when both doors are open."""
        self._lines: list[str] = []
        options = ("--pidfile=", "-n", "simple_im", *self._options)
        self.process = twistd(*options, cwd=self.directory, environ=self._environ)
        self._readers = [
            threading.Thread(target=self._lines.extend, args=(stream,), daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()
        self.doors = until(self._open_doors, "the doors did not open")
        self.http_port, self.im_port = self.doors["HTTPS"], self.doors["IM"]
        until(self._is_healthy, "/health did not answer")
        return self

    def _open_doors(self) -> dict[str, int] | None:
        if self.process.poll() is not None:
            raise AssertionError(f"the node ended: {self.log}")
        doors = {name: int(port) for name, port, _, _ in _DOOR.findall("".join(list(self._lines)))}
        return doors if len(doors) == 2 else None

    def _is_healthy(self) -> bool:
        return self.https().get("/health").status == 200

    @property
    def door_lines(self) -> list[tuple[str, str, str, str]]:
        """Door, port, fingerprint and state directory, as the log names them."""
        return _DOOR.findall(self.log)

    @property
    def log(self) -> str:
        """All that the process has said since its start."""
        return "".join(list(self._lines))

    @property
    def whole_log(self) -> str:
        """All that this node has said, also before it was started again."""
        return self.earlier_log + self.log

    @property
    def rss(self) -> int:
        """The process's resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024

    def https(self) -> HttpsClient:
        """A client of the HTTPS door."""
        return HttpsClient(self.http_port, self.ca)

    def im(self, receive_buffer: int | None = None) -> ImClient:
        """A client of the IM door that has not signed in."""
        return ImClient(self.im_port, self.ca, receive_buffer)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL; the exit code."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit code of a process that is ending."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.earlier_log += self.log
        self._lines = []
        return code

    def clean_up(self) -> None:
        """Leave no process and no file."""
        if self.process.poll() is None:
            self.kill()
        rmtree(self.directory, ignore_errors=True)

    def new_user(self) -> User:
        """A new account."""
        self._users += 1
        phone, password = f"{8618266175000 + self._users}", f"secret-{self._users}"
        form = {"name": f"user {self._users}", "phone": phone, "password": password}
        answer = self.https().post("/user", form)
        return User(self, answer.row("response")["user"]["id"], phone, password)


class User:
    """An account on a node, with its devices."""

    def __init__(self, node: Node, id_: int, phone: str, password: str) -> None:
        self.node = node
        self.id = id_
        self.phone = phone
        self.password = password
        self.tokens: dict[str, str] = {}

    def sign_in(self, device: str) -> str:
        """The token of a login over HTTPS."""
        form = {"phone": self.phone, "password": self.password, "device": device}
        answer = self.node.https().post("/server/login", form)
        self.tokens[device] = answer.row("response")["user"]["token"]
        return self.tokens[device]

    def connect(self, device: str, receive_buffer: int | None = None) -> ImClient:
        """A device on the IM door, signed in; with the token that it has, if it has one."""
        token = self.tokens.get(device) or self.sign_in(device)
        client = self.node.im(receive_buffer)
        client.login(self.id, device, token)
        return client


def new_node(*options: str) -> Node:
    """A node in a new directory, started."""
    return Node(Path(tempfile.mkdtemp(prefix="simple_im-")), *options).start()


@cache
def shared_node() -> Node:
    """A node for all tests that leave it as it was, but for the users they make."""
    node = new_node()
    atexit.register(node.clean_up)
    return node
