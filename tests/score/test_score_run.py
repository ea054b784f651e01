"""Tests of orcac/score/recipe.py, orcac/score/run.py, orcac/score/scores.py and orcac/score/verdict.py: outcomes and
scores by hand, of a student's answers and of a baseline's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jobs
import pytest

from orcac import rows
from orcac.errors import InputError
from orcac.job import Job
from orcac.score.recipe import ScoreExecution, ScoreRecipe, ScoreSummary
from orcac.score.run import run
from orcac.score.scores import read, sum_up

TRUE_FALSE, LETTERS = ("True", "False"), ("(A)", "(B)", "(C)", "(D)")


def item(number: int, task: str, reference: str, options: Sequence[str] = ()) -> rows.Prompt:
    query = f"{task} {number}"
    return rows.Prompt(
        id=rows.prompt_id("b", task, query, ""),
        source="b",
        task=task,
        query=query,
        system_id=1,
        system="",
        reference=reference,
        options=list(options),
    )


# item, response, finish reason -> what `final-answer` finds, and the outcome
CASES = [
    (item(0, "truth", "True", TRUE_FALSE), "The answer is True.", "stop", "True", "right"),
    (item(1, "truth", "True", TRUE_FALSE), "The answer is False.", "stop", "False", "wrong"),
    (item(2, "truth", "True", TRUE_FALSE), "True False", "stop", "", "unparsed"),
    (item(3, "truth", "True", TRUE_FALSE), "The answer is True. And", "length", "True", "cut"),
    (item(4, "truth", "True", TRUE_FALSE), "", "length", "", "cut"),
    (item(5, "letters", "(B)", LETTERS), "So (B)", "stop", "(B)", "right"),
    (item(6, "letters", "(B)", LETTERS), "I'm sorry, but I cannot help with that.", "stop", "", "refused"),
    (item(7, "letters", "(B)", LETTERS), "", "content_filter", "", "refused"),
    (item(8, "count", "1000"), "The answer is 1,000.", "stop", "1,000", "right"),
    (item(9, "count", "1000"), "I am unable to answer.", "stop", "I am unable to answer", "refused"),
]
ITEMS = [case[0] for case in CASES]


def make_job(root: Path, items: Sequence[rows.Prompt], *checkers: str) -> Job[ScoreRecipe, ScoreExecution]:
    (root / "items").mkdir()
    (root / "answers").mkdir()
    rows.write(root / "items" / "prompts.parquet", rows.Prompt, items)
    inputs = {"items": [root / "items"], "answers": [root / "answers"]}
    return jobs.make_job(root, ScoreRecipe(checkers=checkers or ("final-answer",)), ScoreExecution(), inputs=inputs)


def answered(root: Path, *checkers: str) -> Job[ScoreRecipe, ScoreExecution]:
    """Return the job that scores the answers of CASES, which a student gave."""
    job = make_job(root, ITEMS, *checkers)
    answers = [
        rows.widen(case, rows.Answer, response=response, finish_reason=finish_reason)
        for case, response, finish_reason, *_ in CASES
    ]
    rows.write(job.input("answers") / "answers.parquet", rows.Answer, answers)
    return job


def test_outcomes_and_scores_by_hand(tmp_path: Path) -> None:
    job = answered(tmp_path)
    summary = run(job)
    outcomes = {"right": 3, "wrong": 1, "unparsed": 1, "cut": 2, "refused": 3, "failed": 0}
    chance = (5 / 2 + 3 / 4 + 2 * 0) / 10
    assert summary == ScoreSummary(n=10, mean=0.3, outcomes=outcomes, left_out=0, chance=pytest.approx(chance))
    scored = list(rows.read(job.out / "scores.parquet", rows.Scored))
    assert [(row.parsed, row.outcome) for row in scored] == [(parsed, outcome) for *_, parsed, outcome in CASES]
    assert [row.score for row in scored] == [float(outcome == "right") for *_, outcome in CASES]
    scores = json.loads((job.out / "scores.json").read_text())
    assert (scores["n"], scores["mean"], scores["checkers"], scores["others"]) == (10, 0.3, ["final-answer"], {})
    assert scores["interval"] == pytest.approx([0.1078, 0.6032], abs=1e-4)  # Wilson
    assert scores["tasks"]["truth"]["outcomes"]["cut"] == 2
    assert scores["tasks"]["truth"]["p_above_chance"] == pytest.approx(31 / 32)
    assert list(scores["tasks"]) == ["count", "letters", "truth"]


def test_the_first_checker_decides_and_the_others_are_recorded(tmp_path: Path) -> None:
    job = answered(tmp_path, "final-answer", "first-capital")
    summary = run(job)
    assert summary.mean == 0.3
    # the first capital letter of "So (B)" is none of the options; of words, the first that occurs counts: "True False"
    assert summary.others == {"first-capital": 0.3}
    scored = list(rows.read(job.out / "scores.parquet", rows.Scored))
    assert [row.others_parsed for row in scored[2:6]] == [["True"], ["True"], [""], [""]]
    assert [row.others_score for row in scored[2:6]] == [[1.0], [0.0], [0.0], [0.0]]


def test_a_baselines_failed_answers_leave_n_and_are_never_wrong(tmp_path: Path) -> None:
    items = [item(number, "letters", "(B)", LETTERS) for number in range(20)]
    job = make_job(tmp_path, items)

    def response(of: rows.Prompt, text: str, error: str = "") -> rows.Response:
        """Return a response to an item as it was asked: in another form, under a system message."""
        asked = dataclasses.replace(of, query=f"Q: {of.query}\nA:", system_id=7, system="Think.")
        finish_reason = "" if error else "stop"
        return rows.widen(asked, rows.Response, teacher="t", response=text, finish_reason=finish_reason, error=error)

    responses = [response(each, "The answer is (B)") for each in items[:10]]
    responses += [dataclasses.replace(response(items[10], ""), refusal="Not this one.")]
    responses += [response(items[11], "", "content_filter"), response(items[12], "", "context_overflow")]
    responses += [response(items[13], "", "not_recorded")]
    responses += [response(each, "", "timeout") for each in items[14:19]]  # the last item serves as an exemplar
    rows.write(job.input("answers") / "responses.parquet", rows.Response, responses)
    summary = run(job)
    assert (summary.n, summary.mean) == (13, 10 / 13)
    assert summary.outcomes == {"right": 10, "wrong": 0, "unparsed": 0, "cut": 1, "refused": 2, "failed": 6}
    assert summary.chance == 0.25
    scored = list(rows.read(job.out / "scores.parquet", rows.Scored))
    assert [(row.id, row.query) for row in scored] == [(each.id, each.query) for each in items[:19]]
    assert {(row.system_id, row.system) for row in scored} == {(7, "Think.")}
    assert [row.score for row in scored] == [1.0] * 10 + [0.0] * 3 + [None] * 6


def test_items_whose_reference_cannot_be_scored_are_left_out_and_counted(tmp_path: Path, capsys) -> None:
    broken = [item(20, "letters", "Monsters, Inc", LETTERS), item(21, "count", "")]
    job = make_job(tmp_path, [*broken, ITEMS[0]])
    answers = [
        rows.widen(each, rows.Answer, response="The answer is True", finish_reason="stop")
        for each in [*broken, ITEMS[0]]
    ]
    rows.write(job.input("answers") / "answers.parquet", rows.Answer, answers)
    summary = run(job)
    assert (summary.n, summary.mean, summary.left_out) == (1, 1.0, 2)
    err = capsys.readouterr().err
    assert "1 of 3 items are left out: the reference is not one of the options\n    letters: 'letters 20'" in err
    assert "1 of 3 items are left out: there is no reference\n    count: 'count 21', reference ''" in err
    assert read(job.out).left_out == 2


def test_a_benchmark_without_references_is_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path, [item(0, "count", "")])
    answer = rows.widen(item(0, "count", ""), rows.Answer, response="1", finish_reason="stop")
    rows.write(job.input("answers") / "answers.parquet", rows.Answer, [answer])
    with pytest.raises(InputError, match="none of its 1 items has a reference"):
        run(job)


def test_scores_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    job = answered(tmp_path, "final-answer", "first-capital")
    run(job)
    again = json.loads(json.dumps(dataclasses.asdict(sum_up(read(job.out)))))
    assert again.pop("samples") is None
    assert again == json.loads((job.out / "scores.json").read_text())


def test_of_several_right_answers_the_best_counts(tmp_path: Path) -> None:
    prose = dataclasses.replace(item(0, "prose", "a dog ran"), id="prose")
    number = dataclasses.replace(item(1, "count", "many"), id="count")
    known = {"prose": ["a dog ran", "the cat sat down"], "count": ["many", "12"]}
    for checker, scores in (("rouge-l", [0.75, 0.4]), ("auto", [0.0, 1.0])):
        root = tmp_path / checker
        root.mkdir()
        job = make_job(root, [prose, number], checker)
        wide = [rows.widen(one, rows.BenchmarkItem, references=known[one.id]) for one in (prose, number)]
        rows.write(job.input("items") / "prompts.parquet", rows.BenchmarkItem, wide)
        replies = {"prose": "The cat lay down.", "count": "The answer is 12."}
        answers = [
            rows.widen(one, rows.Answer, response=replies[one.id], finish_reason="stop") for one in (prose, number)
        ]
        rows.write(job.input("answers") / "answers.parquet", rows.Answer, answers)
        run(job)
        scored = list(rows.read(job.out / "scores.parquet", rows.Scored))
        assert [(row.reference, row.score) for row in scored] == list(zip(["a dog ran", "many"], scores, strict=True))


def test_a_checker_may_give_a_part_of_the_score_and_reads_the_query(tmp_path: Path) -> None:
    """`rouge-l` scores a passage between 0 and 1; `auto` reads the texts of lettered options from the item's query."""
    letters = dataclasses.replace(
        item(0, "letters", "(B)", LETTERS[:2]), query="Which box?\n(A) the red one\n(B) the blue one"
    )
    passage = item(1, "prose", "the cat sat on the mat")
    job = make_job(tmp_path, [letters, passage], "auto", "rouge-l")
    replies = {letters.id: "It has to be the blue one.", passage.id: "the cat lay on the mat"}
    answers = [
        rows.widen(one, rows.Answer, response=replies[one.id], finish_reason="stop") for one in (letters, passage)
    ]
    rows.write(job.input("answers") / "answers.parquet", rows.Answer, answers)
    run(job)
    scored = list(rows.read(job.out / "scores.parquet", rows.Scored))
    assert [(row.parsed, row.outcome) for row in scored] == [("(B)", "right"), ("the cat lay on the mat", "wrong")]
    assert scored[1].others_score == [pytest.approx(10 / 12)]


