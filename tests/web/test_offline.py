"""Offline messages over HTTPS: what is shown, and what is forgotten."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from simple_im.limits import OFFLINE_BYTES, OFFLINE_ENTRIES
from simple_im.web import encoding
from tests.web.door import NOW, Answer, HttpsDoor, request_bytes


class OfflineCase(SynchronousTestCase):
    def setUp(self) -> None:
        # Large documents are made in a thread; here they are made at once.
        self.patch(encoding, "deferToThread", maybeDeferred)
        self.door = HttpsDoor()
        self.user = self.door.create()
        self.token = self.door.sign_in()

    def get(self, query: str = "", token: str | None = None) -> Answer:
        answer = self.door.get(f"/offline{query}", token or self.token)
        self.assertEqual(answer.status, 200)
        return answer

    def delete(self, token: str | None = None) -> None:
        answer = self.door.request("DELETE", "/offline", token=token or self.token)
        self.assertEqual((answer.status, answer.document), (200, {"response": [{"status": 0}]}))

    def deliver(self, *ids: str, size: int = 5) -> None:
        self.door.deliver_text(self.user, *ids, size=size)


class GetTests(OfflineCase):
    def test_nothing(self) -> None:
        """Where nothing waits, there is the response alone."""
        self.assertEqual(self.get().document, {"response": [{"status": 0}]})

    def test_all_keys(self) -> None:
        """Entries have every key that they have on the IM door, also those that only apps know."""
        more = "x = 1.5\n[m.y]\nz = [true]\n"
        self.door.deliver(self.user, f'[[m]]\nid = "a_02"\nt = "text"\nc = "hi\\n"\nto = 1\n{more}')
        (message,) = self.get().document["m"]
        seq = message.pop("seq")
        expected = {"id": "a_02", "t": "text", "c": "hi\n", "to": 1, "d": "pc", "from": 99, "ts": NOW}
        self.assertEqual(message, {**expected, "x": 1.5, "y": {"z": [True]}})
        self.assertGreater(seq, 0)

    def test_disk_takes_nothing(self) -> None:
        """What is stored is shown also while the disk takes nothing; DELETE is refused."""
        self.deliver("a")
        self.get()
        self.door.database.writes_fail = True
        for _ in range(2):
            self.assertEqual(self.get().ids(), ["a"])
        self.assertEqual(self.door.request("DELETE", "/offline", token=self.token).status, 503)

    def test_tables_and_order(self) -> None:
        """Entries of every table are there, oldest first."""
        for number, table in enumerate(["m", "n", "m", "n"]):
            self.door.deliver(self.user, f'[[{table}]]\nid = "{number}"\nt = "t"\nc = ""\nto = 1\n')
        answer = self.get()
        self.assertEqual((answer.ids("m"), answer.ids("n")), (["0", "2"], ["1", "3"]))
        written = [line for line in answer.body.decode().splitlines() if line.startswith("id")]
        self.assertEqual(written, [f'id = "{number}"' for number in range(4)])

    def test_shown_again(self) -> None:
        """What was shown and not cleaned is shown again."""
        self.deliver("a", "b")
        self.assertEqual(self.get().ids(), ["a", "b"])
        self.assertEqual(self.get().ids(), ["a", "b"])

    def test_acknowledged_a_moment_ago(self) -> None:
        """What the device has acknowledged is not shown, also where that is not on disk yet."""
        self.deliver("a", "b")
        connection = self.door.connected(self.user, "android", self.token)
        seq = self.get().document["m"][1]["seq"]
        self.door.inbox.acknowledge_range(connection.device.state, seq - 1, seq)
        self.assertEqual(self.get().ids(), ["a"])

    def test_limit(self) -> None:
        """`limit` cuts and says that there is more; where it just fits, there is no more."""
        self.deliver("a", "b", "c")
        for limit, ids, more in ((1, ["a"], True), (2, ["a", "b"], True), (3, ["a", "b", "c"], None)):
            answer = self.get(f"?limit={limit}")
            self.assertEqual((answer.ids(), answer.response.get("more")), (ids, more))

    def test_default_limit(self) -> None:
        """Without `limit` it is 1,000."""
        self.deliver(*map(str, range(OFFLINE_ENTRIES + 1)))
        answer = self.get()
        self.assertEqual((len(answer.ids()), answer.response["more"]), (OFFLINE_ENTRIES, True))
        self.assertEqual(len(self.get("?limit=9999999999999999999").ids()), OFFLINE_ENTRIES + 1)

    def test_bytes(self) -> None:
        """An answer ends before its entries are more than 1 MiB, and says that there is more."""
        self.deliver(*map(str, range(40)), size=50_000)
        answer = self.get()
        self.assertTrue(answer.response["more"])
        self.assertLessEqual(len(answer.body), OFFLINE_BYTES + 1_000)
        self.assertGreater(len(answer.body), OFFLINE_BYTES - 60_000)

    def test_page_by_page(self) -> None:
        """GET and DELETE in turn give everything, in order, once."""
        self.deliver(*map(str, range(25)))
        ids = [str(number) for number in range(25)]
        for start, more in ((0, True), (10, True), (20, None)):
            answer = self.get("?limit=10")
            self.assertEqual((answer.ids(), answer.response.get("more")), (ids[start : start + 10], more))
            self.delete()

    def test_wrong_limits(self) -> None:
        """A `limit` is an integer of 1 or more."""
        reasons = {
            "x": "limit must be an integer",
            "1.5": "limit must be an integer",
            "": "limit Required",
            "0": "limit must be 1 or more",
            "-3": "limit must be 1 or more",
        }
        for limit, reason in reasons.items():
            answer = self.door.get(f"/offline?limit={limit}", self.token)
            self.assertEqual((answer.status, answer.response["status"], answer.response["r"]), (400, 3, reason))

    def test_token_needed(self) -> None:
        """Without a good token nothing is shown and nothing forgotten."""
        for method in ("GET", "DELETE"):
            answer = self.door.request(method, "/offline")
            self.assertEqual((answer.status, answer.response["r"]), (401, "Token Error"))

    def test_every_device_its_own(self) -> None:
        """What one device has cleaned is still there for another, and nobody sees another user's."""
        second = self.door.sign_in(device="ipad")
        self.door.create("12345")
        other = self.door.sign_in("12345")
        self.deliver("a")
        self.get()
        self.delete()
        self.assertEqual(self.get().ids(), [])
        self.assertEqual(self.get(token=second).ids(), ["a"])
        self.assertEqual(self.get(token=other).ids(), [])

    def test_json(self) -> None:
        """JSON has the same document; what JSON has no word for is a string."""
        self.door.deliver(self.user, '[[m]]\nid = "a"\nt = "t"\nc = "名"\nto = 1\nx = nan\ny = -inf\nz = 1979-05-27\n')
        answer = self.door.get("/offline", self.token, Accept="application/json")
        self.assertEqual(answer.headers["Content-Type"], "application/json; charset=utf-8")
        (message,) = json_document(answer)["m"]
        self.assertEqual((message["x"], message["y"], message["z"]), ("nan", "-inf", "1979-05-27"))
        self.assertEqual((message["id"], message["c"], message["to"]), ("a", "名", 1))


