"""Tests of several answers to each prompt, from a spec (orcac/spec/samples.py) to rows, the ledger and the bill."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from collected import SOLVER, collect, count_records, plan_spec, taped

from orcac.cost.bill import price, total_cost
from orcac.errors import InputError
from orcac.make import make, make_shard
from orcac.store.store import Store

ARMS = {f"{k}-answers": {"datasets": {"d": {"samples": k}}} for k in (4, 16)}


def test_arms_with_1_4_and_16_answers_share_them(tmp_path: Path) -> None:
    made = {arm: collect(tmp_path, {"ablations": ARMS}, arm) for arm in ("16-answers", "4-answers", "base")}
    four, sixteen = made["4-answers"].responses(), made["16-answers"].responses()
    assert [row.sample for row in four] == [0, 1, 2, 3] * 12
    assert [row.id for row in four[::4]] == [row.id for row in made["base"].responses()]
    assert [(row.id, row.sample, row.response) for row in sixteen if row.sample < 4] == [
        (row.id, row.sample, row.response) for row in four
    ]
    assert any(len({row.response for row in four[start : start + 4]}) > 1 for start in range(0, 48, 4)), "they differ"
    assert count_records(made["base"]) == 12 * 16
    assert "sample" not in pq.read_schema(made["base"].path("collect/d", "responses.parquet")).names
    assert made["16-answers"].summary("collect/d")["prompts"] == 192


def test_a_price_counts_each_sample_once_over_all_arms(tmp_path: Path) -> None:
    priced = SOLVER | {"price": {"input": 1, "output": 1}}
    plan = plan_spec(tmp_path, {"teachers": {"t": priced}, "ablations": ARMS})
    costs = price(plan, Store(tmp_path / "store"))
    asked = {arm: total_cost(plan, costs, refs).requests.mid for arm, refs in plan.experiments["d"].arms.items()}
    assert asked == {"base": 12, "4-answers": 48, "16-answers": 192}
    assert total_cost(plan, costs, plan.nodes).requests.mid == 192
    small, large = (plan.experiments["d"].arms[arm] for arm in ("4-answers", "16-answers"))
    assert total_cost(plan, costs, large, paid=small).requests.mid == pytest.approx(144)


def test_the_bill_sees_the_samples_that_the_ledger_has(tmp_path: Path) -> None:
    collect(tmp_path, {"ablations": ARMS}, "4-answers")
    plan, store = plan_spec(tmp_path, {"ablations": ARMS}), Store(tmp_path / "store")
    costs = price(plan, store)
    assert total_cost(plan, costs, plan.nodes).requests.mid == pytest.approx(144)


def test_shards_ask_all_samples_of_their_prompts(tmp_path: Path) -> None:
    spec = {"datasets": {"d": {"teacher": "t", "queries": ["q"], "samples": 3, "shards": 2}}}
    plan, store = plan_spec(tmp_path, spec), Store(tmp_path / "store")
    sample, asked, _ = plan.nodes
    make(plan, store, sample)
    for shard in range(2):
        make_shard(plan, store, asked, shard, 2)
    make(plan, store, asked)
    assert store.artifact(asked)["summary"]["answered"] == 36


def test_the_rows_of_a_recording_are_the_samples(tmp_path: Path) -> None:
    spec = taped(
        tmp_path, {"Double 4.": "8", "Halve 10.": "5"}, {"Double 4.": ["8", "9"], "Halve 10.": ["5", "It is 5"]}
    )
    assert [(row.sample, row.response) for row in collect(tmp_path, spec).responses()] == [
        (0, "8"),
        (1, "9"),
        (0, "5"),
        (1, "It is 5"),
    ]


@pytest.mark.parametrize(
    "teacher, problem",
    [
        ({"sampling": {"temperature": 0.0, "seed": 0}}, "equal at temperature 0; write `temperature: 0.7`"),
        ({"sampling": {}}, "equal without a seed; write `seed: 0`"),
        ({"endpoint": {"kind": "reference"}}, "one answer to each query"),
    ],
)
def test_a_teacher_that_cannot_differ_is_refused_at_its_place(tmp_path: Path, teacher: dict, problem: str) -> None:
    spec = {"teachers": {"t": SOLVER | teacher}, "datasets": {"d": {"teacher": "t", "queries": ["q"], "samples": 4}}}
    with pytest.raises(InputError) as caught:
        plan_spec(tmp_path, spec)
    assert problem in str(caught.value) and "samples: 4" in str(caught.value)


def test_a_recording_with_too_few_answers_is_refused(tmp_path: Path) -> None:
    spec = taped(tmp_path, {"Double 4.": "8"}, {"Double 4.": ["8"]}, samples=4)
    with pytest.raises(InputError, match="has 1 of the 4 answers to a prompt"):
        plan_spec(tmp_path, spec)
