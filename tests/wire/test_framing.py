"""Records to frames: where one ends, how large it may be, which dialect a connection speaks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import FRAME_SIZE, RECORD_SIZE
from simple_im.wire import framing
from simple_im.wire.compact import RecordScanner
from simple_im.wire.framing import Framer
from tests.wire.frames import COMPACT, TOML

PING = b'[[r]]\nid = "1"\nt = "ping"'
ACK = b'[[a]] id = "1"'
"""A compact frame."""


def framed(*records: bytes) -> list[bytes]:
    """The frames that a new connection's records hold."""
    framer = Framer()
    return [frame for record in records for frame in framer.feed(record)]


def byte_by_byte(data: bytes) -> list[bytes]:
    """A record for each byte."""
    return [data[at : at + 1] for at in range(len(data))]


def records(data: bytes) -> list[bytes]:
    """`data` in full records, but for the last."""
    return [data[at : at + RECORD_SIZE] for at in range(0, len(data), RECORD_SIZE)]


def of_size(size: int) -> bytes:
    """A frame with its blank line that has this many bytes."""
    start, end = b'[[a]]\nid = "', b'"\n\n'
    return start + b"x" * (size - len(start) - len(end)) + end


class CountingBuffer(bytearray):
    """Counts the bytes that are searched in it."""

    searched = 0

    def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
        self.searched += len(self) - start
        return super().find(sub, start)


class CountingScanner(RecordScanner):
    """Counts the bytes that it is given."""

    scanned = 0

    def feed(self, data: bytes) -> None:
        CountingScanner.scanned += len(data)
        super().feed(data)


class GoldenTests(SynchronousTestCase):
    """Each frame of the golden table."""

    def test_whole(self) -> None:
        """A blank line ends a frame; the frame is what stands before it."""
        for golden in TOML:
            self.assertEqual(framed(golden.frame + b"\n\n"), [golden.frame], golden.name)

    def test_byte_by_byte(self) -> None:
        """A frame may come in as many records as it has bytes."""
        for golden in TOML:
            self.assertEqual(framed(*byte_by_byte(golden.frame + b"\n\n")), [golden.frame], golden.name)

    def test_two_in_a_record(self) -> None:
        """A record may hold several frames; they keep their order."""
        for golden in TOML:
            self.assertEqual(framed(golden.frame + b"\n\n" + PING + b"\n\n"), [golden.frame, PING], golden.name)

    def test_crlf(self) -> None:
        """Lines may end in CRLF."""
        for golden in TOML:
            data = (golden.frame + b"\n\n").replace(b"\n", b"\r\n")
            self.assertEqual(framed(data), [golden.frame], golden.name)
            self.assertEqual(framed(*byte_by_byte(data)), [golden.frame], golden.name)

    def test_every_cut(self) -> None:
        """A frame may be cut into two records anywhere."""
        for golden in TOML:
            data = golden.frame[:1000].rstrip(b"\n") + b"\n\n"
            for at in range(len(data)):
                self.assertEqual(framed(data[:at], data[at:]), [data[:-2]], f"{golden.name} at {at}")

    def test_compact(self) -> None:
        """A compact frame needs no line end: it ends with its record."""
        for golden in COMPACT:
            self.assertEqual(framed(ACK, golden.frame), [ACK, golden.frame], golden.name)

    def test_compact_with_blank_line(self) -> None:
        """A blank line ends a compact frame too, also in the middle of a record."""
        for golden in COMPACT:
            frame = golden.frame.rstrip(b"\n")
            self.assertEqual(framed(ACK, frame + b"\n\n" + ACK), [ACK, frame, ACK], golden.name)

    def test_toml_on_a_compact_connection(self) -> None:
        """Valid frames ended by a blank line stay valid on a compact connection."""
        for golden in TOML:
            self.assertEqual(framed(ACK, golden.frame + b"\n\n"), [ACK, golden.frame], golden.name)


