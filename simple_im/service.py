"""`twistd simple_im`: builds a node from its configuration and hands it out as a service."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from datetime import UTC, datetime
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from simple_im import interpreter, tls
from simple_im.config import Config, Options, StartError, config_from
from simple_im.listen import adopt, bind, describe
from simple_im.parts import Parts, database_path, files_path
from simple_im.secure import SecureFactory
from simple_im.state import KEYS, StateDirectory, start_errors
from simple_im.store.database import prepare
from simple_im.store.files import prepare_folders, were_prepared
from simple_im.store.inbox_sql import begin_run
from simple_im.store.soundness import check_there

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
        _check_database(config)
        self._ssl = config.state / KEYS
        tls.ensure_certificates(self._ssl, config.advertise, datetime.now(UTC))
        self._connections = tls.server_context_factory(self._ssl)
        self._sockets = {
            "http": bind(config.interface, config.http_port, "http"),
            "im": bind(config.interface, config.im_port, "im"),
        }
        self._epoch = prepare(database_path(config), begin_run)
        with start_errors(files_path(config)):
            prepare_folders(files_path(config))

    def startService(self) -> None:
        """Open the doors."""
        from twisted.internet import reactor

        Service.startService(self)
        self._reactor: Any = reactor
        self._state.write_pid()
        self._parts = Parts(self._config, reactor, self._epoch, _port(self._sockets["im"]))
        self._parts.start()
        self._ports: list[Any] = []
        _exit_cleanly(reactor)
        https = tls.PromptTLSFactory(self._connections, False, self._parts.site, self._reactor)
        self._open("HTTPS", "http", https, reactor)
        self._open("IM", "im", SecureFactory(self._connections, self._parts.im), self._parts.start_rounds())
        interpreter.settle()
        self._reactor.callWhenRunning(_exit_cleanly, reactor)

    def _open(self, title: str, name: str, factory: Any, connections: Any) -> None:
        """`connections` is the reactor of what comes in."""
        port = adopt(self._reactor, self._sockets[name], factory, connections)
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
        await self._parts.stop()
        self._state.close()


def _check_database(config: Config) -> None:
    """Before anything is made: a server that has lost its database does not become a new one."""
    with start_errors(files_path(config)):
        if were_prepared(files_path(config)):
            check_there(database_path(config))


async def _stopped(port: Any) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _exit_cleanly(reactor: Any) -> None:
    """Twisted's own handlers would have twistd exit by the signal; asked to stop, a server that stops has done well.

    The reactor puts its handler in place as it begins to run, so this is called before that and after.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: reactor.callFromThread(_stop, reactor))


def _stop(reactor: Any) -> None:
    """Stop, also where that was asked for before."""
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


__all__ = ["EmbeddedNode", "Options", "makeService"]
