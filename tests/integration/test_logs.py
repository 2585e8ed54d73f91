"""What the log must never hold: passwords, tokens, what people write, their names and phones."""

from __future__ import annotations

from typing import Any

from tests.integration.case import NodeCase
from tests.integration.im_client import ImClient, connect, entry
from tests.integration.node import Node

SECRET = "canary"
PHONE = "86182661753570"
REQUESTS: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("POST", "/user", {"name": SECRET, "phone": PHONE, "password": SECRET + "1"}),
    ("POST", "/user", {"name": SECRET, "phone": PHONE, "password": SECRET + "1"}),
    ("POST", "/user", {"name": SECRET * 20, "phone": PHONE + "1", "password": SECRET + "1"}),
    ("POST", "/user", {"name": SECRET, "phone": SECRET, "password": SECRET + "1"}),
    ("POST", "/user", {"name": SECRET, "phone": PHONE + "2", "password": SECRET * 100}),
    ("POST", "/server/login", {"phone": PHONE, "password": SECRET + "2", "device": SECRET}),
    ("POST", "/server/login", {"phone": PHONE, "password": SECRET + "1", "device": SECRET * 10}),
    ("POST", "/server/login", {"phone": SECRET, "password": SECRET, "device": SECRET}),
    ("POST", "/server/reconnect", {"id": SECRET}),
    ("POST", "/server/failed", {"server": SECRET}),
    ("POST", "/server/logout", {SECRET: SECRET}),
    ("GET", f"/user/id/{SECRET}", None),
    ("GET", f"/user/phone/{PHONE}?{SECRET}={SECRET}", None),
    ("GET", f"/offline?limit={SECRET}", None),
    ("DELETE", f"/{SECRET}", None),
    ("BREW", f"/offline?{SECRET}", None),
    ("POST", "/user", {SECRET: SECRET * 20_000}),
)
FRAMES = (
    entry("m", id=SECRET, t=SECRET, c=SECRET, to=1, x=SECRET),
    entry("m", id=SECRET, t=SECRET, c=SECRET, to=10**15),
    entry("m", id=SECRET, t=SECRET, c=7, to=1),
    entry("gm", id=SECRET, t=SECRET, c=SECRET, g_id=1),
    entry("n", id=SECRET, t=SECRET, to=1, **{SECRET: SECRET}),
    entry("a", id=SECRET),
    entry("r", id=SECRET, t=SECRET),
    entry(SECRET, id=SECRET),
    f'[[m]]\n{SECRET} = "{SECRET}\n\n',
    f"{SECRET}\n\n",
)


class SecretsTests(NodeCase):
    def setUp(self) -> None:
        self.node = self.own_node()

    def sign_in(self) -> dict[str, Any]:
        form = {"phone": PHONE, "password": SECRET + "1", "device": SECRET}
        user: dict[str, Any] = self.node.https().post("/server/login", form).row("response")["user"]
        return user

    def ask_everything(self, token: str | None) -> list[int]:
        """Make every request, with a token or none; the statuses of the answers."""
        https = self.node.https()
        return [https.request(method, path, form, token).status for method, path, form in REQUESTS]

    def say_everything(self, client: ImClient) -> None:
        """Send every frame and, when one is acknowledged, one that is too large."""
        client.send(*FRAMES)
        while client.receive()[0] != "a":
            pass
        client.send(f'[[m]]\nid = "{SECRET}"\nc = "{SECRET * 20_000}')
        self.assertIn(("bye", {"r": "error"}), client.rest())
        client.close()

    def test_log(self) -> None:
        """None of it is in the log, whether it came in where it belongs or where it does not, taken or refused."""
        statuses = self.ask_everything(token=None) + self.ask_everything(token=SECRET)
        used = self.sign_in()
        statuses += self.ask_everything(used["token"])
        self.assertLessEqual({200, 400, 401, 404, 405, 409, 413}, set(statuses))
        user = self.sign_in()
        client = self.stranger(self.node)
        client.login(user["id"], SECRET, user["token"])
        self.say_everything(client)
        self.fail_to_sign_in(self.node)
        self.node.stop()
        for secret in (SECRET, PHONE, used["token"], user["token"]):
            self.assertNotIn(secret, self.node.whole_log)
        self.assertNotIn("Traceback", self.node.whole_log)

    def fail_to_sign_in(self, node: Node) -> None:
        """A wrong token, no login at all, and plain text."""
        client = self.stranger(node)
        client.send(entry("r", id=SECRET, t="login", user={"id": 1, "d": SECRET, "token": SECRET}))
        client.expect("rr", id=SECRET, s=1, r="token error")
        client.close()
        client = self.stranger(node)
        client.send(*FRAMES)
        client.expect("rr", id=SECRET, s=1, r="login required")
        client.close()
        for port in (node.im_port, node.http_port):
            with connect(port) as sock:
                sock.sendall(SECRET.encode())
