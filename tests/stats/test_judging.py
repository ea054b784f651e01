"""The statistics of judgements: recorded reviews, a bias that is put in and found again, and the edges."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from orcac.stats.judging import Judgement, compare_pairs


def recorded(data: Path, pair: str) -> list[Judgement]:
    folder, vicuna = data / "fastchat_reviews", "vicuna-13b-20230322-new-hp-fp16"

    def read(name: str) -> dict[int, dict[str, object]]:
        rows = map(json.loads, (folder / name).read_text().splitlines())
        return {row["question_id"]: row for row in rows}

    reviews = read(f"review/review_{pair}_{vicuna}.jsonl")
    shown, answered = read(f"answer/answer_{pair}.jsonl"), read(f"answer/answer_{vicuna}.jsonl")
    return [
        Judgement(
            question=str(id),
            reference=row["score"][0],
            candidate=row["score"][1],
            candidate_first=False,
            candidate_length=len(answered[id]["text"]),
            reference_length=len(shown[id]["text"]),
        )
        for id, row in reviews.items()
    ]


def test_recorded_reviews_give_the_known_figures(data: Path) -> None:
    found = compare_pairs(recorded(data, "bard"))
    assert (found.candidate_total, found.reference_total) == (662, 661.5)
    assert found.ratio == pytest.approx(1.0008, abs=5e-5)
    assert found.ratio_interval == pytest.approx((0.957, 1.041), abs=0.003)
    assert (found.wins, found.ties, found.losses) == (39, 13, 28)
    assert (found.longer_wins, found.longer_decided) == (43, 67)
    assert found.position_bias is None and found.both_orders == 0
    found = compare_pairs(recorded(data, "alpaca-13b"))
    assert (found.candidate_total, found.reference_total) == (696.5, 576)
    assert found.ratio == pytest.approx(1.2092, abs=5e-5)
    assert (found.wins, found.ties, found.losses) == (76, 0, 4)
    without = compare_pairs([one for one in recorded(data, "alpaca-13b") if one.question not in ("68", "69", "70")])
    assert found.ratio and without.ratio
    assert found.ratio - without.ratio == pytest.approx(0.0265, abs=5e-4)  # the three math reviews


def both_orders(*, count: int, first: float, seed: int = 0) -> list[Judgement]:
    """Return judgements in both orders by a judge who gives `first` points more to the answer that it sees first."""
    draw, judgements = random.Random(seed), []
    for number in range(count):
        candidate, reference = draw.uniform(3, 8), draw.uniform(3, 8)
        lengths = {"candidate_length": draw.randint(1, 99), "reference_length": draw.randint(1, 99)}
        for is_first in (False, True):
            judgements.append(
                Judgement(
                    question=f"q{number}",
                    candidate=round(candidate + draw.gauss(0, 0.5)) + first * is_first,
                    reference=round(reference + draw.gauss(0, 0.5)) + first * (not is_first),
                    candidate_first=is_first,
                    **lengths,
                )
            )
    return judgements


def test_a_bias_for_the_first_slot_is_found_and_leaves_the_scores_alone() -> None:
    biased, fair = (compare_pairs(both_orders(count=1000, first=first)) for first in (1.0, 0.0))
    assert biased.position_bias == pytest.approx(1.0, abs=0.1)
    assert biased.position_interval is not None and biased.position_interval.low <= 1.0 <= biased.position_interval.high
    assert fair.position_bias == pytest.approx(0.0, abs=0.1)
    assert (biased.wins, biased.losses) == (fair.wins, fair.losses)
    assert biased.flips > fair.flips
    assert biased.both_orders == 1000


def test_orders_and_runs_of_a_question_are_one_unit() -> None:
    once = both_orders(count=40, first=0.5)
    twice = compare_pairs([*once, *(replace(one, run=1) for one in once)])
    single = compare_pairs(once)
    assert (twice.questions, twice.ratio, twice.ratio_interval) == (40, single.ratio, single.ratio_interval)
    assert (twice.wins, twice.p, twice.position_bias) == (single.wins, single.p, single.position_bias)
    assert (twice.both_orders, twice.flips) == (80, 2 * single.flips)
    shuffled = random.Random(1).sample(once, len(once))
    assert compare_pairs(shuffled) == single


def test_always_eight_is_all_ties_and_a_reference_without_points_has_no_ratio() -> None:
    eights = [replace(one, candidate=8, reference=8) for one in both_orders(count=20, first=0)]
    found = compare_pairs(eights)
    assert (found.wins, found.ties, found.losses, found.p) == (0, 20, 0, 1.0)
    assert (found.ratio, found.ratio_interval, found.longer_decided) == (1.0, (1.0, 1.0), 0)
    lost = compare_pairs([replace(one, candidate=1, reference=0) for one in eights])
    assert (lost.ratio, lost.ratio_interval, lost.wins) == (None, None, 20)
    assert compare_pairs([]).questions == 0
