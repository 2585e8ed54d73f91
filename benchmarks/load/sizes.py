"""How much of everything: what is measured, and what is enough to see that measuring works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Sizes:
    """Times are in seconds, bodies in bytes. `windows` and `bodies` are cases of the throughput; the other tuples are
    the steps of what grows, smallest first."""

    pairs: int = 50
    rate: int = 200
    body: int = 32
    warmup: float = 2
    seconds: float = 10
    windows: tuple[int, ...] = (1, 16, 64)
    bodies: tuple[int, ...] = (1_000, 16_000)
    syncs: int = 300
    members: tuple[int, ...] = (10, 100, 500)
    group_body: int = 256
    group_window: int = 8
    group_seconds: float = 5
    accounts: int = 50
    passwords: int = 400
    tokens: int = 2_000
    at_once: int = 64
    idle: tuple[int, ...] = (2_000, 5_000)
    settle: float = 10
    storm_clients: int = 2_000
    storm_entries: int = 10
    backlog: int = 10_000
    growth_warmup: float = 1
    growth_seconds: float = 3
    users: tuple[int, ...] = (100, 1_000, 10_000)
    stored: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    devices: tuple[int, ...] = (1_000, 10_000, 100_000)
    own_devices: tuple[int, ...] = (1, 10, 32)
    own_pairs: int = 10


FULL: Final = Sizes()
QUICK: Final = Sizes(
    pairs=4,
    warmup=0.1,
    seconds=0.4,
    windows=(1, 16),
    bodies=(1_000,),
    syncs=10,
    members=(4, 10),
    group_seconds=0.3,
    accounts=2,
    passwords=4,
    tokens=20,
    at_once=8,
    idle=(5, 10),
    settle=0.1,
    storm_clients=20,
    backlog=1_500,
    growth_warmup=0.1,
    growth_seconds=0.3,
    users=(10, 100),
    stored=(100, 1_000),
    devices=(100, 1_000),
    own_devices=(1, 3),
    own_pairs=2,
)
