"""Ids of acknowledgements that were sent a short time ago."""

from __future__ import annotations

from collections import Counter, deque


class RecentIds:
    """The last `most` ids that were added, each as often as it was; adding and taking cost the same however many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._order: deque[bytes] = deque()
        self._counts: Counter[bytes] = Counter()
        self._taken: Counter[bytes] = Counter()

    def add(self, id_: bytes) -> None:
        """Remember one more; the oldest is forgotten where there are too many."""
        self._order.append(id_)
        self._counts[id_] += 1
        if len(self._order) > self._most:
            self._forget(self._order.popleft())

    def take(self, id_: bytes) -> bool:
        """Whether it is remembered; then it is so once less."""
        if self._counts[id_] <= self._taken[id_]:
            return False
        self._taken[id_] += 1
        return True

    def _forget(self, id_: bytes) -> None:
        """The oldest goes; one that was taken is the first to."""
        self._counts[id_] -= 1
        self._taken[id_] -= self._taken[id_] > 0
        for counter in (self._counts, self._taken):
            if not counter[id_]:
                del counter[id_]
