"""Makes pages of the documentation site of files that lie outside docs/: the README is its first page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Page of the site by file."""

SOURCE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+[^)]*\.(?:py|ipynb|yaml)\)")
"""A link to a file of the program, which the site does not have: its text stays."""


def on_files(files: Files, config: Any) -> Files:
    """Add the files outside docs/ to the site, with their links as from within."""
    for name, page in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, its_page in OUTSIDE.items():
            text = text.replace(f"]({other}", f"]({its_page}")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's text with its links to files outside docs/ as links to their pages."""
    for name, page in OUTSIDE.items():
        markdown = markdown.replace(f"](../../{name}", f"](../{page}").replace(f"](../{name}", f"]({page}")
    return SOURCE.sub(r"\1", markdown)
