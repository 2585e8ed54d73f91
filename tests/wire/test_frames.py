"""Frames to items and items to frames."""

from __future__ import annotations

import tomllib
from typing import Any

import tomli
from twisted.trial.unittest import SynchronousTestCase

from simple_im.wire import frames
from simple_im.wire.compact import to_toml
from simple_im.wire.frames import Ack, Bad, Item, Message
from simple_im.wire.toml import quote
from tests.wire.frames import COMPACT, DEVICE, TOML, Golden, read_fast, text

KEYS = (b'id = "a"', b't = "text"', b'c = "hi"', b"to = 2")
ODD_TEXTS = (
    *(
        '"',
        '\\"',
        "'",
        "\\",
        '"""',
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        "\x00",
        "\x01\x1f\x7f\x80",
        "\u202e",
        "\u2028\u2029\x85",
    ),
    *('"\n[[m]]\nfrom = 1\n', "\\u0041", "\ufeff", "😀", "\ud7ff\ue000\U0010ffff", "", "]]", "# no comment", " "),
)
"""Texts that break out of a string, or out of a line, where somebody forgot to escape them."""


def parsed(frame: bytes) -> dict[str, Any]:
    """What two parsers make of what the server writes: the same, or it is not TOML 1.0."""
    document = tomllib.loads(frame.decode())
    assert tomli.loads(frame.decode()) == document
    return document


def is_framed(frame: bytes) -> bool:
    """Whether the blank line at its end is its only one."""
    return frame.endswith(b"\n\n") and b"\n\n" not in frame[:-1] and not frame.startswith(b"\n")


def stamped(item: Item) -> bytes:
    """The message as its recipients get it."""
    assert isinstance(item, Message)
    return frames.stamped(item.head, item.tail, frames.stamp(1, 1444719450), 3)


def only(frame: bytes, *, compact: bool = False) -> Item:
    """The one item of a frame."""
    [item] = frames.read(frame, DEVICE, compact=compact)
    return item


class GoldenTests(SynchronousTestCase):
    """Each frame of the golden table."""

    def assert_read(self, golden: Golden, frame: bytes, *, compact: bool) -> None:
        self.assertEqual(frames.read(frame, DEVICE, compact=compact), golden.items, golden.name)

    def test_read(self) -> None:
        """Each frame gives its items."""
        for golden in TOML + COMPACT:
            self.assert_read(golden, golden.frame, compact=golden.compact)

    def test_read_fast(self) -> None:
        """The same items where the fast way takes it; it takes good ones only, and some."""
        taken = [golden for golden in TOML + COMPACT if read_fast(golden.frame, DEVICE) is not None]
        for golden in taken:
            self.assertEqual(read_fast(golden.frame, DEVICE), golden.items, golden.name)
        self.assertEqual({type(item) for golden in taken for item in golden.items}, {Message, Ack})

    def test_good_ones_on_a_compact_connection(self) -> None:
        """A valid frame means the same on a compact connection."""
        for golden in TOML:
            if not any(type(item) is Bad for item in golden.items):
                self.assert_read(golden, golden.frame, compact=True)

    def test_compact_ones_elsewhere(self) -> None:
        """A compact frame on another connection is one bad frame, with its id where it has one."""
        for golden in COMPACT:
            if b"\n" not in golden.frame:
                self.assertIsInstance(only(golden.frame), Bad, golden.name)

    def test_unfolded(self) -> None:
        """A compact frame is what its TOML form is."""
        for golden in COMPACT:
            if not any(type(item) is Bad for item in golden.items):
                self.assert_read(golden, to_toml(golden.frame.decode()).encode(), compact=False)

    def test_what_is_passed_on(self) -> None:
        """Each good message is passed on as valid TOML, one entry and one blank line."""
        for golden in TOML + COMPACT:
            for item in golden.items:
                if isinstance(item, Message):
                    self.assertEqual(len(parsed(stamped(item))[item.table]), 1, golden.name)
                    self.assertTrue(is_framed(stamped(item)), golden.name)


