"""A hook of MkDocs: the site has the repository's own layout, so that links are the same in both.

MkDocs takes the files of one folder. The pages of docs/ link to README.md, SECURITY.md, examples/
and others outside of it, and are to do so on the repository's own web page as well.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OF_THE_SITE = (
    "*.md",
    "LICENSE",
    "docs/**/*",
    "examples/**/*",
    "fixtures/README.md",
    "halfopen/report.schema.json",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the repository's files in place of docs/; keep the theme's own."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = {path for pattern in OF_THE_SITE for path in ROOT.glob(pattern) if path.is_file()}
    ours = [
        File(
            path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls
        )
        for path in sorted(paths)
    ]
    return Files([*ours, *theme])
