"""`/group`: making groups, and who is in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from simple_im.store.entries import Draft
from simple_im.store.groups import Groups
from simple_im.store.outgoing import Notice, Outgoing
from simple_im.store.tokens import Session, Tokens
from simple_im.web.document import Answer
from simple_im.web.form import to_id
from simple_im.web.request import Call
from simple_im.web.resource import Handler


class GroupPages:
    """The handlers of `/group`. `now` gives unix seconds."""

    def __init__(self, groups: Groups, outgoing: Outgoing, tokens: Tokens, now: Callable[[], float]) -> None:
        self._groups = groups
        self._outgoing = outgoing
        self._tokens = tokens
        self._now = now

    def routes(self) -> dict[str, Handler]:
        """Who answers where."""
        return {
            "GET /group": self.list,
            "POST /group": self.create,
            "GET /group/*": self.show,
            "DELETE /group/*": self.delete,
            "POST /group/*/member": self.join,
            "DELETE /group/*/member": self.leave,
            "POST /group/*/member/*": self.add,
            "DELETE /group/*/member/*": self.remove,
        }

    async def list(self, call: Call) -> Answer:
        """`GET /group`: the groups that one is in."""
        session = await self._tokens.check(call.token)
        return Answer(tables={"group": [asdict(group) for group in await self._groups.of(session.user)]})

    async def show(self, call: Call, g_id: str) -> Answer:
        """`GET /group/G`: one group, for its members."""
        session = await self._tokens.check(call.token)
        details = await self._groups.show(session.user, to_id("g_id", g_id))
        group = {**asdict(details.group), "g_key": details.g_key}
        return Answer(tables={"group": [group], "member": [asdict(member) for member in details.members]})

    async def create(self, call: Call) -> Answer:
        """`POST /group`: a new group, with these members from the start."""
        session = await self._tokens.check(call.token)
        name, members = call.form.name(), call.form.ids("members[]")
        details, draft = await self._groups.create(_notice(session), name, members, int(self._now()))
        await self._outgoing.send(draft)
        return Answer({"g_id": details.group.id, "g_key": details.g_key})

    async def delete(self, call: Call, g_id: str) -> Answer:
        """`DELETE /group/G`: end it."""
        session = await self._tokens.check(call.token)
        return await self._sent(await self._groups.delete(_notice(session), to_id("g_id", g_id)))

    async def join(self, call: Call, g_id: str) -> Answer:
        """`POST /group/G/member`: join by the key."""
        session = await self._tokens.check(call.token)
        group, key = to_id("g_id", g_id), call.form.text("g_key")
        return await self._sent(await self._groups.join(_notice(session), group, key))

    async def leave(self, call: Call, g_id: str) -> Answer:
        """`DELETE /group/G/member`: leave."""
        session = await self._tokens.check(call.token)
        return await self._sent(await self._groups.leave(_notice(session), to_id("g_id", g_id)))

    async def add(self, call: Call, g_id: str, user: str) -> Answer:
        """`POST /group/G/member/U`: add somebody."""
        session = await self._tokens.check(call.token)
        draft = await self._groups.add(_notice(session), to_id("g_id", g_id), to_id("id", user))
        return await self._sent(draft)

    async def remove(self, call: Call, g_id: str, user: str) -> Answer:
        """`DELETE /group/G/member/U`: remove somebody."""
        session = await self._tokens.check(call.token)
        draft = await self._groups.remove(_notice(session), to_id("g_id", g_id), to_id("id", user))
        return await self._sent(draft)

    async def _sent(self, draft: Draft) -> Answer:
        await self._outgoing.send(draft)
        return Answer()


def _notice(session: Session) -> Notice:
    return Notice(session.user, session.device, "gn", {})
