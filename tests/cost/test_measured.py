"""Tests of orcac/cost/measured.py, orcac/cost/record.py and orcac/cost/flow.py: prices against a store with a pool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from priced import MORE, PACKED, SPEC, TRAINED, add_record, at, small

from orcac.cost import measured, priors
from orcac.cost.bill import Cost, price
from orcac.cost.figures import Range
from orcac.cost.flow import Flow
from orcac.cost.measured import Measured
from orcac.cost.pilot import predict
from orcac.make import make
from orcac.plan.plan import Plan
from orcac.store.store import Store


def test_an_estimate_contains_the_later_measurement(made: tuple[Plan, Store, dict[str, Cost]]) -> None:
    plan, store, before = made
    ref = at(plan, "collect/pool")
    summary, estimate = store.artifact(ref)["summary"], before[ref]
    assert estimate.requests == Range(80.0)
    assert estimate.output_tokens.low < summary["output_tokens"] < estimate.output_tokens.high
    assert estimate.usd.low < summary["usd"] < estimate.usd.high
    assert estimate.usd_batch.mid == pytest.approx(estimate.usd.mid / 2)
    assert price(plan, store)[ref] == Cost()  # done costs nothing


def link_prompts(store: Store, prompts: str, folder: Path) -> tuple[Store, Path]:
    """Return a store in `folder` that has only the prompts of another one, and the other one's log of answers."""
    half = Store(folder)
    half.folder(prompts).parent.mkdir()
    half.folder(prompts).symlink_to(store.folder(prompts))
    half.answers.mkdir()
    (segment,) = store.answers.glob("*.jsonl")
    return half, segment


def test_answers_in_the_ledger_cost_nothing(made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path) -> None:
    plan, store, _ = made
    ref, prompts = at(plan, "collect/pool"), at(plan, "queries/pool/q")
    half, segment = link_prompts(store, prompts, tmp_path)
    lines = segment.read_text().splitlines(keepends=True)
    (half.answers / "one.jsonl").write_text("".join(lines[:50]) + lines[50][:40])  # a kill in the middle of the 51st
    cost = price(plan, half)[ref]
    answers = [json.loads(line)["response"]["output_tokens"] for line in lines[:50]]
    assert cost.requests == Range(30.0)
    assert cost.output_tokens.mid == pytest.approx(30 * sum(answers) / 50)
    assert [why for why in cost.basis if "measured from 50 answers to these prompts" in why]
    assert [why for why in cost.basis if "characters per token" in why and "measured on 50 prompts" in why]
    # the interval of the remaining 30 is that of these 50 answers, and the prompts to come are known
    low, high = predict(np.array(answers, dtype=float), 50, remaining=30)
    assert cost.output_tokens.low / cost.output_tokens.mid == pytest.approx(low)
    assert cost.output_tokens.high / cost.output_tokens.mid == pytest.approx(high)
    output = Flow(plan, half).requests(ref).output  # of all 80 answers, 50 are known
    assert output.mid == pytest.approx(sum(answers) / 50) and output.high / output.mid == pytest.approx(
        1 + (high - 1) * 3 / 8
    )
    rest = [json.loads(line)["response"]["input_tokens"] for line in lines[50:80]]
    assert cost.input_tokens.low < sum(rest) < cost.input_tokens.high

    (half.answers / "one.jsonl").write_text("".join(lines[:5]))  # fewer answers are a measurement as well
    cost = price(plan, half)[ref]
    assert cost.requests == Range(75.0) and cost.output_tokens.mid == pytest.approx(75 * sum(answers[:5]) / 5)
    assert cost.output_tokens.high > 1.4 * cost.output_tokens.mid
    # the other dataset is not drawn yet, so nothing of it can be looked up; this teacher's mean is used
    other = small(tmp_path, queries=SPEC["queries"] | {"r": SPEC["queries"]["q"] | {"size": [4, 6]}}, datasets=MORE)
    assert any("measured from 5 answers" in why for why in price(other, half)[at(other, "collect/few")].basis)


