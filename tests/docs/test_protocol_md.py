"""docs/protocol.md: its examples, played from the first to the last against a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import tomli
from twisted.trial.unittest import SynchronousTestCase

from simple_im import limits
from tests.docs.client import Client, ask
from tests.docs.markdown import Block, Document
from tests.docs.transcript import Transcript
from tests.integration.node import Node, new_node

NAME: Final = "docs/protocol.md"
PASSWORD: Final = "888888"
_ENTRY: Final = re.compile(r"^\[\[\w+\]\]", re.MULTILINE)


class Story:
    """The people, who says what to whom next, and what is answered.

    A block's comment says who does what: `Ann's phone sends`, `Ben's phone, connected anew, gets`, `request`.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._transcript = Transcript()
        self._transcript.bind("1987", str(node.im_port))
        self._people: set[str] = set()
        self._clients: dict[str, Client] = {}
        self._answer = ""
        self._verbs: dict[str, Callable[[str, Block], None]] = {
            "sends": self._sends,
            "sends, without a line end": self._sends_compact,
            "sends bad frames": self._sends_bad_frames,
            f"sends a frame of {limits.FRAME_SIZE + 1} bytes": self._sends_large,
            "gets": self._gets,
            "is closed": self._is_closed,
        }

    def introduce(self, who: str, user: str, phone: str, device: str, token: str) -> None:
        """A row of the table of people: make the account if it is new, and log the device in."""
        if who not in self._people:
            self._people.add(who)
            self._post("/user", f"name={who}&phone={phone}&password={PASSWORD}")
        found = self._post("/server/login", f"phone={phone}&password={PASSWORD}&device={device}")
        assert found["id"] == int(user), f"{who} is {found['id']}"
        self._transcript.bind(token.strip("`"), found["token"])

    def _post(self, path: str, form: str) -> dict[str, Any]:
        answer = ask(self._node, "POST", path, form, {"Content-Type": "application/x-www-form-urlencoded"})
        found: dict[str, Any] = tomli.loads(answer.partition("\n\n")[2])["response"][0]["user"]
        return found

    def play(self, block: Block) -> None:
        """Do what a block says."""
        if block.note == "request":
            self._request(block)
        elif block.note == "answer":
            self._transcript.check(block.text, self._only_shown_headers(block.text), block.place)
        else:
            self._verb(block)

    def _verb(self, block: Block) -> None:
        for verb in sorted(self._verbs, key=len, reverse=True):
            if block.note.endswith(f" {verb}"):
                self._verbs[verb](block.note.removesuffix(f" {verb}").rstrip(","), block)
                return
        raise AssertionError(f"{block.place}: nobody knows what {block.note!r} means")

    # The IM door.

    def _client(self, name: str) -> Client:
        if name not in self._clients:
            self._clients[name] = Client(self._node)
        return self._clients[name]

    def _sends(self, name: str, block: Block) -> None:
        self._client(name).send(self._transcript.spoken(block.text))

    def _sends_compact(self, name: str, block: Block) -> None:
        self._client(name).send(self._transcript.spoken(block.text).rstrip("\n"))

    def _sends_bad_frames(self, name: str, block: Block) -> None:
        """Each begins with a comment that has the reason; an ellipsis there stands for anything."""
        for frame in block.text.rstrip("\n").split("\n\n"):
            self._client(name).send(f"{frame}\n\n")
            answer = tomli.loads(self._client(name).entries(1))["rr"][0]
            reason = re.escape(frame.splitlines()[0].removeprefix("# ")).replace("…", ".+")
            id_ = re.search(r'^id = "(.+)"$', frame, re.MULTILINE)
            expected = {"s": 1, "r": answer["r"], **({"id": id_[1]} if id_ else {})}
            assert re.fullmatch(reason, answer["r"]), f"{block.place}: {answer} to\n{frame}"
            assert answer.items() >= expected.items(), f"{block.place}: {answer} to\n{frame}"
            self._client(name).send('[[r]]\nid = "between"\nt = "ping"\n\n')
            self._transcript.check('[[rr]]\nid = "between"\ns = 0', self._client(name).entries(1), block.place)

    def _sends_large(self, name: str, _block: Block) -> None:
        start, end = '[[m]]\nid = "large"\nt = "text"\nto = 1\nc = "', '"\n\n'
        filling = "x" * (limits.FRAME_SIZE + 1 - len(start) - len(end))
        self._client(name).send(start + filling + end)

    def _gets(self, name: str, block: Block) -> None:
        self._transcript.check(block.text, self._client(name).entries(len(_ENTRY.findall(block.text))), block.place)

    def _is_closed(self, name: str, block: Block) -> None:
        client = self._clients.pop(name)
        assert client.rest() == "", f"{block.place}: {client.rest()}"
        client.close()

    # The HTTPS door.

    def _request(self, block: Block) -> None:
        head, _, body = self._transcript.spoken(block.text).rstrip("\n").partition("\n\n")
        first, *lines = head.splitlines()
        method, path, _ = first.split()
        headers = dict(line.split(": ", 1) for line in lines)
        if headers.get("Content-Type", "").startswith("multipart/"):
            body = body.replace("\n", "\r\n") + "\r\n"
        self._answer = ask(self._node, method, path, body, headers)

    def _only_shown_headers(self, shown: str) -> str:
        """The last answer without the headers that the document leaves out, in its order."""
        head, _, body = self._answer.partition("\n\n")
        status, *headers = head.splitlines()
        names = [line.partition(":")[0] for line in shown.partition("\n\n")[0].splitlines()[1:]]
        kept = [header for name in names for header in headers if header.startswith(f"{name}: ")]
        return "\n".join([status, *kept, "", body])

    # The end.

    def end(self) -> None:
        """Nobody was sent anything that the document does not show."""
        for name, client in self._clients.items():
            client.send('[[r]]\nid = "end"\nt = "ping"\n\n')
            self._transcript.check('[[rr]]\nid = "end"\ns = 0', client.entries(1), name)

    def close(self) -> None:
        """Everybody leaves."""
        for client in self._clients.values():
            client.close()


class ExampleTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """Every example is answered as it shows, in the order in which they stand there."""
        node = new_node("--interface", "127.0.0.1")
        self.addCleanup(node.clean_up)
        document = Document(NAME)
        story = Story(node)
        self.addCleanup(story.close)
        for row in document.rows("The people in the examples"):
            story.introduce(*row)
        for block in document.blocks():
            story.play(block)
        story.end()

    def test_no_block_is_left_out(self) -> None:
        """Every fenced block has a comment that says how it is played."""
        for block in Document(NAME).blocks():
            self.assertTrue(block.note, block.place)
