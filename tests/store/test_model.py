"""Devices and their inbox against a model of them: what a device has acknowledged is a set of messages, and what it is
sent or shown is what is not in it.

Messages are numbered as they are sent; the number is their text. The database goes step by step, so that pages,
commits and acknowledgements overlap in every way that they can.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

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
from simple_im.store.entries import Draft, Entry
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.sequence import Sequence
from tests.store.fakes import Sender, SteppedDatabase, draft, make_users
from tests.store.model import WINDOW_BYTES, WINDOW_ENTRIES, Client, Link, numbers_of

USER = 2
IDS = (b"a", b"b", b"c")
PAGE = 1 << 20
WALKS = 300
STEPS = 250

_T = TypeVar("_T")


class World:
    """A server, two devices of a user, which write to each other too, and somebody else who writes to them.

    What happens is chosen by `chance`.
    """

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.turn = Turn()
        self.database = SteppedDatabase()
        self.open()
        self.clients = [Client("phone"), Client("tablet")]
        self.wait_for(make_users(self.database, 2))
        for client in self.clients:
            self.wait_for(self.inbox.add_device(USER, client.name))
        self.sent: list[tuple[str, bytes, Sender]] = []

    def open(self) -> None:
        self.clock = Clock()
        self.sessions = Sessions(self.turn)
        sequence = Sequence(self.database, self.database.raise_epoch())
        self.inbox = SQLiteInbox(self.database, sequence, self.clock, self.sessions)

    def client(self) -> Client:
        return self.chance.choice(self.clients)

    # The database and the time.

    def settle(self) -> None:
        """Do all there is to do, also what was put off."""
        for _ in range(2):
            self.database.settle()
            self.clock.advance(1)
        self.database.settle()
        self.turn.end()

    def outcome(self, waiting: Deferred[Any]) -> Any:
        """What comes of it, with as few steps of the database as that takes."""
        results: list[Any] = []
        waiting.addBoth(results.append)
        while not results:
            if not (self.database.do() | self.database.answer()):
                self.clock.advance(1)
        self.turn.end()
        return results[0]

    def wait_for(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        result = self.outcome(Deferred.fromCoroutine(coroutine))
        if isinstance(result, Failure):
            result.raiseException()
        checked: _T = result
        return checked

    def step(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            self.database.do()
            if self.chance.random() < 0.6:
                self.database.answer()
        self.turn.end()

    def commit(self) -> None:
        self.inbox.commit()

    def wait(self) -> None:
        self.clock.advance(self.chance.choice([0.1, 1.0]))
        self.turn.end()

    def break_storage(self) -> None:
        """From now on commits fail; what was sent before is stored."""
        if not self.database.broken:
            self.inbox.commit()
            self.settle()
            self.database.broken = True

    def mend(self) -> None:
        """From now on commits succeed; what ran before has failed."""
        self.settle()
        self.database.broken = False

    def restart(self) -> None:
        """The server stops as it should, and starts."""
        self.stop()
        self.settle()
        self.open()

    def crash(self) -> None:
        """The server dies when nobody is connected, with what was sent since then on disk only, and starts."""
        self.stop()
        for _ in range(self.chance.randint(0, 3)):
            self.send()
            self.commit()
            self.database.settle()
        self.open()

    def stop(self) -> None:
        self.mend()
        for client in self.clients:
            self.hang_up(client)
        self.wait_for(self.inbox.flush())

    # Messages.

    def send(self) -> None:
        """One message, or several at once, which share a row.

        What is sent while commits fail has an id that nobody uses to acknowledge: it may be refused.
        """
        by = self.chance.choice(["other", "other", "phone", "tablet"])
        messages = [self.message(by) for _ in range(self.chance.choice([1, 1, 1, 2, 6]))]
        for message, sender in messages:
            self.inbox.append(message, sender)
        self.turn.end()

    def message(self, by: str) -> tuple[Draft, Sender]:
        """The next message, and who is told of it."""
        number, sender = len(self.sent), Sender()
        id_ = b"doubtful" if self.database.broken else self.chance.choice(IDS)
        text = b"%d" % number + b" " * self.chance.choice([0, 0, 300])
        self.sent.append((by, id_, sender))
        return draft(id_, USER, sender=1 if by == "other" else USER, device=by, text=text), sender

    def ids(self) -> dict[int, bytes]:
        return {number: id_ for number, (_, id_, _) in enumerate(self.sent)}

    def unacknowledged(self, client: Client) -> list[int]:
        """What the model says; only when everything is stored or refused."""
        return [
            number
            for number, (by, id_, sender) in enumerate(self.sent)
            if by != client.name and number not in client.acked and sender.answers == [(id_, "")]
        ]

    # Devices.

    def state(self, client: Client) -> DeviceState:
        opened = self.wait_for(self.inbox.open_device(USER, client.name))
        assert opened is not None
        return opened.state

    def hang_up(self, client: Client) -> None:
        if client.link is not None:
            client.link.device.close()
            self.sessions.remove(client.link)
            client.link = None

    def disconnect(self) -> None:
        self.hang_up(self.client())

    def login(self) -> None:
        """A connection of before is replaced."""
        client = self.client()
        state = self.state(client)
        self.hang_up(client)
        client.login()
        device = Device(state, self.inbox, Outbox(client.write, self.turn, lambda: None), self.turn, self.clock)
        client.link = Link(device)
        self.sessions.add(client.link, [client.name for client in self.clients])
        device.catch_up()

    def pause(self) -> None:
        client = self.client()
        if client.link is not None:
            client.paused = self.chance.random() < 0.4
            client.link.device.pause() if client.paused else client.link.device.resume()

    def acknowledge_id(self) -> None:
        client, id_ = self.client(), self.chance.choice(IDS)
        if client.link is not None:
            number = client.named(id_, self.ids())
            looking = client.link.device.acknowledge_id(id_)
            failed = looking is not None and self.failed(looking)
            if number is not None and not failed:
                client.acked.add(number)

    def failed(self, looking: Deferred[None]) -> bool:
        result = self.outcome(looking)
        assert result is None or (result.check(StorageUnavailable) and self.database.broken), result
        return result is not None

    def acknowledge_seq(self) -> None:
        """Around something that it was sent, mostly of late, or above all of it."""
        client = self.client()
        if client.link is not None and client.seqs:
            seqs = [*client.seqs.values()]
            latest = seqs if self.chance.random() < 0.3 else seqs[-6:]
            seq = self.chance.choice(latest) + self.chance.choice([-1, 0, 0, 0, 1, 1 << 30])
            client.link.device.acknowledge_seq(seq)
            client.acknowledge_seq(seq)

    def get(self) -> None:
        """`GET /offline`, whose answer is written to its end or not."""
        client = self.client()
        if not self.database.broken:
            state = self.state(client)
            limit = self.chance.choice([1, 2, 3, 100])
            numbers = self.look(client, state)[:limit]
            if numbers and self.chance.random() < 0.8:
                client.show(numbers)
                state.show(self.page(state)[:limit][-1].seq)
                self.inbox.touch(state)

    def delete(self) -> None:
        client = self.client()
        if not self.database.broken:
            state = self.state(client)
            client.delete()
            self.wait_for(self.inbox.forget_shown(state))
            if client.link is not None:
                client.link.device.cursor_moved()

    # What must be so.

    def have_stored(self) -> None:
        """All that was sent, with or without the index."""
        self.commit()
        self.database.settle()
        if self.chance.random() < 0.5 or not all(sender.answers for _, _, sender in self.sent):
            self.wait_for(self.inbox.flush())

    def page(self, state: DeviceState) -> list[Entry]:
        self.have_stored()
        return list(self.wait_for(self.inbox.read(state, state.cursor, 1_000, PAGE)).entries)

    def look(self, client: Client, state: DeviceState) -> list[int]:
        """All that a GET shows now, which is all that is not acknowledged."""
        numbers = [numbers_of(entry.wire)[0] for entry in self.page(state)]
        assert numbers == self.unacknowledged(client), f"{numbers} is shown, not {self.unacknowledged(client)}"
        return numbers

    def all_is_well(self) -> None:
        """With nothing under way, each device has been sent all that it has room for, and a GET shows all there is."""
        if not self.database.broken:
            self.wait_for(self.inbox.flush())
            self.settle()
            for client in self.clients:
                numbers = self.look(client, self.state(client))
                assert client.is_served(numbers), f"{client.name} was sent {client.got} of {numbers}"

    def nothing_wrong(self) -> None:
        for client in self.clients:
            assert not client.wrong, f"{client.name} was sent {client.wrong}"

    def end(self) -> None:
        self.mend()
        self.all_is_well()
        self.nothing_wrong()
        self.database.stop()


ACTIONS: dict[Callable[[World], None], float] = {
    World.send: 4.5,
    World.step: 7,
    World.commit: 3,
    World.login: 2,
    World.get: 2.5,
    World.acknowledge_id: 4,
    World.acknowledge_seq: 1.2,
    World.delete: 0.4,
    World.pause: 1,
    World.restart: 0.2,
    World.crash: 0.2,
    World.break_storage: 0.15,
    World.mend: 0.6,
    World.all_is_well: 0.7,
    World.wait: 1,
    World.disconnect: 0.4,
}
"""What may happen, and how often one happens before another."""


class ModelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(device_module, "WINDOW_ENTRIES", WINDOW_ENTRIES)
        self.patch(device_module, "WINDOW_BYTES", WINDOW_BYTES)
        self.patch(device_state, "HOLES", 1_000)

    def test_model(self) -> None:
        """Whatever is sent, acknowledged by id and by seq, shown, deleted, left out, replaced and put off by a failing
        disk: a login sends and a GET shows exactly what is not acknowledged, in order."""
        for seed in range(WALKS):
            self.walk(seed)

    def walk(self, seed: int) -> None:
        world, steps = World(Random(seed)), list[str]()
        try:
            for action in world.chance.choices([*ACTIONS], [*ACTIONS.values()], k=STEPS):
                steps.append(action.__name__)
                action(world)
                world.turn.end()
                world.nothing_wrong()
            world.end()
        except AssertionError as error:
            self.fail(f"{error}, in walk {seed} after {len(steps)} steps, the last {steps[-20:]}")
