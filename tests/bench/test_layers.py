"""What a message costs by layer: what samples weigh and whose they are, and what is said where nothing is measured."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.layers import __main__ as program
from benchmarks.layers import recording, results, stacks, tables, windows
from benchmarks.layers.attribution import DATABASE, OTHERS, REACTOR, kinds, without_rest
from benchmarks.layers.mapping import (
    COMMIT,
    FRAMING,
    HANDING_OVER,
    LAYERS,
    OTHER,
    ROWS,
    RULES,
    STATEMENTS,
    TCP_IN,
    TLS_IN,
    TLS_OUT,
    Mapping,
)
from benchmarks.layers.mapping import REACTOR as REACTOR_LAYER
from benchmarks.layers.recording import Recording, Seen, thread_times
from benchmarks.layers.results import Result
from benchmarks.layers.trouble import CannotMeasure
from benchmarks.layers.windows import Window
from benchmarks.node import ROOT

MAIN, POOL, POLL = 10, 12, "EPollReactor.doPoll (twisted/internet/epollreactor.py:227)"
LOOP = "thread (10): MainThread;run (twisted/scripts/twistd.py:30);ReactorBase.mainLoop (twisted/internet/base.py:696)"
READ = f"{LOOP};Connection.doRead (twisted/internet/tcp.py:278)"
TLS = f"{READ};SecureProtocol.dataReceived (simple_im/secure.py:55)"
FRAMES = f"{TLS};ImProtocol.dataReceived (simple_im/im/protocol.py:62);Framer.feed (simple_im/wire/framing.py:42)"
THREAD = "thread (12): PoolThread-1;Thread.run (threading.py:982);ThreadPool.inContext (twisted/python/threadpool.py:9)"
WRITE = f"{THREAD};Database._write (simple_im/store/database.py:2)"
SOME = f"{WRITE};write_batch (simple_im/store/inbox_sql.py:62);Cursor._some (simple_im/store/database.py:%d)"
DATABASE_SOURCE = """\
        rows
        result = ask()
        connection.execute("COMMIT")
        values = list(rows)
        self._cursor.execute(sql, [value for value in values])
"""


class LayersCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = Path(self.mktemp())
        (self.source / "simple_im" / "store").mkdir(parents=True)
        (self.source / "simple_im" / "store" / "database.py").write_text(DATABASE_SOURCE)
        self.known = Mapping(self.source)

    def layer(self, stack: str) -> str:
        (found,) = stacks.read([f"{stack} 1"])
        return self.known.layer(reversed(found.frames))[0]


class MappingTests(LayersCase):
    """Which layer a stack belongs to."""

    def test_innermost(self) -> None:
        """It is that of the innermost call."""
        found = [self.layer(stack) for stack in (LOOP, READ, TLS, FRAMES)]
        self.assertEqual(found, [REACTOR_LAYER, TCP_IN, TLS_IN, FRAMING])

    def test_library(self) -> None:
        """What Python's own library does is done for its caller."""
        self.assertEqual(self.layer(f"{FRAMES};loads (json/__init__.py:3);decode (json/decoder.py:2)"), FRAMING)

    def test_directions(self) -> None:
        """Both kinds of TLS that there have been, in both directions."""
        calls = {
            "SSLObject.read (ssl.py:921)": TLS_IN,
            "SSLObject.write (ssl.py:930)": TLS_OUT,
            "Connection.recv (OpenSSL/SSL.py:2360);Connection._raise_ssl_error (OpenSSL/SSL.py:2000)": TLS_IN,
            "Connection.send (OpenSSL/SSL.py:2300)": TLS_OUT,
            "TLSMemoryBIOProtocol._flushReceiveBIO (twisted/protocols/tls.py:300)": TLS_IN,
            "TLSMemoryBIOProtocol._write (twisted/protocols/tls.py:400)": TLS_OUT,
        }
        self.assertEqual({call: self.layer(f"{READ};{call}") for call in calls}, calls)

    def test_database_by_line(self) -> None:
        """A commit, a statement, and what is made ready for one are told from each other by the line."""
        self.assertEqual(self.layer(f"{THREAD};Database._write (simple_im/store/database.py:3)"), COMMIT)
        self.assertEqual(self.layer(SOME % 5), STATEMENTS)
        self.assertEqual(self.layer(SOME % 4), ROWS)

    def test_comprehension(self) -> None:
        """A comprehension belongs to its function, also where it stands on a statement's line."""
        self.assertEqual(
            self.layer(f"{SOME % 5};Cursor._some.<locals>.<listcomp> (simple_im/store/database.py:5)"), ROWS
        )

    def test_unknown(self) -> None:
        """A module of the server that no rule knows is not taken for its caller's work."""
        (found,) = stacks.read([f"{TLS};Thing.work (simple_im/novelty.py:7);dumps (json/__init__.py:1) 1"])
        layer, frame = self.known.layer(reversed(found.frames))
        self.assertEqual((layer, frame and frame.place), (OTHER, "Thing.work (simple_im/novelty.py)"))

    def test_rules_have_layers(self) -> None:
        """Each layer that a rule names has its row, and each row but the last its rule."""
        self.assertEqual({rule.layer for rule in RULES} - {""}, LAYERS.keys() - {OTHER})

    def test_this_version(self) -> None:
        """The line of a commit is found in this version."""
        text = (ROOT / "simple_im" / "store" / "database.py").read_text()
        self.assertTrue(any('"COMMIT"' in line for line in text.splitlines()))


