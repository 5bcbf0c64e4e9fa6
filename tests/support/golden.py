"""Golden files in tests/golden: printed text that a person has read and found right."""

import difflib
import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "golden"


def assert_golden(name: str, text: str) -> None:
    """Assert that the text is the golden file's; HALFOPEN_GOLDEN=write writes it, for a person."""
    path = FOLDER / name
    if os.environ.get("HALFOPEN_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    golden = path.read_text(encoding="utf-8").split("\n")
    difference = "\n".join(difflib.unified_diff(golden, text.split("\n"), name, "now", lineterm=""))
    assert not difference, difference
