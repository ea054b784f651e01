"""Asks one student every item of one benchmark, zero-shot, and scores what it says; or what a baseline said.

Items are answered batch by batch. A finished batch is one line of a log in `work`, synced before the next one
starts, so a kill costs at most the batch in hand; a torn last line is cut off. An answer depends on its prompt
and the recipe's seed and not on its batch (see chat.local), so a resumed evaluation leaves the same bytes, and
one that is resumed at another batch size keeps what it has.

Parsing happens at the end, from the logged texts: no answer is lost to a parser.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orcac import rows
from orcac.checkers.parse import final_answer, same_answer
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe
from orcac.eval.scores import score
from orcac.job import Job, Summary

if TYPE_CHECKING:
    from orcac.model.generation import LocalModel

__all__ = ["run"]


class Reply(NamedTuple):
    text: str
    finish_reason: str


def run(job: Job[EvalRecipe, EvalExecution]) -> Summary:
    """Raises InputError for a benchmark without items or an item without a reference."""
    items = list(rows.read(job.one("items") / "prompts.parquet", rows.Prompt))
    if not items:
        raise InputError(f"{job.label}: the benchmark has no items", fix="take at least one item of it")
    for item in items:
        if not item.reference:
            raise InputError(
                f"{job.label}: item {item.id} of {item.source} has no reference answer",
                fix="evaluate on items whose right answer is known",
            )
    replies = _said(job, items) if "answers" in job.inputs else _ask(job, items)
    answers = [_judge(item, reply, job.recipe) for item, reply in zip(items, replies, strict=True)]
    rows.write(job.out / "answers.parquet", rows.Answer, answers)
    scores = score(answers)
    (job.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    tasks = {
        task: {key: values[key] for key in ("n", "correct", "unparsed")} for task, values in scores["tasks"].items()
    }
    return {key: scores[key] for key in ("n", "correct", "accuracy", "unparsed", "chance")} | {"tasks": tasks}


def _said(job: Job[EvalRecipe, EvalExecution], items: Sequence[rows.Prompt]) -> list[Reply]:
    """A baseline's reply to every item, in the order of the items. One that failed is an empty reply: unparsed.

    The baseline was asked under the benchmark's system message, so its prompts have ids of their own: they are
    matched by task and query, which no two items of a sample share.
    """
    said = {
        (response.task, response.query): Reply(response.response, response.finish_reason)
        for response in rows.read(job.one("answers") / "responses.parquet", rows.Response)
    }
    return [said[item.task, item.query] for item in items]


def _ask(job: Job[EvalRecipe, EvalExecution], items: Sequence[rows.Prompt]) -> list[Reply]:
    """A reply to every item, in the order of the items."""
    recipe, execution, log = job.recipe, job.execution, job.work / "answers.jsonl"
    model = _load_model(job.one("model") / "model", threads=execution.threads, gpus=execution.gpus)
    prompts = [(recipe.system, item.query) for item in items]
    replies = _read_log(log)
    progress = job.progress(len(items), "answers")
    progress.update(len(replies))
    with log.open("ab") as file:
        for batch in model.plan_batches(prompts, batch_size=execution.batch_size):
            asked = [index for index in batch if index not in replies]
            if not asked:
                continue
            answered = model.answer_batch(
                [prompts[index] for index in asked],
                temperature=recipe.temperature,
                top_p=recipe.top_p,
                max_new_tokens=recipe.max_new_tokens,
                seed=recipe.seed,
            )
            batch_replies = [Reply(answer.text, answer.finish_reason) for answer in answered]
            file.write(json.dumps({"items": asked, "replies": batch_replies}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            replies.update(zip(asked, batch_replies, strict=True))
            progress.update(len(replies))
    return [replies[index] for index in range(len(items))]


def _load_model(folder: Path, *, threads: int, gpus: int) -> LocalModel:
    from orcac.model.generation import LocalModel  # needs torch; scoring and its tests do not

    return LocalModel.load(folder, threads=threads, gpus=gpus)


def _judge(item: rows.Prompt, reply: Reply, recipe: EvalRecipe) -> rows.Answer:
    """The item keeps its id, whatever message it was evaluated under: that is what arms are paired by."""
    parsed = final_answer(reply.text, item.options, recipe.parser)
    return rows.widen(
        dataclasses.replace(item, system_id=recipe.system_id, system=recipe.system),
        rows.Answer,
        response=reply.text,
        finish_reason=reply.finish_reason,
        parsed=parsed,
        correct=same_answer(parsed, item.reference),
    )


def _read_log(path: Path) -> dict[int, Reply]:
    """The logged replies by the item's index. Cuts off a line that a kill left unfinished."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    return {index: Reply(*reply) for line in lines for index, reply in zip(line["items"], line["replies"], strict=True)}