class OrderTests(SynchronousTestCase):
    """Entries are judged one by one, in the order in which they are written."""

    def test_across_tables(self) -> None:
        """Whatever their tables."""
        order = ("a", "m", "n", "a", "gm", "m", "zz", "m", "a", "gn", "zz", "n", "m")
        entries = [text(table.encode(), b'id = "%d"' % at) for at, table in enumerate(order)]
        items = frames.read(b"\n".join(entries), DEVICE)
        self.assertEqual([item.id for item in items], [b"%d" % at for at in range(len(order))])

    def test_written_in_several_ways(self) -> None:
        """However a header is written: spaced, quoted, escaped, with comments and nested tables in between."""
        headers = (b"[[a]]", b"[[ a ]] # [[a]]", b'[["a"]]', b"  [[\t'a' ]]", b'[["\\u0061"]]')
        between = (b"x = [", b'[["a"]]', b"]", b"[a.y]", b"[[a.z]]", b'[[a."[[a]]"]]')
        lines = [line for at, header in enumerate(headers) for line in (header, b'id = "%d"' % at, *between)]
        self.assertEqual(frames.read(b"\n".join(lines), DEVICE), [Ack(b"%d" % at) for at in range(len(headers))])

    def test_bad_one_changes_nothing(self) -> None:
        """A bad entry has its own answer; the ones around it are taken."""
        frame = b"\n".join([text(b"a", b'id = "1"'), text(b"a", b"id = 2"), text(b"a", b'id = "3"')])
        self.assertEqual(frames.read(frame, DEVICE), [Ack(b"1"), Bad(None, "id must be a string"), Ack(b"3")])

    def test_not_toml(self) -> None:
        """Where the frame is not TOML, there is one answer and nothing is done, with the first id in it."""
        frame = b"\n".join([text(b"a", b'id = "1"'), text(b"a", b'id = "2"'), b"x ="])
        [bad] = frames.read(frame, DEVICE)
        self.assertEqual(bad, Bad(b"1", "not TOML: Invalid value (at end of document)"))


class LooseIdTests(SynchronousTestCase):
    """The id of what is not TOML, where one can be read."""

    def assert_found(self, expected: bytes | None, *texts: bytes) -> None:
        for frame in texts:
            self.assertEqual(frames.loose_id(frame), expected, frame)

    def test_found(self) -> None:
        """A key `id` with a string, wherever it stands."""
        self.assert_found(b"a", b'[[m]]\nid = "a"', b'[[m]] id="a"', b"[[m]]id='a'", b'id\t=\t"a"', b'\xff\n id = "a"')

    def test_first(self) -> None:
        """The first of several."""
        self.assert_found(b"a", b'[[m]]\nid = "a"\nid = "b"', b'id = 1\nid = "a"', b"id = \"\\x\"\nid = 'a'")

    def test_not_found(self) -> None:
        """No other key, no number, no string with escapes or without an end."""
        self.assert_found(
            None, b'g_id = "a"', b'xid = "a"', b"id = 5", b'id = "a\nb"', b'id = "\\u0041"', b'id = "a', b""
        )

    def test_not_utf8(self) -> None:
        """An id that is not UTF-8 can't be answered with."""
        self.assert_found(None, b'id = "\xff"')

    def test_multibyte(self) -> None:
        """One in UTF-8 can."""
        self.assert_found("é😀".encode(), 'id = "é😀"'.encode())


