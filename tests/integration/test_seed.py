"""The login document of the original, step by step, with its command lines as they are printed there."""

from __future__ import annotations

import subprocess
import tomllib
from typing import Any

from tests.integration.case import NodeCase
from tests.integration.im_client import ImClient, compact
from tests.integration.node import PATIENCE, Node, User

LOGIN = (
    'curl --cacert priv/ssl/cowboy-ca.crt -X POST -d "phone=8618266175357" --data-urlencode "password=888888"'
    ' -d "device=android" -i https://localhost:8080/server/login'
)
RECONNECT = (
    'curl --cacert priv/ssl/cowboy-ca.crt -X POST -d "id=1" --cookie "token=3vPjUabByvMwBFR9tIeP0bDec4INGQ/T"'
    " -i https://localhost:8080/server/reconnect"
)
OFFLINE = (
    'curl --cacert priv/ssl/cowboy-ca.crt -X GET --cookie "token=7m2jbsYaGNoWT2JztF/Nrh3kQD/YNmDJ"'
    " -i https://localhost:8080/offline"
)
CLEAN = (
    'curl --cacert priv/ssl/cowboy-ca.crt -X DELETE --cookie "token=3vPjUabByvMwBFR9tIeP0bDec4INGQ/T"'
    " -i https://localhost:8080/offline"
)
FAILED = (
    'curl --cacert priv/ssl/cowboy-ca.crt -X POST --cookie "token=3vPjUabByvMwBFR9tIeP0bDec4INGQ/T"'
    " -i https://localhost:8080/server/failed"
)
TOKENS = ("3vPjUabByvMwBFR9tIeP0bDec4INGQ/T", "7m2jbsYaGNoWT2JztF/Nrh3kQD/YNmDJ")

Document = dict[str, list[dict[str, Any]]]


