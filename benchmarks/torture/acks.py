"""What the devices in a history have acknowledged: perhaps, as an acknowledgement may be lost on its way, or surely."""

from __future__ import annotations

from collections import defaultdict

from benchmarks.torture.history import Acked, Answered, Received, Sent, Settled


class Acks:
    """Takes events in their order; what is written on one connection is known by its number."""

    def __init__(self) -> None:
        self.touched: dict[str, set[str]] = defaultdict(set)
        """By device, the uids that it may have acknowledged."""
        self.confirmed: dict[str, dict[int, int]] = defaultdict(dict)
        """By device and seq, since when it is sure."""
        self._in_flight: dict[str, dict[int, str]] = defaultdict(dict)
        self._perhaps_sent: dict[str, dict[int, str]] = defaultdict(dict)
        self._written: dict[int, list[dict[int, str]]] = defaultdict(list)
        self._before: dict[tuple[int, str], int] = {}
        self._stored: dict[int, int] = defaultdict(int)

    def new_life(self) -> None:
        """The server has been started again; what it had sent right before its end it may not remember."""
        for device, waiting in self._in_flight.items():
            self._perhaps_sent[device].update(waiting)
        self._in_flight.clear()

    def received(self, event: Received) -> None:
        """An entry has come on the IM door."""
        self._in_flight[event.device][event.seq] = event.uid

    def perhaps_sent(self, event: Received) -> None:
        """An entry was shown on the other door, and may have been sent on a connection that broke before it came."""
        self._perhaps_sent[event.device][event.seq] = event.uid

    def up_to(self, event: Acked) -> None:
        """All that was sent to it on the IM door, up to a seq."""
        self.touched[event.device].update(_take_up_to(self._perhaps_sent[event.device], event.seq).values())
        self._write(event, _take_up_to(self._in_flight[event.device], event.seq))

    def single(self, event: Acked, candidates: dict[int, str]) -> None:
        """One of those that have the id; it is sure which one where there is no other."""
        self.touched[event.device].update(candidates.values())
        self._write(event, candidates.copy() if len(candidates) == 1 else {})

    def _write(self, event: Acked, covered: dict[int, str]) -> None:
        self.touched[event.device].update(covered.values())
        self._written[event.conn].append(covered)

    def sent(self, event: Sent) -> None:
        """What was acknowledged before, on the same connection, is stored with this new message or before it."""
        self._before[event.conn, event.uid] = len(self._written[event.conn])

    def answered(self, at: int, event: Answered) -> None:
        """The message is stored, and so are the acknowledgements before it."""
        self._confirm_first(at, event.device, event.conn, self._before.get((event.conn, event.uid), 0))

    def settled(self, at: int, event: Settled) -> None:
        """All that was acknowledged on the connection is stored."""
        self._confirm_first(at, event.device, event.conn, len(self._written[event.conn]))

    def _confirm_first(self, at: int, device: str, conn: int, count: int) -> None:
        for covered in self._written[conn][self._stored[conn] : count]:
            self.confirm(device, covered, at)
        self._stored[conn] = max(self._stored[conn], count)

    def confirm(self, device: str, covered: dict[int, str], at: int) -> None:
        """These are surely acknowledged."""
        for seq in covered:
            self.confirmed[device].setdefault(seq, at)


def _take_up_to(waiting: dict[int, str], seq: int) -> dict[int, str]:
    return {each: waiting.pop(each) for each in [each for each in waiting if each <= seq]}


