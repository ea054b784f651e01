"""Let one student answer every item of one benchmark, by a text or by likelihoods: of the item's choices, or of a text.

Many items are answered together. Answers that end together are one line of a log in `work`, so a kill costs at most the
answers that have begun; a torn last line is left out. The log is synced every second. An answer depends on its prompt
and the recipe's seed and not on its batch (see `model.generation`), so a resumed evaluation writes the same bytes, and
one that is resumed at another batch size keeps its earlier answers.

A shard answers every N-th item, and has a log of its own in the node's `work`. `run` and all shards read all logs, so
nothing is answered again if the number of shards changes; `run` answers the items that no shard has answered.

With several samples, an item has rows one after another, one for each of its answers. Sample k is drawn from the seed
plus k, as a local baseline's is; the log numbers the answers sample by sample.

Under `method: likelihood` the answer is the option whose choice has the largest log-likelihood, in total or for each
character of the choice; of equal ones it is the first.

Under `method: loss` the answer is the item's reference, or the text of a teacher (input `texts`), with the
log-likelihood that the student gives it. An item without such a text has an empty answer.

With the engine `vllm` the student is served and asked over HTTP (served.py). That has logs of its own, so the answers
of one evaluation never come from two engines.

If VERSION 1 has made the same evaluation, its answers are taken over and no model is loaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orcac import rows
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe, EvalSummary
from orcac.job import Job, hide_pandas, packages_in_use
from orcac.progress import print_line
from orcac.reasoning import split_reasoning
from orcac.summary import ShardSummary

if TYPE_CHECKING:
    from orcac.model.generation import LocalAnswer, LocalModel, Model

__all__ = ["run", "run_shard"]

EvalJob = Job[EvalRecipe, EvalExecution]
Batches = Iterator[tuple[list[int], list["Reply"]]]  # numbers of answers, and the answers
_LIKELIHOOD_BATCH = 32  # questions between two lines of the log
_LOSS_BATCH = 8  # the same; texts are longer than choices
_SYNC_S = 1.0  # between two syncs of the log
_BEFORE_CHECKSUM = b', "crc32": '


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


def run(job: EvalJob, *, load_model: Callable[..., LocalModel] = load_model) -> EvalSummary:
    """Write `answers.parquet`. Raises InputError if there are no items."""
    hide_pandas()
    items, execution, shards = _read_items(job), job.execution, None
    earlier = next(iter(job.earlier), "")
    if earlier:
        print_line(f"{job.label}  takes its {len(items):,} answers from {earlier}")
        answers = list(rows.read(job.earlier[earlier] / "answers.parquet", rows.Answer))
        assert [answer.id for answer in answers] == [item.id for item in items]
    else:
        replies = _ask(job, items, range(len(items) * job.recipe.samples), load_model)
        shards = execution.shards if execution.shards > 1 else None
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
        shards=shards,
        engine=None if earlier or execution.engine == "transformers" else execution.engine,
    )


def run_shard(
    job: EvalJob, index: int, count: int, *, load_model: Callable[..., LocalModel] = load_model
) -> ShardSummary:
    """Answer the items number index, index + count, ... (from 0) and leave their answers in the node's `work`."""
    hide_pandas()
    items = _read_items(job)
    total = range(len(items) * job.recipe.samples)
    numbers = [] if job.earlier else [number for number in total if number % len(items) % count == index]
    _ask(job, items, numbers, load_model, part=f"-{index + 1}-of-{count}")
    return ShardSummary(prompts=len(numbers), answered=len(numbers))


def _read_items(job: EvalJob) -> list[rows.BenchmarkItem]:
    items = list(rows.read(job.input("items") / "prompts.parquet", rows.BenchmarkItem))
    if not items:
        raise InputError(f"{job.label}: the benchmark has no items", fix="take at least one item of it")
    return items