class CurlTests(NodeCase):
    """The command lines as printed; only the port and the token are those of the test."""

    def setUp(self) -> None:
        self.node = self.own_node()
        form = {"name": "Ann", "phone": "8618266175357", "password": "888888"}
        self.node.https().post("/user", form)

    def curl(self, line: str, token: str = "") -> tuple[str, Document]:
        """The first line and the document that a command line prints."""
        line = line.replace(":8080/", f":{self.node.http_port}/")
        for printed in TOKENS:
            line = line.replace(printed, token)
        done = subprocess.run(
            line, shell=True, cwd=self.node.directory, capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        self.assertTrue(body.startswith("[[response]]\n"))
        return head.splitlines()[0], tomllib.loads(body)

    def login(self) -> dict[str, Any]:
        _, document = self.curl(LOGIN)
        return document["response"][0]

    def address(self) -> dict[str, Any]:
        """Where the server sends clients that came to it on this machine: the port is a string, as printed."""
        return {"server": "127.0.0.1", "port": str(self.node.im_port)}

    def test_login(self) -> None:
        """Login answers with server, port, the user's id and a token of 32 characters."""
        status, document = self.curl(LOGIN)
        response = document["response"][0]
        token = response["user"].pop("token")
        self.assertEqual(status, "HTTP/1.1 200 OK")
        self.assertEqual(document, {"response": [{"status": 0, **self.address(), "user": {"id": 1}}]})
        self.assertRegex(token, r"\A[A-Za-z0-9_-]{32}\Z")

    def test_reconnect(self) -> None:
        """Reconnect answers with server and port."""
        token = self.login()["user"]["token"]
        status, document = self.curl(RECONNECT, token)
        self.assertEqual(status, "HTTP/1.1 200 OK")
        self.assertEqual(document, {"response": [{"status": 0, **self.address()}]})

    def test_reconnect_with_the_printed_token(self) -> None:
        """A token that is nobody's is refused, and the answer says why under both names."""
        status, document = self.curl(RECONNECT, TOKENS[0])
        self.assertEqual(status, "HTTP/1.1 401 Unauthorized")
        self.assertEqual(document, {"response": [{"status": 1, "r": "Token Error", "reason": "Token Error"}]})

    def test_offline_and_clean(self) -> None:
        """Offline messages are shown with the printed keys and types, and are gone when they were cleaned."""
        token = self.login()["user"]["token"]
        sender = self.node.new_user()
        client = self.connect(sender, "pc")
        client.message(1, "a_02")
        _, document = self.curl(OFFLINE, token)
        (message,) = document["m"]
        self.assertEqual(message.pop("ts").__class__, int)
        self.assertEqual(message.pop("seq").__class__, int)
        expected = {"c": "hello", "id": "a_02", "to": 1, "from": sender.id, "t": "text", "d": "pc"}
        self.assertEqual(message, expected)
        self.assertEqual(self.curl(CLEAN, token), ("HTTP/1.1 200 OK", {"response": [{"status": 0}]}))
        self.assertEqual(self.curl(OFFLINE, token), ("HTTP/1.1 200 OK", {"response": [{"status": 0}]}))

    def test_report_of_a_living_node(self) -> None:
        """A node that answers stays on the list, whatever a client reports."""
        token = self.login()["user"]["token"]
        reason = {"status": 3, "r": "IM is online", "reason": "IM is online"}
        self.assertEqual(self.curl(FAILED, token), ("HTTP/1.1 200 OK", {"response": [reason]}))
        self.assertEqual(self.login()["port"], str(self.node.im_port))


class NineStepsTests(NodeCase):
    """Two users with three devices go through the document, and the server through a restart."""

    def offline(self, user: User, device: str) -> list[str]:
        """What waits for a device, without the marks that this test itself sends."""
        answer = user.node.https().get("/offline", user.tokens[device])
        return [message["id"] for message in answer.rows("m") if message["id"] != "that was all"]

    def clean(self, user: User, device: str) -> None:
        answer = user.node.https().delete("/offline", user.tokens[device])
        self.assertEqual(answer.row("response"), {"status": 0})

    def reconnect(self, user: User, device: str) -> int:
        """The port that a device which has a token is sent to."""
        answer = user.node.https().post("/server/reconnect", {"id": user.id}, user.tokens[device])
        return int(answer.row("response")["port"])

    def ids(self, user: User, client: ImClient) -> list[str]:
        return [keys["id"] for keys in self.all_for(user, client)]

    def restart(self, node: Node) -> None:
        node.stop()
        node.start()

    def test_all_steps(self) -> None:
        """Nothing is lost and nothing comes twice: not what waited, not what came by HTTPS, not across a restart."""
        node = self.own_node()
        ann, bob = node.new_user(), node.new_user()
        for device in ("phone", "pc"):
            bob.sign_in(device)
        sender = self.connect(ann, "android")
        for number in range(3):
            sender.message(bob.id, f"before-{number}")
        self.steps_of_the_phone(bob, sender)
        sender.close()
        self.restart(node)
        self.after_the_restart(ann, bob)

    def steps_of_the_phone(self, bob: User, sender: ImClient) -> None:
        """Steps 3 to 9, with a message between the GET and each of what follows."""
        self.assertEqual(self.offline(bob, "phone"), ["before-0", "before-1", "before-2"])
        sender.message(bob.id, "after-get")
        phone = self.connect(bob, "phone")
        self.assertEqual(self.ids(bob, phone), ["after-get"])
        sender.message(bob.id, "live")
        self.assertEqual(phone.expect("m", id="live")["c"], "hello")
        self.clean(bob, "phone")
        for id_ in ("after-get", "live", "that was all"):
            phone.acknowledge(id_)
        self.assertEqual(self.ids(bob, phone), [])
        phone.acknowledge("that was all")
        phone.close()

    def after_the_restart(self, ann: User, bob: User) -> None:
        """The tokens of step 2 are good; the phone has everything, the other device has all of it to come."""
        self.assertEqual(self.reconnect(bob, "phone"), bob.node.im_port)
        self.connect(ann, "android").message(bob.id, "last")
        self.assertEqual(self.ids(bob, self.connect(bob, "phone")), ["last"])
        every = ["before-0", "before-1", "before-2", "after-get", "live", "last"]
        self.assertEqual(self.offline(bob, "pc"), every)
        self.assertEqual(self.ids(bob, self.connect(bob, "pc")), [])
        self.clean(bob, "pc")
        self.assertEqual(self.offline(bob, "pc"), [])


class CompactClientTests(NodeCase):
    """A client of the original's dialect beside one that speaks frames."""

    def setUp(self) -> None:
        self.node = self.shared_node()
        self.ann, self.bob = self.node.new_user(), self.node.new_user()
        self.bob.sign_in("pc")
        self.old = self.stranger(self.node)
        user = {"id": self.ann.id, "d": "ipad", "token": self.ann.sign_in("ipad")}
        self.old.send(compact("r", id="a_01", t="login", user=user))
        self.old.expect("rr", id="a_01", s=0)
        self.new = self.connect(self.bob, "pc")

    def test_both_ways(self) -> None:
        """One line without a line end is a message, and a frame comes to that client as valid TOML."""
        self.old.send(compact("m", id="a_02", t="text", c='"Hi" = [[m]]', to=self.bob.id, d="ipad"))
        self.assertEqual(self.new.expect("m", id="a_02", d="ipad")["c"], '"Hi" = [[m]]')
        self.old.expect("a", id="a_02")
        self.new.message(self.ann.id, "b_01", 'back\n"slash" \\')
        self.assertEqual(self.old.expect("m", id="b_01")["c"], 'back\n"slash" \\')

    def test_acknowledged_acknowledgement(self) -> None:
        """The original's client acknowledges the server's `[[a]]` too; another's entry with that id stays."""
        self.new.message(self.ann.id, "same")
        self.old.expect("m", id="same")
        self.old.send(compact("m", id="same", t="text", c="mine", to=self.bob.id))
        self.old.expect("a", id="same")
        self.old.send(compact("a", id="same", d="ipad"))
        self.assertEqual([m["id"] for m in self.again()], ["same"])

    def again(self) -> list[dict[str, Any]]:
        """What the old client has not acknowledged, when it comes again."""
        self.old.close()
        return self.all_for(self.ann, self.connect(self.ann, "ipad"))

    def test_several_entries_in_a_record(self) -> None:
        """Entries in one record are taken in the order in which they are written."""
        lines = [compact("m", id=f"x{n}", t="text", c="", to=self.bob.id) for n in range(5)]
        self.old.send(" ".join(lines))
        self.assertEqual([keys["id"] for keys in self.new.receive_all(5)], [f"x{n}" for n in range(5)])

    def test_whole_entries_in_a_record(self) -> None:
        """What the server writes to it comes in records that begin with an entry and hold whole ones."""
        for number in range(40):
            self.new.send_message(self.ann.id, f"m{number}", "x" * 3_000)
        seen = 0
        for record in self.old.records():
            self.assertTrue(record.startswith(b"[[m]]\n") and record.endswith(b"\n\n"), record[:20])
            seen += len(tomllib.loads(record.decode())["m"])
            if seen == 40:
                break
        self.assertEqual(seen, 40)


