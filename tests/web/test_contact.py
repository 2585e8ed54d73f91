"""`/contact`: two sides of a request, and what each is told."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simple_im.store.outgoing import RETRY
from tests.web.door import NOW, Answer, HttpsDoor, Person

HELLO = {"ask": "It's Ann"}


class ContactCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.ann, self.bob, self.cat = self.door.people("Ann", "Bob", "Cat")

    def ask(self, asker: Person, asked: Person, words: str = "It's Ann") -> Answer:
        return asker.post(f"/contact/{asked.id}", {"ask": words})

    def accept(self, user: Person, asker: Person) -> Answer:
        return user.put(f"/contact/{asker.id}")

    def remove(self, user: Person, other: Person) -> Answer:
        return user.delete(f"/contact/{other.id}")

    def befriend(self, one: Person, other: Person) -> None:
        self.ask(one, other)
        self.accept(other, one)

    def changes(self, user: Person, version: int = 0) -> dict[str, Any]:
        """`GET /contact/version/V`, without what is as it always is."""
        document = user.get(f"/contact/version/{version}").document
        (response,) = document.pop("response")
        return {"version": response["version"], **document}

    def seen(self, person: Person, version: int) -> dict[str, Any]:
        """A contact in a list."""
        known = {"id": person.id, "name": person.name, "phone": person.phone, "avatar": ""}
        return {**known, "contact_version": version}

    def assert_done(self, answer: Answer) -> None:
        self.assertEqual((answer.status, answer.document), (200, {"response": [{"status": 0}]}))

    def assert_refused(self, answer: Answer, http: int, status: int, reason: str) -> None:
        self.assertEqual(answer.status, http)
        self.assertEqual(answer.document, {"response": [{"status": status, "r": reason, "reason": reason}]})


class ContactTests(ContactCase):
    def test_ask_and_accept(self) -> None:
        """Who is asked finds the request, and by accepting it each gets the other into the list."""
        self.assert_done(self.ask(self.ann, self.bob))
        self.assertEqual([self.changes(user) for user in (self.ann, self.bob)], [{"version": 0}] * 2)
        self.assert_done(self.accept(self.bob, self.ann))
        self.assertEqual(self.changes(self.ann), {"version": 1, "contact": [self.seen(self.bob, 1)]})
        self.assertEqual(self.changes(self.bob), {"version": 1, "contact": [self.seen(self.ann, 1)]})
        self.assertEqual(self.changes(self.cat), {"version": 0})

    def test_remove(self) -> None:
        """Whoever removes the other, both lists lose an entry and say so."""
        self.befriend(self.ann, self.bob)
        self.assert_done(self.remove(self.bob, self.ann))
        self.assertEqual(self.changes(self.ann, 1), {"version": 2, "removed": [{"id": self.bob.id}]})
        self.assertEqual(self.changes(self.bob, 1), {"version": 2, "removed": [{"id": self.ann.id}]})

    def test_versions(self) -> None:
        """Since each version exactly what has changed since is shown, in the order in which it did, removals too."""
        self.befriend(self.ann, self.bob)
        self.befriend(self.ann, self.cat)
        self.remove(self.ann, self.bob)
        cat, gone = self.seen(self.cat, 2), [{"id": self.bob.id}]
        self.assertEqual(self.changes(self.ann, 0), {"version": 3, "contact": [cat], "removed": gone})
        self.assertEqual(self.changes(self.ann, 1), {"version": 3, "contact": [cat], "removed": gone})
        self.assertEqual(self.changes(self.ann, 2), {"version": 3, "removed": gone})
        self.assertEqual(self.changes(self.ann, 3), {"version": 3})
        self.befriend(self.bob, self.ann)
        self.assertEqual(self.changes(self.ann, 3), {"version": 4, "contact": [self.seen(self.bob, 4)]})

    def test_versions_that_never_were(self) -> None:
        """Below the first version everything has changed, above the last nothing, whatever the number."""
        self.befriend(self.ann, self.bob)
        for version in (-1, -(10**18), -(10**19) + 1):
            self.assertEqual(self.changes(self.ann, version), self.changes(self.ann, 0))
        for version in (2, 10**18, 10**19 - 1):
            self.assertEqual(self.changes(self.ann, version), {"version": 1})

    def test_both_ask(self) -> None:
        """To ask somebody who has asked is to accept."""
        self.ask(self.ann, self.bob)
        self.assert_done(self.ask(self.bob, self.ann, ""))
        self.assertEqual(self.changes(self.ann), {"version": 1, "contact": [self.seen(self.bob, 1)]})
        for user in (self.ann, self.bob):
            self.assertNotIn("pre_contact", user.get("/pre_contact/0").document)

    def test_again_after_removal(self) -> None:
        """Who was removed may ask again, and is no contact until that is accepted."""
        self.befriend(self.ann, self.bob)
        self.remove(self.ann, self.bob)
        self.assert_refused(self.accept(self.ann, self.bob), 404, 404, "Not Found")
        self.assert_done(self.ask(self.bob, self.ann))
        self.assertEqual(self.changes(self.ann, 2), {"version": 2})
        self.assert_done(self.accept(self.ann, self.bob))
        self.assertEqual(self.changes(self.bob, 2), {"version": 3, "contact": [self.seen(self.ann, 3)]})


class RefusedTests(ContactCase):
    def test_oneself(self) -> None:
        """Nobody is one's own contact."""
        answer = self.ask(self.ann, self.ann)
        self.assert_refused(answer, 400, 3, "id must be another user's")

    def test_nobody(self) -> None:
        """A user that does not exist can't be asked, accepted or removed, whatever the number."""
        for user in (99, 0, -1, 2**63 - 1, 2**63, 10**19 - 1):
            for method, form in (("POST", HELLO), ("PUT", None), ("DELETE", None)):
                answer = self.ann.request(method, f"/contact/{user}", form)
                self.assert_refused(answer, 404, 404, "Not Found")

    def test_twice(self) -> None:
        """A request that waits is not made again; nor is one to a contact, by either side."""
        self.ask(self.ann, self.bob)
        self.assert_refused(self.ask(self.ann, self.bob), 409, 1, "Waiting for accept")
        self.accept(self.bob, self.ann)
        self.assert_refused(self.ask(self.ann, self.bob), 409, 1, "Contact exists")
        self.assert_refused(self.ask(self.bob, self.ann), 409, 1, "Contact exists")

    def test_no_request(self) -> None:
        """Without a request there is nothing to accept: also not for who has asked, and not by a third."""
        self.assert_refused(self.accept(self.bob, self.ann), 404, 404, "Not Found")
        self.ask(self.ann, self.bob)
        self.assert_refused(self.accept(self.ann, self.bob), 404, 404, "Not Found")
        self.assert_refused(self.accept(self.cat, self.ann), 404, 404, "Not Found")
        self.assertEqual(self.changes(self.ann), {"version": 0})

    def test_no_contact(self) -> None:
        """Who is no contact can't be removed: neither before the request is accepted nor after a removal."""
        for prepare in (lambda: None, lambda: self.ask(self.ann, self.bob), lambda: self.remove_once()):
            prepare()
            for user, other in ((self.ann, self.bob), (self.bob, self.ann)):
                self.assert_refused(self.remove(user, other), 404, 404, "Not Found")

    def remove_once(self) -> None:
        self.accept(self.bob, self.ann)
        self.assert_done(self.remove(self.ann, self.bob))

    def test_wrong(self) -> None:
        """Numbers have to be numbers, and `ask` has to be there, though it may say nothing."""
        for method, path, reason in (
            ("POST", "/contact/x", "id must be an integer"),
            ("PUT", "/contact/x", "id must be an integer"),
            ("DELETE", "/contact/1.5", "id must be an integer"),
            ("GET", "/contact/version/x", "version must be an integer"),
            ("GET", "/pre_contact/now", "timestamp must be an integer"),
            ("POST", f"/contact/{self.bob.id}", "ask Required"),
        ):
            self.assert_refused(self.ann.request(method, path), 400, 3, reason)
        self.assert_done(self.ask(self.ann, self.bob, ""))

    def test_refused_and_not_told(self) -> None:
        """Of what is refused nobody hears."""
        self.befriend(self.ann, self.bob)
        phone = self.bob.connect()
        self.ask(self.ann, self.bob)
        self.accept(self.ann, self.bob)
        self.remove(self.cat, self.bob)
        self.assertEqual(phone.got(), [])


