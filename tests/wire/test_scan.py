"""The tokens of a TOML text, and what is told from them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import NESTING
from simple_im.wire.scan import TooDeep, entry_order, tokens


def cut(text: str) -> list[str]:
    """The texts of the tokens."""
    return [token.text for token in tokens(text)]


def kinds(text: str) -> list[str]:
    """The kinds of the tokens."""
    return [token.kind for token in tokens(text)]


class TokenTests(SynchronousTestCase):
    """A text in tokens."""

    def test_kinds(self) -> None:
        """Each kind."""
        self.assertEqual(
            [(token.kind, token.text) for token in tokens("a-1.b\t= 'x'\n# [c]\r\n\v")],
            [
                *(("word", "a-1.b"), ("space", "\t"), ("punctuation", "="), ("space", " "), ("string", "'x'")),
                *(("newline", "\n"), ("comment", "# [c]\r"), ("newline", "\n"), ("other", "\v")),
            ],
        )

    def test_where(self) -> None:
        """A token knows where it begins."""
        self.assertEqual([token.at for token in tokens("[[m]]\nx = 'y'")], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])

    def test_nothing_is_lost(self) -> None:
        """Joined again, tokens are the text, whatever it is."""
        for text in (
            "",
            "[[m]]\r\nx = [1, {y = '''\n'''}] # z",
            '"""\n""',
            "\\\"'",
            "\ud800\x00\u2028 é=\r",
            "'''''''",
            '"' * 9,
        ):
            self.assertEqual("".join(cut(text)), text)

    def test_strings(self) -> None:
        """A string is one token, of whatever kind, with the quotes that it may hold."""
        for text in (
            *('"a"', "'a'", '""', "''", r'"\""', r'"\\"', r"'\'", '"[[a]] #"', '"a\'"', "'a\"'", '"\u2028"'),
            *('"""a"""', "'''a'''", '"""\n\n"""', "'''\n#'''", '""""a""b"""', "''''a''b'''", r'"""\""""', '"""\\\n"""'),
            *('""""""', "''''''", '"""a""""', '"""a"""""', "'''a''''", "'''a'''''", r'"""\\"""', r"'''\'''"),
        ):
            self.assertEqual(kinds(text), ["string"], text)
            self.assertEqual(cut(f"x={text}\ny"), ["x", "=", text, "\n", "y"])

    def test_strings_side_by_side(self) -> None:
        """A string ends at its closing quote."""
        self.assertEqual(cut(r'"a""b"'), ['"a"', '"b"'])
        self.assertEqual(cut("'a''b'\"c\""), ["'a'", "'b'", '"c"'])
        self.assertEqual(cut('"""a""""""'), ['"""a"""""', '"'])

    def test_open_string(self) -> None:
        """A string that is not closed goes to the end of its line, or of the text if it may hold line breaks."""
        for text in ('"a', r'"a\"', "'a", '"a\\', '"', "'"):
            self.assertEqual(cut(f"{text}\nx"), [text, "\n", "x"])
            self.assertEqual(cut(text), [text])
        for text in ('"""a\n', "'''a\n''", '"""a""\\"""\n', '"""\\', '"""', "'''"):
            self.assertEqual(cut(text), [text])

    def test_open_strings_are_read_once(self) -> None:
        """So no text makes the scanner look for the end of many strings that have none."""
        self.assertEqual(len(cut('\\"""\n' * 1_000)), 2)
        self.assertEqual(len(cut('x = "' + '\\"' * 1_000)), 5)
        self.assertEqual(len(cut("x = '''" + "\n''" * 1_000)), 5)

    def test_date_and_time(self) -> None:
        """A date and a time with a space between are one value; a date and something else are two."""
        self.assertEqual(cut("1979-05-27 07:32:00.5Z x"), ["1979-05-27 07:32:00.5Z", " ", "x"])
        self.assertEqual(cut("1979-05-27 07"), ["1979-05-27", " ", "07"])


class OrderTests(SynchronousTestCase):
    """The headers of entries, in written order."""

    def test_headers(self) -> None:
        """Each `[[…]]` of the top level, as it is written between its brackets."""
        text = "[[a]]\nx = 1\n [[ b ]] # c\n[[\"d\"]]\n[['e.f']]\n[[a]]"
        self.assertEqual(entry_order(text), ["a", "b", '"d"', "'e.f'", "a"])

    def test_other_tables(self) -> None:
        """Neither a table nor what is nested in an entry."""
        self.assertEqual(entry_order('[a]\n[a.b]\n[[a.b]]\n[[a."b"]]\n[["a".b]]\n[[ a . b ]]'), [])

    def test_in_values(self) -> None:
        """Nor what looks like one in an array, a string or a comment."""
        for value in (
            "[\n[[1]]\n]",
            '"""\n[[b]]\n"""',
            "'''\n[[b]]'''",
            "[ # ]\n[[b]]\n]",
            '["]",\n[[1]]\n]',
            "1 # [\n# [[b]]",
        ):
            self.assertEqual(entry_order(f"[[a]]\nx = {value}\n[[c]]"), ["a", "c"], value)

    def test_on_its_line(self) -> None:
        """A header begins its line."""
        self.assertEqual(entry_order("x = 1 [[a]]\n[[b]]"), ["b"])

    def test_carriage_returns(self) -> None:
        """CRLF ends a line too."""
        self.assertEqual(entry_order("[[a]]\r\nx = 1\r\n[[b]]\r\n"), ["a", "b"])


class DepthTests(SynchronousTestCase):
    """How deep a text nests."""

    def assert_depth(self, opening: str, closing: str = "", *, start: str = "[[m]]\nx = ") -> None:
        self.assertEqual(len(entry_order(start + opening * NESTING + closing * NESTING)), start.count("[[m]]"))
        self.assertRaises(TooDeep, entry_order, start + opening * (NESTING + 1) + closing * (NESTING + 1))

    def test_brackets(self) -> None:
        """Arrays and inline tables, closed or not, on one line or on many."""
        self.assert_depth("[", "]")
        self.assert_depth("[")
        self.assert_depth("{x=", "}")
        self.assert_depth("[\n", "\n]")

    def test_dots(self) -> None:
        """The parts of keys, bare or quoted, spaced or not, in headers or not."""
        self.assert_depth(".x", start="[[m]]\nx")
        self.assert_depth(" . 'x'", start="[[m]]\nx")
        self.assert_depth(".x", start="[[m]]\n[m")
        self.assert_depth(".x", start="[[m]]\nx = {x")
        self.assert_depth(".x", start="[[m]]\ny = 1.5\nx")

    def test_side_by_side(self) -> None:
        """What is closed does not count, nor do dots of another key or value."""
        self.assertEqual(entry_order("[[m]]\nx = [" + "[], {}, " * 100 + "]"), ["m"])
        self.assertEqual(entry_order("[[m]]\n" + "x.y.z = 1.5\n" * 100 + "y = [" + "1.5, " * 100 + "]"), ["m"])
        self.assertEqual(entry_order("[[m]]\n" * 100), ["m"] * 100)

    def test_closing_too_often(self) -> None:
        """Brackets that close nothing do not make room for more."""
        self.assert_depth("[", start="[[m]]\nx = ]]]]]]]]")

    def test_in_strings(self) -> None:
        """What stands in strings and comments does not count."""
        self.assertEqual(entry_order(f'[[m]]\nx = "{"[" * 100}" # {"[" * 100}'), ["m"])
