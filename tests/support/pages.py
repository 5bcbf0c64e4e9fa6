"""The pages that people read: README.md and docs/, with their blocks and tables."""

import re
from pathlib import Path
from typing import Dict, List, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PAGES: Dict[str, str] = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
"""Path to text."""
README = PAGES["README.md"]


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str


def blocks(page: str) -> List[Block]:
    """Return a page's fenced blocks."""
    found = re.findall(r"^```([a-z]*)\n(.*?)^```$", PAGES[page], re.M | re.S)
    return [Block(page, language, text) for language, text in found]


BLOCKS = [block for page in PAGES for block in blocks(page)]


def spans(page: str) -> List[str]:
    """Return what stands in backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", PAGES[page]))


def code(page: str) -> str:
    """Return what a page writes as code: its blocks, and what stands in backticks, a line each."""
    return "\n".join([*(block.text for block in blocks(page)), *spans(page)])


def tables(header: str) -> Dict[str, str]:
    """Return the rows of the tables with this header line: page to text."""
    found = {}
    for page, text in PAGES.items():
        rows = re.findall(rf"^{re.escape(header)}\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
        if rows:
            found[page] = "".join(rows)
    return found