class PreContactTests(ContactCase):
    def requests(self, after: int = 0) -> list[tuple[int, str, int]]:
        rows = self.bob.get(f"/pre_contact/{after}").document.get("pre_contact", [])
        return [(row.pop("user_id"), row.pop("message"), row.pop("timestamp")) for row in rows if len(row) == 3]

    def test_newer(self) -> None:
        """Who has asked after a time is shown, with the words, the oldest first."""
        self.ask(self.cat, self.bob, "meow")
        self.door.clock.advance(10)
        self.ask(self.ann, self.bob, 'I\'m "Ann"\n')
        cat, ann = (self.cat.id, "meow", NOW), (self.ann.id, 'I\'m "Ann"\n', NOW + 10)
        for after, expected in ((0, [cat, ann]), (NOW - 1, [cat, ann]), (NOW, [ann]), (NOW + 10, [])):
            self.assertEqual(self.requests(after), expected)
        self.assertEqual((self.requests(-(10**18)), self.requests(10**19 - 1)), ([cat, ann], []))

    def test_answered(self) -> None:
        """What was accepted is no request any more, nor is what oneself has asked."""
        self.ask(self.ann, self.bob)
        self.ask(self.bob, self.cat)
        self.accept(self.bob, self.ann)
        self.assertEqual(self.requests(), [])


