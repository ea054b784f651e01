"""Tests of orcac/score/likelihood.py: scores by hand of items whose choices were compared."""

from __future__ import annotations

import math
from pathlib import Path

import jobs
import pytest

from orcac import rows
from orcac.errors import InputError
from orcac.job import Job
from orcac.score.recipe import ScoreExecution, ScoreRecipe
from orcac.score.run import run
from orcac.score.scores import read, sum_up
from orcac.stats.intervals import student_t


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


def make_loss_job(tmp_path: Path, texts: list[tuple[str, float | None]]) -> Job:
    """Return a job that scores texts with their log-likelihoods, of 4 tokens each."""
    items = [item(number, [0]) for number in range(len(texts))]
    answers = [
        rows.widen(
            asked,
            rows.Answer,
            response=text,
            finish_reason="stop" if value is not None else "length",
            output_tokens=4,
            log_likelihoods=[] if value is None else [value],
        )
        for asked, (text, value) in zip(items, texts, strict=True)
    ]
    inputs = {"items": [tmp_path / "items"], "answers": [tmp_path / "answers"]}
    for (folder,) in inputs.values():
        folder.mkdir()
    rows.write(tmp_path / "items" / "prompts.parquet", rows.BenchmarkItem, items)
    rows.write(tmp_path / "answers" / "answers.parquet", rows.Answer, answers)
    return jobs.make_job(tmp_path, ScoreRecipe(likelihood="loss"), ScoreExecution(), inputs=inputs)


def test_the_loss_of_a_text_counts_its_bytes(tmp_path: Path) -> None:
    texts = [("it is", -5 * math.log(2)), ("größ", -12 * math.log(2)), ("", None), ("too long", None)]
    job = make_loss_job(tmp_path, texts)
    summary = run(job)
    found = read(job.out)
    assert [row.score for row in found.rows] == [pytest.approx(0.5), pytest.approx(0.25), None]
    assert [row.loss for row in found.rows] == [
        pytest.approx(5 / 4 * math.log(2)),
        pytest.approx(3 * math.log(2)),
        None,
    ]
    assert [row.outcome for row in found.rows] == ["measured", "measured", "cut"]
    assert (summary.n, summary.mean, summary.left_out, summary.chance) == (2, pytest.approx(0.375), 1, 0.0)
    assert summary.outcomes["measured"] == 2 and "judged" not in summary.outcomes
    assert sum_up(found).interval == student_t([0.5, 0.25])


def test_a_benchmark_without_a_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of its 2 items has a text") as caught:
        run(make_loss_job(tmp_path, [("", None), ("too long", None)]))
    assert "loss_of" in caught.value.fix
