"""Tests mirror the tree: each module has a test file of its name, or a test file that names it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES = 40  # a module of more lines needs tests of its own


def modules() -> set[str]:
    """Return the modules that need tests, such as `orcac/chat/ask.py`."""
    paths = (path for path in (ROOT / "orcac").rglob("*.py") if path.read_bytes().count(b"\n") > MOST_LINES)
    return {path.relative_to(ROOT).as_posix() for path in paths}


def covered() -> set[str]:
    """Return the modules with a test file of their name, and those named in the first paragraph of a test file."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        mirrored = path.relative_to(ROOT / "tests").with_name(path.name.removeprefix("test_"))
        found.add(f"orcac/{mirrored.as_posix()}")
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        named = re.findall(r"orcac/[\w/]+\.py", docstring.partition("\n\n")[0])
        assert all((ROOT / module).is_file() for module in named), f"{path.name} names a module that is not there"
        found |= set(named)
    return found


def test_every_module_of_more_than_40_lines_is_covered_by_a_test_file() -> None:
    assert modules() - covered() == set()


def test_every_folder_states_its_purpose() -> None:
    folders = {path.parent for path in (ROOT / "orcac").rglob("*.py")}
    texts = {folder: (folder / "__init__.py").read_text(encoding="utf-8") for folder in folders}
    silent = [folder.name for folder, text in texts.items() if not ast.get_docstring(ast.parse(text))]
    assert silent == []
