"""Tests of orcac/eval/served.py: an evaluation by a stand-in of vLLM's command, over real sockets."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jobs
import pytest
from jobs import make_shard_job

from orcac import rows
from orcac.errors import EndpointError
from orcac.eval.recipe import EvalExecution, EvalRecipe
from orcac.eval.run import run, run_shard
from orcac.eval.served import build_arguments
from orcac.job import Job

TESTS = Path(__file__).parents[1]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which the stand-in writes its arguments."""
    stand_ins = TESTS / "chat" / "endpoints" / "stand_ins"
    monkeypatch.setenv("PATH", f"{stand_ins}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin")
    monkeypatch.setenv("STAND_IN_TESTS", str(TESTS))
    monkeypatch.setenv("STAND_IN_NOTES", str(tmp_path / "notes.json"))
    return tmp_path / "notes.json"


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("transformers loaded the model")


def make_job(root: Path, *queries: str, gpus: int = 0, batch_size: int | None = None, shards: int = 1) -> Job:
    for folder in ("items", "model/model"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "model" / "model" / "config.json").write_text('{"dtype": "float32"}')
    items = [
        rows.Prompt(id=str(number), source="b", task="t", query=query, system_id=1, system="")
        for number, query in enumerate(queries)
    ]
    rows.write(root / "items" / "prompts.parquet", rows.Prompt, items)
    execution = EvalExecution(engine="vllm", gpus=gpus, batch_size=batch_size, shards=shards)
    inputs = {"model": [root / "model"], "items": [root / "items"]}
    return jobs.make_job(root, EvalRecipe(system="Be brief.", temperature=0.7), execution, inputs=inputs)


def test_a_served_student_answers_every_item(notes: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, "one", "two", "two", "fault: 400", gpus=2)
    summary = run(job, load_model=refuse)
    assert (summary.n, summary.cut, summary.engine) == (4, 1, "vllm")
    answers = list(rows.read(job.out / "answers.parquet", rows.Answer))
    assert [answer.response for answer in answers] == ["answer to one", "answer to two", "answer to two", ""]
    assert [answer.finish_reason for answer in answers] == ["stop", "stop", "stop", "length"]
    assert (answers[0].input_tokens, answers[0].output_tokens) == (7, 11)
    assert job.packages["vllm"] == "9.8.7"
    arguments = json.loads(notes.read_text())["arguments"]
    assert arguments[:2] == ["serve", str(tmp_path / "model" / "model")]
    assert arguments[-6:] == ["--generation-config", "vllm", "--dtype", "float32", "--tensor-parallel-size", "2"]


def test_an_evaluation_that_stopped_goes_on_with_the_items_that_are_left(notes: Path, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"serves .*: server: HTTP 500") as caught:
        run(make_job(tmp_path, "one", "two", "fault: 500", batch_size=2), load_model=refuse)
    assert str(tmp_path / "work" / "vllm.log") in caught.value.fix
    log = tmp_path / "work" / "answers-vllm.jsonl"
    items = [item for line in log.read_bytes().splitlines() for item in json.loads(line).get("items", ())]
    assert sorted(items) == [0, 1]
    lines = [line.partition(', "crc32": ')[0] + "}" for line in log.read_text().splitlines()]  # as they were before
    log.write_text("".join(line.replace("answer to one", "an answer from before") + "\n" for line in lines))
    job = make_job(tmp_path, "one", "two", "three")
    run(job, load_model=refuse)
    answers = [answer.response for answer in rows.read(job.out / "answers.parquet", rows.Answer)]
    assert answers == ["an answer from before", "answer to two", "answer to three"]


def test_shards_serve_the_student_side_by_side(notes: Path, tmp_path: Path) -> None:
    notes.mkdir()
    queries, whole = ["one", "two", "three", "four", "five"], tmp_path / "whole"
    run(make_job(whole, *queries), load_model=refuse)
    node = make_job(tmp_path, *queries, shards=2)
    with ThreadPoolExecutor() as pool:
        shards = [pool.submit(run_shard, make_shard_job(node, index), index, 2) for index in (0, 1)]
        assert [shard.result().answered for shard in shards] == [3, 2]
    arguments = [json.loads(path.read_text())["arguments"] for path in notes.iterdir()]
    assert len({line[line.index("--port") + 1] for line in arguments}) == 1 + 2
    summary = run(node, load_model=refuse)
    assert (summary.n, summary.shards, len(list(notes.iterdir()))) == (5, 2, 3)
    assert node.packages["vllm"] == "9.8.7"
    assert (node.out / "answers.parquet").read_bytes() == (whole / "out" / "answers.parquet").read_bytes()


def test_the_precision_is_that_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    assert build_arguments(tmp_path, gpus=1) == ["--generation-config", "vllm", "--dtype", "bfloat16"]
    (tmp_path / "config.json").write_text("{}")
    assert build_arguments(tmp_path, gpus=0) == ["--generation-config", "vllm"]
