"""Signing in and out, and where to connect."""

from __future__ import annotations

from twisted.internet.address import IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import TOKEN_TRIAL
from tests.web.door import HERE, HttpsDoor, request_bytes

REFUSED = {"status": 1, "r": "Token Error", "reason": "Token Error"}
ADDRESS = {"server": "192.168.3.5", "port": "1987"}


class LoginTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.user = self.door.create()

    def test_login(self) -> None:
        """The owner of a phone gets a token and the address that they came to, with the port as a string."""
        response = self.door.login().response
        self.assertRegex(response["user"].pop("token"), r"\A[A-Za-z0-9_-]{32}\Z")
        self.assertEqual(response, {"status": 0, **ADDRESS, "user": {"id": self.user}})

    def test_mapped_address(self) -> None:
        """A client that came by IPv4 to a socket of IPv6 is given an address of IPv4."""
        connection = self.door.connect()
        connection.transport.hostAddr = IPv6Address("TCP", "::ffff:192.168.3.5", 8080)
        token = self.door.sign_in()
        headers = {"Cookie": f"token={token}", "Content-Type": "application/x-www-form-urlencoded"}
        connection.send(request_bytes("POST", "/server/reconnect", headers, b"id=1"))
        self.assertEqual(connection.answers()[0].response, {"status": 0, **ADDRESS})

    def test_each_login_its_token(self) -> None:
        """Each login makes a token of its own, and the one before stays good."""
        first, second = self.door.sign_in(), self.door.sign_in()
        self.assertNotEqual(first, second)
        for token in (first, second):
            self.assertEqual(self.door.get("/offline", token).status, 200)

    def test_unknown_and_wrong_are_alike(self) -> None:
        """An unknown phone and a wrong password are answered byte for byte alike, each after one password check."""
        self.door.passwords.checked.clear()
        answers = [
            self.door.login(password="999999"),
            self.door.login(phone="11111"),
            self.door.login(phone="no phone at all"),
            self.door.login(password="x"),
            self.door.login(password="8" * 10_000),
        ]
        mismatch = {"status": 1, "r": "Mismatch", "reason": "Mismatch"}
        for answer in answers:
            self.assertEqual((answer.status, answer.response), (401, mismatch))
            self.assertEqual((answer.body, answer.headers.keys()), (answers[0].body, answers[0].headers.keys()))
        self.assertEqual(len(self.door.passwords.checked), len(answers))
        self.assertLessEqual(max(len(password) for password, _ in self.door.passwords.checked), 128)

    def test_long_password(self) -> None:
        """A password that only begins like the right one is wrong, however long."""
        self.door.create("12345", "p" * 128)
        self.assertEqual(self.door.login("12345", password="p" * 128).status, 200)
        self.assertEqual(self.door.login("12345", password="p" * 129).status, 401)

    def test_missing(self) -> None:
        """What is missing or empty is named, before any password is checked."""
        good = {"phone": "8618266175357", "password": "888888", "device": "android"}
        for name in good:
            for form in ({**good, name: ""}, {key: value for key, value in good.items() if key != name}):
                answer = self.door.post("/server/login", form)
                self.assertEqual((answer.status, answer.response["r"]), (400, f"{name} Required"))
        self.assertEqual(self.door.passwords.checked, [])

    def test_devices(self) -> None:
        """A device's name is 1 to 32 characters, whatever their bytes."""
        for device in ("x", "机" * 32, '"\n'):
            self.assertEqual(self.door.login(device=device).status, 200)
        answer = self.door.login(device="机" * 33)
        self.assertEqual((answer.status, answer.response["r"]), (400, "device must be 1 to 32 characters"))

    def test_too_many_devices(self) -> None:
        """A user has at most 32 devices; those there are can still sign in."""
        for number in range(32):
            self.assertEqual(self.door.login(device=f"d{number}").status, 200)
        answer = self.door.login(device="one more")
        self.assertEqual((answer.status, answer.response["r"]), (409, "Too Many Devices"))
        self.assertEqual(self.door.login(device="d0").status, 200)

    def test_device_known_from_now_on(self) -> None:
        """What comes after a device's first login is for it too."""
        first = self.door.sign_in(device="one")
        self.door.deliver_text(self.user, "before")
        self.door.get("/offline", first)
        self.door.request("DELETE", "/offline", token=first)
        second = self.door.sign_in(device="two")
        self.door.deliver_text(self.user, "after")
        self.assertEqual(self.door.get("/offline", second).ids(), ["after"])

    def test_connected_devices_learn_of_it(self) -> None:
        """A device that is connected knows of a new one from its login on, as what it sends is for that one too."""
        connection = self.door.connected(self.user, "one", self.door.sign_in(device="one"))
        self.door.sign_in(device="two")
        self.assertEqual(connection.names, {"one", "two"})

    def test_busy(self) -> None:
        """When too many passwords wait, sign-ins are put off, for known phones and unknown ones."""
        self.door.passwords.busy = True
        for phone in ("8618266175357", "11111"):
            answer = self.door.login(phone)
            self.assertEqual((answer.status, answer.headers["Retry-After"]), (429, "7"))

    def test_no_server(self) -> None:
        """Where no node can take clients, a login says so."""
        self.dead_node()
        answer = self.door.login()
        self.assertEqual((answer.status, answer.response["status"], answer.response["r"]), (503, 2, "No IM server"))

    def dead_node(self) -> None:
        token = self.door.sign_in()
        self.door.probe.answers = False
        self.door.post("/server/failed", token=token)


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.user = self.door.create()
        self.token = self.door.sign_in()

    def reconnect(self, **headers: str) -> int:
        form = {"id": self.user}
        return self.door.request("POST", "/server/reconnect", form, headers=headers).status

    def test_where_a_token_stands(self) -> None:
        """A token is read from the cookie, among others, or from `Authorization: Bearer`."""
        self.assertEqual(self.reconnect(Cookie=f"a=b; token={self.token}; c=d"), 200)
        self.assertEqual(self.reconnect(Authorization=f"Bearer {self.token}"), 200)
        self.assertEqual(self.reconnect(Authorization=f"bearer {self.token}"), 200)

    def test_bad_tokens(self) -> None:
        """Nothing else is a token: not its hash, not a part of it, not another scheme, not bytes of any kind."""
        for header in ({}, {"Cookie": "token="}, {"Cookie": "token"}, {"Cookie": f"tokens={self.token}"}):
            self.assertEqual(self.reconnect(**header), 401)
        for token in (self.token[:-1], self.token + "x", self.token.swapcase(), "\xff\xfe", "'", "x" * 8_000):
            self.assertEqual(self.reconnect(Cookie=f"token={token}"), 401)
        self.assertEqual(self.reconnect(Authorization=f"Basic {self.token}"), 401)
        self.assertEqual(self.reconnect(Authorization=self.token), 401)

    def test_hash_is_no_token(self) -> None:
        """What the server keeps of a token is none."""
        (kept,) = self.door.rows("SELECT hash FROM token")
        self.assertEqual(self.reconnect(Cookie=f"token={kept[0].hex()}"), 401)
        self.assertNotIn(self.token.encode(), kept[0])

    def test_reconnect(self) -> None:
        """Who has a token is told where to connect."""
        answer = self.door.post("/server/reconnect", {"id": self.user}, self.token)
        self.assertEqual((answer.status, answer.response), (200, {"status": 0, **ADDRESS}))

    def test_token_of_another(self) -> None:
        """A token is good for its own user's id only."""
        other = self.door.create("12345")
        answer = self.door.post("/server/reconnect", {"id": other}, self.token)
        self.assertEqual((answer.status, answer.response), (401, REFUSED))

    def test_id(self) -> None:
        """The id has to be there and an integer."""
        for form, reason in (({}, "id Required"), ({"id": "x"}, "id must be an integer")):
            answer = self.door.post("/server/reconnect", form, self.token)
            self.assertEqual((answer.status, answer.response["r"]), (400, reason))

    def test_trial(self) -> None:
        """Requests over HTTPS do not prolong the 100 s of a token that no IM login has used."""
        self.door.clock.advance(TOKEN_TRIAL - 1)
        self.assertEqual(self.door.get("/offline", self.token).status, 200)
        self.door.clock.advance(1)
        for method, path in (
            ("POST", "/server/reconnect"),
            ("POST", "/server/failed"),
            ("POST", "/server/logout"),
            ("GET", "/offline"),
            ("DELETE", "/offline"),
        ):
            answer = self.door.request(method, path, {"id": 1} if method == "POST" else None, self.token)
            self.assertEqual((answer.status, answer.response), (401, REFUSED))


