"""Plain frames are taken together, by a way of their own: it does what the full way does, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simple_im.im import device as device_module
from simple_im.limits import BAD_FRAMES
from simple_im.store import runs
from tests.im.door import ANN, BAD, BOB, CAT, NOBODY, Client, Door, Entry, a, m, parse, r
from tests.wire.frames import read_fast

WINDOW = 4
"""So many entries may be in flight here: few, so that devices fall out of step."""
DEVICES = ((ANN, "phone"), (ANN, "pad"), (BOB, "phone"), (BOB, "pad"), (CAT, "phone"))

IDS = st.sampled_from("abcdef")
MESSAGES = st.builds(m, IDS, st.sampled_from([ANN, BOB, CAT, NOBODY]))
ACKS = st.builds(a, IDS)
OTHERS = st.sampled_from([r("ping", "ping"), BAD, m("x", BOB, more="y = 1\n"), '[[a]]\nseq = 1\n\n[[m]]\nid = "y"\n\n'])
WHICH = st.integers(0, len(DEVICES) - 1)


def full(frame: str) -> str:
    """The same frame, with a comment, which the way of plain frames does not take."""
    return frame.replace("\n\n", " # full\n\n")


@dataclass
class Says:
    """A device sends these frames in one record."""

    who: int
    frames: list[str]

    def take(self, run: Run) -> None:
        run.send(self.who, self.frames)


@dataclass
class Acknowledges:
    """A device acknowledges of what it got the first so many that it has not, in an order, with others between."""

    who: int
    count: int
    order: Callable[[list[str]], list[str]]

    def take(self, run: Run) -> None:
        if not run.is_held:
            run.send(self.who, [a(id_) for id_ in self.order(run.to_acknowledge(self.who, self.count))])


@dataclass
class Does:
    """Something that is no frame; the names are methods of `Run`."""

    what: str
    who: int

    def take(self, run: Run) -> None:
        getattr(run, self.what)(self.who)


Step = Says | Acknowledges | Does


def as_they_came(ids: list[str]) -> list[str]:
    return ids


def backwards(ids: list[str]) -> list[str]:
    return ids[::-1]


def doubled(ids: list[str]) -> list[str]:
    return [id_ for id_ in ids for _ in range(2)]


def with_others(ids: list[str]) -> list[str]:
    return [id_ for pair in zip(ids, "uvwxyzuvwxyz", strict=False) for id_ in pair]


def from_the_second(ids: list[str]) -> list[str]:
    return ids[1:] + ids[:1]


ORDERS = st.sampled_from([as_they_came, as_they_came, backwards, doubled, with_others, from_the_second])
SAYS = st.builds(Says, WHICH, st.lists(MESSAGES | MESSAGES | ACKS | OTHERS, min_size=1, max_size=8))
SENDS = st.builds(Says, WHICH, st.lists(MESSAGES, min_size=1, max_size=8))
ACKNOWLEDGES = st.builds(Acknowledges, WHICH, st.integers(1, 6), ORDERS)
DOES = st.builds(Does, st.sampled_from(["fill", "drain", "comes_back", "shows", "goes"]), WHICH)
LEFT_OUT = [Does("shows", 2), Does("comes_back", 2)]
"""What was shown over HTTPS is left out at the login, and still has to be acknowledged."""
HOLDS = st.builds(Does, st.sampled_from(["hold", "release"]), WHICH)
STEPS = st.lists(SAYS | SENDS | ACKNOWLEDGES | ACKNOWLEDGES | DOES, min_size=1, max_size=14)
HELD_STEPS = st.lists(SENDS | SENDS | ACKNOWLEDGES | HOLDS, min_size=1, max_size=14)


class Run:
    """A node with all devices connected, on which steps are taken; `write` is how a frame is written."""

    def __init__(self, write: Callable[[str], str]) -> None:
        self.door = Door()
        self.is_held = False
        self._write = write
        self._streams = [b""] * len(DEVICES)
        self._unacknowledged: list[list[str]] = [[] for _ in DEVICES]
        self._clients = [self.door.online(*device) for device in DEVICES]

    def send(self, who: int, frames: list[str]) -> None:
        if frames and not self._clients[who].is_closed:
            self._clients[who].send(*map(self._write, frames))

    def look(self) -> None:
        """Take what has come to the devices."""
        for who, client in enumerate(self._clients):
            self._keep(who, client)

    def _keep(self, who: int, client: Client) -> None:
        data = b"".join(client.raw())
        self._streams[who] += data
        self._unacknowledged[who] += [keys["id"] for table, keys in parse(data) if table in ("m", "n")]

    def to_acknowledge(self, who: int, count: int) -> list[str]:
        self.look()
        ids, self._unacknowledged[who] = self._unacknowledged[who][:count], self._unacknowledged[who][count:]
        return ids

    def fill(self, who: int) -> None:
        self._clients[who].transport.fill()

    def drain(self, who: int) -> None:
        self._clients[who].transport.drain()

    def goes(self, who: int) -> None:
        self.look()
        self._clients[who].lose()

    def comes_back(self, who: int) -> None:
        self.goes(who)
        self._unacknowledged[who].clear()
        self._clients[who] = self.door.log_in(*DEVICES[who])

    def shows(self, who: int) -> None:
        self.door.get_offline(*DEVICES[who], limit=2)

    def hold(self, _who: int) -> None:
        self.is_held = True
        self.door.database.hold()

    def release(self, _who: int) -> None:
        self.is_held = False
        self.door.database.release()

    def settle(self) -> None:
        """Have everything done and written that can be."""
        self.release(0)
        for who, client in enumerate(self._clients):
            if not client.is_closed:
                self.drain(who)
        self.door.commit()
        self.look()

    @property
    def streams(self) -> list[bytes]:
        """What each device got, byte for byte."""
        return self._streams

    @property
    def by_table(self) -> list[dict[str, list[Entry]]]:
        """The same by table, where it does not matter how the tables are mixed."""
        found: list[dict[str, list[Entry]]] = []
        for stream in self._streams:
            tables: dict[str, list[Entry]] = {}
            for entry in parse(stream):
                tables.setdefault(entry[0], []).append(entry)
            found.append(tables)
        return found

    @property
    def state(self) -> list[Any]:
        """Of each device: its places, and what is in flight."""
        return [self._state_of(*device) for device in DEVICES]

    def _state_of(self, user: int, name: str) -> Any:
        connection = self.door.sessions.find(user, name)
        if connection is None:
            return None
        device = connection.device
        state = device.state
        in_flight = [(entry.seq, entry.wire) for entry in device._in_flight.values()]
        return (
            *(state.cursor, state.sent, state.shown, state.offered, state.scattered, state.holes_text()),
            *(device._position, device._bytes, device._in_step, in_flight),
        )

    @property
    def rows(self) -> dict[str, list[Any]]:
        """What is on disk, but for tokens, which nobody foresees."""
        query = self.door.database._connection.execute
        tables = query(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('token', 'run', 'inbox')"
        ).fetchall()
        rows = {name: sorted(query(f'SELECT * FROM "{name}"').fetchall(), key=repr) for (name,) in tables}
        return {**rows, "inbox": self._inboxes()}

    def _inboxes(self) -> list[Any]:
        """Message by message, however many share a row."""
        query = self.door.database._connection.execute
        places = query("SELECT i.user, r.* FROM inbox AS i JOIN run AS r ON r.seq = i.seq ORDER BY i.user, i.seq")
        entries = (entry for user, *row in places.fetchall() for entry in runs.entries_of(runs.Run(*row), user))
        return [astuple(entry) for entry in entries]

    @property
    def waiting(self) -> list[list[str]]:
        """What each device would be sent if it came back now."""
        for client in self._clients:
            client.lose()
        return [self.door.waiting_for(*device) for device in DEVICES]


def checked(examples: int) -> Callable[[Any], Any]:
    """So many examples, and nothing kept of them."""
    unhurried = [HealthCheck.too_slow, HealthCheck.differing_executors]
    return settings(
        max_examples=examples, deadline=None, database=None, print_blob=True, suppress_health_check=unhurried
    )


class WaysTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(device_module, "WINDOW_ENTRIES", WINDOW)

    def test_which(self) -> None:
        """Of the frames here one form is taken by the way of plain frames, and the other is not."""
        for frame in (m("a", BOB), a("a")):
            self.assertIsNotNone(read_fast(frame.encode().removesuffix(b"\n\n"), b"phone"))
            self.assertIsNone(read_fast(full(frame).encode().removesuffix(b"\n\n"), b"phone"))

    def assert_same_end(self, one: Run, other: Run) -> None:
        self.assertEqual(one.state, other.state)
        self.assertEqual(one.rows, other.rows)
        self.assertEqual(one.waiting, other.waiting)

    @checked(150)
    @given(STEPS)
    @example([Says(0, [m(id_, BOB) for id_ in "abcd"]), Acknowledges(2, 4, as_they_came)])
    @example([Says(0, [m("a", BOB), m("b", ANN), m("c", NOBODY), m("d", CAT)])])
    @example([Says(0, [m(id_, BOB) for id_ in "aaaaaa"]), Acknowledges(2, 4, doubled), Acknowledges(3, 4, backwards)])
    @example([Says(0, [m(id_, BOB) for id_ in "abcd"]), *LEFT_OUT, Acknowledges(2, 2, as_they_came)])
    @example([Says(2, [*([BAD] * (BAD_FRAMES - 1)), good, BAD, good]) for good in (a("x"), m("a", BOB), m("a", CAT))])
    def test_same(self, steps: list[Step]) -> None:
        """Whatever is said, all get the same bytes after every step, and all is left the same."""
        plain, other = Run(str), Run(full)
        for step in steps:
            for run in (plain, other):
                step.take(run)
                run.look()
            self.assertEqual(plain.streams, other.streams)
            self.assertEqual(plain.state, other.state)
        for run in (plain, other):
            run.settle()
        self.assertEqual(plain.streams, other.streams)
        self.assert_same_end(plain, other)

    @checked(60)
    @given(HELD_STEPS)
    def test_while_the_database_is_slow(self, steps: list[Step]) -> None:
        """Where the database takes its time, all come to the same in the end."""
        plain, other = Run(str), Run(full)
        for run in (plain, other):
            for step in steps:
                step.take(run)
            run.settle()
        self.assertEqual(plain.by_table, other.by_table)
        self.assert_same_end(plain, other)

    @checked(60)
    @given(st.lists(st.lists(SAYS | SENDS, min_size=1, max_size=4), min_size=1, max_size=5))
    def test_in_rounds(self, rounds: list[list[Says]]) -> None:
        """Where several events are served in a round, all come to the same too."""
        plain, other = Run(str), Run(full)
        for steps in rounds:
            plain.door.node.begin_round()
            for step in steps:
                step.take(plain)
                step.take(other)
            plain.door.node.end_round()
        for run in (plain, other):
            run.settle()
        self.assertEqual(plain.by_table, other.by_table)
        self.assert_same_end(plain, other)