class PassedOnTests(SynchronousTestCase):
    """What recipients get."""

    def entry(self, *keys: bytes, compact: bool = False) -> dict[str, Any]:
        """What a recipient reads of a message with these keys besides the required ones."""
        [entry] = parsed(stamped(only(text(b"m", *KEYS, *keys), compact=compact)))["m"]
        return dict(entry)

    def test_servers_keys(self) -> None:
        """`from`, `ts` and `seq` are what the server says, however a client writes them."""
        expected = self.entry()
        self.assertEqual((expected["from"], expected["ts"], expected["seq"]), (1, 1444719450, 3))
        for key in (
            b"from",
            b'"from"',
            b"'from'",
            b'"\\u0066rom"',
            b'"\\U00000066rom"',
            b"ts",
            b'"seq"',
            b"from.x",
            b'"ts".x',
        ):
            self.assertEqual(self.entry(key + b" = 9"), expected, key)
        for tables in (b"[m.from]", b"[[m.ts]]", b'[m."seq"]\nx = 1', b"[m.from.x]", b"from = [1]", b"ts = {x = 1}"):
            self.assertEqual(self.entry(tables), expected, tables)

    def test_from_in_a_string(self) -> None:
        """What stands in a string is text."""
        keys = (b'x = "\\nfrom = 9"', b"y = '''", b"from = 9", b"[[m]]'''")
        self.assertEqual({**self.entry(), "x": "\nfrom = 9", "y": "from = 9\n[[m]]"}, self.entry(*keys))

    def test_from_of_a_nested_table(self) -> None:
        """A nested `from` is the app's own."""
        self.assertEqual(self.entry(b"m.from = 9"), {**self.entry(), "m": {"from": 9}})
        self.assertEqual(self.entry(b"[m.x]", b"from = 9"), {**self.entry(), "x": {"from": 9}})

    def test_device(self) -> None:
        """`d` is the connection's device, whatever the frame says, and of whatever type."""
        for key in (b'd = "ipad"', b'd = "android"', b'"d" = 1', b"d.x = 1", b"[m.d]\nx = 1", b"[[m.d]]", b"d = '\"'"):
            self.assertEqual(self.entry(key), self.entry(), key)
        self.assertEqual(self.entry()["d"], "android")

    def test_odd_device(self) -> None:
        """A device's name is escaped once."""
        for name in ODD_TEXTS:
            for frame in (text(b"m", *KEYS), text(b"m", *KEYS, b"x = 1"), text(b"m", *KEYS, b'd = ""')):
                [item] = frames.read(frame, quote(name))
                self.assertEqual(parsed(stamped(item))["m"][0]["d"], name)

    def test_unknown_keys(self) -> None:
        """Keys that the server does not know are passed on as they are, of every type, and in their order."""
        keys = (
            *(b's = "\\u00e9"', b"i = -0x1".replace(b"-", b""), b"f = 1e3", b"b = true", b"at = 1979-05-27T07:32:00Z"),
            *(
                b"l = 1979-05-27 07:32:00.5",
                b"day = 1979-05-27",
                b"time = 07:32:00",
                b"inf = -inf",
                b"a = [[1], ['x']]",
            ),
            *(
                b"t2 = {x = {y = []}}",
                b'"quoted key" = 1',
                b"'' = 2",
                b"[m.sub]",
                b"x = 1",
                b"[m.sub.sub]",
                b"y = [{}]",
            ),
            *(b"[[m.aot]]", b"x = 1", b"[m.aot.sub]", b"[[m.aot]]", b"x = 2"),
        )
        written = tomllib.loads(text(b"m", *KEYS, *keys).decode())["m"][0]
        self.assertEqual({**written, **self.entry()}, self.entry(*keys))
        self.assertEqual({**written, **self.entry()}, self.entry(*keys, compact=True))

    def test_order_of_keys(self) -> None:
        """Keys keep their order; nested tables stand behind them."""
        entry = self.entry(b"z = 1", b"y.y = 1", b"x = 1")
        self.assertEqual(list(entry), ["id", "t", "c", "to", "z", "x", "d", "from", "ts", "seq", "y"])

    def test_size(self) -> None:
        """What is passed on is a small multiple of what came, whatever names and nesting came."""
        name = b"k" * 20_000
        worst = (
            b"[m.%b]\n" % name + b"".join(b"%d.x=1\n" % at for at in range(4_000)),
            b"%b=[{x='%b'},%b]" % (name, b"v" * 200, b"{}," * 13_000),
            b"x=" + b"[" * 25 + b"1," * 20_000 + b"]" * 25,
            b"x=" + b"{a=" * 25 + b"[" + b"{}," * 15_000 + b"]" + b"}" * 25,
            b"".join(b"%d.a.a.a.a.a.a.a.a=1\n" % at for at in range(2_500)),
        )
        for keys in worst:
            frame = text(b"m", *KEYS, keys)
            self.assertLess(len(stamped(only(frame))), 4 * len(frame))


