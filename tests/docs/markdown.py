"""Markdown as the tests read it: fenced blocks with the comment above them, tables, links, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

_PIECE: Final = re.compile(
    r"^<!--\s*(?P<note>.*?)\s*-->\s*?$"
    r"|^(?P<heading>#+ [^\n]*)$"
    r"|^```(?P<language>\w*)\n(?P<text>.*?)^```$"
    r"|^(?P<other>[^\n]*\S[^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, or a comment without one: then `language` and `text` are empty."""

    place: str
    section: str
    note: str
    language: str
    text: str


class Document:
    """One file of README and docs, by its path below the checkout's root."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (ROOT / name).read_text("utf-8")

    def blocks(self) -> Iterator[Block]:
        """The fenced blocks and the comments without one, in order. A comment belongs to the block right below it."""
        note, section, place = "", "", ""
        for match in _PIECE.finditer(self.text):
            if match["language"] is None and note:
                yield Block(place, section, note, "", "")
                note = ""
            line = self.text.count("\n", 0, match.start()) + 1
            if match["language"] is not None:
                place = place if note else f"{self.name}:{line}"
                yield Block(place, section, note, match["language"], match["text"])
                note = ""
            elif match["note"] is not None:
                note, place = " ".join(match["note"].split()), f"{self.name}:{line}"
            elif match["heading"] is not None:
                section = match["heading"].lstrip("# ")

    def rows(self, section: str) -> list[list[str]]:
        """The cells of the tables' rows in `section`, without the rows of headings."""
        lines = self.section(section).splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        heads = [number - 1 for number, row in enumerate(cells) if set("".join(row)) <= set("-: ")]
        return [row for number, row in enumerate(cells) if number not in heads and number - 1 not in heads]

    def section(self, title: str) -> str:
        """The text below the heading `title`, up to the next heading of its level or above."""
        match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", self.text, re.MULTILINE | re.DOTALL)
        if match is None:
            raise AssertionError(f"{self.name} has no section {title!r}")
        return match[2]

    def prose(self) -> str:
        """The text without its fenced blocks and comments."""
        return re.sub(r"^```.*?^```$|<!--.*?-->", "", self.text, flags=re.MULTILINE | re.DOTALL)

    def links(self) -> list[str]:
        """Where its links lead."""
        return _LINK.findall(self.prose())

    def anchors(self) -> set[str]:
        """What a link may have after `#`: the headings, as GitHub names them."""
        headings = re.findall(r"^#+ (.*)$", self.prose(), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def documents() -> list[Document]:
    """README and all of docs."""
    return [Document("README.md"), *(Document(f"docs/{path.name}") for path in sorted((ROOT / "docs").glob("*.md")))]
