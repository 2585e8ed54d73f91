"""Judges a history by the protocol's promises, knowing nothing but the history.

What is promised (docs/reliability.md): an acknowledged message reaches every device that it was meant for; what a
device has not acknowledged comes again, what it surely has acknowledged does not; `seq` grows and stands for one
message; each sender's messages keep their order; nothing comes twice, but for a message that was resent with `dup`
after a crash, or a failing disk, had taken what was shown of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from benchmarks.torture.acks import Acks
from benchmarks.torture.history import (
    Acked,
    Answered,
    Event,
    Fault,
    Forgetting,
    Forgotten,
    Known,
    Missing,
    Opened,
    Received,
    Refused,
    Requested,
    Sent,
    Settled,
)

_BY_THE_SERVER: Final = ("file/", "group:")
"""How the uids begin that the server makes: a client whose request was not answered does not know them."""
_DISK_FAULTS: Final = ("full", "sync")
_EXPECTED: Final = ("storage unavailable", "Storage unavailable")


@dataclass
class Verdict:
    """What was wrong, a sentence each, and how much there was of what had to go right."""

    lost: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    acknowledged: int = 0
    received: int = 0
    connections: int = 0
    resent: int = 0

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.disordered or self.doubled)


class Message(NamedTuple):
    """A message and when its sender began to send it and wrote it for the last time, as places in the history."""

    device: str
    id: str
    users: tuple[int, ...]
    first: int
    last: int
    tries: int
    conn: int
    """The connection or request that it was first sent on."""
    on_im_door: bool


class Receipt(NamedTuple):
    """An entry as it came to a device, on a connection or in the answer to a GET."""

    at: int
    conn: int
    seq: int
    uid: str
    dup: bool


def judge(history: list[Event]) -> Verdict:
    """The verdict on a whole run."""
    return _Judgement(history).verdict()


def _user(device: str) -> int:
    return int(device.split("/", 1)[0])


class _Judgement:
    """A history, taken apart by what the checks ask for."""

    def __init__(self, history: list[Event]) -> None:
        self._known: dict[str, int] = {}
        self._opened: dict[int, tuple[int, Opened]] = {}
        self._messages: dict[str, Message] = {}
        self._answered: dict[str, int] = {}
        self._receipts: dict[str, list[Receipt]] = defaultdict(list)
        self._uids: dict[tuple[int, int], str] = {}
        self._by_id: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
        self._requested: dict[int, int] = {}
        self._life = 0
        self._last_login: dict[str, int] = {}
        self._faulty_lives: set[int] = set()
        self._acks = Acks()
        self._verdict = Verdict()
        for at, event in enumerate(history):
            self._take(at, event)

    def verdict(self) -> Verdict:
        """Every check, made."""
        for device in sorted(self._known):
            self._check_all_arrived(device)
            self._check_unacknowledged_again(device)
            self._check_acknowledged_not_again(device)
            self._check_once(device)
            self._check_seq_grows(device)
            self._check_order_of_senders(device)
        found = self._verdict
        found.acknowledged = len(self._answered)
        found.received = sum(map(len, self._receipts.values()))
        found.connections = len(self._opened)
        found.resent = sum(message.tries - 1 for message in self._messages.values())
        return found

    # Taking the history in.

    def _take(self, at: int, event: Event) -> None:
        match event:
            case Known(device):
                self._known.setdefault(device, at)
            case Opened():
                self._take_opened(at, event)
            case Requested(_, conn):
                self._requested[conn] = at
            case Sent():
                self._take_sent(at, event)
            case Answered():
                self._answered.setdefault(event.uid, at)
                self._acks.answered(at, event)
            case Refused(device, uid, reason) if reason not in _EXPECTED:
                self._verdict.lost.append(f"{device}: {uid} was refused: {reason}")
            case Received():
                self._take_received(at, event)
            case Acked() if event.seq:
                self._acks.up_to(event)
            case Acked():
                self._acks.single(event, self._by_id[event.device, event.id])
            case Settled():
                self._acks.settled(at, event)
            case Forgetting(device, conns):
                self._acks.touched[device].update(self._shown(device, conns).values())
            case Forgotten(device, conns, life):
                self._acks.confirm(device, self._shown(device, self._of_life(conns, life)), at)
            case Fault(kind, life) if kind in _DISK_FAULTS:
                self._faulty_lives.add(life)
            case Missing(device, uid):
                self._verdict.lost.append(f"{device}: the file of {uid} is not there as it was sent")

    def _take_opened(self, at: int, event: Opened) -> None:
        self._opened[event.conn] = (at, event)
        if event.life > self._life:
            self._life = event.life
            self._acks.new_life()
        if event.door == "im":
            self._last_login[event.device] = event.life

    def _take_sent(self, at: int, event: Sent) -> None:
        earlier = self._messages.get(event.uid)
        first = earlier.first if earlier else self._requested.get(event.conn, at)
        tries = earlier.tries + 1 if earlier else 1
        on_im_door = event.conn not in self._requested
        conn = earlier.conn if earlier else event.conn
        self._messages[event.uid] = Message(event.device, event.id, event.users, first, at, tries, conn, on_im_door)
        if tries == 1:
            self._acks.sent(event)

    def _take_received(self, at: int, event: Received) -> None:
        receipt = Receipt(at, event.conn, event.seq, event.uid, event.dup)
        self._receipts[event.device].append(receipt)
        self._by_id[event.device, event.id][event.seq] = event.uid
        if self._opened[event.conn][1].door == "im":
            self._acks.received(event)
        elif not self._was_only_shown(event):
            self._acks.perhaps_sent(event)
        place = (_user(event.device), event.seq)
        if self._uids.setdefault(place, event.uid) != event.uid:
            self._verdict.disordered.append(
                f"{event.device}: seq {event.seq} is {event.uid} and was {self._uids[place]}"
            )
        self._check_is_as_sent(event)

    def _was_only_shown(self, event: Received) -> bool:
        """Whether the device can't have been sent it on the IM door: it was not there since the message was made."""
        message = self._messages.get(event.uid)
        made_in = self._opened[message.conn][1].life if message and message.conn in self._opened else 0
        return made_in == self._life and self._last_login.get(event.device) != self._life

    def _of_life(self, conns: tuple[int, ...], life: int) -> tuple[int, ...]:
        """Those of a life: what was shown right before a crash, the server may not know of after it."""
        return tuple(conn for conn in conns if self._opened[conn][1].life == life)

    def _shown(self, device: str, conns: tuple[int, ...]) -> dict[int, str]:
        return {r.seq: r.uid for r in self._receipts[device] if r.conn in conns}

    # What may not be lost.

    def _check_is_as_sent(self, event: Received) -> None:
        sent = self._messages.get(event.uid)
        if sent is None:
            if not event.uid.startswith(_BY_THE_SERVER):
                self._verdict.lost.append(f"{event.device}: {event.uid} came and nobody had sent it")
        elif event.sender != sent.device or sent.id not in ("", event.id):
            self._verdict.lost.append(f"{event.device}: {event.uid} came as {event.id} from {event.sender}")

    def _check_all_arrived(self, device: str) -> None:
        arrived = {receipt.uid for receipt in self._receipts[device]}
        for uid in self._answered:
            if uid not in arrived and self._is_owed(device, self._messages[uid]):
                self._verdict.lost.append(f"{device}: {uid} was acknowledged and never came")

    def _is_owed(self, device: str, message: Message) -> bool:
        """Whether it was sent when the device was known, to its user or by another device of its user."""
        if device == message.device or self._known[device] > message.first:
            return False
        return _user(device) in message.users or _user(device) == _user(message.device)

    def _check_unacknowledged_again(self, device: str) -> None:
        """What it was sent and did nothing to acknowledge must be there when it comes for all that is left."""
        last = {r.uid for r in self._receipts[device] if self._opened[r.conn][1].final}
        for uid in {r.uid for r in self._receipts[device]} - last - self._acks.touched[device]:
            if uid in self._answered:
                self._verdict.lost.append(f"{device}: {uid} came, was not acknowledged by it, and did not come again")

    # What may not come twice.

    def _check_acknowledged_not_again(self, device: str) -> None:
        confirmed = self._acks.confirmed[device]
        for receipt in self._receipts[device]:
            if confirmed.get(receipt.seq, receipt.at) < self._opened[receipt.conn][0]:
                self._verdict.doubled.append(f"{device}: {receipt.uid} came again though it was acknowledged")

    def _check_once(self, device: str) -> None:
        entries: dict[str, dict[int, list[Receipt]]] = defaultdict(lambda: defaultdict(list))
        for receipt in self._receipts[device]:
            entries[receipt.uid][receipt.seq].append(receipt)
        for uid, by_seq in entries.items():
            for (seq, earlier), (again, later) in pairwise(sorted(by_seq.items())):
                if not self._may_come_again(earlier, later):
                    self._verdict.doubled.append(f"{device}: {uid} came as {seq} and as {again}")
            for life, count in Counter(min(map(self._life_of, seen)) for seen in by_seq.values()).items():
                if count > 2:
                    self._verdict.doubled.append(f"{device}: {uid} came as {count} entries in life {life}")

    def _may_come_again(self, earlier: list[Receipt], later: list[Receipt]) -> bool:
        """Only a repeat that says so, after what was shown first has been lost with a crash or by the disk."""
        if not all(receipt.dup for receipt in later):
            return False
        last, first = max(map(self._life_of, earlier)), min(map(self._life_of, later))
        if last < first:
            return True
        is_gone = all(self._opened[receipt.conn][0] < later[0].at for receipt in earlier)
        return last == first and first in self._faulty_lives and is_gone

    def _life_of(self, receipt: Receipt) -> int:
        return self._opened[receipt.conn][1].life

    # What has to be in order.

    def _check_seq_grows(self, device: str) -> None:
        highest: dict[int, int] = defaultdict(int)
        for receipt in self._receipts[device]:
            if receipt.seq <= highest[receipt.conn]:
                self._verdict.disordered.append(f"{device}: seq {receipt.seq} after {highest[receipt.conn]}")
            highest[receipt.conn] = receipt.seq

    def _check_order_of_senders(self, device: str) -> None:
        """What was last written before another message was first written stands before it."""
        latest: dict[str, tuple[int, str]] = defaultdict(lambda: (-1, ""))
        for _, uid in sorted({(receipt.seq, receipt.uid) for receipt in self._receipts[device]}):
            message = self._messages.get(uid)
            if message is None or not message.on_im_door:
                continue
            first, other = latest[message.device]
            if message.last < first:
                self._verdict.disordered.append(f"{device}: {uid} stands behind {other}, which was sent after it")
            latest[message.device] = max(latest[message.device], (message.first, uid))
