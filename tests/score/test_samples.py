"""Tests of orcac/score/samples.py: several answers to each item, of a student and of a baseline, by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import jobs
import pytest

from orcac import rows
from orcac.score.recipe import ScoreExecution, ScoreRecipe
from orcac.score.run import run
from orcac.score.samples import SampleScores
from orcac.score.scores import read, sum_up

# the answers to items whose reference is 4, by letters: right (also "4.0"), wrong (5), other (6), unparsed, cut, failed
ITEMS = ["rRw", "www", "wro", "u?u", "rru", "xrw"]
TEXTS = {"r": "The answer is 4.", "R": "The answer is 4.0.", "w": "The answer is 5.", "o": "The answer is 6."}
MEANS = [2 / 3, 0, 1 / 3, 0, 2 / 3, 1 / 2]
MAJORITY = [1, 0, 1 / 3, 0, 1, 1 / 2]  # the third and the sixth are ties, the fourth cannot be read


def answer(number: int, letter: str) -> dict[str, object]:
    return {
        "id": f"item {number}",
        "source": "b",
        "task": "count",
        "query": f"How many {number}?",
        "system_id": 1,
        "system": "",
        "reference": "4",
        "response": TEXTS.get(letter, ""),
        "finish_reason": "length" if letter == "?" else "stop",
    }


def score(tmp_path: Path, folders: int):
    for name in ("items", *map(str, range(folders))):
        (tmp_path / name).mkdir()
    items = [
        rows.Prompt(**{key: value for key, value in answer(n, "").items() if key not in ("response", "finish_reason")})
        for n in range(len(ITEMS))
    ]
    rows.write(tmp_path / "items" / "prompts.parquet", rows.Prompt, items)
    inputs = {"items": [tmp_path / "items"], "answers": [tmp_path / str(number) for number in range(folders)]}
    return jobs.make_job(tmp_path, ScoreRecipe(checkers=("number",)), ScoreExecution(), inputs=inputs)


def of_a_baseline(tmp_path: Path):
    job = score(tmp_path, 3)
    for sample, folder in enumerate(job.inputs["answers"]):
        answers = [
            rows.Response(**answer(n, letters[sample]), teacher="t", error="timeout" * (letters[sample] == "x"))
            for n, letters in enumerate(ITEMS)
        ]
        rows.write(folder / "responses.parquet", rows.Response, answers)
    return job


def test_scores_by_hand(tmp_path: Path) -> None:
    job = of_a_baseline(tmp_path)
    summary = run(job)
    assert summary.n == 6
    assert summary.mean == pytest.approx(sum(MEANS) / 6)
    assert summary.outcomes == {"right": 6, "wrong": 7, "unparsed": 3, "cut": 1, "refused": 0, "failed": 1}
    found = read(job.out)
    assert [row.sample for row in found.rows] == [0, 1, 2] * 6
    # pass@2 from all pairs of the answers that did not fail
    pairs = [list(itertools.combinations(letters.replace("x", ""), 2)) for letters in ITEMS]
    by_pair = [sum(bool({*pair} & {*"rR"}) for pair in of_item) / len(of_item) for of_item in pairs]
    assert found.samples == SampleScores(
        samples=3,
        passed={2: pytest.approx(sum(by_pair) / 6), 3: pytest.approx(3 / 5)},
        majority=pytest.approx(sum(MAJORITY) / 6),
        ties=2,
        unread=1,
    )
    assert sum_up(found).n == 6
    assert sum_up(found).share("unparsed") == 3 / 17


def test_a_student_is_scored_alike(tmp_path: Path) -> None:
    whole = [letters.replace("x", "w") for letters in ITEMS]
    job = score(tmp_path, 1)
    answers = [
        rows.Answer(**answer(n, letter), sample=sample)
        for n, letters in enumerate(whole)
        for sample, letter in enumerate(letters)
    ]
    rows.write(job.inputs["answers"][0] / "answers.parquet", rows.Answer, answers)
    summary = run(job)
    assert summary.n == 6
    assert summary.mean == pytest.approx((sum(MEANS) - 1 / 2 + 1 / 3) / 6)
    assert read(job.out).samples.passed[3] == pytest.approx(4 / 6)
