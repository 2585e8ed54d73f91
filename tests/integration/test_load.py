"""Much at once: memory stays bounded, and nothing that was acknowledged is lost, also when the process is killed."""

from __future__ import annotations

from typing import Any

from tests.integration.case import NodeCase
from tests.integration.im_client import ImClient, entry
from tests.integration.node import Node

MIB = 1_048_576
BACKLOG = 10_000
STREAM = 2_000


class BacklogTests(NodeCase):
    """A device comes to a large inbox and reads slowly."""

    def fill(self, sender: ImClient, to: int) -> None:
        """Send a backlog, in portions whose acknowledgements are awaited."""
        for start in range(0, BACKLOG, 500):
            for number in range(start, start + 500):
                sender.send_message(to, str(number), "x" * 1_024)
            sender.receive_all(500)

    def take(self, client: ImClient, expected: int) -> list[str]:
        """Read on and acknowledge every hundredth entry, with all before it."""
        found: list[str] = []
        while len(found) < expected:
            _, keys = client.receive()
            found.append(keys["id"])
            if len(found) % 100 == 0:
                client.acknowledge_to(keys["seq"])
        return found

    def test_slow_reader(self) -> None:
        """10,000 messages for a device that hardly reads cost the server less than 20 MB, and arrive in order, once."""
        node = self.own_node()
        reader = node.new_user()
        reader.sign_in("phone")
        self.fill(self.connect(node.new_user(), "pc"), reader.id)
        before = node.rss
        client = self.connect(reader, "phone", receive_buffer=4_096)
        for _ in range(5):
            client.read_some(1_024)
            node.https().get("/health")
            self.assertLess(node.rss - before, 20 * MIB)
        self.assertEqual(self.take(client, BACKLOG), [str(number) for number in range(BACKLOG)])
        self.assertEqual(self.all_for(reader, client), [])
        self.assertLess(node.rss - before, 20 * MIB)


class DeafClientTests(NodeCase):
    """A client that sends and does not read what it is answered."""

    def send_until_full(self, client: ImClient, frame: str) -> int:
        """Send until the server takes no more; how many frames it has been sent, the last perhaps in part."""
        sent = 0
        client.set_timeout(2)
        try:
            while sent < 1_000_000:
                client.send(frame * 100)
                sent += 100
        except TimeoutError:
            client.set_timeout(30)
        return sent

    def test_answers_wait_for_their_reader(self) -> None:
        """The server stops reading from it, at a bounded cost, and answers all when it reads."""
        node = self.own_node()
        client = self.connect(node.new_user(), "phone", receive_buffer=4_096)
        before = node.rss
        sent = self.send_until_full(client, entry("r", id="x" * 100, t="ping"))
        self.assertLess(sent, 1_000_000)
        self.assertLess(node.rss - before, 20 * MIB)
        for _ in range(sent):
            client.expect("rr", id="x" * 100, s=0)


class KilledServerTests(NodeCase):
    """SIGKILL in the middle of a stream."""

    def stream(self, node: Node, sender: ImClient, to: int) -> list[str]:
        """Send a stream, kill the server while it takes that in, and give the ids that were acknowledged."""
        frames = [entry("m", id=str(number), t="text", c="x" * 200, to=to) for number in range(STREAM)]
        sender.send(*frames)
        acknowledged = [keys["id"] for keys in sender.receive_all(STREAM // 20)]
        node.kill()
        return acknowledged + [keys["id"] for _, keys in sender.rest()]

    def check(self, acknowledged: list[str], pushed: list[dict[str, Any]], stored: list[dict[str, Any]]) -> None:
        ids = [keys["id"] for keys in stored]
        self.assertEqual(ids, [str(number) for number in range(len(ids))])
        self.assertEqual(acknowledged, ids[: len(acknowledged)])
        seqs = {keys["seq"]: keys["id"] for keys in stored}
        self.assertEqual(len(seqs), len(stored))
        for keys in pushed:
            self.assertEqual(seqs.get(keys["seq"], keys["id"]), keys["id"])

    def test_kill(self) -> None:
        """What was acknowledged is there, once, in order, and no `seq` stands for two messages."""
        node = self.own_node()
        ann, bob = node.new_user(), node.new_user()
        reader = self.connect(bob, "phone")
        sender = self.connect(ann, "phone")
        acknowledged = self.stream(node, sender, bob.id)
        pushed = [keys for table, keys in reader.rest() if table == "m"]
        node.start()
        self.assertGreater(len(pushed), 0)
        again = self.connect(bob, "phone")
        self.connect(ann, "phone").message(bob.id, "new")
        *stored, new = self.read_to_new(again)
        self.check(acknowledged, pushed, stored)
        self.assertGreater(new["seq"], max(keys["seq"] for keys in pushed + stored))

    def read_to_new(self, client: ImClient) -> list[dict[str, Any]]:
        """All that comes up to the message with the id `new`, acknowledged one by one."""
        found = client.receive_all(1)
        while found[-1]["id"] != "new":
            client.acknowledge(found[-1]["id"])
            found += client.receive_all(1)
        return found


