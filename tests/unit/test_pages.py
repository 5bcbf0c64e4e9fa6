"""README.md and docs/ say what is so: messages, options, configurations, commands, translations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.pages import BLOCKS, EXAMPLES, PAGES, README, ROOT, Block, blocks, code, spans, tables

from halfopen.cli.options import COMMANDS
from halfopen.scan.diagnosis import SEE_README

MESSAGES = tables("| the line says | what to do |")
EXAMPLE_FILES = {
    path: path.read_text(encoding="utf-8") for path in EXAMPLES.rglob("*") if path.is_file()
}
NO_CONFIGURATION = ("console", "sh", "text")
"""Languages of blocks: run (tests/real/test_pages.py), parsed (test_examples.py), or drawn."""


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", MESSAGES)
def test_every_message_of_a_table_is_the_products(page: str) -> None:
    messages = re.findall(r"^\| `([^`(]+)", MESSAGES[page], re.M)
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "halfopen").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)
    for field, value in {"{name}": "nmap", "{protocol}": "ARP", "{here}": "CAP_NET_RAW"}.items():
        joined = joined.replace(field, value)

    assert len(messages) >= 5
    assert [message for message in messages if message.strip() not in joined] == []


def test_every_message_of_the_readme_is_in_the_table_of_all() -> None:
    assert list(MESSAGES) == ["README.md", "docs/operators/troubleshooting.md"]
    short, full = (set(re.findall(r"^\| `([^`]+)", rows, re.M)) for rows in MESSAGES.values())

    assert len(short) == 5
    assert short <= full


def test_the_section_that_messages_name_is_in_the_readme() -> None:
    (section,) = re.findall(r'"(.+)" in the README', SEE_README)

    assert f"\n## {section}\n" in README


@pytest.mark.parametrize(
    ("commands", "header", "page"),
    [
        (("check",), "| option of both commands | |", "docs/operators/commands.md"),
        (("wait", "watch"), "| option | |", "docs/operators/runbooks.md"),
    ],
)
def test_every_option_of_a_table_is_one(commands: tuple[str, ...], header: str, page: str) -> None:
    first_column = "\n".join(re.findall(r"^\|[^|]*\|", tables(header)[page], re.M))
    told = re.findall(r"`(--?[A-Za-z0-9-]+)", first_column)
    known = {n for name in commands for each in COMMANDS[name].options for n in each.names}

    assert len(told) > 9
    assert set(told) - known == set()


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language not in NO_CONFIGURATION],
    ids=lambda block: f"{block.page}-{block.language}",
)
def test_a_configuration_is_a_part_of_an_example(block: Block) -> None:
    # The tests of tests/hosts start the real monitors from these files.
    assert any(f"\n{block.text}" in f"\n{text}" for text in EXAMPLE_FILES.values())


@pytest.mark.parametrize("folder", sorted(path.name for path in EXAMPLES.iterdir()))
def test_every_example_is_linked_from_a_page(folder: str) -> None:
    assert any(re.search(rf"\]\([./]*/examples/{folder}[/)]", text) for text in PAGES.values())


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_every_page_is_linked_from_the_list_of_all(page: str) -> None:
    index = "docs/index.md"

    assert page == index or f"]({page[len('docs/') :]})" in PAGES[index]


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "docs/pictures").iterdir()), ids=lambda p: p.name
)
def test_a_picture_is_on_a_page_and_takes_nothing_from_the_web(picture: Path) -> None:
    loaded = re.findall(r"(?:url\(|src=|href=)\W*(\w+:)?", picture.read_text(encoding="utf-8"))

    assert any(f"pictures/{picture.name}" in text for text in PAGES.values())
    assert set(loaded) == {""}


def test_every_target_of_make_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    # The lines in the table of faults are the product's: "make it executable".
    pages = [page for page in PAGES if page != "docs/operators/faults.md"]
    named = {name for page in pages for name in re.findall(r"\bmake ([a-z-]+)", code(page))}
    for path in (ROOT / "CONTRIBUTING.md", *ROOT.glob(".github/workflows/*.yml")):
        text = path.read_text(encoding="utf-8")
        named.update(re.findall(r"(?m)(?:`|run: |^)make ([a-z-]+)", text))

    assert {"dist", "release-check"} <= named
    assert [name for name in named if f"\n{name}: " not in makefile] == []


def test_the_japanese_page_has_the_commands_of_the_english_one() -> None:
    english, japanese = (f"docs/load-balancers/farmguardian{part}.md" for part in ("", ".ja"))

    def commands(page: str) -> list[str]:
        return [re.sub(r" #.*", "", block.text) for block in blocks(page)]

    assert commands(english) == commands(japanese)
    assert set(spans(english)) == set(spans(japanese))
