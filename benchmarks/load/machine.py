"""What the numbers of a result were taken on."""

from __future__ import annotations

import os
import platform
import sqlite3
import ssl
import subprocess
from pathlib import Path
from typing import Any

from OpenSSL import SSL

import twisted
from benchmarks.node import ROOT


def describe(disk: Path) -> dict[str, Any]:
    """The machine, its software, and the file system of `disk`."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem(disk),
        "python": platform.python_version(),
        "twisted": twisted.__version__,
        "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
        "openssl of the Python driver": ssl.OPENSSL_VERSION,
        "sqlite": sqlite3.sqlite_version,
    }


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def filesystem(disk: Path) -> str:
    """Its type: that of the mount which is nearest above."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [(point, kind) for point, kind in mounts if disk.resolve().is_relative_to(point)]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else "unknown"


def commit(source: Path = ROOT) -> str:
    """A checkout's commit, with a `+` where the server was changed since; "unknown" where git does not know."""
    found = _git(source, "rev-parse", "--short=12", "HEAD")
    return (found + ("+" if _git(source, "status", "--porcelain", "--", "simple_im") else "")) if found else "unknown"


def _git(source: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=source, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
