"""The tree of the HTTPS door."""

from __future__ import annotations

from twisted.web.resource import Resource

from simple_im.web.document import Answer
from simple_im.web.offline import Offline
from simple_im.web.request import Call
from simple_im.web.resource import Endpoint, Folder, Handler, Parameter
from simple_im.web.server import Login, Servers
from simple_im.web.user import Users


async def health(_call: Call) -> Answer:
    """`GET /health`: plain text, for those who watch."""
    return Answer(text="ok\n")


def make_root(users: Users, login: Login, servers: Servers, offline: Offline) -> Resource:
    """Every path and who answers there."""
    root = Folder()
    root.putChild(b"health", Endpoint({"GET": health}))
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
