"""Let one student answer every item of one benchmark, by a text or by the likeliest of the item's choices.

Many items are answered together. Answers that end together are one line of a log in `work`, so a kill costs at most the
answers that have begun; a torn last line is cut off. The log is synced every second. An answer depends on its prompt
and the recipe's seed and not on its batch (see `model.generation`), so a resumed evaluation writes the same bytes, and
one that is resumed at another batch size keeps its earlier answers.

With several samples, an item has rows one after another, one for each of its answers. Sample k is drawn from the seed
plus k, as a local baseline's is; the log numbers the answers sample by sample.

Under `method: likelihood` the answer is the option whose choice has the largest log-likelihood, in total or for each
character of the choice; of equal ones it is the first.

With the engine `vllm` the student is served and asked over HTTP (served.py). That has a log of its own, so the answers
of one evaluation never come from two engines.

If VERSION 1 has made the same evaluation, its answers are taken over and no model is loaded.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orcac import rows
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe, EvalSummary
from orcac.job import Job, packages_in_use
from orcac.reasoning import split_reasoning

if TYPE_CHECKING:
    from orcac.model.generation import LocalAnswer, LocalModel, Model

__all__ = ["run"]


_LIKELIHOOD_BATCH = 32  # questions between two lines of the log
_SYNC_S = 1.0  # between two syncs of the log


class Reply(NamedTuple):
    text: str
    finish_reason: str
    input_tokens: int = 0
    output_tokens: int = 0
    log_likelihoods: Sequence[float] = ()
    reasoning: str = ""


def load_model(folder: Path, *, threads: int, gpus: int) -> LocalModel:
    """Load the student in a model folder."""
    from orcac.model.generation import LocalModel  # needs torch; the tests of `run` do not

    return LocalModel.load(folder, threads=threads, gpus=gpus)


def run(job: Job[EvalRecipe, EvalExecution], *, load_model: Callable[..., LocalModel] = load_model) -> EvalSummary:
    """Write `answers.parquet`. Raises InputError if there are no items."""
    items = list(rows.read(job.input("items") / "prompts.parquet", rows.BenchmarkItem))
    if not items:
        raise InputError(f"{job.label}: the benchmark has no items", fix="take at least one item of it")
    earlier = next(iter(job.earlier), "")
    if earlier:
        print(f"{job.label}  takes its {len(items):,} answers from {earlier}", file=sys.stderr, flush=True)
        answers = list(rows.read(job.earlier[earlier] / "answers.parquet", rows.Answer))
        assert [answer.id for answer in answers] == [item.id for item in items]
    else:
        replies = _ask(job, items, load_model)
        answers = [
            _answer(item, replies[sample * len(items) + index], job.recipe, sample)
            for index, item in enumerate(items)
            for sample in range(job.recipe.samples)
        ]
    rows.write(job.out / "answers.parquet", rows.Answer, answers)
    return EvalSummary(
        n=len(items),
        cut=sum(answer.finish_reason == "length" for answer in answers),
        input_tokens=sum(answer.input_tokens for answer in answers),
        output_tokens=sum(answer.output_tokens for answer in answers),
        earlier=earlier,
        engine=None if earlier or job.execution.engine == "transformers" else job.execution.engine,
    )


def _ask(
    job: Job[EvalRecipe, EvalExecution], items: Sequence[rows.BenchmarkItem], load_model: Callable[..., LocalModel]
) -> list[Reply]:
    """Let the student answer every item that the log lacks, and return all replies: of sample 0 to all items first."""
    execution, folder = job.execution, job.input("model") / "model"
    if execution.engine == "transformers":
        model = load_model(folder, threads=execution.threads, gpus=execution.gpus)
        ask = _generate if job.recipe.method == "generate" else _compare_choices
        return _log_replies(job, items, functools.partial(ask, model), log=job.work / "answers.jsonl")
    from orcac.eval.served import ServedModel

    with ServedModel(folder, work=job.work, gpus=execution.gpus) as served:
        job.packages.update(packages_in_use(), vllm=served.version)
        ask = functools.partial(_generate, served)
        return _log_replies(job, items, ask, log=job.work / "answers-vllm.jsonl")


EvalJob = Job[EvalRecipe, EvalExecution]
Batches = Iterator[tuple[list[int], list[Reply]]]  # numbers of answers, and the answers


def _log_replies(
    job: EvalJob,
    items: Sequence[rows.BenchmarkItem],
    ask: Callable[[EvalJob, Sequence[rows.BenchmarkItem], Sequence[int]], Batches],
    *,
    log: Path,
) -> list[Reply]:
    """Call `ask` for the answers that the log lacks, by number, and log them; return all in the order of the numbers.

    The answer of sample k to item i has number k * len(items) + i.
    """
    replies = _read_log(log)
    total = len(items) * job.recipe.samples
    progress = job.progress(total, "answers")
    progress.update(len(replies))
    synced = time.monotonic()
    with log.open("ab") as file:
        left = [number for number in range(total) if number not in replies]
        for asked, answered in ask(job, items, left):
            file.write(json.dumps({"items": asked, "replies": answered}).encode() + b"\n")
            file.flush()
            if time.monotonic() - synced >= _SYNC_S:
                os.fsync(file.fileno())
                synced = time.monotonic()
            replies.update(zip(asked, answered, strict=True))
            progress.update(len(replies))
    return [replies[number] for number in range(total)]


def _generate(model: Model, job: EvalJob, items: Sequence[rows.BenchmarkItem], numbers: Sequence[int]) -> Batches:
    """Yield the texts with which the student answers, sample by sample."""
    recipe = job.recipe
    for sample in range(recipe.samples):
        left = [number for number in numbers if number // len(items) == sample]
        prompts = [(recipe.system, items[number % len(items)].query) for number in left]
        size = job.execution.batch_size
        order = model.sort(prompts, max_new_tokens=recipe.max_new_tokens, batch_size=size)
        for answered in model.answer(
            [prompts[index] for index in order],
            batch_size=size,
            temperature=recipe.temperature,
            top_p=recipe.top_p,
            max_new_tokens=recipe.max_new_tokens,
            seed=recipe.seed + sample,
            stop=recipe.stop,
            reasoning=recipe.reasoning,
        ):
            yield [left[order[place]] for place, _ in answered], [_reply(answer) for _, answer in answered]


def _reply(answer: LocalAnswer) -> Reply:
    reasoning, text = split_reasoning(answer.text, opened=answer.opened)
    return Reply(text, answer.finish_reason, answer.input_tokens, answer.output_tokens, (), reasoning)


def _compare_choices(
    model: LocalModel, job: EvalJob, items: Sequence[rows.BenchmarkItem], numbers: Sequence[int]
) -> Batches:
    """Yield the options whose choices are the likeliest. An item that the student's positions do not hold has none."""
    by_character = job.recipe.method == "likelihood-per-character"
    for batch in rows.batched(numbers, _LIKELIHOOD_BATCH):
        asked = [items[number] for number in batch]
        found = model.score_choices([(job.recipe.system, item.query, item.choices) for item in asked])
        replies = []
        for item, scores in zip(asked, found, strict=True):
            values = scores.log_likelihoods
            if by_character and values:
                values = [value / len(choice) for value, choice in zip(values, item.choices, strict=True)]
            text, reason = (item.options[values.index(max(values))], "stop") if values else ("", "length")
            replies.append(Reply(text, reason, scores.input_tokens, 0, scores.log_likelihoods))
        yield batch, replies


def _answer(item: rows.BenchmarkItem, reply: Reply, recipe: EvalRecipe, sample: int) -> rows.Answer:
    """Return the item's answer. It keeps the item's id under any system message, since arms are paired by ids."""
    return rows.widen(
        item,
        rows.Answer,
        system_id=recipe.system_id,
        system=recipe.system,
        response=reply.text,
        reasoning=reply.reasoning,
        finish_reason=reply.finish_reason,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        log_likelihoods=list(reply.log_likelihoods),
        sample=sample,
    )


def _read_log(path: Path) -> dict[int, Reply]:
    """Return the logged replies by their number, and cut off a line that a kill left unfinished."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    return {index: Reply(*reply) for line in lines for index, reply in zip(line["items"], line["replies"], strict=True)}
