"""Who may do what: one table says which requests pass, and none passes beside it.

There is a group of Ann's in which Bob is; Cat was in it and is not any more; Dan never was, and is nobody's contact.
Bob and Ann are contacts, and Eve has asked Bob to be one. What is asked for is always theirs, whoever asks.
"""

from __future__ import annotations

from itertools import product
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import TOKEN_TRIAL
from tests.web.door import Answer, HttpsDoor

NOBODY, EVERYBODY = "", "creator member former stranger"

PASSES: Final = {
    ("GET", "/group"): EVERYBODY,
    ("POST", "/group"): EVERYBODY,
    ("GET", "/group/{group}"): "creator member",
    ("DELETE", "/group/{group}"): "creator",
    ("POST", "/group/{group}/member", "with the key"): "former stranger",
    ("POST", "/group/{group}/member", "with another key"): NOBODY,
    ("DELETE", "/group/{group}/member"): "creator member",
    ("POST", "/group/{group}/member/{eve}"): "creator",
    ("POST", "/group/{group}/member/{self}"): NOBODY,
    ("DELETE", "/group/{group}/member/{bob}"): "creator",
    ("DELETE", "/group/{group}/member/{ann}"): "creator",
    ("DELETE", "/group/{group}/member/{self}"): "creator",
    ("DELETE", "/group/{group}/member/{eve}"): NOBODY,
    ("GET", "/contact/version/0"): EVERYBODY,
    ("GET", "/pre_contact/0"): EVERYBODY,
    ("POST", "/contact/{ann}"): "former stranger",
    ("POST", "/contact/{bob}"): "former stranger",
    ("POST", "/contact/{self}"): NOBODY,
    ("PUT", "/contact/{eve}"): "member",
    ("PUT", "/contact/{ann}"): NOBODY,
    ("PUT", "/contact/{self}"): NOBODY,
    ("DELETE", "/contact/{ann}"): "member",
    ("DELETE", "/contact/{bob}"): "creator",
    ("DELETE", "/contact/{eve}"): NOBODY,
    ("DELETE", "/contact/{self}"): NOBODY,
    ("GET", "/user/id/{eve}"): EVERYBODY,
    ("GET", "/user/phone/{eves phone}"): EVERYBODY,
    ("PUT", "/user", "with the own password"): EVERYBODY,
    ("PUT", "/user", "with another's password"): NOBODY,
}
"""The requests, and who of those that have a good token may make them with success."""

USERS: Final = {"creator": "Ann", "member": "Bob", "former": "Cat", "stranger": "Dan"}
NO_TOKENS: Final = ("none", "made up", "its hash", "logged out", "expired")
"""What is no token: with any of these nothing passes."""
FORMS: Final = {
    ("POST", "/group"): {"name": "other"},
    ("POST", "/group/{group}/member", "with the key"): {"g_key": "{key}"},
    ("POST", "/group/{group}/member", "with another key"): {"g_key": "{other key}"},
    ("POST", "/contact/{ann}"): {"ask": "hi"},
    ("POST", "/contact/{bob}"): {"ask": "hi"},
    ("POST", "/contact/{self}"): {"ask": "hi"},
    ("PUT", "/user", "with the own password"): {"name": "x", "password": "new password", "old_password": "888888"},
    ("PUT", "/user", "with another's password"): {"name": "x", "password": "new password", "old_password": "other888"},
}
REFUSALS: Final = {400: 3, 403: 1, 404: 404, 409: 1}
"""The statuses of those that have a good token and may not."""

Request = tuple[str, ...]


class Scene:
    """Everybody, and what is theirs, before anything is asked for."""

    def __init__(self) -> None:
        self.door = HttpsDoor()
        people = self.door.people("Ann", "Bob", "Cat", "Dan", "Eve")
        self.people = {person.name: person for person in people}
        ann, bob, cat, dan, eve = people
        members = f"name=group&members[]={bob.id}&members[]={cat.id}"
        made = ann.post("/group", members.encode()).response
        cat.delete(f"/group/{made['g_id']}/member")
        ann.post(f"/contact/{bob.id}", {"ask": "hi"})
        bob.put(f"/contact/{ann.id}")
        eve.post(f"/contact/{bob.id}", {"ask": "hi"})
        self.names = {"group": made["g_id"], "key": made["g_key"], "ann": ann.id, "bob": bob.id, "eve": eve.id}
        self.names |= {"eves phone": eve.phone, "other key": dan.post("/group", b"name=x").response["g_key"]}

    def ask(self, request: Request, user: str, token: str | None) -> Answer:
        """A request as this user would make it, with this token."""
        names = {**self.names, "self": self.people[user].id}
        form = {key: value.format_map(names) for key, value in FORMS.get(request, {}).items()}
        return self.door.request(request[0], request[1].format_map(names), form, token)

    def token(self, what: str) -> str | None:
        """Something of Ann's that is no token; Ann could do more than anybody else if it were one."""
        ann = self.people["Ann"]
        if what == "none":
            return None
        if what == "made up":
            return ann.token[::-1]
        if what == "its hash":
            return str(self.door.rows(f"SELECT hex(hash) FROM token WHERE user = {ann.id}")[0][0])
        if what == "logged out":
            ann.post("/server/logout")
        else:
            self.door.clock.advance(TOKEN_TRIAL)
        return ann.token

    def everything(self) -> list[object]:
        """All that a request could change."""
        tables = ("user", "contact", "pre_contact", "group", "member", "run", "message", "inbox", "outgoing", "token")
        return [self.door.rows(f'SELECT * FROM "{table}"') for table in tables]


