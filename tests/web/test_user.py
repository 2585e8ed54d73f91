"""Accounts: making them, and looking people up."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import TOKEN_TRIAL
from tests.web.door import HttpsDoor

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
        answers = [self.door.get("/user/id/1"), self.door.get("/user/id/x"), self.door.get("/user/id/7", "bad")]
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
