"""The documentation site is built without a network, and none of its links is broken."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        str(tmp_path / "site"),
        "--quiet",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "netsim run scenarios/crema_12dev.yaml" in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "site" / "scenario.html").is_file(), "the reference of keys"
