"""Routes made into a tree: names before parameters, and nothing where there is nothing."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from simple_im.web.document import Answer
from simple_im.web.request import Call
from simple_im.web.resource import Handler
from simple_im.web.site import QuietSite
from simple_im.web.tree import make_tree
from tests.web.door import Answer as Received
from tests.web.door import Connection, request_bytes


def says(name: str) -> Handler:
    """A handler that answers with its name and its parameters."""

    async def handler(_call: Call, *parameters: str) -> Answer:
        return Answer({"says": name, "with": list(parameters)})

    return handler


class TreeTests(SynchronousTestCase):
    def setUp(self) -> None:
        routes = ("GET /a", "POST /a", "GET /a/*", "PUT /a/*", "GET /a/b/*", "GET /a/*/c", "POST /a/*/c/*")
        self.site = QuietSite(make_tree({route: says(route) for route in routes}), Clock())

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Received:
        connection = Connection(self.site)
        connection.send(request_bytes(method, path, headers or {}))
        (answer,) = connection.answers()
        return answer

    def assert_says(self, method: str, path: str, route: str, *parameters: str) -> None:
        response = self.ask(method, path).response
        self.assertEqual((response["says"], response["with"]), (route, list(parameters)))

    def test_methods(self) -> None:
        """A path answers each of its methods with its own handler."""
        for method in ("GET", "POST"):
            self.assert_says(method, "/a", f"{method} /a")

    def test_parameters(self) -> None:
        """Each `*` is a part of the path, decoded, given to the handler in order."""
        self.assert_says("GET", "/a/1", "GET /a/*", "1")
        self.assert_says("GET", "/a/%C3%A9%20x", "GET /a/*", "é x")
        self.assert_says("GET", "/a/1/c", "GET /a/*/c", "1")
        self.assert_says("POST", "/a/1/c/2", "POST /a/*/c/*", "1", "2")

    def test_names_come_first(self) -> None:
        """Where a name and a parameter could stand, it is the name; the parameter's routes are not tried then."""
        self.assert_says("GET", "/a/b/1", "GET /a/b/*", "1")
        self.assertEqual(self.ask("GET", "/a/b/c/d").status, 404)

    def test_on_the_way(self) -> None:
        """A place that only leads on answers nothing, by any method."""
        for path in ("/", "/a/b", "/a/1/c/2/3", "/a/b/1/c", "/a/1/d", "/c", "/a/1/c/"):
            for method in ("GET", "POST", "OPTIONS"):
                self.assertEqual(self.ask(method, path).status, 404, (method, path))

    def test_no_parameter(self) -> None:
        """A part without a character, or with bytes that are no text, is no parameter."""
        for path in ("/a/", "/a//c", "/a/%ff", "/a/1/c/%c3"):
            self.assertEqual(self.ask("GET", path).status, 404, path)

    def test_other_methods(self) -> None:
        """Another method is answered with those that there are, at this path and not at another."""
        for path, allowed in (("/a", "GET, HEAD, OPTIONS, POST"), ("/a/1", "GET, HEAD, OPTIONS, PUT")):
            answer = self.ask("DELETE", path)
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, allowed))
