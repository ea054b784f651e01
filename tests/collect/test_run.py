"""Tests of orcac/collect/run.py, orcac/collect/prompts.py, orcac/collect/recipe.py and orcac/collect/recorded.py."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import pytest
from faults import FaultServer
from faults.server import Reply
from jobs import CollectJob, make_job

from orcac import rows
from orcac.chat.ledger.files import read_records
from orcac.chat.settings import EndpointSettings, Price, Sampling
from orcac.collect.recipe import CollectExecution, CollectRecipe, Recording
from orcac.collect.run import run, run_shard
from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.recipe import FileRef
from orcac.rows import Prompt, Response, prompt_id


def prompt(query: str, system: str = "", task: str = "t") -> Prompt:
    return Prompt(
        id=prompt_id("s", task, query, system), source="s", task=task, query=query, system_id=1, system=system
    )


def job(
    folder: Path,
    *inputs: Sequence[Prompt],
    origin: Literal["solver", "replay"] = "solver",
    recording: Recording | None = None,
    files: Sequence[Path] = (),
) -> CollectJob:
    folders = []
    for number, prompts in enumerate(inputs):
        folders.append(folder / f"prompts{number}")
        folders[-1].mkdir(parents=True)
        rows.write(folders[-1] / "prompts.parquet", Prompt, prompts)
    recipe = CollectRecipe(
        model="expert",
        sampling=Sampling(temperature=0.0),
        origin=origin,
        solver_version=1 if origin == "solver" else None,
        recording=recording,
    )
    endpoint = EndpointSettings(kind=origin, price=Price(input=1.0, output=2.0), budget_usd=100.0, budget_name="x")
    execution = CollectExecution(endpoint=endpoint, files={file_digest(path): str(path) for path in files})
    return make_job(folder, recipe, execution, inputs={"prompts": folders}, label="expert")


def responses(job: CollectJob) -> list[Response]:
    return list(rows.read(job.out / "responses.parquet", Response))


QUERIES = [prompt(f"not ( {a} and {b} ) is") for a in ("True", "False") for b in ("True", "False")]


def test_the_embedded_teacher_answers_every_prompt_once_in_order(tmp_path: Path) -> None:
    other = prompt("True or False is", system="Think step by step and justify your answer.")
    made = job(tmp_path, QUERIES, [*QUERIES[:2], other])
    summary = run(made)
    got = responses(made)
    assert [row.id for row in got] == [one.id for one in (*QUERIES, other)]
    assert all(row.finish_reason == "stop" and row.teacher == "expert" and not row.error for row in got)
    assert ["False" in row.response for row in got[:4]] == [True, False, False, False]
    tokens = {name: sum(getattr(row, name) for row in got) for name in ("input_tokens", "output_tokens")}
    usd = (tokens["input_tokens"] + 2 * tokens["output_tokens"]) / 1e6
    assert summary.as_json() == {"prompts": 5, "answered": 5, "failed": {}, **tokens, "usd": pytest.approx(usd)}
    assert all(tokens.values())


def test_a_second_run_asks_nobody_and_makes_the_same_bytes(tmp_path: Path) -> None:
    made = job(tmp_path, QUERIES)
    summary = run(made)
    path = made.out / "responses.parquet"
    first, segments = path.read_bytes(), sorted(made.answers.iterdir())
    path.unlink()
    assert run(made) == summary
    assert path.read_bytes() == first
    assert sorted(made.answers.iterdir()) == segments


def test_shards_leave_their_answers_to_the_run(tmp_path: Path) -> None:
    whole, parts = job(tmp_path / "whole", QUERIES), job(tmp_path / "parts", QUERIES)
    run(whole)
    assert [run_shard(parts, index, 3).prompts for index in range(3)] == [2, 1, 1]
    assert len(list(read_records(parts.answers))) == 4
    assert not list(parts.out.iterdir())
    segments = sorted(parts.answers.iterdir())
    run(parts)
    assert sorted(parts.answers.iterdir()) == segments, "the run asked again"
    assert responses(parts) == responses(whole)


def recorded(answers: Path, fields: dict[str, str], *, questions: Path | None = None) -> Recording:
    def refs(*paths: Path) -> tuple[FileRef, ...]:
        return tuple(FileRef(name=path.name, sha256=file_digest(path)) for path in paths)

    joined = {"id": "idx", "question": "instruction"} if questions else {}
    return Recording(
        answers=refs(answers),
        fields=fields,
        questions=refs(questions) if questions else (),
        question_fields=joined,
    )


def test_a_recording_is_replayed_and_misses_are_typed_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answers.jsonl"
    pairs = (("one", "1"), ("one", "uno"), ("two", "2"), ("three", None))
    path.write_text("".join(json.dumps({"q": q, "a": a}) + "\n" for q, a in pairs))
    recording = recorded(path, {"question": "q", "answer": "a"})
    prompts = [prompt("two"), prompt("three"), prompt("one", system="Be brief.")]
    made = job(tmp_path / "job", prompts, origin="replay", recording=recording, files=[path])
    summary = run(made)
    assert [(row.response, row.finish_reason, row.error) for row in responses(made)] == [
        ("2", "stop", ""),
        ("", "", "not_recorded"),
        ("1", "stop", ""),
    ]
    assert summary.as_json() == {
        "prompts": 3,
        "answered": 2,
        "failed": {"not_recorded": 1},
        "input_tokens": 0,
        "output_tokens": 0,
        "usd": 0.0,
    }
    assert not made.answers.exists()
    told = capsys.readouterr().err
    assert "not_recorded: answers.jsonl: no answer to 'three'\n" in told
    assert "failed: 1 not_recorded  1 rows of the recording repeat an earlier question, 1 rows" in told


def test_a_recording_that_answers_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"q": "one", "a": "1"}\n')
    recording = recorded(path, {"question": "q", "answer": "a"})
    made = job(tmp_path / "job", [prompt("two")], origin="replay", recording=recording, files=[path])
    with pytest.raises(InputError, match=r"none of 1 prompts was answered: 1 not_recorded .*no question .* matches"):
        run(made)
    assert not list(made.out.iterdir())
    none = job(tmp_path / "none", [], origin="replay", recording=recording, files=[path])
    assert run(none).prompts == 0


def test_bad_rows_of_a_recording_are_kept_aside_up_to_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"q": "one", "a": "1"}\n{"q": "two", "a": "2\n{"q": "three", "a": "3"}\n{"q": "four"}\n')
    recording = recorded(path, {"question": "q", "answer": "a"})
    prompts = [prompt(query) for query in ("one", "two", "three")]
    made = job(tmp_path / "job", prompts, origin="replay", recording=recording, files=[path])
    summary = run(made)
    assert (summary.answered, summary.failed, summary.bad) == (2, {"not_recorded": 1}, 2)
    assert [row.response for row in responses(made)] == ["1", "", "3"]
    bad = pq.read_table(made.out / "bad.parquet").to_pylist()
    assert [(row["file"], row["line"], row["reason"]) for row in bad] == [
        ("answers.jsonl", 2, "not JSON: Unterminated string starting at (column 19)"),
        ("answers.jsonl", 4, "the row has no field 'a'"),
    ]
    shown = capsys.readouterr().err
    assert "expert  2 bad rows are kept aside in bad.parquet\n    answers.jsonl:2: not JSON" in shown

    strict = job(tmp_path / "strict", prompts, origin="replay", recording=recording, files=[path])
    strict = dataclasses.replace(strict, execution=strict.execution.model_copy(update={"max_bad": 0.0}))
    with pytest.raises(InputError, match=r"2 of 4 rows are bad, and 0 may be\n.*answers\.jsonl:2: not JSON") as caught:
        run(strict)
    assert "the endpoint's `fields`" in caught.value.fix and not list(strict.out.iterdir())


@pytest.mark.data
@pytest.mark.skipif("ORCAC_DATA" not in os.environ, reason="ORCAC_DATA names no recorded data")
@pytest.mark.parametrize("teacher", ["gpt4", "chatgpt"])
def test_two_real_teachers_answer_the_same_questions(tmp_path: Path, teacher: str) -> None:
    folder = Path(os.environ["ORCAC_DATA"]) / "teacher_flask"
    questions = folder / "evaluation_set" / "flask_evaluation.jsonl"
    answers = folder / "model_output" / "outputs" / f"{teacher}.jsonl"
    instructions = {row["idx"]: row["instruction"] for row in map(json.loads, questions.open())}
    texts = {row["question_id"]: row["text"] for row in map(json.loads, answers.open())}
    prompts = [prompt(instructions[number], task=str(number)) for number in texts]
    recording = recorded(answers, {"id": "question_id", "answer": "text"}, questions=questions)
    made = job(tmp_path, prompts, origin="replay", recording=recording, files=[questions, answers])
    summary = run(made)
    assert summary.prompts == summary.answered == len(texts) == 1700
    assert sum(row.response == texts[int(row.task)] for row in responses(made)) >= 1690  # some questions repeat


FORMATS = {  # where servers put reasoning: message -> the reasoning in it
    "a field": {"content": "So 4.", "reasoning_content": "2 and 2"},
    "another field": {"content": "So 4.", "reasoning": "2 and 2"},
    "typed parts": {"content": [{"type": "thinking", "thinking": "2 and 2"}, {"type": "text", "text": "So 4."}]},
    "marks": {"content": "<think>\n2 and 2\n</think>\n\nSo 4."},
    "a closing mark": {"content": "2 and 2\n</think>\n\nSo 4."},
}


@pytest.mark.parametrize(("setting", "is_on"), [("on", True), ("off", False), (300, True)])
def test_reasoning_of_every_format_is_kept_apart_under_every_setting(
    tmp_path: Path, setting: Literal["on", "off"] | int, is_on: bool
) -> None:
    def behave(question: str, before: int) -> Reply:
        choice = {"message": {"role": "assistant"} | FORMATS[question], "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
        return Reply({"choices": [choice], "usage": usage}, bills=True)

    made = job(tmp_path, [prompt(name) for name in FORMATS])
    with FaultServer(behave) as server:
        endpoint = EndpointSettings(kind="openai", base_url=server.base_url, may_omit=True)
        asked = {"sampling": Sampling(reasoning=setting), "origin": "api", "solver_version": None}
        made = dataclasses.replace(
            made,
            recipe=made.recipe.model_copy(update=asked),
            execution=made.execution.model_copy(update={"endpoint": endpoint}),
        )
        summary = run(made)
        assert server.last_body["chat_template_kwargs"] == {"enable_thinking": is_on}
    assert [(row.response, row.reasoning) for row in responses(made)] == [("So 4.", "2 and 2")] * len(FORMATS)
    assert summary.reasoned == len(FORMATS)
    assert (summary.omitted or {}) == ({"reasoning limit": len(FORMATS)} if setting == 300 else {})
