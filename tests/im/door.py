"""The IM door of a node in memory, and clients of it: what most tests here talk to."""

from __future__ import annotations

import tomllib
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from simple_im.im.conversation import Node
from simple_im.im.gate import Gate
from simple_im.im.outbox import Turn
from simple_im.im.protocol import ImFactory
from simple_im.im.router import Router
from simple_im.im.sessions import Sessions
from simple_im.store.accounts import Accounts
from simple_im.store.database import Database
from simple_im.store.entries import Draft
from simple_im.store.groups import Groups
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.sequence import Sequence
from simple_im.store.tokens import Tokens
from tests.fakes import MemoryDatabase, TlsTransport, result_of

Entry = tuple[str, dict[str, Any]]

ANN, BOB, CAT = 1, 2, 3
NOBODY = 99


def acknowledged(id_: str) -> Entry:
    """`[[a]]`."""
    return ("a", {"id": id_})


def done(id_: str, **more: int) -> Entry:
    """`[[rr]]` of success."""
    return ("rr", {"id": id_, "s": 0, **more})


def refused(id_: str | None, reason: str) -> Entry:
    """`[[rr]]` with a reason."""
    return ("rr", {**({} if id_ is None else {"id": id_}), "s": 1, "r": reason})


def bye(reason: str) -> Entry:
    """`[[bye]]`."""
    return ("bye", {"r": reason})


def m(id_: str, to: int, c: str = "hello", more: str = "") -> str:
    """A message, with lines of `more`."""
    return f'[[m]]\nid = "{id_}"\nt = "text"\nc = "{c}"\nto = {to}\n{more}\n'


def a(id_: str) -> str:
    """An acknowledgement by id."""
    return f'[[a]]\nid = "{id_}"\n\n'


def a_seq(seq: int) -> str:
    """An acknowledgement of everything up to `seq`."""
    return f"[[a]]\nseq = {seq}\n\n"


def r(id_: str, t: str) -> str:
    """A request other than login."""
    return f'[[r]]\nid = "{id_}"\nt = "{t}"\n\n'


def login(id_: str, user: int, device: str, token: str) -> str:
    """A login."""
    return f'[[r]]\nid = "{id_}"\nt = "login"\n[r.user]\nid = {user}\nd = "{device}"\ntoken = "{token}"\n\n'


BAD = "what is this\n\n"


def parse(data: bytes) -> list[Entry]:
    """The entries of whole frames as the server writes them: one an entry, each ended by a blank line."""
    assert data.endswith(b"\n\n") or not data, data
    entries = []
    for frame in data.decode().split("\n\n")[:-1]:
        for table, tables in tomllib.loads(frame).items():
            entries += [(table, keys) for keys in tables]
    return entries


class Client:
    """One connection to the door."""

    def __init__(self, factory: ImFactory, transport: TlsTransport | None = None) -> None:
        self.protocol = factory.buildProtocol(None)
        self.transport = transport or TlsTransport()
        self.protocol.makeConnection(self.transport)
        self._looked_at = 0

    def send(self, *frames: str | bytes) -> None:
        """Send frames in one TLS record."""
        self.protocol.dataReceived(b"".join(f.encode() if isinstance(f, str) else f for f in frames))

    def raw(self) -> list[bytes]:
        """What was written since anybody looked, one item a write."""
        before, self._looked_at = self._looked_at, len(self.transport.writes)
        return self.transport.writes[before:]

    def got(self) -> list[Entry]:
        """The entries that came since anybody looked."""
        return parse(b"".join(self.raw()))

    def ids(self) -> list[str]:
        """The ids of the messages that came since anybody looked."""
        return [keys["id"] for table, keys in self.got() if table == "m"]

    def seqs(self) -> list[int]:
        """The seqs of the messages that came since anybody looked."""
        return [keys["seq"] for table, keys in self.got() if table == "m"]

    def lose(self) -> None:
        """The connection is gone."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed the connection, or is about to."""
        return self.transport.lost > 0


