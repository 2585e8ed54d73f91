"""Paths to handlers: one table of routes, made into the resources that `twisted.web` walks."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.web.resource import Resource
from twisted.web.server import Request

from simple_im.status import NotFound
from simple_im.web.resource import Endpoint, Handler, Missing


class Spot:
    """A place in the tree: what answers there, and what is below, by name or as a parameter."""

    def __init__(self) -> None:
        self.methods: dict[str, Handler] = {}
        self.named: dict[str, Spot] = {}
        self.parameter: Spot | None = None

    def below(self, part: str) -> Spot:
        """The place for a part of a route, made where there is none."""
        if part != "*":
            return self.named.setdefault(part, Spot())
        if self.parameter is None:
            self.parameter = Spot()
        return self.parameter


class Branch(Endpoint):
    """The resource of a place, with the parameters on the way to it."""

    def __init__(self, spot: Spot, *parameters: str) -> None:
        super().__init__(spot.methods, *parameters)
        self._spot = spot

    def _handler(self, request: Request) -> Handler:
        if not self._methods:
            raise NotFound()
        return super()._handler(request)

    def getChild(self, path: bytes, request: Request) -> Resource:
        """What is at the next part of the path."""
        try:
            part = path.decode()
        except UnicodeDecodeError:
            return Missing()
        if part in self._spot.named:
            return Branch(self._spot.named[part], *self._parameters)
        if self._spot.parameter is not None and part:
            return Branch(self._spot.parameter, *self._parameters, part)
        return Missing()


def make_tree(routes: Mapping[str, Handler]) -> Branch:
    """The tree for routes such as `GET /user/id/*`; each `*` is a parameter of the handler."""
    root = Spot()
    for route, handler in routes.items():
        method, _, path = route.partition(" /")
        spot = root
        for part in path.split("/"):
            spot = spot.below(part)
        spot.methods[method] = handler
    return Branch(root)
