"""What senders are told, and messages that come again."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from simple_im.store.entries import Draft
from tests.store.fakes import Sender, draft, ids_of, seqs_of
from tests.store.inbox_contract.contract import ODD_IDS, Contract


class ReceiptContract(Contract):
    async def test_told_once(self) -> None:
        """A sender is told of each message once, in order."""
        sender = await self.store(*(draft(b"%d" % number, 2) for number in range(10)))
        await self.store(draft(b"later", 2))
        self.assertEqual(sender.answers, [(b"%d" % number, "") for number in range(10)])

    async def test_each_its_own(self) -> None:
        """Senders in one commit are told of their own messages only."""
        senders = [Sender() for _ in range(5)]
        for number in range(20):
            self.inbox.append(draft(b"%d" % number, 2), senders[number % 5])
        await self.inbox.flush()
        for number, sender in enumerate(senders):
            self.assertEqual(sender.stored_ids, [b"%d" % n for n in range(number, 20, 5)])

    async def test_not_before(self) -> None:
        """Nobody is told before a commit, which `commit` begins."""
        sender = Sender()
        self.inbox.append(draft(b"a", 2), sender)
        await self.turn()
        self.assertEqual(sender.answers, [])
        told: Deferred[None] = Deferred()
        sender.on_answer = lambda: told.callback(None)
        self.inbox.commit()
        await told
        self.assertEqual(sender.stored_ids, [b"a"])

    async def test_gone(self) -> None:
        """From a sender that has begun anew nothing is taken, also not what was being looked up."""
        sender = Sender()
        asking = Deferred.fromCoroutine(self.inbox.append_again(draft(b"a", 2), sender))
        sender.gone = True
        await asking
        self.inbox.append(draft(b"b", 2), sender)
        await self.inbox.flush()
        self.assertEqual((sender.answers, self.outlet.entries), ([], []))

    async def test_for_nobody(self) -> None:
        """A message that is in no inbox is stored and acknowledged like any other."""
        sender = await self.store(draft(b"a"))
        await self.inbox.append_again(draft(b"a"), sender)
        await self.inbox.flush()
        self.assertEqual(sender.stored_ids, [b"a", b"a"])
        self.assertEqual(len(self.outlet.entries), 1)

    async def test_on_disk(self) -> None:
        """What a sender has been told is stored is there for the next process."""
        await self.device(2)
        sender = await self.store(draft(b"a", 2))
        self.assertEqual(sender.stored_ids, [b"a"])
        await self.reopen()
        self.assertEqual(ids_of(await self.waiting((await self.opened(2)).state)), [b"a"])

    async def test_seq_not_reused(self) -> None:
        """A number that a device may have seen is not given again, also when the process ended before it was
        stored."""
        state = await self.device(2)
        highest = 0
        for number in range(4):
            await self.store(draft(b"stored%d" % number, 2))
            self.inbox.append(draft(b"lost%d" % number, 2), Sender())
            seen = seqs_of(self.outlet.entries) + seqs_of(await self.waiting(state))
            await self.reopen()
            state = (await self.opened(2)).state
            await self.store(draft(b"new%d" % number, 2))
            self.assertGreater((await self.waiting(state))[-1].seq, max(highest, *seen))
            highest = max(seen)

    async def test_full(self) -> None:
        """When more waits for the disk than may, the inbox says so, and when it does not any more."""
        self.patch(self.limits, "UNCOMMITTED_BYTES", 300)
        self.assertFalse(self.inbox.full)
        sender = Sender()
        while not self.inbox.full:
            self.inbox.append(draft(b"a", 2, text=b"x" * 50), sender)
        self.inbox.commit()
        while not self.inbox.full:
            self.inbox.append(draft(b"a", 2, text=b"x" * 50), sender)
        waiting = [self.inbox.drained(), self.inbox.drained()]
        self.assertEqual([each.called for each in waiting], [False, False])
        await gatherResults(waiting)
        self.assertFalse(self.inbox.full)


class DupContract(Contract):
    """A message sent again with `dup`."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.state = await self.device(2)
        self.sender = Sender()

    async def again(self, message: Draft) -> None:
        await self.inbox.append_again(message, self.sender)
        await self.inbox.flush()

    async def test_new(self) -> None:
        """One that is not stored is taken as new."""
        await self.again(draft(b"a", 2))
        self.assertEqual(self.sender.stored_ids, [b"a"])
        self.assertEqual(ids_of(await self.waiting(self.state)), [b"a"])

    async def test_stored(self) -> None:
        """One that is stored is acknowledged again and not delivered."""
        await self.store(draft(b"a", 2))
        await self.again(draft(b"a", 2))
        self.assertEqual(self.sender.stored_ids, [b"a"])
        self.assertEqual(len(self.outlet.entries), 1)
        self.assertEqual(ids_of(await self.waiting(self.state)), [b"a"])

    async def test_gathering(self) -> None:
        """One that waits for its commit is acknowledged with it, each sending once."""
        self.inbox.append(draft(b"a", 2), self.sender)
        await self.again(draft(b"a", 2))
        self.assertEqual(self.sender.stored_ids, [b"a", b"a"])
        self.assertEqual(ids_of(await self.waiting(self.state)), [b"a"])

    async def test_committing(self) -> None:
        """So is one whose commit is under way."""
        self.inbox.append(draft(b"a", 2), self.sender)
        self.inbox.commit()
        await self.again(draft(b"a", 2))
        self.assertEqual(self.sender.stored_ids, [b"a", b"a"])
        self.assertEqual(ids_of(await self.waiting(self.state)), [b"a"])

    async def test_acknowledged_by_all(self) -> None:
        """One that all devices have acknowledged is remembered."""
        await self.store(draft(b"a", 2))
        await self.acknowledge_all(self.state)
        await self.again(draft(b"a", 2))
        self.assertEqual(self.sender.stored_ids, [b"a"])
        self.assertEqual(await self.waiting(self.state), [])

    async def test_next_process(self) -> None:
        """And it is remembered in the next process."""
        await self.store(draft(b"a", 2))
        await self.reopen()
        await self.again(draft(b"a", 2))
        self.assertEqual(ids_of(await self.waiting((await self.opened(2)).state)), [b"a"])

    async def test_others(self) -> None:
        """Another user's, another device's and another id are other messages, stored or not."""
        others = (draft(b"a", 2, sender=3), draft(b"a", 2, device="tablet"), draft(b"A", 2), draft(b"a ", 2))
        await self.store(draft(b"a", 2))
        self.inbox.append(draft(b"b", 2), Sender())
        for message in others:
            await self.again(message)
        self.assertEqual(ids_of(await self.waiting(self.state)), [b"a", b"b", b"a", b"a", b"A", b"a "])

    async def test_odd_ids(self) -> None:
        """Whatever an id holds, it is found again."""
        await self.store(*(draft(id_, 2) for id_ in ODD_IDS))
        for id_ in ODD_IDS:
            await self.again(draft(id_, 2))
        self.assertEqual(ids_of(await self.waiting(self.state)), [*ODD_IDS])

    async def test_two_at_once(self) -> None:
        """Of several that come at the same time one is taken and all are acknowledged."""
        senders = [Sender() for _ in range(4)]
        await gatherResults(
            [Deferred.fromCoroutine(self.inbox.append_again(draft(b"a", 2), sender)) for sender in senders]
        )
        await self.inbox.flush()
        self.assertEqual([sender.stored_ids for sender in senders], [[b"a"]] * 4)
        self.assertEqual(ids_of(await self.waiting(self.state)), [b"a"])

    async def test_while_committed(self) -> None:
        """One whose commit begins or ends while it is looked up is not taken twice."""
        for number in range(30):
            message = draft(b"%d" % number, 2)
            looking = Deferred.fromCoroutine(self.inbox.append_again(message, self.sender))
            for _ in range(number % 3):
                await self.turn()
            again = Deferred.fromCoroutine(self.inbox.append_again(message, self.sender))
            self.inbox.commit()
            await gatherResults([looking, again])
            await self.inbox.flush()
        self.assertEqual(self.sender.stored_ids, [b"%d" % n for n in range(30) for _ in range(2)])
        self.assertEqual(ids_of(await self.waiting(self.state)), [b"%d" % n for n in range(30)])

    async def test_after_expiry(self) -> None:
        """One that went past the retention is taken as new."""
        await self.store(draft(b"a", 2))
        await self.expire(int(self.clock.seconds()) + 1)
        await self.again(draft(b"a", 2))
        self.assertEqual(len(self.outlet.entries), 2)
