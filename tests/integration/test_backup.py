"""A node backed up while it works, lost, and restored elsewhere."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path
from typing import Any

from tests.integration.case import NodeCase
from tests.integration.im_client import ImClient, entry
from tests.integration.node import PATIENCE, ROOT, Node, User, until
from tests.web.media_door import content_type, form, of_size

SENDERS = 3
PICTURE = 500_000


def start(verb: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """`python -m simple_im` with a verb."""
    command = [sys.executable, "-m", "simple_im", verb, *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


class Sender:
    """Sends one message after the other, each when the one before is acknowledged."""

    def __init__(self, client: ImClient, to: int, name: str) -> None:
        self.acknowledged: list[str] = []
        self._client, self._to, self._name = client, to, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in count():
            if self._stop.is_set():
                return
            id_ = f"{self._name}-{number}"
            self._client.message(self._to, id_, "x" * 200)
            self.acknowledged.append(id_)

    def stop(self) -> None:
        """Send nothing more; what was sent is acknowledged."""
        self._stop.set()
        self._thread.join(PATIENCE)


class CommandCase(NodeCase):
    def say(self, verb: str, *arguments: object, **options: Any) -> str:
        """What a verb says that succeeds."""
        process = start(verb, *arguments, **options)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, ""))
        return output

    def refusal(self, verb: str, *arguments: object, **options: Any) -> str:
        """The one sentence of a verb that fails."""
        process = start(verb, *arguments, **options)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, output), (1, ""))
        self.assertRegex(errors, r"\Asimple_im: [^\n]+\n\Z")
        return errors

    def restored(self, backup: Path) -> Node:
        """A node of its own that serves what a backup holds."""
        node = Node(self.directory())
        self.addCleanup(node.clean_up)
        self.say("verify", backup)
        self.say("restore", backup, "--state", node.directory / "priv")
        return node.start()

    def at(self, node: Node, user: User) -> User:
        """The same person, with the same tokens, on another node."""
        other = User(node, user.id, user.phone, user.password)
        other.tokens = dict(user.tokens)
        return other

    def offline(self, node: Node, token: str) -> list[dict[str, Any]]:
        """The messages that wait for a device, shown over HTTPS and then forgotten, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            answer = node.https().get("/offline", token)
            if not any(answer.rows(table) for table in ("m", "n", "gn")):
                return found
            found += answer.rows("m")
            node.https().delete("/offline", token)

    def replayed(self, client: ImClient, last: str) -> list[dict[str, Any]]:
        """What a device is sent, acknowledged one by one, up to the message `last`."""
        found = client.receive_all(1)
        while found[-1]["id"] != last:
            client.acknowledge_to(found[-1]["seq"])
            found += client.receive_all(1)
        return found


def ids(entries: list[dict[str, Any]]) -> set[str]:
    """The ids of entries, no two of which are the same message."""
    found = {keys["id"] for keys in entries}
    assert len(found) == len(entries), "a message is there twice"
    return found