class AnswerTests(SynchronousTestCase):
    """What the server says of its own."""

    def test_done(self) -> None:
        """`s = 0`, and no reason."""
        self.assertEqual(frames.answer(b"a_01"), b'[[rr]]\nid = "a_01"\ns = 0\n\n')

    def test_refused(self) -> None:
        """`s = 1` and why."""
        self.assertEqual(frames.answer(b"a_01", "token error"), b'[[rr]]\nid = "a_01"\ns = 1\nr = "token error"\n\n')

    def test_refused_without_id(self) -> None:
        """Without an id where none could be read."""
        self.assertEqual(frames.answer(None, "too large"), b'[[rr]]\ns = 1\nr = "too large"\n\n')

    def test_expired(self) -> None:
        """With how many entries expired, where some did."""
        self.assertEqual(frames.answer(b"a", more={"expired": 7}), b'[[rr]]\nid = "a"\ns = 0\nexpired = 7\n\n')

    def test_acknowledgement(self) -> None:
        """`[[a]]` with the id."""
        self.assertEqual(frames.acknowledgements([b"a_02"]), b'[[a]]\nid = "a_02"\n\n')

    def test_bye(self) -> None:
        """`[[bye]]` with the reason."""
        self.assertEqual(frames.bye("slow"), b'[[bye]]\nr = "slow"\n\n')

    def test_odd_texts(self) -> None:
        """Any text comes out of the server's TOML as it went in: as an id, as a reason, and on one line."""
        for odd in ODD_TEXTS:
            for frame in (frames.answer(quote(odd), odd), frames.acknowledgements([quote(odd)]), frames.bye(odd)):
                [[entry]] = parsed(frame).values()
                self.assertEqual({entry[key] for key in ("id", "r") if key in entry}, {odd})
                self.assertTrue(is_framed(frame))

    def test_odd_ids(self) -> None:
        """The id of a message is the same text in its answer as in the frame that it came in."""
        for odd in ODD_TEXTS:
            frame = text(b"m", b'id = "%b"' % quote(odd), *KEYS[1:])
            item = only(frame)
            assert isinstance(item, Message | Bad) and item.id is not None
            self.assertEqual(parsed(frames.acknowledgements([item.id]))["a"][0]["id"], odd)
            self.assertEqual(isinstance(item, Message), odd != "")

    def test_one_id_one_form(self) -> None:
        """However an id is written, it is kept in one form, so that an ack finds its entry."""
        for written in (b'"A\\""', b"'A\"'", b'"\\u0041\\u0022"', b'"""A\\""""', b"'''A\"'''"):
            self.assertEqual(only(text(b"a", b"id = " + written)), Ack(b'A\\"'))

    def test_reasons(self) -> None:
        """A reason is on one line, of bounded length, without quotes of the server's own making."""
        for frame in (
            b'"' + b"x" * 60_000 + b'"',
            text(b'"%b"' % (b"x" * 60_000)),
            b"[%b]\n" % (b"x." * 30 + b"x") * 2,
            b"'say \"hi\"' = 1",
        ):
            item = only(frame)
            assert isinstance(item, Bad)
            self.assertLessEqual(len(item.reason), 200)
            self.assertNotIn(b"\\", frames.answer(None, item.reason))


class CredentialsTests(SynchronousTestCase):
    """What a login says."""

    user = {"id": 1, "d": "ipad", "token": "AAklxuC39JJtttUMwKHq3teKwOzWtmJc"}

    def test_read(self) -> None:
        """Who, on which device, with which token."""
        read = frames.credentials(self.user)
        self.assertEqual((read.user, read.device, read.token), (1, "ipad", self.user["token"]))

    def test_missing(self) -> None:
        """The reason names what is missing."""
        for key in self.user:
            left = {name: value for name, value in self.user.items() if name != key}
            self.assertEqual(str(self.assertRaises(ValueError, frames.credentials, left)), f"{key} Required")

    def test_wrong_type(self) -> None:
        """Or what has the wrong type; a boolean is no integer."""
        for key, value, reason in (
            *(("id", True, "id must be an integer"), ("id", "1", "id must be an integer")),
            *(("d", 5, "d must be a string"), ("token", ["x"], "token must be a string")),
        ):
            wrong = {**self.user, key: value}
            self.assertEqual(str(self.assertRaises(ValueError, frames.credentials, wrong)), reason)


class ForCompactTests(SynchronousTestCase):
    """What is written to a compact connection: the same TOML, without what its client can't read."""

    def written(self, *keys: bytes) -> bytes:
        return frames.for_compact(stamped(only(text(b"m", *KEYS, *keys))))

    def test_unchanged(self) -> None:
        """Most entries are the same for all."""
        self.assertEqual(self.written(), stamped(only(text(b"m", *KEYS))))

    def test_dup(self) -> None:
        """`dup` is a boolean: it is left out."""
        self.assertEqual(self.written(b"dup = true"), self.written())
        self.assertEqual(self.written(b"'dup' = false"), self.written())

    def test_nested_dup(self) -> None:
        """A nested key of the same name is the app's own, and so is what a string says."""
        entry = self.written(b"dup = true", b'x = "\\ndup = true\\n"', b"y = {dup = true}", b"[m.z]", b"dup = true")
        self.assertEqual(
            {key: value for key, value in parsed(entry)["m"][0].items() if key in "dupxyz"},
            {"d": "android", "x": "\ndup = true\n", "y": {"dup": True}, "z": {"dup": True}},
        )

    def test_quotes(self) -> None:
        """No escaped quotes: to such a client any quote ends a string. The value is the same."""
        for odd in ('"', '\\"', '\\\\"', '"""', 'say "hi"', "\\u0022"):
            entry = frames.for_compact(frames.acknowledgements([quote(odd)]))
            self.assertEqual(entry.count(b'"'), 2)
            self.assertEqual(parsed(entry)["a"][0]["id"], odd)

    def test_nested_quotes(self) -> None:
        """The same in nested tables and in keys."""
        entry = self.written(b"x = ['\"']", b"[m.z]", b"'\"' = '\"'")
        self.assertNotIn(b'\\"', entry)
        self.assertEqual([parsed(entry)["m"][0][key] for key in "xz"], [['"'], {'"': '"'}])
