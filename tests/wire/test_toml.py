"""TOML in and out."""

from __future__ import annotations

import math
import tomllib
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import tomli
from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import NESTING
from simple_im.wire import toml
from simple_im.wire.toml import NotToml, quote, read_entries, without_escaped_quotes, write_entry


class Name(str):
    """A table's name that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def written(keys: dict[str, Any]) -> str:
    """An entry with these keys."""
    return b"".join(write_entry("m", keys)).decode()


class ReadTests(SynchronousTestCase):
    """Documents of entries."""

    def reason(self, document: str) -> str:
        return str(self.assertRaises(NotToml, read_entries, document.encode()))

    def test_order(self) -> None:
        """Entries come in written order, each with its keys."""
        document = b"[[b]]\nx = 1\n[[a]]\nx = 2\n[a.y]\nz = 3\n[[b]]"
        self.assertEqual(read_entries(document), [("b", {"x": 1}), ("a", {"x": 2, "y": {"z": 3}}), ("b", {})])

    def test_many_tables(self) -> None:
        """Entries of many tables cost a bounded number of comparisons each."""
        names = [Name(at) for at in range(2_000)]
        self.patch(Name, "compared", 0)
        self.assertEqual(len(toml._in_order({name: [{}] for name in names}, list(names))), 2_000)
        self.assertLess(Name.compared, 20_000)

    def test_depth_allowed(self) -> None:
        """Values may nest 29 deep in an entry's key: with the document, its tables and the entry that is 32."""
        depth = NESTING - 3
        [(_, keys)] = read_entries(b"[[m]]\nx = " + b"[" * depth + b"]" * depth)
        self.assertEqual(written(keys), f"[[m]]\nx = {'[' * depth}{']' * depth}\n")

    def test_too_deep(self) -> None:
        """Deeper ones are refused before they are parsed, whether arrays, tables, keys or headers."""
        for deep in (
            *(
                "x = " + "[" * 10_000,
                "x = " + "[" * 10_000 + "]" * 10_000,
                "x = " + "{x=" * 10_000 + "1" + "}" * 10_000,
            ),
            *("x = " + "[{x=" * 10_000, "x" + ".x" * 10_000 + " = 1", "x = {x" + ".x" * 10_000 + " = 1}"),
            *(
                "[m" + ".x" * 10_000 + "]",
                "[[m" + ".x" * 10_000 + "]]",
                'x = [{y = {"x"' + ' . "x"' * 10_000 + " = 1}}]",
            ),
            "\n".join(["x = [", "["] * 5_000),
        ):
            self.assertEqual(
                self.reason("[[m]]\n" + deep).partition(" (")[0], "not TOML: nested more than 32 levels deep"
            )

    def test_too_deep_where(self) -> None:
        """The reason says on which line."""
        deep = "[[m]]\nx = 1\ny = " + "[" * 40
        self.assertEqual(self.reason(deep), "not TOML: nested more than 32 levels deep (at line 3)")

    def test_too_deep_together(self) -> None:
        """Nor may headers, keys and values nest deeper together."""
        half = NESTING // 2 + 1
        deep = f"[[m]]\n[m{'.x' * half}]\nx{'.x' * half} = 1"
        self.assertEqual(self.reason(deep), "not TOML: nested more than 32 levels deep")
        deep = "[[m]]\nx = " + "{x.x.x.x.x.x.x.x = [" * 15 + "]}" * 15
        self.assertEqual(self.reason(deep), "not TOML: nested more than 32 levels deep")

    def test_many_tables_of_an_entry(self) -> None:
        """10,000 tables side by side are not deep."""
        [(_, keys)] = read_entries(b"[[m]]\n" + b"".join(b"[m.x%d]\n" % at for at in range(10_000)))
        self.assertEqual(len(keys), 10_000)

    def test_integers(self) -> None:
        """Integers have 64 bits; the reason names the key of one that does not fit, however it is written."""
        for value in (2**63 - 1, -(2**63)):
            self.assertEqual(read_entries(b"[[m]]\nx = %d" % value), [("m", {"x": value})])
        for text in (
            str(2**63),
            str(-(2**63) - 1),
            hex(2**63),
            oct(2**64),
            bin(2**64),
            "0x" + "f" * 60_000,
            "9" * 4_300,
        ):
            for document in (f"[[m]]\nx = {text}", f"[[m]]\ny = [1]\n[m.y2]\nx = [[{text}]]"):
                self.assertEqual(self.reason(document), "not TOML: x: an integer does not fit in 64 bits")

    def test_more_digits_than_python_reads(self) -> None:
        """The same for those that Python itself would not read; it is not quoted."""
        for text in ("9" * 4_301, "-" + "9" * 60_000, "1" + "_1" * 30_000):
            self.assertEqual(self.reason(f"[[m]]\nx = {text}"), "not TOML: an integer does not fit in 64 bits")

    def test_floats_are_no_integers(self) -> None:
        """A float may be larger, and have any number of digits."""
        [(_, keys)] = read_entries(b"[[m]]\nx = 1e300\ny = 1.%b" % (b"1" * 60_000))
        self.assertEqual((keys["x"], keys["y"]), (1e300, 10 / 9))

    def test_toml_1_0(self) -> None:
        """TOML 1.1 is not read: a line break in an inline table, `\\e`, `\\x41`, a time without seconds."""
        for value in ("{x = 1,}", "{\n}", '"\\e"', '"\\x41"', "07:32"):
            self.assertIn("not TOML: ", self.reason(f"[[m]]\nx = {value}"))

    def test_where(self) -> None:
        """A reason says where in the document, and is a line of at most 200 characters."""
        self.assertEqual(self.reason("[[m]]\nx = ?"), "not TOML: Invalid value (at line 2, column 5)")
        self.assertEqual(
            self.reason("[[m]]\nx = {" + '"\\n" = 1, ' * 2 + "}"),
            "not TOML: Duplicate inline table key '\\n' (at line 2, column 24)",
        )
        self.assertEqual(len(self.reason(f"[{'x' * 1_000}]\n" * 2)), 200)

    def test_not_utf8(self) -> None:
        """The first byte that is not UTF-8 is named."""
        reason = str(self.assertRaises(NotToml, read_entries, b"[[m]]\nx = '\xc3\xa9\xc3'"))
        self.assertEqual(reason, "not UTF-8 (at byte 13)")


