"""Tests of orcac/cost/bill.py, orcac/cost/prices.py and orcac/cost/questions.py."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from faults import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st
from priced import NOWHERE, ROOT, SPEC, at, planned, whole

from orcac.cost import figures
from orcac.cost.bill import FIGURES, Cost, price, total_cost
from orcac.errors import EndpointError
from orcac.make import make
from orcac.plan.plan import Plan
from orcac.store.store import Store


def test_an_arm_pays_for_the_questions_that_the_base_does_not_ask(orca: tuple[Plan, dict[str, Cost]]) -> None:
    plan, costs = orca
    (experiment,) = plan.experiments.values()
    base = experiment.arms["base"]

    def adds(arm: str) -> Cost:
        return total_cost(plan, costs, experiment.arms[arm], paid=base)

    judged = adds("no-assistant").requests.mid
    assert adds("assistant-at-1m").requests.mid == judged  # ChatGPT's million is part of its five
    assert adds("expert-at-5m").requests.mid == pytest.approx(4_090_000 + judged)  # and GPT-4's, the other way round
    assert adds("base").requests.mid == 0
    both = total_cost(plan, costs, [*base, *experiment.arms["expert-at-5m"]])
    assert both.requests.mid == pytest.approx(
        total_cost(plan, costs, base).requests.mid + adds("expert-at-5m").requests.mid
    )


def test_no_total_exceeds_its_parts_and_every_range_contains_its_middle(orca: tuple[Plan, dict[str, Cost]]) -> None:
    plan, costs = orca
    whole = total_cost(plan, costs, list(plan.nodes))
    for name in FIGURES:
        parts = [getattr(cost, name) for cost in costs.values()]
        assert all(0 <= part.low <= part.mid <= part.high < math.inf for part in parts)
        assert getattr(whole, name).mid <= figures.sum_ranges(parts).mid * (1 + 1e-9)
        assert getattr(whole, name).low <= getattr(whole, name).mid <= getattr(whole, name).high


def test_an_evaluation_that_version_1_made_costs_no_gpu_hours(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text((ROOT / "specs" / "smoke.yaml").read_text() + "hardware: {eval: {gpus: 1}}\n")
    plan, store = planned(spec), Store(tmp_path / "store")
    ref, other = (at(plan, "eval/held-out", arm) for arm in ("base", "no-first"))
    before = price(plan, store)[ref]
    assert before.gpu_hours.mid > 0
    earlier = plan.nodes[ref].execution.earlier[1]
    store.folder(earlier).mkdir(parents=True)
    store.marker(earlier).write_text("{}")
    after = price(plan, store)
    assert after[ref].gpu_hours.high == 0 and after[ref].seconds.mid < before.seconds.mid
    assert after[other].gpu_hours.mid > 0
    assert after[at(plan, "score/held-out")].gpu_hours.high == after[at(plan, "score/held-out")].usd.high == 0


def test_questions_that_a_finished_pool_answered_cost_nothing(made: tuple[Plan, Store, dict[str, Cost]]) -> None:
    plan, store, before = made
    now = price(plan, store)
    assert before[at(plan, "collect/few")].requests.mid == 30
    assert now[at(plan, "collect/few")].requests.mid == 0  # it is not drawn yet, but it is part of the pool
    assert now[at(plan, "collect/fewer")].requests.mid == 10  # another teacher
    together = total_cost(plan, before, list(plan.nodes))
    assert together.requests.mid == 90  # so neither is it counted twice before


TWO_TEACHERS = """
orcac: 1
name: two
queries: {q: {format: jsonl, path: q.jsonl, fields: {query: q}}}
teachers:
  b:
    {model: b, endpoint: &here {kind: openai, base_url: URL, concurrency: 4}, sampling: &short {max_tokens: 16},
     price: &usd {input: 1000, output: 2000}}
  c: {model: c, endpoint: *here, sampling: *short, price: *usd}
