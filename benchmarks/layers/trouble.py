"""What ends a measurement."""

from __future__ import annotations


class CannotMeasure(Exception):
    """It came to nothing; the message says why, for who started it."""