class FailedTests(SynchronousTestCase):
    """Reports of nodes that do not answer."""

    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.user = self.door.create()
        self.token = self.door.sign_in()

    def test_living(self) -> None:
        """A node whose door answers stays, whoever says that it does not."""
        answer = self.door.post("/server/failed", token=self.token)
        expected = {"status": 3, "r": "IM is online", "reason": "IM is online"}
        self.assertEqual((answer.status, answer.response), (200, expected))
        self.assertEqual(self.door.login().status, 200)

    def test_dead(self) -> None:
        """A node whose door does not answer is off the list until it says that it is there."""
        self.door.probe.answers = False
        answer = self.door.post("/server/failed", token=self.token)
        self.assertEqual((answer.status, answer.response["r"]), (503, "No IM server"))
        self.assertEqual(self.door.login().response["r"], "No IM server")
        self.door.directory.announce()
        self.assertEqual(self.door.login().status, 200)

    def test_address_in_the_request(self) -> None:
        """Only the registered door is looked at, whatever address a request brings."""
        form = {"server": "10.0.0.1", "port": "22", "host": "evil.example"}
        self.door.request("POST", "/server/failed", form, self.token, {"Host": "evil.example:22"})
        self.assertEqual(self.door.probe.asked, [HERE])

    def test_token_needed(self) -> None:
        """Without a good token nothing is looked at."""
        self.assertEqual(self.door.post("/server/failed").status, 401)
        self.assertEqual(self.door.probe.asked, [])


class LogoutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.user = self.door.create()
        self.token = self.door.sign_in()

    def logout(self, token: str) -> None:
        answer = self.door.post("/server/logout", token=token)
        self.assertEqual((answer.status, answer.response), (200, {"status": 0}))

    def test_token_is_revoked(self) -> None:
        """After it the token is good for nothing, and others are what they were."""
        other = self.door.sign_in()
        self.logout(self.token)
        self.assertEqual(self.door.get("/offline", self.token).status, 401)
        self.assertEqual(self.door.get("/offline", other).status, 200)

    def test_its_connection_is_cut(self) -> None:
        """The connection that signed in with the token is told `revoked`."""
        connection = self.door.connected(self.user, "android", self.token)
        self.logout(self.token)
        self.assertEqual(connection.byes, ["revoked"])

    def test_other_connections_stay(self) -> None:
        """A connection of the same device with another token stays, and so do other devices'."""
        used = self.door.connected(self.user, "android", self.token)
        other = self.door.connected(self.user, "pc", self.door.sign_in(device="pc"))
        self.logout(self.door.sign_in())
        self.assertEqual((used.byes, other.byes), ([], []))
