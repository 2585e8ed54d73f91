"""Accounts: making them, and looking people up."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import TOKEN_TRIAL
from tests.im.door import bye
from tests.web.door import Answer, HttpsDoor, Person

GOOD = {"name": "Ann", "phone": "8618266175357", "password": "888888"}


class CreateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()

    def create(self, **changes: Any) -> tuple[int, Any]:
        """The status and `[[response]]` of a request like a good one; a parameter that is None is left out."""
        form = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
        answer = self.door.post("/user", form)
        return answer.status, answer.response

    def refusal(self, **changes: Any) -> str:
        status, response = self.create(**changes)
        self.assertEqual((status, response["status"], response["reason"]), (400, 3, response["r"]))
        reason: str = response["r"]
        return reason

    def test_created(self) -> None:
        """A new account is answered with its id, and ids are not given twice."""
        self.assertEqual(self.create(), (200, {"status": 0, "user": {"id": 1}}))
        self.assertEqual(self.create(phone="12345"), (200, {"status": 0, "user": {"id": 2}}))

    def test_phone_taken(self) -> None:
        """A phone has one account."""
        self.create()
        expected = {"status": 1, "r": "User Exist", "reason": "User Exist"}
        self.assertEqual(self.create(name="Bob"), (409, expected))

    def test_missing(self) -> None:
        """What is missing or empty is named."""
        for name in GOOD:
            for value in (None, ""):
                self.assertEqual(self.refusal(**{name: value}), f"{name} Required")

    def test_phones(self) -> None:
        """A phone is 5 to 20 digits of ASCII."""
        for phone in ("1" * 5, "1" * 20):
            self.assertEqual(self.create(phone=phone)[0], 200)
        for phone in ("1" * 4, "1" * 21, "+8618266", "1234a", "\uff11" * 5, "12345\n", " 12345", "12345\0"):
            self.assertEqual(self.refusal(phone=phone), "phone must be 5 to 20 digits")

    def test_names(self) -> None:
        """A name is 1 to 64 characters, whatever their bytes."""
        for number, name in enumerate(("x", "名" * 64)):
            self.assertEqual(self.create(name=name, phone=f"1234{number}")[0], 200)
        self.assertEqual(self.refusal(name="名" * 65), "name must be 1 to 64 characters")

    def test_passwords(self) -> None:
        """A password is 6 to 128 characters, and all of them count."""
        for number, password in enumerate(("123456", "密" * 128)):
            self.assertEqual(self.create(password=password, phone=f"1234{number}")[0], 200)
        for password in ("12345", "x" * 129):
            self.assertEqual(self.refusal(password=password), "password must be 6 to 128 characters")

    def test_not_utf8(self) -> None:
        """Bytes that are no UTF-8 are refused."""
        answer = self.door.post("/user", b"name=%ff&phone=12345&password=888888")
        self.assertEqual((answer.status, answer.response["r"]), (400, "name must be UTF-8"))

    def test_no_form(self) -> None:
        """A body of another kind is no form."""
        headers = {"Content-Type": "application/json"}
        answer = self.door.request("POST", "/user", b'{"name": "Ann"}', headers=headers)
        self.assertEqual((answer.status, answer.response["r"]), (400, "name Required"))

    def test_busy(self) -> None:
        """When too many passwords wait to be hashed, the client is told when to come back."""
        self.door.passwords.busy = True
        answer = self.door.post("/user", GOOD)
        self.assertEqual((answer.status, answer.response["status"]), (429, 4))
        self.assertEqual(answer.response["r"], "Too Many Requests")
        self.assertEqual(answer.headers["Retry-After"], "7")


class LookUpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.door.create()
        self.token = self.door.sign_in()

    def test_found(self) -> None:
        """A user is found by id and by phone, with what contacts may know and no more."""
        ann = {"id": 1, "name": "Ann", "phone": "8618266175357", "avatar": ""}
        for path in ("/user/id/1", "/user/phone/8618266175357"):
            answer = self.door.get(path, self.token)
            self.assertEqual(answer.document, {"response": [{"status": 0}], "user": [ann]})

    def test_nobody(self) -> None:
        """Where there is nobody, there is no `[[user]]`."""
        for path in ("/user/id/2", "/user/id/0", "/user/id/-1", f"/user/id/{10**18}", "/user/phone/12345"):
            answer = self.door.get(path, self.token)
            self.assertEqual((answer.status, answer.document), (200, {"response": [{"status": 0}]}))

    def test_wrong(self) -> None:
        """An id that is no integer and a phone that is none are refused."""
        reasons = {
            "/user/id/x": "id must be an integer",
            "/user/id/1.0": "id must be an integer",
            "/user/id/" + "9" * 30: "id must be an integer",
            "/user/id/%31%0a": "id must be an integer",
            "/user/phone/1234": "phone must be 5 to 20 digits",
            "/user/phone/+12345": "phone must be 5 to 20 digits",
        }
        for path, reason in reasons.items():
            answer = self.door.get(path, self.token)
            self.assertEqual((answer.status, answer.response["status"], answer.response["r"]), (400, 3, reason))

    def test_token_needed(self) -> None:
        """Without a good token nobody is found, and nobody learns whether there is such a user."""
        paths = ("/user/id/1", "/user/id/7", "/user/id/x", "/user/phone/8618266175357", "/user/phone/12345")
        answers = [self.door.get(path, token) for path in paths for token in (None, "bad")]
        self.door.clock.advance(TOKEN_TRIAL)
        answers.append(self.door.get("/user/id/1", self.token))
        for answer in answers:
            self.assertEqual((answer.status, answer.response["status"], answer.response["r"]), (401, 1, "Token Error"))

    def test_hostile_name(self) -> None:
        """Whatever a name holds, the document is TOML and gives it back."""
        name = 'a"b\\c\n[[m]]\r\0\u2028\u202e\x7f\t名\'\'\''
        form = {"name": name, "phone": "12345", "password": "888888"}
        self.assertEqual(self.door.post("/user", form).status, 200)
        self.assertEqual(self.door.get("/user/phone/12345", self.token).document["user"][0]["name"], name)


class UpdateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()
        (self.ann,) = self.door.people("Ann")

    def update(self, **form: str) -> None:
        answer = self.ann.put("/user", form)
        self.assertEqual((answer.status, answer.response), (200, {"status": 0}))

    def refusal(self, **form: str) -> tuple[int, str]:
        """A refused request changes nothing."""
        before = self.door.rows("SELECT * FROM user")
        answer = self.ann.put("/user", form)
        self.assertEqual(answer.response["reason"], answer.response["r"])
        self.assertEqual(self.door.rows("SELECT * FROM user"), before)
        return answer.status, answer.response["r"]

    def shown(self) -> tuple[str, str]:
        """Name and avatar as others see them."""
        (user,) = self.ann.get(f"/user/id/{self.ann.id}").document["user"]
        return user["name"], user["avatar"]


class UpdateTests(UpdateCase):
    def test_name_and_avatar(self) -> None:
        """What is given changes, and nothing else; an avatar can be taken away."""
        for form, expected in (
            ({"name": "Anna"}, ("Anna", "")),
            ({"avatar": "file/image/a.png"}, ("Anna", "file/image/a.png")),
            ({"name": "é &=+%\n", "avatar": ""}, ("é &=+%\n", "")),
        ):
            self.update(**form)
            self.assertEqual(self.shown(), expected)
        self.assertEqual(self.door.login(self.ann.phone).status, 200)

    def test_nobody_else(self) -> None:
        """Only the token's own user changes, whatever id the form names."""
        (bob,) = self.door.people("Bob")
        self.update(name="Anna", id=str(bob.id), phone=bob.phone)
        rows = self.door.rows("SELECT id, name, phone FROM user ORDER BY id")
        self.assertEqual(rows, [(self.ann.id, "Anna", self.ann.phone), (bob.id, "Bob", bob.phone)])

    def test_nothing_given(self) -> None:
        """With nothing to change the request is refused."""
        for form in ({}, {"phone": "12345"}, {"old_password": "888888"}):
            self.assertEqual(self.refusal(**form), (400, "name, avatar or password Required"))

    def test_wrong(self) -> None:
        """Values are checked as those of a new account are; one that is wrong keeps the others from changing."""
        for form, reason in (
            ({"name": ""}, "name Required"),
            ({"name": "x" * 65}, "name must be 1 to 64 characters"),
            ({"avatar": "x" * 257, "name": "Anna"}, "avatar must be 0 to 256 characters"),
            ({"password": "12345", "old_password": "888888"}, "password must be 6 to 128 characters"),
            ({"password": "", "old_password": "888888", "name": "Anna"}, "password Required"),
        ):
            self.assertEqual(self.refusal(**form), (400, reason))

    def test_contacts_see_it(self) -> None:
        """A new name or avatar is a change in the list of each contact, and in nobody else's."""
        bob, cat = self.door.people("Bob", "Cat")
        self.ann.post(f"/contact/{bob.id}", b"ask=hi")
        bob.put(f"/contact/{self.ann.id}")
        self.update(name="Anna")
        self.update(avatar="x")
        document = bob.get("/contact/version/1").document
        ann = {"id": self.ann.id, "name": "Anna", "phone": self.ann.phone, "avatar": "x", "contact_version": 3}
        self.assertEqual(document, {"response": [{"status": 0, "version": 3}], "contact": [ann]})
        for other in (self.ann, cat):
            self.assertEqual(other.get("/contact/version/1").document["response"][0]["version"], int(other is self.ann))

    def test_a_password_is_no_change_for_contacts(self) -> None:
        """Contacts hear nothing of a new password."""
        (bob,) = self.door.people("Bob")
        self.ann.post(f"/contact/{bob.id}", b"ask=hi")
        bob.put(f"/contact/{self.ann.id}")
        self.update(password="new password", old_password="888888")
        self.assertEqual(bob.get("/contact/version/0").response["version"], 1)


