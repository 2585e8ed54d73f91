"""`twistd simple_im`: builds a node from its configuration and hands it out as a service."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from datetime import UTC, datetime
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import Site

from simple_im import tls
from simple_im.cluster.directory import Door, LocalDirectory
from simple_im.cluster.probe import TlsProbe
from simple_im.config import Config, Options, StartError, config_from
from simple_im.im.conversation import Node
from simple_im.im.gate import Gate
from simple_im.im.outbox import Turn
from simple_im.im.protocol import ImFactory
from simple_im.im.router import Router
from simple_im.im.sessions import Sessions
from simple_im.listen import adopt, bind, describe
from simple_im.passwords import Passwords
from simple_im.state import StateDirectory
from simple_im.status import BYE_SHUTDOWN, StorageUnavailable
from simple_im.store.accounts import Accounts
from simple_im.store.database import Database, prepare
from simple_im.store.inbox import SQLiteInbox
from simple_im.store.sequence import Sequence, raise_epoch
from simple_im.store.tokens import Tokens
from simple_im.upkeep import Upkeep
from simple_im.web.offline import Offline
from simple_im.web.root import make_root
from simple_im.web.server import Login, Servers
from simple_im.web.site import QuietSite
from simple_im.web.user import Users

HEARTBEAT: Final = 5
"""Seconds between a node's announcements that it is there."""
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a probe finds a door that listens on every address."""

log = Logger()


def makeService(options: Options) -> EmbeddedNode:
    """The service of a node. All that can be wrong with its start is found here, and ends it with one sentence."""
    try:
        return EmbeddedNode(config_from(options))
    except StartError as error:
        raise SystemExit(f"simple_im: {error}") from None


class EmbeddedNode(Service):
    """Both doors in one process, on SQLite.

    The constructor takes what only one process can have (the state directory, the ports) and leaves the database
    ready; threads and timers begin with `startService`, after twistd has become a daemon where it does.
    """

    def __init__(self, config: Config) -> None:
        os.umask(0o077)
        self._config = config
        self._state = StateDirectory(config.state)
        self._ssl = config.state / "ssl"
        tls.ensure_certificates(self._ssl, config.advertise, datetime.now(UTC))
        self._connections = tls.server_context_factory(self._ssl)
        self._sockets = {
            "http": bind(config.interface, config.http_port, "http"),
            "im": bind(config.interface, config.im_port, "im"),
        }
        self._path = config.state / "simple_im.db"
        self._epoch = prepare(self._path, raise_epoch)

    def startService(self) -> None:
        """Open the doors."""
        from twisted.internet import reactor

        Service.startService(self)
        self._state.write_pid()
        self._build(reactor)
        self._open("HTTPS", "http", self._site)
        self._open("IM", "im", self._im)
        self._reactor.callLater(0, _exit_cleanly_on_sigterm, self._reactor)

    def _build(self, reactor: Any) -> None:
        self._reactor = reactor
        self._database = Database(self._path)
        self._passwords = Passwords(reactor)
        turn = Turn()
        self._sessions = Sessions(turn)
        sequence = Sequence(self._database, self._epoch)
        self._inbox = SQLiteInbox(self._database, sequence, reactor, self._sessions)
        self._accounts = Accounts(self._database)
        self._tokens = Tokens(self._database, reactor.seconds)
        self._directory = LocalDirectory(self._door(), self._config.advertise, TlsProbe(reactor))
        gate = Gate(self._tokens, self._inbox)
        router = Router(self._accounts, self._inbox)
        self._im = ImFactory(Node(gate, router, self._inbox, self._sessions, turn, reactor))
        self._site = self._make_site(reactor)
        self._upkeep = Upkeep(self._database, self._tokens, self._sessions, self._config.retention, reactor)
        self._heartbeat = LoopingCall(self._directory.announce)
        self._start_parts(reactor)

    def _start_parts(self, reactor: Any) -> None:
        self._database.start()
        self._passwords.start()
        self._upkeep.start()
        self._heartbeat.clock = reactor
        self._heartbeat.start(HEARTBEAT)
        self._ports: list[Any] = []

    def _door(self) -> Door:
        """Where this node's own IM door is reached from this machine."""
        interface = self._config.interface
        return Door(_EVERYWHERE.get(interface, interface), _port(self._sockets["im"]))

    def _make_site(self, reactor: Any) -> Site:
        users = Users(self._accounts, self._passwords, self._tokens, reactor.seconds)
        login = Login(
            self._accounts, self._passwords, self._tokens, self._inbox, self._sessions, self._directory
        )
        servers = Servers(self._tokens, self._sessions, self._directory)
        offline = Offline(self._tokens, self._inbox, self._sessions)
        return QuietSite(make_root(users, login, servers, offline), reactor)

    def _open(self, title: str, name: str, factory: Any) -> None:
        secure = tls.PromptTLSFactory(self._connections, False, factory, self._reactor)
        port = adopt(self._reactor, self._sockets[name], secure)
        self._ports.append(port)
        log.info(
            "{title} door on {address}, certificate SHA-256 {fingerprint}, state in {state}",
            title=title,
            address=describe(port),
            fingerprint=tls.fingerprint(self._ssl),
            state=self._config.state,
        )

    def stopService(self) -> Deferred[None]:
        """Take nothing new, commit, say `bye`, close."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for port in self._ports:
            await _stopped(port)
        self._heartbeat.stop()
        await self._upkeep.stop()
        await self._commit()
        await self._im.close_all(BYE_SHUTDOWN)
        await self._commit()
        self._passwords.stop()
        self._database.stop()
        self._state.close()

    async def _commit(self) -> None:
        try:
            await self._inbox.flush()
        except StorageUnavailable:
            log.error("the last commit failed: what it held was not acknowledged")


async def _stopped(port: Any) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _exit_cleanly_on_sigterm(reactor: Any) -> None:
    """Twisted's own handler would have twistd exit with 143; asked to stop, a server that stops has done well."""
    signal.signal(signal.SIGTERM, lambda _signal, _frame: reactor.callFromThread(_stop, reactor))


def _stop(reactor: Any) -> None:
    """Stop, also where that was asked for before."""
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


__all__ = ["EmbeddedNode", "Options", "makeService"]
