"""What `orcac cost` predicts against what a server bills: several answers to a question, selections, chosen questions.

A pilot of 25 questions is asked first, as a user would to learn the price of the rest.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import FaultServer, Reply
from making import SPEC, Made

from orcac.collect.recipe import CollectSummary
from orcac.cost.bill import Cost, price, price_flow, total_cost
from orcac.cost.flow import Flow

PRICE = {"input": 30, "output": 60}
QUESTIONS, SAMPLES, PILOT, CHOSEN = 160, 4, 25, 40
POOL = {"teacher": "t", "queries": ["q"], "samples": SAMPLES}
DATASETS = {
    "pool": POOL,
    "pilot": {"teacher": "t", "sample": {"from": "pool", "take": PILOT}, "samples": SAMPLES},
    "shortest": POOL | {"filters": {"select": {"by": "shortest", "keep": 1}}},
    "majority": POOL | {"filters": {"select": {"by": "majority", "keep": 1}}},
    "one": POOL | {"samples": 1},
    "chosen": {"teacher": "u", "sample": {"from": "pool", "take": CHOSEN, "by": "length", "prefer": "low"}},
}


class Meter:
    """A behaviour of the server: answers with a long tail of lengths. It keeps the tokens that it bills."""

    def __init__(self) -> None:
        self.usd = 0.0

    def __call__(self, question: str, before: int) -> Reply:
        luck = np.random.default_rng(zlib.crc32(f"{question} {before}".encode()))
        read, written = len(question) // 4 + 7, 1 + int(luck.lognormal(4, 1))
        text = f"{'word ' * min(written, 50)}So the answer is {'Yes' if luck.random() < 0.75 else 'No'}."
        self.usd += (read * PRICE["input"] + written * PRICE["output"]) / 1e6
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return Reply({"choices": choices, "usage": usage}, bills=True)


def plan(folder: Path, url: str) -> Made:
    endpoint = {"kind": "openai", "base_url": url}
    sampling = {"temperature": 0.7, "max_tokens": 4096}
    teachers = {
        name: {"model": name, "endpoint": endpoint, "price": PRICE, "sampling": sampling} for name in ("t", "u")
    }
    queries = {"q": {"format": "puzzles", "task": "navigate", "size": [2, 6], "take": QUESTIONS}}
    student = SPEC["student"] | {"tokenizer": {"vocabulary": 400, "train_on": ["pool"]}}
    others = {name: {"stages": {"s": {"dataset": name}}} for name in DATASETS if name != "pool"}
    stages: dict[str, Any] = {"s": {"dataset": "pool", "epochs": 1, "batch": 1}}
    return Made(
        folder, teachers=teachers, queries=queries, datasets=DATASETS, student=student, stages=stages, ablations=others
    )


def price_answers(made: Made) -> Cost:
    """Return the cost of all answers that are still to be asked for."""
    return total_cost(made.plan, price(made.plan, made.store), [ref for ref in made.plan.nodes if "collect" in ref])


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    return Meter()


def test_the_bill_is_the_predicted_one(tmp_path: Path, meter: Meter) -> None:
    with FaultServer(meter) as server:
        made = plan(tmp_path, server.base_url)
        assert price_answers(made).requests.mid == QUESTIONS * SAMPLES + CHOSEN, "arms share the answers to a prompt"
        made.make("collect/pilot", "pilot")
        assert server.billed.total() == PILOT * SAMPLES
        rest, paid = price_answers(made), meter.usd
        flow = Flow(made.plan, made.store)
        pool = price_flow(flow)[made.ref("collect/pool")]
        assert rest.requests.mid == (QUESTIONS - PILOT) * SAMPLES + CHOSEN
        assert pool.requests.mid == (QUESTIONS - PILOT) * SAMPLES
        for name in DATASETS:
            made.make(f"filter/{name}", "base" if name == "pool" else name)
            if name == "pool":
                assert pool.usd.low < meter.usd - paid < pool.usd.high
                assert pool.usd.high < 2.5 * pool.usd.low, "a range without an end would always be right"
        assert server.billed.total() == PILOT * SAMPLES + rest.requests.mid
        assert rest.usd.low < meter.usd - paid < rest.usd.high
        assert price_answers(made).usd.mid == price_answers(made).requests.mid == 0
    answered = {ref for ref in made.plan.nodes if "collect" in ref}
    records = [json.loads(made.store.marker(ref).read_text()) for ref in answered]
    asked = [CollectSummary.from_json(record["summary"], tmp_path) for record in records]
    # the pool and the chosen questions are all that was paid for
    assert sum(one.usd for one in asked if one.prompts in (QUESTIONS * SAMPLES, CHOSEN)) == pytest.approx(meter.usd)
    for name, share in (("shortest", 1), ("majority", 0.9)):
        kept, predicted = len(made.kept(name, name)), flow.examples(made.ref(f"filter/{name}", name)).count
        assert predicted.low < kept <= predicted.high and kept <= QUESTIONS * share
