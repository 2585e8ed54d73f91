"""What is not read again: cursors, single acknowledgements, what a GET has shown."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.store.fakes import SENDER, Sender, draft, ids_of, seqs_of
from tests.store.inbox_contract.contract import ODD_IDS, Contract


class AcknowledgingContract(Contract):
    async def setUp(self) -> None:  # type: ignore[override]
        """A device with five entries, of which two have the same id."""
        await super().setUp()
        self.state = await self.device(2)
        await self.store(*(draft(id_, 2) for id_ in (b"a", b"b", b"a", b"c", b"d")))
        self.seqs = seqs_of(await self.waiting(self.state))

    async def test_single(self) -> None:
        """An entry that was acknowledged alone is not read again; those around it are."""
        await self.acknowledge(self.state, self.seqs[2])
        self.assertEqual(seqs_of(await self.waiting(self.state)), self.seqs[:2] + self.seqs[3:])

    async def test_single_uncommitted(self) -> None:
        """So is one that was not on disk yet when it was acknowledged."""
        state = await self.device(3)
        for id_ in (b"a", b"b", b"c"):
            self.inbox.append(draft(id_, 3), Sender())
        second = seqs_of(await self.waiting(state))[1]
        self.inbox.acknowledge_range(state, second - 1, second)
        await self.inbox.flush()
        self.assertEqual(ids_of(await self.waiting(state)), [b"a", b"c"])

    async def test_range(self) -> None:
        """A range is acknowledged from behind its beginning up to its end."""
        self.inbox.acknowledge_range(self.state, self.seqs[0], self.seqs[2])
        await self.inbox.flush()
        self.assertEqual(seqs_of(await self.waiting(self.state)), [self.seqs[0], *self.seqs[3:]])

    async def test_overlapping(self) -> None:
        """Ranges may overlap and come twice, also in one commit."""
        for after, to in ((0, 2), (1, 3), (0, 2)):
            self.inbox.acknowledge_range(self.state, self.seqs[after], self.seqs[to])
        await self.inbox.flush()
        self.inbox.acknowledge_range(self.state, self.seqs[0], self.seqs[1])
        await self.inbox.flush()
        self.assertEqual(seqs_of(await self.waiting(self.state)), [self.seqs[0], self.seqs[4]])

    async def test_many(self) -> None:
        """Many devices' acknowledgements in one commit are each their own."""
        states = [await self.device(user, f"{number}") for user in (3, 4) for number in range(20)]
        await self.store(*(draft(b"%d" % number, 3, 4) for number in range(20)))
        entries = await self.waiting(states[0])
        for state, entry in zip(states, entries + entries, strict=True):
            self.inbox.acknowledge_range(state, entry.seq - 1, entry.seq)
        await self.inbox.flush()
        for state, entry in zip(states, entries + entries, strict=True):
            left = [seq for seq in seqs_of(entries) if seq != entry.seq]
            self.assertEqual(seqs_of(await self.waiting(state)), left)

    async def test_devices_apart(self) -> None:
        """What one device acknowledges its user's other devices still get."""
        tablet = await self.device(2, "tablet")
        await self.acknowledge(self.state, self.seqs[1])
        await self.acknowledge_all(self.state)
        self.assertEqual(await self.waiting(self.state), [])
        self.assertEqual(seqs_of(await self.waiting(tablet)), self.seqs)

    async def test_survives(self) -> None:
        """All that is known of a device is the same in the next process."""
        state = self.state
        state.advance(self.seqs[0])
        state.sent, state.shown, state.offered = self.seqs[2], self.seqs[3], self.seqs[3]
        state.holes = [(self.seqs[0], self.seqs[1])]
        await self.acknowledge(state, self.seqs[3])
        await self.reopen()
        again = (await self.opened(2)).state
        self.assertIsNot(again, state)
        for name in ("user", "device", "cursor", "sent", "shown", "offered", "holes", "scattered"):
            self.assertEqual(getattr(again, name), getattr(state, name), name)
        self.assertEqual(seqs_of(await self.waiting(again)), [*self.seqs[1:3], self.seqs[4]])

    async def test_scattered_is_forgotten(self) -> None:
        """When the cursor has passed what was acknowledged singly, that is over, here and in the next process."""
        await self.acknowledge(self.state, self.seqs[2])
        await self.acknowledge_all(self.state)
        self.assertEqual(self.state.scattered, 0)
        await self.reopen()
        self.assertEqual((await self.opened(2)).state.scattered, 0)

    async def test_scattered_apart(self) -> None:
        """Where one device's cursor passes, what others acknowledged singly below it stays acknowledged."""
        tablet, other = await self.device(2, "tablet"), await self.device(3)
        await self.store(draft(b"x", 2, 3), draft(b"y", 2, 3))
        seq = (await self.waiting(other))[1].seq
        for state in (self.state, tablet, other):
            await self.acknowledge(state, seq)
        self.state.advance(seq)
        self.inbox.touch(self.state)
        await self.inbox.flush()
        self.assertEqual(ids_of(await self.waiting(other)), [b"x"])
        self.assertEqual(ids_of(await self.waiting(tablet)), [b"a", b"b", b"a", b"c", b"d", b"x"])

    async def test_one_state(self) -> None:
        """A device has one state in the process, which those that open it share, committed or not."""
        state = await self.device(2)
        state.advance(7)
        self.inbox.touch(state)
        self.assertIs((await self.opened(2)).state, state)
        self.assertEqual((await self.opened(2)).state.cursor, 7)

    async def test_state_let_go(self) -> None:
        """A change outlives those that made it."""
        await self.device(2)
        for cursor in (5, 9):
            opened = await self.opened(2)
            opened.state.advance(cursor)
            self.inbox.touch(opened.state)
            del opened
            self.assertEqual((await self.opened(2)).state.cursor, cursor)
            await self.inbox.flush()
        self.assertEqual((await self.opened(2)).state.cursor, 9)

    async def test_forget_shown(self) -> None:
        """What a GET has shown is acknowledged by DELETE, on disk, and nothing that came later."""
        self.state.show(self.seqs[2])
        await self.inbox.forget_shown(self.state)
        await self.reopen()
        self.assertEqual(seqs_of(await self.waiting((await self.opened(2)).state)), self.seqs[3:])

    async def test_forget_nothing(self) -> None:
        """Where nothing was shown, DELETE acknowledges nothing."""
        await self.inbox.forget_shown(self.state)
        self.assertEqual(seqs_of(await self.waiting(self.state)), self.seqs)

    async def test_find_oldest(self) -> None:
        """An id names its oldest entry that is not acknowledged."""
        self.state.sent = self.seqs[4]
        self.assertEqual(await self.inbox.find(self.state, b"a"), self.seqs[0])
        await self.acknowledge(self.state, self.seqs[0])
        self.assertEqual(await self.inbox.find(self.state, b"a"), self.seqs[2])
        self.inbox.acknowledge_range(self.state, self.seqs[1], self.seqs[2])
        self.assertIsNone(await self.inbox.find(self.state, b"a"))

    async def test_find_above_cursor(self) -> None:
        """What is below the cursor is acknowledged already."""
        self.state.sent = self.seqs[4]
        self.state.advance(self.seqs[1])
        self.assertEqual(await self.inbox.find(self.state, b"a"), self.seqs[2])
        self.assertIsNone(await self.inbox.find(self.state, b"b"))

    async def test_find_sent_or_shown(self) -> None:
        """Only what was sent or shown can be named."""
        self.assertIsNone(await self.inbox.find(self.state, b"a"))
        self.state.sent = self.seqs[1]
        self.assertEqual(await self.inbox.find(self.state, b"b"), self.seqs[1])
        self.assertIsNone(await self.inbox.find(self.state, b"c"))
        self.state.show(self.seqs[3])
        self.assertEqual(await self.inbox.find(self.state, b"c"), self.seqs[3])

    async def test_find_sent_by_then(self) -> None:
        """What is sent only while it is looked for is not what was meant."""
        looking = Deferred.fromCoroutine(self.inbox.find(self.state, b"a"))
        self.state.sent = self.state.shown = self.seqs[4]
        self.assertIsNone(await looking)

    async def test_find_sent_while_committing(self) -> None:
        """Also where a commit comes first."""
        self.inbox.touch(self.state)
        looking = Deferred.fromCoroutine(self.inbox.find(self.state, b"a"))
        self.state.sent = self.seqs[4]
        self.assertIsNone(await looking)

    async def test_find_uncommitted(self) -> None:
        """What is not on disk yet is found too."""
        state = await self.device(3)
        self.inbox.append(draft(b"a", 3), Sender())
        state.sent = 1 << 52
        self.assertEqual(await self.inbox.find(state, b"a"), (await self.waiting(state))[0].seq)

    async def test_find_others(self) -> None:
        """Neither a device's own message nor what is in another's inbox is found, nor an id that nobody used."""
        state = await self.device(SENDER)
        await self.store(draft(b"own", SENDER, 2), draft(b"other", 2))
        state.sent = 1 << 52
        found = [await self.inbox.find(state, id_) for id_ in (b"own", b"other", b"unknown", b"")]
        self.assertEqual(found, [None] * 4)

    async def test_find_odd(self) -> None:
        """Ids are told apart by their bytes."""
        state = await self.device(3)
        await self.store(*(draft(id_, 3) for id_ in ODD_IDS))
        state.sent = 1 << 52
        found = [await self.inbox.find(state, id_) for id_ in ODD_IDS]
        self.assertEqual(found, seqs_of(await self.waiting(state)))
