"""Tests of docs/: the examples of each page run and print the output that the page shows, and the site builds.

An example is made of files, as blocks with a `title`, and of `console` blocks, which run in order. The first one comes
before the page's first section. In a `console` block a line `...` stands for any lines, and ` ...` for the rest of a
line. An address http://localhost:8000/v1 is that of a server of the suite.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults import FaultServer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.glob("*.md") if page.name != "README.md")
SERVER = "http://localhost:8000/v1"
_BLOCK = re.compile(
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def read_examples(text: str) -> tuple[dict[str, str], list[tuple[str, list[str]]]]:
    """Return the files of a page's examples, by name, and its commands, each with the lines of its output."""
    files, commands = dict[str, str](), list[tuple[str, list[str]]]()
    for block in _BLOCK.finditer(text):
        if block["title"]:
            files[block["title"]] = block["text"]
        if block["language"] == "console":
            for line in block["text"].splitlines():
                if line.startswith("$ "):
                    commands.append((line[2:].partition("  #")[0], []))
                else:
                    commands[-1][1].append(line)
    return files, commands


def find_missing(shown: list[str], printed: list[str]) -> str | None:
    """Return the first shown line that is not printed in its place; None if all are. Empty lines do not count."""
    rest, anywhere = (line.rstrip() for line in printed if line.strip()), False
    for line in filter(str.strip, shown):
        if line == "...":
            anywhere = True
            continue
        beginning, cut, _ = line.rstrip().partition(" ...")
        candidates = rest if anywhere else [next(rest, "")]
        if not any(other.startswith(beginning) if cut else other == beginning for other in candidates):
            return line
        anywhere = False
    return None


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_example_of_a_page_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert read_examples(text.partition("\n## ")[0])[1], "the page opens without an example"
    files, commands = read_examples(text)
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    environment = {name: value for name, value in os.environ.items() if name not in ("ORCAC_DATA", "EVAL")}
    environment |= {"ORCAC_STORE": str(tmp_path / "store"), "ORCAC_PLAN": str(tmp_path / "plan.json"), "COLUMNS": "80"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with FaultServer() as server:
        for name, text in files.items():
            (tmp_path / name).write_text(text.replace(SERVER, server.base_url), encoding="utf-8")
        for command, shown in commands:
            line = shlex.split(command)
            assert line[0] == "orcac"
            done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode in (0, 1) if line[1] == "diff" else not done.returncode, done.stderr
            missing = find_missing(shown, done.stdout.replace(f"{tmp_path}/", "").splitlines())
            assert missing is None, f"not printed by `{command}`: {missing!r}; it printed\n{done.stdout}"


def test_an_output_is_compared_line_by_line() -> None:
    printed = ["a", "", "b", "c", "d"]
    assert find_missing(["a", "b", "...", "d"], printed) is None
    assert find_missing(["...", "c", "d"], printed) is None
    assert find_missing(["a", "c"], printed) == "c"
    assert find_missing(["...", "c", "b"], printed) == "b"
    assert find_missing(["a", "b ..."], ["a", "b 24 s"]) is None and find_missing(["c ..."], ["b 24 s"]) == "c ..."


def test_the_site_builds_without_a_dead_link_and_loads_nothing_from_elsewhere() -> None:
    pytest.importorskip("zensical")
    built = subprocess.run([sys.executable, "docs/build.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not built.returncode, re.sub(r"\x1b\[[0-9;]*m", "", built.stdout + built.stderr)
    site = ROOT / "build" / "docs" / "site"
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(
            r"<(?:script|img|iframe)[^>]*\ssrc=\"?https?:|<link[^>]*(?:sheet|connect)[^>]*https?:", text
        )
