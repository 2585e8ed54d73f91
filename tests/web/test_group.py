"""`/group`: who is in a group, what its members are told, and what they write to each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simple_im.store.outgoing import RETRY
from tests.im.door import Client, Entry, acknowledged, refused
from tests.web.door import MEMBERS, NOW, Answer, HttpsDoor, Person


class GroupCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.door = HttpsDoor()
        self.ann, self.bob, self.cat, self.dan, self.eve = self.door.people("Ann", "Bob", "Cat", "Dan", "Eve")

    def create(self, creator: Person, *members: Person, name: str = "group") -> Answer:
        ids = "".join(f"&members[]={member.id}" for member in members)
        return creator.post("/group", f"name={name}{ids}".encode())

    def make(self, creator: Person, *members: Person) -> tuple[str, str]:
        """A group's path and key."""
        response = self.create(creator, *members).response
        return f"/group/{response['g_id']}", response["g_key"]

    def members(self, path: str, asker: Person) -> list[int]:
        return [row["id"] for row in asker.get(path).document["member"]]

    def assert_done(self, answer: Answer) -> None:
        self.assertEqual((answer.status, answer.document), (200, {"response": [{"status": 0}]}))

    def assert_refused(self, answer: Answer, http: int, status: int, reason: str) -> None:
        self.assertEqual(answer.status, http)
        self.assertEqual(answer.document, {"response": [{"status": status, "r": reason, "reason": reason}]})


class CreateTests(GroupCase):
    def test_created(self) -> None:
        """A new group is answered with its id and key, and is in the lists of all its members."""
        answer = self.create(self.ann, self.bob, self.cat, name="The+group")
        key = answer.response["g_key"]
        self.assertEqual((answer.status, answer.response), (200, {"status": 0, "g_id": 1, "g_key": key}))
        self.assertGreaterEqual(len(key), 16)
        group = {"id": 1, "name": "The group", "creator": self.ann.id}
        for user in (self.ann, self.bob, self.cat):
            self.assertEqual(user.get("/group").document, {"response": [{"status": 0}], "group": [group]})
        self.assertEqual(self.dan.get("/group").document, {"response": [{"status": 0}]})

    def test_shown(self) -> None:
        """A group is shown with its key and its members, the oldest first."""
        path, key = self.make(self.ann, self.cat, self.bob)
        self.bob.put("/user", {"avatar": "x"})
        group = {"id": 1, "name": "group", "creator": self.ann.id, "g_key": key}
        rows = [(self.ann, ""), (self.cat, ""), (self.bob, "x")]
        members = [{"id": user.id, "name": user.name, "avatar": avatar} for user, avatar in rows]
        for user in (self.ann, self.bob):
            document = user.get(path).document
            self.assertEqual(document, {"response": [{"status": 0}], "group": [group], "member": members})

    def test_named_twice(self) -> None:
        """A member that is named twice, or is the creator, is in it once."""
        path, _ = self.make(self.ann, self.bob, self.ann, self.bob)
        self.assertEqual(self.members(path, self.ann), [self.ann.id, self.bob.id])

    def test_alone(self) -> None:
        """A group may begin with its creator alone."""
        path, _ = self.make(self.ann)
        self.assertEqual(self.members(path, self.ann), [self.ann.id])

    def test_nobody(self) -> None:
        """With a member that does not exist there is no group, and those that were named hear nothing."""
        bobs = self.bob.connect()
        for member in (99, 0, -1, 2**63):
            answer = self.ann.post("/group", f"name=group&members[]={self.bob.id}&members[]={member}".encode())
            self.assert_refused(answer, 404, 404, "Not Found")
        self.assertNotIn("group", self.ann.get("/group").document)
        self.assertEqual((bobs.got(), self.bob.waiting("gn")), ([], []))

    def test_too_many(self) -> None:
        """A group may begin with as many as it may have, and not with one more."""
        self.assertEqual(self.create(self.ann, self.bob, self.cat, self.dan).status, 200)
        answer = self.create(self.ann, self.bob, self.cat, self.dan, self.eve)
        self.assert_refused(answer, 409, 1, "Group is full")
        self.assertEqual(len(self.ann.get("/group").document["group"]), 1)

    def test_wrong(self) -> None:
        """A name has to be there, and members have to be numbers."""
        for form, reason in (
            (b"", "name Required"),
            (b"name=&members[]=2", "name Required"),
            (b"name=" + b"x" * 65, "name must be 1 to 64 characters"),
            (b"name=x&members[]=2&members[]=x", "members[] must be an integer"),
            (b"name=x&members[]=", "members[] must be an integer"),
        ):
            self.assert_refused(self.ann.post("/group", form), 400, 3, reason)
        self.assertNotIn("group", self.ann.get("/group").document)


