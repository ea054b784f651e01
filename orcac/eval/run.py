"""Ask one student every item of one benchmark, zero-shot.

Items are answered batch by batch. A finished batch is one line of a log in `work`, synced before the next one starts,
so a kill costs at most the batch at hand; a torn last line is cut off. An answer depends on its prompt and the recipe's
seed and not on its batch (see `model.generation`), so a resumed evaluation writes the same bytes, and one that is
resumed at another batch size keeps its earlier answers.

With the engine `vllm` the student is served and asked over HTTP (served.py). That has a log of its own, so the answers
of one evaluation never come from two engines.

If VERSION 1 has made the same evaluation, its answers are taken over and no model is loaded.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orcac import rows
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe, EvalSummary
from orcac.job import Job, packages_in_use

if TYPE_CHECKING:
    from orcac.model.generation import LocalModel, Model

__all__ = ["run"]


class Reply(NamedTuple):
    text: str
    finish_reason: str
    input_tokens: int = 0
    output_tokens: int = 0


def load_model(folder: Path, *, threads: int, gpus: int) -> LocalModel:
    """Load the student in a model folder."""
    from orcac.model.generation import LocalModel  # needs torch; the tests of `run` do not

    return LocalModel.load(folder, threads=threads, gpus=gpus)


def run(job: Job[EvalRecipe, EvalExecution], *, load_model: Callable[..., LocalModel] = load_model) -> EvalSummary:
    """Write `answers.parquet`. Raises InputError if there are no items."""
    items = list(rows.read(job.input("items") / "prompts.parquet", rows.Prompt))
    if not items:
        raise InputError(f"{job.label}: the benchmark has no items", fix="take at least one item of it")
    earlier = next(iter(job.earlier), "")
    if earlier:
        print(f"{job.label}  takes its {len(items):,} answers from {earlier}", file=sys.stderr, flush=True)
        answers = list(rows.read(job.earlier[earlier] / "answers.parquet", rows.Answer))
        assert [answer.id for answer in answers] == [item.id for item in items]
    else:
        replies = _ask(job, items, load_model)
        answers = [_answer(item, reply, job.recipe) for item, reply in zip(items, replies, strict=True)]
    rows.write(job.out / "answers.parquet", rows.Answer, answers)
    return EvalSummary(
        n=len(answers),
        cut=sum(answer.finish_reason == "length" for answer in answers),
        input_tokens=sum(answer.input_tokens for answer in answers),
        output_tokens=sum(answer.output_tokens for answer in answers),
        earlier=earlier,
        engine=None if earlier or job.execution.engine == "transformers" else job.execution.engine,
    )


def _ask(
    job: Job[EvalRecipe, EvalExecution], items: Sequence[rows.Prompt], load_model: Callable[..., LocalModel]
) -> list[Reply]:
    """Ask the student every item that the log lacks, and return all replies in the order of the items."""
    execution, folder = job.execution, job.input("model") / "model"
    if execution.engine == "transformers":
        model = load_model(folder, threads=execution.threads, gpus=execution.gpus)
        return _ask_model(job, items, model, log=job.work / "answers.jsonl")
    from orcac.eval.served import ServedModel

    with ServedModel(folder, work=job.work, gpus=execution.gpus) as served:
        job.packages.update(packages_in_use(), vllm=served.version)
        return _ask_model(job, items, served, log=job.work / "answers-vllm.jsonl")


def _ask_model(
    job: Job[EvalRecipe, EvalExecution], items: Sequence[rows.Prompt], model: Model, *, log: Path
) -> list[Reply]:
    """Ask `model` every item that the log lacks, and return all replies in the order of the items."""
    recipe, execution = job.recipe, job.execution
    prompts = [(recipe.system, item.query) for item in items]
    replies = _read_log(log)
    progress = job.progress(len(items), "answers")
    progress.update(len(replies))
    with log.open("ab") as file:
        left = [index for index in range(len(items)) if index not in replies]
        batches = model.plan_batches(
            [prompts[index] for index in left], max_new_tokens=recipe.max_new_tokens, batch_size=execution.batch_size
        )
        for batch in batches:
            asked = [left[index] for index in batch]
            answered = model.answer_batch(
                [prompts[index] for index in asked],
                temperature=recipe.temperature,
                top_p=recipe.top_p,
                max_new_tokens=recipe.max_new_tokens,
                seed=recipe.seed,
            )
            batch_replies = [
                Reply(answer.text, answer.finish_reason, answer.input_tokens, answer.output_tokens)
                for answer in answered
            ]
            file.write(json.dumps({"items": asked, "replies": batch_replies}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            replies.update(zip(asked, batch_replies, strict=True))
            progress.update(len(replies))
    return [replies[index] for index in range(len(items))]


def _answer(item: rows.Prompt, reply: Reply, recipe: EvalRecipe) -> rows.Answer:
    """Return the item's answer. It keeps the item's id under any system message, since arms are paired by ids."""
    return rows.widen(
        dataclasses.replace(item, system_id=recipe.system_id, system=recipe.system),
        rows.Answer,
        response=reply.text,
        finish_reason=reply.finish_reason,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
    )


def _read_log(path: Path) -> dict[int, Reply]:
    """Return the logged replies by the item's index, and cut off a line that a kill left unfinished."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    return {index: Reply(*reply) for line in lines for index, reply in zip(line["items"], line["replies"], strict=True)}
