"""A disk that is full, that fails, and that loses its power: what was acknowledged stays, and the server goes on."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from subprocess import PIPE, Popen

from benchmarks.torture.disk import FaultyDisk
from simple_im.status import STORAGE_UNAVAILABLE
from tests.integration.case import NodeCase
from tests.integration.node import PATIENCE, ROOT, Node, twistd, until

READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], uri=True, isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM run").fetchone()
print("reading", flush=True)
sys.stdin.read()
"""
FAIL_COMMIT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA synchronous=FULL")
add = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {}) " \\
    "INSERT INTO more SELECT random(), zeroblob(300) FROM n"
connection.execute("CREATE TABLE more (x, y)")
connection.execute("CREATE INDEX more_by_x ON more (x)")
connection.execute(add.format(1200))
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.execute("UPDATE node SET epoch = epoch + 1")
print("committed", flush=True)
sys.stdin.readline()
try:
    connection.execute(add.format(400))
except sqlite3.OperationalError:
    print("failed", flush=True)
sys.stdin.readline()
"""
PREPARE = """
import sys
from pathlib import Path
from simple_im.store.database import prepare
prepare(Path(sys.argv[1]), lambda cursor: None)
"""
REFUSED = "takes no writes"
WORKS = "takes writes again"
LARGE = "x" * 60_000
"""A message that makes a log of the database that is emptied soon."""


class DiskCase(NodeCase):
    """A node on a faulty disk, a sender, and a reader with a device that is known and not there."""

    def setUp(self) -> None:
        directory = self.directory()
        self.disk = FaultyDisk(directory / "priv", directory / "side")
        self.node = Node(directory, environ=self.disk.environ()).start()
        self.addCleanup(self.node.clean_up)
        self.sender, self.reader = self.node.new_user(), self.node.new_user()
        self.reader.sign_in("phone")
        self.client = self.connect(self.sender, "phone")
        self.sent = 0
        self.acknowledged: list[str] = []
        self.refused: list[str] = []

    def say(self, text: str = "hello") -> str:
        """Send the next message; its id."""
        self.sent += 1
        self.client.send_message(self.reader.id, f"m{self.sent}", text)
        return f"m{self.sent}"

    def take_answer(self) -> bool:
        """Whether what is answered next is stored."""
        table, keys = self.client.receive()
        is_stored = table == "a"
        if not is_stored:
            self.assertEqual((table, keys["s"], keys["r"]), ("rr", 1, STORAGE_UNAVAILABLE))
        (self.acknowledged if is_stored else self.refused).append(keys["id"])
        return is_stored

    def send(self, text: str = "hello") -> bool:
        """Send a message; whether it is stored."""
        self.say(text)
        return self.take_answer()

    def send_until_stored(self) -> None:
        """Send one message after the other, until one is stored."""
        until(self.send, "nothing is stored any more")

    def again(self) -> None:
        """Start the node after its end, and sign in again."""
        self.client.close()
        self.node.start()
        self.client = self.connect(self.sender, "phone")

    def lose_power(self, seed: int) -> None:
        """Kill the node, lose what is not on disk, and start it again."""
        self.node.kill()
        self.disk.fail_syncs(0)
        self.disk.lose_power(Random(seed))
        self.again()

    def assert_kept(self) -> None:
        """All that was acknowledged is there, once and in order; of what was refused, each message at most once."""
        found = self.found()
        self.assertEqual([id_ for id_ in found if id_ not in self.refused], self.acknowledged)
        self.assertEqual(len(set(found)), len(found))

    def found(self, device: str = "phone") -> list[str]:
        """The ids of all that waits for a device of the reader, which acknowledges it."""
        self.client.message(self.reader.id, "that was all")
        client, found = self.connect(self.reader, device), [""]
        while found[-1] != "that was all":
            found.append(client.receive()[1]["id"])
            client.acknowledge(found[-1])
        return found[1:-1]


class FullDiskTests(DiskCase):
    def setUp(self) -> None:
        super().setUp()
        self.pad = self.connect(self.reader, "pad")
        self.assertTrue(self.send())
        self.pad.expect("m", id="m1")
        self.disk.leave_room(0)
        self.assertFalse(self.send())

    def test_refusals(self) -> None:
        """Senders are refused, on both doors; the log says it once."""
        for _ in range(3):
            self.assertFalse(self.send())
        self.assertEqual(self.node.https().delete("/offline", self.reader.tokens["phone"]).status, 503)
        form = {"phone": self.reader.phone, "password": self.reader.password, "device": "other"}
        self.assertEqual(self.node.https().post("/server/login", form).status, 503)
        self.assertEqual(self.node.log.count(REFUSED), 1)

    def test_reading(self) -> None:
        """What is stored can be read: over HTTPS, and on the IM door, where devices come in with their tokens."""
        self.pad.close()
        self.connect(self.reader, "pad").expect("m", id="m1")
        token = self.reader.tokens["pad"]
        offline = self.node.https().get("/offline", token)
        self.assertEqual((offline.status, [keys["id"] for keys in offline.rows("m")]), (200, ["m1"]))
        self.assertEqual(self.node.https().get(f"/user/id/{self.sender.id}", token).status, 200)

    def test_room_again(self) -> None:
        """With room again the same process stores again, says so, and nothing that it acknowledged is lost."""
        process = self.node.process.pid
        self.disk.leave_room(None)
        self.send_until_stored()
        self.assertEqual(self.node.process.pid, process)
        until(lambda: WORKS in self.node.log, "it is not said that the database works")
        self.lose_power(1)
        self.assert_kept()

    def test_places_are_kept(self) -> None:
        """What a device acknowledges meanwhile is kept in memory, and written when there is room with what the device
        sends."""
        self.pad.acknowledge("m1")
        self.pad.ping()
        self.disk.leave_room(None)
        until(self.pad_sends, "nothing is stored any more")
        self.lose_power(1)
        self.assertNotIn("m1", self.found("pad"))


    def pad_sends(self) -> bool:
        """Have the pad send a message; whether it is stored."""
        self.sent += 1
        id_ = f"pad{self.sent}"
        self.pad.send_message(self.reader.id, id_)
        while (answer := self.pad.receive())[1]["id"] != id_:
            pass
        return answer[0] == "a"


class FailedSyncTests(DiskCase):
    """Where a sync fails, the page cache shows what is not on disk."""

    def fail_commit(self, count: int = 1) -> None:
        """Let syncs fail; what is sent meanwhile is refused."""
        self.assertTrue(self.send())
        self.disk.fail_syncs(count)
        self.assertFalse(self.send())

    def test_one(self) -> None:
        """The sender is refused; then the server goes on by itself, and a loss of power takes nothing."""
        for seed in range(3):
            self.fail_commit()
            self.send_until_stored()
            self.assertTrue(self.send())
            self.assertEqual((self.node.log.count(REFUSED), self.node.log.count(WORKS)), (1, 1))
            self.lose_power(seed)
        self.assert_kept()

    def test_several(self) -> None:
        """So it is where mending fails, too: nothing is stored before it is done."""
        for seed in range(3):
            self.fail_commit(5)
            self.send_until_stored()
            self.assertTrue(self.send())
            self.assertEqual((self.node.log.count(REFUSED), self.node.log.count(WORKS)), (1, 1))
            self.lose_power(seed)
        self.assert_kept()

    def test_killed(self) -> None:
        """A start after a failed sync builds nothing on what is only in the page cache."""
        for seed in range(2):
            self.fail_and_kill()
            self.again()
            self.assertTrue(self.send())
            self.lose_power(seed)
        self.assert_kept()

    def test_killed_and_read(self) -> None:
        """Nor does it while another program reads, such as a backup, with which SQLite keeps its log as it is."""
        for seed in range(4):
            self.fail_and_kill()
            with self.reading():
                self.again()
                for _ in range(5):
                    self.assertTrue(self.send())
                self.node.kill()
            self.disk.lose_power(Random(seed))
            self.again()
        self.assert_kept()

    def fail_and_kill(self) -> None:
        """A commit that has failed, and a process that could not mend it."""
        self.fail_commit(1_000)
        self.node.kill()
        self.disk.fail_syncs(0)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Another process reads the database meanwhile."""
        command = [sys.executable, "-c", READER, f"{(self.node.directory / 'priv/simple_im.db').as_uri()}?mode=ro"]
        environ = {**os.environ, **self.disk.environ()}
        with Popen(command, env=environ, stdin=PIPE, stdout=PIPE) as reader:
            assert reader.stdin is not None and reader.stdout is not None
            self.assertEqual(reader.stdout.readline(), b"reading\n")
            yield
            reader.stdin.close()

    def test_stopped(self) -> None:
        """Nor does one after a stop."""
        for seed in range(2):
            self.fail_commit(1_000)
            self.assertEqual(self.node.stop(), 0)
            self.disk.fail_syncs(0)
            self.again()
            self.assertTrue(self.send())
            self.lose_power(seed)
        self.assert_kept()

    def test_checkpoint(self) -> None:
        """A sync that fails as SQLite empties its log refuses nothing, and loses nothing."""
        for _ in range(180):
            self.say(LARGE)
            self.take_answer()
        self.disk.slow_syncs(0.02)
        failed = 0
        for _ in range(90):
            before = self.disk.syncs
            self.say(LARGE)
            until(lambda: self.disk.syncs > before, "nothing is synced")  # noqa: B023
            self.disk.fail_syncs(1_000)
            self.take_answer()
            self.disk.fail_syncs(0)
            failed += self.disk.syncs > before + 1
        self.assertGreater(failed, 0)
        self.disk.slow_syncs(0)
        self.send_until_stored()
        self.lose_power(1)
        self.assert_kept()


