"""What the disk itself takes to keep something."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Final

_BLOCK: Final = bytes(4096)
_IN_MEMORY: Final = {"tmpfs", "ramfs"}


def fsync_times(directory: Path, count: int) -> list[float]:
    """The microseconds that each of `count` appends of 4 KiB takes with its fsync, one after the other."""
    path = directory / "fsync"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return [_append(file) for _ in range(count)]
    finally:
        os.close(file)
        path.unlink()


def _append(file: int) -> float:
    begin = time.perf_counter()
    os.write(file, _BLOCK)
    os.fsync(file)
    return (time.perf_counter() - begin) * 1e6


def summary(times: list[float]) -> dict[str, float]:
    """As the generator writes times."""
    return {"n": len(times), "p50": round(statistics.median(times), 1), "max": round(max(times), 1)}


def is_in_memory(directory: Path) -> bool:
    """Whether fsync does nothing there, as far as the system says what it is."""
    device = directory.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return any(mount[2] == number and mount[mount.index("-") + 1] in _IN_MEMORY for mount in mounts)