def test_a_server_that_counts_output_alone_or_more_than_max_tokens_is_priced_by_its_count(
    made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path
) -> None:
    plan, store, _ = made
    ref, prompts = at(plan, "collect/pool"), at(plan, "queries/pool/q")
    half, segment = link_prompts(store, prompts, tmp_path)
    records = [json.loads(line) for line in segment.read_text().splitlines()[:20]]
    most = records[0]["request"]["sampling"]["max_tokens"]
    for record in records:
        record["response"] |= {"input_tokens": 0, "output_tokens": 3 * most, "finish_reason": "length"}
        record.pop("crc", None)
    (half.answers / "one.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    cost = price(plan, half)[ref]
    assert cost.output_tokens.mid == pytest.approx(60 * 3 * most)
    assert cost.input_tokens.mid > 0, "estimated from the prompts"


def test_of_many_questions_a_random_part_is_looked_up(
    made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path
) -> None:
    plan, store, _ = made
    half = Store(tmp_path)
    ref, prompts = at(plan, "collect/pool"), at(plan, "queries/pool/q")
    half.folder(prompts).parent.mkdir()
    half.folder(prompts).symlink_to(store.folder(prompts))
    half.answers.mkdir()
    (segment,) = store.answers.glob("*.jsonl")
    lines = segment.read_text().splitlines(keepends=True)
    (half.answers / "one.jsonl").write_text("".join(lines[:40]))
    cost = price(plan, half, looked_up=40)[ref]
    assert cost.requests.mid == pytest.approx(40, abs=15)
    assert any("of 80, at random" in why for why in cost.basis)


def test_measured_means_win_over_expected_ones(made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path) -> None:
    _, store, _ = made
    queries = {"q": SPEC["queries"]["q"] | {"take": 400}}
    teachers = SPEC["teachers"] | {"a": SPEC["teachers"]["a"] | {"expect": 999}}
    other = small(tmp_path, "larger", queries=queries, teachers=teachers)
    make(other, store, ref := at(other, "queries/pool/q"))
    cost = price(other, store)[at(other, "collect/pool")]
    answered = store.artifact(at(made[0], "collect/pool"))["summary"]
    each = answered["output_tokens"] / answered["answered"]
    assert cost.requests.mid <= 400
    assert cost.output_tokens.mid / cost.requests.mid == pytest.approx(each)
    assert any("measured from 80 answers" in why for why in cost.basis)
    sampled, first = store.artifact(ref)["summary"], store.artifact(at(made[0], "queries/pool/q"))["summary"]
    rate = first["characters"] / answered["input_tokens"]
    assert cost.input_tokens.mid / cost.requests.mid == pytest.approx(sampled["characters"] / 400 / rate)


def test_the_lengths_of_few_finished_answers_are_read_from_their_files(
    made: tuple[Plan, Store, dict[str, Cost]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store, _ = made
    recipe = plan.nodes[at(plan, "collect/pool")].recipe.model_dump(mode="json")
    found = Measured(store).answer(recipe)
    assert found and found.lengths is not None and len(found.lengths) == found.n == 80
    assert found.lengths.mean() == pytest.approx(found.value)
    assert Measured(store, looked_up=0).answer(recipe) == (found.value, found.n, None)
    monkeypatch.setattr(measured, "_FEW", 79)
    assert Measured(store).answer(recipe) == (found.value, found.n, None)


def test_a_damaged_record_is_skipped(made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path) -> None:
    plan, _, before = made
    store = Store(tmp_path)
    for kind, content in (("collect", "{"), ("tokenize", "[]"), ("train", '{"recipe": 1}')):
        (tmp_path / kind / "0").mkdir(parents=True)
        (tmp_path / kind / "0" / "artifact.json").write_text(content)
    record = {"files": {}, "recipe": {}, "summary": {"read": 1, "kept": 1}, "made": {"seconds": 1}}
    for number, inputs in enumerate(({}, {"responses": 5}, {"responses": []}, {"responses": [5]})):
        (tmp_path / "filter" / f"{number}").mkdir(parents=True)
        (tmp_path / "filter" / f"{number}" / "artifact.json").write_text(json.dumps(record | {"inputs": inputs}))
    assert price(plan, store) == before


def test_the_mfu_of_other_students_on_this_gpu_prices_a_stage(tmp_path: Path) -> None:
    gpu = {"train": {"gpus": 1, "gpu": "h100-80gb", "precision": "bf16"}}
    plan, store = small(tmp_path, hardware=gpu), Store(tmp_path / "store")
    ref, rows, train = (at(plan, address) for address in ("train/few", "tokenize/pool", "train/pool"))
    before = price(plan, store)[ref]
    hardware = {"threads": 1, "gpus": 1, "nodes": 1, "gpu": "h100-80gb"}
    add_record(plan, store, rows, PACKED, hardware)
    add_record(plan, store, train, TRAINED | {"mfu": 0.11}, hardware)
    now = price(plan, store)[ref]
    assert any("MFU 0.22: measured on stages of other students on this GPU, n = 1" in why for why in now.basis)
    assert priors.MFU.basis not in now.basis and now.gpu_hours.mid > before.gpu_hours.mid


def test_the_speed_of_one_stage_prices_the_next(tmp_path: Path) -> None:
    plan, store = small(tmp_path), Store(tmp_path / "store")
    before = price(plan, store)[at(plan, "train/few")]
    student, rows, train = (at(plan, address) for address in ("student", "tokenize/pool", "train/pool"))
    for ref, summary in ((student, {"parameters": 806_016}), (rows, PACKED), (train, TRAINED)):
        add_record(plan, store, ref, summary, {"threads": 1, "gpus": 0, "nodes": 1, "gpu": None})
    now = price(plan, store)
    cost, length = now[at(plan, "train/few")], SPEC["student"].get("max_length", 2048)
    assert any(
        f"{50 * length / 100:,.0f} slots a second: measured on stages of this student, n = 1" in why
        for why in cost.basis
    )
    assert priors.CPU_TRAINING.basis in before.basis
    assert priors.CPU_TRAINING.basis not in cost.basis
    assert now[train] == Cost()


def test_an_upstream_counts_as_finished_and_its_answers_as_paid_for(
    made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path
) -> None:
    plan, lab, _ = made
    ref, prompts = at(plan, "collect/pool"), at(plan, "queries/pool/q")
    store = Store(tmp_path / "mine", lab.root)
    costs = price(plan, store)
    there = price(plan, lab)
    assert {ref for ref, cost in costs.items() if cost == Cost()} == {ref for ref in plan.nodes if lab.is_done(ref)}
    few = at(plan, "collect/few")
    assert costs[ref] == Cost() and costs[few].requests == there[few].requests  # counted from the prompts there
    assert not store.root.exists()
    # prompts and answers alone are upstream: the node is to make, and asks nothing
    half = tmp_path / "half"
    shutil.copytree(lab.folder(prompts), half / prompts)
    shutil.copytree(lab.answers, half / "answers")
    cost = price(plan, Store(tmp_path / "mine", half))[ref]
    assert cost.requests == Range(0.0) and cost.usd.high == 0
    # those that the own ledger has are not counted twice
    shutil.copytree(lab.answers, tmp_path / "mine" / "answers")
    assert price(plan, Store(tmp_path / "mine", half))[ref].requests == Range(0.0)