class StacksTests(SynchronousTestCase):
    """What the sampler wrote."""

    def test_read(self) -> None:
        """Threads, frames and counts; a frame may have no line, and a name blanks."""
        (found,) = stacks.read(["thread (7): A thread;run (a b.py:3);<frozen thing>;f (c.py) 42\n", "\n"])
        self.assertEqual((found.thread, found.count), (7, 42))
        self.assertEqual(list(found.frames), [("run", "a b.py", 3), ("<frozen thing>", "", 0), ("f", "c.py", 0)])

    def test_no_threads(self) -> None:
        """Samples without threads are not taken for others."""
        with self.assertRaises(ValueError):
            stacks.read(["run (a.py:3) 1"])

    def test_kinds(self) -> None:
        """The database's thread is known by what it did at some time."""
        found = stacks.read([f"{LOOP} 1", f"{THREAD} 9", f"{WRITE} 1", "thread (13): P;f (a.py:1) 1"])
        self.assertEqual(kinds(found, MAIN), {MAIN: REACTOR, POOL: DATABASE, 13: OTHERS})

    def test_rest(self) -> None:
        """A thread that waits for work has nothing to do."""
        found = stacks.read([f"{LOOP};{POLL} 5", f"{THREAD};Condition.wait (threading.py:327) 5", f"{READ} 1"])
        self.assertEqual([stack.count for stack in without_rest(found)], [1])


def report(messages: float, **more: Any) -> dict[str, Any]:
    """As the generator writes it."""
    return {"msg_per_s": messages, "msg_per_cpu_s": 50_000, "other_cpu_share": 0.25, "steal_share": 0, **more}


class WindowTests(LayersCase):
    """What the samples weigh."""

    def judged(self) -> Window:
        """Two runs: the reactor's thread used three quarters of the CPU, 20 µs a message in all."""
        running = [f"{TLS} 6", f"{FRAMES} 2", f"{SOME % 5} 3", f"{WRITE.replace(':2', ':3')} 1", f"{LOOP};{POLL} 2"]
        everything = [f"{TLS} 6", f"{FRAMES} 3", f"{SOME % 5} 3", f"{WRITE.replace(':2', ':3')} 2", f"{LOOP};{POLL} 99"]
        first, second = (Seen(stacks.read(each), 10) for each in (running, everything))
        sampled = Recording(report(1000), first, second, {MAIN: 3.0, POOL: 1.0})
        return windows.judge(report(2000), sampled, self.known, MAIN)

    def test_cpu(self) -> None:
        """The threads share the whole as the system counts it, their layers as they were seen."""
        found = self.judged()
        self.assertEqual(found.cpu[REACTOR], {TLS_IN: 9.0, FRAMING: 3.0, REACTOR_LAYER: 3.0})
        self.assertEqual(found.cpu[DATABASE], {STATEMENTS: 3.75, COMMIT: 1.25})
        self.assertEqual((found.cost, found.messages, found.disturbance), (20, 2000, 0.25))

    def test_waiting(self) -> None:
        """What was seen only with sleeping threads is waiting, in time of the clock; rest is none."""
        sample = 1e6 / 10 / 1000
        found = self.judged().waiting
        self.assertEqual(found[REACTOR], {TLS_IN: 0.0, FRAMING: sample})
        self.assertEqual(found[DATABASE], {STATEMENTS: 0.0, COMMIT: sample})

    def test_functions(self) -> None:
        """By themselves and with what they call, the most first; a function counts once a stack."""
        found = self.judged()
        self.assertEqual(next(iter(found.by_self.items())), ("SecureProtocol.dataReceived (simple_im/secure.py)", 9.0))
        self.assertEqual(found.inclusive["ReactorBase.mainLoop (twisted/internet/base.py)"], 15.0)
        self.assertEqual(found.unknown, {})

    def test_kept(self) -> None:
        """What was written is read again, and the text has the table."""
        path = Path(self.mktemp()) / "layers.txt"
        result = Result("abc", {"cpu": "x"}, 10, {16: self.judged()})
        results.write(result, path)
        self.assertEqual(results.read(path.with_suffix(".json")), result)
        self.assertIn(tables.cost(result.windows), path.read_text())


