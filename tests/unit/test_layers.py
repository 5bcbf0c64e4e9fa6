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


def layer_of(module: str) -> str:
    """Return the part of the product that a module belongs to; "" for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports() -> Iterator[Tuple[str, str]]:
    """Give each import from one part of the product to another."""
    for file in PRODUCT.rglob("*.py"):
        inside = file.relative_to(PRODUCT.parent).with_suffix("").parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name}: relative"
                module = str(node.module)
                modules = (
                    [module] if layer_of(module) else [f"{module}.{a.name}" for a in node.names]
                )
            for module in modules:
                if module.startswith("halfopen."):
                    yield inside[1], layer_of(module)


def test_each_part_imports_only_parts_below_it() -> None:
    found = {(of.replace(".py", ""), to) for of, to in imports() if to != "__version__"}

    assert len(found) > 30
    assert [
        f"{of} imports {to}"
        for of, to in sorted(found)
        if of != to and LAYERS.index(of) < LAYERS.index(to)
    ] == []


def test_every_part_has_its_layer() -> None:
    parts = {path.stem for path in PRODUCT.iterdir() if path.suffix == ".py" or is_package(path)}

    assert parts - {"__init__"} == set(LAYERS)


def is_package(path: Path) -> bool:
    return (path / "__init__.py").exists()


def test_the_folders_have_no_code_of_their_own() -> None:
    assert [str(p) for p in PRODUCT.glob("*/__init__.py") if p.read_text().strip()] == []
