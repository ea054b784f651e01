"""Build the documentation site into build/docs/site/ (`pip install 'orcac[docs]'`, then `python docs/build.py`).

The pages also link to files outside docs/, which a reader of the repository can open and a site does not have. So the
pages are copied beside those files, and the links are changed, before zensical builds the copy. A link that leads
nowhere fails the build.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "build" / "docs"
LINKS = {"](../benchmarks/README.md": "](benchmarks.md", "](../specs/": "](specs/", "](../docs/": "]("}


def main() -> int:
    shutil.rmtree(STAGE, ignore_errors=True)
    pages = STAGE / "pages"
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("*.py", "*.toml"))
    shutil.copytree(ROOT / "specs", pages / "specs", ignore=shutil.ignore_patterns("system_messages"))
    shutil.copy(ROOT / "benchmarks" / "README.md", pages / "benchmarks.md")
    for page in pages.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for outside, inside in LINKS.items():
            text = text.replace(outside, inside)
        page.write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "docs" / "zensical.toml", STAGE)
    return subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=STAGE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
