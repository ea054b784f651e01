"""Tests of the pictures in docs/: they load nothing, name no machine, and show the output of today's commands."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

ROOT = Path(__file__).parents[1]
PICTURES = sorted((ROOT / "docs").glob("*.svg"))
TERMINAL = ROOT / "docs" / "terminal.svg"
_LOADED = re.compile(r"@font-face|@import|<script|<image|url\((?!#)", re.IGNORECASE)
_PLACE = re.compile(r"(?<![\w<])/(?:tmp|home|root|work|usr|var|Users)/|[A-Z]:\\")


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.stem for picture in PICTURES])
def test_a_picture_loads_nothing_and_names_no_place_on_a_machine(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    fromstring(text)
    assert not _LOADED.findall(text) and not _PLACE.findall(text)
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    assert any(f"{picture.name})" in page.read_text(encoding="utf-8") for page in pages), "no page shows it"


def test_the_marks_of_a_place_and_of_a_font_are_found() -> None:
    place = "/".join(["", "home", "x", "store"])
    assert _PLACE.search(f"new store: {place}") and not _PLACE.search(f"docs{place} <{place}>")
    assert _LOADED.search("src: url(https://x)") and not _LOADED.search('clip-path="url(#clip)"')


@pytest.mark.skipif(shutil.which("script") is None, reason="no `script` here")
def test_the_terminal_shows_what_its_commands_print(tmp_path: Path) -> None:
    """The last command takes minutes: of its output only the table is there, which tests of tiny.yaml hold."""
    drawing = runpy.run_path(str(ROOT / "docs" / "terminal.py"))
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    (tmp_path / "orcac.toml").touch()
    shown = read_lines(TERMINAL.read_text(encoding="utf-8"))
    *quick, last = drawing["COMMANDS"]
    for command in quick:
        printed = drawing["show"](command, tmp_path, {}).replace(f"{tmp_path}/", "").strip("\n")
        lines = read_lines(drawing["draw"](printed))
        place = shown.index(f"$ {command}") + 1
        assert shown[place : place + len(lines)] == lines, "draw it again: python docs/terminal.py"
    place = shown.index(f"$ {last}") + 1
    assert shown[place] == shown[-1] == "⋮" and len(shown) <= 36


def read_lines(svg: str) -> list[str]:
    """Return the lines of a terminal, without the title above them and without blank lines."""
    rows: dict[float, str] = {}
    for text in fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in text.attrib:
            y = float(text.get("y", ""))
            rows[y] = rows.get(y, "") + (text.text or "").replace("\xa0", " ")
    return [line.rstrip() for line in rows.values() if line.strip()]
