"""Collect: one teacher's answer to every prompt, in the order of the prompts.

A served model, or the embedded one, is asked by `chat.engine.ask`; its answers stand in the ledger by what determines
them. So a node decides by keys alone what is missing, has that asked, and joins prompts and answers, all as streams:
neither is ever held as a whole. A recording, or the prompts' own references, are looked up row by row. A shard asks
its part of the prompts and leaves answers in the ledger and nothing else; `run` then finds them there, and asks what a
shard may have left.

A node that nobody answered is no artifact: it fails, and says why.

The shards of a node run at the same time, as other nodes do: what asks one account shares its limits, and what
an experiment asks shares its budget, in folders beside the answers.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import uvloop

from orcac import rows
from orcac.chat.batch.control import check_unclaimed
from orcac.chat.batch.files import batches
from orcac.chat.batch.planner import ask_in_batches
from orcac.chat.endpoints.connect import connect
from orcac.chat.endpoints.replay import Replay, Source
from orcac.chat.engine import Tally, ask
from orcac.chat.failures import ERRORS
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.order import in_order
from orcac.chat.ledger.record import FAILURES
from orcac.chat.ledger.sealing import seal
from orcac.chat.limits.account import Account, account_name
from orcac.chat.limits.budget import Budget
from orcac.chat.messages import ChatResponse
from orcac.chat.settings import Price
from orcac.collect.questions import Questions, request
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.errors import EndpointError, InputError, OrcacError
from orcac.hub import fetch
from orcac.job import Job, Summary, stay_small
from orcac.recipe import FileRef, open_ref
from orcac.rows import Prompt, Response
from orcac.text import dollars

__all__ = ["run", "run_shard"]

_SAME = ("finish_reason", "error", "input_tokens", "output_tokens")  # of a ChatResponse and of a row
_ROWS_SHOWN = 100  # of a recording, for which progress is told once
_YOUNG_OBJECTS = 20_000  # that are made before the collector looks for cycles among them
T = TypeVar("T")
CollectJob = Job[CollectRecipe, CollectExecution]


def run(job: CollectJob) -> Summary:
    """Ask what nobody has answered yet, and write `responses.parquet` (rows.Response).

    Raises what `chat.engine.ask` raises; what was answered until then is kept in the ledger. Where it raises
    nothing but there is no answer at all, raises EndpointError, or InputError where no endpoint was asked.
    """
    stay_small()
    questions = Questions(job.recipe, job.inputs["prompts"])
    match job.recipe.origin:
        case "reference":
            return _write(job, questions, map(_reference, questions.prompts()), {})
        case "replay":
            messages: dict[str, str] = {}
            return _write(job, questions, _replayed(job, questions, messages), messages)
    return _run(_ask_and_join(job, questions))


def run_shard(job: CollectJob, index: int, count: int) -> Summary:
    """Ask the prompts number index, index + count, ... (from 0); their answers stand in the ledger."""
    stay_small()
    questions = Questions(job.recipe, job.inputs["prompts"], index=index, count=count)
    if job.recipe.origin in ("reference", "replay"):  # looked up where they are written
        return {"prompts": len(questions)}

    async def go() -> Tally:
        tally = await _ask_in_batches(job, questions)
        async with _ledger(job, questions) as ledger:
            return tally or await _ask(job, questions, ledger)

    tally = _run(go())
    failed = dict(sorted(tally.failed.items()))
    return {"prompts": len(questions), "answered": tally.answered, "failed": failed, "usd": round(tally.usd, 6)}


def _run(asking: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on a faster loop, with a collector of cycles that leaves alone what lives as long as we do.

    A request in flight is many objects and no cycle. By default they would have all modules gone through again and
    again: a tenth to a quarter of our CPU.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asking)


async def _ask_and_join(job: CollectJob, questions: Questions) -> Summary:
    tally = await _ask_in_batches(job, questions)
    async with _ledger(job, questions) as ledger:
        tally = tally or await _ask(job, questions, ledger)
        numbers = ledger.find(questions.keys.keys, job.recipe.sampling.max_tokens)[questions.keys.number]
        lost = {n: tally.failures[questions.key(n)] for n in np.flatnonzero(numbers < 0).tolist()}
        questions.forget_keys()
        answers = (
            response or ChatResponse(error=lost[n])
            for n, response in enumerate(in_order(ledger, numbers, job.work / "join"))
        )
        return _write(job, questions, answers, tally.messages)


def _ledger(job: CollectJob, questions: Questions) -> Ledger:
    seal(job.answers)
    return Ledger(job.answers, wanted=questions.keys.keys)


async def _ask_in_batches(job: CollectJob, questions: Questions) -> Tally | None:
    """Have asked in batches what the ledger does not answer; None where `_ask` has still to see to the rest."""
    settings = job.execution.endpoint
    none_is_live = all(batch.settled for batch in batches(job.answers))
    if settings.mode == "online" and (none_is_live or job.recipe.origin != "api"):  # batches ask no other
        return None
    async with _ledger(job, questions) as ledger:  # read anew whenever batches have ended
        known, missing = _survey(questions, ledger, job)
    if settings.mode == "online":
        wanted = np.unique(questions.keys.keys[questions.keys.number[missing]])
        await check_unclaimed(job.answers, wanted, say=lambda text: _say(job, text))
        return None
    # one that was killed while it took in the last answers has a batch to close, which holds a part of the budget
    if not missing.any() and none_is_live:
        return None
    show = _shown(job, known.total)
    tally = await ask_in_batches(
        lambda: questions.requests_where(questions.keys.first),
        settings=settings,
        answers=job.answers,
        budget=_budget(job),
        on_progress=show,
        say=lambda text: _say(job, text),
    )
    left = Counter(tally.failures.values())
    if settings.mode == "auto":  # no failures yet: `_ask` asks them
        tally.failed -= left
    show(tally)
    if settings.mode == "batch":
        return tally
    if left:
        _say(job, f"{left.total():,} of {tally.total:,} requests are left by batches, and are asked online")
    return None


async def _ask(job: CollectJob, questions: Questions, ledger: Ledger) -> Tally:
    """Have asked what the ledger does not answer."""
    known, missing = _survey(questions, ledger, job)
    show = _shown(job, known.total)
    if not missing.any():
        show(known)
        return known
    settings = job.execution.endpoint
    endpoint = connect(
        settings,
        model=job.recipe.model,
        weights=_weights(job),
        work=job.work,
        threads=job.execution.threads,
        gpus=job.execution.gpus,
    )
    requests = questions.requests_where(missing)
    return await ask(
        requests,
        label=job.label,
        endpoint=endpoint,
        ledger=ledger,
        tally=known,
        settings=settings,
        account=_account(job),
        budget=_budget(job),
        on_progress=show,
    )


def _shown(job: CollectJob, total: int) -> Callable[..., None]:
    """What shows a tally, and a note beside it, and prints the first message of each error class."""
    progress, said, start = job.progress(total, "answers"), set[str](), time.monotonic()

    def show(tally: Tally, note: str = "") -> None:
        for name in tally.messages.keys() - said:
            said.add(name)
            _say(job, f"{name}: {tally.messages[name]}")
        notes = [*_notes(tally, time.monotonic() - start), *([note] if note else [])]
        progress.update(tally.answered + tally.failed.total(), "  ".join(notes), usd=tally.usd)

    return show


def _say(job: CollectJob, text: str) -> None:
    print(f"{job.label}  {text}", file=sys.stderr, flush=True)


def _survey(questions: Questions, ledger: Ledger, job: CollectJob) -> tuple[Tally, np.ndarray]:
    """The tally of what is on record, and which of the questions must be asked."""
    (keys, number, first), price = questions.keys, _price(job)
    numbers = np.where(first, ledger.find(keys, job.recipe.sampling.max_tokens)[number], -1)
    settled = numbers[numbers >= 0]
    failures, read, written = (ledger.entries[name][settled] for name in ("failure", "input_tokens", "output_tokens"))
    failed = np.bincount(failures, minlength=len(FAILURES))
    tally = Tally(total=int(first.sum()), answered=int(failed[0]))
    tally.failed.update({FAILURES[n]: int(failed[n]) for n in range(1, len(FAILURES)) if failed[n]})
    good = failures == 0
    batched = ledger.entries["batched"][settled]
    shares = np.where(batched, price.batch, 1.0)
    paid = read * np.float64(price.input) + written * np.float64(price.output)
    tally.usd = float((paid * shares)[good].sum()) / 1e6
    uncounted = numbers >= 0
    unsaid = good & (read == 0) & (written == 0)
    uncounted[uncounted] = unsaid
    if unsaid.any():
        asked = zip(questions.requests_where(uncounted), shares[unsaid].tolist(), strict=True)
        tally.usd += sum(request.usd_bound(price) * share for request, share in asked)
    return tally, first & (numbers < 0)


def _replayed(job: CollectJob, questions: Questions, messages: dict[str, str]) -> Iterator[ChatResponse]:
    replay = Replay(_source(job), questions.requests())
    show, tally = _shown(job, len(questions)), Tally(total=len(questions), messages=messages)
    counts = ((replay.duplicates, "come too late"), (replay.skipped, "lack a question or an answer"))
    said = ", ".join(f"{count:,} rows of the recording {what}" for count, what in counts if count)
    for number, asked in enumerate(questions.requests(), start=1):
        answer = replay.find(asked)
        if answer:
            tally.answered += 1
        else:
            tally.failed["not_recorded"] += 1
            if "not_recorded" not in messages:
                messages["not_recorded"] = replay.missed(asked)
        yield answer or ChatResponse(error="not_recorded")
        if number % _ROWS_SHOWN == 0 or number == len(questions):
            show(tally, said)


def _write(job: CollectJob, questions: Questions, answers: Iterator[ChatResponse], messages: dict[str, str]) -> Summary:
    """Write the rows. Prompts of two sources with equal texts are one request: each counts, its tokens count once.

    `usd` is what these answers cost at the endpoint's prices, whenever they were paid, by the rule that the budget
    goes by: `ChatRequest.usd_of`.
    """
    price, failed = _price(job), Counter[str]()
    any_request = request(job.recipe, system="", query="")
    input_tokens = output_tokens = done = 0
    usd = 0.0

    def made() -> Iterator[pa.RecordBatch]:
        nonlocal input_tokens, output_tokens, done, usd
        for prompts in questions.tables():
            some = list(islice(answers, len(prompts)))
            failed.update(answer.error for answer in some if answer.error)
            for n in np.flatnonzero(questions.first[done : done + len(some)]).tolist():
                answer, asked = some[n], any_request
                input_tokens += answer.input_tokens
                output_tokens += answer.output_tokens
                if not (answer.input_tokens or answer.output_tokens):  # then its length is what it costs
                    system, query = (prompts.column(name)[n].as_py() for name in ("system", "query"))
                    asked = request(job.recipe, system=system, query=query)
                usd += asked.usd_of(answer, price)
            done += len(some)
            yield rows.widen_table(
                prompts,
                Response,
                teacher=[job.recipe.model] * len(some),
                response=[answer.text for answer in some],
                **{name: [getattr(answer, name) for answer in some] for name in _SAME},
            )
        assert next(answers, None) is None

    path = job.out / "responses.parquet"
    count = rows.write_tables(path, Response, made())
    if count and failed.total() == count:
        path.unlink()
        raise _unanswered(job, failed, messages)
    return {
        "prompts": count,
        "answered": count - failed.total(),
        "failed": dict(sorted(failed.items())),
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "usd": round(usd, 6),
    }


def _account(job: CollectJob) -> Account | None:
    """Whoever asks the same model; an embedded teacher is its job's own, as is a server that the job starts."""
    if job.recipe.origin != "api" or job.execution.endpoint.kind == "vllm":
        return None
    return Account(job.answers / "accounts", account_name(job.execution.endpoint, job.recipe.model))


