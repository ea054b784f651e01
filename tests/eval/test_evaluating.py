"""Tests that the specs of docs/evaluating.md run as it says, and read the published files."""

from __future__ import annotations

import re
from pathlib import Path

import tiny

from orcac.checkers import CHECKERS, Item
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.report.protocol import describe
from orcac.report.results import read_json
from orcac.sample.formats import FORMATS
from orcac.sample.recipe import Source, TruthfulQA
from orcac.spec.load import load
from orcac.store.store import Store

TEXT = (Path(__file__).parents[2] / "docs" / "evaluating.md").read_text(encoding="utf-8")
HEAD = "orcac: 1\nname: page\nteachers: {t: {model: expert, endpoint: {kind: solver}}}\nbaselines: [t]\n"
SPECS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_ways_to_ask_are_those_of_a_student(tmp_path: Path) -> None:
    tiny.make_student(tmp_path / "made", tiny.write_examples(tmp_path / "kept", [tiny.response(n) for n in range(50)]))
    head = f"orcac: 1\nname: page\nstudent: {{base: {tmp_path / 'made' / 'out0' / 'model'}}}\n"
    (tmp_path / "page.yaml").write_text(head + SPECS[0].replace("take: 200", "take: 6"))
    plan, store = Plan(), Store(tmp_path / "store")
    lower(plan, load(tmp_path / "page.yaml"))
    report = plan.experiments["page"].report
    for ref in plan.closure([report]):
        make(plan, store, ref)
    results = read_json(store.folder(report) / "results.json")
    asked = {bench.name: describe(bench.scores[0].protocol) for bench in results.benchmarks}
    assert "3-shot" in asked["drawn"] and "5 answers to each item" in asked["drawn"]
    assert "at most 500 tokens of reasoning" in asked["thinking"]
    assert "the option of the largest log-likelihood" in asked["compared"]
    of = {bench.name: bench.scores[0] for bench in results.benchmarks}
    drawn, compared = of["drawn"].samples, of["compared"]
    assert drawn is not None and drawn.samples == 5 and list(drawn.passed) == [2, 4, 5]
    assert sum(of["drawn"].outcomes.values()) == 3 * 5
    assert compared.outcomes["right"] + compared.outcomes["wrong"] == 6
    assert compared.checkers == ("likeliest choice",)


def test_the_published_benchmarks_have_their_tasks(tmp_path: Path, data: Path) -> None:
    (block,) = (spec for spec in SPECS if "bbh-23:" in spec)
    solution = '{"question": "How many?", "answer": "She has 40 + 2 = <<40+2=42>>42.\\n#### 42"}'
    (tmp_path / "gsm8k_test.jsonl").write_text(solution + "\n")
    (tmp_path / "page.yaml").write_text(HEAD + block)
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
