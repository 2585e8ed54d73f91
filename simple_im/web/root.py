"""The tree of the HTTPS door."""

from __future__ import annotations

from twisted.web.resource import Resource
from twisted.web.server import Request

from simple_im.web.offline import Offline
from simple_im.web.resource import Endpoint, Folder, Handler, Missing, Parameter
from simple_im.web.server import Login, Servers
from simple_im.web.user import Users


class Health(Resource):
    """`GET /health`: plain text, for those who watch."""

    def __init__(self) -> None:
        Resource.__init__(self)

    def getChild(self, path: bytes, request: Request) -> Resource:
        """There is nothing below."""
        return Missing()

    def render_GET(self, request: Request) -> bytes:
        """The node is up."""
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        request.setHeader("Server", "simple_im")
        return b"ok\n"


def make_root(users: Users, login: Login, servers: Servers, offline: Offline) -> Resource:
    """Every path and who answers there."""
    root = Folder()
    root.putChild(b"health", Health())
    root.putChild(b"user", _user(users))
    root.putChild(b"server", _posts(login, servers))
    root.putChild(b"offline", Endpoint({"GET": offline.show, "DELETE": offline.forget}))
    return root


def _user(users: Users) -> Resource:
    branch = Endpoint({"POST": users.create})
    branch.putChild(b"id", Parameter({"GET": users.by_id}))
    branch.putChild(b"phone", Parameter({"GET": users.by_phone}))
    return branch


def _posts(login: Login, servers: Servers) -> Resource:
    handlers: dict[bytes, Handler] = {
        b"login": login.login,
        b"reconnect": servers.reconnect,
        b"failed": servers.failed,
        b"logout": servers.logout,
    }
    folder = Folder()
    for name, handler in handlers.items():
        folder.putChild(name, Endpoint({"POST": handler}))
    return folder