def _budget(job: CollectJob) -> Budget | None:
    settings = job.execution.endpoint
    if settings.budget_usd is None:
        return None
    return Budget(job.answers / "budgets" / settings.budget_name, settings.budget_usd)


def _price(job: CollectJob) -> Price:
    """What nobody is asked for costs nothing."""
    return Price() if job.recipe.origin in ("replay", "reference") else job.execution.endpoint.price


def _reference(prompt: Prompt) -> ChatResponse:
    """The answer that the query's source gives, with no explanation: what FLAN itself would train on."""
    if not prompt.reference:
        return ChatResponse(text="", finish_reason="", error="not_recorded")
    return ChatResponse(text=prompt.reference, finish_reason="stop")


def _weights(job: CollectJob) -> Path | None:
    """The folder of a model that is loaded here, made of links to where its files lie."""
    recipe = job.recipe.weights
    if recipe is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="model-", dir=job.work))  # its own, since shards run side by side
    if recipe.hub:
        fetched = fetch(recipe.hub, kind="model", label=job.label)
        files = {PurePosixPath(name).name: path for path, name in fetched.files}
    else:
        files = {ref.name: open_ref(ref, job.execution) for ref in recipe.files}
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(file.resolve())
    return folder


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


def _notes(tally: Tally, seconds: float) -> list[str]:
    """For the progress line, of which a narrow terminal shows the beginning: `failed: 2 server`, `retried: 5 server`,
    `64 in flight`, `1.20 USD`, `910 tokens/s`."""
    notes = [
        f"{title}: " + ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
        for title, counts in (("failed", tally.failed), ("retried", tally.retried))
        if counts
    ]
    notes += [f"{tally.in_flight:,} in flight"] if tally.in_flight else []
    notes += [dollars(tally.usd)] if tally.usd else []
    notes += [f"the server wants a pause of {tally.paused_s:.0f} s"] if tally.paused_s >= 1 else []
    notes += [f"{tally.tokens / seconds:,.0f} tokens/s"] if tally.tokens and seconds else []
    return notes


def _unanswered(job: CollectJob, failed: Counter[str], messages: dict[str, str]) -> OrcacError:
    """The error of a node without any answer: how often each class was met, and its first message."""
    causes = (
        f"{count:,} {name}" + (f" ({messages[name]})" if name in messages else "")
        for name, count in sorted(failed.items())
    )
    text = f"{job.label}: none of {failed.total():,} prompts was answered: {', '.join(causes)}"
    match job.recipe.origin:
        case "replay":
            fix = "correct the recording's fields, or give the recording of these prompts"
            return InputError(f"{text}; no question of the recording matches", fix=fix)
        case "reference":
            return InputError(text, fix="take prompts from a source that gives references")
    return EndpointError(text, fix="; ".join(ERRORS[name].fix for name in sorted(failed)) + ", then run again")