class MatrixTests(SynchronousTestCase):
    """One test a request; `_add_tests` makes them."""

    def check_user(self, request: Request, role: str) -> None:
        scene = Scene()
        user = scene.people[USERS[role]]
        before = scene.everything()
        answer = scene.ask(request, user.name, user.token)
        if role in PASSES[request].split():
            self.assertEqual((answer.status, answer.response["status"]), (200, 0), (request, role))
        else:
            self.assertIn((answer.status, answer.response["status"]), REFUSALS.items(), (request, role))
            self.assert_nothing_is_told(answer)
            self.assertEqual(scene.everything(), before, (request, role))

    def check_no_token(self, request: Request, what: str) -> None:
        scene = Scene()
        token = scene.token(what)
        before = scene.everything()
        answer = scene.ask(request, "Ann", token)
        self.assertEqual((answer.status, answer.response["r"]), (401, "Token Error"), (request, what))
        self.assert_nothing_is_told(answer)
        self.assertEqual(scene.everything(), before, (request, what))

    def assert_nothing_is_told(self, answer: Answer) -> None:
        self.assertEqual(set(answer.document), {"response"})
        self.assertEqual(set(answer.response), {"status", "r", "reason"})

    def test_every_route_is_in_the_table(self) -> None:
        """The table has every route of accounts, contacts and groups that needs a token, and no other."""
        door = HttpsDoor()
        asked = {request[:2] for request in PASSES}
        wanted = {(method, path) for method, path in product(("GET", "POST", "PUT", "DELETE"), SHAPES)}
        allowed = {
            (method, path)
            for method, path in wanted
            if method in door.request("OPTIONS", path).headers.get("Allow", "").split(", ")
        } - {("POST", "/user")}
        self.assertEqual({(method, shape_of(path)) for method, path in asked}, allowed)

    def test_a_token_is_its_users(self) -> None:
        """Who asks is who the token says, whatever id or phone stands in the form."""
        scene = Scene()
        dan, ann = scene.people["Dan"], scene.people["Ann"]
        claims = f"id={ann.id}&user={ann.id}&user_id={ann.id}&creator={ann.id}&phone={ann.phone}"
        for path, status in ((f"/group/{scene.names['group']}", 403), (f"/contact/{scene.names['bob']}", 404)):
            self.assertEqual(dan.request("DELETE", f"{path}?{claims}", claims.encode()).status, status)
        dan.put("/user", f"name=Dan+II&{claims}".encode())
        self.assertEqual(scene.door.rows("SELECT name FROM user ORDER BY id LIMIT 4"), [(n,) for n in NAMES_AFTER])


SHAPES: Final = (
    *("/user", "/user/id/1", "/user/phone/12345", "/contact", "/contact/1", "/contact/version", "/contact/version/1"),
    *("/pre_contact", "/pre_contact/1", "/group", "/group/1", "/group/1/member", "/group/1/member/1"),
)
"""Every kind of path that there is or could be."""
NAMES_AFTER: Final = ("Ann", "Bob", "Cat", "Dan II")


def shape_of(path: str) -> str:
    """A path of the table as it stands in `SHAPES`."""
    parts = ["1" if part.startswith("{") or part == "0" else part for part in path.split("/")]
    return "/".join(parts).replace("/phone/1", "/phone/12345")


def _add_tests() -> None:
    for number, request in enumerate(PASSES):
        name = "_".join(part.strip("{}") for part in request[1].split("/"))
        setattr(MatrixTests, f"test_{number:02}_{request[0].lower()}{name}", _test(request))


def _test(request: Request) -> object:
    def test(self: MatrixTests) -> None:
        for role in USERS:
            self.check_user(request, role)
        for what in NO_TOKENS:
            self.check_no_token(request, what)

    test.__doc__ = f"{' '.join(request)}: {PASSES[request] or 'nobody'}."
    return test


_add_tests()
