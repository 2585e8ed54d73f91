"""What is read from an inbox."""

from __future__ import annotations

from simple_im.store.entries import Page
from tests.store.fakes import PHONE, SENDER, draft, ids_of, seqs_of
from tests.store.inbox_contract.contract import LARGE, ODD_IDS, Contract


class ReadingContract(Contract):
    async def test_order(self) -> None:
        """Entries are read in the order in which they were appended, and `seq` only grows."""
        state = await self.device(2)
        ids = [b"%d" % number for number in range(40)]
        await self.store(*(draft(id_, 2) for id_ in ids[:20]))
        await self.store(*(draft(id_, 2) for id_ in ids[20:]))
        entries = await self.waiting(state)
        self.assertEqual(ids_of(entries), ids)
        self.assertEqual(seqs_of(entries), sorted(set(seqs_of(entries))))

    async def test_stamped(self) -> None:
        """What is read is the message's bytes with its sender, its time and its place in them."""
        state = await self.device(2)
        self.clock.advance(1_000.5)
        await self.store(draft(b"a", 2, dup=True))
        (entry,) = await self.waiting(state)
        stamp = b"from = %d\nts = %d\nseq = %d\n" % (SENDER, int(self.clock.seconds()), entry.seq)
        self.assertEqual(entry.wire, b'[[m]]\nid = "a"\nc = "hi"\n' + stamp + b"dup = true\n\n")
        self.assertEqual((entry.sender, entry.device, entry.ts), (SENDER, PHONE, int(self.clock.seconds())))

    async def test_delivered_as_read(self) -> None:
        """What goes to connected devices is what is read later: the same bytes, in the same order, each once."""
        state = await self.device(2)
        await self.store(*(draft(b"%d" % number, 2, 3) for number in range(5)))
        read = await self.waiting(state)
        self.assertEqual([e.wire for e in self.outlet.entries], [e.wire for e in read])
        self.assertEqual({e.users for e in self.outlet.entries}, {(2, 3)})
        self.assertEqual(self.outlet.written, 5)

    async def test_any_place(self) -> None:
        """A reader can begin behind any entry."""
        state = await self.device(2)
        await self.store(*(draft(b"%d" % number, 2) for number in range(6)))
        entries = await self.waiting(state)
        for index, entry in enumerate(entries):
            page = await self.inbox.read(state, entry.seq, 100, LARGE)
            self.assertEqual(seqs_of(page.entries), seqs_of(entries[index + 1 :]))
            self.assertTrue(page.last)

    async def test_limited_by_count(self) -> None:
        """A page holds at most as many entries as asked for, and says whether it was the last."""
        state = await self.device(2)
        await self.store(*(draft(b"%d" % number, 2) for number in range(5)))
        sizes = []
        for limit in range(1, 7):
            page = await self.inbox.read(state, 0, limit, LARGE)
            sizes.append((len(page.entries), page.last))
        self.assertEqual(sizes, [(1, False), (2, False), (3, False), (4, False), (5, True), (5, True)])

    async def test_limited_by_bytes(self) -> None:
        """A page holds at most as many bytes as asked for: exactly as many is within the limit."""
        state = await self.device(2)
        await self.store(*(draft(b"%d" % number, 2) for number in range(4)))
        size = len((await self.waiting(state))[0].wire)
        for limit, count in ((2 * size - 1, 1), (2 * size, 2), (2 * size + 1, 2), (4 * size, 4)):
            page = await self.inbox.read(state, 0, 100, limit)
            self.assertEqual((len(page.entries), page.last), (count, count == 4))

    async def test_at_least_one(self) -> None:
        """An entry larger than the limit comes alone rather than never."""
        state = await self.device(2)
        await self.store(draft(b"large", 2, text=b"x" * 1_000), draft(b"b", 2))
        for max_bytes in (100, 0, -5):
            page = await self.inbox.read(state, 0, 100, max_bytes)
            self.assertEqual((ids_of(page.entries), page.last), ([b"large"], False))

    async def test_nothing(self) -> None:
        """Where nothing waits, the page is empty and the last."""
        state = await self.device(2)
        await self.store(draft(b"a", 3))
        self.assertEqual(await self.inbox.read(state, 0, 100, LARGE), Page([], True))

    async def test_several_users(self) -> None:
        """A message to several users is in the inbox of each, in the same place, and in nobody else's."""
        states = [await self.device(user) for user in (2, 3, 4)]
        await self.store(draft(b"all", 2, 3), draft(b"one", 3), draft(b"none"))
        ids = [ids_of(await self.waiting(state)) for state in states]
        self.assertEqual(ids, [[b"all"], [b"all", b"one"], []])
        places = [(await self.waiting(state))[0].seq for state in states[:2]]
        self.assertEqual(places[0], places[1])

    async def test_own(self) -> None:
        """What a device sent itself it is not given; the user's other devices are, and so are other users'."""
        phone, tablet = await self.device(SENDER), await self.device(SENDER, "tablet")
        await self.store(draft(b"a", 2, SENDER), draft(b"b", SENDER, device="tablet"), draft(b"c", SENDER, sender=3))
        self.assertEqual(ids_of(await self.waiting(phone)), [b"b", b"c"])
        self.assertEqual(ids_of(await self.waiting(tablet)), [b"a", b"c"])

    async def test_ids(self) -> None:
        """An id may hold any character; two users' and two devices' same ids stand side by side."""
        state = await self.device(2)
        await self.store(*(draft(id_, 2) for id_ in ODD_IDS))
        await self.store(*(draft(id_, 2, sender=3) for id_ in ODD_IDS))
        await self.store(*(draft(id_, 2, device="tablet") for id_ in ODD_IDS))
        self.assertEqual(ids_of(await self.waiting(state)), [*ODD_IDS] * 3)

    async def test_device_names(self) -> None:
        """A device's name may hold any character too, and is told from others by each of them."""
        names = ["a", "A", "a ", "'", '"', "é", "e\u0301", "\u0000", "😀"]
        states = [await self.device(2, name) for name in names]
        await self.store(draft(b"x", 2))
        for state in states[::2]:
            await self.acknowledge_all(state)
        self.assertEqual([len(await self.waiting(state)) for state in states], [0, 1] * 4 + [0])