class BlankLineTests(SynchronousTestCase):
    """Frames that blank lines end."""

    def test_not_ended(self) -> None:
        """Without its blank line a frame has not come yet, whatever records end."""
        self.assertEqual(framed(PING, b"\n"), [])

    def test_rest_of_a_record(self) -> None:
        """What stands behind a blank line begins the next frame."""
        self.assertEqual(framed(PING + b"\n\n" + PING[:9], PING[9:] + b"\n\n"), [PING, PING])

    def test_blank_lines_between(self) -> None:
        """Any number of blank lines may stand before, between and behind frames, in whatever records."""
        for count in range(1, 8):
            data = b"\n" * count + PING + b"\n" * (count + 1) + PING + b"\n" * (count + 1)
            self.assertEqual(framed(data), [PING, PING])
            self.assertEqual(framed(*byte_by_byte(data)), [PING, PING])

    def test_every_two_cuts(self) -> None:
        """Two frames and blank lines between them may be cut into three records anywhere."""
        data = b"\nx = 1\n\n\ny\n\n\r\n\n"
        for first in range(len(data)):
            for second in range(first, len(data)):
                self.assertEqual(framed(data[:first], data[first:second], data[second:]), [b"x = 1", b"y"])

    def test_blank_lines_alone(self) -> None:
        """Blank lines alone are no frame."""
        self.assertEqual(framed(b"\n\n\n", b"\n", b"\r\n\r\n", b"\n\n"), [])

    def test_blank_crlf_lines(self) -> None:
        """CRLF blank lines are blank lines; line ends may be mixed."""
        self.assertEqual(framed(b"\r\n\r\n" + PING + b"\r\n\n\r\n" + PING + b"\n\r\n"), [PING, PING])

    def test_carriage_return_ends_a_record(self) -> None:
        """A CR at a record's end belongs to the LF that begins the next."""
        self.assertEqual(framed(PING + b"\r", b"\n\r", b"\n"), [PING])

    def test_carriage_return_without_line_feed(self) -> None:
        """A CR without its LF stays where it is, for the parser to refuse, also between two records."""
        self.assertEqual(framed(PING + b"\r", b"x\n\n"), [PING + b"\rx"])
        self.assertEqual(framed(PING + b"\r", b"\r\n\n"), [PING + b"\r"])

    def test_line_of_spaces(self) -> None:
        """A line of spaces is not blank."""
        self.assertEqual(framed(PING + b"\n \n"), [])

    def test_blank_line_in_a_string(self) -> None:
        """A string of several lines can't hold a blank line: the frame ends there."""
        data = b'[[m]]\nid = "a"\nc = """x\n\ny"""\n\n'
        self.assertEqual(framed(data), [b'[[m]]\nid = "a"\nc = """x', b'y"""'])

    def test_empty_record(self) -> None:
        """An empty record changes nothing."""
        self.assertEqual(framed(b"", PING, b"", b"\n\n", b""), [PING])


