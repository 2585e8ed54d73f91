"""`/contact` and `/pre_contact`: asking, accepting, removing, and keeping a list in step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from simple_im.status import BadRequest
from simple_im.store.accounts import LARGEST
from simple_im.store.contacts import Contacts
from simple_im.store.entries import Draft
from simple_im.store.outgoing import Notice, Outgoing
from simple_im.store.tokens import Session, Tokens
from simple_im.web.document import Answer
from simple_im.web.form import to_id, to_integer
from simple_im.web.request import Call
from simple_im.web.resource import Handler


class ContactPages:
    """The handlers of `/contact` and `/pre_contact`. `now` gives unix seconds."""

    def __init__(self, contacts: Contacts, outgoing: Outgoing, tokens: Tokens, now: Callable[[], float]) -> None:
        self._contacts = contacts
        self._outgoing = outgoing
        self._tokens = tokens
        self._now = now

    def routes(self) -> dict[str, Handler]:
        """Who answers where."""
        return {
            "GET /contact/version/*": self.changes,
            "POST /contact/*": self.ask,
            "PUT /contact/*": self.accept,
            "DELETE /contact/*": self.remove,
            "GET /pre_contact/*": self.requests,
        }

    async def changes(self, call: Call, version: str) -> Answer:
        """`GET /contact/version/V`: what brings a list of version V up to date."""
        session = await self._tokens.check(call.token)
        changes = await self._contacts.changes(session.user, _since("version", version))
        tables = {
            "contact": [asdict(contact) for contact in changes.contacts],
            "removed": [{"id": user} for user in changes.removed],
        }
        return Answer({"version": changes.version}, tables)

    async def ask(self, call: Call, id_: str) -> Answer:
        """`POST /contact/ID`: ask to be a contact; where ID has asked already, that accepts."""
        session, other = await self._two(call, id_)
        words = call.form.ask()
        return await self._sent(await self._contacts.ask(_notice(session, other), other, words, int(self._now())))

    async def accept(self, call: Call, id_: str) -> Answer:
        """`PUT /contact/ID`: accept ID's request."""
        session, other = await self._two(call, id_)
        return await self._sent(await self._contacts.accept(_notice(session, other), other))

    async def remove(self, call: Call, id_: str) -> Answer:
        """`DELETE /contact/ID`: neither is the other's contact any more."""
        session, other = await self._two(call, id_)
        return await self._sent(await self._contacts.remove(_notice(session, other), other))

    async def requests(self, call: Call, after: str) -> Answer:
        """`GET /pre_contact/TS`: who has asked since."""
        session = await self._tokens.check(call.token)
        requests = await self._contacts.requests(session.user, _since("timestamp", after))
        return Answer(tables={"pre_contact": [asdict(request) for request in requests]})

    async def _two(self, call: Call, id_: str) -> tuple[Session, int]:
        """Who asks, and the other one."""
        session = await self._tokens.check(call.token)
        other = to_id("id", id_)
        if other == session.user:
            raise BadRequest("id must be another user's")
        return session, other

    async def _sent(self, draft: Draft) -> Answer:
        await self._outgoing.send(draft)
        return Answer()


def _since(name: str, text: str) -> int:
    """A version or a time that a database can hold: before 0 there is nothing, nor after the largest."""
    return min(max(to_integer(name, text), 0), LARGEST)


def _notice(session: Session, to: int) -> Notice:
    return Notice(session.user, session.device, "n", {"to": to})
