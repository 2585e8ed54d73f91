"""docs/reliability.md against the crash test that it describes."""

from __future__ import annotations

import inspect
import re

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.torture.server import SABOTAGES
from benchmarks.torture.storm import Storm
from tests.docs.markdown import Document
from tests.torture.test_run import SUMMARY


class ReliabilityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = Document("docs/reliability.md")

    def first_cells(self, *header: str) -> set[str]:
        """The names in the first column of the table with this header."""
        head = "| " + " | ".join(header) + " |\n"
        rows = self.document.text.split(head, 1)[1].split("\n\n", 1)[0].splitlines()[1:]
        return {re.split(r"[`|]", row)[2] for row in rows}

    def test_faults(self) -> None:
        """The faults of the table are those that there are."""
        made = set(re.findall(r'_fault\("(\w+)"\)', inspect.getsource(Storm)))
        self.assertEqual(self.first_cells("fault", "is"), made)

    def test_sabotages(self) -> None:
        """So are the things that a server can be made to do wrong."""
        cells = self.first_cells("`make torture SABOTAGE=…`", "the server", "is found to have")
        self.assertEqual(cells, set(SABOTAGES))

    def test_summaries(self) -> None:
        """Every last line that is shown is one as they are printed, and good."""
        shown = SUMMARY.findall(self.document.text)
        self.assertGreaterEqual(len(shown), 2)
        for summary in shown:
            self.assertEqual(summary[3:], ("0", "0", "0", ""))
