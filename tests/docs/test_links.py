"""README and docs lead where they say."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.markdown import ROOT, Document, documents

_FILE = re.compile(r"`((?:simple_im|tests|docs|twisted|changelog\.d|\.ci)/[\w./-]*)`")


class LinkTests(SynchronousTestCase):
    def test_links(self) -> None:
        """Every link within the project leads to a file, and to a heading in it where it names one."""
        for document in documents():
            for link in document.links():
                if "://" not in link:
                    self.check(document, link)

    def check(self, document: Document, link: str) -> None:
        path, _, anchor = link.partition("#")
        target = (ROOT / document.name).parent / path if path else ROOT / document.name
        self.assertTrue(target.is_file(), f"{document.name} links to {link}")
        if anchor:
            name = str(Path(target).resolve().relative_to(ROOT))
            self.assertIn(anchor, Document(name).anchors(), f"{document.name} links to {link}")

    def test_files(self) -> None:
        """Every file or directory of the project that is named is there."""
        for document in documents():
            for name in _FILE.findall(document.prose()):
                self.assertTrue((ROOT / name).exists(), f"{document.name} names {name}")

    def test_all_docs_are_linked(self) -> None:
        """README leads to every document."""
        links = Document("README.md").links()
        for document in documents()[1:]:
            self.assertIn(document.name, links)
