"""Sending media: the message that goes out, to whom, and what is refused."""

from __future__ import annotations

from simple_im.status import StorageUnavailable
from simple_im.store import files as files_module
from simple_im.store.entries import Draft, Receipt
from simple_im.store.tokens import token_hash
from tests.fakes import result_of
from tests.web.door import NOW, Answer
from tests.web.media_door import GIF, OF_KIND, PNG, SAMPLES, MediaCase, form, head

NAME = r"file/{}/[0-9a-f]{{32}}\.{}"


class MediaPagesCase(MediaCase):
    def waiting(self, token: str, table: str = "m") -> list[dict[str, object]]:
        """What an inbox shows of a table."""
        found: list[dict[str, object]] = self.door.get("/offline", token).document.get(table, [])
        return found

    def send(self, to: object, token: str = "") -> Answer:
        return self.door.send_file("image", PNG, token or self.ann_token, to)

    def group(self, *members: int) -> int:
        """A group that Ann makes."""
        form_ = "&".join(["name=us", *(f"members[]={member}" for member in members)])
        return int(self.door.request("POST", "/group", form_.encode(), self.ann_token).response["g_id"])

    def send_to_group(self, g_id: object, token: str = "") -> Answer:
        return self.door.send_form("/gm/image", form(("image", PNG), ("g_id", g_id)), token or self.ann_token)


class ToUserTests(MediaPagesCase):
    def test_every_format(self) -> None:
        """Each format of each kind is stored under a name of the server's with the ending of its content."""
        for kind, ending, of_type, content in SAMPLES:
            answer = self.door.send_file(kind, content, self.ann_token, self.bob)
            self.assertEqual(answer.status, 200, ending)
            self.assertRegex(answer.response["c"], NAME.format(kind, ending))
            fetched = self.door.get("/" + answer.response["c"], self.bob_token)
            self.assertEqual((fetched.body, fetched.headers["Content-Type"]), (content, of_type))

    def test_message(self) -> None:
        """The message that goes out has the kind as its type, where the file is as its content, and the id answered."""
        answer = self.send(self.bob)
        self.assertEqual(set(answer.response), {"status", "id", "c"})
        (got,) = self.waiting(self.bob_token)
        self.assertGreater(int(str(got.pop("seq"))), 0)
        expected = {"t": "image", "to": self.bob, "d": "android", "from": self.ann, "ts": NOW}
        self.assertEqual(got, {**expected, "id": answer.response["id"], "c": answer.response["c"]})

    def test_pushed(self) -> None:
        """Connected devices get it at once, and so do the sender's other ones; the one that sent it does not."""
        pad = self.door.sign_in("10001", "ipad")
        signed_in = (
            (self.bob, "android", self.bob_token),
            (self.ann, "ipad", pad),
            (self.ann, "android", self.ann_token),
        )
        clients = [self.door.online(*each) for each in signed_in]
        for client in clients:
            client.got()
        c = self.send(self.bob).response["c"]
        got = [[(table, keys["c"]) for table, keys in client.got()] for client in clients]
        self.assertEqual(got, [[("m", c)], [("m", c)], []])

    def test_on_disk(self) -> None:
        """The file is whole and in its place before the message goes out, and both before the answer."""
        seen: list[bytes] = []

        def deliver(entries: list[object]) -> None:
            for _ in entries:
                seen.extend((self.door.directory_of_files / name).read_bytes() for name in self.door.on_disk())

        self.patch(self.door.sessions, "deliver", deliver)
        self.send(self.bob)
        self.assertEqual(seen, [PNG])

    def test_answer_waits(self) -> None:
        """There is no answer until the message is committed."""
        connection = self.door.connect()
        self.door.database.hold()
        body = form(("image", PNG), ("to", self.bob))
        connection.send(head("/m/image", self.ann_token, Content_Length=str(len(body))) + body)
        steps = 0
        while not connection.transport.value():
            self.assertEqual(self.door.rows_now("SELECT * FROM run"), [])
            self.door.database.do()
            if self.door.rows_now("SELECT * FROM run"):
                self.assertEqual(connection.answers(), [])
            self.door.database.answer()
            steps += 1
        self.assertGreater(steps, 2)

    def test_private(self) -> None:
        """Files can be read by nobody else on the machine."""
        self.send(self.bob)
        (name,) = self.door.on_disk()
        self.assertEqual((self.door.directory_of_files / name).stat().st_mode & 0o777, 0o600)

    def test_to_oneself(self) -> None:
        """A file for oneself is one message, for one's other devices."""
        pad = self.door.sign_in("10001", "ipad")
        self.assertEqual(self.send(self.ann).status, 200)
        self.assertEqual((len(self.waiting(pad)), len(self.waiting(self.ann_token))), (1, 0))

    def test_client_names(self) -> None:
        """What a client calls its file is of no account."""
        body = form(("image", GIF), ("to", self.bob)).replace(b"x.bin", b"../../../etc/x.html")
        c = self.door.send_form("/m/image", body, self.ann_token).response["c"]
        self.assertRegex(c, NAME.format("image", "gif"))
        self.assertEqual(self.door.on_disk(), [c.removeprefix("file/")])