class MemberTests(GroupCase):
    def setUp(self) -> None:
        super().setUp()
        self.path, self.key = self.make(self.ann, self.bob)

    def join(self, user: Person, key: str) -> Answer:
        return user.post(f"{self.path}/member", {"g_key": key})

    def leave(self, user: Person) -> Answer:
        return user.delete(f"{self.path}/member")

    def add(self, user: Person, other: Person) -> Answer:
        return user.post(f"{self.path}/member/{other.id}")

    def remove(self, user: Person, other: Person) -> Answer:
        return user.delete(f"{self.path}/member/{other.id}")

    def test_join(self) -> None:
        """Who knows the key joins; who does not, or knows another group's, does not."""
        _, other = self.make(self.cat)
        for wrong in (other, self.key[:-1], self.key + "=", self.key.swapcase(), "é", "x"):
            self.assert_refused(self.join(self.cat, wrong), 403, 1, "Unauthorized")
        self.assert_refused(self.cat.post(f"{self.path}/member"), 400, 3, "g_key Required")
        self.assert_done(self.join(self.cat, self.key))
        self.assertEqual(self.members(self.path, self.cat), [self.ann.id, self.bob.id, self.cat.id])

    def test_add_and_remove(self) -> None:
        """The creator adds and removes others."""
        self.assert_done(self.add(self.ann, self.cat))
        self.assert_done(self.remove(self.ann, self.bob))
        self.assertEqual(self.members(self.path, self.ann), [self.ann.id, self.cat.id])
        self.assertNotIn("group", self.bob.get("/group").document)

    def test_who_is_in_it_already(self) -> None:
        """Nobody is in a group twice."""
        for answer in (self.join(self.bob, self.key), self.add(self.ann, self.bob), self.add(self.ann, self.ann)):
            self.assert_refused(answer, 409, 1, "Member exists")
        self.assertEqual(self.members(self.path, self.ann), [self.ann.id, self.bob.id])

    def test_who_is_not_in_it(self) -> None:
        """Who is no member can't be removed, and who does not exist can't be added or removed."""
        self.assert_refused(self.remove(self.ann, self.cat), 404, 404, "Not Found")
        for user in (99, 0, -1, 2**63, 10**19 - 1):
            for method in ("POST", "DELETE"):
                answer = self.ann.request(method, f"{self.path}/member/{user}")
                self.assert_refused(answer, 404, 404, "Not Found")

    def test_limit(self) -> None:
        """The last place is taken, by key or by being added; after that there is none, until somebody goes."""
        self.assert_done(self.join(self.cat, self.key))
        self.assert_done(self.add(self.ann, self.dan))
        self.assertEqual(len(self.members(self.path, self.ann)), MEMBERS)
        for answer in (self.join(self.eve, self.key), self.add(self.ann, self.eve)):
            self.assert_refused(answer, 409, 1, "Group is full")
        self.leave(self.dan)
        self.assert_done(self.join(self.eve, self.key))

    def test_leave(self) -> None:
        """Who leaves sees the group no more, and can't leave again."""
        self.assert_done(self.leave(self.bob))
        self.assertEqual(self.members(self.path, self.ann), [self.ann.id])
        for answer in (self.bob.get(self.path), self.leave(self.bob)):
            self.assert_refused(answer, 403, 1, "Unauthorized")

    def test_creator_leaves(self) -> None:
        """A creator who leaves, or removes itself, hands the group to its oldest member."""
        self.add(self.ann, self.cat)
        self.assert_done(self.leave(self.ann))
        self.assertEqual(self.cat.get("/group").document["group"][0]["creator"], self.bob.id)
        self.assert_done(self.remove(self.bob, self.bob))
        self.assertEqual(self.cat.get(self.path).document["group"][0]["creator"], self.cat.id)
        self.assert_done(self.add(self.cat, self.ann))

    def test_last_one_leaves(self) -> None:
        """A group that nobody is in any more is none, also for those who know its key."""
        self.leave(self.ann)
        self.leave(self.bob)
        for answer in (self.bob.get(self.path), self.join(self.bob, self.key), self.leave(self.bob)):
            self.assert_refused(answer, 404, 404, "Not Found")

    def test_delete(self) -> None:
        """A group that was deleted is in nobody's list, and nothing can be done to it."""
        self.assert_done(self.ann.delete(self.path))
        for user in (self.ann, self.bob):
            self.assertNotIn("group", user.get("/group").document)
        for answer in (self.ann.get(self.path), self.ann.delete(self.path), self.join(self.ann, self.key)):
            self.assert_refused(answer, 404, 404, "Not Found")

    def test_no_group(self) -> None:
        """What is no group is 404 for every request, and what is no number 400."""
        for g_id, http in ((99, 404), (0, 404), (-1, 404), (2**63, 404), (10**19 - 1, 404), ("x", 400), ("1.0", 400)):
            for method, path in (
                ("GET", ""),
                ("DELETE", ""),
                ("POST", "/member"),
                ("DELETE", "/member"),
                ("POST", f"/member/{self.cat.id}"),
                ("DELETE", f"/member/{self.bob.id}"),
            ):
                answer = self.ann.request(method, f"/group/{g_id}{path}", {"g_key": "x"} if method == "POST" else None)
                self.assertEqual(answer.status, http, (method, g_id, path))


