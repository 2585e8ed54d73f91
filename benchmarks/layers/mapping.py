"""Which layer a call belongs to. The rules know the modules of today and those of earlier versions.

A stack belongs to the layer of its innermost call, and where that is of no layer (Python's own library, for the most
part), to that of whoever called it. A call of simple_im, Twisted or pyOpenSSL that no rule knows belongs to `OTHER`, so
that a new module is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from benchmarks.layers.stacks import Frame

REACTOR: Final = "reactor"
TCP_IN: Final = "TCP in"
TLS_IN: Final = "TLS in"
CONNECTION: Final = "connection"
FRAMING: Final = "framing"
READING: Final = "reading"
ROUTING: Final = "routing"
INBOX: Final = "inbox"
DELIVERY: Final = "delivery"
ACKS_IN: Final = "acknowledgements in"
ACKS_OUT: Final = "acknowledgements out"
WRITING: Final = "writing"
TLS_OUT: Final = "TLS out"
TCP_OUT: Final = "TCP out"
HANDING_OVER: Final = "handing over"
ROWS: Final = "rows and binding"
STATEMENTS: Final = "statements"
COMMIT: Final = "commit"
OTHER: Final = "other"
LAYERS: Final = {
    REACTOR: "epoll, and calling who has something to read",
    TCP_IN: "recv",
    TLS_IN: "decrypting",
    CONNECTION: "the connection's own bookkeeping, and its timers",
    FRAMING: "records to frames",
    READING: "frames to messages and acknowledgements",
    ROUTING: "the conversation, and who gets a message",
    INBOX: "numbering, stamping, and gathering what is committed together",
    DELIVERY: "finding the recipients' connections, and their windows",
    ACKS_IN: "taking the recipients' acknowledgements",
    ACKS_OUT: "acknowledging to senders",
    WRITING: "entries joined to one write a connection",
    TLS_OUT: "encrypting",
    TCP_OUT: "send",
    HANDING_OVER: "to the database's thread and back",
    ROWS: "entries to rows, and rows to one list",
    STATEMENTS: "SQLite's inserts, with the binding of values in C",
    COMMIT: "COMMIT: writing the log, and fsync",
    OTHER: "what no rule knows",
}
"""All of them, in the order of tables, and what each is."""

CALLER: Final = ""
"""For calls that belong to whoever makes them."""
_STRICT: Final = ("simple_im/", "twisted/", "OpenSSL/")


@dataclass(frozen=True)
class Rule:
    """Calls of `functions` in `file` (both patterns) are of `layer`: all, or those at a line that has `text` in it."""

    file: str
    functions: tuple[str, ...]
    layer: str
    text: str = ""


def _rules(layer: str, *places: str) -> Iterable[Rule]:
    """Each place is a file and, behind blanks, the functions."""
    for place in places:
        file, *functions = place.split()
        yield Rule(file, tuple(functions) or ("*",), layer)


RULES: Final = (
    Rule("simple_im/store/database.py", ("*",), COMMIT, '"COMMIT"'),
    Rule("simple_im/store/database.py", ("Cursor.*",), STATEMENTS, ".execute("),
    *_rules(ROWS, "simple_im/store/database.py Cursor.many Cursor._some _with_rows", "simple_im/store/inbox_sql.py"),
    *_rules(STATEMENTS, "simple_im/store/database.py Cursor.* Database._write _*", "simple_im/store/mending.py"),
    *_rules(
        HANDING_OVER,
        "simple_im/store/database.py",
        "simple_im/store/trouble.py",
        "twisted/enterprise/adbapi.py",
        "twisted/_threads/*",
        "twisted/python/threadpool.py",
        "twisted/internet/threads.py",
        "twisted/internet/defer.py",
        "twisted/internet/_signals.py",
        "twisted/internet/base.py *.callFromThread *.wakeUp",
        "queue.py",
        "threading.py",
    ),
    *_rules(
        ACKS_OUT,
        "simple_im/im/conversation.py *.stored *._stored_for_compact",
        "simple_im/store/batch.py *.tell_stored _tell",
        "simple_im/wire/frames.py acknowledgements",
    ),
    *_rules(
        ACKS_IN,
        "simple_im/im/conversation.py *._take_ack* *._take_plain_ack*",
        "simple_im/im/device.py *.acknowledge_* *._take *._land *._settle *._find_* *._drop_* *._go_on_behind *._clean",
        "simple_im/im/device.py *.cursor_moved",
        "simple_im/im/recent.py",
        "simple_im/store/device_state.py",
        "simple_im/store/inbox.py *.acknowledge_range *.touch",
        "simple_im/store/committer.py *.touch",
    ),
    *_rules(INBOX, "simple_im/wire/frames.py stamp stamped", "simple_im/store/*"),
    *_rules(DELIVERY, "simple_im/im/sessions.py", "simple_im/im/device.py", "simple_im/store/entries.py *.is_from"),
    *_rules(WRITING, "simple_im/im/outbox.py", "simple_im/im/protocol.py *._write"),
    *_rules(WRITING, "simple_im/wire/frames.py answer bye for_compact"),
    *_rules(
        CONNECTION,
        "simple_im/im/protocol.py",
        "simple_im/im/watches.py",
        "simple_im/im/conversation.py Node.*",
        "twisted/internet/base.py DelayedCall.* *.callLater",
    ),
    *_rules(ROUTING, "simple_im/im/*"),
    *_rules(FRAMING, "simple_im/wire/framing.py"),
    *_rules(READING, "simple_im/wire/*"),
    *_rules(
        TLS_IN,
        "simple_im/secure.py *.dataReceived *._hand_on *._shake_hands *.connectionMade",
        "simple_im/records.py",
        "ssl.py *.read *.do_handshake *.pending",
        "OpenSSL/SSL.py *.recv *.recv_into *.bio_write *.do_handshake",
        "twisted/protocols/tls.py *.dataReceived *._flushReceiveBIO *._checkHandshakeStatus",
    ),
    *_rules(
        TLS_OUT,
        "simple_im/secure.py",
        "simple_im/tls.py",
        "ssl.py *.write *.unwrap",
        "OpenSSL/SSL.py *.send *.sendall *.bio_read",
        "twisted/protocols/tls.py",
        "twisted/protocols/policies.py",
    ),
    *_rules(TCP_IN, "twisted/internet/tcp.py *.doRead *._dataReceived"),
    *_rules(
        TCP_OUT,
        "simple_im/transport.py",
        "twisted/internet/tcp.py",
        "twisted/internet/abstract.py *.write *.writeSequence *.writeSomeData *.doWrite *._*",
        "twisted/internet/abstract.py *.startWriting *.stopWriting",
        "twisted/internet/_newtls.py",
    ),
    *_rules(
        REACTOR,
        "simple_im/rounds.py",
        "simple_im/parts.py",
        "simple_im/upkeep.py",
        "simple_im/collector.py",
        "twisted/internet/abstract.py",
        "twisted/internet/epollreactor.py",
        "twisted/internet/posixbase.py",
        "twisted/internet/base.py *.mainLoop *.run *.runUntilCurrent *.timeout *.doIteration *._*",
        "twisted/internet/task.py",
        "twisted/web/http.py",
        "twisted/application/*",
        "twisted/scripts/*",
        "twisted/python/log.py callWith*",
    ),
    *_rules(
        CALLER,
        "twisted/internet/base.py",
        "twisted/internet/error.py",
        "twisted/internet/fdesc.py",
        "twisted/logger/*",
        "twisted/python/*",
        "simple_im/limits.py",
        "simple_im/status.py",
        "OpenSSL/*",
    ),
)
"""The first that fits counts."""

RESTING: Final = frozenset({"EPollReactor.doPoll (twisted/internet/epollreactor.py)", "Condition.wait (threading.py)"})
"""Calls in which a thread waits for something to do."""


class Mapping:
    """`RULES`, for the version of simple_im in `source`, whose lines are looked at."""

    def __init__(self, source: Path, rules: Iterable[Rule] = RULES) -> None:
        self._source = source
        self._rules = tuple(rules)
        self._known: dict[Frame, str] = {}
        self._texts: dict[str, list[str]] = {}

    def layer(self, frames: Iterable[Frame]) -> tuple[str, Frame | None]:
        """The layer of a stack, from its innermost call on; where that is `OTHER`, the call that no rule knows."""
        innermost: Frame | None = None
        for frame in frames:
            innermost = innermost or frame
            layer = self._layer_of(frame)
            if layer != CALLER:
                return layer, frame if layer == OTHER else None
        return OTHER, innermost

    def _layer_of(self, frame: Frame) -> str:
        if frame not in self._known:
            self._known[frame] = next((rule.layer for rule in self._rules if self._fits(rule, frame)), _default(frame))
        return self._known[frame]

    def _fits(self, rule: Rule, frame: Frame) -> bool:
        """What is within a function (a comprehension, a lambda) is of its layer, but not at its line."""
        function, _, within = frame.function.partition(".<locals>")
        if not fnmatchcase(frame.file, rule.file) or not any(fnmatchcase(function, name) for name in rule.functions):
            return False
        return not rule.text or (not within and rule.text in self._text(frame))

    def _text(self, frame: Frame) -> str:
        if frame.file not in self._texts:
            path = self._source / frame.file
            self._texts[frame.file] = path.read_text().splitlines() if path.is_file() else []
        lines = self._texts[frame.file]
        return lines[frame.line - 1] if 0 < frame.line <= len(lines) else ""


def _default(frame: Frame) -> str:
    return OTHER if frame.file.startswith(_STRICT) else CALLER
