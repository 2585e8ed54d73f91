"""The parts of an embedded node, put together: each gets the few others that it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from simple_im import rounds
from simple_im.cluster.directory import Door, LocalDirectory
from simple_im.cluster.probe import TlsProbe
from simple_im.config import Config
from simple_im.im.conversation import Node
from simple_im.im.gate import Gate
from simple_im.im.outbox import Turn
from simple_im.im.protocol import ImFactory
from simple_im.im.router import Router
from simple_im.im.sessions import Sessions
from simple_im.passwords import Passwords
from simple_im.rounds import Rounds
from simple_im.state import DATABASE, FILES
from simple_im.status import BYE_SHUTDOWN, StorageUnavailable
from simple_im.store.accounts import Accounts
from simple_im.store.contacts import Contacts
from simple_im.store.database import Database
from simple_im.store.files import Files
from simple_im.store.groups import Groups
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.outgoing import Outgoing
from simple_im.store.sequence import Sequence
from simple_im.store.tokens import Tokens
from simple_im.upkeep import Upkeep
from simple_im.web.contact import ContactPages
from simple_im.web.download import Downloads
from simple_im.web.group import GroupPages
from simple_im.web.media import MediaPages
from simple_im.web.offline import Offline
from simple_im.web.root import make_root
from simple_im.web.server import Login, Servers
from simple_im.web.site import QuietSite
from simple_im.web.upload import Uploads
from simple_im.web.user import Users

HEARTBEAT: Final = 5
"""Seconds between a node's announcements that it is there."""
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a probe finds a door that listens on every address."""

log = Logger()


def database_path(config: Config) -> Path:
    """Where the database is."""
    return config.state / DATABASE


def files_path(config: Config) -> Path:
    """Where the media are."""
    return config.state / FILES


class Store:
    """What is kept, and who asks it; `epoch` is that of this run's entries."""

    def __init__(self, config: Config, reactor: Any, epoch: int, sessions: Sessions) -> None:
        self.database = Database(database_path(config))
        self.inbox = SQLiteInbox(self.database, Sequence(self.database, epoch), reactor, sessions)
        self.outgoing = Outgoing(self.database, self.inbox, reactor)
        self.accounts = Accounts(self.database)
        self.tokens = Tokens(self.database, reactor.seconds)
        self.contacts = Contacts(self.database)
        self.groups = Groups(self.database, config.group_members)
        self.files = Files(self.database, files_path(config))


class Parts:
    """Everything behind the two doors: `im` and `site` are their factories. `im_port` is where the IM door listens."""

    def __init__(self, config: Config, reactor: Any, epoch: int, im_port: int) -> None:
        turn = Turn()
        self._sessions = Sessions(turn)
        self._store = store = Store(config, reactor, epoch, self._sessions)
        self._passwords = Passwords(reactor)
        door = Door(_EVERYWHERE.get(config.interface, config.interface), im_port)
        self._directory = LocalDirectory(door, config.advertise, TlsProbe(reactor))
        gate, router = Gate(store.tokens, store.inbox), Router(store.accounts, store.groups, store.inbox)
        node = Node(gate, router, store.inbox, self._sessions, turn, reactor, config.idle_timeout)
        self.im = ImFactory(node)
        self._rounds = Rounds(reactor, node) if rounds.IS_HERE else None
        self._reactor = reactor
        self.site = self._make_site(config, reactor)
        self._upkeep = Upkeep(store.database, store.tokens, store.files, self._sessions, config.retention, reactor)
        self._heartbeat = LoopingCall(self._directory.announce)
        self._heartbeat.clock = reactor

    def _make_site(self, config: Config, reactor: Any) -> QuietSite:
        store, sessions, now = self._store, self._sessions, reactor.seconds
        accounts, tokens, passwords = store.accounts, store.tokens, self._passwords
        root = make_root(
            Users(accounts, passwords, tokens, sessions, now),
            Login(accounts, passwords, tokens, store.inbox, sessions, self._directory),
            Servers(tokens, sessions, self._directory),
            Offline(tokens, store.inbox, sessions),
            ContactPages(store.contacts, store.outgoing, tokens, now),
            GroupPages(store.groups, store.outgoing, tokens, now),
            MediaPages(store.files, store.inbox, accounts, store.groups, tokens, now),
            Downloads(store.files, tokens),
        )
        return QuietSite(root, reactor, Uploads(store.files, tokens, config.media_sizes))

    def start(self) -> None:
        """Start the threads and the timers, and send what an earlier run could not."""
        self._store.database.start()
        self._passwords.start()
        self._upkeep.start()
        self._heartbeat.start(HEARTBEAT)
        Deferred.fromCoroutine(self._store.outgoing.recover()).addErrback(_not_recovered)

    def start_rounds(self) -> object:
        """What the transports of the IM door's connections take for their reactor."""
        if self._rounds is None:
            return self._reactor
        self._rounds.start()
        return self._rounds

    async def stop(self) -> None:
        """Commit, say `bye`, close; the doors take nothing new by now."""
        self._heartbeat.stop()
        await self._upkeep.stop()
        await self._commit()
        await self.im.close_all(BYE_SHUTDOWN)
        if self._rounds is not None:
            self._rounds.stop()
        await self._commit()
        self._passwords.stop()
        self._store.database.stop()

    async def _commit(self) -> None:
        try:
            await self._store.inbox.flush()
        except StorageUnavailable:
            log.error("the last commit failed: what it held was not acknowledged")


def _not_recovered(failure: Failure) -> None:
    """They are tried again, or by the next run."""
    log.failure("notices that an earlier run has left could not be sent", failure)
