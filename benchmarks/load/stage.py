"""Where a workload takes place: how much of everything, who makes the load, and nodes that come and go."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.filling import Device, fill, write_users
from benchmarks.load.drivers import Driver
from benchmarks.load.numbers import Metrics
from benchmarks.load.sizes import Sizes
from benchmarks.load.traffic import Target
from benchmarks.load.trouble import Unsound
from benchmarks.node import Node

DEVICE: Final = "bench"
_SHOWN: Final = 3_000
"""Characters of a traceback that are shown."""
Case = tuple[str, Callable[[], Metrics]]
"""A name, and what measures once, as often as it is called."""
Cases = Generator[Case, None, None]
"""A workload: it goes on to the next case, and at last cleans up, when it is asked for it."""


@dataclass(frozen=True)
class Stage:
    """What the workloads share. `disk` is the directory in which nodes get theirs."""

    sizes: Sizes
    driver: Driver
    disk: Path

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """A directory for one node; in the end it is gone."""
        with tempfile.TemporaryDirectory(prefix="load-", dir=self.disk) as directory:
            yield Path(directory)

    @contextlib.contextmanager
    def target(self, people: int) -> Iterator[Target]:
        """A fresh node with so many people, each with one device."""
        with self.directory() as directory:
            devices = fill(directory / "state", people, (DEVICE,))
            with running(directory, devices) as target:
                yield target


@contextlib.contextmanager
def node_in(directory: Path, *options: str) -> Iterator[Node]:
    """A node that runs, for as long as this lasts, and whose log then has no traceback; raises `Unsound`."""
    with Node(directory, *options) as node:
        yield node
    said = node.log.read_text(errors="replace")
    place = said.find("Traceback")
    if place >= 0:
        raise Unsound(f"the node's log has a traceback:\n{said[place : place + _SHOWN]}")


@contextlib.contextmanager
def running(directory: Path, devices: Sequence[Device]) -> Iterator[Target]:
    """A node on the state in `directory` that runs, for as long as this lasts; `devices` will sign in, in this
    order."""
    users = directory / "users.txt"
    write_users(users, devices)
    with node_in(directory) as node:
        yield Target(node.im_port, node.pid, devices, users)