class NoticeTests(GroupCase):
    """What devices are told of a group, on the IM door. Ann has two, of which the phone acts."""

    def setUp(self) -> None:
        super().setUp()
        self.pad = self.ann.on("pad").connect()
        self.phone, self.bobs, self.cats, self.dans = (
            user.connect() for user in (self.ann, self.bob, self.cat, self.dan)
        )

    def notices(self, clients: Iterable[Client]) -> list[Any]:
        """What each has got: the keys but for what no other notice has."""
        return [[self.plain(entry) for entry in client.got()] for client in clients]

    def plain(self, entry: Entry) -> dict[str, Any]:
        table, keys = entry
        self.assertEqual((table, keys.pop("ts"), len(keys.pop("id")) > 0, keys.pop("seq") > 0), ("gn", NOW, True, True))
        return keys

    def assert_told(self, told: Iterable[Client], silent: Iterable[Client], **expected: object) -> None:
        told, silent = list(told), list(silent)
        notice = {"g_id": 1, "from": self.ann.id, "d": "phone", **expected}
        self.assertEqual(self.notices(told), [[notice]] * len(told))
        self.assertEqual(self.notices(silent), [[]] * len(silent))

    def test_create(self) -> None:
        """Those who were named are told, with the name; so are the creator's other devices."""
        self.make(self.ann, self.bob, self.cat)
        self.assert_told(
            (self.pad, self.bobs, self.cats), (self.phone, self.dans), t="create_group", name="group"
        )

    def test_add(self) -> None:
        """All members are told who has been added, the new one too."""
        path, _ = self.make(self.ann, self.bob)
        self.hush()
        self.ann.post(f"{path}/member/{self.cat.id}")
        told = (self.pad, self.bobs, self.cats)
        self.assert_told(told, (self.phone, self.dans), t="create_group_member", member_id=self.cat.id)

    def test_join(self) -> None:
        """So it is when somebody joins, for whose other devices it is news too."""
        path, key = self.make(self.bob, self.cat)
        self.hush()
        self.ann.post(f"{path}/member", {"g_key": key})
        told = (self.pad, self.bobs, self.cats)
        self.assert_told(told, (self.phone, self.dans), t="create_group_member", member_id=self.ann.id)

    def test_remove(self) -> None:
        """All members are told who was removed; so is who was."""
        path, _ = self.make(self.ann, self.bob, self.cat)
        self.hush()
        self.ann.delete(f"{path}/member/{self.bob.id}")
        told = (self.pad, self.bobs, self.cats)
        self.assert_told(told, (self.phone, self.dans), t="delete_group_member", member_id=self.bob.id)

    def test_leave(self) -> None:
        """All members are told who leaves; so are the other devices of who does."""
        path, _ = self.make(self.ann, self.bob)
        self.hush()
        self.ann.delete(f"{path}/member")
        told = (self.pad, self.bobs)
        self.assert_told(told, (self.phone, self.dans), t="delete_group_member", member_id=self.ann.id)

    def test_last_one(self) -> None:
        """The other devices of who leaves last are told too."""
        path, _ = self.make(self.ann)
        self.hush()
        self.ann.delete(f"{path}/member")
        self.assert_told((self.pad,), (self.phone,), t="delete_group_member", member_id=self.ann.id)

    def test_delete(self) -> None:
        """The members of a group that ends are told."""
        path, _ = self.make(self.ann, self.bob)
        self.hush()
        self.ann.delete(path)
        self.assert_told((self.pad, self.bobs), (self.phone, self.cats), t="delete_group")

    def hush(self) -> None:
        """Pass over what was told until now."""
        for client in (self.pad, self.phone, self.bobs, self.cats, self.dans):
            client.got()

    def test_absent(self) -> None:
        """Who is not connected finds all of it, in order, each with an id of its own; who went, too."""
        path, _ = self.make(self.ann, self.eve)
        self.ann.post(f"{path}/member/{self.bob.id}")
        self.ann.delete(f"{path}/member/{self.eve.id}")
        self.ann.delete(path)
        notices = self.eve.waiting("gn")
        self.assertEqual(
            [keys["t"] for keys in notices], ["create_group", "create_group_member", "delete_group_member"]
        )
        self.assertEqual(len({keys["id"] for keys in notices}), 3)
        self.assertEqual(self.ann.waiting("gn"), [])

    def test_refused(self) -> None:
        """Of what is refused nobody hears."""
        path, _ = self.make(self.ann, self.bob)
        self.hush()
        self.bob.delete(path)
        self.cat.post(f"{path}/member", {"g_key": "x"})
        self.ann.post(f"{path}/member/{self.bob.id}")
        self.assertEqual(self.notices((self.pad, self.phone, self.bobs, self.cats)), [[]] * 4)

    def test_disk_is_full(self) -> None:
        """Where the inboxes don't take a notice, it is on disk with the change, and is sent later."""
        path, _ = self.make(self.ann)
        self.door.rows("CREATE TRIGGER full BEFORE INSERT ON run BEGIN SELECT raise(ABORT, 'full'); END")
        self.assert_done(self.ann.post(f"{path}/member/{self.eve.id}"))
        self.door.rows("DROP TRIGGER full")
        self.door.clock.advance(RETRY)
        self.flushLoggedErrors()
        self.assertEqual([keys["t"] for keys in self.eve.waiting("gn")], ["create_group_member"])
        self.assertEqual(self.members(path, self.eve), [self.ann.id, self.eve.id])


