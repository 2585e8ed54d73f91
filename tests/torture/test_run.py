"""The crash test itself: a sound server passes a short one, and each that is sabotaged is found out."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.node import ROOT

RUNS = 4
SABOTAGED_RUNS = 10
"""A sabotaged server is given so many runs to be found out in; most are in the first."""
SUMMARY = re.compile(
    r"(\d+) runs: (\d+) kills, (\d+) acknowledged, (\d+) lost, (\d+) out of order, (\d+) doubled(, \d+ broken)?"
)


def torture(*options: str) -> tuple[int, str]:
    """The exit code and the output of `python -m benchmarks.torture`."""
    command = [sys.executable, "-m", "benchmarks.torture", *options]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environ, text=True, capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


def last_line(output: str) -> re.Match[str]:
    """The summary, taken apart."""
    found = SUMMARY.fullmatch(output.splitlines()[-1])
    if found is None:
        raise AssertionError(output)
    return found


class SoundServerTests(SynchronousTestCase):
    """The server as it is."""

    def test_short_run(self) -> None:
        """Killed, deprived of power, stopped, with a disk that fails: nothing acknowledged is lost, nothing is out
        of order, nothing doubled."""
        code, output = torture("--runs", str(RUNS), "--jobs", "2")
        runs, kills, acknowledged, lost, disordered, doubled, broken = last_line(output).groups()
        self.assertEqual((code, lost, disordered, doubled, broken), (0, "0", "0", "0", None), output)
        self.assertEqual(int(runs), RUNS)
        self.assertGreaterEqual(int(kills), RUNS * 4)
        self.assertGreater(int(acknowledged), 0)


class SabotagedServerTests(SynchronousTestCase):
    """A server that does one thing wrong."""

    def sabotage(self, name: str) -> tuple[int, int, int]:
        """Have a server found out; what of it was lost, out of order and doubled."""
        options = ("--runs", str(SABOTAGED_RUNS), "--jobs", "2", "--until-bad", "--sabotage", name)
        code, output = torture(*options)
        self.assertEqual(code, 1, output)
        lost, disordered, doubled = last_line(output).group(4, 5, 6)
        return int(lost), int(disordered), int(doubled)

    def test_acknowledge_before_commit(self) -> None:
        """Acknowledged before it is stored: something is lost."""
        self.assertGreater(self.sabotage("ack-before-commit")[0], 0)

    def test_reuse_seq(self) -> None:
        """Numbers that were shown are given again: a number stands for two messages."""
        self.assertGreater(self.sabotage("reuse-seq")[1], 0)

    def test_forget_cursor(self) -> None:
        """What devices have acknowledged is not stored: something comes again."""
        self.assertGreater(self.sabotage("forget-cursor")[2], 0)

    def test_forget_single(self) -> None:
        """What they acknowledged out of order is not: the same."""
        self.assertGreater(self.sabotage("forget-single")[2], 0)

    def test_forget_late(self) -> None:
        """It is stored with the next message only: the same."""
        self.assertGreater(self.sabotage("forget-late")[2], 0)

    def test_clean_too_much(self) -> None:
        """One device's acknowledgement takes what the others have not read: something is lost."""
        self.assertGreater(self.sabotage("clean-too-much")[0], 0)

    def test_take_too_much(self) -> None:
        """An acknowledgement by id takes what was before it: something is lost."""
        self.assertGreater(self.sabotage("take-too-much")[0], 0)
