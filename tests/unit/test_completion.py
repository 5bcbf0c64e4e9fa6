"""The shells' completion files are made from the options as they are declared now."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "packaging" / "completion"


def test_the_files_are_up_to_date(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_completion.py"), str(tmp_path)],
        check=True,
        timeout=60,
    )

    made = {p.relative_to(tmp_path): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert len(made) == 6
    assert made == {p.relative_to(FILES): p.read_text() for p in FILES.rglob("*") if p.is_file()}
