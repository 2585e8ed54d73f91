"""Those who make the load."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.filling import Device
from benchmarks.load.drivers import Driver, Generator, PythonDriver, choose
from benchmarks.load.floor import relaying
from benchmarks.load.traffic import Target
from benchmarks.load.trouble import BenchError, Unsound

DEVICES = [Device(user, "bench", "none") for user in range(1, 9)]
REPORT = {
    "ok": True,
    "msg_per_s": 5.0,
    "msg_per_cpu_s": 50.0,
    "lat_us": {"n": 1, "p50": 7.0},
    "ack_us": {"n": 1, "p50": 9.0},
    "server_cpu_s": 0.1,
    "server_cpu_share": 0.2,
    "gen_cpu_share": 0.3,
}


class PythonTests(SynchronousTestCase):
    """Python, against relays."""

    def flood(self, module: str) -> dict[str, float]:
        """What it says of a relay."""
        directory = Path(self.mktemp())
        with relaying(directory, module) as (port, pid):
            return PythonDriver().flood(Target(port, pid, DEVICES, directory), 8, 100, 0.1, 0.3)

    def test_sound(self) -> None:
        """A relay that does its work is measured."""
        found = self.flood("benchmarks.load.floor")
        self.assertGreater(found["messages_per_s"], 0)
        self.assertLessEqual(found["delivery_p50_us"], found["delivery_p99_us"])

    def test_planted_loss(self) -> None:
        """One that loses messages is found out."""
        error = self.assertRaises(Unsound, self.flood, "tests.bench.losing")
        self.assertRegex(str(error), r"^\d+ lost")


class GeneratorTests(SynchronousTestCase):
    """The generator, here a program that only prints a report."""

    def generator(self, report: dict[str, object], code: int) -> Generator:
        """One that gives this report."""
        path = Path(self.mktemp())
        path.write_text(f"#!{sys.executable}\nimport sys\nprint({json.dumps(report)!r})\nsys.exit({code})\n")
        path.chmod(0o700)
        return Generator(path.absolute())

    def flood(self, generator: Driver) -> dict[str, float]:
        """Its metrics."""
        return generator.flood(Target(1, 1, DEVICES, Path("users")), 1, 32, 0, 0)

    def test_report(self) -> None:
        """Its names become ours."""
        found = self.flood(self.generator(REPORT, 0))
        self.assertEqual(found["messages_per_s"], 5)
        self.assertEqual((found["delivery_p50_us"], found["ack_p50_us"]), (7, 9))
        self.assertEqual(found["driver_cpu_share"], 0.3)

    def test_not_verified(self) -> None:
        """A report whose checks failed is no measurement."""
        broken = {**REPORT, "ok": False, "lost": 3}
        error = self.assertRaises(Unsound, self.flood, self.generator(broken, 2))
        self.assertIn("3 lost", str(error))

    def test_broken(self) -> None:
        """A generator that fails says why."""
        self.assertRaises(BenchError, self.flood, self.generator(REPORT, 1))


class ChoiceTests(SynchronousTestCase):
    """Which one it is."""

    def test_no_generator(self) -> None:
        """Without a generator that can be built `c` is an error, and `auto` is Python."""
        missing = Path(self.mktemp()) / "imbench"
        self.assertRaises(BenchError, choose, "c", missing)
        self.assertEqual(choose("auto", missing).name, "python")
        self.assertEqual(choose("python").name, "python")
