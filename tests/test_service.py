"""From options to a service."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from simple_im.config import Options
from simple_im.service import makeService


class MakeServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A server keeps its files to itself by the process's umask, which is the tests' too."""
        self.addCleanup(os.umask, os.umask(0o022))

    def test_plugin(self) -> None:
        """`twistd simple_im` is this module."""
        (maker,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "simple_im"]
        self.assertEqual((maker.makeService, maker.options), (makeService, Options))

    def test_wrong_start(self) -> None:
        """What keeps a server from starting ends the process with one sentence that begins with its name."""
        file = Path(self.mktemp())
        file.touch()
        options = Options()
        options.parseOptions(["--state", str(file / "state")])
        refusal = self.assertRaises(SystemExit, makeService, options)
        self.assertRegex(str(refusal), r"\Asimple_im: .*/state can't be written [^\n]*\Z")
