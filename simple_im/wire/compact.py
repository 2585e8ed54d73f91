"""The compact dialect of the original's clients: entries on one line, which is not TOML.

`[[r]] id = "a_01" t = "login" [r.user] id = 1 d = "ipad" token = "…"` becomes TOML by putting each header and
each key on a line of its own. Such clients end a frame with a TLS record, so the scanner here says after each
record whether a frame may end there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from simple_im.wire.scan import Token, tokens

_PIECE: Final = re.compile(rb"""[^\s,"'\[\]{}=\#]+|["'\[\]{}=\#\n]""")
_END: Final = {
    b'"': re.compile(rb'["\\\n]'),
    b"'": re.compile(rb"['\n]"),
    b'"""': re.compile(rb'["\\]'),
    b"'''": re.compile(rb"'"),
    b"#": re.compile(rb"\n"),
}
"""What may end a string or comment that this opened, or begin an escape in it."""


def to_toml(text: str) -> str:
    """Put every header and every key of `text` on its own line; lines that are so already stay as they are."""
    return "".join(_lines(tokens(text)))


def _lines(stream: Iterator[Token]) -> Iterator[str]:
    for token in stream:
        if token.kind in ("space", "newline"):
            continue
        if token.kind == "comment":
            yield token.text + "\n"
        else:
            yield _header(stream) if token.text == "[" else _key_value(token, stream)


def _header(stream: Iterator[Token]) -> str:
    """The rest of a header whose first bracket was read: up to its last bracket."""
    text, opened = "[", 1
    for token in stream:
        text += token.text
        opened += (token.text == "[") - (token.text == "]")
        if opened == 0:
            break
    return text + "\n"


def _key_value(key: Token, stream: Iterator[Token]) -> str:
    """A key whose first token was read, and its value."""
    text = key.text
    for token in stream:
        text += token.text
        if token.text == "=":
            break
    return text + _value(stream) + "\n"


def _value(stream: Iterator[Token]) -> str:
    """One value; an array or an inline table with all that its brackets hold."""
    text, depth = "", 0
    for token in stream:
        text += token.text
        depth += (token.text in ("[", "{")) - (token.text in ("]", "}"))
        if depth <= 0 and token.kind != "space":
            break
    return text.rstrip("\n")


class RecordScanner:
    """Follows a frame record by record: has it a last header with a key behind it, and are all strings closed?

    Each byte is looked at once, however the frame is cut into records.
    """

    def __init__(self) -> None:
        self._open = b""
        """The quotes (or `#`) that opened what is open now."""
        self._run = b""
        """The quotes right before here, where one more may belong to them."""
        self._escaped = False
        self._depth = 0
        self._in_value = False
        self._in_header = False
        self._has_key = False

    @property
    def complete(self) -> bool:
        """Whether a frame may end here."""
        return self._has_key and self._open in (b"", b"#")

    def feed(self, data: bytes) -> None:
        """Look at the next bytes of the frame."""
        at = 0
        while at < len(data):
            at = self._skip_escaped(data, at) if self._escaped else self._next(data, at)

    def _skip_escaped(self, data: bytes, at: int) -> int:
        self._escaped = False
        return at + (data[at : at + 1] != b"\n")

    def _next(self, data: bytes, at: int) -> int:
        """Take the next piece that says something; where to go on."""
        match = (_END[self._open] if self._open else _PIECE).search(data, at)
        run, self._run = self._run, b""
        if match is None:
            return len(data)
        if match.start() > at:
            run = b""
        (self._inside if self._open else self._outside)(match[0], run)
        return match.end()

    def _inside(self, piece: bytes, run: bytes) -> None:
        if piece == b"\\":
            self._escaped = True
        elif piece == b"\n":
            self._open = b""
        elif len(self._open) == 1:
            self._open, self._run = b"", run * 2
        else:
            self._run = run + piece
            self._open = b"" if len(self._run) == 3 else self._open

    def _outside(self, piece: bytes, run: bytes) -> None:
        if piece in (b'"', b"'"):
            self._quote(piece, run)
        elif piece == b"#":
            self._open = piece
        elif piece != b"\n":
            self._piece(piece)

    def _quote(self, quote: bytes, run: bytes) -> None:
        """Behind two quotes, the third of three that open; behind three that close, one of two that may follow."""
        if run[:1] != quote:
            self._open = self._run = quote
            self._item()
        elif len(run) == 2:
            self._open = quote * 3
        elif len(run) == 3:
            self._run = run + quote

    def _piece(self, piece: bytes) -> None:
        if piece in (b"[", b"{"):
            self._bracket_opens()
        elif piece in (b"]", b"}"):
            self._bracket_closes()
        elif piece == b"=":
            self._in_value = True
        else:
            self._item()

    def _item(self) -> None:
        """A key, or a value without brackets."""
        self._in_value = False
        self._has_key = self._has_key or not self._in_header

    def _bracket_opens(self) -> None:
        if self._in_value or self._depth:
            self._depth += 1
        else:
            self._in_header, self._has_key = True, False

    def _bracket_closes(self) -> None:
        if self._depth:
            self._depth -= 1
            self._in_value = False
        else:
            self._in_header = False
