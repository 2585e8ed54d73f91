"""What is forgotten in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from simple_im.store import retention
from simple_im.store.device_state import DeviceState
from simple_im.store.retention import forget_devices, purge_entries
from tests.store.fakes import PHONE, draft, ids_of, seqs_of
from tests.store.stepped import SteppedCase


class RetentionCase(SteppedCase):
    def all_of(self, forget: Callable[..., Awaitable[bool]], *times: int) -> int:
        """Call it while there is something to forget; how often there was."""
        calls = 0
        while self.done(forget(self.database, *times)):  # type: ignore[arg-type]
            calls += 1
        return calls

    def store(self, *ids: bytes, users: tuple[int, ...] = (2,), apart: bool = False) -> list[int]:
        """Messages of now, in one row or each in one of its own; their places."""
        devices = ("watch", "tablet") if apart else (PHONE,)
        sender = self.append(*(draft(id_, *users, device=devices[n % len(devices)]) for n, id_ in enumerate(ids)))
        self.done(self.inbox.flush())
        self.assertEqual(sender.stored_ids, [*ids])
        return seqs_of(self.outlet.entries)[-len(ids) :]

    def expired(self, user: int, name: str = PHONE) -> int:
        opened = self.done(self.inbox.open_device(user, name))
        assert opened is not None
        return opened.expired

    def count(self, table: str) -> int:
        return int(self.database.rows(f"SELECT count(*) FROM {table}")[0][0])

    def kept(self) -> tuple[int, int, int]:
        """How many rows of messages there are, how many messages, and in how many inboxes the rows are."""
        return self.count("run"), self.count("message"), self.count("inbox")


class PurgeTests(RetentionCase):
    def setUp(self) -> None:
        super().setUp()
        self.state = self.device(2)

    def test_age(self) -> None:
        """Entries from before a time go, those of that second and later stay."""
        self.store(b"old")
        self.clock.advance(10)
        self.store(b"new")
        self.all_of(purge_entries, 10)
        self.assertEqual(ids_of(self.waiting(self.state)), [b"new"])
        self.assertEqual(self.kept(), (1, 1, 1))

    def test_counted(self) -> None:
        """Each device that had not acknowledged an entry is told of it, and nobody else."""
        tablet = self.device(2, "tablet")
        others = [self.device(user) for user in (3, 4)]
        seqs = self.store(b"a", b"b", b"c", users=(2, 3))
        self.state.advance(seqs[1])
        self.inbox.touch(self.state)
        self.inbox.acknowledge_range(tablet, seqs[1], seqs[2])
        self.done(self.inbox.flush())
        self.all_of(purge_entries, 1)
        self.assertEqual([self.expired(2), self.expired(2, "tablet")], [1, 2])
        self.assertEqual([self.expired(state.user) for state in others], [3, 0])

    def test_own(self) -> None:
        """A device has acknowledged what it sent; the user's other devices have not, nor another's of that name."""
        self.device(1), self.device(1, "tablet")
        self.store(b"a", b"b", users=(2, 1))
        self.all_of(purge_entries, 1)
        self.assertEqual([self.expired(1), self.expired(1, "tablet"), self.expired(2)], [0, 2, 2])

    def test_added_up(self) -> None:
        """The count goes on until the device has been told."""
        for number in range(3):
            self.store(b"a", b"b")
            self.clock.advance(1)
            self.all_of(purge_entries, number + 1)
        self.assertEqual(self.expired(2), 6)
        self.done(self.inbox.told_expired(self.state, 6))
        self.assertEqual(self.expired(2), 0)

    def test_nothing_left(self) -> None:
        """Nothing of an expired entry stays, also no single acknowledgement of it; of others they do."""
        old = self.store(b"old", b"older")
        self.clock.advance(10)
        new = self.store(b"new", b"newer")
        for seq in (old[1], new[1]):
            self.inbox.acknowledge_range(self.state, seq - 1, seq)
        self.done(self.inbox.flush())
        self.all_of(purge_entries, 10)
        self.assertEqual(self.database.rows("SELECT seq FROM acked"), [(new[1],)])
        self.assertEqual(seqs_of(self.waiting(self.state)), [new[0]])

    def test_for_nobody(self) -> None:
        """An entry that is in no inbox, and one for somebody without a device, go too."""
        self.store(b"a", users=())
        self.store(b"b", users=(4,))
        self.all_of(purge_entries, 1)
        self.assertEqual(self.kept(), (0, 0, 0))

    def test_slices(self) -> None:
        """Many go in several short transactions, each counted once."""
        self.patch(retention, "_SLICE", 10)
        self.device(3)
        self.store(*(b"%d" % number for number in range(25)), apart=True)
        self.store(*(b"%d" % number for number in range(25)), users=(2, 3), apart=True)
        self.assertEqual(self.all_of(purge_entries, 1), 8)
        self.assertEqual([self.expired(2), self.expired(3)], [50, 25])
        self.assertEqual(self.kept(), (0, 0, 0))

    def test_large_group(self) -> None:
        """An entry for more inboxes than a slice holds goes at once."""
        self.patch(retention, "_SLICE", 2)
        self.store(b"a", b"b", users=(2, 3, 4), apart=True)
        self.assertEqual(self.all_of(purge_entries, 1), 2)
        self.assertEqual(self.expired(2), 2)

    def test_few_statements(self) -> None:
        """A slice takes a handful of statements, whatever it holds."""
        self.store(*(b"%d" % number for number in range(200)), apart=True)
        self.start(purge_entries(self.database, 1))
        self.assertLess(self.database.statements_of(self.database.do), 40)

    def test_clock_set_back(self) -> None:
        """What counts is an entry's time, not its place: a clock may have been set back."""
        self.clock.advance(100)
        self.store(b"later")
        self.clock.rightNow = 1.0
        self.store(b"earlier")
        self.clock.rightNow = 110.0
        self.all_of(purge_entries, 50)
        self.assertEqual(ids_of(self.waiting(self.state)), [b"later"])

    def test_clock_ahead(self) -> None:
        """What a wrong clock has put into the future keeps nothing else back, however much it is."""
        self.patch(retention, "_SLICE", 2)
        self.clock.advance(1_000_000)
        self.store(*(b"%d" % number for number in range(5)), apart=True)
        self.clock.rightNow = 10.0
        self.store(b"a", b"b", b"c", apart=True)
        self.all_of(purge_entries, 11)
        self.assertEqual(ids_of(self.waiting(self.state)), [b"%d" % number for number in range(5)])

    def test_clock_behind(self) -> None:
        """A look while the clock is wrong makes nothing older."""
        self.clock.advance(1_000_000)
        self.store(b"a", b"b")
        self.all_of(purge_entries, 10)
        self.all_of(purge_entries, 999_999)
        self.assertEqual(ids_of(self.waiting(self.state)), [b"a", b"b"])


