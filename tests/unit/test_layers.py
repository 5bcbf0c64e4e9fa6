"""Imports run downwards only: each part of the product knows only the parts below it."""

import ast
from pathlib import Path
from typing import Iterator, Tuple

import halfopen

PRODUCT = Path(halfopen.__file__).resolve().parent
LAYERS = (
    "errors", "deadline", "files", "model", "targets", "scan", "check", "formats", "replay",
    "runbook", "smoke", "cli", "main", "__main__",
)  # fmt: skip
"""From the bottom to the top: modules and folders of halfopen/."""


def imports() -> Iterator[Tuple[str, str]]:
    """Give each import from one part of the product to another."""
    for file in PRODUCT.rglob("*.py"):
        part = file.relative_to(PRODUCT).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in getattr(node, "names", ()) if isinstance(a, ast.alias)]
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name}: relative"
                names = [f"{node.module}.{name}" for name in names]
            yield from (
                (part, name.split(".")[1]) for name in names if name.startswith("halfopen.")
            )


def test_each_part_imports_only_parts_below_it() -> None:
    found = {(of, to) for of, to in imports() if to != "__version__"}

    assert len(found) > 30
    assert [
        f"{of} imports {to}"
        for of, to in sorted(found)
        if of != to and LAYERS.index(of) < LAYERS.index(to)
    ] == []


def test_every_part_has_its_layer() -> None:
    parts = {path.stem for path in PRODUCT.glob("*.py")}
    parts |= {path.parent.name for path in PRODUCT.glob("*/__init__.py")}

    assert parts - {"__init__"} == set(LAYERS)


def test_the_folders_have_no_code_of_their_own() -> None:
    assert [str(p) for p in PRODUCT.glob("*/__init__.py") if p.read_text().strip()] == []