class PasswordTests(UpdateCase):
    def change(self) -> None:
        self.update(password="new password", old_password="888888")

    def login(self, password: str) -> Answer:
        return self.door.login(self.ann.phone, password=password)

    def test_changed(self) -> None:
        """The new password signs in, and the old one does not."""
        self.change()
        self.assertEqual((self.login("new password").status, self.login("888888").status), (200, 401))
        self.assertEqual(self.login("888888").response["r"], "Mismatch")

    def test_old_password(self) -> None:
        """Without the old password it stays; with a wrong one too, however long, and nobody learns more."""
        self.assertEqual(self.refusal(password="new password"), (400, "old_password Required"))
        for old in ("888889", "new password", "8", "888888" + "x" * 200):
            self.assertEqual(self.refusal(password="new password", old_password=old), (403, "Unauthorized"))
        self.assertEqual((self.login("new password").status, self.login("888888").status), (401, 200))

    def test_longer_than_any(self) -> None:
        """All characters of the old password count, also behind those that a password may have."""
        self.update(password="x" * 128, old_password="888888")
        self.assertEqual(self.refusal(password="new password", old_password="x" * 129), (403, "Unauthorized"))
        self.update(password="new password", old_password="x" * 128)

    def test_other_tokens(self) -> None:
        """The user's other tokens are good for nothing any more, on the same device too; its own stays, and so do
        other users'."""
        (bob,) = self.door.people("Bob")
        others = [self.ann.on("phone"), self.ann.on("pad")]
        self.change()
        self.assertEqual([each.get("/offline").status for each in (self.ann, bob, *others)], [200, 200, 401, 401])

    def test_connections(self) -> None:
        """The connections that signed in with them are told `revoked`; its own goes on, and so do other users'."""
        (bob,) = self.door.people("Bob")
        pad, phone, bobs = self.ann.on("pad").connect(), self.ann.connect(), bob.connect()
        self.change()
        self.assertEqual((pad.got(), pad.is_closed), ([bye("revoked")], True))
        for client in (phone, bobs):
            self.assertEqual((client.got(), client.is_closed), ([], False))

    def test_own_connection_with_an_older_token(self) -> None:
        """The device's own connection ends where it signed in with another token."""
        phone = self.ann.connect()
        later: Person = self.ann.on("phone")
        later.put("/user", {"password": "new password", "old_password": "888888"})
        self.assertEqual(phone.got(), [bye("revoked")])

    def test_nothing_is_revoked(self) -> None:
        """A new name, and a password that is refused, revoke nothing."""
        pad = self.ann.on("pad")
        client = pad.connect()
        self.update(name="Anna")
        self.refusal(password="new password", old_password="wrong password")
        self.assertEqual((pad.get("/offline").status, client.got()), (200, []))

    def test_storage(self) -> None:
        """Where the disk does not take the new password the old one holds, and so do all tokens."""
        pad = self.ann.on("pad")
        self.door.database.writes_fail = True
        answer = self.ann.put("/user", {"password": "new password", "old_password": "888888"})
        self.assertEqual((answer.status, answer.response["r"]), (503, "Storage unavailable"))
        self.door.database.writes_fail = False
        self.assertEqual((self.login("888888").status, pad.get("/offline").status), (200, 200))

    def test_storage_in_the_middle(self) -> None:
        """The password and the tokens change together, or neither does."""
        pad = self.ann.on("pad")
        self.door.rows("CREATE TRIGGER full BEFORE DELETE ON token BEGIN SELECT raise(ABORT, 'full'); END")
        self.ann.put("/user", {"password": "new password", "old_password": "888888"})
        self.door.rows("DROP TRIGGER full")
        self.flushLoggedErrors()
        self.assertEqual((self.login("888888").status, pad.get("/offline").status), (200, 200))
        self.assertEqual(self.login("new password").status, 401)
