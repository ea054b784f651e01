"""Tests that docs/measuring.md is true to orcac/stats/compare.py, wording.py and power.py, and to published files."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from orcac.checkers import CHECKERS, Item
from orcac.sample.formats import FORMATS
from orcac.sample.recipe import Source, TruthfulQA
from orcac.spec.load import load
from orcac.stats.power import Design, Variances, detectable

TEXT = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_shows() -> None:
    code, shown = re.findall(r"```(?:python)?\n(.*?)```", TEXT, re.DOTALL)
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


def test_the_published_benchmarks_have_their_tasks(tmp_path: Path, data: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    solution = '{"question": "How many?", "answer": "She has 40 + 2 = <<40+2=42>>42.\\n#### 42"}'
    (tmp_path / "gsm8k_test.jsonl").write_text(solution + "\n")
    head = "orcac: 1\nname: page\nteachers: {t: {model: expert, endpoint: {kind: solver}}}\nbaselines: [t]\n"
    (tmp_path / "page.yaml").write_text(head + block)
    base = load(tmp_path / "page.yaml").base
    counts = {}
    for name, benchmark in base.spec.benchmarks.items():
        assert benchmark.format != "puzzles"
        form = TruthfulQA(task=benchmark.task, seed=0) if benchmark.format == "truthfulqa" else None
        source = Source(format=benchmark.format, fields=dict(getattr(benchmark, "fields", {})), truthfulqa=form)
        files = base.files["benchmarks", name, "path"].files
        items = [item for path in files for item in FORMATS[benchmark.format](path, path.name, source)]
        items = [item for item in items if not benchmark.tasks or item.task in benchmark.tasks]
        counts[name] = (len({item.task for item in items}), len(items))
        last = items[-1]
    assert counts.pop("niv2")[0] > 30
    assert counts == {
        "agieval": (8, 2546),
        "bbh": (27, 6511),
        "bbh-23": (23, 5511),
        "mc1": (1, 817),
        "mc2": (1, 817),
        "gsm8k": (1, 1),
    }
    asked = Item(reference=last.reference, query=last.query)
    read = CHECKERS["auto"].read("40 and 2 make 42.\n#### 42", asked)
    assert (read.value, CHECKERS["auto"].score(read.value, asked)) == ("42", 1.0)
