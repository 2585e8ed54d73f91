"""The compact dialect: entries on one line."""

from __future__ import annotations

import tomllib

from twisted.trial.unittest import SynchronousTestCase

from simple_im.wire.compact import RecordScanner, to_toml
from tests.wire.frames import GOOD


def complete(*records: bytes) -> bool:
    """Whether a frame may end behind these records."""
    scanner = RecordScanner()
    for record in records:
        scanner.feed(record)
    return scanner.complete


class ToTomlTests(SynchronousTestCase):
    """Each header and each key gets a line of its own."""

    def test_line(self) -> None:
        """One line becomes several."""
        text = to_toml('[[r]] id = "a_01" t = "login" [r.user] id = 1 d = "ipad"')
        self.assertEqual(text, '[[r]]\nid = "a_01"\nt = "login"\n[r.user]\nid = 1\nd = "ipad"\n')

    def test_without_spaces(self) -> None:
        """Spaces are not needed where a string, a bracket or a header ends something."""
        text = to_toml("[[a]]id='1'x=[1]y={z=1}[[a]]id=\"2\"")
        self.assertEqual(text, "[[a]]\nid='1'\nx=[1]\ny={z=1}\n[[a]]\nid=\"2\"\n")

    def test_keys(self) -> None:
        """Keys may be quoted and dotted, with spaces around the dots."""
        self.assertEqual(to_toml('[[n]] "a b" = 1 c . "d" = 2 e.f=3'), '[[n]]\n"a b" = 1\nc . "d" = 2\ne.f=3\n')

    def test_values(self) -> None:
        """A value is kept with all that is in it."""
        for value in (
            *(
                '"x = 1 [[a]]"',
                "'[a] x = 1'",
                "[ 1, [ 2 ], { x = 3, y = [] } ]",
                "{ x = { y = 1 } }",
                "-1.5e3",
                "1979-05-27",
            ),
            *(
                "1979-05-27 07:32:00Z",
                "07:32:00",
                '"""\nx = 1\n"""',
                "'''\n[[a]]'''",
                "[ # x\n1,\n# y\n]",
                '"\\""',
                "true",
            ),
        ):
            self.assertEqual(to_toml(f"[[n]] a = {value} b = 1"), f"[[n]]\na = {value}\nb = 1\n")

    def test_comments(self) -> None:
        """A comment goes to the end of its line, as in TOML."""
        self.assertEqual(to_toml("[[a]] # x = 1\nid = 1 # y = 2\n"), "[[a]]\n# x = 1\nid = 1\n# y = 2\n")

    def test_toml(self) -> None:
        """TOML keeps its meaning."""
        for golden in GOOD:
            text = golden.frame.decode()
            self.assertEqual(tomllib.loads(to_toml(text)), tomllib.loads(text), golden.name)

    def test_not_toml(self) -> None:
        """What can't be TOML does not become it."""
        for text in (
            *(
                "[[a]",
                "[[a]] id",
                "[[a]] id =",
                "[[a]] id = = 1",
                "[[a]] = 1",
                "[[a]] id = [1",
                "[[a]] id = ]",
                '[[a]] id = "1',
            ),
            *(
                "[[a]] id\n= 1",
                "[[a]] id =\n1",
                "[[a\n]] id = 1",
                "[[a]] x . = 1",
                "[[a]] , id = 1",
                "]] id = 1",
                "a] b = 1",
            ),
        ):
            self.assertRaises(tomllib.TOMLDecodeError, tomllib.loads, to_toml(text))


class RecordScannerTests(SynchronousTestCase):
    """Where a frame may end; `test_framing.RecordTests` has the rest."""

    def test_complete(self) -> None:
        """With a key behind the last header and all strings closed."""
        self.assertTrue(complete(b'[[a]] id = "1"'))
        self.assertFalse(complete(b'[[a]] id = "1'))
        self.assertFalse(complete(b'[[a]] id = "1" [[a]]'))
        self.assertFalse(complete(b""))

    def test_goes_on(self) -> None:
        """It may become complete and stop being so, record by record."""
        scanner = RecordScanner()
        seen = []
        for record in (b"[[a]]", b" id = ", b'"1', b'"', b" [[", b"a]]", b"x = '''", b"'", b"''", b" y = {", b"}"):
            scanner.feed(record)
            seen.append(scanner.complete)
        self.assertEqual(seen, [False, True, False, True, False, False, False, False, True, True, True])

    def test_every_cut(self) -> None:
        """Cut anywhere, a frame is judged the same."""
        for frame in (
            b'[[n]] a = """x"y\\"""""" b = \'\'\'\'\'\' [n.z] c = "\\\\" # x',
            b"[[n]] a = [[1], {x = '['}] [[n]] b = 1 [n.c]",
            b"[[n]] a = '' b = \"\" c = '''\n'''' d = \"",
        ):
            for at in range(len(frame)):
                self.assertEqual(complete(frame[:at], frame[at:]), complete(frame), frame[:at])
