"""What is read from an inbox while it grows."""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred, gatherResults

from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Entry
from tests.store.fakes import PHONE, SENDER, Sender, draft, seqs_of
from tests.store.inbox_contract.contract import Contract, Inbox


class Reader:
    """A device as a reader: follows what is delivered while in step, and reads pages until it is again."""

    def __init__(self, inbox: Inbox, state: DeviceState, chance: random.Random) -> None:
        self.seqs: list[int] = []
        self._inbox = inbox
        self._state = state
        self._chance = chance
        self._in_step = False

    def follow(self, entry: Entry) -> None:
        is_own = entry.is_from(self._state.user, self._state.device)
        if self._in_step and self._state.user in entry.users and not is_own:
            self.seqs.append(entry.seq)

    async def catch_up(self) -> None:
        """Read pages until one was the last; from then on it is in step."""
        self._in_step = False
        while not self._in_step:
            after = self.seqs[-1] if self.seqs else 0
            page = await self._inbox.read(self._state, after, self._chance.randint(1, 9), self._chance.randint(1, 900))
            self.seqs += seqs_of(page.entries)
            self._in_step = page.last


class ConcurrencyContract(Contract):
    async def test_no_gap(self) -> None:
        """Readers that fall out of step and read on miss nothing and get nothing twice, whatever is appended and
        committed meanwhile."""
        chance = random.Random(1)
        states = [await self.device(user, name) for user, name in ((2, "a"), (2, "b"), (3, "a"), (SENDER, PHONE))]
        readers = [Reader(self.inbox, state, chance) for state in states]
        self.outlet.followers += [reader.follow for reader in readers]
        await gatherResults(
            [Deferred.fromCoroutine(self._append(chance))]
            + [Deferred.fromCoroutine(self._read(reader, chance)) for reader in readers]
        )
        for reader, state in zip(readers, states, strict=True):
            await reader.catch_up()
            self.assertEqual(reader.seqs, seqs_of(await self.waiting(state)))
            self.assertGreater(len(reader.seqs), 100)

    async def _append(self, chance: random.Random) -> None:
        users, others = ((2, SENDER), (3, 2), (2, 3, SENDER), (3, SENDER)), (SENDER, 4)
        for number in range(600):
            message = draft(b"%d" % number, *chance.choice(users), sender=chance.choice(others))
            self.inbox.append(message, Sender())
            await self._perhaps_commit(chance)

    async def _perhaps_commit(self, chance: random.Random) -> None:
        choice = chance.randrange(6)
        if choice < 3:
            self.inbox.commit()
        if choice == 0:
            await self.inbox.flush()
        elif choice == 1:
            await self.turn()

    async def _read(self, reader: Reader, chance: random.Random) -> None:
        for _ in range(60):
            await reader.catch_up()
            for _ in range(chance.randrange(4)):
                await self.turn()

    async def test_last_page_then_deliveries(self) -> None:
        """What is appended while a page is on its way is in it or delivered after it, never both and never neither."""
        state = await self.device(2)
        for number in range(50):
            reader = Reader(self.inbox, state, random.Random(number))
            self.outlet.followers = [reader.follow]
            reading = Deferred.fromCoroutine(reader.catch_up())
            await self.store(draft(b"a%d" % number, 2))
            self.inbox.append(draft(b"b%d" % number, 2), Sender())
            await reading
            await self.inbox.flush()
            self.assertEqual(reader.seqs, seqs_of(await self.waiting(state)))
