"""What Twisted's TCP transports do not offer by themselves, for both doors."""

from __future__ import annotations

import socket
from typing import Any

from simple_im.limits import KEEPALIVE


def tune(transport: Any) -> None:
    """Have the kernel find a dead peer and send small writes at once; a transport without a socket has no kernel."""
    handle = getattr(_tcp(transport), "socket", None)
    if not isinstance(handle, socket.socket):
        return
    idle, interval, probes = KEEPALIVE
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", idle), ("TCP_KEEPINTVL", interval), ("TCP_KEEPCNT", probes)):
        if hasattr(socket, option):
            handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def buffered_bytes(transport: Any) -> int:
    """How much the TCP transport still has to give to the kernel."""
    tcp = _tcp(transport)
    return len(getattr(tcp, "dataBuffer", b"")) - getattr(tcp, "offset", 0) + getattr(tcp, "_tempDataLen", 0)


def _tcp(transport: Any) -> Any:
    """The TCP transport below TLS, or the transport itself."""
    return getattr(transport, "transport", transport)
