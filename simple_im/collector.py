"""Python's cycle collector, set for a server."""

from __future__ import annotations

import gc


def settle() -> None:
    """Leave out from now on what there is after the start: it stays, and need not be gone through again and again."""
    gc.collect()
    gc.freeze()
