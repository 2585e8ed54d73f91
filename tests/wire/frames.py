"""The golden table: frames, good and bad, and what is read from each. Several suites go through all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from simple_im.wire import plain
from simple_im.wire.frames import Ack, Bad, Item, Message, Request

DEVICE: Final = b"android"
"""The device that every frame here is read for."""


@dataclass(frozen=True)
class Golden:
    """A frame without its blank line, and the items in it."""

    name: str
    frame: bytes
    items: list[Item]
    compact: bool = False


def message(table: str, id_: bytes, to: int, *lines: bytes, tail: bytes = b"", dup: bool = False) -> Message:
    """The message whose head has these lines below its header."""
    head = b"[[%b]]\n%b" % (table.encode(), b"".join(line + b"\n" for line in lines))
    return Message(table, id_, to, head, tail, dup)


def text(table: bytes, *lines: bytes) -> bytes:
    """A frame of one entry."""
    return b"\n".join([b"[[%b]]" % table, *lines])


_M: Final = (b'id = "a"', b't = "text"', b'c = "hi"', b"to = 2")
_D: Final = b'd = "android"'
_HI: Final = message("m", b"a", 2, *_M, _D)
_TOKEN: Final = "rylFLDGW4NN0h4leO97OGibar8KQS8lx"
_LONG: Final = "not TOML: x: an integer does not fit in 64 bits"


def read_fast(frame: bytes, device: bytes) -> list[Item] | None:
    """What the fast way makes of a frame, as the items of the full way; None where it does not take it."""
    message, id_ = plain.read_message(frame, device), plain.read_acknowledgement(frame)
    if message is not None:
        return [Message("m", *message)]
    if id_ is not None:
        return [Ack(id_)]
    login = plain.read_login(frame)
    return None if login is None else [login]


def _bad(name: str, frame: bytes, reason: str, id_: bytes | None = b"a") -> Golden:
    return Golden(name, frame, [Bad(id_, reason)])


def _good(name: str, frame: bytes, *items: Item) -> Golden:
    return Golden(name, frame, list(items))


def _compact(name: str, frame: bytes, *items: Item) -> Golden:
    return Golden(name, frame, list(items), compact=True)


GOOD: Final = [
    _good(
        "the seed's login",
        b'[[r]]\nid="a_01"\nt="login"\n[r.user]\nid=1\nd="ipad"\ntoken="AAklxuC39JJtttUMwKHq3teKwOzWtmJc"',
        Request(b"a_01", "login", {"id": 1, "d": "ipad", "token": "AAklxuC39JJtttUMwKHq3teKwOzWtmJc"}),
    ),
    _good("ping", text(b"r", b'id = "p"', b't = "ping"'), Request(b"p", "ping", {})),
    _good("a plain message", text(b"m", *_M), _HI),
    _good("a plain message with d", text(b"m", *_M, _D), _HI),
    _good("another device's d", text(b"m", *_M, b'd = "ipad"'), _HI),
    _good("d of another type", text(b"m", *_M, b"d = [1]"), _HI),
    _good("d first", text(b"m", b"d = 1", *_M), message("m", b"a", 2, _D, *_M)),
    _good("keys without spaces", text(b"m", b'id="a"', b't="text"', b'c="hi"', b"to=2"), _HI),
    _good("keys in another order", text(b"m", *reversed(_M)), message("m", b"a", 2, *reversed(_M), _D)),
    _good("comments", text(b"m", *_M, b"# is it [[m]] not") + b" # the end", _HI),
    _good("white space", b'  [[ m ]]\t\n\tid = "a"\n t = "text"\n c = "hi" \nto  =  2', _HI),
    _good("quoted header and keys", text(b'"\\u006d"', b'"id" = "a"', *_M[1:]), _HI),
    _good("literal strings", text(b"m", b"id = 'a'", b"t = 'text'", b"c = 'hi'", b"to = 0b10"), _HI),
    _good("a string of several lines", text(b"m", *_M[:2], b'c = """', b'hi"""', b"to = 2"), _HI),
    _good(
        "a line break within",
        text(b"m", *_M[:2], b'c = """h', b'i"""', b"to = 2"),
        message("m", b"a", 2, *_M[:2], b'c = "h\\ni"', _M[3], _D),
    ),
    _good("an empty c", text(b"m", *_M[:2], b'c = ""', _M[3]), message("m", b"a", 2, *_M[:2], b'c = ""', _M[3], _D)),
    _good(
        "the greatest numbers",
        text(b"m", *_M[:3], b"to = 9223372036854775807", b"x = -9223372036854775808"),
        message("m", b"a", 2**63 - 1, *_M[:3], b"to = 9223372036854775807", b"x = -9223372036854775808", _D),
    ),
    _good(
        "the longest id and t",
        text(b"m", b'id = "%b"' % (b"i" * 128), b't = "%b"' % (b"t" * 64), *_M[2:]),
        message("m", b"i" * 128, 2, b'id = "%b"' % (b"i" * 128), b't = "%b"' % (b"t" * 64), *_M[2:], _D),
    ),
    _good("dup", text(b"m", *_M, b"dup = true"), message("m", b"a", 2, *_M, b"dup = true", _D, dup=True)),
    _good("not dup", text(b"m", *_M, b"dup = false"), message("m", b"a", 2, *_M, b"dup = false", _D)),
    _good("the server's keys", text(b"m", *_M, b"from = 9", b"ts = 9", b"seq = 9"), _HI),
    _good("the server's keys quoted", text(b"m", *_M, b'"from" = 9', b"'ts' = 9", b'"\\u0073eq" = 9'), _HI),
    _good("the server's keys dotted", text(b"m", *_M, b"from.x = 9", b"ts.x = 9", b"seq.x = 9"), _HI),
    _good("the server's keys as tables", text(b"m", *_M, b"[m.from]", b"x = 9", b"[[m.seq]]", b"x = 9"), _HI),
    _good(
        "a key that only ends in from",
        text(b"m", *_M, b"m.from = 9"),
        message("m", b"a", 2, *_M, _D, tail=b"[m.m]\nfrom = 9\n"),
    ),
    _good(
        "the app's own keys",
        text(b"m", *_M, b"x = [1, 2.5, true]", b"day = 1979-05-27", b"[m.more]", b"dup = true", b"deep = {y = {}}"),
        message(
            *("m", b"a", 2, *_M, b"x = [1, 2.5, true]", b"day = 1979-05-27", _D),
            tail=b"[m.more]\ndup = true\ndeep = {y = {}}\n",
        ),
    ),
    _good(
        "a table in the entry before the next entry",
        b"\n".join([text(b"m", *_M), b"[m.x]", b"y = 1", text(b"m", *_M)]),
        message("m", b"a", 2, *_M, _D, tail=b"[m.x]\ny = 1\n"),
        _HI,
    ),
    _good(
        "an array of tables in the entry",
        text(b"m", *_M, b"[[m.x]]", b"y = 1", b"[[m.x]]", b"y = 2"),
        message("m", b"a", 2, *_M, b"x = [{y = 1}, {y = 2}]", _D),
    ),
    _good(
        "a group message",
        text(b"gm", *_M[:3], b"g_id = 7"),
        message("gm", b"a", 7, *_M[:3], b"g_id = 7", _D),
    ),
    _good("a notification", text(b"n", *_M[:2], b"to = 2"), message("n", b"a", 2, *_M[:2], b"to = 2", _D)),
    _good(
        "a group notification",
        text(b"gn", *_M[:2], b"g_id = 7"),
        message("gn", b"a", 7, *_M[:2], b"g_id = 7", _D),
    ),
    _good("an ack", text(b"a", b'id = "a"'), Ack(b"a")),
    _good("an ack with d", text(b"a", b'id = "a"', b'd = "ipad"'), Ack(b"a")),
    _good("an ack by seq", text(b"a", b"seq = 5"), Ack(None, 5)),
    _good("an ack by both", text(b"a", b'id = "a"', b"seq = 5"), Ack(b"a")),
    _good("an ack of a negative seq", text(b"a", b"seq = -5"), Ack(None, -5)),
    _good(
        "entries of several tables",
        b"\n".join([text(b"a", b'id = "1"'), text(b"m", *_M), text(b"a", b'id = "2"'), text(b"m", *_M)]),
        *(Ack(b"1"), _HI, Ack(b"2"), _HI),
    ),
    _good(
        "a bad entry among good ones",
        b"\n".join([text(b"a", b'id = "1"'), text(b"m", *_M[:3]), text(b"x", b'id = "3"'), text(b"m", *_M)]),
        *(Ack(b"1"), Bad(b"a", "to Required"), Bad(b"3", "unknown table x"), _HI),
    ),
]

BAD: Final = [
    _bad("no TOML", b"hello", "not TOML: Expected '=' after a key in a key/value pair (at end of document)", None),
    _bad("no entry", b"# nothing", "no entry in the frame", None),
    _bad("no value", text(b"m", b'id = "a"', b"t ="), "not TOML: Invalid value (at end of document)"),
    _bad(
        "an open header",
        b'[[m]\nid = "a"',
        "not TOML: Expected ']]' at the end of an array declaration (at line 1, column 4)",
    ),
    _bad(
        "an empty header", b'[[]]\nid = "a"', "not TOML: Invalid initial character for a key part (at line 1, column 3)"
    ),
    _bad(
        "a line without a value",
        b'x\n[[m]] id = "a"',
        "not TOML: Expected '=' after a key in a key/value pair (at line 1, column 2)",
    ),
    _bad("a key twice", text(b"m", *_M, b'id = "b"'), "not TOML: Cannot overwrite a value (at end of document)"),
    _bad(
        "a key twice, once quoted",
        text(b"m", *_M, b'"to" = 3'),
        "not TOML: Cannot overwrite a value (at end of document)",
    ),
    _bad("a top-level key", b'x = 1\n[[a]]\nid = "a"', "x must be an entry: [[x]]"),
    _bad("a top-level array", b'x = []\n[[a]]\nid = "a"', "x must be an entry: [[x]]"),
    _bad("a top-level array of tables", b'x = [{}]\n[[a]]\nid = "a"', "x must be an entry: [[x]]"),
    _bad("a table, not an entry", b'[m]\nid = "a"', "m must be an entry: [[m]]"),
    _bad("a dotted entry", b'[[m.x]]\nid = "a"', "m must be an entry: [[m]]"),
    _bad("a table of no entry", b'[[m]]\nid = "a"\n[x.y]', "x must be an entry: [[x]]"),
    _bad("65 bits", text(b"m", *_M, b"x = 9223372036854775808"), _LONG),
    _bad("65 bits below zero", text(b"m", *_M, b"x = [-9223372036854775809]"), _LONG),
    _bad("a hexadecimal number of 65 bits", text(b"m", *_M, b"x = 0x10000000000000000"), _LONG),
    _bad("5,000 digits", text(b"m", *_M, b"x = " + b"9" * 5000), "not TOML: an integer does not fit in 64 bits"),
    _bad(
        "a control character",
        text(b"m", *_M, b'x = "\x01"'),
        "not TOML: Illegal character '\\x01' (at line 6, column 6)",
    ),
    _bad(
        "a lone carriage return",
        text(b"m", *_M, b'x = "\r"'),
        "not TOML: Illegal character '\\r' (at line 6, column 6)",
    ),
    _bad(
        "a surrogate",
        text(b"m", *_M, b'x = "\\ud800"'),
        "not TOML: Escaped character is not a Unicode scalar value (at line 6, column 12)",
    ),
    _bad("not UTF-8", text(b"m", *_M, b'x = "\xff"'), "not UTF-8 (at byte 47)"),
    _bad("unknown table", text(b"zz", b'id = "a"'), "unknown table zz"),
    _bad("the server's own table", text(b"rr", b'id = "a"', b"s = 0"), "unknown table rr"),
    _bad("a table name with a line break", text(b'"x\\ny"', b'id = "a"'), "unknown table x?y"),
    _bad("no id", text(b"m", *_M[1:]), "id Required", None),
    _bad("an id that is a number", text(b"m", b"id = 1", *_M[1:]), "id must be a string", None),
    _bad("an empty id", text(b"m", b'id = ""', *_M[1:]), "id must be 1 to 128 bytes", b""),
    _bad(
        "an id of 129 bytes", text(b"m", b'id = "%b"' % (b"i" * 129), *_M[1:]), "id must be 1 to 128 bytes", b"i" * 129
    ),
    _bad(
        "an id of 65 characters of two bytes",
        text(b"m", b'id = "%b"' % ("é" * 65).encode(), *_M[1:]),
        *("id must be 1 to 128 bytes", ("é" * 65).encode()),
    ),
    _bad("no t", text(b"m", _M[0], *_M[2:]), "t Required"),
    _bad("an empty t", text(b"m", _M[0], b't = ""', *_M[2:]), "t must be 1 to 64 bytes"),
    _bad("a t of 65 bytes", text(b"m", _M[0], b't = "%b"' % (b"t" * 65), *_M[2:]), "t must be 1 to 64 bytes"),
    _bad("a t that is a boolean", text(b"m", _M[0], b"t = true", *_M[2:]), "t must be a string"),
    _bad("no c", text(b"m", *_M[:2], _M[3]), "c Required"),
    _bad("no c for a group", text(b"gm", *_M[:2], b"g_id = 7"), "c Required"),
    _bad("a c that is an array", text(b"m", *_M[:2], b'c = ["hi"]', _M[3]), "c must be a string"),
    _bad("no to", text(b"m", *_M[:3]), "to Required"),
    _bad("a to that is a string", text(b"m", *_M[:3], b'to = "2"'), "to must be an integer"),
    _bad("a to that is a boolean", text(b"m", *_M[:3], b"to = true"), "to must be an integer"),
    _bad("a to that is a float", text(b"m", *_M[:3], b"to = 2.0"), "to must be an integer"),
    _bad("no g_id", text(b"gm", *_M), "g_id Required"),
    _bad("a g_id that is a string", text(b"gn", *_M[:2], b'g_id = "7"'), "g_id must be an integer"),
    _bad("a dup that is a number", text(b"m", *_M, b"dup = 1"), "dup must be a boolean"),
    _bad("a dup that is a string", text(b"n", *_M, b'dup = "true"'), "dup must be a boolean"),
    _bad("an empty ack", b"[[a]]", "id Required", None),
    _bad("an ack whose id is a number", text(b"a", b"id = 1"), "id must be a string", None),
    _bad("an ack of a long id", text(b"a", b'id = "%b"' % (b"i" * 129)), "id must be 1 to 128 bytes", b"i" * 129),
    _bad("an ack whose seq is a boolean", text(b"a", b"seq = true"), "seq must be an integer", None),
    _bad("a request without t", text(b"r", b'id = "a"'), "t Required"),
    _bad("a user that is a string", text(b"r", b'id = "a"', b't = "login"', b'user = "1"'), "user must be a table"),
]

COMPACT: Final = [
    _compact(
        "the original's login",
        b'[[r]] id = "abc_01" t = "login" [r.user] id = 2 d = "android" token = "%b"' % _TOKEN.encode(),
        Request(b"abc_01", "login", {"id": 2, "d": "android", "token": _TOKEN}),
    ),
    _compact(
        "the original's message",
        b'[[m]] id = "msg_id_1795373008" t = "text" c = "hello" to = 3 d = "android"',
        message(
            "m", b"msg_id_1795373008", 3, b'id = "msg_id_1795373008"', b't = "text"', b'c = "hello"', b"to = 3", _D
        ),
    ),
    _compact(
        "the original's group message",
        b'[[gm]] id = "a_03" t = "text" c = "hello" g_id = 1 d = "android"',
        message("gm", b"a_03", 1, b'id = "a_03"', b't = "text"', b'c = "hello"', b"g_id = 1", _D),
    ),
    _compact("the original's ack", b'[[a]] id="msg_id_1795373008" d = "android"', Ack(b"msg_id_1795373008")),
    _compact("without spaces", b'[[m]]id="a"t="text"c="hi"to=2', _HI),
    _compact(
        "several entries",
        b'[[a]] id = "1" [[m]] id = "a" t = "text" c = "hi" to = 2 [[a]] id = "2"',
        Ack(b"1"),
        _HI,
        Ack(b"2"),
    ),
    _compact("an entry a line", b'[[a]] id = "1"\n[[a]] id = "2"\n', Ack(b"1"), Ack(b"2")),
    _compact("valid TOML", text(b"m", *_M), _HI),
    _compact(
        "values with spaces in them",
        b"[[n]] id = 'a' t = \"text\" to = 2 x = [ 1, [ ] , { y = 2 } ] at = 1979-05-27 07:32:00Z [n.z] y = 1",
        message(
            *(
                "n",
                b"a",
                2,
                b'id = "a"',
                b't = "text"',
                b"to = 2",
                b"x = [1, [], {y = 2}]",
                b"at = 1979-05-27T07:32:00+00:00",
                _D,
            ),
            tail=b"[n.z]\ny = 1\n",
        ),
    ),
    _compact(
        "headers in strings",
        b'[[m]] id = "a" t = "text" c = "[[a]] id = 1" to = 2',
        message("m", b"a", 2, *_M[:2], b'c = "[[a]] id = 1"', _M[3], _D),
    ),
    _compact("a comment", b'[[m]] id = "a" t = "text" c = "hi" to = 2 # "', _HI),
    _compact("no c", b'[[m]] id = "a" t = "text" to = 2', Bad(b"a", "c Required")),
    _compact("unknown table", b'[[x]] id = "a"', Bad(b"a", "unknown table x")),
    _compact(
        "a value too many",
        b'[[m]] id = "a" "b"',
        Bad(b"a", "not TOML: Expected '=' after a key in a key/value pair (at line 3, column 4)"),
    ),
    _compact("not UTF-8", b'[[m]] id = "a" c = "\xff"', Bad(b"a", "not UTF-8 (at byte 20)")),
]

TOML: Final = GOOD + BAD
