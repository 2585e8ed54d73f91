"""Runs `tests/scenarios/*.txt`: whole conversations with a node, each a test named for its file.

A scenario is a list of steps. A step is a line like `bob phone sends`, where `bob` is one of ann, bob and cat (the
users 1, 2 and 3) and `phone` a device of his, with an indented block of frames behind it where it takes one:

    has a token             logs in over HTTPS; TOKEN stands for the token in what the device sends from then on
    connects                opens a connection
    sends                   the frames of the block, with their blank lines, in one TLS record
    sends the records       each line of the block as a TLS record of its own, without a line end
    gets                    exactly these entries come next; `*` stands for any value
    gets nothing            nothing has come that was not named before
    gets on its old connection  the same for the connection that it had before it connected again
    is closed               the server has closed the connection
    goes away               the connection is lost
    logs in                 all that it takes, answer included
    asks GET /offline       over HTTPS; the answer, read to its end, has exactly these entries
    asks DELETE /offline    over HTTPS
    the server starts again     is stopped and started
    the server crashes          is started again, and what was only in its memory is gone

At the end nothing may have come that no step named. A line that begins with `#` is for people.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from simple_im.im.protocol import ImFactory
from simple_im.store.database import Cursor, Database, Interaction, prepare
from simple_im.store.inbox_sql import begin_run
from tests.im.door import Client, Entry, login, make_node, parse

SCENARIOS = Path(__file__).parent.parent / "scenarios"
USERS = {"ann": 1, "bob": 2, "cat": 3}


class Step(NamedTuple):
    """One step: `who` is like `bob phone`, or `the server`."""

    line: int
    who: str
    what: str
    block: str


def steps(text: str) -> list[Step]:
    """The steps of a scenario."""
    found: list[Step] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("    "):
            if found:
                found[-1] = found[-1]._replace(block=found[-1].block + line + "\n")
        elif not line.startswith("#"):
            words = line.split(" ", 2)
            found.append(Step(number, " ".join(words[:2]), words[2], ""))
    return [step._replace(block=textwrap.dedent(step.block).strip()) for step in found]


def expected(block: str) -> list[Entry]:
    """The entries of a block of frames."""
    return parse(re.sub(r"= \*", '= "*"', block).encode() + b"\n\n") if block else []


def fits(wanted: Entry, entry: Entry) -> bool:
    """Whether an entry is the one that a scenario names."""
    keys = {name: "*" if wanted[1].get(name) == "*" else value for name, value in entry[1].items()}
    return (wanted[0], wanted[1]) == (entry[0], keys)


def before(who: str) -> str:
    """The connection that a device had before."""
    return f"{who} before"


class SettlingDatabase(Database):
    """The real one, which also knows when it has nothing more to do."""

    open = 0

    async def read(self, interaction: Interaction[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._counted(super().read(interaction, *args, **kwargs))

    async def write(self, interaction: Interaction[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._counted(super().write(interaction, *args, **kwargs))

    async def _counted(self, asked: Awaitable[Any]) -> Any:
        self.open += 1
        try:
            return await asked
        finally:
            self.open -= 1

    async def settled(self) -> None:
        """Return when nothing is asked any more. It answers in order, so one more question comes behind all."""
        while self.open:
            await super().read(_nothing)


def _nothing(cursor: Cursor) -> None:
    """Ask nothing."""


class Server:
    """A node on a database file, and its clients."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clock = Clock()
        self._tokens: dict[str, str] = {}
        self.clients: dict[str, Client] = {}

    def start(self) -> None:
        """Begin, with what the file holds."""
        epoch = prepare(self._path, begin_run)
        self.database = SettlingDatabase(self._path)
        self.database.start()
        self._node, self._accounts, self._token_store, self._inbox = make_node(self.database, epoch, self._clock)
        self._factory = ImFactory(self._node)

    async def make_users(self) -> None:
        """The users that scenarios name."""
        for number, name in enumerate(USERS, 1):
            await self._accounts.create(name, f"0000{number}", "", 0)

    async def stop(self) -> None:
        """End as the service does, but for the `bye`."""
        await self._inbox.flush()
        await self.crash()

    async def crash(self) -> None:
        """End."""
        for client in self.clients.values():
            client.lose()
        self.clients.clear()
        await self.database.settled()
        self.database.stop()

    async def starts_again(self, step: Step) -> None:
        await self.stop()
        self.start()

    async def crashes(self, step: Step) -> None:
        await self.crash()
        self.start()

    async def has_a_token(self, step: Step) -> None:
        user, device = self._device(step.who)
        await self._inbox.add_device(user, device)
        self._node.sessions.add_name(user, device)
        self._tokens[step.who] = await self._token_store.issue(user, device)

    async def connects(self, step: Step) -> None:
        if step.who in self.clients:
            self.clients[before(step.who)] = self.clients[step.who]
        self.clients[step.who] = Client(self._factory)

    async def sends(self, step: Step) -> None:
        self._send(step.who, step.block + "\n\n")

    async def sends_the_records(self, step: Step) -> None:
        for record in step.block.splitlines():
            self._send(step.who, record)

    def _send(self, who: str, text: str) -> None:
        self.clients[who].send(text.replace("TOKEN", self._tokens.get(who, "")))

    async def goes_away(self, step: Step) -> None:
        self.clients.pop(step.who).lose()

    async def logs_in(self, step: Step) -> None:
        if step.who not in self._tokens:
            await self.has_a_token(step)
        await self.connects(step)
        self._send(step.who, login("login", *self._device(step.who), "TOKEN"))

    async def get_offline(self, who: str) -> list[Entry]:
        """What `GET /offline` shows."""
        opened = await self._inbox.open_device(*self._device(who))
        assert opened is not None
        await self._inbox.flush()
        page = await self._inbox.read(opened.state, opened.state.cursor, 1000, 1 << 20)
        if page.entries:
            opened.state.show(page.entries[-1].seq)
            self._inbox.touch(opened.state)
        await self._inbox.flush()
        return parse(b"".join(entry.wire for entry in page.entries))

    async def asks_delete_offline(self, step: Step) -> None:
        opened = await self._inbox.open_device(*self._device(step.who))
        assert opened is not None
        await self._inbox.forget_shown(opened.state)
        connection = self._node.sessions.find(*self._device(step.who))
        if connection is not None:
            connection.device.cursor_moved()

    def _device(self, who: str) -> tuple[int, str]:
        name, device = who.split()
        return USERS[name], device


