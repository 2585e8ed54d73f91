"""Python's interpreter, set for a server: its cycle collector and its lock."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH: Final = 0.0003
"""Seconds after which a thread that waits for the interpreter's lock is given it; 0.005 unless told. The reactor's
thread lets go of it for moments only, too short for the database's to take it, which has to take it dozens of times a
commit."""


def settle() -> None:
    """After the start: what there is by now stays, and need not be gone through again and again."""
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH)
