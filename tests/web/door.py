"""The HTTPS door in memory: the real resources and the real stores, with a clock and no threads."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from simple_im.cluster.directory import Door, LocalDirectory, Probe
from simple_im.im.conversation import Node
from simple_im.im.gate import Gate
from simple_im.im.outbox import Turn
from simple_im.im.protocol import ImFactory
from simple_im.im.router import Router
from simple_im.im.sessions import Sessions
from simple_im.limits import FRAME_SIZE
from simple_im.status import TooManyRequests
from simple_im.store.accounts import Accounts
from simple_im.store.contacts import Contacts
from simple_im.store.database import Cursor
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Draft
from simple_im.store.groups import Groups
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.outgoing import Outgoing
from simple_im.store.sequence import Sequence
from simple_im.store.tokens import Tokens
from simple_im.web.contact import ContactPages
from simple_im.web.group import GroupPages
from simple_im.web.offline import Offline
from simple_im.web.root import make_root
from simple_im.web.server import Login, Servers
from simple_im.web.site import QuietSite
from simple_im.web.user import Users
from simple_im.wire.frames import Message, read
from tests.fakes import MemoryDatabase, result_of
from tests.im.door import Client, login

NOW = 1_700_000_000
IM_PORT = 1987
HERE = Door("127.0.0.1", IM_PORT)
OURS = IPv4Address("TCP", "192.168.3.5", 8080)
FORM = "application/x-www-form-urlencoded"
MEMBERS = 4
"""What a group may have."""


class FakePasswords:
    """Passwords without the work: a hash is the password turned around. It counts the checks."""

    def __init__(self) -> None:
        self.checked: list[tuple[str, bool]] = []
        self.busy = False

    async def hash(self, password: str) -> str:
        """A hash."""
        self._refuse_if_busy()
        return password[::-1]

    async def verify(self, password: str, hash_: str | None) -> bool:
        """Whether it fits; how long the password was and whether there was a hash is noted."""
        self._refuse_if_busy()
        self.checked.append((password, hash_ is not None))
        return hash_ is not None and password[::-1] == hash_

    def _refuse_if_busy(self) -> None:
        if self.busy:
            raise TooManyRequests(7)


class FakeProbe:
    """Says that a door answers, or not, and notes which it was asked about."""

    def __init__(self) -> None:
        self.answers = True
        self.asked: list[Door] = []

    async def __call__(self, door: Door) -> bool:
        """Whether the door answers."""
        self.asked.append(door)
        return self.answers


class FakeDevice:
    """The part of a connected device that the HTTPS door sees."""

    def __init__(self, state: DeviceState) -> None:
        self.state = state
        self.moves: list[int] = []

    def cursor_moved(self) -> None:
        """Note where to."""
        self.moves.append(self.state.cursor)


class FakeConnection:
    """A signed-in connection to the IM door."""

    def __init__(self, state: DeviceState, token_hash: bytes) -> None:
        self.device: Any = FakeDevice(state)
        self.token_hash = token_hash
        self.byes: list[str] = []
        self.names: set[str] = set()

    def bye(self, reason: str) -> None:
        """Note it."""
        self.byes.append(reason)


class Receipts:
    """Where the outcomes of appends go."""

    gone = False

    def __init__(self) -> None:
        self.ids: list[bytes] = []

    def stored(self, ids: list[bytes]) -> None:
        """They are on disk."""
        self.ids += ids

    def refused(self, ids: list[bytes], reason: str) -> None:
        """They are not."""
        raise AssertionError(f"{ids} were refused: {reason}")


@dataclass
class Answer:
    """What a request was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as TOML."""
        return tomllib.loads(self.body.decode())

    @property
    def response(self) -> dict[str, Any]:
        """`[[response]]`."""
        (row,) = self.document["response"]
        found: dict[str, Any] = row
        return found

    def ids(self, table: str = "m") -> list[str]:
        """The ids of the entries of a table."""
        return [entry["id"] for entry in self.document.get(table, [])]


class Connection:
    """One client's connection, kept alive."""

    def __init__(self, site: QuietSite) -> None:
        self.transport = StringTransport(hostAddress=OURS)
        self.channel: Any = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.channel.dataReceived(data)

    def answers(self, *, bodies: bool = True) -> list[Answer]:
        """The answers so far; without `bodies` they are to HEAD requests."""
        data, found = self.transport.value(), []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            status, *lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = int(headers.get("Content-Length", 0)) if bodies else 0
            found.append(Answer(int(status.split()[1]), headers, data[:size]))
            data = data[size:]
        return found

    def lose(self) -> None:
        """The connection is gone."""
        self.channel.connectionLost(Failure(ConnectionDone()))

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed it."""
        return self.transport.disconnecting


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request as it is on the wire."""
    lines = {"Host": "localhost", **headers}
    if body:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


@dataclass
class Person:
    """A user, signed in on one device."""

    door: HttpsDoor
    id: int
    name: str
    phone: str
    device: str
    token: str

    def on(self, device: str) -> Person:
        """The same user on another device."""
        return replace(self, device=device, token=self.door.sign_in(self.phone, device))

    def connect(self) -> Client:
        """The device on the IM door, with what came with the login read."""
        client = self.door.online(self.id, self.device, self.token)
        client.got()
        return client

    def get(self, path: str) -> Answer:
        """`GET path`."""
        return self.request("GET", path)

    def post(self, path: str, form: Mapping[str, object] | bytes | None = None) -> Answer:
        """`POST path` with a form."""
        return self.request("POST", path, form)

    def put(self, path: str, form: Mapping[str, object] | bytes | None = None) -> Answer:
        """`PUT path` with a form."""
        return self.request("PUT", path, form)

    def delete(self, path: str) -> Answer:
        """`DELETE path`."""
        return self.request("DELETE", path)

    def request(self, method: str, path: str, form: Mapping[str, object] | bytes | None = None) -> Answer:
        """Any request."""
        return self.door.request(method, path, form, self.token)

    def waiting(self, table: str) -> list[dict[str, Any]]:
        """What `GET /offline` shows of a table."""
        found: list[dict[str, Any]] = self.get("/offline").document.get(table, [])
        return found


