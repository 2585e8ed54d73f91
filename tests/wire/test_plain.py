"""The fast way for plain frames: what takes it. That it gives what the full way gives is in `test_property`."""

from __future__ import annotations

from collections import deque

from twisted.trial.unittest import SynchronousTestCase

from simple_im.wire import plain
from simple_im.wire.frames import Request

START = b'[[m]]\nid = "a"\nt = "text"\nc = "hi"\nto = 2'
HEAD = START + b'\nd = "ipad"\n'
ACK = b'[[a]]\nid = "a"'
LOGIN = '[[r]]\nid = "a"\nt = "login"\n[r.user]\nid = 7\nd = "ipad é"\ntoken = "secret"'.encode()


class MessageTests(SynchronousTestCase):
    """`[[m]]`."""

    def test_taken(self) -> None:
        """A message as clients write it, with or without `d`, and with or without a line end."""
        for rest in (b"", b"\n", b'\nd = "ipad"', b'\nd = "ipad"\n', b'\nd = "android"', b'\nd = ""'):
            self.assertEqual(plain.read_message(START + rest, b"ipad"), (b"a", 2, HEAD), rest)

    def test_not_copied(self) -> None:
        """The head is the client's bytes with the device's name."""
        frame = '[[m]]\nid = "é"\nt = "ü"\nc = "日本 # [[m]]"\nto = 0'.encode()
        self.assertEqual(plain.read_message(frame, b'\\"'), ("é".encode(), 0, frame + b'\nd = "\\""\n'))

    def test_bounds(self) -> None:
        """The longest id and t, an empty c, the greatest number that is taken; one more is left to the full way."""
        frame = b'[[m]]\nid = "%b"\nt = "%b"\nc = ""\nto = %b'
        self.assertIsNotNone(plain.read_message(frame % (b"i" * 128, b"t" * 64, b"9" * 16), b"ipad"))
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
            self.assertIsNone(plain.read_message(frame % (id_, t, to), b"ipad"), (id_, t, to))

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
            self.assertIsNone(plain.read_message(frame, b"ipad"), frame)


class AckTests(SynchronousTestCase):
    """`[[a]]`."""

    def test_taken(self) -> None:
        """An acknowledgement by id, with or without `d`."""
        for rest in (b"", b"\n", b'\nd = "ipad"', b'\nd = "android"\n'):
            self.assertEqual(plain.read_acknowledgement(b'[[a]]\nid = "a"' + rest), b"a")

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
            self.assertIsNone(plain.read_acknowledgement(b"[[a]]\n" + rest), rest)

    def test_bounds(self) -> None:
        """The longest id; and one in UTF-8, as it is written."""
        for id_ in (b"i" * 128, "é😀".encode()):
            self.assertEqual(plain.read_acknowledgement(b'[[a]]\nid = "%b"' % id_), id_)


class LoginTests(SynchronousTestCase):
    """`[[r]]` with `t = "login"`."""

    def test_taken(self) -> None:
        """A login as clients write it, with or without a line end."""
        for end in (b"", b"\n"):
            user = {"id": 7, "d": "ipad \u00e9", "token": "secret"}
            self.assertEqual(plain.read_login(LOGIN + end), Request(b"a", "login", user), end)

    def test_left_to_the_full_way(self) -> None:
        """All that is not plain: other keys, another order, numbers and strings that are not, and other requests."""
        for old, new in (
            *((b"login", b"ping"), (b"id = 7", b"id = 07"), (b"id = 7", b"id = -1"), (b"id = 7", b'id = "7"')),
            *((b"id = 7", b"id = %b" % (b"9" * 17)), (b'"a"', b'"%b"' % (b"i" * 129)), (b'"a"', b'""')),
            *(
                (b"[r.user]", b"[r.other]"),
                (b"secret", b"\\n"),
                (b"secret", b"\xff"),
                (b"ipad", b'"'),
                (b"ipad", b"\t"),
            ),
            *((b"\ntoken", b"\nx = 1\ntoken"), (b'"secret"', b'"secret"\nx = 1'), (b'"secret"', b"'secret'")),
            *(
                (b"\nd", b"\n\nd"),
                (b" = ", b"="),
                (b"\n", b"\r\n"),
                (b"[[r]]", b"[[r]]\n"),
                (b'"secret"', b'"secret" '),
            ),
        ):
            self.assertIsNone(plain.read_login(LOGIN.replace(old, new)), (old, new))


class TakeTests(SynchronousTestCase):
    """Plain frames of one kind that come next."""

    def test_messages(self) -> None:
        """Messages are taken off in order up to the first frame that is none, which stays with what is behind it."""
        rest = [ACK, START.replace(b'"a"', b'"c"')]
        frames = deque([START, START.replace(b'"a"', b'"b"'), *rest])
        self.assertEqual([message[0] for message in plain.take_messages(frames, b"ipad")], [b"a", b"b"])
        self.assertEqual(list(frames), rest)
        self.assertEqual(plain.take_messages(frames, b"ipad"), [])
        self.assertEqual(list(frames), rest)

    def test_acknowledgements(self) -> None:
        """So are acknowledgements."""
        rest = [START, ACK]
        frames = deque([ACK, ACK.replace(b'"a"', b'"b"'), *rest])
        self.assertEqual(plain.take_acknowledgements(frames), [b"a", b"b"])
        self.assertEqual(list(frames), rest)
        self.assertEqual(plain.take_acknowledgements(frames), [])
        self.assertEqual(list(frames), rest)

    def test_all(self) -> None:
        """Where all are plain, none is left; of none, none is taken."""
        frames = deque([START, START])
        self.assertEqual(len(plain.take_messages(frames, b"ipad")), 2)
        self.assertEqual(len(frames), 0)
        self.assertEqual((plain.take_messages(frames, b"ipad"), plain.take_acknowledgements(frames)), ([], []))

    def test_not_plain(self) -> None:
        """One for the full way stays where it is."""
        for odd in (START + b" # x", b"[[a]]\nseq = 1", b"\xff"):
            frames = deque([odd, START, ACK])
            self.assertEqual((plain.take_messages(frames, b"ipad"), plain.take_acknowledgements(frames)), ([], []))
            self.assertEqual(len(frames), 3)
