"""The fast way for plain frames: what takes it. That it gives what the full way gives is in `test_property`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.wire import plain

START = b'[[m]]\nid = "a"\nt = "text"\nc = "hi"\nto = 2'
HEAD = START + b'\nd = "ipad"\n'


class MessageTests(SynchronousTestCase):
    """`[[m]]`."""

    def test_taken(self) -> None:
        """A message as clients write it, with or without `d`, and with or without a line end."""
        for rest in (b"", b"\n", b'\nd = "ipad"', b'\nd = "ipad"\n', b'\nd = "android"', b'\nd = ""'):
            self.assertEqual(plain.read(START + rest, b"ipad"), (b"a", 2, HEAD), rest)

    def test_not_copied(self) -> None:
        """The head is the client's bytes with the device's name."""
        frame = '[[m]]\nid = "é"\nt = "ü"\nc = "日本 # [[m]]"\nto = 0'.encode()
        self.assertEqual(plain.read(frame, b'\\"'), ("é".encode(), 0, frame + b'\nd = "\\""\n'))

    def test_bounds(self) -> None:
        """The longest id and t, an empty c, the greatest number that is taken; one more is left to the full way."""
        frame = b'[[m]]\nid = "%b"\nt = "%b"\nc = ""\nto = %b'
        self.assertIsNotNone(plain.read(frame % (b"i" * 128, b"t" * 64, b"9" * 16), b"ipad"))
        for id_, t, to in (
            *((b"i" * 129, b"t", b"1"), (b"", b"t", b"1"), (b"i", b"t" * 65, b"1"), (b"i", b"", b"1")),
            *(
                (b"i", b"t", b"9" * 17),
                (b"i", b"t", b"01"),
                (b"i", b"t", b"+1"),
                (b"i", b"t", b"-1"),
                (b"i", b"t", b"1_0"),
            ),
        ):
            self.assertIsNone(plain.read(frame % (id_, t, to), b"ipad"), (id_, t, to))

    def test_left_to_the_full_way(self) -> None:
        """All that is not plain: more keys, other keys, escapes, control characters, comments, line ends, not UTF-8."""
        for frame in (
            *(
                START + rest
                for rest in (b"\nfrom = 9", b'\n\nd = "x"', b'\nd = "x"\nto = 3', b" ", b"\r", b" # x", b"\nd = 1")
            ),
            *(
                START.replace(b"hi", odd)
                for odd in (b"\\n", b'"', b"\\", b"\x00", b"\t", b"\n", b"\r", b"\x7f", b"\xff", b"\xc3")
            ),
            *(START + b'\nd = "%b"' % odd for odd in (b"\xff", b"\\", b"\n")),
            *(
                b"\n" + START,
                b" " + START,
                START.replace(b" = ", b"="),
                START.replace(b"[[m]]", b"[[n]]"),
                START + b"\n\n",
                b"",
            ),
        ):
            self.assertIsNone(plain.read(frame, b"ipad"), frame)


class AckTests(SynchronousTestCase):
    """`[[a]]`."""

    def test_taken(self) -> None:
        """An acknowledgement by id, with or without `d`."""
        for rest in (b"", b"\n", b'\nd = "ipad"', b'\nd = "android"\n'):
            self.assertEqual(plain.read(b'[[a]]\nid = "a"' + rest, b"ipad"), (b"a", -1, b""))

    def test_left_to_the_full_way(self) -> None:
        """Any other."""
        for rest in (
            b"id = 1",
            b"seq = 1",
            b'id = ""',
            b'id = "a"\nseq = 1',
            b'id = "%b"' % (b"i" * 129),
            b'id = "\xff"',
        ):
            self.assertIsNone(plain.read(b"[[a]]\n" + rest, b"ipad"), rest)
