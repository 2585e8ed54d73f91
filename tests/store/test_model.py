"""Devices and their inbox against a model of them: what a device has acknowledged is a set of messages, and what it is
sent or shown is what is not in it.

Messages are numbered as they are sent; the number is their text. The database goes step by step, so that pages,
commits and acknowledgements overlap in every way that they can.
"""

from __future__ import annotations

import re
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from simple_im.im import device as device_module
from simple_im.im.device import Device
from simple_im.im.outbox import Outbox, Turn
from simple_im.im.sessions import Sessions
from simple_im.status import StorageUnavailable
from simple_im.store import device_state
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Entry
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.sequence import Sequence
from tests.store.fakes import Sender, SteppedDatabase, draft, make_users

USER = 2
IDS = (b"a", b"b", b"c")
WINDOW_ENTRIES = 4
WINDOW_BYTES = 700
LARGE = 1 << 20
_MESSAGE = re.compile(rb'c = "(\d+)[^"]*"\nfrom = \d+\nts = \d+\nseq = (\d+)\n')


def number_of(entry: Entry) -> int:
    found = _MESSAGE.search(entry.wire)
    assert found is not None
    return int(found[1])


class Link:
    """A connection, as `Sessions` knows it."""

    token_hash = b""

    def __init__(self, device: Device) -> None:
        self.device = device

    def bye(self, reason: str) -> None:
        """Nobody says it here."""


