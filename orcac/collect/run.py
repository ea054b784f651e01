"""Collect: one teacher's answer to every prompt, in the order of the prompts.

Whoever answers (a served model, the embedded teacher, a recording) is an endpoint, and `chat.engine.ask`
asks it. Answers stand in the ledger by what determines them, so there is little to do here: make the
requests, ask what is missing, write the rows. A shard asks its part of the prompts and leaves answers in the
ledger and nothing else; `run` then finds them there, and asks what a shard may have left.

A node that nobody answered is no artifact: it fails, and says why.

The shards of a node run at the same time on one account, so each may use its part of the account's limits
and of the budget.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

from orcac import rows
from orcac.chat import openai
from orcac.chat.batch import ask_in_batches
from orcac.chat.engine import Endpoint, Tally, ask
from orcac.chat.ledger import Ledger
from orcac.chat.messages import ERRORS, ChatRequest, ChatResponse, conversation, dollars
from orcac.chat.replay import Replay, Source
from orcac.chat.settings import EndpointSettings, Price
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.errors import EndpointError, InputError, OrcacError
from orcac.hub import fetch
from orcac.job import Job, Summary
from orcac.recipe import FileRef, open_ref
from orcac.rows import Prompt, Response

__all__ = ["run", "run_shard"]

CollectJob = Job[CollectRecipe, CollectExecution]


def run(job: CollectJob) -> Summary:
    """Ask what nobody has answered yet, and write `responses.parquet` (rows.Response).

    Raises what `chat.engine.ask` raises; what was answered until then is kept in the ledger. Where it raises
    nothing but there is no answer at all, raises EndpointError, or InputError where no endpoint was asked.
    """
    prompts = _prompts(job)
    messages: dict[str, str] = {}
    answers = _answers(job, prompts, job.execution.endpoint, messages)
    if prompts and all(answer.error for answer in answers):
        raise _unanswered(job, answers, messages)
    responses = [_response(job, prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    rows.write(job.out / "responses.parquet", Response, responses)
    return _summary(job, prompts, answers)


def run_shard(job: CollectJob, index: int, count: int) -> Summary:
    """Ask the prompts number index, index + count, ... (from 0); their answers stand in the ledger."""
    prompts = _prompts(job)[index::count]
    return _summary(job, prompts, _answers(job, prompts, _share(job.execution.endpoint, count), {}))


def _prompts(job: CollectJob) -> list[Prompt]:
    """The prompts of all inputs in order; of those with one id, the first."""
    first: dict[str, Prompt] = {}
    for folder in job.inputs["prompts"]:
        for prompt in rows.read(folder / "prompts.parquet", Prompt):
            first.setdefault(prompt.id, prompt)
    return list(first.values())


def _share(settings: EndpointSettings, count: int) -> EndpointSettings:
    """One part in `count` of what the account allows."""
    per_minute = {
        name: max(1, limit // count)
        for name in ("requests_per_minute", "tokens_per_minute")
        if (limit := getattr(settings, name)) is not None
    }
    budget = settings.budget_usd
    return settings.model_copy(
        update=per_minute
        | {
            "concurrency": math.ceil(settings.concurrency / count),
            "budget_usd": None if budget is None else budget / count,
        }
    )


def _answers(
    job: CollectJob, prompts: list[Prompt], settings: EndpointSettings, messages: dict[str, str]
) -> list[ChatResponse]:
    """The answer to each prompt, in order. The first message of each error class is printed, and put in `messages`."""
    if job.recipe.origin == "reference":
        return [_reference(prompt) for prompt in prompts]
    requests = [_request(job.recipe, prompt) for prompt in prompts]
    keys = [request.key for request in requests]
    progress, said = job.progress(len(set(keys)), "answers"), list[str]()

    def say(text: str) -> None:
        print(f"{job.label}  {text}", file=sys.stderr, flush=True)

    def show(tally: Tally, note: str = "") -> None:
        for name, message in tally.messages.items():
            if name not in messages:
                messages[name] = message
                say(f"{name}: {message}")
        progress.update(
            tally.answered + tally.failed.total(),
            "  ".join([*_notes(tally), *([note] if note else []), *said]),
            usd=tally.usd,
        )

    async def answer() -> dict[str, ChatResponse]:
        if job.recipe.origin == "replay":
            replay = Replay(_source(job), requests)
            if replay.duplicates:
                said.append(f"{replay.duplicates:,} rows of the recording come too late")
            free = settings.model_copy(update={"price": _price(job), "budget_usd": None})
            return await ask(requests, endpoint=replay, ledger=None, settings=free, on_progress=show)
        endpoint: AbstractAsyncContextManager[Endpoint]
        endpoint = _solver(settings) if job.recipe.origin == "solver" else openai.connect(settings)
        if settings.mode != "online":
            left = await ask_in_batches(requests, settings=settings, answers=job.answers, on_progress=show, say=say)
            endpoint = endpoint if settings.mode == "auto" else nullcontext(left)
        async with Ledger(job.answers, wanted=set(keys)) as ledger:
            return await ask(requests, endpoint=endpoint, ledger=ledger, settings=settings, on_progress=show)

    by_key = asyncio.run(answer())
    return [by_key[key] for key in keys]


def _price(job: CollectJob) -> Price:
    """What nobody is asked for costs nothing."""
    return Price() if job.recipe.origin in ("replay", "reference") else job.execution.endpoint.price


def _reference(prompt: Prompt) -> ChatResponse:
    """The answer that the query's source gives, with no explanation: what FLAN itself would train on."""
    if not prompt.reference:
        return ChatResponse(text="", finish_reason="", error="not_recorded")
    return ChatResponse(text=prompt.reference, finish_reason="stop")


