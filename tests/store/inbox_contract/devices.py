"""Which devices there are, and where a new one begins."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from simple_im.limits import DEVICES
from simple_im.status import TooManyDevices
from tests.store.fakes import PHONE, SENDER, Sender, draft, ids_of, seqs_of
from tests.store.inbox_contract.contract import Contract


class DeviceContract(Contract):
    async def test_unknown(self) -> None:
        """A device that was never made known can't be opened."""
        await self.device(2)
        self.assertIsNone(await self.inbox.open_device(2, "tablet"))
        self.assertIsNone(await self.inbox.open_device(3, PHONE))
        self.assertIsNone(await self.inbox.open_device(99, PHONE))

    async def test_names(self) -> None:
        """With a device come the names of all devices of its user."""
        for name in ("a", "b", "c"):
            await self.device(2, name)
        await self.device(3, "d")
        self.assertEqual(sorted((await self.opened(2, "b")).names), ["a", "b", "c"])

    async def test_added_again(self) -> None:
        """A device that signs in again keeps its place."""
        state = await self.device(2)
        await self.store(draft(b"a", 2), draft(b"b", 2))
        await self.device(2)
        self.assertEqual(ids_of(await self.waiting(state)), [b"a", b"b"])

    async def test_limit(self) -> None:
        """A user has at most 32 devices; one more is refused, those that are known are not, nor other users'."""
        for number in range(DEVICES):
            await self.inbox.add_device(2, f"{number}")
        with self.assertRaises(TooManyDevices):
            await self.inbox.add_device(2, "one more")
        self.assertIsNone(await self.inbox.open_device(2, "one more"))
        await self.inbox.add_device(2, "0")
        await self.inbox.add_device(3, "one more")
        self.assertEqual(len((await self.opened(2, "0")).names), DEVICES)

    async def test_first(self) -> None:
        """A user's first device gets what came before it."""
        await self.store(draft(b"a", 2))
        self.assertEqual(ids_of(await self.waiting(await self.device(2))), [b"a"])

    async def test_place(self) -> None:
        """A new device begins at the highest place up to which any device has acknowledged everything."""
        phone, tablet = await self.device(2), await self.device(2, "tablet")
        await self.store(*(draft(b"%d" % number, 2) for number in range(6)))
        seqs = seqs_of(await self.waiting(phone))
        phone.advance(seqs[1])
        self.inbox.touch(phone)
        tablet.advance(seqs[3])
        self.inbox.touch(tablet)
        self.assertEqual(ids_of(await self.waiting(await self.device(2, "new"))), [b"4", b"5"])

    async def test_place_behind_singles(self) -> None:
        """What was acknowledged singly counts where nothing before it is missing."""
        phone = await self.device(2)
        await self.store(*(draft(b"%d" % number, 2) for number in range(6)))
        seqs = seqs_of(await self.waiting(phone))
        for index in (0, 1, 3):
            self.inbox.acknowledge_range(phone, seqs[index] - 1, seqs[index])
        self.assertEqual(ids_of(await self.waiting(await self.device(2, "new"))), [b"2", b"3", b"4", b"5"])

    async def test_place_behind_own(self) -> None:
        """What a device sent itself it has acknowledged."""
        await self.device(SENDER)
        await self.store(draft(b"a", 2, SENDER), draft(b"b", 2, SENDER))
        self.assertEqual(await self.waiting(await self.device(SENDER, "new")), [])
        await self.store(draft(b"c", SENDER, sender=2), draft(b"d", 2, SENDER))
        self.assertEqual(ids_of(await self.waiting(await self.device(SENDER, "newer"))), [b"c", b"d"])

    async def test_place_of_forgotten(self) -> None:
        """How far a device had got that is forgotten now stays known; what it had not acknowledged is not lost."""
        phone = await self.device(2)
        await self.store(draft(b"a", 2), draft(b"b", 2))
        first, _ = seqs_of(await self.waiting(phone))
        phone.advance(first)
        self.inbox.touch(phone)
        await self.inbox.flush()
        await self.forget_devices(int(self.clock.seconds()) + 1)
        self.assertIsNone(await self.inbox.open_device(2, PHONE))
        self.assertEqual(ids_of(await self.waiting(await self.device(2, "new"))), [b"b"])

    async def test_everything_from_then_on(self) -> None:
        """Where another device has acknowledged all, a new one still gets what is appended while it becomes known."""
        phone = await self.device(3)
        for number in range(20):
            await self.store(draft(b"old", 3))
            await self.acknowledge_all(phone)
            adding = Deferred.fromCoroutine(self.inbox.add_device(3, f"{number}"))
            self.inbox.append(draft(b"%d" % number, 3), Sender())
            await adding
            self.assertEqual(ids_of(await self.waiting((await self.opened(3, f"{number}")).state)), [b"%d" % number])

    async def test_expired(self) -> None:
        """A device is told how many entries went past the retention unread, until it has been told."""
        state = await self.device(2)
        await self.store(draft(b"a", 2), draft(b"b", 2), draft(b"c", 3))
        await self.expire(int(self.clock.seconds()) + 1)
        self.assertEqual((await self.opened(2)).expired, 2)
        self.assertEqual(await self.waiting(state), [])
        await self.inbox.told_expired(state, 2)
        self.assertEqual((await self.opened(2)).expired, 0)

    async def test_expired_meanwhile(self) -> None:
        """What expires while a device is being told is told the next time."""
        state = await self.device(2)
        await self.store(draft(b"a", 2), draft(b"b", 2))
        await self.expire(int(self.clock.seconds()) + 1)
        await self.inbox.told_expired(state, 1)
        self.assertEqual((await self.opened(2)).expired, 1)