def test_the_form_of_an_answer_is_compared_with_a_teachers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [item(number, "count", str(number)) for number in range(1, 5)]
    job = make_job(tmp_path, items, "number", "form")
    (tmp_path / "teacher").mkdir()
    job.inputs["form_of"] = [tmp_path / "teacher"]
    told = [f"{number} things, so the answer is {number}." for number in (1, 2, 3)]

    def reply(of: rows.Prompt, text: str) -> rows.Response:
        return rows.widen(of, rows.Response, teacher="t", response=text, finish_reason="stop", error="")

    replies = [reply(of, f"<think>Hm.</think>{text}") for of, text in zip(items, told, strict=False)]
    replies.append(dataclasses.replace(reply(items[3], ""), error="timeout"))
    rows.write(tmp_path / "teacher" / "responses.parquet", rows.Response, replies)
    answers = ["7 things, so the answer is 7.", "2", told[2], "4"]
    answered = [
        rows.widen(of, rows.Answer, response=text, finish_reason="stop")
        for of, text in zip(items, answers, strict=True)
    ]
    rows.write(job.input("answers") / "answers.parquet", rows.Answer, answered)
    run(job)
    assert "the teacher has no answer to 1 of 4 items: their form scores 0" in capsys.readouterr().err
    scored = list(rows.read(job.out / "scores.parquet", rows.Scored))
    assert [row.score for row in scored] == [0, 1, 1, 1]
    assert [row.others_score for row in scored] == [[1.0], [pytest.approx(0.2)], [1.0], [0.0]]
    assert [row.reference for row in scored] == ["1", "2", "3", "4"]

    job = dataclasses.replace(job, recipe=ScoreRecipe(checkers=("form",)))
    summary = run(job)
    assert (summary.n, summary.left_out, summary.chance) == (3, 1, 0)
    assert "the teacher has no answer to 1 of 4 items: they are left out" in capsys.readouterr().err
    assert summary.mean == pytest.approx((1 + 0.2 + 1) / 3)
