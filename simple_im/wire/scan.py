"""The tokens of a TOML text, for what a TOML library does not tell: the order of entries across tables, how
deep a text nests before anybody parses it, and where the statements of a compact line end.

The scan is linear in the text and never fails: what is no TOML comes out as tokens too, for the parser to refuse.
A string that is not closed is one token, up to where it would have to be closed, so that no byte is looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from simple_im.limits import NESTING

_TOKEN: Final = re.compile(
    r"""
      (?P<space>[ \t]+)
    | (?P<newline>\r?\n)
    | (?P<comment>\#[^\n]*)
    | (?P<string>\"\"\"(?:[^\\"]++|\\.|"(?!""))*+(?:"{3,5}|\\)?
                |'''(?:[^']++|'(?!''))*+(?:'{3,5})?
                |"(?:[^"\\\n]++|\\[^\n])*+["\\]?
                |'[^'\n]*+'?)
    | (?P<punctuation>[\[\]{},=])
    | (?P<word>(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[ ](?=[0-9]{2}:))?[^\s\[\]{},="'\#]+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class TooDeep(ValueError):
    """Tables, arrays or dotted keys nest deeper than `limits.NESTING`."""


class Token(NamedTuple):
    """`kind` is one of space, newline, comment, string, punctuation, word, other; `at` is where it begins."""

    kind: str
    text: str
    at: int


def tokens(text: str) -> Iterator[Token]:
    """Cut `text` into tokens; joined again they are the text."""
    for match in _TOKEN.finditer(text):
        yield Token(match.lastgroup or "other", match.group(), match.start())


def entry_order(text: str) -> list[str]:
    """The header text of every top-level `[[…]]` in `text`, as written between the brackets, in written order.

    Raises `TooDeep`, so that no deep text reaches the parser, whose cost grows with depth times keys.
    """
    found: list[str] = []
    for statement in _statements(text):
        if len(statement) > 3 and statement[0].text == statement[1].text == "[":
            found.append(_header(statement))
    return [header for header in found if "." not in _outside_quotes(header)]


def _statements(text: str) -> Iterator[list[Token]]:
    """The tokens of each statement (a header, or a key and its value), without white space and comments."""
    statement: list[Token] = []
    depth = dots = 0
    for token in tokens(text):
        depth, dots = _nesting(token, depth, dots)
        if depth > NESTING or dots > NESTING:
            line = text.count("\n", 0, token.at) + 1
            raise TooDeep(f"nested more than {NESTING} levels deep (at line {line})")
        if token.kind == "newline" and depth == 0:
            if statement:
                yield statement
            statement = []
        elif token.kind not in ("space", "comment", "newline"):
            statement.append(token)
    if statement:
        yield statement


def _nesting(token: Token, depth: int, dots: int) -> tuple[int, int]:
    """Follow the brackets of values and the dots of keys."""
    if token.kind == "punctuation":
        depth += (token.text in "[{") - (token.text in "]}" and depth > 0)
        dots = 0
    elif token.kind == "word":
        dots += token.text.count(".")
    elif token.kind == "newline":
        dots = 0
    return depth, dots


def _header(statement: list[Token]) -> str:
    return "".join(token.text for token in statement[2:] if token.text != "]")


def _outside_quotes(header: str) -> str:
    return "".join(token.text for token in tokens(header) if token.kind == "word")
