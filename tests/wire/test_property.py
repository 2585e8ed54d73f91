"""What holds for every frame that hypothesis can think of."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simple_im.wire import frames, framing
from simple_im.wire.compact import RecordScanner, to_toml
from simple_im.wire.frames import Ack, Bad, Item, Message, Request
from simple_im.wire.framing import Framer
from tests.wire.documents import TEXTS, Entry, entries, typed
from tests.wire.frames import read_fast
from tests.wire.strategies import DEVICES, PIECES, SOUP, cuts, injected, plain_frames, spoilt

DEVICE = b"android"
SENDER, TS, SEQ = 9, 1444719450, 3
SERVERS = ("from", "ts", "seq")


def checked(examples: int) -> Callable[[Any], Any]:
    """So many examples, and nothing kept of them."""
    unhurried = [HealthCheck.too_slow, HealthCheck.differing_executors]
    return settings(
        max_examples=examples, deadline=None, database=None, print_blob=True, suppress_health_check=unhurried
    )


def framed(records: list[bytes]) -> tuple[list[bytes], bool, bool]:
    """The frames in these records, whether one was too large, and whether the connection is compact."""
    framer = Framer()
    found = [frame for record in records for frame in framer.feed(record)]
    return found, framer.overflow is not None, framer.compact


def stamped(item: Item) -> dict[str, Any]:
    """What a TOML parser makes of what the recipients get."""
    assert isinstance(item, Message), item
    wire = frames.stamped(item.head, item.tail, frames.stamp(SENDER, TS), SEQ)
    assert b"\n\n" not in wire[:-1]
    document = tomllib.loads(wire.decode())
    assert list(document) == [item.table] and len(document[item.table]) == 1
    return dict(document[item.table][0])


def expected(entry: Entry) -> dict[str, Any]:
    """What they should get."""
    return {**entry.keys, "d": DEVICE.decode(), "from": SENDER, "ts": TS, "seq": SEQ}


class PlainTests(SynchronousTestCase):
    """The fast way gives what the full way gives."""

    def assert_equal_ways(self, frame: bytes, device: bytes) -> None:
        taken = read_fast(frame, device)
        if taken is not None:
            self.assertEqual(taken, frames.read(frame, device))
            if isinstance(taken[0], Message):
                self.assert_stamped(frame, device)

    def assert_stamped(self, frame: bytes, device: bytes) -> None:
        [item] = frames.read(frame, device)
        read = tomllib.loads(frame.decode())["m"][0]
        self.assertEqual(stamped(item), {**read, "d": device.decode(), "from": SENDER, "ts": TS, "seq": SEQ})

    @checked(200)
    @given(plain_frames(), DEVICES)
    def test_plain(self, frame: bytes, device: str) -> None:
        """For plain frames, all of which take it."""
        self.assertIsNotNone(read_fast(frame, device.encode()))
        self.assert_equal_ways(frame, device.encode())

    @checked(1000)
    @given(spoilt() | injected(), DEVICES)
    def test_nearly_plain(self, frame: bytes, device: str) -> None:
        """For frames with anything put in, as far as they take it."""
        self.assert_equal_ways(frame, device.encode())

    @checked(300)
    @given(injected())
    def test_what_the_server_says(self, frame: bytes) -> None:
        """Whatever is put in, what recipients read of sender, time and place is the server's."""
        for item in frames.read(frame, DEVICE):
            if isinstance(item, Message):
                entry = stamped(item)
                self.assertEqual([entry[key] for key in (*SERVERS, "d")], [SENDER, TS, SEQ, DEVICE.decode()])