datasets: {b: {teacher: b, queries: [q]}, c: {teacher: c, queries: [q]}}
student: {size: tiny, tokenizer: {vocabulary: 300, train_on: [b]}, max_length: 512}
stages: {b: {dataset: b, epochs: 1, batch: 8 rows}, c: {dataset: c, epochs: 1, batch: 8 rows}}
curriculum: [b, c]
budget: 1 USD
"""


def test_a_budget_that_stops_two_teachers_and_their_cost_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    store = Store(tmp_path / "store")
    (tmp_path / "q.jsonl").write_text("".join(f'{{"q": "question {n}"}}\n' for n in range(60)))
    with FaultServer() as server:
        (tmp_path / "two.yaml").write_text(TWO_TEACHERS.replace("URL", server.base_url))
        plan = planned(tmp_path / "two.yaml")
        before = price(plan, store)
        make(plan, store, at(plan, "queries/b/q"))
        said = 0.0
        for name, usd in (("b", "1 USD"), ("c", "2 USD")):
            (tmp_path / "two.yaml").write_text(TWO_TEACHERS.replace("URL", server.base_url).replace("1 USD", usd))
            plan = planned(tmp_path / "two.yaml")
            with pytest.raises(EndpointError, match="holds no further request") as caught:
                make(plan, store, at(plan, f"collect/{name}"))
            assert f"for `collect {name}` alone" in caught.value.fix
            said += float(re.search(r"would cost about ([\d.]+) USD", caught.value.message)[1])  # type: ignore[index]
        now = price(plan, store)
        both = total_cost(plan, now, list(plan.nodes))
        assert both.usd.mid == pytest.approx(said, rel=0.02)
        assert any("of it are left" in why for why in both.basis)
        billed = 120 * (7 * 1000 + 11 * 2000) / 1e6
    ask = total_cost(plan, before, [at(plan, "collect/b"), at(plan, "collect/c")])
    assert ask.requests.mid == 120 and ask.usd.low < billed < ask.usd.high


@settings(max_examples=20, deadline=None)
@given(st.integers(30, 10**8), st.integers(30, 10**8))
def test_more_queries_never_cost_less(one: int, other: int) -> None:
    less, more = sorted((one, other))
    costs = []
    for take in (less, more):
        files = {"format": "jsonl", "path": "${LATER}/q.jsonl", "missing": "later", "fields": {"query": "q"}}
        asked = {"model": "m", "endpoint": {"kind": "openai"}, "price": {"input": 1, "output": 2}}
        costs.append(whole(queries={"q": files | {"take": take}}, teachers=SPEC["teachers"] | {"a": asked}))
    assert costs[0].usd.mid > 0
    for name in FIGURES:
        assert getattr(costs[0], name).mid <= getattr(costs[1], name).mid * (1 + 1e-9)


def test_batches_are_cheaper_and_do_not_wait_for_one_another(tmp_path: Path) -> None:
    def priced(mode: str) -> tuple[Plan, dict[str, Cost]]:
        path = tmp_path / f"{mode}.yaml"
        path.write_text(ASKED.replace("MODE", mode))
        plan = planned(path)
        return plan, price(plan, NOWHERE)

    (plan, online), (batched, batch), (_, auto) = map(priced, ("online", "batch", "auto"))
    ref = at(plan, "collect/one")
    assert batch[ref].usd_spec.mid == auto[ref].usd_spec.mid == online[ref].usd_spec.mid * 0.25 > 0
    assert batch[ref].usd == online[ref].usd and online[ref].usd_batch == batch[ref].usd_batch
    assert not any("mode: auto" in why for why in batch[ref].basis) and any(
        "mode: auto" in why for why in auto[ref].basis
    )
    both = [ref, at(plan, "collect/two")]
    assert total_cost(batched, batch, both).seconds.mid == max(batch[one].seconds.mid for one in both)
    assert total_cost(plan, online, both).seconds.mid > max(online[one].seconds.mid for one in both)


ASKED = """
orcac: 1
name: asked
queries: {q: {format: puzzles, task: boolean_expressions, size: [3, 3], take: 100}}
teachers: {t: {model: m, endpoint: {kind: openai, mode: MODE}, price: {input: 1, output: 2, batch: 0.25}}}
datasets:
  one: {teacher: t, queries: [q]}
  two: {teacher: t, queries: [q], draw: {q: [2]}}
system_messages: {messages: {2: "Think."}}
student: {size: tiny, tokenizer: {vocabulary: 300, train_on: [one]}, max_length: 512}
stages: {a: {dataset: one, epochs: 1, batch: 8 rows}, b: {dataset: two, epochs: 1, batch: 8 rows}}
curriculum: [a, b]
"""


def test_a_longer_answer_a_dearer_model_or_a_slower_gpu_costs_more() -> None:
    gpu = {"train": {"gpus": 1, "gpu": "h100-80gb", "precision": "bf16", "price": 2}}
    usual = whole(hardware=gpu)
    slower = whole(hardware={"train": gpu["train"] | {"gpu": "a100-80gb"}})
    measured = whole(hardware={"train": gpu["train"] | {"mfu": 0.18}})
    assert slower.gpu_hours.mid > usual.gpu_hours.mid
    assert measured.gpu_hours.mid > usual.gpu_hours.mid
    assert usual.gpu_usd.mid == pytest.approx(2 * usual.gpu_hours.mid)
    assert any("hardware.train.mfu" in why for why in measured.basis)


def test_recomputing_and_offloading_take_longer() -> None:
    gpu = {"gpus": 2, "gpu": "h100-80gb", "precision": "bf16"}

    def hours(**how: Any) -> float:
        stages = SPEC["stages"] | {
            "pool": {"dataset": "pool", "epochs": 10**6}
        }  # long enough for starting to be little
        return whole(stages=stages, hardware={"train": gpu | how}).gpu_hours.mid

    plain = hours()
    assert hours(recompute=True) == pytest.approx(plain * 4 / 3, rel=0.02)
    assert hours(zero=2, offload=True) > plain == pytest.approx(hours(zero=2))
    stated = hours(mfu=0.36)
    assert stated == pytest.approx(plain, rel=0.01) and hours(mfu=0.36, recompute=True) == stated  # as it was measured


def test_a_budget_that_does_not_suffice_is_named() -> None:
    assert not any("its budget" in why for why in whole(budget="1_000 USD").basis)
    assert any(
        "its budget of 1.00 USD is spent before all requests are sent" in why for why in whole(budget="1 USD").basis
    )
