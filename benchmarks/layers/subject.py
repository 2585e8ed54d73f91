"""The node that is measured, of this checkout or of another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.layers.trouble import CannotMeasure
from benchmarks.node import ROOT, Node

USERS: Final = 100
_PATIENCE: Final = 120.0
_TAIL: Final = 600
_FILL: Final = """
import sys
from pathlib import Path
import simple_im.state
if not hasattr(simple_im.state, "DATABASE"):  # so in versions that did not name it
    simple_im.state.DATABASE = "simple_im.db"
import filling
state, users, count = sys.argv[1:]
filling.write_users(Path(users), filling.fill(Path(state), int(count)))
"""


class Subject(Node):
    """A node of the checkout `source`, with `USERS` users, who are in the file `users`; its state is in `directory`."""

    def __init__(self, directory: Path, source: Path) -> None:
        super().__init__(directory, source=source)
        self.users = directory / "users.txt"

    def fill(self) -> None:
        """Make the database by that checkout's own code; raises `CannotMeasure`."""
        command = [sys.executable, "-c", _FILL, str(self.state), str(self.users), str(USERS)]
        path = os.pathsep.join([self._environ["PYTHONPATH"], str(ROOT / "benchmarks")])
        environ = {**self._environ, "PYTHONPATH": path}
        folder = self.log.parent
        try:
            done = subprocess.run(
                command, cwd=folder, env=environ, capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise CannotMeasure(f"making {USERS} users took more than {_PATIENCE:.0f} s") from None
        if done.returncode:
            raise CannotMeasure(f"this version's database can't be filled:\n{done.stderr[-_TAIL:].strip()}")


def check_source(source: Path) -> Path:
    """The checkout's full path; raises `CannotMeasure` where it is none."""
    if not (source / "simple_im" / "__init__.py").is_file():
        raise CannotMeasure(f"{source} is no checkout of simple_im")
    return source.resolve()
