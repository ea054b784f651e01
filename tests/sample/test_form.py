"""Tests of orcac/sample/form.py: the message of each way to ask, exemplars that are drawn, and worked examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from jobs import make_job

from orcac import rows
from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.recipe import Execution, FileRef
from orcac.sample.form import write_message
from orcac.sample.recipe import Form, Message, SampleRecipe, SampleSummary
from orcac.sample.run import run

OPEN = "Q: How many? Answer Choices: (A)1 (B)2\nA: Among A through B, the answer is"  # AGIEval's form
SHOWN = "Q: 1 + 1?\nA: 2"

# question, form, exemplars before it -> the message
MESSAGES = [
    ("2 + 2?", Form(), "", "2 + 2?"),
    ("2 + 2?", Form(instruction="End with ANSWER: X"), "", "2 + 2?\n\nEnd with ANSWER: X"),
    ("2 + 2?", Form(instruction="Be brief.", cue="So"), "", "2 + 2?\n\nBe brief.\n\nSo"),
    ("2 + 2?", Form(shots=1), SHOWN, f"{SHOWN}\n\nQ: 2 + 2?\nA:"),
    ("2 + 2?", Form(shots=1, cue="So"), SHOWN, f"{SHOWN}\n\nQ: 2 + 2?\nA: So"),
    ("2 + 2?", Form(shots=1, instruction="Be brief."), SHOWN, f"{SHOWN}\n\nQ: 2 + 2?\nBe brief.\nA:"),
    (OPEN, Form(shots=1), SHOWN, f"{SHOWN}\n\n{OPEN}"),
]


@pytest.mark.parametrize(("query", "form", "exemplars", "message"), MESSAGES)
def test_the_message_of_a_question(query: str, form: Form, exemplars: str, message: str) -> None:
    assert write_message(query, form, exemplars) == message


def items(**counts: int) -> list[rows.Prompt]:
    return [
        rows.Prompt(
            id=rows.prompt_id("b", task, f"{task} {number}?", ""),
            source="b",
            task=task,
            query=f"{task} {number}?",
            system_id=1,
            system="",
            reference=str(number),
        )
        for number in range(max(counts.values()))
        for task in counts
        if number < counts[task]
    ]


def make(
    root: Path, of: Sequence[rows.Prompt], form: Form, seed: int = 0, files: Sequence[Path] = ()
) -> tuple[SampleSummary, list[rows.Prompt]]:
    (root / "items").mkdir(parents=True)
    rows.write(root / "items" / "prompts.parquet", rows.Prompt, of)
    job = make_job(
        root,
        SampleRecipe(name="form", seed=seed, form=form),
        Execution(files={file_digest(path): str(path) for path in files}),
        inputs={"from": [root / "items"]},
    )
    return run(job), list(rows.read(job.out / "prompts.parquet", rows.Prompt))


def test_exemplars_are_the_tasks_own_items_and_leave_the_items(tmp_path: Path) -> None:
    every = items(add=9, sort=6)
    form = Form(system=Message(id=7, text="Think."), shots=2)
    summary, formed = make(tmp_path / "two", every, form, seed=5)
    assert (summary.read, summary.kept, summary.dropped) == (15, 11, {"exemplar": 4})
    by_id = {item.id: item for item in every}
    exemplars = {
        item.task: [one for one in every if one.task == item.task and one.query in item.query] for item in formed
    }
    for item in formed:
        own = by_id[item.id]
        assert (item.task, item.reference, item.system_id, item.system) == (own.task, own.reference, 7, "Think.")
        *shown, asked = item.query.split("\n\n")
        assert asked == f"Q: {own.query}\nA:"
        assert len(shown) == 2 and own.query not in "".join(shown)
        assert item.query.startswith(formed[0].query[: len("Q: ")])
    of_task = {task: {item.query.rsplit("\n\n", 1)[0] for item in formed if item.task == task} for task in exemplars}
    assert all(len(heads) == 1 for heads in of_task.values())  # the same for all items of a task
    _, three = make(tmp_path / "three", every, Form(shots=3), seed=5)
    assert {item.id for item in three} < {item.id for item in formed}  # two exemplars are among three
    _, other = make(tmp_path / "other", every, form, seed=6)
    assert {item.id for item in other} != {item.id for item in formed}


def test_a_task_without_items_beside_its_exemplars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the task `sort` has 2 items, of which 2 would be exemplars"):
        make(tmp_path, items(add=9, sort=2), Form(shots=2))


def test_worked_examples_come_from_the_file_of_the_task_without_its_notice(tmp_path: Path) -> None:
    path = tmp_path / "add.txt"
    path.write_text("NOTICE\n-----\nAdd the numbers.\n\nQ: 1 + 1?\nA: One and one. 2\n")
    form = Form(examples=(FileRef(name="add.txt", sha256=file_digest(path)),), cue="Let's think step by step.")
    _, formed = make(tmp_path / "add", items(add=2), form, files=[path])
    assert [item.query for item in formed] == [
        f"Add the numbers.\n\nQ: 1 + 1?\nA: One and one. 2\n\nQ: add {number}?\nA: Let's think step by step."
        for number in range(2)
    ]
    with pytest.raises(InputError, match="no worked examples for the task `sort`") as caught:
        make(tmp_path / "sort", items(sort=2), form, files=[path])
    assert "sort.txt" in str(caught.value.fix)


@pytest.mark.data
def test_every_task_of_bbh_has_worked_examples(data: Path, tmp_path: Path) -> None:
    files = sorted((data / "bbh" / "cot-prompts").glob("*.txt"))
    form = Form(examples=tuple(FileRef(name=path.name, sha256=file_digest(path)) for path in files))
    every = items(**{path.stem: 1 for path in (data / "bbh" / "bbh").glob("*.json")})
    _, formed = make(tmp_path, every, form, files=files)
    assert len(formed) == 27
    assert all("canary" not in item.query and item.query.count("\nQ: ") == 4 for item in formed)
