"""Documents of entries, written by hypothesis in the many ways in which TOML can be written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from simple_im.wire.toml import quote

_HOME = TemporaryDirectory()
set_hypothesis_home_dir(_HOME.name)  # What hypothesis keeps is gone with the process.

Keys = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

OWN_KEYS = {"id", "t", "c", "to", "g_id", "dup", "d", "from", "ts", "seq", "user"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100)
SCALARS = (
    *(TEXTS, NUMBERS, st.floats(), st.booleans(), st.dates(), st.times()),
    *(st.datetimes(), st.datetimes(timezones=ZONES)),
)
NAMES = st.sampled_from(["x", "y", "a b", "", "é", '"', "[[m]]", "from", "dup", "1.5"]) | TEXTS
VALUES = st.recursive(
    st.one_of(*SCALARS),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=3),
    max_leaves=8,
)
APP_KEYS = st.dictionaries(NAMES.filter(lambda name: name not in OWN_KEYS), VALUES, max_size=4)
FORGED = st.dictionaries(st.sampled_from(["from", "ts", "seq", "d"]), VALUES, max_size=2)


@dataclass(frozen=True)
class Entry:
    """What an entry says, and the lines that say it."""

    table: str
    keys: Keys
    lines: list[str]


@st.composite
def entries(draw: Draw, *, one_line: bool = False) -> list[Entry]:
    """Some entries; with `one_line` no line of them has a line break or a comment in it."""
    return [draw(entry(one_line)) for _ in range(draw(st.integers(1, 4)))]


@st.composite
def entry(draw: Draw, one_line: bool) -> Entry:
    """A message of any table, with the app's own keys, and some that are not for it to say."""
    table = draw(st.sampled_from(["m", "gm", "n", "gn"]))
    keys = {"id": draw(TEXTS.filter(bool)), "t": draw(TEXTS.filter(bool)), "c": draw(TEXTS)}
    keys["to" if table in ("m", "n") else "g_id"] = draw(NUMBERS)
    keys |= draw(APP_KEYS) | draw(FORGED) | draw(st.dictionaries(st.just("dup"), st.booleans()))
    keys = dict(draw(st.permutations(list(keys.items()))))
    return Entry(table, keys, Writer(draw, one_line).entry(table, keys))


class Writer:
    """Writes entries, each part in one of the ways in which it can be written."""

    def __init__(self, draw: Draw, one_line: bool) -> None:
        self._draw = draw
        self._one_line = one_line

    def entry(self, table: str, keys: Keys) -> list[str]:
        """The lines of an entry: first the keys that are on lines of their own, then tables."""
        name = self._any_of(table, quoted(table))
        return [f"[[{self._spaces()}{name}{self._spaces()}]]", *self._table([name], keys)]

    def _table(self, path: list[str], keys: Keys) -> list[str]:
        own: list[str] = []
        nested: list[str] = []
        for key, value in keys.items():
            if is_table(value) and self._either():
                nested += self._nested("[]", [*path, self.key(key)], value)
            elif is_tables(value) and self._either():
                for item in value:
                    nested += self._nested(("[[", "]]"), [*path, self.key(key)], item)
            else:
                own += self._statements(key, value)
        return own + nested

    def _nested(self, brackets: str | tuple[str, str], path: list[str], keys: Keys) -> list[str]:
        dot = self._any_of(".", " . ")
        return [brackets[0] + dot.join(path) + brackets[1] + self._comment(), *self._table(path, keys)]

    def _statements(self, key: str, value: object) -> list[str]:
        if isinstance(value, dict) and value and self._either():
            first = self.key(key)
            return [self._line(f"{first}.{self.key(name)}", item) for name, item in value.items()]
        return [self._line(self.key(key), value)]

    def _line(self, key: str, value: object) -> str:
        return f"{key}{self._spaces()}={self._spaces()}{self.value(value)}{self._comment()}"

    def key(self, name: str) -> str:
        """A key, bare where it can be, or quoted in one way or another."""
        ways = [quoted(name), escaped(name)]
        if name.isascii() and name.replace("_", "").replace("-", "").isalnum():
            ways.append(name)
        return self._any_of(*ways)

    def value(self, value: object) -> str:
        """A value in one of its forms."""
        if isinstance(value, list):
            return self._array(value)
        if isinstance(value, dict):
            return self._inline_table(value)
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, datetime):
            return value.isoformat(sep=self._any_of("T", " "))
        if isinstance(value, date | time):
            return value.isoformat()
        return self._number(value)

    def _array(self, values: list[Any]) -> str:
        comma = self._any_of(",", " , ", ", " if self._one_line else ",\n")
        return f"[{comma.join(map(self.value, values))}{self._spaces()}]"

    def _inline_table(self, keys: Keys) -> str:
        pairs = [f"{self.key(key)}{self._spaces()}= {self.value(value)}" for key, value in keys.items()]
        return f"{{{self._spaces()}{self._any_of(', ', ' ,').join(pairs)}{self._spaces()}}}"

    def _string(self, text: str) -> str:
        ways = [quoted(text), escaped(text)]
        if "'" not in text and all(char.isprintable() for char in text):
            ways.append(f"'{text}'")
            ways.append(f"'''{text}'''")
        if '"' not in text:
            ways.append(quoted(text).replace('"', '"""'))
        return self._any_of(*ways)

    def _number(self, value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if type(value) is int and value >= 0:
            return self._any_of(str(value), f"+{value}", hex(value), oct(value), bin(value), f"{value:_}")
        return str(value)

    def _comment(self) -> str:
        return "" if self._one_line else self._any_of("", "", ' # "[[m]]"')

    def _spaces(self) -> str:
        return self._any_of("", " ", "\t ")

    def _either(self) -> bool:
        return bool(self._draw(st.booleans()))

    def _any_of(self, *ways: str) -> str:
        return str(self._draw(st.sampled_from(ways)))


def is_table(value: object) -> bool:
    """Whether it may stand under a header."""
    return isinstance(value, dict)


def is_tables(value: object) -> bool:
    """Whether each of its items may."""
    return isinstance(value, list) and bool(value) and all(map(is_table, value))


def quoted(text: str) -> str:
    """A basic string."""
    return f'"{quote(text).decode()}"'


def escaped(text: str) -> str:
    """The same, all of it in escapes."""
    return '"{}"'.format("".join(f"\\U{ord(char):08X}" for char in text))


def typed(value: object) -> object:
    """A value in which 1, 1.0 and true differ, nan is nan, and the order of keys does not matter."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return type(value).__name__, str(value)
