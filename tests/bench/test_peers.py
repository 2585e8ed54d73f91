"""What is said of a run against the peers, which servers take part in it, and that none of them is left behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.filling import Device, fill, write_users
from benchmarks.peers import __main__ as program
from benchmarks.peers import disk
from benchmarks.peers.generator import CannotBuild, Report, Target, build
from benchmarks.peers.goals import GOALS
from benchmarks.peers.reports import Reports
from benchmarks.peers.servers import OURS, ServerError, end_marked, missing
from benchmarks.peers.table import table
from benchmarks.peers.turns import Plan, Turns


def report(target: str, name: str, ok: bool = True, noisy: bool = False, **figures: Any) -> Report:
    """As a run leaves it."""
    return {"target": target, "name": name, "repeat": 0, "ok": ok, "noisy": noisy, "tls": "TLSv1.3", **figures}


def latency(target: str, p50: float, p99: float = 900, **more: Any) -> Report:
    return report(target, "latency", lat_us={"p50": p50, "p99": p99}, **more)


def flood(target: str, name: str, rate: float, ack_p99: float = 30_000, **more: Any) -> Report:
    return report(target, name, msg_per_s=rate, ack_us={"p50": 1000, "p99": ack_p99}, **more)


def idle(per_connection: float) -> Report:
    steps = [{"conns": 0}, {"conns": 2000, "rss_kb_per_conn": 99}, {"conns": 5000, "rss_kb_per_conn": per_connection}]
    return report(OURS, "idle", steps=steps)


FAST = [
    latency(OURS, 150, 500, ack_us={"p50": 700}, fsync_us={"p50": 400}),
    *(flood(OURS, name, rate) for name, rate in [("w1", 20_000), ("w16", 70_000), ("w64", 110_000)]),
    report(OURS, "connect", logins_per_s=1200),
    idle(30),
]
"""A run of ours that meets every goal beside `PEERS`."""
PEERS = [
    latency("mosquitto", 100),
    latency("ejabberd", 400, 800),
    latency("prosody", 300),
    flood("mosquitto", "w16", 60_000),
    flood("mosquitto", "w64", 70_000),
]
DELIVERY = "at rest (200 msg/s): delivery p50"


class TableCase(SynchronousTestCase):
    def rows(self, *reports: Report) -> list[list[str]]:
        """The cells of the table's rows, read from a file as the program does."""
        path = Path(self.mktemp())
        path.write_text("".join(json.dumps(each) + "\n" for each in reports))
        self.text = table(Reports.read([path]))
        lines = self.text.splitlines()[2:]
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]

    def row(self, start: str, rule: str, *reports: Report) -> list[str]:
        """The row of the goal that begins and ends so, without the goal itself."""
        (found,) = (row for row in self.rows(*reports) if row[0].startswith(start) and row[0].endswith(rule))
        return found[1:]


class VerdictTests(TableCase):
    """Whether a goal is met."""

    def test_all_met(self) -> None:
        """There is a row for each goal."""
        rows = self.rows(*FAST, *PEERS)
        self.assertEqual([row[-1] for row in rows], ["yes"] * len(GOALS))

    def test_missed(self) -> None:
        """The bound is that of the same run's peer."""
        row = self.row(DELIVERY, "mosquitto's", *FAST, latency("mosquitto", 50))
        self.assertEqual(row, ["150", "mosquitto 50.0", "≤ 125", "**no**"])

    def test_better_of_two(self) -> None:
        """The bound comes from the better XMPP server."""
        row = self.row(DELIVERY, "XMPP server's", *FAST, *PEERS)
        self.assertEqual(row, ["150", "ejabberd 400; prosody 300", "≤ 180", "yes"])

    def test_one_of_two(self) -> None:
        """Which is the better one is not known of one alone."""
        row = self.row(DELIVERY, "XMPP server's", *FAST, latency("ejabberd", 400))
        self.assertEqual(row, ["150", "ejabberd 400; prosody not measured", "", "not measured"])

    def test_ahead(self) -> None:
        """To be ahead is more than to be as fast."""
        row = self.row("16 in flight", "mosquitto's", flood(OURS, "w16", 70_000), flood("mosquitto", "w16", 70_000))
        self.assertEqual(row[-1], "**no**")

    def test_beside_the_disk(self) -> None:
        """An acknowledgement is measured by the fsync of the same run."""
        row = self.row("at rest: acknowledgement", "", *FAST)
        self.assertEqual(row, ["700", "fsync 400", "≤ 1700", "yes"])

    def test_peers_not_measured(self) -> None:
        """Without peers the goals that are about them are not met, and the others are."""
        verdicts = [row[-1] for row in self.rows(*FAST)]
        self.assertEqual((verdicts.count("not measured"), verdicts.count("yes")), (5, len(GOALS) - 5))

    def test_we_are_not_measured(self) -> None:
        """Without us nothing is met."""
        self.assertEqual({row[-1] for row in self.rows(*PEERS)}, {"not measured"})

    def test_nothing(self) -> None:
        """A file without reports is a table without figures."""
        self.assertEqual({row[-1] for row in self.rows()}, {"not measured"})