class SizeTests(SynchronousTestCase):
    """A frame has at most 65,536 bytes with its blank line."""

    def test_exactly(self) -> None:
        """65,536 bytes are taken, in whatever records."""
        frame = of_size(65_536)
        for cut in ([frame], records(frame), byte_by_byte(frame)):
            self.assertEqual(framed(*cut), [frame[:-2]])

    def test_one_more(self) -> None:
        """65,537 bytes are too large, in whatever records."""
        frame = of_size(65_537)
        for cut in ([frame], records(frame), byte_by_byte(frame)):
            framer = Framer()
            self.assertEqual([frame for record in cut for frame in framer.feed(record)], [])
            self.assertEqual(framer.overflow, frame[:-2])

    def test_compact(self) -> None:
        """The same holds for a compact frame."""
        fits, too_large = of_size(65_536), of_size(65_537)
        self.assertEqual(framed(ACK, *records(fits)), [ACK, fits[:-2]])
        framer = Framer()
        self.assertEqual([frame for record in [ACK, *records(too_large)] for frame in framer.feed(record)], [ACK])
        self.assertIsNotNone(framer.overflow)

    def test_blank_lines_do_not_count(self) -> None:
        """Blank lines before a frame are no part of it."""
        frame = of_size(65_536)
        self.assertEqual(framed(b"\n" * 70_000, b"\n" + frame), [frame[:-2]])

    def test_never_ended(self) -> None:
        """A frame that never ends is too large as soon as it must be; its first 65,536 bytes are kept."""
        framer = Framer()
        for record in records(b"x" * FRAME_SIZE):
            framer.feed(record)
        self.assertIsNone(framer.overflow)
        framer.feed(b"x")
        self.assertEqual(framer.overflow, b"x" * FRAME_SIZE)

    def test_kept(self) -> None:
        """At most 65,536 bytes are kept, however large the record."""
        framer = Framer()
        framer.feed(b"x" * 1_000_000)
        self.assertEqual((len(framer.overflow or b""), len(framer._buffer)), (FRAME_SIZE, 0))

    def test_kept_of_an_ended_frame(self) -> None:
        """The same for a frame that has ended."""
        framer = Framer()
        framer.feed(of_size(1_000_000))
        self.assertEqual((framer.overflow, len(framer._buffer)), (of_size(1_000_000)[:FRAME_SIZE], 0))

    def test_before_and_behind(self) -> None:
        """Frames before the one that is too large are given; all that follows is dropped."""
        framer = Framer()
        data = PING + b"\n\n" + of_size(70_000) + PING + b"\n\n"
        self.assertEqual(framer.feed(data), [PING])
        self.assertEqual(framer.feed(PING + b"\n\n"), [])
        self.assertEqual(framer.overflow, of_size(70_000)[:FRAME_SIZE])


class DialectTests(SynchronousTestCase):
    """The first entry decides which dialect a connection speaks."""

    def assert_compact(self, expected: bool, *cut: bytes) -> None:
        framer = Framer()
        for record in cut:
            framer.feed(record)
        self.assertEqual(framer.compact, expected, cut)

    def test_key_on_the_line(self) -> None:
        """A key on the line of the first header: compact."""
        for first in (b'[[a]] id = "1"', b'[[a]]id="1"', b'  [[ a ]]\t\tid = "1"', b'[["a"]] "id" = "1"', b"[[a]] id"):
            self.assert_compact(True, first)
            self.assert_compact(True, *byte_by_byte(first))

    def test_key_on_another_line(self) -> None:
        """No key on it: not compact, also if a comment stands there or keys follow."""
        for first in (PING, b'[[a]] # id = "1"\nid = "1"', b'[[a]] \t\nid = "1"', b'[[a]]\r\nid = "1"'):
            self.assert_compact(False, first + b"\n\n" + ACK)
            self.assert_compact(False, *byte_by_byte(first + b"\n\n" + ACK))

    def test_header_alone(self) -> None:
        """A header that ends a record is not enough to know."""
        self.assert_compact(True, b"[[a]]", b' id = "1"')
        self.assert_compact(True, b"[[a", b"]] ", b'id = "1"')
        self.assert_compact(False, b"[[a]]", b'\nid = "1"')

    def test_before_the_first_entry(self) -> None:
        """Blank lines and comments before the first entry decide nothing."""
        self.assert_compact(True, b"\n\n" + ACK)
        self.assert_compact(True, b"\r\n\r", b"\n" + ACK)
        self.assert_compact(True, b"# hello\n \n# [[a]]\n" + ACK)
        self.assert_compact(False, b"# hello\n" + PING)

    def test_only_the_first(self) -> None:
        """Later entries change nothing: a connection keeps its dialect."""
        self.assert_compact(False, PING + b"\n\n", ACK)
        self.assert_compact(True, ACK, PING + b"\n\n")

    def test_no_entry(self) -> None:
        """A first frame without an entry is not compact, nor is what never comes to a header."""
        self.assert_compact(False, b"hello\n\n" + ACK)
        self.assert_compact(False, b"hello\n\n", ACK)
        self.assert_compact(False, b" " * 300 + ACK)

    def test_compact_frame_elsewhere(self) -> None:
        """On a connection that is not compact, the end of a record ends no frame."""
        self.assertEqual(framed(PING + b"\n\n", ACK), [PING])