class RefusedTests(MediaPagesCase):
    def test_other_content(self) -> None:
        """What is not of the kind is refused with the formats that are, whatever its name and type say."""
        html = b"<html><script>alert(1)</script></html>" + bytes(100)
        formats = {"audio": "AMR, M4A, AAC, OGG, MP3", "video": "MP4, WEBM", "image": "PNG, JPG, GIF, WEBP"}
        for kind, names in formats.items():
            others = [
                content for other, content in OF_KIND.items() if (kind, other) not in (("audio", "video"), (kind, kind))
            ]
            for content in (html, b'<svg xmlns="http://www.w3.org/2000/svg"/>', b"text", OF_KIND[kind][:3], *others):
                answer = self.door.send_file(kind, content, self.ann_token, self.bob)
                self.assertEqual(self.refused(answer), (400, f"{kind} must be {names}"))

    def test_addressees(self) -> None:
        """Without an addressee, or with one that there is not, nothing is sent or kept."""
        for parts, status, reason in (
            ((), 400, "to Required"),
            ((("to", ""),), 400, "to Required"),
            ((("to", "bob"),), 400, "to must be an integer"),
            ((("to", 99),), 404, "Not Found"),
            ((("to", 0),), 404, "Not Found"),
            ((("to", -1),), 404, "Not Found"),
            ((("to", 9_999_999_999_999_999_999),), 404, "Not Found"),
        ):
            answer = self.door.send_form("/m/image", form(("image", PNG), *parts), self.ann_token)
            self.assertEqual(self.refused(answer), (status, reason))

    def test_groups(self) -> None:
        """Nor for a group that there is not, or that the sender is not in."""
        g_id = self.group(self.bob)
        for parts, token, status, reason in (
            ((), self.ann_token, 400, "g_id Required"),
            ((("to", self.bob),), self.ann_token, 400, "g_id Required"),
            ((("g_id", "us"),), self.ann_token, 400, "g_id must be an integer"),
            ((("g_id", g_id + 1),), self.ann_token, 404, "Not Found"),
            ((("g_id", g_id),), self.eve_token, 403, "Unauthorized"),
        ):
            answer = self.door.send_form("/gm/image", form(("image", PNG), *parts), token)
            self.assertEqual(self.refused(answer), (status, reason))

    def test_not_moved(self) -> None:
        """A file that can't be brought to its place is refused, and nothing of it is left."""

        def full(*_args: object) -> None:
            raise OSError("no")

        self.patch(files_module, "_move", full)
        self.assertEqual(self.refused(self.send(self.bob)), (503, "Storage unavailable"))
        self.assertEqual(self.door.rows("SELECT * FROM file"), [])

    def test_not_recorded(self) -> None:
        """So is one that the database does not take."""

        def full(*_args: object) -> None:
            raise StorageUnavailable()

        self.patch(files_module, "_insert", full)
        self.assertEqual(self.refused(self.send(self.bob)), (503, "Storage unavailable"))

    def test_not_sent(self) -> None:
        """So is one whose message is not stored."""

        def refuse(draft: Draft, receipt: Receipt) -> None:
            receipt.refused([draft.id], "storage unavailable")

        self.patch(self.door.inbox, "append", refuse)
        self.assertEqual(self.refused(self.send(self.bob)), (503, "Storage unavailable"))
        self.assertEqual(self.door.rows("SELECT * FROM file, file_user"), [])

    def test_lost_at_the_last_moment(self) -> None:
        """So is one whose sender is signed out while it comes."""
        body = form(("image", PNG), ("to", self.bob))
        connection = self.door.connect()
        connection.send(head("/m/image", self.ann_token, Content_Length=str(len(body))) + body[:-1])
        result_of(self.door.tokens.revoke(token_hash(self.ann_token)))
        connection.send(body[-1:])
        (answer,) = connection.answers()
        self.assertEqual(self.refused(answer), (401, "Token Error"))

    def test_then_messages(self) -> None:
        """After a refusal the next file is taken."""
        self.send(99)
        self.assertEqual(self.send(self.bob).status, 200)
        self.assertEqual(len(self.waiting(self.bob_token)), 1)


class ToGroupTests(MediaPagesCase):
    def test_members(self) -> None:
        """Every member gets it, and the sender's other devices; nobody else."""
        pad = self.door.sign_in("10001", "ipad")
        g_id = self.group(self.bob)
        answer = self.send_to_group(g_id, self.bob_token)
        for token in (self.ann_token, pad):
            (got,) = self.waiting(token, "gm")
            self.assertEqual((got["g_id"], got["from"], got["t"]), (g_id, self.bob, "image"))
            self.assertEqual((got["c"], got["id"]), (answer.response["c"], answer.response["id"]))
        self.assertEqual(self.waiting(self.bob_token, "gm"), [])
        self.assertEqual(self.waiting(self.eve_token, "gm"), [])

    def test_who_may_fetch(self) -> None:
        """Those may fetch it who were members then: not who came later, and still who has left."""
        g_id = self.group(self.bob)
        path = "/" + self.send_to_group(g_id).response["c"]
        self.door.request("POST", f"/group/{g_id}/member/{self.eve}", token=self.ann_token)
        self.door.request("DELETE", f"/group/{g_id}/member", token=self.bob_token)
        tokens = (self.ann_token, self.bob_token, self.eve_token)
        self.assertEqual([self.door.get(path, token).status for token in tokens], [200, 200, 404])
        later = "/" + self.send_to_group(g_id).response["c"]
        self.assertEqual([self.door.get(later, token).status for token in tokens], [200, 404, 200])
