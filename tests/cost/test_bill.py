"""The paper's bill from its spec alone, what a price may never do, and prices against a store that was really made."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st

from orcac import text
from orcac.cost import figures, measured, priors
from orcac.cost.bill import FIGURES, Cost, price, total
from orcac.cost.figures import Range, between, times
from orcac.cost.flow import Flow
from orcac.cost.lengths import pack
from orcac.errors import EndpointError
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store
from orcac.tokenize.pack import best_fit_decreasing, shuffle_and_fill
from orcac.train.gpus import peak_flops

ROOT = Path(__file__).parents[2]
NOWHERE = Store(Path("nowhere"))


def planned(spec: Path) -> Plan:
    plan = Plan()
    lower(plan, load(spec))
    return plan


def at(plan: Plan, address: str, arm: str = "base") -> str:
    (experiment,) = plan.experiments.values()
    return experiment.addresses[arm][address]


# --- the paper ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bill() -> Any:
    spec = importlib.util.spec_from_file_location("paper_bill", ROOT / "benchmarks" / "paper_bill.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_papers_bill_comes_out_of_its_spec(bill: Any) -> None:
    printed = [line for line in bill.bill() if line.paper]
    assert len(printed) == 5
    for line in printed:
        assert line.ours / line.paper == pytest.approx(1, abs=0.15), line
        assert line.low < line.paper < line.high, line


def test_best_fit_packing_saves_the_hours_that_the_document_says(bill: Any) -> None:
    hours = {line.what: line.ours for line in bill.bill() if line.unit == "hours"}
    shuffled = hours["stage 1 on 20 A100"] + hours["stage 2 on 20 A100"]
    saved = shuffled - hours["stage 1, best-fit packing"] - hours["stage 2, best-fit packing"]
    said = f"{saved:.0f} of our {shuffled:.0f} training hours, {saved / shuffled * 100:.0f} %"
    assert said in " ".join(document().split())


def test_the_document_shows_what_the_code_says(bill: Any) -> None:
    for table in (bill.table(bill.bill()), bill.fits(), bill.hours()):
        assert table in document()
    for prior in vars(priors).values():
        if isinstance(prior, priors.Prior):
            assert f"| {prior.name} | {prior.mid:g} | {prior.low:g} to {prior.high:g} | {prior.why} |" in document()


def test_the_prior_of_mfu_is_what_the_papers_160_hours_imply(orca: tuple[Plan, dict[str, Cost]]) -> None:
    slots = 5_090_000 * 4 / 2.7 * 2048
    flops = 6 * 13.016e9 + 12 * 40 * 5120 * 2048
    implied = slots * flops / (20 * peak_flops("a100-80gb", "bf16") * 160 * 3600)
    assert implied == pytest.approx(priors.MFU.mid, abs=0.005)
    plan, costs = orca
    assert costs[at(plan, "student")].disk.mid == pytest.approx(2 * 13.016e9, rel=1e-3)


def test_expected_lengths_are_those_of_recorded_texts(data: Path) -> None:
    """By GPT-2's tokenizer, whose tokens are a few in a hundred more than the teachers'."""
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


@pytest.fixture(scope="module")
def orca() -> tuple[Plan, dict[str, Cost]]:
    plan = planned(ROOT / "specs" / "orca-13b.yaml")
    return plan, price(plan, NOWHERE)


def test_an_arm_pays_for_what_the_base_does_not_ask(orca: tuple[Plan, dict[str, Cost]]) -> None:
    plan, costs = orca
    (experiment,) = plan.experiments.values()
    base = experiment.arms["base"]

    def adds(arm: str) -> Cost:
        return total(plan, costs, experiment.arms[arm], paid=base)

    judged = adds("no-assistant").requests.mid
    assert adds("assistant-at-1m").requests.mid == judged  # ChatGPT's million are among its five
    assert adds("expert-at-5m").requests.mid == pytest.approx(4_090_000 + judged)  # and GPT-4's, the other way round
    assert adds("base").requests.mid == 0
    both = total(plan, costs, [*base, *experiment.arms["expert-at-5m"]])
    assert both.requests.mid == pytest.approx(total(plan, costs, base).requests.mid + adds("expert-at-5m").requests.mid)


def test_no_total_is_more_than_its_parts_and_every_range_holds_its_middle(orca: tuple[Plan, dict[str, Cost]]) -> None:
    plan, costs = orca
    whole = total(plan, costs, list(plan.nodes))
    for name in FIGURES:
        parts = [getattr(cost, name) for cost in costs.values()]
        assert all(0 <= part.low <= part.mid <= part.high < math.inf for part in parts)
        assert getattr(whole, name).mid <= figures.total(parts).mid * (1 + 1e-9)
        assert getattr(whole, name).low <= getattr(whole, name).mid <= getattr(whole, name).high


# --- arithmetic --------------------------------------------------------------------------------------------------


def test_what_rests_on_one_unknown_adds_and_on_two_combines_in_quadrature() -> None:
    one, same, other = times(10, 1.2, "a"), times(5, 1.2, "a"), times(10, 1.2, "b")
    assert (one * same).high == pytest.approx(50 * 1.44)
    assert (one * other).high == pytest.approx(100 * math.exp(math.hypot(math.log(1.2), math.log(1.2))))
    assert (one / same).high == pytest.approx(2)  # wrong together, so their ratio is right
    assert (Range(1.0) / one).low == pytest.approx(1 / 12)
    assert figures.total([one] * 1000).high == pytest.approx(12_000)  # not 10,000 ± what chance would leave
    assert figures.total([one, other]).high < 24
    assert (one + Range(10.0)).high == pytest.approx(22)
    assert (Range(3.0) * 2).is_exact


@given(st.floats(0.1, 1e9), st.floats(1, 9), st.floats(1, 9))
def test_ranges_hold_their_middle(mid: float, down: float, up: float) -> None:
    figure = between(mid / down, mid, mid * up, "a")
    capped = figure.at_most(mid * 1.5), figure.at_most(mid / 1.5)
    assert capped[0].high <= mid * 1.5 * (1 + 1e-9)
    assert capped[1].high <= mid / 1.5 * (1 + 1e-9)
    added, rooted = figure + times(mid, 2, "b"), figure.through(math.sqrt)
    for made in (figure, figure * figure, Range(1.0) / figure, added, rooted, *capped):
        assert made.low <= made.mid * (1 + 1e-9)
        assert made.mid <= made.high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("figure", "show", "text"),
    [
        (times(5148, 1.25, "a"), partial(text.dollars, digits=2), "5,100 USD (4,100 to 6,400)"),
        (times(0.0543, 1.5, "a"), partial(text.dollars, digits=2), "0.054 USD (0.036 to 0.081)"),
        (Range(6.71 * 86400), text.duration, "6.7 days"),
        (times(3000, 3, "a"), text.duration, "50 min (17 min to 2.5 h)"),
        (Range(5_090_000.0), text.count, "5.09 M"),
        (Range(999_999.0), text.count, "1.00 M"),
        (Range(17_038.0), text.count, "17,038"),
        (Range(17_038.0), text.brief, "17 k"),
        (Range(370_123.0), text.brief, "370 k"),
        (Range(2546.0), text.brief, "2,546"),
        (Range(0.2), text.duration, "< 1 s"),
        (Range(52e9), text.size, "52 GB"),
        (Range(0.0), partial(text.dollars, digits=2), "0 USD"),
        (Range(3601.0), text.duration, "1.0 h"),
    ],
)  # fmt: skip
def test_figures_are_written_for_people(figure: Range, show: Any, text: str) -> None:
    assert figures.with_range(figure, show) == text


@pytest.mark.parametrize("mean", [60, 300, 604, 773, 1500])
def test_the_simulated_packer_is_the_real_one(mean: float) -> None:
    rng = np.random.default_rng(0)
    lengths = np.maximum(1, np.round(rng.lognormal(math.log(mean) - 0.62**2 / 2, 0.62, 20_000))).astype(int)
    lengths = lengths[lengths <= 2048]
    shuffled, best = shuffle_and_fill(lengths, 2048, rng), best_fit_decreasing(lengths, 2048)
    assert pack(mean, 2048, "shuffle").per_row == pytest.approx(len(lengths) / len(shuffled), rel=0.03)
    assert pack(mean, 2048, "best-fit").per_row == pytest.approx(len(lengths) / len(best), rel=0.03)
    assert pack(mean, 2048, "shuffle").fit == pytest.approx(len(lengths) / 20_000, abs=0.01)


# --- a store -----------------------------------------------------------------------------------------------------

SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "small",
    "seed": 3,
    "queries": {"q": {"format": "puzzles", "task": "boolean_expressions", "size": [3, 5], "take": 80}},
    "system_messages": {"messages": {"7": "Explain each step."}, "draw": {"q": [7]}},
    "teachers": {
        "a": {"model": "assistant", "endpoint": {"kind": "solver"}, "price": {"input": 1000, "output": 2000}},
        "b": {"model": "expert", "endpoint": {"kind": "solver"}},
    },
    "datasets": {
        "pool": {"teacher": "a", "queries": ["q"]},
        "few": {"teacher": "a", "sample": {"from": "pool", "take": 30}},
        "fewer": {"teacher": "b", "sample": {"from": "pool", "take": 10}},
    },
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["pool"]}},
    "stages": {name: {"dataset": name, "epochs": 1} for name in ("pool", "few", "fewer")},
    "curriculum": ["pool", "few", "fewer"],
}
MORE = SPEC["datasets"] | {"few": {"teacher": "a", "queries": ["r"]}}


def small(folder: Path, name: str = "small", **changes: Any) -> Plan:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(SPEC | {"name": name} | changes))
    return planned(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store, dict[str, Cost]]:
    """The pool is asked and nothing else; and what it was to cost before."""
    folder = tmp_path_factory.mktemp("cost")
    plan, store = small(folder), Store(folder / "store")
    before = price(plan, store)
    for address in ("queries/pool/q", "collect/pool"):
        make(plan, store, at(plan, address))
    return plan, store, before


def test_what_was_estimated_is_what_was_then_measured(made: tuple[Plan, Store, dict[str, Cost]]) -> None:
    plan, store, before = made
    ref = at(plan, "collect/pool")
    summary, estimate = store.artifact(ref)["summary"], before[ref]
    assert estimate.requests == Range(80.0)
    assert estimate.output_tokens.low < summary["output_tokens"] < estimate.output_tokens.high
    assert estimate.usd.low < summary["usd"] < estimate.usd.high
    assert estimate.usd_batch.mid == pytest.approx(estimate.usd.mid / 2)
    assert price(plan, store)[ref] == Cost()  # done costs nothing


def test_what_a_finished_pool_answered_is_not_asked_again(made: tuple[Plan, Store, dict[str, Cost]]) -> None:
    plan, store, before = made
    now = price(plan, store)
    assert before[at(plan, "collect/few")].requests.mid == 30
    assert now[at(plan, "collect/few")].requests.mid == 0  # nobody has drawn it yet, but it is part of the pool
    assert now[at(plan, "collect/fewer")].requests.mid == 10  # another teacher
    together = total(plan, before, list(plan.nodes))
    assert together.requests.mid == 90  # so neither is it counted twice before


def test_answers_in_the_ledger_are_not_counted_again(made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path) -> None:
    plan, store, _ = made
    ref, prompts = at(plan, "collect/pool"), at(plan, "queries/pool/q")
    half = Store(tmp_path)
    half.folder(prompts).parent.mkdir()
    half.folder(prompts).symlink_to(store.folder(prompts))
    half.answers.mkdir()
    (segment,) = store.answers.glob("*.jsonl")
    lines = segment.read_text().splitlines(keepends=True)
    (half.answers / "one.jsonl").write_text("".join(lines[:50]) + lines[50][:40])  # a kill in the middle of the 51st
    cost = price(plan, half)[ref]
    answers = [json.loads(line)["response"]["output_tokens"] for line in lines[:50]]
    assert cost.requests == Range(30.0)
    assert cost.output_tokens.mid == pytest.approx(30 * sum(answers) / 50)
    assert sum("measured from 50 answers to these prompts" in why for why in cost.basis) == 2  # read and written

    (half.answers / "one.jsonl").write_text("".join(lines[:5]))  # fewer are something, too
    cost = price(plan, half)[ref]
    assert cost.requests == Range(75.0) and cost.output_tokens.mid == pytest.approx(75 * sum(answers[:5]) / 5)
    assert cost.output_tokens.high > 1.4 * cost.output_tokens.mid
    # what this teacher said so far is known where nothing can be looked up: the other dataset is not drawn yet
    other = small(tmp_path, queries=SPEC["queries"] | {"r": SPEC["queries"]["q"] | {"size": [4, 6]}}, datasets=MORE)
    assert any("measured from 5 answers" in why for why in price(other, half)[at(other, "collect/few")].basis)


def test_of_many_questions_a_part_is_looked_up(
    made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store, _ = made
    monkeypatch.setattr(measured, "LOOKED_UP", 40)
    half = Store(tmp_path)
    ref, prompts = at(plan, "collect/pool"), at(plan, "queries/pool/q")
    half.folder(prompts).parent.mkdir()
    half.folder(prompts).symlink_to(store.folder(prompts))
    half.answers.mkdir()
    (segment,) = store.answers.glob("*.jsonl")
    lines = segment.read_text().splitlines(keepends=True)
    (half.answers / "one.jsonl").write_text("".join(lines[:40]))
    cost = price(plan, half)[ref]
    assert cost.requests.mid == pytest.approx(40, abs=15)
    assert any("of 80, at random" in why for why in cost.basis)


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
        both = total(plan, now, list(plan.nodes))
        assert both.usd.mid == pytest.approx(said, rel=0.02)
        assert any("of it are left" in why for why in both.basis)
        billed = 120 * (7 * 1000 + 11 * 2000) / 1e6
    ask = total(plan, before, [at(plan, "collect/b"), at(plan, "collect/c")])
    assert ask.requests.mid == 120 and ask.usd.low < billed < ask.usd.high


def test_measured_means_win_over_what_is_expected(made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path) -> None:
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
    (tmp_path / "q.parquet").write_text("none")
    assert asked(format="parquet", path="q.parquet", fields={"query": "q"}).requests.mid == priors.QUERIES.mid


def test_a_damaged_record_says_nothing(made: tuple[Plan, Store, dict[str, Cost]], tmp_path: Path) -> None:
    plan, _, before = made
    store = Store(tmp_path)
    for kind, content in (("collect", "{"), ("tokenize", "[]"), ("train", '{"recipe": 1}')):
        (tmp_path / kind / "0").mkdir(parents=True)
        (tmp_path / kind / "0" / "artifact.json").write_text(content)
    assert price(plan, store) == before


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


def whole(**changes: Any) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        plan = small(Path(folder), curriculum=["pool"], **changes)
    return total(plan, price(plan, NOWHERE), list(plan.nodes))


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
    assert total(batched, batch, both).seconds.mid == max(batch[one].seconds.mid for one in both)
    assert total(plan, online, both).seconds.mid > max(online[one].seconds.mid for one in both)


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


def test_what_is_computed_twice_or_moved_to_the_cpu_takes_longer() -> None:
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


def test_a_stage_in_tokens_is_priced_as_the_epochs_that_it_amounts_to(tmp_path: Path) -> None:
    plan = small(tmp_path)
    flow, ref = Flow(plan, NOWHERE), at(plan, "tokenize/pool")
    rows = flow.rows(ref)
    tokens = round(10 * rows.count.mid * rows.length * rows.fill)
    stages = {"pool": {"dataset": "pool", "epochs": 10}}
    by_epochs = whole(stages=SPEC["stages"] | stages).seconds
    by_tokens = whole(stages=SPEC["stages"] | {"pool": {"dataset": "pool", "tokens": tokens}}).seconds
    assert by_tokens.mid == pytest.approx(by_epochs.mid, rel=0.01)
    assert by_tokens.high < by_epochs.high  # how many rows there are is no unknown of it


def test_the_mfu_of_other_students_on_this_gpu_prices_a_stage(tmp_path: Path) -> None:
    gpu = {"train": {"gpus": 1, "gpu": "h100-80gb", "precision": "bf16"}}
    plan, store = small(tmp_path, hardware=gpu), Store(tmp_path / "store")
    ref, rows, train = (at(plan, address) for address in ("train/few", "tokenize/pool", "train/pool"))
    before = price(plan, store)[ref]
    for made, summary in ((rows, {"rows": 50, "packed": 200, "tokens": 50 * 2048 / 2}), (train, {"mfu": 0.11})):
        node = plan.nodes[made]
        record = {
            "recipe": node.recipe.model_dump(mode="json"),
            "inputs": {role: list(refs) for role, refs in node.inputs.items()},
            "summary": summary,
            "made": {"seconds": 106.0},
            "hardware": {"threads": 1, "gpus": 1, "nodes": 1, "gpu": "h100-80gb"},
            "files": {},
        }
        store.folder(made).mkdir(parents=True)
        store.marker(made).write_text(json.dumps(record))
    now = price(plan, store)[ref]
    assert any("MFU 0.22: measured on stages of other students on this GPU, n = 1" in why for why in now.basis)
    assert priors.MFU.basis not in now.basis and now.gpu_hours.mid > before.gpu_hours.mid


def test_the_speed_of_one_stage_prices_the_next(tmp_path: Path) -> None:
    plan, store = small(tmp_path), Store(tmp_path / "store")
    before = price(plan, store)[at(plan, "train/few")]
    student, rows, train = (at(plan, address) for address in ("student", "tokenize/pool", "train/pool"))
    for ref, summary in ((student, {"parameters": 806_016}), (rows, {"rows": 50, "packed": 200}), (train, {})):
        node = plan.nodes[ref]
        record = {
            "recipe": node.recipe.model_dump(mode="json"),
            "inputs": {role: list(refs) for role, refs in node.inputs.items()},
            "summary": summary,
            "made": {"seconds": 106.0},
            "hardware": {"threads": 1, "gpus": 0, "nodes": 1, "gpu": None},
            "files": {},
        }
        store.folder(ref).mkdir(parents=True)
        store.marker(ref).write_text(json.dumps(record))
    now = price(plan, store)
    cost, length = now[at(plan, "train/few")], SPEC["student"].get("max_length", 2048)
    assert any(
        f"{50 * length / 100:,.0f} slots a second: measured on stages of this student, n = 1" in why
        for why in cost.basis
    )
    assert priors.CPU_TRAINING.basis in before.basis
    assert priors.CPU_TRAINING.basis not in cost.basis
    assert now[train] == Cost()


def test_a_model_that_is_here_is_priced_by_its_config_whatever_that_says(tmp_path: Path) -> None:
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


def test_a_budget_that_does_not_suffice_is_said() -> None:
    assert not any("its budget" in why for why in whole(budget="1_000 USD").basis)
    assert any(
        "its budget of 1.00 USD ends it before everything is asked" in why for why in whole(budget="1 USD").basis
    )
