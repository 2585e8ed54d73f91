"""Starts servers quickly: a process that has everything imported, and forks one that goes on as `twistd simple_im`.

A start takes a tenth of what it would, so that there is time for more of them. What a start does with its state is the
same; only Python and its modules are there before it begins.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.scripts import twistd

import simple_im.service  # noqa: F401  so that every server has it
from benchmarks.torture.sabotage import BY_NAME


class Launcher:
    """The process that forks, from the outside; one command a line, one answer a line."""

    def __init__(self, sabotage: str, log: Path, environ: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "benchmarks.torture.launcher", sabotage, str(log)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environ, text=True, bufsize=1)

    def start(self, options: Sequence[str]) -> int:
        """Fork a server with these options; its process id."""
        return int(self._ask("\t".join(["start", *options])))

    def poll(self, pid: int) -> int | None:
        """A server's exit code, or None where it has not ended."""
        answer = self._ask(f"poll\t{pid}")
        return int(answer) if answer else None

    def wait(self, pid: int) -> int:
        """A server's exit code, when it has ended; this blocks."""
        return int(self._ask(f"wait\t{pid}"))

    def close(self) -> None:
        """End it; servers go on."""
        self._process.communicate()

    def _ask(self, line: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("there are no pipes")
        self._process.stdin.write(line + "\n")
        return self._process.stdout.readline().strip()


def main() -> None:
    """Do what the lines on the standard input say; a server returns from here as well, when it has ended."""
    name, log = sys.argv[1:]
    if name:
        BY_NAME[name]()
    while line := sys.stdin.readline():
        verb, *arguments = line.rstrip("\n").split("\t")
        if verb == "start":
            pid = os.fork()
            if pid == 0:
                _serve(log, arguments)
                return
            print(pid, flush=True)
        else:
            print(_exit_code(int(arguments[0]), os.WNOHANG if verb == "poll" else 0), flush=True)


def _serve(log: str, options: list[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ["twistd", "--pidfile=", "-n", "simple_im", *options]
    twistd.run()


def _exit_code(pid: int, options: int) -> str:
    found, status = os.waitpid(pid, options)
    return str(os.waitstatus_to_exitcode(status)) if found else ""


if __name__ == "__main__":
    main()
