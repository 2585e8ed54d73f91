"""README.md: its walk-through, typed into real terminals, and what it says about options and files."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simple_im.config import SETTINGS, file_values
from tests.docs.markdown import ROOT, Block, Document
from tests.docs.terminal import Terminal
from tests.docs.transcript import Transcript
from tests.integration.node import new_node

WALK_THROUGH = "A first conversation"


class WalkThroughTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = new_node()
        self.addCleanup(self.node.clean_up)
        self.transcript = Transcript()
        self.transcript.bind("8080", str(self.node.http_port))
        self.transcript.bind("1987", str(self.node.im_port))
        self.terminals: dict[str, Terminal] = {}
        self.said: dict[str, str] = {}

    def test_walk_through(self) -> None:
        """Each command of the walk-through works as printed, and is answered as shown."""
        blocks = [block for block in Document("README.md").blocks() if block.section == WALK_THROUGH]
        self.assertGreater(len(blocks), 10)
        for block in blocks:
            self.play(block)
        self.assertEqual("".join(self.said.values()).strip(), "")

    def play(self, block: Block) -> None:
        match = re.fullmatch(r"terminal (\w+)( shows| types|: Ctrl-C)?", block.note)
        assert match is not None, f"{block.place}: nothing says what to do with this block"
        terminal = self.terminal(match[1])
        if match[2] is None:
            self.enter(match[1], terminal, block)
        elif match[2] == " shows":
            self.transcript.check(block.text, self.next_from(match[1], terminal, block), block.place)
        elif match[2] == " types":
            terminal.type(self.transcript.spoken(block.text))
        else:
            self.assertEqual(terminal.interrupt().strip(), "", block.place)

    def terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            self.terminals[name] = Terminal(self.node.directory)
            self.addCleanup(self.terminals[name].close)
            self.said[name] = ""
        return self.terminals[name]

    def enter(self, name: str, terminal: Terminal, block: Block) -> None:
        """Commands that end are waited for; `s_client` runs until Ctrl-C."""
        self.assertEqual(self.said[name].strip(), "", f"before {block.place}")
        commands = self.transcript.spoken(block.text)
        if "s_client" in commands:
            terminal.type(commands)
        else:
            self.said[name] = terminal.run(commands)

    def next_from(self, name: str, terminal: Terminal, block: Block) -> str:
        said, self.said[name] = self.said[name], ""
        return said or terminal.read_lines(sum(bool(line.strip()) for line in block.text.splitlines()))


class OptionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.readme = Document("README.md")

    def test_table(self) -> None:
        """The table has every option with its default, in the order of the help."""
        rows = [(name.split()[0].strip("`-"), default.strip("`")) for name, default, _ in self.readme.rows("Options")]
        self.assertEqual([name for name, _ in rows], [*(setting.name for setting in SETTINGS), "config"])
        for setting, (name, default) in zip(SETTINGS, rows, strict=False):
            if setting.default:
                self.assertEqual(default, str(setting.default), name)

    def test_configuration_file(self) -> None:
        """The example of a configuration file is one."""
        (block,) = [block for block in self.readme.blocks() if block.note == "configuration file"]
        path = Path(self.mktemp())
        path.write_text(block.text)
        given = file_values(str(path))
        self.assertEqual(len(given), len(block.text.splitlines()))
        for setting in SETTINGS:
            if setting.name in given:
                setting.check(given[setting.name])


class CommandTests(SynchronousTestCase):
    def test_make(self) -> None:
        """The targets that README names are in the Makefile."""
        makefile = (ROOT / "Makefile").read_text()
        for target in re.findall(r"(?m)(?:`|^    )make (\w+)", Document("README.md").text):
            self.assertRegex(makefile, rf"(?m)^{target}:")

    def test_stopping(self) -> None:
        """A server that is asked to stop by SIGTERM has stopped with exit code 0."""
        node = new_node("--interface", "127.0.0.1")
        self.addCleanup(node.clean_up)
        self.assertEqual(node.stop(), 0)
