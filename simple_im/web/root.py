"""The tree of the HTTPS door."""

from __future__ import annotations

from typing import Protocol

from twisted.web.resource import Resource

from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Handler
from simple_im.web.tree import make_tree


class Pages(Protocol):
    """Handlers that know where they belong."""

    def routes(self) -> dict[str, Handler]:
        """Handlers by method and path, such as `GET /user/id/*`."""


async def health(_call: Call) -> Answer:
    """`GET /health`: plain text, for those who watch."""
    return Answer(text="ok\n")


def make_root(*pages: Pages) -> Resource:
    """Every path and who answers there."""
    routes: dict[str, Handler] = {"GET /health": health}
    for each in pages:
        routes.update(each.routes())
    return make_tree(routes)
