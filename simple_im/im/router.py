"""Who gets a message: from a judged frame to the inboxes that it is for."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from simple_im.im.device import Device
from simple_im.im.sessions import Presence
from simple_im.status import NO_SUCH_GROUP, NO_SUCH_USER
from simple_im.store.entries import Draft, Receipt
from simple_im.wire.frames import Message


class Users(Protocol):
    """Who there is; see `store.accounts.Accounts`."""

    def is_known(self, user: int) -> bool: ...

    async def exists(self, user: int) -> bool: ...


class Inbox(Protocol):
    """Where messages are appended; see `store.inbox.SQLiteInbox`."""

    def append(self, draft: Draft, receipt: Receipt) -> None: ...

    async def append_again(self, draft: Draft, receipt: Receipt) -> None: ...


class Router:
    """Routes messages; what comes of each, its receipt is told."""

    def __init__(self, users: Users, inbox: Inbox) -> None:
        self._users = users
        self._inbox = inbox

    def route(self, message: Message, device: Device, presence: Presence, receipt: Receipt) -> Deferred[None] | None:
        """Append a message for its addressee and the sender's other devices; a Deferred where it takes a look-up.

        Messages of one connection keep their order only if the next waits for the Deferred.
        """
        if message.table in ("gm", "gn"):
            receipt.refused([message.id], NO_SUCH_GROUP)
        elif not self._users.is_known(message.to):
            return Deferred.fromCoroutine(self._look_up(message, device, presence, receipt))
        elif message.dup:
            draft = _draft(message, device, presence)
            return Deferred.fromCoroutine(self._inbox.append_again(draft, receipt))
        else:
            self._inbox.append(_draft(message, device, presence), receipt)
        return None

    async def _look_up(self, message: Message, device: Device, presence: Presence, receipt: Receipt) -> None:
        if not await self._users.exists(message.to):
            receipt.refused([message.id], NO_SUCH_USER)
        else:
            routed = self.route(message, device, presence, receipt)
            if routed is not None:
                await routed


def _draft(message: Message, device: Device, presence: Presence) -> Draft:
    """The sender's own inbox is left out where nobody could miss anything: no other device is known, and this one has
    acknowledged all there is, so that a device of later begins behind it anyway."""
    sender, name = device.state.user, device.state.device
    alone = len(presence.names) == 1 and device.caught_up
    if message.to == sender:
        users: tuple[int, ...] = () if alone else (sender,)
    else:
        users = (message.to,) if alone else (message.to, sender)
    return Draft(sender, name, message.id, users, message.head, message.tail)
