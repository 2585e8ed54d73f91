"""CPU time and memory of processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load.processes import MachineUse, ServerUse, rss_kb

BUSY = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def work(seconds: float) -> None:
    """Use the CPU for so long."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class UseTests(SynchronousTestCase):
    """Who has used how much."""

    def test_server(self) -> None:
        """What a process uses is the server's where it is the server."""
        before = ServerUse.now(os.getpid())
        work(0.2)
        used = before.until(ServerUse.now(os.getpid()))
        self.assertGreater(used["server_cpu_s"], 0.1)
        self.assertGreater(used["driver_cpu_share"], 0)

    def test_own_are_no_others(self) -> None:
        """What this process and a child that has ended have used is not what others use."""
        before, begin = MachineUse.now(), time.perf_counter()
        work(0.3)
        subprocess.run([sys.executable, "-c", BUSY], check=True)
        after = MachineUse.now()
        machine, mine = os.cpu_count() or 1, 0.5 / (time.perf_counter() - begin)
        self.assertLessEqual(before.until(after), machine - mine + 0.2)

    def test_memory(self) -> None:
        """A process has some."""
        self.assertGreater(rss_kb(os.getpid()), 1_000)
