"""Collect: one teacher's responses to every prompt, in the order of the prompts.

A model is asked through `chat.ask`, which finds in the ledger the questions that were answered before; a recording, or
the prompts' own references, are looked up row by row. Prompts and responses are streams that are joined at the end:
neither is held as a whole. Rows of a recording that cannot be read are kept aside in `bad.parquet`. A shard asks its
part of the prompts and only adds its answers to the ledger. `run` then finds them there, and asks the questions that a
shard may have left.

A node without any response is not an artifact: it fails and gives the reasons. So does one that lost a group of
prompts, such as all those with a system message, to failures that are not on record (`failed_groups`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pyarrow as pa

from orcac import rows
from orcac.bad_rows import write_bad
from orcac.chat.ask import Asker
from orcac.chat.messages import ChatResponse
from orcac.chat.questions import Questions
from orcac.collect.asking import chat_execution
from orcac.collect.contamination import read_benchmarks
from orcac.collect.failed_groups import GroupedFailures
from orcac.collect.prompts import Prompts
from orcac.collect.recipe import CollectExecution, CollectRecipe, CollectSummary
from orcac.collect.recorded import open_recording, read_references, replay_responses
from orcac.collect.unanswered import lost_group_error, unanswered_error
from orcac.errors import InputError
from orcac.job import Job, save_memory
from orcac.progress import print_line
from orcac.rows import Response
from orcac.summary import ShardSummary

__all__ = ["run", "run_shard"]

_SHARED_FIELDS = (
    "reasoning",
    "refusal",
    "finish_reason",
    "error",
    "input_tokens",
    "output_tokens",
)  # fields of both a ChatResponse and a row
CollectJob = Job[CollectRecipe, CollectExecution]


def run(job: CollectJob) -> CollectSummary:
    """Ask the questions without an answer, and write `responses.parquet` (rows.Response).

    Raises the errors of `chat.ask.Asker.ask`; answers received until then are kept in the ledger. If no prompt has a
    response, raises EndpointError, or InputError if the responses are looked up.
    """
    _save_memory(job)
    prompts = _open_prompts(job)
    questions = _questions(job, prompts)
    match job.recipe.origin:
        case "reference":
            return _write(job, prompts, questions, read_references(prompts), {})
        case "replay":
            messages: dict[str, str] = {}
            replay = open_recording(job, job.recipe.recording, questions, max_bad=job.execution.max_bad)
            responses = replay_responses(job, replay, questions, len(prompts) * job.recipe.samples, messages)
            summary = _write(job, prompts, questions, responses, messages, bad=len(replay.bad))
            write_bad(job.out / "bad.parquet", replay.bad)
            return summary
    with Asker(questions, chat_execution(job, job.execution.endpoint, job.recipe)) as asker:
        messages = asker.ask().messages
        return _write(job, prompts, questions, asker.responses(), messages)


def run_shard(job: CollectJob, index: int, count: int) -> ShardSummary:
    """Ask the prompts number index, index + count, ... (from 0) and leave their answers in the ledger."""
    _save_memory(job)
    prompts = _open_prompts(job, index=index, count=count)
    asked = len(prompts) * job.recipe.samples
    if job.recipe.origin in ("reference", "replay"):  # `run` looks them up
        return ShardSummary(prompts=asked)
    with Asker(_questions(job, prompts), chat_execution(job, job.execution.endpoint, job.recipe)) as asker:
        tally = asker.ask()
    failed = dict(sorted(tally.failed.items()))
    return ShardSummary(prompts=asked, answered=tally.answered, failed=failed, usd=round(tally.usd, 6))


def _open_prompts(job: CollectJob, *, index: int = 0, count: int = 1) -> Prompts:
    """Return the prompts to ask, without the contaminated ones if the recipe leaves them out.

    Raises InputError if none is left.
    """
    ngram, folders = job.recipe.contamination_ngram, job.inputs["prompts"]
    if ngram is None:
        return Prompts(folders, index=index, count=count)
    benchmarks = read_benchmarks(job.inputs["benchmarks"], ngram)

    def is_contaminated(query: str) -> bool:
        return bool(benchmarks.find_overlaps(query, is_query=True))

    prompts = Prompts(folders, index=index, count=count, is_contaminated=is_contaminated)
    if not len(prompts) and count == 1:
        raise InputError(
            f"{job.label}: all {prompts.contaminated:,} prompts share {ngram} words with a benchmark's items",
            fix="take other queries, or raise `ngram` of `filters.contamination`",
        )
    if index == 0:
        print_line(f"{job.label}  {prompts.contaminated:,} contaminated prompts are left out")
    return prompts


def _questions(job: CollectJob, prompts: Prompts) -> Questions:
    recipe = job.recipe
    return Questions(recipe.template, prompts.texts, system_role=recipe.system_role, samples=recipe.samples)


def _list_samples(rows: int, samples: int) -> dict[str, list[int]]:
    """Return the column `sample` of so many rows; a dataset with one answer to each prompt has none."""
    return {"sample": [*range(samples)] * (rows // samples)} if samples > 1 else {}


def _save_memory(job: CollectJob) -> None:
    """Save memory, except where this process generates: that takes a third more time with small memory settings."""
    if job.recipe.origin != "local":
        save_memory()


def _write(
    job: CollectJob,
    prompts: Prompts,
    questions: Questions,
    responses: Iterator[ChatResponse],
    messages: dict[str, str],
    *,
    bad: int = 0,
) -> CollectSummary:
    """Write a row for each sample of each prompt.

    Prompts of two sources with equal texts are one question: its tokens count once.

    `usd` is the price of these responses at the endpoint, whenever they were paid, as the budget counts it
    (`ChatRequest.usd_of`).

    Raises EndpointError if failures that a rerun may mend took at least half of a group of prompts: the artifact would
    lack a part of the experiment.
    """
    is_free, price = job.recipe.origin in ("replay", "reference"), job.execution.endpoint.price
    failed, omitted, grouped = Counter[str](), Counter[str](), GroupedFailures()
    any_request = questions.request(system="", user="")
    input_tokens = output_tokens = reasoned = done = 0
    usd = 0.0

    def tables() -> Iterator[pa.RecordBatch]:
        nonlocal input_tokens, output_tokens, reasoned, done, usd
        for table in prompts.tables(job.recipe.samples):
            some = list(islice(responses, len(table)))
            failed.update(response.error for response in some if response.error)
            grouped.add(
                systems=table.column("system").to_pylist(),
                numbers=table.column("system_id").to_pylist(),
                tasks=table.column("task").to_pylist(),
                errors=[response.error for response in some],
            )
            omitted.update(name for response in some for name in response.omitted)
            reasoned += sum(bool(response.reasoning) for response in some)
            for n in np.flatnonzero(questions.first[done : done + len(some)]).tolist():
                response, request = some[n], any_request
                input_tokens += response.input_tokens
                output_tokens += response.output_tokens
                if is_free:
                    continue
                if not (response.input_tokens or response.output_tokens):  # its price depends on the request's length
                    system, query = (table.column(name)[n].as_py() for name in ("system", "query"))
                    request = questions.request(system=system, user=query)
                usd += request.usd_of(response, price)
            done += len(some)
            yield rows.widen_table(
                table,
                Response,
                teacher=[job.recipe.model] * len(some),
                response=[response.text for response in some],
                **_list_samples(len(some), job.recipe.samples),
                **{name: [getattr(response, name) for response in some] for name in _SHARED_FIELDS},
            )
        assert next(responses, None) is None

    path = job.out / "responses.parquet"
    count = rows.write_tables(path, Response, tables())
    if count and failed.total() == count:
        path.unlink()
        raise unanswered_error(job, failed, messages)
    mendable = grouped.find(recorded=False)
    grave = [] if is_free else [group for group in mendable if group.is_grave]
    if grave:
        path.unlink()
        raise lost_group_error(job, grave, failed, messages)
    for group in (*grouped.find(recorded=True), *mendable):
        print_line(f"{job.label}  {group}")
    return CollectSummary(
        prompts=count,
        answered=count - failed.total(),
        failed=dict(sorted(failed.items())),
        omitted=dict(sorted(omitted.items())) or None,
        reasoned=reasoned or None,
        contaminated=prompts.contaminated,
        bad=bad or None,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        usd=round(usd, 6),
    )