class DeleteTests(OfflineCase):
    def test_what_came_later_stays(self) -> None:
        """What comes between GET and DELETE is there at the next GET."""
        self.deliver("a")
        self.get()
        self.deliver("b")
        self.delete()
        self.assertEqual(self.get().ids(), ["b"])

    def test_what_was_not_shown_stays(self) -> None:
        """A DELETE without a GET forgets nothing, nor what `limit` has cut."""
        self.deliver("a", "b")
        self.delete()
        self.assertEqual(self.get("?limit=1").ids(), ["a"])
        self.delete()
        self.assertEqual(self.get().ids(), ["b"])

    def test_head_shows_nothing(self) -> None:
        """A HEAD has shown nothing to anybody."""
        self.deliver("a")
        self.assertEqual(self.door.request("HEAD", "/offline", token=self.token).status, 200)
        self.delete()
        self.assertEqual(self.get().ids(), ["a"])

    def test_gone_before_the_answer(self) -> None:
        """A client that is gone when the answer is ready was shown nothing."""
        self.deliver("a")
        connection = self.door.connect()
        self.door.database.hold()
        connection.send(request_bytes("GET", "/offline", {"Cookie": f"token={self.token}"}))
        connection.lose()
        self.door.database.release()
        self.assertEqual(connection.answers(), [])
        self.delete()
        self.assertEqual(self.get().ids(), ["a"])

    def test_on_disk(self) -> None:
        """When DELETE is answered, it is on disk: a server that starts anew shows none of it."""
        self.deliver("a")
        self.get()
        self.delete()
        ((cursor,),) = self.door.rows("SELECT cursor FROM device WHERE name = 'android'")
        ((seq,),) = self.door.rows("SELECT seq FROM inbox")
        self.assertGreaterEqual(cursor, seq)

    def test_connected_device(self) -> None:
        """A connection of the device is told how far the device has come."""
        self.deliver("a")
        connection = self.door.connected(self.user, "android", self.token)
        self.get()
        self.delete()
        self.assertEqual(connection.device.moves, [connection.device.state.cursor])
        self.assertGreater(connection.device.state.cursor, 0)


def json_document(answer: Answer) -> dict[str, Any]:
    """The body as JSON, which has no word for what is no number."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found: dict[str, Any] = json.loads(answer.body, parse_constant=refuse)
    return found