class UnderLoadTests(CommandCase):
    """Three people write to Bob without a pause, a fourth is his contact; none of his devices reads."""

    def setUp(self) -> None:
        self.node = self.own_node()
        self.bob = self.node.new_user()
        for device in ("phone", "watch", "pad"):
            self.connect(self.bob, device).close()
        self.people = [self.node.new_user() for _ in range(SENDERS + 1)]
        self.clients = [self.connect(user, "pc") for user in self.people][1:]
        self.path = self.post_picture()
        self.g_id = self.request("POST", "/group", {"name": "all", "members[]": self.bob.id})["g_id"]
        self.request("POST", f"/contact/{self.bob.id}", {"ask": "hi"})
        self.node.https().request("PUT", f"/contact/{self.people[0].id}", token=self.bob.tokens["phone"])

    def request(self, method: str, path: str, keys: dict[str, object]) -> dict[str, Any]:
        """A request of the fourth, which succeeds."""
        answer = self.node.https().request(method, path, keys, self.people[0].tokens["pc"])
        self.assertEqual(answer.status, 200, path)
        return answer.row("response")

    def post_picture(self) -> str:
        """A picture for Bob; where it is."""
        body = form(("to", self.bob.id), ("image", of_size("image", PICTURE)))
        answer = self.node.https().upload("/m/image", body, content_type(), self.people[0].tokens["pc"])
        return str(answer.row("response")["c"])

    def back_up(self) -> Path:
        """A backup in the middle of it: what was acknowledged `before` it began, `until` its end, and `after` all."""
        target = self.directory() / "backup"
        senders = [Sender(client, self.bob.id, f"m{number}") for number, client in enumerate(self.clients)]
        self.wait_for(senders, 300)
        self.before = self.acknowledged(senders)
        self.say("backup", target, "--state", self.node.directory / "priv")
        self.until = self.acknowledged(senders)
        self.wait_for(senders, len(self.until) + 300)
        for sender in senders:
            sender.stop()
        self.after = self.acknowledged(senders)
        return target

    def wait_for(self, senders: list[Sender], number: int) -> None:
        until(lambda: len(self.acknowledged(senders)) >= number, "nobody is answered")

    def acknowledged(self, senders: list[Sender]) -> set[str]:
        return {id_ for sender in senders for id_ in list(sender.acknowledged)}

    def lose(self) -> int:
        """The first node goes on, is killed and starts again and again; the last `seq` that it gives out."""
        for _ in range(3):
            self.node.kill()
            self.node.start()
        self.people[1].connect("pc").message(self.bob.id, "last")
        *others, last = self.offline(self.node, self.bob.tokens["phone"])
        self.assertEqual(self.after - ids(others), set())
        self.assertNotIn("Traceback", self.node.whole_log)
        self.node.kill()
        return int(last["seq"])

    def test_restored(self) -> None:
        """The first node loses nothing; the restored one has all of before, and gives no `seq` of the first."""
        backup = self.back_up()
        self.assertGreater(len(self.until - self.before), 20)
        highest = self.lose()
        node = self.restored(backup)
        bob, friend = self.at(node, self.bob), self.at(node, self.people[0])
        self.assertEqual(self.before - ids(self.offline(node, bob.tokens["watch"])), set())
        self.connect(self.at(node, self.people[1]), "pc").message(bob.id, "new")
        entries = self.replayed(self.connect(bob, "pad"), "new")
        self.assertEqual(self.before - ids(entries), set())
        self.assertGreater(entries[-1]["seq"], highest)
        self.check_around(node, bob, friend)
        self.assertNotIn("Traceback", node.log)

    def check_around(self, node: Node, bob: User, friend: User) -> None:
        """Picture, contact, group and password are there; who is new gets an id that nobody had."""
        token = bob.tokens["phone"]
        answer = node.https().get(f"/{self.path}", token)
        self.assertEqual((answer.status, answer.body), (200, of_size("image", PICTURE)))
        contacts = node.https().get("/contact/version/1", token).rows("contact")
        self.assertEqual([row["id"] for row in contacts], [friend.id])
        group = node.https().get(f"/group/{self.g_id}", token)
        self.assertEqual(group.status, 200)
        bob.sign_in("tablet")
        stranger = node.https().post("/user", {"name": "new", "phone": "8618266170000", "password": "secret"})
        self.assertGreater(stranger.row("response")["user"]["id"], 100_000)


