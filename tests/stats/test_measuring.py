"""Tests that docs/measuring.md is true to orcac/stats/compare.py, wording.py and power.py."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from orcac.stats.power import Design, Variances, detectable

TEXT = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [block for name, block in _BLOCKS if name == language]


def test_the_example_prints_what_the_page_shows() -> None:
    (code,), shown = blocks("python"), blocks("")[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == shown
    quoted = re.search(r"^> (.*)$", TEXT, re.MULTILINE)
    assert quoted is not None and f"explained: {quoted[1]}\n" in shown


def test_the_table_of_power_is_computed() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| (\d) \| ([\d. |]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 6
    for items, runs, shown in rows:
        design = Design(items=int(items.replace(",", "")), arms=4, base_runs=int(runs), arm_runs=int(runs))
        found = [
            100 * detectable(design, Variances(luck=luck, discordance=0.36, churn=0.27))
            for luck in (0, 0.01, 0.02, 0.03)
        ]
        assert [float(each) for each in shown.split(" | ")] == pytest.approx(found, abs=0.051)
