"""Tests of orcac/cost/student_answer.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from priced import NOWHERE, SPEC, add_record, at, small

from orcac.cost import priors
from orcac.cost.flow import Flow
from orcac.cost.prices import PRICERS
from orcac.cost.student_answer import estimate_answer
from orcac.store.store import Store

SOLVER, SERVED = {"kind": "solver"}, {"kind": "openai"}
THINKING = {"max_tokens": 2_000, "extra": {"reasoning": True}}
ANSWER = priors.ANSWER.mid
RATIO = priors.STUDENT_RATIO.mid * priors.OWN_TOKENIZER.mid
REASONING = 1_000 * (1 - priors.ANSWER_SHARE.mid) * RATIO  # of the student, if its teacher writes 1,000 tokens


def estimate(
    folder: Path,
    *,
    learn: tuple[str, ...] = ("reasoning", "answer"),
    share: float | None = None,
    endpoint: dict[str, str] = SOLVER,
    sampling: dict[str, Any] = THINKING,
    filters: dict[str, Any] | None = None,
    **benchmark: Any,
) -> tuple[float, tuple[str, ...]]:
    """Return the tokens of a student's answer to an item, and the basis. `share`: of reasoning in the kept answers."""
    teachers = {"a": {"model": "assistant", "endpoint": endpoint, "sampling": sampling, "expect": 1_000}}
    item = {"format": "puzzles", "task": "navigate", "size": [2, 4], "take": 50, "max_tokens": 4_096}
    plan = small(
        folder,
        teachers=teachers,
        datasets={"pool": SPEC["datasets"]["pool"]},
        stages={"pool": {"dataset": "pool", "epochs": 1, "learn": learn}},
        curriculum=["pool"],
        filters=filters or {},
        benchmarks={"b": item | benchmark},
    )
    store = NOWHERE
    if share is not None:
        store = Store(folder / "store")
        add_record(plan, store, at(plan, "collect/pool"), {"prompts": 80, "answered": 80}, {})
        add_record(plan, store, at(plan, "filter/pool"), {"read": 80, "kept": 80, "reasoning": share}, {})
    flow = Flow(plan, store)
    tokens, basis = estimate_answer(flow, at(plan, "eval/b"))
    assert PRICERS["eval"](flow, plan.nodes[at(plan, "eval/b")], {}).basis[-len(basis) :] == basis
    return tokens.mid, basis


def test_a_student_that_learns_reasoning_writes_it_before_its_answers(tmp_path: Path) -> None:
    both, basis = estimate(tmp_path)
    assert both == pytest.approx(ANSWER + REASONING) and "reasoning 928:" in basis[-1]
    assert estimate(tmp_path, samples=3, temperature=0.7)[0] == pytest.approx(3 * both)
    assert estimate(tmp_path, learn=("answer",)) == (ANSWER, (priors.ANSWER.basis,))
    assert estimate(tmp_path, max_tokens=700)[0] == 700
    assert estimate(tmp_path, reasoning="off")[0] == ANSWER
    assert estimate(tmp_path, reasoning=120)[0] == pytest.approx(ANSWER + 120)
    assert estimate(tmp_path, share=0.5)[0] == pytest.approx(ANSWER + 500 * RATIO)


def test_a_teacher_that_may_not_reason_adds_nothing(tmp_path: Path) -> None:
    plain = {"max_tokens": 2_000}
    assert estimate(tmp_path, sampling=plain)[0] == ANSWER
    assert estimate(tmp_path, sampling=plain, endpoint=SERVED)[0] == ANSWER
    asked = estimate(tmp_path, sampling=plain | {"reasoning": "on"}, endpoint=SERVED)
    kept = estimate(tmp_path, sampling=plain, endpoint=SERVED, filters={"tokens": {"reasoning": {"min": 1}}})
    assert [asked[0], kept[0]] == pytest.approx([ANSWER + REASONING] * 2, rel=1e-3)
