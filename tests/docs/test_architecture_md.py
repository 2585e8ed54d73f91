"""docs/architecture.md: the modules and the names of classes and functions that it gives are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simple_im import limits
from tests.docs.markdown import ROOT, Document

PACKAGE = ROOT / "simple_im"


def modules() -> list[Path]:
    """The package's modules."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def defined(path: Path) -> Iterator[str]:
    """The names of a module's classes and functions, alone, with the module's name, and with the class's."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from (node.name, f"{path.stem}.{node.name}")
        if isinstance(node, ast.ClassDef):
            methods = (item for item in node.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)))
            yield from (f"{node.name}.{method.name}" for method in methods)


class NameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = Document("docs/architecture.md")
        self.quoted = re.findall(r"`([^`]+)`", self.document.text)

    def test_every_module(self) -> None:
        """The table of modules has every module, and no other."""
        rows = [name.strip("`") for name, *more in self.document.rows("The parts") if len(more) == 1]
        self.assertEqual(sorted(rows), sorted(str(path.relative_to(PACKAGE)) for path in modules()))

    def test_names(self) -> None:
        """What looks like a class, a method or a function of ours is one."""
        names = {name for path in modules() for name in defined(path)} | {"Protocol"}
        given = [name for name in self.quoted if re.fullmatch(r"[A-Z][A-Za-z]*[a-z][A-Za-z]*|\w+\.(?!py$)\w+", name)]
        self.assertGreater(len(given), 50)
        self.assertEqual([name for name in given if name not in names], [])

    def test_limits(self) -> None:
        """The limits that it names are limits."""
        given = [name for name in self.quoted if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", name)]
        self.assertEqual([name for name in given if not hasattr(limits, name)], [])

    def test_owners(self) -> None:
        """Every owner of a piece of state is a class or a module."""
        names = {name for path in modules() for name in defined(path)}
        for _state, owner, _bound, _lost in self.document.rows("State and its owners"):
            first = re.findall(r"`([^`]+)`", owner)[0]
            self.assertTrue(first in names or (PACKAGE / first).is_file(), owner)
