"""Who gets a message: from a judged frame to the inboxes that it is for."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from simple_im.im.device import Device
from simple_im.im.sessions import Presence
from simple_im.status import NO_SUCH_GROUP, NO_SUCH_USER, NOT_A_MEMBER
from simple_im.store.device_state import DeviceState
from simple_im.store.entries import Draft, Receipt, Unstored
from simple_im.wire.frames import Message
from simple_im.wire.plain import Plain


class Users(Protocol):
    """Who there is; see `store.accounts.Accounts`."""

    def is_known(self, user: int) -> bool: ...

    async def exists(self, user: int) -> bool: ...


class Groups(Protocol):
    """Who is in a group; see `store.groups.Groups`."""

    def known_members(self, g_id: int) -> tuple[int, ...] | None: ...

    async def members(self, g_id: int) -> tuple[int, ...]: ...


class Inbox(Protocol):
    """Where messages are appended; see `store.inbox.SQLiteInbox`."""

    def append(self, draft: Draft, receipt: Receipt) -> None: ...

    def append_all(self, sender: int, device: str, messages: list[Unstored], receipt: Receipt) -> None: ...

    async def append_again(self, draft: Draft, receipt: Receipt) -> None: ...

    def write_with_next(self, state: DeviceState) -> None: ...

    async def acknowledge_again(self, draft: Draft, receipt: Receipt) -> bool: ...


class Router:
    """Routes messages; what comes of each, its receipt is told."""

    def __init__(self, users: Users, groups: Groups, inbox: Inbox) -> None:
        self._users = users
        self._groups = groups
        self._inbox = inbox

    def route(self, message: Message, device: Device, presence: Presence, receipt: Receipt) -> Deferred[None] | None:
        """Append a message for its addressees and the sender's other devices; a Deferred where it takes a look-up.

        Messages of one connection keep their order only if the next waits for the Deferred.
        """
        if message.table in ("gm", "gn"):
            members = self._groups.known_members(message.to)
            if members is None:
                return Deferred.fromCoroutine(self._look_up_group(message, device, presence, receipt))
            return self._to_group(message, members, device, presence, receipt)
        if not self._users.is_known(message.to):
            return Deferred.fromCoroutine(self._look_up_user(message, device, presence, receipt))
        return self._append_message(message, (message.to,), device, presence, receipt)

    def route_plain(self, messages: list[Plain], device: Device, presence: Presence, receipt: Receipt) -> int:
        """`route` for plain messages to others, as many from the first on as take no look-up; how many that was."""
        state, is_known = device.state, self._users.is_known
        copies = _recipients((), device, presence)
        known: list[Unstored] = []
        for id_, to, head in messages:
            if to == state.user or not is_known(to):
                break
            known.append((id_, (to, *copies), head, b""))
        if known:
            self._write_first(state)
            self._inbox.append_all(state.user, state.device, known, receipt)
        return len(known)

    async def _look_up_user(self, message: Message, device: Device, presence: Presence, receipt: Receipt) -> None:
        if await self._users.exists(message.to):
            await _done(self._append_message(message, (message.to,), device, presence, receipt))
        else:
            receipt.refused([message.id], NO_SUCH_USER)

    async def _look_up_group(self, message: Message, device: Device, presence: Presence, receipt: Receipt) -> None:
        members = await self._groups.members(message.to)
        await _done(self._to_group(message, members, device, presence, receipt))

    def _to_group(
        self, message: Message, members: tuple[int, ...], device: Device, presence: Presence, receipt: Receipt
    ) -> Deferred[None] | None:
        if device.state.user in members:
            return self._append_message(message, members, device, presence, receipt)
        reason = NOT_A_MEMBER if members else NO_SUCH_GROUP
        if message.dup:
            return Deferred.fromCoroutine(self._refuse_unless_stored(message, reason, device, presence, receipt))
        receipt.refused([message.id], reason)
        return None

    async def _refuse_unless_stored(
        self, message: Message, reason: str, device: Device, presence: Presence, receipt: Receipt
    ) -> None:
        """What was stored while the sender was a member is acknowledged again."""
        if not await self._inbox.acknowledge_again(_draft(message, (), device, presence), receipt):
            receipt.refused([message.id], reason)

    def _append_message(
        self, message: Message, users: tuple[int, ...], device: Device, presence: Presence, receipt: Receipt
    ) -> Deferred[None] | None:
        return self._append(_draft(message, users, device, presence), message.dup, device.state, receipt)

    def _append(self, draft: Draft, dup: bool, sender: DeviceState, receipt: Receipt) -> Deferred[None] | None:
        self._write_first(sender)
        if dup:
            return Deferred.fromCoroutine(self._inbox.append_again(draft, receipt))
        self._inbox.append(draft, receipt)
        return None

    def _write_first(self, sender: DeviceState) -> None:
        if sender.is_dirty:
            self._inbox.write_with_next(sender)


async def _done(waiting: Deferred[None] | None) -> None:
    if waiting is not None:
        await waiting


def _draft(message: Message, users: tuple[int, ...], device: Device, presence: Presence) -> Draft:
    state = device.state
    recipients = _recipients(users, device, presence)
    return Draft(state.user, state.device, message.id, recipients, message.head, message.tail)


def _recipients(users: tuple[int, ...], device: Device, presence: Presence) -> tuple[int, ...]:
    """The users whose inboxes get it: the sender last.

    The sender's own is left out where nobody could miss anything: no other device is known, and this one has
    acknowledged all there is, so that a device of later begins behind it anyway.
    """
    sender = device.state.user
    if sender in users:
        users = tuple([user for user in users if user != sender])
    if len(presence.names) == 1 and device.caught_up:
        return users
    return (*users, sender)