class RecordTests(SynchronousTestCase):
    """On a compact connection a frame also ends where a record ends."""

    def test_a_frame_a_record(self) -> None:
        """Each record is a frame."""
        self.assertEqual(framed(ACK, ACK, ACK), [ACK, ACK, ACK])

    def test_full_record(self) -> None:
        """A record of 16,384 bytes ends no frame; one byte less does."""
        start, end = b'[[m]] id = "a" c = "', b'" to = 2'
        full = start + b"x" * (16_384 - len(start) - len(end)) + end
        self.assertEqual(framed(full), [])
        self.assertEqual(framed(full, b" n = 1"), [full + b" n = 1"])
        self.assertEqual(framed(full.replace(b"xx", b"x", 1)), [full.replace(b"xx", b"x", 1)])

    def test_full_record_of_crlf(self) -> None:
        """What counts is the record's size as it came."""
        full = ACK + b"\r\n" + b" " * (16_384 - len(ACK) - 2)
        self.assertEqual(framed(ACK, full), [ACK])
        self.assertEqual(len(framed(ACK, full[:-1])), 2)

    def test_open_string(self) -> None:
        """An open string does not end a frame, of whatever kind it is."""
        for quote in (b'"', b"'", b'"""', b"'''"):
            start, end = b"[[m]] id = " + quote + b"a", b"b" + quote + b" to = 2"
            self.assertEqual(framed(ACK, start, b" ", end), [ACK, start + b" " + end])

    def test_open_string_of_several_lines(self) -> None:
        """A line break does not close a string of several lines, and what stands in it opens nothing."""
        for quote in (b'"""', b"'''"):
            start = b"[[m]] c = " + quote + b"x\n[[m]] # ' "
            self.assertEqual(framed(ACK, start, quote + b" to = 2"), [ACK, start + quote + b" to = 2"])

    def test_closed_string(self) -> None:
        """A frame may end right behind a string of any kind, with quotes at its end, or an empty one."""
        for value in (
            *(b'"x"', b"'x'", b'""', b"''", b'"\\""', b'"\\\\"', b"'\\'", b'"\'"', b"'\"'", b'"#"'),
            *(b'""""""', b"''''''", b'"""x"""', b"'''x'''", b'"""x""""', b'"""x"""""', b"'''x''''", b"'''x'''''"),
            *(b'"""a"b""c"""', b"'''a'b''c'''", b'"""\\""""', b'"""\\"""\\""""', b'"""\n"""', b'"""\n"\n"""'),
        ):
            frame = b"[[m]] to = 2 c = " + value
            self.assertEqual(framed(frame, ACK), [frame, ACK])
            scanner = RecordScanner()
            for byte in byte_by_byte(frame):
                scanner.feed(byte)
            self.assertTrue(scanner.complete, value)

    def test_escaped_quote(self) -> None:
        """An escaped quote closes no string, also where a record ends behind the backslash."""
        start, end = b'[[m]] c = "\\', b'" [[a]]" to = 2'
        self.assertEqual(framed(start, end), [start + end])

    def test_header_without_key(self) -> None:
        """A last header without a key does not end a frame."""
        self.assertEqual(framed(ACK + b" [[a]]", b' id = "2"'), [ACK + b' [[a]] id = "2"'])
        login = b'[[r]] id = "1" t = "login" [r.user]'
        self.assertEqual(framed(login, b" id = 1"), [login + b" id = 1"])

    def test_half_a_header(self) -> None:
        """Neither does half a header."""
        for half in (b" [", b" [[", b" [[a", b" [[a]", b' [["a"', b' [["a'):
            self.assertEqual(framed(ACK + half), [])

    def test_brackets_in_values(self) -> None:
        """The brackets of a value are no header."""
        for value in (b"[]", b"[[]]", b"[[1], [2]]", b'[["a"]]', b"{}", b"{ y = [[1]] }", b"[{ y = 1 }, { }]"):
            frame = b'[[n]] id = "1" x = ' + value
            self.assertEqual(framed(frame), [frame])

    def test_header_behind_brackets(self) -> None:
        """A header behind a value of brackets is one."""
        for value in (b"[[1], { y = 2 }]", b"[]", b"{}", b"[[]]", b"[1,]"):
            self.assertEqual(framed(b'[[n]] id = "1" x = ' + value + b" [n.z]"), [])

    def test_comment(self) -> None:
        """A comment opens no string and no header, and may end a frame."""
        self.assertEqual(framed(ACK + b' # " [[a]]'), [ACK + b' # " [[a]]'])
        self.assertEqual(framed(b"[[a]] # id", b"\n" + ACK), [])

    def test_nothing_is_left_over(self) -> None:
        """A frame begins with nothing open, whatever the one before it ended with."""
        self.assertEqual(framed(ACK + b" # x", b"[[a]]", b" id = 2"), [ACK + b" # x", b"[[a]] id = 2"])
        self.assertEqual(framed(b'[[a]] id = "', b'1"\n\n[[a]] x = 1 id = "22'), [ACK])

    def test_before_the_dialect_is_known(self) -> None:
        """What came before the first key counts."""
        self.assertEqual(framed(b'[["', b'a"]] id = "1"'), [b'[["a"]] id = "1"'])
        self.assertEqual(framed(b"# that's", b"'\n" + ACK), [b"# that's'\n" + ACK])

    def test_string_open_at_a_line_end(self) -> None:
        """A string of one line that is not closed on it waits for nothing: the frame is bad, and it ends."""
        for value in (b'"x\n', b"'x\n", b'"x\\\n'):
            self.assertEqual(framed(ACK, b"[[a]] id = " + value), [ACK, b"[[a]] id = " + value])

    def test_line_end(self) -> None:
        """Line ends behind a frame are no part of the next."""
        self.assertEqual([frame.strip() for frame in framed(ACK + b"\r\n", b"\n", ACK + b"\r", b"\n", ACK)], [ACK] * 3)

    def test_blank_line_and_record(self) -> None:
        """Behind a blank line in a record, the rest is judged for itself."""
        self.assertEqual(framed(ACK + b"\n\n" + ACK), [ACK, ACK])
        self.assertEqual(framed(ACK + b"\n\n[[a]]", b' id = "2"'), [ACK, b'[[a]] id = "2"'])
        self.assertEqual(framed(b'[[a]] id = "1', b'2"\n\n[[a]]'), [b'[[a]] id = "12"'])

    def test_no_header(self) -> None:
        """A record without a header is a frame, to be refused at once."""
        self.assertEqual(framed(ACK, b"hello"), [ACK, b"hello"])


