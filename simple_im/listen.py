"""Listening sockets, made before the server becomes a daemon, so that a busy port ends the start with one sentence."""

from __future__ import annotations

import contextlib
import errno
import socket
from functools import partial
from typing import Any, Final, cast

from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket

from simple_im.config import StartError
from simple_im.transport import DrainServer

BACKLOG: Final = 1024

# What a machine answers that has no IPv6, or no IPv4.
_NOT_HERE: Final = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT}
_ANY: Final = ("::", "0.0.0.0")


def bind(interface: str, port: int, name: str) -> socket.socket:
    """A socket that listens and does not block, at `interface` or, where that is "", at every address of the machine.

    `port` 0 has the system pick one. `name` ("http" or "im") is for the StartError that names the option to change.
    """
    try:
        return _listening_everywhere(port) if not interface else _listening(interface, port)
    except OSError as error:
        raise StartError(_sentence(error.errno or 0, interface, port, name)) from None


def adopt(
    reactor: IReactorSocket, sock: socket.socket, factory: IProtocolFactory, connections: object
) -> IListeningPort:
    """Has `reactor` accept on `sock` for `factory`. The port has a descriptor of its own; `sock` is closed.

    `connections` is what the accepted transports take for their reactor.
    """
    with contextlib.closing(sock):
        # Annotated as taking a ServerFactory; a TLS factory is none and does.
        port: Any = reactor.adoptStreamPort(sock.fileno(), sock.family, factory)  # type: ignore[arg-type]
    port.transport = partial(_accepted, connections)
    return cast(IListeningPort, port)


def _accepted(connections: object, *args: Any) -> DrainServer:
    """The transport of a connection, made with what `tcp.Server` takes but for the reactor, which comes last."""
    return DrainServer(*args[:-1], connections)  # type: ignore[call-arg]


def describe(port: IListeningPort) -> str:
    """Where `port` listens, for people: "*:8080", "127.0.0.1:1987", "[::1]:1987"."""
    address: Any = port.getHost()
    if address.host in _ANY:
        return f"*:{address.port}"
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def plain_host(host: str) -> str:
    """An IPv4 peer's address as IPv4 is written, also where an IPv6 socket accepted it ("::ffff:127.0.0.1")."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def _listening_everywhere(port: int) -> socket.socket:
    """IPv6 and IPv4 in one socket; IPv4 alone where the machine has no IPv6."""
    if not socket.has_ipv6:
        return _listening("0.0.0.0", port)
    if port:
        _check_free("0.0.0.0", port)
    try:
        return _listening("::", port)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        return _listening("0.0.0.0", port)


def _check_free(host: str, port: int) -> None:
    """Some systems let a dual-stack socket have a port whose IPv4 half is taken, and then nothing arrives there."""
    try:
        _bound(host, port).close()
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise


def _listening(host: str, port: int) -> socket.socket:
    sock = _bound(host, port)
    try:
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound(host: str, port: int) -> socket.socket:
    family, address = _resolve(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """The family and the socket address of an IP address, its zone ("fe80::1%eth0") included."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE)
    except socket.gaierror:
        raise OSError(errno.EADDRNOTAVAIL, "not an address here") from None
    family, _, _, _, address = found[0]
    return family, address


def _sentence(number: int, interface: str, port: int, name: str) -> str:
    option = f"--{name}-port"
    match number:
        case errno.EADDRINUSE:
            return f"port {port} is in use already: stop the program that has it, or choose another with {option}"
        case errno.EACCES | errno.EPERM:
            return f"port {port} is not for this user to open: choose one from 1024 on with {option}"
        case errno.EADDRNOTAVAIL | errno.EINVAL:
            return f"{interface} is no address of this machine, so port {port} can't open: change --interface"
        case _:
            why = errno.errorcode.get(number, "unknown error")
            return f"port {port} can't be opened ({why}): choose another with {option}, or change --interface"
