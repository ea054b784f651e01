"""Tests of orcac/score/likelihood.py: scores by hand of items whose choices were compared."""

from __future__ import annotations

import math
from pathlib import Path

import jobs
import pytest

from orcac import rows
from orcac.score.recipe import ScoreExecution, ScoreRecipe
from orcac.score.run import run
from orcac.score.scores import read, sum_up


def item(number: int, right: list[int]) -> rows.BenchmarkItem:
    options = ["no", "yes", "perhaps", "never"]
    return rows.BenchmarkItem(
        id=f"item {number}",
        source="b",
        task="mc",
        query=f"Is it {number}?",
        system_id=1,
        system="",
        reference=options[right[0]],
        options=options,
        choices=options,
        right=right,
    )


# an item, the probabilities of its choices (up to a factor) and the chosen one -> accuracy, mass of the right choices
CASES = [
    (item(0, [1]), [0.1, 0.6, 0.2, 0.1], "yes", 1.0, 0.6),
    (item(1, [0, 3]), [0.02, 0.06, 0.04, 0.04], "yes", 0.0, 0.06 / 0.16),
    (item(2, [2]), [1e-300, 1e-300, 1e-300, 1e-300], "no", 0.0, 0.25),
    (item(3, [2]), [], "", 0.0, 0.0),  # did not fit
]


@pytest.mark.parametrize(("rule", "place"), [("choice", -2), ("mass", -1)])
def test_scores_by_hand(tmp_path: Path, rule, place) -> None:
    inputs = {"items": [tmp_path / "items"], "answers": [tmp_path / "answers"]}
    for (folder,) in inputs.values():
        folder.mkdir()
    rows.write(tmp_path / "items" / "prompts.parquet", rows.BenchmarkItem, [case[0] for case in CASES])
    answers = [
        rows.Answer(
            **{name: getattr(asked, name) for name in rows.Prompt.__dataclass_fields__},
            response=response,
            finish_reason="stop" if shares else "length",
            log_likelihoods=[math.log(share) for share in shares],
        )
        for asked, shares, response, *_ in CASES
    ]
    rows.write(tmp_path / "answers" / "answers.parquet", rows.Answer, answers)
    job = jobs.make_job(tmp_path, ScoreRecipe(likelihood=rule), ScoreExecution(), inputs=inputs)
    summary = run(job)
    expected = [case[place] for case in CASES]
    assert summary.mean == pytest.approx(sum(expected) / 4)
    assert summary.chance == pytest.approx((3 / 4 + 2 / 4) / 4)
    found = read(job.out)
    assert [row.score for row in found.rows] == pytest.approx(expected)
    assert [row.outcome for row in found.rows] == ["right", "wrong", "wrong", "cut"]
    assert sum_up(found).chance == summary.chance