class WriteTests(SynchronousTestCase):
    """Entries as the server writes them."""

    def assert_same(self, value: object) -> None:
        for keys in ({"x": value}, {"x": [value, [value]]}, {"x": {"y": value, "z": {"z": value}}}):
            for loads in (tomllib.loads, tomli.loads):
                [entry] = loads(written(keys))["m"]
                self.assertEqual(repr(entry), repr(keys))

    def test_empty(self) -> None:
        """An entry without keys is its header."""
        self.assertEqual(write_entry("m", {}), (b"[[m]]\n", b""))

    def test_head_and_tail(self) -> None:
        """Keys may be added between the entry's own and its tables'."""
        head, tail = write_entry("m", {"x": {"y": 1}, "a": [{"b": 1}]})
        self.assertEqual((head, tail), (b"[[m]]\na = [{b = 1}]\n", b"[m.x]\ny = 1\n"))
        self.assertEqual(
            tomllib.loads((head + b"z = 2\n" + tail).decode())["m"], [{"a": [{"b": 1}], "z": 2, "x": {"y": 1}}]
        )

    def test_types(self) -> None:
        """Every type that TOML has reads the same again."""
        values: tuple[object, ...] = (
            *("", "x", 'a"b', "a\nb", "\\", True, False, 0, -1, 2**63 - 1, -(2**63), [], {}, [[]], [{}], [{"a": {}}]),
            *(0.0, -0.0, 1.5, 1e16, 1e300, 5e-324, -1e-7, math.inf, -math.inf, math.nan),
            *(date(1, 1, 1), date(9999, 12, 31), time(0, 0), time(23, 59, 59, 999_999), datetime(1979, 5, 27, 7, 32)),
            *(datetime(1, 1, 1, 0, 0, 0, 1), datetime(1979, 5, 27, tzinfo=timezone(timedelta(hours=-7, minutes=-30)))),
        )
        for value in values:
            self.assert_same(value)

    def test_utc(self) -> None:
        """A time in UTC is one in UTC."""
        [entry] = tomllib.loads(written({"x": datetime(1979, 5, 27, tzinfo=UTC)}))["m"]
        self.assertEqual(entry["x"].utcoffset(), timedelta(0))

    def test_keys(self) -> None:
        """Any text may be a key, of an entry, of a table in it, of an inline table, and name a table."""
        for key in (
            "x",
            "a b",
            "",
            "a.b",
            '"',
            "'",
            "\n",
            "é",
            "\x00",
            "]",
            "=",
            "#",
            "-",
            "_",
            "1",
            "from\n",
            "\\u0041",
        ):
            keys = {key: 1, "t": {key: {key: 1}}}
            self.assertEqual(tomllib.loads(written(keys)), {"m": [keys]})
            self.assertEqual(tomllib.loads(written({key: {"x": 1}})), {"m": [{key: {"x": 1}}]})

    def test_bare_keys(self) -> None:
        """Keys are bare where they can be, and ASCII."""
        self.assertEqual(written({"aZ0_-": 1, "é": 2}), '[[m]]\naZ0_- = 1\n"é" = 2\n')

    def test_one_line_a_key(self) -> None:
        """However nested a value, it is on its key's line."""
        self.assertEqual(written({"x": [[1, {"y": "a\n\nb"}], "\n\n"]}).count("\n"), 2)

    def test_no_toml(self) -> None:
        """What TOML has no type for is not written."""
        for value in (None, b"x", 1j, ("x",)):
            self.assertRaises(KeyError, written, {"x": value})


class QuoteTests(SynchronousTestCase):
    """Strings as they stand between quotes."""

    def test_every_character(self) -> None:
        """Every character reads as itself again."""
        codes = [*range(0xD800), *range(0xE000, 0x10000), *range(0x10000, 0x110000, 0xFFF)]
        text = "".join(map(chr, codes))
        for loads in (tomllib.loads, tomli.loads):
            self.assertEqual(loads(f'x = "{quote(text).decode()}"'), {"x": text})

    def test_as_written(self) -> None:
        """Escaped is what must be, in the shortest form; the rest stays as it is, so that ids compare as bytes."""
        self.assertEqual(
            quote('"\\\b\t\n\f\r\x00\x1f\x7f é\u2028'), '\\"\\\\\\b\t\\n\\f\\r\\u0000\\u001f\\u007f é\u2028'.encode()
        )

    def test_without_escaped_quotes(self) -> None:
        """Every escaped quote becomes `\\u0022`, and no escaped backslash before a closing quote does."""
        self.assertEqual(without_escaped_quotes(b'x = "\\"\\\\\\"\\\\"'), b'x = "\\u0022\\\\\\u0022\\\\"')
        self.assertEqual(without_escaped_quotes(b'x = "\\\\"'), b'x = "\\\\"')
