"""Tests of orcac/eval/recipe.py, orcac/eval/run.py and orcac/eval/scores.py: scores by hand, runs after a kill."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import jobs
import pytest

from orcac import rows
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe, EvalSummary
from orcac.eval.run import run
from orcac.job import Job


class Killed(BaseException):
    pass


class StandIn:
    """A model that answers with the end of the query (and the seed, if sampling), and dies at batch `dies_at`."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[list[tuple[str, str]]] = []
        self.dies_at = dies_at

    def plan_batches(self, prompts, *, batch_size):
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index][1]))
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def answer_batch(self, prompts, *, temperature, top_p, max_new_tokens, seed):
        if len(self.asked) == self.dies_at:
            raise Killed
        self.asked.append(prompts)
        suffix = f" seed {seed}" if temperature else ""
        return [
            SimpleNamespace(text=query.split(":")[1] + suffix, finish_reason="stop", input_tokens=1, output_tokens=1)
            for _, query in prompts
        ]


def item(number: int, task: str, says: str, reference: str, options: list[str]) -> rows.Prompt:
    query = f"{'x' * (number % 4)}{number}:{says}"
    return rows.Prompt(
        id=rows.prompt_id("b", task, query, ""),
        source="b",
        task=task,
        query=query,
        system_id=1,
        system="",
        reference=reference,
        options=options,
    )


ITEMS = [
    item(0, "truth", "The answer is True.", "True", ["True", "False"]),
    item(1, "truth", "The answer is False.", "True", ["True", "False"]),
    item(2, "truth", "True False", "True", ["True", "False"]),
    item(3, "letters", "So (B)", "(B)", ["(A)", "(B)", "(C)", "(D)"]),
    item(4, "count", "The answer is 1,000.", "1000", []),
]


def make_job(tmp_path: Path, items=ITEMS, name: str = "job", batch_size: int = 2, **fields) -> Job:
    root = tmp_path / name
    for folder in ("items", "model"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows.write(root / "items" / "prompts.parquet", rows.Prompt, items)
    inputs = {"model": [root / "model"], "items": [root / "items"]}
    recipe = EvalRecipe(system_id=5, system="Be brief.", **fields)
    return jobs.make_job(root, recipe, EvalExecution(batch_size=batch_size), inputs=inputs)


def evaluate(job: Job, model: StandIn) -> EvalSummary:
    return run(job, load_model=lambda folder, **_: model)


def test_scores_by_hand(tmp_path) -> None:
    job = make_job(tmp_path)
    summary = evaluate(job, StandIn())
    assert summary.as_json() == {
        "n": 5,
        "correct": 3,
        "accuracy": 0.6,
        "unparsed": 1,
        "chance": pytest.approx((3 / 2 + 1 / 4 + 0) / 5),
        "tasks": {
            "count": {"n": 1, "correct": 1, "unparsed": 0},
            "letters": {"n": 1, "correct": 1, "unparsed": 0},
            "truth": {"n": 3, "correct": 1, "unparsed": 1},
        },
    }
    scores = json.loads((job.out / "scores.json").read_text())
    assert scores["interval"] == pytest.approx([0.2307, 0.8824], abs=1e-4)
    assert scores["unparsed_share"] == 0.2
    assert scores["tasks"]["truth"]["p_above_chance"] == pytest.approx(7 / 8)

    answers = list(rows.read(job.out / "answers.parquet", rows.Answer))
    assert [answer.id for answer in answers] == [item.id for item in ITEMS]
    assert [answer.parsed for answer in answers] == ["True", "False", "", "(B)", "1,000"]
    assert {(answer.system_id, answer.system) for answer in answers} == {(5, "Be brief.")}


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("torn", [b"", b'{"place": 1, "items": [0, '])
def test_a_killed_run_goes_on_and_leaves_the_same_bytes(tmp_path, temperature, torn) -> None:
    whole = make_job(tmp_path, name="whole", temperature=temperature)
    evaluate(whole, StandIn())

    first = make_job(tmp_path, name="resumed", temperature=temperature)
    with pytest.raises(Killed):
        evaluate(first, StandIn(dies_at=1))
    with (first.work / "answers.jsonl").open("ab") as log:
        log.write(torn)
    model = StandIn()
    resumed = make_job(tmp_path, name="resumed", temperature=temperature)
    evaluate(resumed, model)

    assert len(model.asked) == 2  # of 3 batches
    for name in ("answers.parquet", "scores.json"):
        assert (resumed.out / name).read_bytes() == (whole.out / name).read_bytes()


def test_a_run_resumed_at_another_batch_size_keeps_its_answers(tmp_path) -> None:
    with pytest.raises(Killed):
        evaluate(make_job(tmp_path), StandIn(dies_at=1))
    model = StandIn()
    evaluate(make_job(tmp_path, batch_size=3), model)
    assert [len(batch) for batch in model.asked] == [1, 2]


@pytest.mark.parametrize("items", [[], [dataclasses.replace(ITEMS[0], reference="")]])
def test_items_that_cannot_be_scored_are_refused(tmp_path, items) -> None:
    with pytest.raises(InputError):
        evaluate(make_job(tmp_path, items=items), StandIn())
