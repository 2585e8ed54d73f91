"""Contacts and a group, over both doors of a real node, with several devices of which one is absent."""

from __future__ import annotations

from typing import Any

from tests.integration.case import NodeCase
from tests.integration.im_client import ImClient, entry
from tests.integration.node import User
from tests.web.media_door import AMR, PNG, content_type, form

ROUNDS = 20


class GroupTests(NodeCase):
    """Ann has a phone and a pad, Bob a phone, and a watch that is absent until the end; Cat has a phone."""

    def setUp(self) -> None:
        self.node = self.own_node()
        self.ann, self.bob, self.cat = (self.node.new_user() for _ in range(3))
        self.media: dict[tuple[int, str], tuple[str, str, bytes]] = {}
        for device in ("phone", "pad"):
            self.ann.sign_in(device)
        for device in ("phone", "watch"):
            self.bob.sign_in(device)
        self.clients = {
            (user.id, device): self.connect(user, device)
            for user, device in ((self.ann, "phone"), (self.ann, "pad"), (self.bob, "phone"), (self.cat, "phone"))
        }

    def request(self, user: User, method: str, path: str, form: dict[str, object] | None = None) -> dict[str, Any]:
        """A request by the user's phone, which succeeds; `[[response]]`."""
        answer = self.node.https().request(method, path, form, user.tokens["phone"])
        self.assertEqual((answer.status, answer.row("response")["status"]), (200, 0), path)
        return answer.row("response")

    def befriend(self) -> None:
        """Ann asks, and Bob accepts."""
        self.request(self.ann, "POST", f"/contact/{self.bob.id}", {"ask": "hi"})
        self.request(self.bob, "PUT", f"/contact/{self.ann.id}")

    def contacts(self, user: User) -> list[int]:
        answer = self.node.https().get("/contact/version/0", user.tokens["phone"])
        return [row["id"] for row in answer.rows("contact")]

    def make_group(self) -> int:
        """Ann makes one with Bob and adds Cat."""
        g_id: int = self.request(self.ann, "POST", "/group", {"name": "all", "members[]": self.bob.id})["g_id"]
        self.request(self.ann, "POST", f"/group/{g_id}/member/{self.cat.id}")
        return g_id

    def talk(self, g_id: int) -> None:
        """All phones write at the same time; what each is answered and sent is read later."""
        for number in range(ROUNDS):
            for user in (self.ann, self.bob, self.cat):
                frame = entry("gm", id=f"{user.id}-{number}", t="text", c="hello", g_id=g_id)
                self.clients[user.id, "phone"].send(frame)

    def post_media(self, user: User, kind: str, content: bytes, g_id: int) -> None:
        """A file for the group, from the user's phone."""
        body = form((kind, content), ("g_id", g_id))
        answer = self.node.https().upload(f"/gm/{kind}", body, content_type(), user.tokens["phone"])
        response = answer.row("response")
        self.assertEqual((answer.status, response["status"]), (200, 0))
        self.media[user.id, response["id"]] = (kind, response["c"], content)

    def check_media(self, entries: list[tuple[str, dict[str, Any]]]) -> None:
        """Each says of which kind it is and where, and everybody finds it there."""
        for _, keys in entries:
            if (keys["from"], keys["id"]) in self.media:
                kind, path, content = self.media[keys["from"], keys["id"]]
                self.assertEqual((keys["t"], keys["c"]), (kind, path))
                for user in (self.ann, self.bob, self.cat):
                    answer = self.node.https().get(f"/{path}", user.tokens["phone"])
                    self.assertEqual((answer.status, answer.body), (200, content))

    def view(self, client: ImClient, last: str) -> list[tuple[str, dict[str, Any]]]:
        """All that a device is sent, its own acknowledgements included, up to the message `last`."""
        found = [client.receive()]
        while found[-1][1]["id"] != last:
            found.append(client.receive())
        return found

    def end(self, g_id: int) -> None:
        """Somebody's device that has sent nothing says that it was all, when all before it is acknowledged."""
        for user in (self.ann, self.bob, self.cat):
            self.clients[user.id, "phone"].ping()
        self.clients[self.ann.id, "pad"].send(entry("gm", id="last", t="text", c="bye", g_id=g_id))

    def test_each_devices_view(self) -> None:
        """Two become contacts and make a group with a third, all write to it, and send it an image and a voice message:
        every device, also the absent one, has got every message and notice that is not its own, in one order, once."""
        self.befriend()
        self.assertEqual((self.contacts(self.ann), self.contacts(self.bob)), ([self.bob.id], [self.ann.id]))
        g_id = self.make_group()
        self.talk(g_id)
        self.see_acknowledged()
        self.post_media(self.ann, "image", PNG, g_id)
        self.post_media(self.cat, "audio", AMR, g_id)
        self.end(g_id)
        self.clients[self.ann.id, "pad"].ping()
        self.clients[self.bob.id, "watch"] = self.connect(self.bob, "watch")
        views = {who: self.rest_of(who) for who in self.clients}
        for who, entries in views.items():
            self.check(who, entries, g_id)
            self.check_media(entries)
        self.check_one_order(list(views.values()))

    def see_acknowledged(self) -> None:
        """Read on each phone until all that it sent is acknowledged, and keep what else came."""
        self.early: dict[tuple[int, str], list[tuple[str, dict[str, Any]]]] = {}
        for user in (self.ann, self.bob, self.cat):
            who = (user.id, "phone")
            entries = self.early[who] = []
            while sum(table == "a" for table, _ in entries) < ROUNDS:
                entries.append(self.clients[who].receive())

    def rest_of(self, who: tuple[int, str]) -> list[tuple[str, dict[str, Any]]]:
        """What came for a device until the end, without the answers to what it sent itself."""
        client = self.clients[who]
        found = [*self.early.get(who, [])]
        if who == (self.ann.id, "pad"):
            found += self.view(client, "ping")
        else:
            found += self.view(client, "last")
        return [each for each in found if each[0] not in ("a", "rr")]

    def check(self, who: tuple[int, str], entries: list[tuple[str, dict[str, Any]]], g_id: int) -> None:
        """All of it, in order, once, and nothing else."""
        seqs = [keys["seq"] for _, keys in entries]
        self.assertEqual(seqs, sorted(set(seqs)), who)
        messages = [(keys["from"], keys["d"], keys["id"]) for table, keys in entries if table == "gm"]
        self.assertEqual(sorted(messages), sorted(self.messages_for(who)), who)
        for user in (self.ann, self.bob, self.cat):
            texts = [each for each in messages if (each[0], each[2]) not in self.media]
            ids = [id_ for sender, device, id_ in texts if (sender, device) == (user.id, "phone")]
            expected = [f"{user.id}-{number}" for number in range(ROUNDS)]
            self.assertEqual(ids, [] if who == (user.id, "phone") else expected, who)
        self.assertEqual([keys["t"] for table, keys in entries if table in ("n", "gn")], self.notices_for(who), who)
        self.assertEqual({keys["g_id"] for table, keys in entries if table in ("gm", "gn")}, {g_id})

    def messages_for(self, who: tuple[int, str]) -> list[tuple[int, str, str]]:
        phones = [(user.id, "phone") for user in (self.ann, self.bob, self.cat)]
        sent = [(*phone, f"{phone[0]}-{number}") for phone in phones for number in range(ROUNDS)]
        sent += [(user, "phone", id_) for user, id_ in self.media]
        sent.append((self.ann.id, "pad", "last"))
        return [each for each in sent if each[:2] != who]

    def notices_for(self, who: tuple[int, str]) -> list[str]:
        """Whom the request and its acceptance concern, and the group's two, but for the device that acted."""
        concerned = {
            "add_contact": (self.ann, self.bob),
            "accept_contact": (self.bob, self.ann),
            "create_group": (self.ann, self.bob),
            "create_group_member": (self.ann, self.bob, self.cat),
        }
        return [
            what
            for what, (actor, *others) in concerned.items()
            if who[0] in (actor.id, *(user.id for user in others)) and who != (actor.id, "phone")
        ]

    def check_one_order(self, views: list[list[tuple[str, dict[str, Any]]]]) -> None:
        """A message has the same place on all devices."""
        places: dict[tuple[int, str, str], set[int]] = {}
        for entries in views:
            for _, keys in entries:
                places.setdefault((keys["from"], keys["d"], keys["id"]), set()).add(keys["seq"])
        self.assertEqual({len(seqs) for seqs in places.values()}, {1})


class KilledTests(NodeCase):
    def test_notices_after_a_kill(self) -> None:
        """A process is killed right after a request was answered: contacts, group and notices are there, once."""
        node = self.own_node()
        ann, bob = node.new_user(), node.new_user()
        bob.sign_in("phone")
        https, token = node.https(), ann.sign_in("phone")
        self.connect(ann, "phone").close()
        https.post(f"/contact/{bob.id}", {"ask": "hi"}, token)
        answer = https.post("/group", {"name": "all", "members[]": bob.id}, token)
        self.assertEqual(answer.row("response")["status"], 0)
        node.kill()
        node.start()
        bob.sign_in("phone")
        found = self.all_for(bob, self.connect(bob, "phone"))
        self.assertEqual([keys["t"] for keys in found], ["add_contact", "create_group"])
        g_id = answer.row("response")["g_id"]
        members = node.https().get(f"/group/{g_id}", ann.tokens["phone"]).rows("member")
        self.assertEqual([row["id"] for row in members], [ann.id, bob.id])
