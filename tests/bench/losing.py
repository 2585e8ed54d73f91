"""A relay that loses every hundredth message."""

from __future__ import annotations

from collections import defaultdict
from itertools import count

from benchmarks.load.floor import Relay, main

_EVERY = 100
_numbers = count(1)


class LosingRelay(Relay):
    """Acknowledges all and delivers less."""

    def _take(self, frame: bytes, out: defaultdict[Relay, list[bytes]]) -> None:
        if frame.startswith(b"[[m]]") and next(_numbers) % _EVERY == 0:
            out[self].append(b'[[a]]\nid = "%b"\n\n' % frame.split(b'"')[1])
        else:
            super()._take(frame, out)


if __name__ == "__main__":
    main(LosingRelay)
