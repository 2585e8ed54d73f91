"""What can be wrong with a run, and the count of what was."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

_EXAMPLES: Final = 5


class BenchError(Exception):
    """A run came to nothing; the message is for who started it."""


class Unsound(BenchError):
    """The server did something else than it promises, so the numbers mean nothing."""


class TookTooLong(BenchError):
    """Something did not come in the time it has; the message says what."""


@dataclass
class Tally:
    """What went wrong, counted."""

    lost: int = 0
    """Did not come, or came behind what was sent later."""
    doubled: int = 0
    misrouted: int = 0
    altered: int = 0
    unacknowledged: int = 0
    refused: int = 0
    closed: int = 0
    """Connections that the server ended."""
    examples: list[str] = field(default_factory=list)

    def count(self, what: str, number: int, example: str) -> None:
        """Note that so many were `what`, one of the fields."""
        setattr(self, what, getattr(self, what) + number)
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{what}: {example}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing went wrong."""
        return not self.examples

    def verify(self) -> None:
        """Raise `Unsound` where anything was counted."""
        counts = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "examples"}
        wrong = [f"{number} {what}" for what, number in counts.items() if number]
        if wrong:
            raise Unsound(f"{', '.join(wrong)} ({'; '.join(self.examples)})")