class DocumentTests(SynchronousTestCase):
    """Entries pass through with all that they say."""

    def assert_passed_on(self, written: list[Entry], items: list[Item]) -> None:
        self.assertEqual(
            [item.table for item in items if isinstance(item, Message)], [entry.table for entry in written]
        )
        for item, entry in zip(items, written, strict=True):
            self.assertEqual(typed(stamped(item)), typed(expected(entry)))

    @checked(60)
    @given(entries())
    def test_passed_on(self, written: list[Entry]) -> None:
        """In their order, whatever their tables, with the values of all their keys."""
        frame = "\n".join(line for entry in written for line in entry.lines)
        self.assert_passed_on(written, frames.read(frame.encode(), DEVICE))

    @checked(60)
    @given(entries())
    def test_order_of_keys(self, written: list[Entry]) -> None:
        """And with their keys in order, but for tables, which stand last."""
        frame = "\n".join(written[0].lines)
        read = {key: value for key, value in tomllib.loads(frame)[written[0].table][0].items() if key not in SERVERS}
        own = [key for key, value in read.items() if key == "d" or not isinstance(value, dict)]
        tables = [key for key in read if key not in own]
        [item] = frames.read(frame.encode(), DEVICE)
        device = [] if "d" in own else ["d"]
        self.assertEqual(list(stamped(item)), [*own, *device, *SERVERS, *tables])

    @checked(60)
    @given(entries())
    def test_again(self, written: list[Entry]) -> None:
        """What the server wrote, sent again, is passed on as it is, in both dialects."""
        frame = "\n".join(line for entry in written for line in entry.lines)
        for item in frames.read(frame.encode(), DEVICE):
            assert isinstance(item, Message)
            for compact in (False, True):
                self.assertEqual(frames.read(item.head + item.tail, DEVICE, compact=compact), [item])

    @checked(60)
    @given(entries(one_line=True))
    def test_one_line(self, written: list[Entry]) -> None:
        """In the compact dialect too, where all is on one line."""
        line = " ".join(line for entry in written for line in entry.lines)
        self.assert_passed_on(written, frames.read(line.encode(), DEVICE, compact=True))

    @checked(60)
    @given(entries())
    def test_unfolded(self, written: list[Entry]) -> None:
        """Valid TOML keeps its meaning on a compact connection."""
        frame = "\n".join(line for entry in written for line in entry.lines)
        self.assertEqual(typed(tomllib.loads(to_toml(frame))), typed(tomllib.loads(frame)))
        self.assert_passed_on(written, frames.read(frame.encode(), DEVICE, compact=True))

    @checked(60)
    @given(entries())
    def test_for_compact(self, written: list[Entry]) -> None:
        """What a compact client gets says the same, without `dup` and without escaped quotes."""
        frame = "\n".join(line for entry in written for line in entry.lines)
        for item, entry in zip(frames.read(frame.encode(), DEVICE), written, strict=True):
            assert isinstance(item, Message)
            wire = frames.for_compact(frames.stamped(item.head, item.tail, frames.stamp(SENDER, TS), SEQ))
            self.assertNotIn(b'\\"', wire.replace(b"\\\\", b""))
            kept = {key: value for key, value in expected(entry).items() if key != "dup"}
            self.assertEqual(typed(tomllib.loads(wire.decode())), typed({entry.table: [kept]}))

    @checked(60)
    @given(entries(one_line=True), st.data())
    def test_record(self, written: list[Entry], data: st.DataObject) -> None:
        """A frame on one line ends with its record, however it was cut before that."""
        line = " ".join(line for entry in written for line in entry.lines).encode()
        scanner = RecordScanner()
        for record in data.draw(cuts(line)):
            scanner.feed(record)
        self.assertEqual(scanner.complete, not written[-1].lines[-1].startswith("["))


class FramerTests(SynchronousTestCase):
    """Records do not matter."""

    @checked(1000)
    @given(PIECES, st.data())
    def test_any_cut(self, data: bytes, cutting: st.DataObject) -> None:
        """However the bytes are cut into records, their frames are the same, and so is one that is too large."""
        self.patch(framing, "FRAME_SIZE", 64)
        whole = framed([data])
        if not whole[2]:
            self.assertEqual(framed(cutting.draw(cuts(data))), whole)
            self.assertEqual(framed([data[at : at + 1] for at in range(len(data))]), whole)

    @checked(400)
    @given(PIECES, st.data())
    def test_scanner(self, data: bytes, cutting: st.DataObject) -> None:
        """Nor do they matter to where a compact frame may end."""
        whole, cut = RecordScanner(), RecordScanner()
        whole.feed(data)
        for record in cutting.draw(cuts(data)):
            cut.feed(record)
        self.assertEqual(cut.complete, whole.complete)


class NothingRaisesTests(SynchronousTestCase):
    """Whatever comes, there is an answer."""

    def assert_items(self, frame: bytes) -> None:
        for compact in (False, True):
            items = frames.read(frame, DEVICE, compact=compact)
            self.assertTrue(items)
            for item in items:
                self.assert_answered(item)

    def assert_answered(self, item: Item) -> None:
        self.assertIsInstance(item, Request | Ack | Message | Bad)
        if isinstance(item, Message):
            stamped(item)
        elif isinstance(item, Bad):
            answer = frames.answer(item.id, item.reason)
            self.assertEqual(tomllib.loads(answer.decode())["rr"][0]["r"], item.reason)
            self.assertNotIn(b"\n\n", answer[:-1])

    @checked(250)
    @given(st.binary(max_size=200) | TEXTS.map(str.encode))
    def test_bytes(self, frame: bytes) -> None:
        """Any bytes."""
        self.assert_items(frame)

    @checked(800)
    @given(SOUP)
    def test_soup(self, text: str) -> None:
        """Any pieces of TOML."""
        self.assert_items(text.encode())

    @checked(200)
    @given(spoilt())
    def test_spoilt(self, frame: bytes) -> None:
        """Any frame that was good once."""
        self.assert_items(frame)

    @checked(200)
    @given(SOUP, st.data())
    def test_framer(self, text: str, cutting: st.DataObject) -> None:
        """Any records, in either dialect: what frames come of them is answered."""
        for start in (b"", b'[[a]] id = "1"'):
            for frame in framed([start, *cutting.draw(cuts(text.encode()))])[0]:
                self.assert_items(frame)