def _ask(
    job: EvalJob,
    items: Sequence[rows.BenchmarkItem],
    numbers: Sequence[int],
    load_model: Callable[..., LocalModel],
    *,
    part: str = "",
) -> dict[int, Reply]:
    """Return the logged answers by number, after the student has given those of `numbers` that the logs lack.

    The answer of sample k to item i has number k * len(items) + i. `part` names a shard in its log.
    """
    execution, folder = job.execution, job.input("model") / "model"
    engine = "" if execution.engine == "transformers" else f"-{execution.engine}"
    name = re.compile(rf"answers{engine}(-\d+-of-\d+)?\.jsonl")
    replies: dict[int, Reply] = {}
    for path in sorted(job.shared_work.glob("answers*.jsonl")):
        if name.fullmatch(path.name):
            _read_log(path, replies, job.packages)
    asked = [number for number in numbers if number not in replies]
    progress = job.progress(len(numbers), "answers")
    progress.update(len(numbers) - len(asked))
    if not asked:
        return replies
    log = job.shared_work / f"answers{engine}{part}.jsonl"
    _cut_torn_line(log)
    with contextlib.ExitStack() as stack:
        if execution.engine == "transformers":
            model = load_model(folder, threads=execution.threads, gpus=execution.gpus)
            ask = _ASK.get(job.recipe.method, _compare_choices)
            batches = ask(model, job, items, asked)
            packages = packages_in_use()
        else:
            from orcac.eval.served import ServedModel

            served = stack.enter_context(ServedModel(folder, work=job.work, gpus=execution.gpus))
            batches = _generate(served, job, items, asked)
            packages = packages_in_use() | {"vllm": served.version}
        job.packages.update(packages)
        file = stack.enter_context(log.open("ab"))
        file.write(_line_of({"packages": packages}))
        synced, left = time.monotonic(), len(asked)
        for answered, given in batches:
            file.write(_line_of({"items": answered, "replies": given}))
            file.flush()
            if time.monotonic() - synced >= _SYNC_S:
                os.fsync(file.fileno())
                synced = time.monotonic()
            replies.update(zip(answered, given, strict=True))
            left -= len(answered)
            progress.update(len(numbers) - left)
    return replies


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


def _measure_texts(
    model: LocalModel, job: EvalJob, items: Sequence[rows.BenchmarkItem], numbers: Sequence[int]
) -> Batches:
    """Yield the given texts with their log-likelihoods, of which a text has none if the positions do not hold it."""
    texts = _read_texts(job, items)
    for batch in rows.batched(numbers, _LOSS_BATCH):
        known = [number for number in batch if texts[number]]
        found = model.score_texts([(job.recipe.system, items[number].query, texts[number]) for number in known])
        replies = dict.fromkeys(batch, Reply("", "stop"))
        for number, scores in zip(known, found, strict=True):
            reason = "stop" if scores.log_likelihoods else "length"
            tokens = scores.input_tokens, scores.output_tokens
            replies[number] = Reply(texts[number], reason, *tokens, scores.log_likelihoods)
        yield batch, list(replies.values())


def _read_texts(job: EvalJob, items: Sequence[rows.BenchmarkItem]) -> list[str]:
    """Return the text of each item whose loss is measured; "" if it has none."""
    if "texts" not in job.inputs:
        return [item.reference for item in items]
    responses = rows.read(job.input("texts") / "responses.parquet", rows.Response)
    found = {row.id: split_reasoning(row.response)[1] for row in responses}
    texts = [text if (text := found.get(item.id, "")).strip() else "" for item in items]
    if empty := texts.count(""):
        print_line(f"{job.label}  the teacher has no answer to {empty:,} of {len(items):,} items: they are left out")
    return texts


_ASK: dict[str, Callable[..., Batches]] = {"generate": _generate, "loss": _measure_texts}


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


def _line_of(values: dict[str, object]) -> bytes:
    """Return a line of a log: JSON whose last field is the CRC-32 of the bytes before it."""
    text = json.dumps(values).encode()[:-1]
    return text + _BEFORE_CHECKSUM + b"%d}\n" % zlib.crc32(text)


def _read_log(path: Path, replies: dict[int, Reply], packages: dict[str, str]) -> None:
    """Add the replies of a log by their numbers, and the packages that made them.

    A torn last line is left out. So is a damaged one, with a message; lines of an older orcac have no checksum.
    """
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            values = _parse_line(line)
        except ValueError:
            print_line(f"{path}:{number}: the line is damaged: its items are answered again")
            continue
        packages.update(values.get("packages", {}))
        for item, reply in zip(values.get("items", ()), values.get("replies", ()), strict=True):
            replies[item] = Reply(*reply)


def _parse_line(line: bytes) -> dict[str, Any]:
    """Return the values of a log's line. Raises ValueError if it is damaged."""
    values = json.loads(line)
    text, _, end = line.rpartition(_BEFORE_CHECKSUM)
    if text and end != b"%d}" % zlib.crc32(text):
        raise ValueError
    if not text and values.keys() - {"packages", "items", "replies"}:
        raise ValueError  # the name of the checksum is damaged
    return values


def _cut_torn_line(log: Path) -> None:
    """Cut off a line that a kill left unfinished at the end of a log."""
    if log.exists():
        os.truncate(log, log.read_bytes().rfind(b"\n") + 1)
