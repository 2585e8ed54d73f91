"""docs/dependencies.md against setup.cfg."""

from __future__ import annotations

import configparser
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.markdown import ROOT, Document


def required(setup: configparser.ConfigParser, section: str, option: str) -> set[str]:
    """The packages that an option of setup.cfg names."""
    return {re.split(r"[^\w-]", line)[0] for line in setup[section][option].split("\n") if line}


class DependencyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = Document("docs/dependencies.md")
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        self.required = {
            "To run": required(setup, "options", "install_requires"),
            "To test": required(setup, "options.extras_require", "test")
            | required(setup, "options.extras_require", "compiler"),
            "To measure": required(setup, "options.extras_require", "bench"),
            "To develop": required(setup, "options.extras_require", "dev"),
        }

    def test_all_named(self) -> None:
        """Every package that setup.cfg asks for is named."""
        for packages in self.required.values():
            for package in packages:
                self.assertIn(f"`{package}`", self.document.text)

    def test_no_others(self) -> None:
        """A package in a table is one that setup.cfg asks for, for that purpose."""
        for section, packages in self.required.items():
            rows = {name.strip("`") for name, _, _ in self.document.rows(section)}
            self.assertEqual(rows - packages, set(), section)