class Client:
    """A device with what it knows: all that it was sent and shown, and what it has acknowledged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.link: Link | None = None
        self.acked: set[int] = set()
        self.seqs: dict[int, int] = {}
        """By number, of all that it was ever sent on the IM door."""
        self.shown: set[int] = set()
        self.offered: set[int] = set()
        self.left_out: set[int] = set()
        self.got: list[int] = []
        """What came on this connection."""
        self.sizes: dict[int, int] = {}
        self.paused = False

    def login(self) -> None:
        self.left_out, self.offered = self.offered - self.acked, set()
        self.got = []

    def write(self, data: bytes) -> None:
        """What comes on the IM door comes in order, once a connection, and is nothing acknowledged or left out."""
        for frame in data.split(b"\n\n")[:-1]:
            found = _MESSAGE.search(frame + b"\n")
            assert found is not None, frame
            number, seq = int(found[1]), int(found[2])
            assert not self.got or number > self.got[-1], (number, self.got)
            assert number not in self.acked, number
            assert number not in self.left_out, number
            self.got.append(number)
            self.seqs[number] = seq
            self.sizes[number] = len(frame) + 2

    def named(self, id_: bytes, ids: dict[int, bytes]) -> int | None:
        """Which message an acknowledgement by id is for."""
        known = (self.seqs.keys() | self.shown) - self.acked
        return min((number for number in known if ids.get(number) == id_), default=None)

    def acknowledge_seq(self, to: int) -> None:
        self.acked |= {number for number, seq in self.seqs.items() if seq <= to}

    def delete(self) -> None:
        self.acked |= {number for number in range(max(self.shown, default=-1) + 1)}

    def has_room(self, size: int) -> bool:
        in_flight = [number for number in self.got if number not in self.acked]
        in_bytes = sum(self.sizes[number] for number in in_flight)
        return not in_flight or (len(in_flight) < WINDOW_ENTRIES and in_bytes + size <= WINDOW_BYTES)


clients = st.sampled_from(["phone", "tablet"])


class InboxMachine(RuleBasedStateMachine):
    """Two devices of a user, which write to each other too, and somebody else who writes to them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.turn = Turn()
        self.database = SteppedDatabase()
        self.open()
        self.clients = {name: Client(name) for name in ("phone", "tablet")}
        self.wait_for(make_users(self.database, 2))
        for name in self.clients:
            self.wait_for(self.inbox.add_device(USER, name))
        self.senders: list[tuple[str, bytes, Sender]] = []

    def open(self) -> None:
        self.sessions = Sessions(self.turn)
        self.inbox = SQLiteInbox(
            self.database, Sequence(self.database, self.database.raise_epoch()), self.clock, self.sessions
        )

    def teardown(self) -> None:
        try:
            self.mend()
            self.all_is_well()
        finally:
            self.database.stop()

    # The database.

    def settle(self) -> None:
        self.database.settle()
        self.turn.end()

    def outcome(self, waiting: Deferred[Any]) -> Any:
        """What comes of it when the database has done all it has to do."""
        results: list[Any] = []
        waiting.addBoth(results.append)
        self.settle()
        self.clock.advance(1)
        self.settle()
        (result,) = results
        return result

    def wait_for(self, coroutine: Any) -> Any:
        result = self.outcome(Deferred.fromCoroutine(coroutine))
        if isinstance(result, Failure):
            result.raiseException()
        return result

    @rule(steps=st.integers(1, 4), answers=st.booleans())
    def step(self, steps: int, answers: bool) -> None:
        for _ in range(steps):
            self.database.do()
            if answers:
                self.database.answer()
        self.turn.end()

    @rule()
    def commit(self) -> None:
        self.inbox.commit()

    @rule(seconds=st.sampled_from([0.1, 1.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turn.end()

    @precondition(lambda self: not self.database.broken)
    @rule()
    def break_storage(self) -> None:
        """From now on commits fail; what was sent before is stored."""
        self.inbox.commit()
        self.settle()
        self.database.broken = True

    @rule()
    def mend(self) -> None:
        """From now on commits succeed; what ran before has failed."""
        self.settle()
        self.database.broken = False

    @rule()
    def restart(self) -> None:
        """The server stops as it should, and starts."""
        self.mend()
        for client in self.clients.values():
            self.hang_up(client)
        self.wait_for(self.inbox.flush())
        self.open()

    # Messages.

    @rule(id_=st.sampled_from(IDS), by=st.sampled_from(["other", "other", "phone", "tablet"]), large=st.booleans())
    def send(self, id_: bytes, by: str, large: bool) -> None:
        """What is sent while commits fail has an id that nobody uses to acknowledge: it may be refused."""
        number, sender = len(self.senders), Sender()
        id_ = b"doubtful" if self.database.broken else id_
        text = b"%d" % number + b" " * (300 * large)
        self.senders.append((by, id_, sender))
        self.inbox.append(draft(id_, USER, sender=1 if by == "other" else USER, device=by, text=text), sender)
        self.turn.end()

    def ids(self) -> dict[int, bytes]:
        return {number: id_ for number, (_, id_, _) in enumerate(self.senders)}

    def unacknowledged(self, client: Client) -> list[int]:
        """What the model says; only when everything is stored or refused."""
        return [
            number
            for number, (by, id_, sender) in enumerate(self.senders)
            if by != client.name and number not in client.acked and sender.answers == [(id_, "")]
        ]

    # Devices.

    def state(self, client: Client) -> DeviceState:
        opened = self.wait_for(self.inbox.open_device(USER, client.name))
        state: DeviceState = opened.state
        return state

    def hang_up(self, client: Client) -> None:
        if client.link is not None:
            client.link.device.close()
            self.sessions.remove(client.link)
            client.link = None
        self.turn.end()

    @rule(name=clients)
    def disconnect(self, name: str) -> None:
        self.hang_up(self.clients[name])

    @rule(name=clients)
    def login(self, name: str) -> None:
        """A connection of before is replaced."""
        client = self.clients[name]
        state = self.state(client)
        self.hang_up(client)
        client.login()
        client.paused = False
        device = Device(state, self.inbox, Outbox(client.write, self.turn), self.turn, self.clock)
        client.link = Link(device)
        self.sessions.add(client.link, [*self.clients])
        device.catch_up()
        self.turn.end()

    @rule(name=clients, paused=st.booleans())
    def pause(self, name: str, paused: bool) -> None:
        client = self.clients[name]
        if client.link is not None:
            client.paused = paused
            device = client.link.device
            device.pause() if paused else device.resume()
            self.turn.end()

    @rule(name=clients, id_=st.sampled_from(IDS))
    def acknowledge_id(self, name: str, id_: bytes) -> None:
        client = self.clients[name]
        if client.link is not None:
            number = client.named(id_, self.ids())
            looking = client.link.device.acknowledge_id(id_)
            failed = looking is not None and self.failed(looking)
            if number is not None and not failed:
                client.acked.add(number)
            self.turn.end()

    def failed(self, looking: Deferred[None]) -> bool:
        result = self.outcome(looking)
        assert result is None or result.check(StorageUnavailable), result
        assert result is None or self.database.broken
        return result is not None

    @rule(name=clients, choice=st.integers(0, 1_000), around=st.sampled_from([-1, 0, 1, LARGE]))
    def acknowledge_seq(self, name: str, choice: int, around: int) -> None:
        """Around something that it was sent, or above all of it."""
        client = self.clients[name]
        if client.link is not None and client.seqs:
            seqs = [*client.seqs.values()]
            seq = seqs[-1 - choice % len(seqs)] + around
            client.link.device.acknowledge_seq(seq)
            client.acknowledge_seq(seq)
            self.turn.end()

    @rule(name=clients, limit=st.sampled_from([1, 2, 3, 100]), written=st.booleans())
    def get(self, name: str, limit: int, written: bool) -> None:
        """`GET /offline`, whose answer is written to its end or not."""
        client = self.clients[name]
        state = self.state(client)
        if not self.database.broken:
            numbers = self.look(client, state)[:limit]
            if written and numbers:
                client.shown.update(numbers)
                client.offered.update(numbers)
                state.show(self.page(state, limit)[-1].seq)
                self.inbox.touch(state)

    @rule(name=clients)
    def delete(self, name: str) -> None:
        client = self.clients[name]
        state = self.state(client)
        if not self.database.broken:
            client.delete()
            self.wait_for(self.inbox.forget_shown(state))
            if client.link is not None:
                client.link.device.cursor_moved()
            self.turn.end()

    # What must be so.

    def page(self, state: DeviceState, limit: int = 1_000) -> list[Entry]:
        self.wait_for(self.inbox.flush())
        return list(self.wait_for(self.inbox.read(state, state.cursor, limit, LARGE)).entries)

    def look(self, client: Client, state: DeviceState) -> list[int]:
        """All that a GET shows now, which is all that is not acknowledged."""
        numbers = [number_of(entry) for entry in self.page(state)]
        assert numbers == self.unacknowledged(client), (numbers, self.unacknowledged(client))
        return numbers

    @precondition(lambda self: not self.database.broken)
    @rule()
    def all_is_well(self) -> None:
        """With nothing under way, each device has been sent all that it has room for, and a GET shows all there is."""
        self.wait_for(self.inbox.flush())
        for client in self.clients.values():
            state = self.state(client)
            self.look(client, state)
            if client.link is not None and not client.paused:
                self.has_all(client, self.page(state))

    def has_all(self, client: Client, entries: list[Entry]) -> None:
        known = {*client.got, *client.left_out}
        missing = [entry for entry in entries if number_of(entry) not in known]
        assert not missing or not client.has_room(len(missing[0].wire)), [number_of(entry) for entry in missing]


class ModelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(device_module, "WINDOW_ENTRIES", WINDOW_ENTRIES)
        self.patch(device_module, "WINDOW_BYTES", WINDOW_BYTES)
        self.patch(device_state, "HOLES", 1_000)

    def test_model(self) -> None:
        """Whatever is sent, acknowledged by id and by seq, shown, deleted, left out, replaced and put off by a failing
        disk: a login sends and a GET shows exactly what is not acknowledged, in order."""
        run_state_machine_as_test(
            InboxMachine,
            settings=settings(
                max_examples=150,
                stateful_step_count=50,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