class CostTests(SynchronousTestCase):
    """What a byte costs does not depend on how many came before it."""

    def test_byte_by_byte(self) -> None:
        """Each byte of a frame that comes byte by byte is searched for a blank line at most three times."""
        framer = Framer()
        buffer = framer._buffer = CountingBuffer()
        for byte in byte_by_byte(of_size(FRAME_SIZE)[:-1]):
            framer.feed(byte)
        self.assertEqual(len(buffer), FRAME_SIZE - 1)
        self.assertLessEqual(buffer.searched, 3 * FRAME_SIZE)

    def test_compact_byte_by_byte(self) -> None:
        """Each byte of a compact frame is scanned once."""
        self.patch(framing, "RecordScanner", CountingScanner)
        self.patch(CountingScanner, "scanned", 0)
        start, rest = b'[[m]] c = "', b"x" * 60_000
        self.assertEqual(framed(start, *byte_by_byte(rest)), [])
        self.assertEqual(CountingScanner.scanned, len(start + rest))

    def test_many_frames(self) -> None:
        """A record of many small frames is scanned once."""
        self.patch(framing, "RecordScanner", CountingScanner)
        self.patch(CountingScanner, "scanned", 0)
        data = (ACK + b"\n\n") * 1_000
        self.assertEqual(framed(data), [ACK] * 1_000)
        self.assertLessEqual(CountingScanner.scanned, len(data))