class CountingTests(TableCase):
    """Which runs count."""

    def test_median(self) -> None:
        """A figure is the median of the runs, with the smallest and the largest."""
        row = self.row("1 in flight", "", *(flood(OURS, "w1", rate) for rate in (30_000, 17_000, 20_000)))
        self.assertEqual(row[0], "**20,000** (17,000\N{EN DASH}30,000)")
        self.assertIn("of 3 runs each", self.text)

    def test_not_verified(self) -> None:
        """A run whose checks failed does not count, and is told of."""
        bad = flood(OURS, "w1", 99_000, ok=False, lost=3)
        self.assertEqual(self.row("1 in flight", "", flood(OURS, "w1", 17_000), bad)[0], "17,000")
        self.assertIn("checks failed: simple_im w1: lost 3.", self.text)

    def test_none_verified(self) -> None:
        """A peer of which no run is sound is not measured."""
        bad = report("mosquitto", "latency", ok=False, error="no report")
        self.assertEqual(self.row(DELIVERY, "mosquitto's", *FAST, bad)[-1], "not measured")
        self.assertIn("mosquitto latency: no report.", self.text)

    def test_noisy(self) -> None:
        """A noisy run does not count where there is another."""
        runs = [flood(OURS, "w1", 9_000, noisy=True), flood(OURS, "w1", 19_000)]
        self.assertEqual(self.row("1 in flight", "", *runs)[::3], ["19,000", "yes"])
        self.assertIn("0.10 CPU: 1 of 2.", self.text)

    def test_only_noisy(self) -> None:
        """Where all are noisy they count, and the row says so."""
        self.assertEqual(self.row("1 in flight", "", flood(OURS, "w1", 19_000, noisy=True))[-1], "yes †")


class InstalledTests(SynchronousTestCase):
    """Who takes part."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.said: list[str] = []
        self.patch(program, "say", self.said.append)

    def install(self, *programs: str) -> None:
        for name in programs:
            (self.folder / name).touch(mode=0o755)

    def names(self, *only: str) -> list[str]:
        return [server.name for server in program.servers(only, self.folder, str(self.folder))]

    def test_none(self) -> None:
        """Without any peer we are alone, and each is told of."""
        self.assertEqual(self.names(), [OURS])
        self.assertEqual([line.split()[0] for line in self.said], ["ejabberd", "prosody", "mosquitto"])
        self.assertIn("prosody is left out, as prosody is not installed (apt-get install prosody)", self.said)

    def test_some(self) -> None:
        """Those that are there take part; one that is half there does not."""
        self.install("prosody", "mosquitto")
        self.assertEqual(self.names(), [OURS, "prosody"])
        self.assertEqual(missing("mosquitto", str(self.folder)), "mosquitto_passwd")

    def test_only(self) -> None:
        """`--only` names servers, workloads, or both."""
        self.install("prosody", "ejabberdctl")
        self.assertEqual(self.names("w16", "ejabberd"), ["ejabberd"])
        self.assertEqual(self.names("w16"), [OURS, "ejabberd", "prosody"])

    def test_cannot_build(self) -> None:
        """Where the generator can't be built, one sentence says what it needs."""
        self.patch(os, "environ", {**os.environ, "PATH": str(self.folder)})
        sentence = str(self.assertRaises(CannotBuild, build))
        self.assertRegex(sentence, r"^the load generator can't be built \(make: .*\): it needs gcc, make and ")
        self.assertNotIn("\n", sentence)

    def test_refuses(self) -> None:
        """Then the exit code is 1, and nothing has been measured."""
        self.patch(os, "environ", {**os.environ, "PATH": str(self.folder)})
        self.patch(sys, "argv", ["peers", "--out", str(self.folder / "out.jsonl")])
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(program.main(), 1)
        self.assertEqual(said.getvalue().count("\n"), 1)
        self.assertEqual(list(self.folder.iterdir()), [])


class Fake:
    """A server of which it is noted when it starts and stops."""

    def __init__(self, name: str, notes: list[str], fault: str = "") -> None:
        self.name = name
        self._notes = notes
        self._fault = fault

    def start(self) -> Target:
        self._notes.append(f"start {self.name}")
        if self._fault:
            raise ServerError(self._fault)
        return {}

    def stop(self) -> None:
        self._notes.append(f"stop {self.name}")