class NoticeTests(ContactCase):
    """What devices are told, on the IM door."""

    def setUp(self) -> None:
        super().setUp()
        self.pad = self.ann.on("pad").connect()
        self.phone = self.ann.connect()
        self.bobs = self.bob.connect()

    def only(self, entries: list[Any]) -> dict[str, Any]:
        """The one notice among what a device has got, without what only it has."""
        ((table, keys),) = entries
        self.assertEqual(table, "n")
        for key in ("id", "seq"):
            del keys[key]
        self.assertEqual(keys.pop("ts"), NOW)
        found: dict[str, Any] = keys
        return found

    def assert_told(self, **expected: object) -> None:
        """Bob and Ann's other device got this at once, and the device that acted did not."""
        notice = {"to": self.bob.id, "from": self.ann.id, "d": "phone", **expected}
        self.assertEqual([self.only(client.got()) for client in (self.bobs, self.pad)], [notice, notice])
        self.assertEqual(self.phone.got(), [])

    def test_asked(self) -> None:
        """A request is told to who is asked, with its words, and to the asker's other devices."""
        self.ask(self.ann, self.bob, 'I\'m "Ann"\n\n[[x]]')
        self.assert_told(t="add_contact", ask='I\'m "Ann"\n\n[[x]]')

    def test_accepted(self) -> None:
        """An acceptance is told to who has asked; so is one that came as a request."""
        for accept in (self.accept, self.ask):
            self.ask(self.bob, self.ann)
            for client in (self.pad, self.phone, self.bobs):
                client.got()
            accept(self.ann, self.bob)
            self.assert_told(t="accept_contact")
            self.remove(self.bob, self.ann)
            for client in (self.pad, self.phone, self.bobs):
                client.got()

    def test_removed(self) -> None:
        """A removal is told to who was removed."""
        self.befriend(self.ann, self.bob)
        for client in (self.pad, self.phone, self.bobs):
            client.got()
        self.remove(self.ann, self.bob)
        self.assert_told(t="delete_contact")

    def test_absent(self) -> None:
        """Devices that are not connected find it, over HTTPS and at their next login; the acting one does not."""
        self.bobs.lose()
        self.pad.lose()
        watch = self.ann.on("watch")
        self.ask(self.ann, self.bob)
        for person in (self.bob, watch):
            (keys,) = person.waiting("n")
            self.assertEqual((keys["t"], keys["from"], keys["ask"]), ("add_contact", self.ann.id, "It's Ann"))
        self.assertEqual(self.ann.waiting("n"), [])
        client = self.door.online(self.bob.id, "phone", self.bob.token)
        self.assertEqual([table for table, _ in client.got()], ["rr"])
        client.lose()
        client = self.door.online(self.bob.id, "phone", self.bob.token)
        self.assertEqual([keys.get("t") for _, keys in client.got()], [None, "add_contact"])

    def test_ids(self) -> None:
        """Each notice has an id of its own, so that it can be acknowledged."""
        for user in (self.ann, self.cat):
            self.ask(user, self.bob)
        ids = [keys["id"] for _, keys in self.bobs.got()]
        self.assertEqual(len(set(ids)), 2)
        self.bobs.send(f'[[a]]\nid = "{ids[0]}"\n\n')
        self.door.clock.advance(1)
        self.assertEqual([keys["id"] for keys in self.bob.waiting("n")], [ids[1]])

    def test_on_disk(self) -> None:
        """A request is answered when its notice is on disk, and not before."""
        connection = self.door.connect()
        self.door.database.hold()
        head = f"Cookie: token={self.ann.token}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 6"
        connection.send(f"POST /contact/{self.bob.id} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\nask=hi".encode())
        for _step in ("the token", "the change", "the notice"):
            self.assertEqual(connection.answers(), [])
            self.door.database.do()
            self.assertEqual(connection.answers(), [])
            self.door.database.answer()
        (answer,) = connection.answers()
        self.assertEqual(answer.status, 200)
        self.door.database.release()
        self.assertEqual(len(self.bob.waiting("n")), 1)

    def test_disk_is_full(self) -> None:
        """Where the inboxes don't take the notice, it is on disk with the change, and is sent later."""
        full = "CREATE TRIGGER full BEFORE INSERT ON run BEGIN SELECT raise(ABORT, 'full'); END"
        self.door.rows(full)
        self.assert_done(self.ask(self.ann, self.bob))
        self.assertEqual(len(self.bob.get("/pre_contact/0").document["pre_contact"]), 1)
        self.door.clock.advance(RETRY)
        self.assertEqual(self.bob.waiting("n"), [])
        self.door.rows("DROP TRIGGER full")
        self.door.clock.advance(RETRY)
        self.flushLoggedErrors()
        (keys,) = self.bob.waiting("n")
        self.assertEqual((keys["t"], keys["dup"]), ("add_contact", True))
        self.assertEqual(self.door.rows("SELECT * FROM outgoing"), [])


class FormTests(ContactCase):
    """Where parameters may stand."""

    def test_forms_of_put_and_delete(self) -> None:
        """The form of a PUT or a DELETE is read and does it no harm."""
        self.ask(self.ann, self.bob)
        self.assert_done(self.bob.put(f"/contact/{self.ann.id}", b"ask=hi&x"))
        self.assert_done(self.bob.request("DELETE", f"/contact/{self.ann.id}", b"ask=hi&x"))

    def test_words(self) -> None:
        """Who asks has 256 characters for it, and must say something, if only nothing."""
        self.assert_done(self.ask(self.ann, self.bob, "ü" * 256))
        answer = self.ask(self.bob, self.cat, "ü" * 257)
        self.assert_refused(answer, 400, 3, "ask must be 0 to 256 characters")

    def test_form_of_another_kind(self) -> None:
        """A body that says to be something else is none."""
        headers = {"Content-Type": "text/plain"}
        path = f"/contact/{self.bob.id}"
        answer = self.door.request("POST", path, b"ask=hi", self.ann.token, headers)
        self.assert_refused(answer, 400, 3, "ask Required")