class MessageTests(GroupCase):
    """`[[gm]]` and `[[gn]]` on the IM door, in groups that change over HTTPS meanwhile."""

    def setUp(self) -> None:
        super().setUp()
        self.pad = self.ann.on("pad")
        self.eves = self.eve.connect()
        self.clients = {user.name: user.connect() for user in (self.ann, self.bob, self.cat, self.dan)}
        self.clients["pad"] = self.pad.connect()
        self.path, self.key = self.make(self.ann, self.bob, self.cat)
        self.hush()

    def hush(self) -> None:
        """Acknowledge all that has come until now."""
        for client in self.clients.values():
            for table, keys in client.got():
                if table == "gn":
                    client.send(f"[[a]]\nseq = {keys['seq']}\n\n")

    def say(self, name: str, id_: str, table: str = "gm", more: str = "") -> list[Entry]:
        """Send a message to the group; what its sender is answered."""
        client = self.clients[name]
        g_id = self.path.rpartition("/")[2]
        client.send(f'[[{table}]]\nid = "{id_}"\nt = "text"\nc = "hello"\ng_id = {g_id}\n{more}\n')
        return [(table, keys) for table, keys in client.got() if table in ("a", "rr")]

    def heard(self, *names: str) -> list[list[str]]:
        return [[keys["id"] for table, keys in self.clients[name].got() if table == "gm"] for name in names]

    def count(self, id_: str) -> tuple[int, int]:
        """How many entries there are with this id, and in how many inboxes."""
        runs = f"FROM run AS r JOIN json_each(r.ids) AS i ON i.value = '{id_}'"
        entries = self.door.rows(f"SELECT r.first + i.key {runs}")
        inboxes = self.door.rows(f"SELECT u.value {runs} JOIN json_each(r.users) AS u")
        return len(entries), len(inboxes)

    def test_everybody(self) -> None:
        """A message is for every device of every member, the sender's other devices included, and for nobody else."""
        for table in ("gm", "gn"):
            self.assertEqual(self.say("Ann", table, table), [acknowledged(table)])
            for name in ("pad", "Bob", "Cat"):
                ((got, keys),) = self.clients[name].got()
                shown = (got, *(keys[key] for key in ("id", "from", "g_id", "d")))
                self.assertEqual(shown, (table, table, self.ann.id, 1, "phone"))
            self.assertEqual((self.clients["Dan"].got(), self.clients["Ann"].got(), self.eves.got()), ([], [], []))

    def test_stored_once(self) -> None:
        """It is one entry, and stands once in each member's inbox."""
        self.say("Ann", "1")
        self.assertEqual(self.count("1"), (1, 3))

    def test_absent(self) -> None:
        """Members' devices that are not connected find it, and so do the sender's others."""
        watch = self.bob.on("watch")
        self.clients["pad"].lose()
        self.say("Ann", "1")
        for person in (watch, self.pad):
            self.assertEqual([keys["id"] for keys in person.waiting("gm")], ["1"])
        self.assertEqual((self.ann.waiting("gm"), self.dan.waiting("gm")), ([], []))

    def test_own_devices_of_later(self) -> None:
        """A sender whose only device has acknowledged all there is needs no copy, and a device of later gets none; a
        sender that has not gets one."""
        self.say("Bob", "1")
        self.assertEqual(self.count("1"), (1, 2))
        self.say("Ann", "2")
        self.say("Bob", "3")
        self.assertEqual(self.count("3"), (1, 3))

    def test_not_a_member(self) -> None:
        """Who is no member is refused, whether the group is known by then or not, and nobody hears."""
        for name in ("Dan", "Ann", "Dan"):
            answer = self.say(name, "1")
            self.assertEqual(answer, [refused("1", "not a member") if name == "Dan" else acknowledged("1")])
        self.assertEqual(self.heard("Bob", "Cat"), [["1"], ["1"]])
        self.assertEqual(self.count("1")[0], 1)

    def test_no_group(self) -> None:
        """Where there is no group that is said, to former members too."""
        for path in ("/group/99", "/group/0", "/group/-1", f"/group/{2**63 - 1}"):
            self.path = path
            self.assertEqual(self.say("Ann", "1"), [refused("1", "no such group")])

    def test_after_each_change(self) -> None:
        """From the answer to a change on, messages are for those who are in the group by then."""
        everybody = ("pad", "Bob", "Cat", "Dan")
        for number, (change, expected) in enumerate(
            (
                (lambda: self.ann.post(f"{self.path}/member/{self.dan.id}"), ("pad", "Bob", "Cat", "Dan")),
                (lambda: self.ann.delete(f"{self.path}/member/{self.bob.id}"), ("pad", "Cat", "Dan")),
                (lambda: self.cat.delete(f"{self.path}/member"), ("pad", "Dan")),
                (lambda: self.cat.post(f"{self.path}/member", {"g_key": self.key}), ("pad", "Cat", "Dan")),
            )
        ):
            self.say("Ann", f"before {number}")
            self.assert_done(change())
            self.hush()
            self.say("Ann", str(number))
            self.assertEqual(self.heard(*everybody), [[str(number)] if name in expected else [] for name in everybody])
        self.assertEqual(self.say("Bob", "x"), [refused("x", "not a member")])
        self.ann.delete(self.path)
        for name in ("Ann", "Bob", "Cat"):
            self.assertEqual(self.say(name, "y"), [refused("y", "no such group")])

    def test_what_a_former_member_has_got(self) -> None:
        """What was written while one was in a group one keeps, and what one wrote the others keep."""
        self.say("Ann", "1")
        self.say("Bob", "2")
        self.bob.delete(f"{self.path}/member")
        self.say("Ann", "3")
        watch = [keys["id"] for keys in self.bob.waiting("gm")]
        self.assertEqual((watch, self.heard("Cat")), (["1"], [["1", "2", "3"]]))

    def test_dup(self) -> None:
        """A message that comes again is acknowledged again and delivered once; one that did not come before is new."""
        dup = "dup = true\n"
        for id_, more in (("1", ""), ("1", dup), ("2", dup), ("2", dup)):
            self.assertEqual(self.say("Ann", id_, more=more), [acknowledged(id_)])
        self.assertEqual(self.heard("Bob", "pad"), [["1", "2"], ["1", "2"]])
        self.assertEqual(self.count("1"), (1, 3))
        self.assertEqual(self.say("Dan", "3", more=dup), [refused("3", "not a member")])

    def test_order(self) -> None:
        """All members get the messages of a group in one order, whoever sends them."""
        for number, name in enumerate(("Ann", "Bob", "Cat", "Ann", "Cat", "Bob")):
            self.say(name, str(number))
        ids = [str(number) for number in range(6)]
        self.assertEqual(self.heard("pad"), [ids])
        self.assertEqual([keys["id"] for keys in self.bob.on("watch").waiting("gm")], ids)
