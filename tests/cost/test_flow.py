"""Tests of orcac/cost/flow.py and orcac/cost/shape.py: amounts that are read from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from priced import NOWHERE, SPEC, add_record, at, small, whole

from orcac.cost import priors
from orcac.cost.bill import Cost, price
from orcac.cost.flow import Flow
from orcac.store.store import Store


def test_the_rows_of_local_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text("".join('{"q": "%s"}\n\n' % ("word " * 90) for _ in range(60)))
    pq.write_table(pa.table({"q": ["word"] * 70}), tmp_path / "q.parquet")
    (tmp_path / "q.json").write_text(json.dumps({"examples": [{"input": "1 + 1?", "target": "2"}] * 50}))

    def asked(**source: Any) -> Cost:
        plan = small(tmp_path, queries={"q": source})
        return price(plan, NOWHERE)[at(plan, "collect/pool")]

    table = {"format": "jsonl", "path": "q.jsonl", "fields": {"query": "q"}}
    cost = asked(**table)
    assert (cost.requests.mid, cost.requests.high) == (60, 60) and any("60 rows: counted" in why for why in cost.basis)
    assert cost.input_tokens.mid / 60 == pytest.approx(90 * 5 / 4.5, rel=0.2)
    assert asked(**table | {"expect": {"queries": 1000}}).requests.mid == 60
    assert asked(**table | {"expect": {"queries": 1000}, "per_task": 9}).requests.mid == 1000
    assert asked(**table | {"per_task": 9}).requests.low < 9
    assert asked(format="parquet", path="q.parquet", fields={"query": "q"}).requests.mid == 70
    assert asked(format="bbh", path="q.json").requests.mid == 50
    (tmp_path / "q.json").write_text("none")
    assert asked(format="bbh", path="q.json").requests.mid == priors.QUERIES.mid


def test_a_stage_in_tokens_is_priced_as_the_epochs_that_it_amounts_to(tmp_path: Path) -> None:
    plan = small(tmp_path)
    flow, ref = Flow(plan, NOWHERE), at(plan, "tokenize/pool")
    rows = flow.rows(ref)
    tokens = round(10 * rows.count.mid * rows.length * rows.fill)
    stages = {"pool": {"dataset": "pool", "epochs": 10}}
    by_epochs = whole(stages=SPEC["stages"] | stages).seconds
    by_tokens = whole(stages=SPEC["stages"] | {"pool": {"dataset": "pool", "tokens": tokens}}).seconds
    assert by_tokens.mid == pytest.approx(by_epochs.mid, rel=0.01)
    assert by_tokens.high < by_epochs.high  # the number of rows is not an unknown of it


def test_a_local_model_is_priced_by_its_config_and_a_broken_config_by_the_prior(tmp_path: Path) -> None:
    shape = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 11008,
    }
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(b"")
    for config, parameters in (
        (shape, 6.738e9),
        (shape | {"hidden_size": "x"}, priors.SHAPE.mid),
        ([], priors.SHAPE.mid),
    ):
        (tmp_path / "m" / "config.json").write_text(json.dumps(config))
        plan = small(tmp_path, student={"base": "m"})
        assert price(plan, NOWHERE)[at(plan, "student")].disk.mid == pytest.approx(2 * parameters, rel=1e-3)


def test_rows_hold_the_reasoning_only_where_it_is_learnt(tmp_path: Path) -> None:
    def rows(learn: list[str], address: str, share: float | None = None, **extra: Any) -> tuple[Any, tuple[str, ...]]:
        sampling = {"extra": extra} if extra else {}
        teachers = {"a": SPEC["teachers"]["a"] | {"sampling": sampling, "expect": 1000}, "b": SPEC["teachers"]["b"]}
        stages = {"pool": {"dataset": "pool", "epochs": 1, "learn": learn}}
        plan = small(tmp_path, curriculum=["pool"], stages=stages, teachers=teachers)
        store = NOWHERE
        if share is not None:
            store = Store(tmp_path / f"store{share}")
            for ref, summary in (
                ("collect/pool", {"prompts": 80, "answered": 80}),
                ("filter/pool", {"read": 80, "kept": 80, "reasoning": share}),
            ):
                add_record(plan, store, at(plan, ref), summary, {})
        found = Flow(plan, store).rows(at(plan, address))
        return found.per_row.mid, found.basis

    def is_assumed(basis: tuple[str, ...]) -> bool:
        return any(priors.ANSWER_SHARE.name in why for why in basis)

    both, both_basis = rows(["reasoning", "answer"], "tokenize/pool", reasoning=True)
    alone, basis = rows(["answer"], "tokenize/pool/answers", reasoning=True)
    assert alone > 2 * both and is_assumed(basis) and not is_assumed(both_basis)
    measured, basis = rows(["answer"], "tokenize/pool/answers", share=0.9, reasoning=True)
    assert measured > alone and not is_assumed(basis)
    unreasoned, basis = rows(["answer"], "tokenize/pool/answers")
    assert unreasoned == rows(["reasoning", "answer"], "tokenize/pool")[0] and not is_assumed(basis)


def test_filters_by_tokens_leave_fewer_and_shorter_examples(tmp_path: Path) -> None:
    def examples(**tokens: Any) -> Any:
        teachers = {"a": SPEC["teachers"]["a"] | {"expect": 400}, "b": SPEC["teachers"]["b"]}
        plan = small(tmp_path, teachers=teachers, filters={"tokens": tokens})
        return Flow(plan, NOWHERE).examples(at(plan, "filter/pool"))

    every, short, long_ = examples(), examples(both={"max": 400}), examples(answer={"min": 400})
    assert short.count.mid + long_.count.mid == pytest.approx(every.count.mid, rel=0.01)
    assert short.tokens.mid < every.tokens.mid < long_.tokens.mid
    assert 0 < examples(both={"max": 1}).count.mid < 1


def test_examples_with_cut_or_thinned_traces_share_a_row_with_more_others(tmp_path: Path) -> None:
    def per_row(**transform: Any) -> float:
        datasets = SPEC["datasets"] | {"pool": SPEC["datasets"]["pool"] | {"transform": transform}}
        teachers = {"a": SPEC["teachers"]["a"] | {"expect": 400}, "b": SPEC["teachers"]["b"]}
        plan = small(tmp_path, teachers=teachers, datasets=datasets)
        return Flow(plan, NOWHERE).rows(at(plan, "tokenize/pool")).per_row.mid

    whole = per_row()
    assert per_row(shuffle_steps=0.5) == per_row(keep_tokens=100_000) == whole
    assert whole < per_row(delete_steps=0.2) < per_row(delete_steps=0.9) and whole < per_row(keep_tokens=50)