class HttpsDoor:
    """The door, all that is behind it, and requests to it."""

    def __init__(self, door: Door = HERE, probe: Probe | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.database = MemoryDatabase()
        self.passwords: Any = FakePasswords()
        self.probe = FakeProbe()
        self.directory = LocalDirectory(door, None, probe or self.probe)
        turn = Turn()
        self.sessions = Sessions(turn)
        self.inbox = SQLiteInbox(self.database, Sequence(self.database, 1), self.clock, self.sessions)
        self.tokens = Tokens(self.database, self.clock.seconds)
        self.groups = Groups(self.database, MEMBERS)
        self.outgoing = Outgoing(self.database, self.inbox, self.clock)
        self.receipts = Receipts()
        accounts = Accounts(self.database)
        self.site = QuietSite(self._root(accounts), self.clock)
        router = Router(accounts, self.groups, self.inbox)
        self.im = ImFactory(
            Node(Gate(self.tokens, self.inbox), router, self.inbox, self.sessions, turn, self.clock)
        )

    def _root(self, accounts: Accounts) -> Resource:
        login = Login(accounts, self.passwords, self.tokens, self.inbox, self.sessions, self.directory)
        servers = Servers(self.tokens, self.sessions, self.directory)
        offline = Offline(self.tokens, self.inbox, self.sessions)
        users = Users(accounts, self.passwords, self.tokens, self.sessions, self.clock.seconds)
        contacts = ContactPages(Contacts(self.database), self.outgoing, self.tokens, self.clock.seconds)
        groups = GroupPages(self.groups, self.outgoing, self.tokens, self.clock.seconds)
        return make_root(users, login, servers, offline, contacts, groups)

    # Requests.

    def connect(self) -> Connection:
        """A connection to the door."""
        return Connection(self.site)

    def request(
        self,
        method: str,
        path: str,
        form: Mapping[str, object] | bytes | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The one answer to a request on a connection of its own."""
        connection = self.connect()
        body = form if isinstance(form, bytes) else urlencode(form or {}).encode()
        given = {"Cookie": f"token={token}"} if token else {}
        given |= {"Content-Type": FORM} if body else {}
        connection.send(request_bytes(method, path, {**given, **(headers or {})}, body))
        (answer,) = connection.answers(bodies=method != "HEAD")
        return answer

    def get(self, path: str, token: str | None = None, **headers: str) -> Answer:
        """`GET path`; `_` in the names of headers stands for `-`."""
        return self.request("GET", path, token=token, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path: str, form: Mapping[str, object] | bytes | None = None, token: str | None = None) -> Answer:
        """`POST path` with a form."""
        return self.request("POST", path, form, token)

    # People and messages.

    def people(self, *names: str) -> list[Person]:
        """New users, each signed in on the device `phone`."""
        return [self._person(name) for name in names]

    def _person(self, name: str) -> Person:
        (count,) = self.rows("SELECT count(*) FROM user")[0]
        phone = str(10_000 + count)
        user = self.post("/user", {"name": name, "phone": phone, "password": "888888"}).response["user"]["id"]
        return Person(self, user, name, phone, "phone", self.sign_in(phone, "phone"))

    def rows(self, sql: str) -> list[Any]:
        """What is in the database."""

        def ask(cursor: Cursor) -> list[Any]:
            return cursor.execute(sql).all()

        return result_of(self.database.read(ask))

    def create(self, phone: str = "8618266175357", password: str = "888888") -> int:
        """A new account's id."""
        user: int = self.post("/user", {"name": "Ann", "phone": phone, "password": password}).response["user"]["id"]
        return user

    def login(self, phone: str = "8618266175357", device: str = "android", password: str = "888888") -> Answer:
        """`POST /server/login`."""
        return self.post("/server/login", {"phone": phone, "password": password, "device": device})

    def sign_in(self, phone: str = "8618266175357", device: str = "android") -> str:
        """A login's token."""
        token: str = self.login(phone, device).response["user"]["token"]
        return token

    def connected(self, user: int, device: str, token: str) -> FakeConnection:
        """A connection that has signed in on the IM door with this token."""
        session = result_of(self.tokens.claim(token, user, device))
        opened = result_of(self.inbox.open_device(user, device))
        assert opened is not None
        connection = FakeConnection(opened.state, session.token_hash)
        connection.names = self.sessions.add(connection, opened.names).names
        return connection

    def online(self, user: int, device: str, token: str) -> Client:
        """A client of the IM door, signed in with this token."""
        client = Client(self.im)
        client.send(login("login", user, device, token))
        return client

    def deliver(self, to: int, frame: str, sender: int = 99, device: str = "pc") -> None:
        """Have another user's frame stored in an inbox, as the IM door does."""
        (message,) = read(frame.encode(), device.encode())
        assert isinstance(message, Message) and len(frame) < FRAME_SIZE
        draft = Draft(sender, device, message.id, (to,), message.head, message.tail)
        self.inbox.append(draft, self.receipts)
        self.inbox.commit()

    def deliver_text(self, to: int, *ids: str, size: int = 5) -> None:
        """Have messages with these ids stored."""
        for id_ in ids:
            self.deliver(to, f'[[m]]\nid = "{id_}"\nt = "text"\nc = "{"x" * size}"\nto = {to}\n')
