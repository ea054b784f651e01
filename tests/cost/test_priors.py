"""Tests of orcac/cost/priors.py and docs/cost-model.md: the bill of the paper, from its spec alone."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from priced import ROOT, at

from orcac.cost import priors
from orcac.cost.bill import Cost
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.train.gpus import peak_flops


@pytest.fixture(scope="module")
def bill() -> Any:
    spec = importlib.util.spec_from_file_location("paper_bill", ROOT / "benchmarks" / "paper_bill.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bill_of_the_paper_follows_from_its_spec(bill: Any) -> None:
    printed = [line for line in bill.bill() if line.paper]
    assert len(printed) == 5
    for line in printed:
        assert line.ours / line.paper == pytest.approx(1, abs=0.15), line
        assert line.low < line.paper < line.high, line


def test_best_fit_packing_saves_the_hours_that_the_document_states(bill: Any) -> None:
    hours = {line.name: line.ours for line in bill.bill() if line.unit == "hours"}
    shuffled = hours["stage 1 on 20 A100"] + hours["stage 2 on 20 A100"]
    saved = shuffled - hours["stage 1, best-fit packing"] - hours["stage 2, best-fit packing"]
    said = f"{saved:.0f} of our {shuffled:.0f} training hours, {saved / shuffled * 100:.0f} %"
    assert said in " ".join(document().split())


def test_the_document_shows_the_figures_of_the_code(bill: Any) -> None:
    for table in (bill.table(bill.bill()), bill.fits(), bill.hours()):
        assert table in document()
    for prior in vars(priors).values():
        if isinstance(prior, priors.Prior):
            assert f"| {prior.name} | {prior.mid:g} | {prior.low:g} to {prior.high:g} | {prior.why} |" in document()


def test_the_prior_of_mfu_is_implied_by_the_papers_160_hours(orca: tuple[Plan, dict[str, Cost]]) -> None:
    slots = 5_090_000 * 4 / 2.7 * 2048
    flops = 6 * 13.016e9 + 12 * 40 * 5120 * 2048
    implied = slots * flops / (20 * peak_flops("a100-80gb", "bf16") * 160 * 3600)
    assert implied == pytest.approx(priors.MFU.mid, abs=0.005)
    plan, costs = orca
    assert costs[at(plan, "student")].disk.mid == pytest.approx(2 * 13.016e9, rel=1e-3)


def test_expected_lengths_are_those_of_recorded_texts(data: Path) -> None:
    """GPT-2's tokenizer makes a few percent more tokens than those of the teachers."""
    from tokenizers import ByteLevelBPETokenizer

    folder = data / "tokenizers" / "gpt2"
    tokenizer = ByteLevelBPETokenizer(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    t0 = [
        json.loads(line)["prompt"]
        for path in sorted((data / "t0_p3").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").split("\n")[:12]
        if line
    ]
    rows = (data / "teacher_orca_dpo" / "validation.jsonl").read_text(encoding="utf-8").split("\n")
    orca = [json.loads(line)["input"]["messages"][1]["content"] for line in rows if line]
    queries = load(ROOT / "specs" / "orca-13b.yaml").base.spec.queries
    for texts, name in ((t0, "t0"), (orca, "flan2021")):
        tokens = sum(len(encoded.ids) for encoded in tokenizer.encode_batch(texts))
        assert tokens / len(texts) == pytest.approx(queries[name].expect.tokens, rel=0.1)
        assert priors.CHARACTERS.low < sum(map(len, texts)) / tokens < priors.CHARACTERS.high


def document() -> str:
    return (ROOT / "docs" / "cost-model.md").read_text(encoding="utf-8")
