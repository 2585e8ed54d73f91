"""Python's cycle collector, set for a server: nearly nothing that lives long here is part of a cycle."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""How many more objects there have to be, and collections of each generation, before the next is gone through.

With Python's own (700, 10, 10) the collector took a seventh of the reactor's time under load, going through messages
that wait for their commit; see docs/performance.md.
"""


def settle() -> None:
    """Leave out from now on what there is after the start, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
