"""The pages that people read: README.md and docs/, with their blocks and tables."""

import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

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


# -- calls of ours --

SEPARATORS = "[\\s\"'`,\\[\\]]"
"""What stands between words, in shells, and in the lists of JSON, YAML and HCL."""
CALL = re.compile(
    rf"(?:^|(?<=[\s\"'`,\[=(]))(?:[^\s\"'`,\[=(]*/)?"
    rf"(?:(?P<plugin>check_tcp_half_open)|halfopen(?={SEPARATORS}+[a-z]))(?={SEPARATORS}|$)"
)
COMMANDS = ("check", "formats", "replay", "smoke", "wait", "watch")
OPTION = re.compile(r"--?[A-Za-z0-9][A-Za-z0-9-]*")


class Call(NamedTuple):
    """A call of ours: the command that `--help` belongs to, and the words after it."""

    command: Tuple[str, ...]
    words: Tuple[str, ...]

    def options(self) -> List[str]:
        """Return the names of its options."""
        found = (OPTION.match(word) for word in self.words)
        return [match.group() for match in found if match]

    def value(self, option: str) -> List[str]:
        """Return what the option is given, if it is there."""
        following = zip(self.words, self.words[1:])
        given = [value for word, value in following if word == option]
        start = option + "="
        return given + [word[len(start) :] for word in self.words if word.startswith(start)]


def calls(text: str) -> Iterator[Call]:
    """Return the calls of both commands, also those in comments."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        for match in CALL.finditer(line):
            words = _words(line[: match.start()][-1:], line[match.end() :])
            if match.group("plugin"):
                yield Call(("check_tcp_half_open",), words)
            elif words and words[0] in COMMANDS:
                yield Call(("halfopen", words[0]), words[1:])


def _words(before: str, rest: str) -> Tuple[str, ...]:
    """Return the words of a call, from what follows its name and the character before it."""
    if before in ("'", '"') and not rest.startswith(before):
        rest = rest.split(before, maxsplit=1)[0]  # the quotes go round the whole call
    rest = re.split("[|;&<>()`]", rest, maxsplit=1)[0]  # a shell, or a comment, has done with it
    return tuple(word for word in re.split(SEPARATORS + "+", rest) if word)