class TurnsTests(SynchronousTestCase):
    """Who is measured when."""

    def setUp(self) -> None:
        self.notes: list[str] = []
        self.out = io.StringIO()
        self.answers: list[Report] = []
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def measure(self, _target: Target, name: str, workload: str, _options: Sequence[str]) -> Report:
        self.notes.append(f"{workload} {name}")
        if not self.answers:
            return {"ok": True, "logins_per_s": 1, "server_cpu_share": 1, "gen_cpu_share": 1}
        answer = self.answers.pop(0)
        if "raises" in answer:
            raise RuntimeError(answer["raises"])
        return answer

    def take(self, *servers: Fake, workloads: Sequence[str] = ("w1", "idle"), repeats: int = 1) -> Turns:
        plan = Plan(workloads, repeats, patience=0, attempts=3, options=[])
        turns = Turns(plan, self.directory, self.out, self.measure, lambda _: True)
        with contextlib.redirect_stderr(io.StringIO()):
            turns.take(servers)
        return turns

    @property
    def reports(self) -> list[Report]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def test_one(self) -> None:
        """`idle` has a server of its own, as it is about memory."""
        self.take(Fake("a", self.notes))
        self.assertEqual(self.notes, ["start a", "w1 a", "stop a", "start a", "idle a", "stop a"])

    def test_rotation(self) -> None:
        """Each goes first in its turn."""
        self.take(*(Fake(name, self.notes) for name in "abc"), workloads=["w1"], repeats=3)
        order = "".join(note[-1] for note in self.notes if note.startswith("start"))
        self.assertEqual(order, "abc" + "bca" + "cab")

    def test_noisy(self) -> None:
        """A noisy run is repeated, and its report kept."""
        noisy = {"ok": True, "logins_per_s": 1, "server_cpu_share": 1, "gen_cpu_share": 1, "other_cpu_share": 0.5}
        self.answers = [noisy]
        self.take(Fake("a", self.notes), workloads=["w1"])
        self.assertEqual([(each["noisy"], each["attempt"]) for each in self.reports], [(True, 1), (False, 2)])

    def test_no_start(self) -> None:
        """One that does not start is stopped, told of, and the others have their turn."""
        turns = self.take(Fake("a", self.notes, "a does not start"), Fake("b", self.notes), workloads=["w1"])
        self.assertEqual(self.notes, ["start a", "stop a", "start b", "w1 b", "stop b"])
        self.assertEqual(turns.faults, ["a does not start"])

    def test_no_report(self) -> None:
        """A run that comes to no report is one whose checks failed."""
        self.answers = [{"raises": "no report"}]
        turns = self.take(Fake("a", self.notes), workloads=["w1", "w16"])
        self.assertEqual([each["ok"] for each in self.reports], [False, True])
        self.assertEqual(turns.faults, ["a run is not verified: a w1: no report"])

    def test_interrupted(self) -> None:
        """The server is stopped."""

        def interrupted(*_: object) -> Report:
            raise KeyboardInterrupt

        self.patch(self, "measure", interrupted)
        self.assertRaises(KeyboardInterrupt, self.take, Fake("a", self.notes))
        self.assertEqual(self.notes, ["start a", "stop a"])

    def test_fsync(self) -> None:
        """The disk alone is measured beside our latency, and nothing is left of it."""
        self.take(Fake(OURS, self.notes), Fake("b", self.notes), workloads=["latency"])
        ours, theirs = self.reports
        self.assertEqual(ours["fsync_us"]["n"], 200)
        self.assertNotIn("fsync_us", theirs)
        self.assertEqual(list(self.directory.iterdir()), [])


class LeftBehindTests(SynchronousTestCase):
    """What a script that was interrupted has left."""

    def test_marked(self) -> None:
        """Ended are the processes that have the mark, and no others."""
        environ = {**os.environ, "PEERS_TEST": "mine"}
        mine = subprocess.Popen(["sleep", "60"], env=environ)
        other = subprocess.Popen(["sleep", "60"], env={**environ, "PEERS_TEST": "mine too"})
        try:
            end_marked("PEERS_TEST=mine")
            self.assertEqual(mine.wait(10), -9)
            self.assertIsNone(other.poll())
        finally:
            for process in (mine, other):
                process.kill()
                process.wait()


class DiskTests(SynchronousTestCase):
    """Where fsync says something."""

    def test_in_memory(self) -> None:
        """A disk that is none is known for it."""
        self.assertTrue(disk.is_in_memory(Path("/dev/shm")))

    if not os.path.ismount("/dev/shm"):
        test_in_memory.skip = "there is no /dev/shm"  # type: ignore[attr-defined]


class FillingTests(SynchronousTestCase):
    """Users that are there before the node is."""

    def test_lasting(self) -> None:
        """Each device has a token, which lasts; the users come with the phones that were asked for."""
        state = Path(self.mktemp())
        made = fill(state, 3, ["laptop", "phone"])
        made += fill(state, 1, first=3)
        self.assertEqual([device.user for device in made], [1, 1, 2, 2, 3, 3, 4])
        with contextlib.closing(sqlite3.connect(state / "simple_im.db")) as connection:
            self.assertEqual(connection.execute("SELECT count(*), min(lasting) FROM token").fetchall(), [(7, 1)])
            self.assertEqual(connection.execute("SELECT count(*) FROM device").fetchall(), [(7,)])
            phones = [phone for (phone,) in connection.execute("SELECT phone FROM user ORDER BY id")]
        self.assertEqual(phones, ["15500000000", "15500000001", "15500000002", "15500000003"])

    def test_users_file(self) -> None:
        """The generator's lines; nobody else may read them."""
        path = Path(self.mktemp())
        write_users(path, [Device(7, "laptop", "secret")])
        self.assertEqual(path.read_text(), "7 secret laptop\n")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
