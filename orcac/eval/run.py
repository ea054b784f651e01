"""Ask one student every item of one benchmark, zero-shot, and score its answers; or score a baseline's answers.

Items are answered batch by batch. A finished batch is one line of a log in `work`, synced before the next one starts,
so a kill costs at most the batch at hand; a torn last line is cut off. An answer depends on its prompt and the recipe's
seed and not on its batch (see `model.generation`), so a resumed evaluation writes the same bytes, and one that is
resumed at another batch size keeps its earlier answers.

Answers are parsed at the end, from the logged texts: no answer is lost to a parser.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orcac import rows
from orcac.checkers import final_answer, same_answer
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe, EvalSummary, TaskCounts
from orcac.eval.scores import score
from orcac.job import Job

if TYPE_CHECKING:
    from orcac.model.generation import LocalModel

__all__ = ["run"]


class Reply(NamedTuple):
    text: str
    finish_reason: str


def load_model(folder: Path, *, threads: int, gpus: int) -> LocalModel:
    """Load the student in a model folder."""
    from orcac.model.generation import LocalModel  # needs torch; scoring and its tests do not

    return LocalModel.load(folder, threads=threads, gpus=gpus)


def run(job: Job[EvalRecipe, EvalExecution], *, load_model: Callable[..., LocalModel] = load_model) -> EvalSummary:
    """Write `answers.parquet` and `scores.json`. Raises InputError if there are no items or if one has no reference."""
    items = list(rows.read(job.input("items") / "prompts.parquet", rows.Prompt))
    if not items:
        raise InputError(f"{job.label}: the benchmark has no items", fix="take at least one item of it")
    for item in items:
        if not item.reference:
            raise InputError(
                f"{job.label}: item {item.id} of {item.source} has no reference answer",
                fix="evaluate on items whose right answer is known",
            )
    replies = _recorded_replies(job, items) if "answers" in job.inputs else _ask(job, items, load_model)
    answers = [_parse(item, reply, job.recipe) for item, reply in zip(items, replies, strict=True)]
    rows.write(job.out / "answers.parquet", rows.Answer, answers)
    scores = score(answers)
    (job.out / "scores.json").write_text(json.dumps(dataclasses.asdict(scores), indent=1) + "\n")
    return EvalSummary(
        n=scores.n,
        correct=scores.correct,
        accuracy=scores.accuracy,
        unparsed=scores.unparsed,
        chance=scores.chance,
        tasks={task: TaskCounts(found.n, found.correct, found.unparsed) for task, found in scores.tasks.items()},
    )


def _recorded_replies(job: Job[EvalRecipe, EvalExecution], items: Sequence[rows.Prompt]) -> list[Reply]:
    """Return a baseline's reply to every item, in the order of the items. A failed request gives "", which is unparsed.

    The baseline was asked under the benchmark's system message, so its prompts have other ids than the items. They are
    matched by task and query, which no two items of a sample share.
    """
    replies = {
        (response.task, response.query): Reply(response.response, response.finish_reason)
        for response in rows.read(job.input("answers") / "responses.parquet", rows.Response)
    }
    return [replies[item.task, item.query] for item in items]


def _ask(
    job: Job[EvalRecipe, EvalExecution], items: Sequence[rows.Prompt], load_model: Callable[..., LocalModel]
) -> list[Reply]:
    """Ask the student every item that the log lacks, and return all replies in the order of the items."""
    recipe, execution, log = job.recipe, job.execution, job.work / "answers.jsonl"
    model = load_model(job.input("model") / "model", threads=execution.threads, gpus=execution.gpus)
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


def _parse(item: rows.Prompt, reply: Reply, recipe: EvalRecipe) -> rows.Answer:
    """Return the item's answer. It keeps the item's id under any system message, since arms are paired by ids."""
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
    """Return the logged replies by the item's index, and cut off a line that a kill left unfinished."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    return {index: Reply(*reply) for line in lines for index, reply in zip(line["items"], line["replies"], strict=True)}