def _request(recipe: CollectRecipe, prompt: Prompt) -> ChatRequest:
    version = "" if recipe.solver_version is None else f"/{recipe.solver_version}"
    return ChatRequest(
        model=recipe.model,
        messages=conversation(system=prompt.system, user=prompt.query),
        sampling=recipe.sampling,
        origin=recipe.origin + version,
    )


@asynccontextmanager
async def _solver(settings: EndpointSettings) -> AsyncIterator[Endpoint]:
    """The embedded teacher, served on loopback for as long as it is asked."""
    from orcac.chat.solver import SolverServer  # brings an HTTP server

    async with (
        SolverServer() as server,
        openai.connect_to(server.base_url, timeout_s=settings.timeout_seconds) as endpoint,
    ):
        yield endpoint


def _source(job: CollectJob) -> Source:
    recording = job.recipe.recording
    assert recording is not None, job.ref

    def places(refs: tuple[FileRef, ...]) -> tuple[Path, ...]:
        return tuple(open_ref(ref, job.execution) for ref in refs)

    fetched = [fetch(ref, kind="dataset", label=job.label) for ref in recording.hub]
    return Source(
        answers=places(recording.answers) + tuple(path for one in fetched for path, _ in one.files),
        fields=recording.fields,
        questions=places(recording.questions),
        question_fields=recording.question_fields,
    )


def _response(job: CollectJob, prompt: Prompt, answer: ChatResponse) -> Response:
    return rows.widen(
        prompt,
        Response,
        teacher=job.recipe.model,
        response=answer.text,
        finish_reason=answer.finish_reason,
        error=answer.error,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
    )


def _notes(tally: Tally) -> list[str]:
    """Dollars and errors for the progress line: `1.20 USD`, `failed: 2 bad_request`, `retried: 5 server`."""
    notes = [dollars(tally.usd)] if tally.usd else []
    for title, counts in (("failed", tally.failed), ("retried", tally.retried)):
        if counts:
            notes.append(f"{title}: " + ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())))
    return notes


def _unanswered(job: CollectJob, answers: list[ChatResponse], messages: dict[str, str]) -> OrcacError:
    """The error of a node without any answer: how often each class was met, and its first message."""
    failed = Counter(answer.error for answer in answers)
    causes = (
        f"{count:,} {name}" + (f" ({messages[name]})" if name in messages else "")
        for name, count in sorted(failed.items())
    )
    text = f"{job.label}: none of {len(answers):,} prompts was answered: {', '.join(causes)}"
    match job.recipe.origin:
        case "replay":
            fix = "correct the recording's fields, or give the recording of these prompts"
            return InputError(f"{text}; no question of the recording matches", fix=fix)
        case "reference":
            return InputError(text, fix="take prompts from a source that gives references")
    return EndpointError(text, fix="; ".join(ERRORS[name].fix for name in sorted(failed)) + ", then run again")


def _summary(job: CollectJob, prompts: list[Prompt], answers: list[ChatResponse]) -> Summary:
    """Prompts of two sources with equal texts are one request: each counts as a prompt, its tokens count once.

    `usd` is what these answers cost at the endpoint's prices, whenever they were paid, by the rule that the budget
    goes by: `ChatRequest.usd_of`.
    """
    failed = Counter(answer.error for answer in answers if answer.error)
    requests = [_request(job.recipe, prompt) for prompt in prompts]
    # The messages are all that the requests of a node differ in.
    asked = {request.messages: (request, answer) for request, answer in zip(requests, answers, strict=True)}
    return {
        "prompts": len(answers),
        "answered": len(answers) - failed.total(),
        "failed": dict(sorted(failed.items())),
        "input_tokens": sum(answer.input_tokens for _, answer in asked.values()),
        "output_tokens": sum(answer.output_tokens for _, answer in asked.values()),
        "usd": round(sum(request.usd_of(answer, _price(job)) for request, answer in asked.values()), 6),
    }
