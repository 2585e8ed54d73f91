"""Writes and TLS records."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.im.outbox import Outbox, Turn
from simple_im.limits import RECORD_SIZE


def entry(size: int) -> bytes:
    """An entry of `size` bytes."""
    return b'[[a]]\nid = "' + b"x" * (size - 15) + b'"\n\n'


class OutboxTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.turn = Turn()
        self.writes: list[bytes] = []
        self.outbox = Outbox(self.writes.append, self.turn, lambda: None)


class OutboxTests(OutboxTestCase):
    def test_nothing_is_written_before_the_end_of_the_turn(self) -> None:
        """What is sent waits for the end of the turn."""
        self.outbox.send(entry(20))
        self.assertEqual(self.writes, [])

    def test_one_write_a_turn(self) -> None:
        """What one turn sends is one write, in the order in which it was sent."""
        self.outbox.send(entry(20))
        self.outbox.send(entry(30))
        self.turn.end()
        self.assertEqual(self.writes, [entry(20) + entry(30)])

    def test_each_turn_has_its_own_write(self) -> None:
        """What was written is not written again."""
        self.outbox.send(entry(20))
        self.turn.end()
        self.turn.end()
        self.outbox.send(entry(30))
        self.turn.end()
        self.assertEqual(self.writes, [entry(20), entry(30)])

    def test_flushed_before_the_end(self) -> None:
        """What is flushed in the middle of a turn is not written again at its end, and what follows is."""
        self.outbox.send(entry(20))
        self.outbox.flush()
        self.outbox.send(entry(30))
        self.turn.end()
        self.assertEqual(self.writes, [entry(20), entry(30)])

    def test_every_outbox(self) -> None:
        """A turn writes for every connection that has something to write."""
        other: list[bytes] = []
        second = Outbox(other.append, self.turn, lambda: None)
        self.outbox.send(entry(20))
        second.send(entry(30))
        self.turn.end()
        self.assertEqual((self.writes, other), ([entry(20)], [entry(30)]))

    def test_sent_while_the_turn_ends(self) -> None:
        """What a write brings about is written in the same turn."""
        self.outbox.send(entry(20))
        first = Outbox(lambda _data: self.outbox.send(entry(30)), self.turn, lambda: None)
        first.send(entry(40))
        self.turn.end()
        self.assertEqual(self.writes, [entry(20), entry(30)])

    def test_toml_clients_get_one_write_of_any_size(self) -> None:
        """Only compact clients need records of whole entries."""
        self.outbox.send(entry(10_000))
        self.outbox.send(entry(10_000))
        self.turn.end()
        self.assertEqual([len(data) for data in self.writes], [20_000])


class RecordsTests(OutboxTestCase):
    """To a compact client a write is a TLS record."""

    def records(self, *sizes: int) -> list[int]:
        self.outbox.compact = True
        for size in sizes:
            self.outbox.send(entry(size))
        self.turn.end()
        for record in self.writes:
            self.assertTrue(record.startswith(b"[["))
            self.assertTrue(record.endswith(b"\n\n"))
        return [len(record) for record in self.writes]

    def test_a_record_takes_whole_entries_up_to_its_size(self) -> None:
        """Entries that together fill a record to its last byte are one."""
        self.assertEqual(self.records(RECORD_SIZE - 100, 100), [RECORD_SIZE])

    def test_one_byte_too_many_begins_another(self) -> None:
        """An entry that does not fit whole begins the next record."""
        self.assertEqual(self.records(RECORD_SIZE - 100, 101, 50), [RECORD_SIZE - 100, 151])

    def test_an_entry_as_large_as_a_record(self) -> None:
        """It is a record."""
        self.assertEqual(self.records(RECORD_SIZE), [RECORD_SIZE])

    def test_a_larger_entry_begins_a_record_of_its_own(self) -> None:
        """Nothing stands before it, and nothing behind it."""
        self.assertEqual(self.records(100, RECORD_SIZE + 1, 100), [100, RECORD_SIZE + 1, 100])

    def test_a_larger_entry_first(self) -> None:
        """No empty record comes before it."""
        self.assertEqual(self.records(RECORD_SIZE + 1, 100), [RECORD_SIZE + 1, 100])

    def test_nothing_to_write(self) -> None:
        """No empty record is written."""
        self.assertEqual(self.records(), [])

    def test_sizes_are_those_of_what_is_written(self) -> None:
        """What the dialect makes longer counts in its longer form."""
        self.outbox.compact = True
        quoted = b'[[m]]\nc = "' + b'\\"' * 4000 + b'"\n\n'
        self.outbox.send(quoted)
        self.outbox.send(entry(10_000))
        self.turn.end()
        self.assertEqual(len(self.writes), 2)
        self.assertNotIn(b'\\"', self.writes[0])