class ScenarioTests(TestCase):
    """One test a file; `_add_tests` makes them."""

    async def setUp(self) -> None:  # type: ignore[override]
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory / "simple_im.db")
        self.server.start()
        self.unread: dict[str, list[Entry]] = {}
        await self.server.make_users()

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.server.stop()

    async def play(self, path: Path) -> None:
        """Take every step of a file, then check that nothing is left."""
        played = steps(path.read_text())
        self.assertTrue(played, "there is no step in it")
        for step in played:
            await self.take(step, f"{path.name}:{step.line}: {step.who} {step.what}")
        for who, entries in self.unread.items():
            self.assertEqual(entries, [], f"{path.name}: at the end {who} had got this too")

    async def take(self, step: Step, where: str) -> None:
        check = self.checks().get(step.what)
        if check is not None:
            await check(step, where)
            return
        await getattr(self.server, step.what.lower().replace("/", "").replace(" ", "_"))(step)
        await self.server.database.settled()
        self.collect()
        if step.what == "logs in":
            self.next_are(step.who, [("rr", {"id": "login", "s": 0})], where)

    async def gets_on_its_old_connection(self, step: Step, where: str) -> None:
        self.next_are(before(step.who), expected(step.block), where)

    def checks(self) -> dict[str, Callable[[Step, str], Awaitable[None]]]:
        return {
            "gets": self.gets,
            "gets nothing": self.gets_nothing,
            "gets on its old connection": self.gets_on_its_old_connection,
            "is closed": self.is_closed,
            "asks GET /offline": self.is_shown,
        }

    def collect(self) -> None:
        for who, client in self.server.clients.items():
            self.unread.setdefault(who, []).extend(client.got())

    async def gets(self, step: Step, where: str) -> None:
        self.next_are(step.who, expected(step.block), where)

    def next_are(self, who: str, wanted: list[Entry], where: str) -> None:
        unread = self.unread.get(who, [])
        came, self.unread[who] = unread[: len(wanted)], unread[len(wanted) :]
        self.compare(wanted, came, where)

    def compare(self, wanted: list[Entry], came: list[Entry], where: str) -> None:
        if len(wanted) != len(came) or not all(map(fits, wanted, came)):
            self.fail(f"{where}\nwanted: {wanted}\ncame:   {came}")

    async def gets_nothing(self, step: Step, where: str) -> None:
        self.assertEqual(self.unread.get(step.who, []), [], where)

    async def is_closed(self, step: Step, where: str) -> None:
        self.assertTrue(self.server.clients[step.who].is_closed, where)

    async def is_shown(self, step: Step, where: str) -> None:
        self.compare(expected(step.block), await self.server.get_offline(step.who), where)


def _add_tests() -> None:
    for path in sorted(SCENARIOS.glob("*.txt")):
        setattr(ScenarioTests, f"test_{path.stem}", _test(path))


def _test(path: Path) -> Callable[[ScenarioTests], Awaitable[None]]:
    async def test(self: ScenarioTests) -> None:
        await self.play(path)

    test.__doc__ = path.read_text().splitlines()[0].lstrip("# ")
    return test


_add_tests()


class FormatTests(TestCase):
    """The format says what it seems to say."""

    def test_steps(self) -> None:
        """A step is a line with its block, blank lines inside it and all; comments are none."""
        text = "# Shows.\n\nann phone sends\n    [[r]]\n    id = 1\n\n    [[r]]\n\nbob pad gets nothing\n"
        self.assertEqual(
            steps(text),
            [Step(3, "ann phone", "sends", "[[r]]\nid = 1\n\n[[r]]"), Step(9, "bob pad", "gets nothing", "")],
        )

    def test_any_value(self) -> None:
        """`*` stands for any value of a key that has to be there; all else has to be equal."""
        (wanted,) = expected('[[m]]\nid = "1"\nseq = *')
        self.assertTrue(fits(wanted, ("m", {"id": "1", "seq": 5})))
        for keys in ({"id": "2", "seq": 5}, {"id": "1"}, {"id": "1", "seq": 5, "d": "x"}):
            self.assertFalse(fits(wanted, ("m", keys)))
        self.assertFalse(fits(wanted, ("n", {"id": "1", "seq": 5})))

    def test_all_files_are_played(self) -> None:
        """Each file has its test, and begins with what it shows."""
        names = {path.stem for path in SCENARIOS.glob("*.txt")}
        self.assertGreaterEqual(len(names), 10)
        self.assertEqual(names, {name[5:] for name in dir(ScenarioTests) if name.startswith("test_")})
        for path in SCENARIOS.glob("*.txt"):
            self.assertTrue(path.read_text().startswith("# "), path.name)
