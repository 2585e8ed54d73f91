"""TLS below the IM door: a Twisted transport on Python's own `ssl`, which does no more for a record than it has to.

Most records here are one short message, and then what surrounds OpenSSL costs more than OpenSSL itself: through
`ssl` a record takes about half of what it takes through Twisted's TLS (figures in docs/performance.md). The HTTPS
door speaks TLS as Twisted does.
"""

from __future__ import annotations

from ssl import MemoryBIO, SSLContext, SSLError, SSLWantReadError
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IConsumer, IProtocolFactory, IPushProducer, ITransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from simple_im.limits import RECORD_SIZE


class Contexts(Protocol):
    """Where the settings of connections to come are; see `tls.ServerConnections`."""

    @property
    def im_context(self) -> SSLContext: ...


@implementer(ITransport, IConsumer, IPushProducer)
class SecureProtocol(TwistedProtocol):
    """The server's end of one connection; `protocol` is what speaks through it.

    Each record of the peer's is a call of the protocol's `dataReceived`, and each write of up to 16 KiB is a record,
    given to the transport at once. Before the handshake is done nothing can be written, and what is, is dropped.
    """

    transport: Any

    def __init__(self, context: SSLContext, protocol: Any) -> None:
        self._incoming, self._outgoing = MemoryBIO(), MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._protocol = protocol
        self._is_secure = self._is_closing = self._is_over = self._has_producer = False

    # From the transport.

    def connectionMade(self) -> None:
        """The protocol is told at once; the handshake is its peer's next step."""
        self._protocol.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        """Take what the transport has read."""
        if self._is_over:
            return
        self._incoming.write(data)
        if self._is_secure or self._shake_hands():
            self._hand_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._is_over = True
        protocol, self._protocol = self._protocol, None
        protocol.connectionLost(reason)

    def _shake_hands(self) -> bool:
        """Whether the handshake is done."""
        try:
            self._tls.do_handshake()
            self._is_secure = True
        except SSLWantReadError:
            """Its next message is not whole yet."""
        except SSLError:
            self._flush()
            self._end()
        self._flush()
        return self._is_secure

    def _hand_on(self) -> None:
        """Hand on record by record; only where the last is not whole is more asked for than there is."""
        while self._incoming.pending and not self._is_over:
            record = self._read()
            if record is None:
                break
            if not self._is_closing:
                self._protocol.dataReceived(record)
        if not self._is_closing:
            self._flush()

    def _read(self) -> bytes | None:
        """The plain text of the next record, or None where there is none, or no more."""
        try:
            record = self._tls.read(RECORD_SIZE)
        except SSLWantReadError:
            return None
        except SSLError:
            self._flush()
            self._end()
            return None
        if not record:
            self._close_notify()
            self._end()
        return record or None

    def _close_notify(self) -> None:
        """What has come and is not read yet is kept from `unwrap`: to it, data is an error and an end is taken."""
        unread = self._incoming.read()
        try:
            self._tls.unwrap()
        except SSLError:
            """The peer has not said the same yet, or will not."""
        self._incoming.write(unread)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.transport.write(self._outgoing.read())

    def _end(self) -> None:
        """A transport that has paused its producer would have it go on before it closes, and wait for that."""
        self._is_over = True
        self.unregisterProducer()
        self.transport.loseConnection()

    # ITransport.

    def write(self, data: bytes) -> None:
        """Encrypt and give it to the transport."""
        if not self._is_secure or self._is_closing or self._is_over:
            return
        try:
            self._tls.write(data)
        except SSLError:
            self._end()
        else:
            self.transport.write(self._outgoing.read())

    def writeSequence(self, iovec: Any) -> None:
        """Write the parts as one."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Say that nothing more comes, and close once the peer has said so too; what it still sends is dropped."""
        if self._is_closing or self._is_over:
            return
        self._is_closing = True
        if self._is_secure:
            self._close_notify()
        else:
            self._end()

    def abortConnection(self) -> None:
        """Close now, whatever waits."""
        self._is_over = True
        self.transport.abortConnection()

    def getPeer(self) -> IAddress:
        """The peer's address."""
        peer: IAddress = self.transport.getPeer()
        return peer

    def getHost(self) -> IAddress:
        """Our address."""
        host: IAddress = self.transport.getHost()
        return host

    # IConsumer and IPushProducer: the transport's own.

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Who is told when the transport takes no more."""
        self._has_producer = True
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Nobody is told any more."""
        if self._has_producer:
            self._has_producer = False
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """Read no more."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self.transport.resumeProducing()


class SecureFactory(Factory):
    """Puts TLS below the protocols of another factory."""

    noisy = False

    def __init__(self, contexts: Contexts, factory: IProtocolFactory) -> None:
        self._contexts = contexts
        self._factory = factory

    def doStart(self) -> None:
        """The factory's too."""
        self._factory.doStart()
        super().doStart()  # type: ignore[no-untyped-call]

    def doStop(self) -> None:
        """The factory's too."""
        self._factory.doStop()
        super().doStop()  # type: ignore[no-untyped-call]

    def buildProtocol(self, addr: Any) -> SecureProtocol:
        """A protocol of the factory, behind TLS as it is set now."""
        return SecureProtocol(self._contexts.im_context, self._factory.buildProtocol(addr))