class StoppedTests(CommandCase):
    """A node that does not run."""

    def test_killed(self) -> None:
        """Killed in the middle of a stream: the backup has all that was acknowledged, and leaves the node's files."""
        node = self.own_node()
        ann, bob = node.new_user(), node.new_user()
        bob.sign_in("phone")
        sender = self.connect(ann, "phone")
        sender.send(*(entry("m", id=str(number), t="text", c="x" * 200, to=bob.id) for number in range(2_000)))
        acknowledged = ids(sender.receive_all(200))
        node.kill()
        acknowledged |= ids([keys for _, keys in sender.rest()])
        self.assertGreater((node.directory / "priv" / "simple_im.db-wal").stat().st_size, 0)
        backup = self.directory() / "backup"
        self.say("backup", backup, "--state", node.directory / "priv")
        copy = self.restored(backup)
        self.assertEqual(acknowledged - ids(self.offline(copy, self.at(copy, bob).sign_in("phone"))), set())
        self.check_goes_on(node, bob, acknowledged)

    def check_goes_on(self, node: Node, bob: User, acknowledged: set[str]) -> None:
        """The node that was killed starts as if there had been no backup."""
        node.start()
        self.assertEqual(acknowledged - ids(self.offline(node, bob.sign_in("phone"))), set())

    def test_stopped(self) -> None:
        """Stopped in order: the same, and the node starts again."""
        node = self.own_node()
        user = node.new_user()
        node.stop()
        backup = self.directory() / "backup"
        self.assertIn("backed up 1 users", self.say("backup", backup, "--state", node.directory / "priv"))
        node.start()
        user.sign_in("phone")
        copy = self.restored(backup)
        self.at(copy, user).sign_in("phone")

    def test_plain_copy(self) -> None:
        """A backup copied with `cp -a` serves too."""
        node = self.own_node()
        user = node.new_user()
        backup, copy = self.directory() / "backup", Node(self.directory())
        self.say("backup", backup, "--state", node.directory / "priv")
        subprocess.run(["cp", "-a", backup, copy.directory / "priv"], check=True)
        self.addCleanup(copy.clean_up)
        copy.start()
        self.at(copy, user).sign_in("phone")

    def test_served(self) -> None:
        """Nothing is restored over a node that runs."""
        node = self.own_node()
        backup = self.directory() / "backup"
        self.say("backup", backup, "--state", node.directory / "priv")
        sentence = self.refusal("restore", backup, "--state", node.directory / "priv")
        self.assertIn("priv is served by a running node: stop it", sentence)
        node.new_user()


class BrokenTests(CommandCase):
    """A backup that does not come to its end."""

    def setUp(self) -> None:
        self.node = self.own_node()
        ann, bob = self.node.new_user(), self.node.new_user()
        self.connect(ann, "phone").close()
        for size in (100_000, 9_000_000):
            body = form(("to", bob.id), ("image", of_size("image", size)))
            self.node.https().upload("/m/image", body, content_type(), ann.tokens["phone"])
        self.place = self.directory()

    def arguments(self) -> tuple[object, ...]:
        return self.place / "backup", "--state", self.node.directory / "priv"

    def test_no_room(self) -> None:
        """Where the database or a file does not fit, that is said in a sentence, and nothing is left."""
        for size, what in ((50_000, "backup can't be made (disk I/O error)"), (4_000_000, "File too large")):
            sentence = self.refusal("backup", *self.arguments(), preexec_fn=lambda size=size: limit(size))
            self.assertIn(what, sentence)
            self.assertEqual(os.listdir(self.place), [])
        self.say("backup", *self.arguments())

    def test_terminated(self) -> None:
        """SIGTERM leaves nothing; the next one succeeds."""
        process = self.interrupted(signal.SIGTERM)
        self.assertEqual(process.communicate()[1], "simple_im: interrupted: nothing was left half done\n")
        self.assertEqual((process.returncode, os.listdir(self.place)), (1, []))
        self.say("backup", *self.arguments())

    def test_killed(self) -> None:
        """SIGKILL leaves a directory whose name says what it is, and none with the backup's; the next one succeeds."""
        self.assertEqual(self.interrupted(signal.SIGKILL).wait(), -signal.SIGKILL)
        (left,) = os.listdir(self.place)
        self.assertRegex(left, r"\Abackup\.unfinished-\w+\Z")
        self.assertIn("is no backup that can be read", self.refusal("verify", self.place / left))
        self.say("backup", *self.arguments())
        self.say("verify", self.place / "backup")

    def interrupted(self, number: signal.Signals) -> subprocess.Popen[str]:
        """A backup that gets a signal as soon as it has begun."""
        process = start("backup", *self.arguments())
        self.addCleanup(process.communicate)
        until(lambda: os.listdir(self.place), "no backup is begun")
        process.send_signal(number)
        return process


def limit(size: int) -> None:
    """No file of this process grows over this size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