def make_node(database: Database, epoch: int, clock: Clock) -> tuple[Node, Accounts, Tokens, SQLiteInbox]:
    """A node's IM side as the service builds it."""
    turn = Turn()
    sessions = Sessions(turn)
    inbox = SQLiteInbox(database, Sequence(database, epoch), clock, sessions)
    accounts, tokens = Accounts(database), Tokens(database, clock.seconds)
    node = Node(Gate(tokens, inbox), Router(accounts, Groups(database, 500), inbox), inbox, sessions, turn, clock)
    return node, accounts, tokens, inbox


class Unheard:
    """A receipt that nobody reads."""

    gone = False

    def stored(self, ids: list[bytes]) -> None: ...

    def refused(self, ids: list[bytes], reason: str) -> None: ...


class Door:
    """A node with the users `ANN`, `BOB` and `CAT`, on a `MemoryDatabase` and a `Clock`."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.database = MemoryDatabase()
        self.node, self.accounts, self.tokens, self.inbox = make_node(self.database, 1, self.clock)
        self.sessions = self.node.sessions
        self.factory = ImFactory(self.node)
        for user in ("ann", "bob", "cat"):
            result_of(self.accounts.create(user, f"00{len(user)}{user}", "", 0))

    def token(self, user: int, device: str) -> str:
        """Log in over HTTPS: the device is known from now on."""
        result_of(self.inbox.add_device(user, device))
        self.sessions.add_name(user, device)
        return result_of(self.tokens.issue(user, device))

    def connect(self, transport: TlsTransport | None = None) -> Client:
        """A connection that has said nothing yet."""
        return Client(self.factory, transport)

    def log_in(self, user: int, device: str = "phone") -> Client:
        """A connection that has sent its login."""
        client = self.connect()
        client.send(login("login", user, device, self.token(user, device)))
        return client

    def online(self, user: int, device: str = "phone") -> Client:
        """A connection that is logged in and has read what came with it."""
        client = self.log_in(user, device)
        client.got()
        return client

    def message(self, user: int, id_: str, size: int = 100) -> None:
        """A message from somewhere else to one user's inbox, its frame about as large as said."""
        c = b"x" * size
        head = b'[[m]]\nid = "%b"\nt = "text"\nc = "%b"\nto = %d\nd = "web"\n' % (id_.encode(), c, user)
        self.inbox.append(Draft(CAT, "web", id_.encode(), (user,), head), Unheard())
        self.sessions.flush()
        self.inbox.commit()

    def messages(self, user: int, first: int, last: int, size: int = 100) -> list[str]:
        """The same from number `first` to `last`; their ids."""
        ids = [str(number) for number in range(first, last + 1)]
        for id_ in ids:
            self.message(user, id_, size)
        return ids

    def commit(self) -> None:
        """Have on disk what was appended and acknowledged."""
        result_of(self.inbox.flush())

    def get_offline(self, user: int, device: str, limit: int = 1000) -> list[str]:
        """`GET /offline`, read to its end: the ids that it shows."""
        opened = result_of(self.inbox.open_device(user, device))
        assert opened is not None
        self.commit()
        page = result_of(self.inbox.read(opened.state, opened.state.cursor, limit, 1 << 20))
        if page.entries:
            opened.state.show(page.entries[-1].seq)
            self.inbox.touch(opened.state)
        return [entry.id.decode() for entry in page.entries]

    def delete_offline(self, user: int, device: str) -> None:
        """`DELETE /offline`."""
        opened = result_of(self.inbox.open_device(user, device))
        assert opened is not None
        result_of(self.inbox.forget_shown(opened.state))
        connection = self.sessions.find(user, device)
        if connection is not None:
            connection.device.cursor_moved()

    def waiting_for(self, user: int, device: str) -> list[str]:
        """The ids that the device would be sent at a login now, by a connection that takes its place."""
        client = self.log_in(user, device)
        ids = client.ids()
        client.lose()
        return ids


class DoorTestCase(SynchronousTestCase):
    """A test with a node of its own."""

    def setUp(self) -> None:
        self.door = Door()
        self.database = self.door.database
        self.clock = self.door.clock