class ForgetTests(RetentionCase):
    def place(self, user: int) -> int:
        return int(self.database.rows("SELECT place FROM user WHERE id = ?", user)[0][0])

    def names(self, user: int) -> list[str]:
        return [name for (name,) in self.database.rows("SELECT name FROM device WHERE user = ? ORDER BY name", user)]

    def acknowledge_to(self, state: DeviceState, seq: int) -> None:
        state.advance(seq)
        self.inbox.touch(state)
        self.done(self.inbox.flush())

    def test_age(self) -> None:
        """Devices not seen since before a time go; those seen in that second or later stay."""
        self.device(2, "old")
        self.clock.advance(10)
        self.device(2, "new")
        self.device(3, "other")
        self.all_of(forget_devices, 10)
        self.assertEqual([self.names(2), self.names(3)], [["new"], ["other"]])

    def test_seen_again(self) -> None:
        """A device that has signed in again was seen then."""
        self.device(2)
        self.clock.advance(10)
        self.device(2)
        self.all_of(forget_devices, 10)
        self.assertEqual(self.names(2), [PHONE])

    def test_place_kept(self) -> None:
        """The highest place up to which a forgotten device had acknowledged everything stays with its user."""
        phone, tablet = self.device(2), self.device(2, "tablet")
        seqs = self.store(b"a", b"b", b"c", b"d")
        self.acknowledge_to(phone, seqs[2])
        self.acknowledge_to(tablet, seqs[0])
        self.all_of(forget_devices, 1)
        self.assertEqual((self.place(2), self.names(2)), (seqs[2], []))
        self.assertEqual(ids_of(self.waiting(self.device(2, "new"))), [b"d"])

    def test_place_never_sinks(self) -> None:
        """A device forgotten later that had got less far takes nothing back."""
        seqs = self.store(b"a", b"b")
        self.acknowledge_to(self.device(2), seqs[1])
        self.all_of(forget_devices, 1)
        self.database.rows("INSERT INTO device (user, name, cursor, seen) VALUES (2, 'old', 0, 0)")
        self.all_of(forget_devices, 1)
        self.assertEqual(self.place(2), seqs[1])

    def test_single_acknowledgements(self) -> None:
        """Single acknowledgements count for the place where nothing before them is missing, then they go."""
        phone = self.device(2)
        seqs = self.store(b"a", b"b", b"c", b"d")
        for seq in (seqs[0], seqs[1], seqs[3]):
            self.inbox.acknowledge_range(phone, seq - 1, seq)
        self.done(self.inbox.flush())
        self.all_of(forget_devices, 1)
        self.assertEqual(self.count("acked"), 0)
        self.assertEqual(ids_of(self.waiting(self.device(2, "new"))), [b"c", b"d"])

    def test_tokens(self) -> None:
        """With a device go its tokens, and no others."""
        for user, name in ((2, "old"), (2, "new"), (3, "old")):
            self.clock.advance(0 if name == "old" and user == 2 else 10)
            self.device(user, name)
            sql = "INSERT INTO token (hash, user, device, used, expires) VALUES (?, ?, ?, 0, 1000)"
            self.database.rows(sql, f"{user}{name}".encode(), user, name)
        self.all_of(forget_devices, 10)
        self.assertEqual(self.database.rows("SELECT user, device FROM token"), [(2, "new"), (3, "old")])

    def test_slices(self) -> None:
        """Many go in several short transactions."""
        self.patch(retention, "_DEVICES", 4)
        for number in range(10):
            self.device(2, f"{number}")
        self.assertEqual(self.all_of(forget_devices, 1), 3)
        self.assertEqual(self.names(2), [])