def window(messages: float, tls_in: float, statements: float = 0.0) -> Window:
    """A window with figures in two layers."""
    cpu = {REACTOR: {TLS_IN: tls_in}, DATABASE: {STATEMENTS: statements}, OTHERS: {}}
    waits = {REACTOR: {TLS_IN: 1.5}, DATABASE: {HANDING_OVER: -0.25}, OTHERS: {}}
    return Window(messages, tls_in + statements, messages, 0.0, cpu, waits, {}, {}, {})


class TableTests(SynchronousTestCase):
    """What is printed."""

    def test_cost(self) -> None:
        """A thread's layers stand under it; what has no figure is left out."""
        lines = tables.cost({1: window(5000, 4, 2), 64: window(800, 3, 1)}).splitlines()
        expected = [
            "| CPU, µs a message | W=1 | W=64 |",
            "| --- | --: | --: |",
            "| **the reactor's thread** | **4.00** | **3.00** |",
            "| TLS in | 4.00 | 3.00 |",
            "| **the database's thread** | **2.00** | **1.00** |",
            "| statements | 2.00 | 1.00 |",
            "| **together** | **6.00** | **4.00** |",
            "| messages a second | 5,000 | 800.0 |",
        ]
        self.assertEqual(lines, expected)

    def test_change(self) -> None:
        """Before and after, of the windows that both have."""
        lines = tables.change({1: window(1, 9), 16: window(1000, 20)}, {16: window(2000, 10, 1)}).splitlines()
        self.assertEqual(lines[0], "| CPU, µs a message | W=16 |")
        self.assertIn("| TLS in | 20.0 → 10.0 |", lines)
        self.assertIn("| statements | 0.00 → 1.00 |", lines)
        self.assertIn("| messages a second | 1,000 → 2,000 |", lines)
        self.assertIn("| waiting, the database's thread | -0.25 → -0.25 |", lines)

    def test_nothing_in_common(self) -> None:
        """There is no table of different windows."""
        with self.assertRaisesRegex(ValueError, "no window in common"):
            tables.change({1: window(1, 9)}, {16: window(1, 9)})


class ProgramTests(SynchronousTestCase):
    """What can't be done is said in a sentence."""

    def said(self, *arguments: str) -> str:
        """What the program says as it refuses."""
        self.patch(sys, "argv", ["layers", *arguments])
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(program.main(), 1)
        return said.getvalue()

    def test_no_sampler(self) -> None:
        """Where py-spy is not installed, how to get it."""
        self.patch(sys, "executable", "/nowhere/python")
        self.patch(os, "environ", {**os.environ, "PATH": "/nowhere"})
        self.assertEqual(self.said(), "layers: py-spy is not installed: /nowhere/python -m pip install py-spy\n")

    def test_no_generator(self) -> None:
        """Where the generator can't be built, what it needs."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "py-spy").write_text("")
        (folder / "py-spy").chmod(0o700)
        self.patch(os, "environ", {**os.environ, "PATH": str(folder.absolute())})
        self.assertIn("needs gcc, make and libssl-dev", self.said())

    def test_no_checkout(self) -> None:
        """A directory that has no simple_im in it."""
        self.assertEqual(self.said("--source", "/nowhere"), "layers: /nowhere is no checkout of simple_im\n")

    def test_no_results(self) -> None:
        """Files that are not there, or are something else."""
        self.assertIn("can't be read", self.said("table", "/nowhere.json", "/nowhere.json"))
        path = Path(self.mktemp())
        path.write_text("[]")
        self.assertIn("can't be compared", self.said("table", str(path), str(path)))


class SamplerTests(SynchronousTestCase):
    """A sampler that does not do its work."""

    def sample(self, script: str) -> None:
        """Have this shell script sample for a second."""
        path = Path(self.mktemp())
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        self.patch(recording, "sampler", lambda: str(path.absolute()))
        recording._sample(os.getpid(), 1, idle=False)

    def test_fails(self) -> None:
        """What it says is told."""
        with self.assertRaisesRegex(CannotMeasure, r"exit code 3\):\nPermission denied"):
            self.sample("echo Permission denied; exit 3")

    def test_hangs(self) -> None:
        """It is ended when its time is over."""
        path = Path(self.mktemp()).absolute()
        self.patch(recording, "_PATIENCE", 0.0)
        with self.assertRaisesRegex(CannotMeasure, "did not end within 1 s"):
            self.sample(f"echo $$ > {path}; exec sleep 60")
        self.assertRaises(ProcessLookupError, os.kill, int(path.read_text()), 0)


class ThreadTimesTests(SynchronousTestCase):
    """The CPU time of threads."""

    def test_own(self) -> None:
        """This one has used some."""
        self.assertGreater(thread_times(os.getpid())[os.getpid()], 0.0)
