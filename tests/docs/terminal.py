"""A terminal with a shell in it, for what a document has its reader type."""

from __future__ import annotations

import os
import re
import select
import subprocess
import termios
import time
from functools import partial
from pathlib import Path
from typing import Final

from tests.integration.node import PATIENCE

_END: Final = re.compile(r"^--end (\d+)--\n", re.MULTILINE)


class Terminal:
    """Bash on a pseudo-terminal that does not echo; prompts are empty."""

    def __init__(self, directory: Path) -> None:
        self._master, slave = os.openpty()
        _plain(slave)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "PS1": "",
            "PS2": "",
            "TERM": "dumb",
            "HOME": str(directory),
            "HISTFILE": "",
        }
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "--noediting", "-i"],
            cwd=directory,
            env=environment,
            preexec_fn=partial(os.login_tty, slave),
        )
        os.close(slave)
        self._text = ""

    def run(self, commands: str) -> str:
        """Type commands, wait for their end, and give what they have written; the last one must succeed."""
        self.type(f"{commands}\necho --end $?--\n")
        end = self._wait_for(_END)
        said = self._taken(end.end())[: end.start()]
        if end[1] != "0":
            raise AssertionError(f"exit code {end[1]} of\n{commands}\nwhich wrote\n{said}")
        return said

    def type(self, text: str) -> None:
        """Type something, its line ends included."""
        os.write(self._master, text.encode())

    def interrupt(self) -> str:
        """Ctrl-C; give what was written until the shell was back."""
        self.type("\x03")
        deadline = time.monotonic() + PATIENCE
        while os.tcgetpgrp(self._master) != self._shell.pid and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.run("true")

    def read_lines(self, count: int) -> str:
        """The next `count` lines that are not blank; fewer where no more come."""
        found = self._wait_for(re.compile(rf"(?:\s*^.*\S.*\n){{{count}}}", re.MULTILINE))
        return self._taken(found.end())

    def close(self) -> None:
        """Hang up: what runs there is ended, as by closing a terminal's window."""
        os.close(self._master)
        self._shell.kill()
        self._shell.wait()

    def _wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        deadline = time.monotonic() + PATIENCE
        while (match := pattern.search(self._text)) is None:
            if not select.select([self._master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"waited in vain for {pattern.pattern!r}; there was\n{self._text}")
            self._text += os.read(self._master, 65_536).decode()
        return match

    def _taken(self, end: int) -> str:
        taken, self._text = self._text[:end], self._text[end:]
        return taken


def _plain(slave: int) -> None:
    """No echo, and line ends as programs write them."""
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
