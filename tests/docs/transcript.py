"""What a document shows against what the server says: equal but for values that differ from run to run.

A token, a seq, a group's key or a name of the server's making in a document stands for one value of the run: it is
bound where the server first says it, has to be the same wherever the document repeats it, and is put in its place where
the document sends it.
"""

from __future__ import annotations

import re
from typing import Final

_VARYING: Final = {
    "token": r"[A-Za-z0-9_-]{32}",
    "seq": r"[1-9][0-9]*",
    "ts": r"[1-9][0-9]{9}",
    "timestamp": r"[1-9][0-9]{9}",
    "key": r"[A-Za-z0-9_-]{16}",
    "name": r"[0-9a-f]{24}|[0-9a-f]{32}",
    "server": r"127\.0\.0\.1|::1",
    "port": r"[1-9][0-9]*",
}
_BOUND: Final = ("token", "seq", "port", "key", "name")
_VALUE: Final = re.compile(
    r'(?:\b|g_)(?P<key>token|seq|ts|timestamp|server|port|key)"?(?: =|:) "?(?P<value>[^"\s,}]+)'
    r"|\b(?P<name>[0-9a-f]{24}|[0-9a-f]{32})\b"
)


class Transcript:
    """The values of one run, by how the document writes them."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def bind(self, shown: str, actual: str) -> None:
        """From now on `shown` in the document stands for `actual`."""
        self._values[shown] = actual

    def spoken(self, text: str) -> str:
        """What the document sends, with the values of this run."""
        for shown, actual in self._values.items():
            text = re.sub(rf"(?<![\w-]){re.escape(shown)}(?![\w-])", actual, text)
        return text

    def check(self, shown: str, actual: str, place: str) -> None:
        """Raise AssertionError where `actual` is not what the document shows; blank lines do not count."""
        expected = [self._pattern(line) for line in shown.splitlines() if line.strip()]
        lines = [line for line in actual.splitlines() if line.strip()]
        for pattern, line in zip(expected, lines, strict=False):
            match = re.fullmatch(pattern, line)
            if match is None:
                break
            self._learn(match)
        else:
            if len(expected) == len(lines):
                return
        raise AssertionError(f"{place} shows\n\n{shown}\nand the server says\n\n{actual}")

    def _pattern(self, line: str) -> str:
        """The line as a regular expression; a group's name holds the key, the shown value follows in hex."""
        pattern, at = "", 0
        for match in _VALUE.finditer(line):
            which = "name" if match["name"] else "value"
            key, value = match["key"] or "name", match[which]
            pattern += re.escape(line[at : match.start(which)])
            pattern += re.escape(self._values[value]) if value in self._values else self._group(key, value)
            at = match.end(which)
        return pattern + re.escape(line[at:])

    def _group(self, key: str, value: str) -> str:
        return f"(?P<{key}_{value.encode().hex()}>{_VARYING[key]})"

    def _learn(self, match: re.Match[str]) -> None:
        for name, actual in match.groupdict().items():
            key, _, value = name.partition("_")
            if key in _BOUND:
                self.bind(bytes.fromhex(value).decode(), actual)