class StartTests(NodeCase):
    """A start that is cut off, after a process whose last commit has failed."""

    def setUp(self) -> None:
        directory = self.directory()
        self.disk = FaultyDisk(directory / "priv", directory / "side")
        self.database = directory / "priv" / "simple_im.db"

    def run_on_disk(self, program: str) -> Popen[str]:
        """Start a program that gets the path of the database."""
        environ = {**os.environ, **self.disk.environ(), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", program, str(self.database)]
        return Popen(command, env=environ, stdin=PIPE, stdout=PIPE, text=True)

    def finish(self, process: Popen[str]) -> int:
        """Its exit code."""
        process.communicate(timeout=PATIENCE)
        return process.returncode

    def fail_commit(self) -> None:
        """Commit, fail to, and be killed."""
        with self.run_on_disk(FAIL_COMMIT) as process:
            assert process.stdin is not None and process.stdout is not None
            self.assertEqual(process.stdout.readline(), "committed\n")
            self.disk.fail_syncs(1_000)
            process.stdin.write("\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), "failed\n")
            process.kill()
        self.disk.fail_syncs(0)

    def cut_off(self, syncs: int) -> None:
        """Start, and lose the power in the sync after so many."""
        self.disk.slow_syncs(0.15)
        end = self.disk.syncs + syncs
        with self.run_on_disk(PREPARE) as process:
            until(lambda: process.poll() is not None or self.disk.syncs >= end, "nothing is synced")
            time.sleep(0.05)
            process.kill()
        self.disk.slow_syncs(0)

    def test_power(self) -> None:
        """What of the log was in memory only does not get into the database file before it is on disk as a log."""
        for seed, syncs in enumerate((0, 1, 2, 3, 4, 2, 3)):
            self.database.unlink(missing_ok=True)
            self.assertEqual(self.finish(self.run_on_disk(PREPARE)), 0)
            self.fail_commit()
            self.cut_off(syncs)
            self.disk.lose_power(Random(seed))
            self.assertEqual(self.finish(self.run_on_disk(PREPARE)), 0, f"after {syncs} syncs")
            with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
                self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
                (count,) = connection.execute("SELECT count(*) FROM more").fetchone()
                self.assertIn(count, (1_200, 1_600))


class DamageTests(NodeCase):
    """A start with a damaged database ends with one sentence, and leaves every byte where it was."""

    def setUp(self) -> None:
        node = self.own_node()
        user, readers = node.new_user(), (node.new_user(), node.new_user())
        for reader in readers:
            reader.sign_in("phone")
        client = self.connect(user, "phone")
        for number in range(300):
            client.send_message(readers[number % 2].id, f"m{number}", "x" * 2_000)  # each in a row of its own
        for number in range(300):
            client.expect("a", id=f"m{number}")
        node.stop()
        self.node = node
        self.database = node.directory / "priv" / "simple_im.db"
        self.log = node.directory / "priv" / "simple_im.db-wal"
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            self.page = connection.execute("PRAGMA page_size").fetchone()[0]
            rows = connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0")
            self.roots = dict(rows.fetchall())
            connection.execute("PRAGMA journal_mode=WAL")
        self.content = self.database.read_bytes()

    def assert_refused(self, content: bytes, *words: str) -> None:
        """A start with this content says what is wrong and what to do, once, and changes nothing."""
        self.database.write_bytes(content)
        log = self.log.read_bytes() if self.log.exists() else None
        process = twistd("--pidfile=", "-n", "simple_im", "--http-port", "0", "--im-port", "0", cwd=self.node.directory)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertNotEqual(process.returncode, 0)
        (sentence,) = errors.splitlines()
        self.assertNotIn("Traceback", output + errors)
        for word in ("simple_im: ", str(self.database), "--state DIR", *words):
            self.assertIn(word, sentence)
        self.assertEqual(self.database.read_bytes(), content)
        self.assertEqual(self.log.read_bytes() if self.log.exists() else None, log)

    def overwritten(self, page: int, with_: bytes) -> bytes:
        """The content with the page of this number made of these bytes."""
        start = (page - 1) * self.page
        return self.content[:start] + (with_ * self.page)[: self.page] + self.content[start + self.page :]

    def test_garbage(self) -> None:
        """A file of something else."""
        self.assert_refused(b"garbage" * 10_000, "not a database", "python -m simple_im restore")

    def test_truncated(self) -> None:
        """A file whose end is missing, be it of a page or of many."""
        for size in (len(self.content) - 100, len(self.content) // 2, 2 * self.page, 100):
            self.assert_refused(self.content[:size], "python -m simple_im restore")

    def test_pages(self) -> None:
        """A page overwritten: an inner one, where messages begin, the root of a small table, the last."""
        for page in (self.roots["message"], self.roots["run"], self.roots["node"], len(self.content) // self.page):
            for with_ in (b"\0", b"\xff", b"text "):
                self.assert_refused(self.overwritten(page, with_), "python -m simple_im restore")

    def test_header(self) -> None:
        """A damaged header."""
        for place, with_ in ((0, b"\0" * 16), (16, b"\x01\x01"), (100, b"\0" * 8)):
            content = self.content[:place] + with_ + self.content[place + len(with_) :]
            self.assert_refused(content, "python -m simple_im restore")

    def test_log_without_database(self) -> None:
        """An empty file beside a log: to SQLite it is a new database, and the log is removed."""
        self.log.write_bytes(b"log" * 1_000)
        self.assert_refused(b"", "it has 0 bytes, and its log")

    def test_log_and_damage(self) -> None:
        """A log beside a damaged file stays as it is too."""
        self.database.write_bytes(self.content)
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            connection.execute("UPDATE node SET epoch = epoch + 1")
            log = self.log.read_bytes()
        self.log.write_bytes(log)
        self.assert_refused(self.overwritten(self.roots["run"], b"\0"), "python -m simple_im restore")

    def test_another_programs(self) -> None:
        """A sound database of another program."""
        other = Path(self.mktemp())
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("CREATE TABLE notes (text)")
        self.assert_refused(other.read_bytes(), "another program's")
