"""One review for each of the shown texts: from a model through `orcac.chat`, or from a recording."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orcac.bad_rows import write_bad
from orcac.chat.ask import Asker
from orcac.chat.failures import ERRORS
from orcac.chat.messages import ChatResponse
from orcac.chat.questions import Questions
from orcac.chat.settings import EndpointSettings
from orcac.collect.asking import chat_execution
from orcac.collect.recorded import open_recording
from orcac.errors import EndpointError, InputError
from orcac.job import Job
from orcac.score.judging.pairs import Shown, write_prompt
from orcac.score.recipe import ScoreExecution, ScoreRecipe

__all__ = ["Reviews", "check_loss", "get_reviews"]

_LOST = 0.5  # share of the reviews that may fail without being on record


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviews:
    """The reviews in the order of the shown texts, and their price. Equal texts are one question, which counts once."""

    responses: Sequence[ChatResponse]
    keys: Sequence[str]  # of the requests in the ledger; "" for a recording
    failed: Counter[str]  # error class -> reviews
    omitted: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0


def get_reviews(job: Job[ScoreRecipe, ScoreExecution], shown: Sequence[Shown]) -> Reviews:
    """Return a review of each of the shown texts. Reviews that the ledger has are not asked again.

    Raises what `chat.ask.Asker.ask` raises, with all reviews until then in the ledger. Raises EndpointError, or
    InputError for a recording, if no review was given, or if half of them failed for reasons that a rerun may mend.
    """
    judge = job.recipe.judge
    assert judge is not None
    texts = functools.partial(map, functools.partial(write_prompt, judge), shown)
    questions = Questions(judge.asked.template, texts, system_role=judge.asked.system_role)
    messages: dict[str, str] = {}
    if judge.recorded:
        responses: list[ChatResponse] = _look_up(job, questions, messages)
        reviews = Reviews(responses=responses, keys=[""] * len(shown), failed=_count_failures(responses))
    else:
        assert job.execution.judge is not None
        with Asker(questions, chat_execution(job, job.execution.judge, judge.asked)) as asker:
            messages = asker.ask().messages
            reviews = _add_up(job, questions, [*asker.responses()])
    check_loss(job.label, reviews.failed, len(shown), messages, None if judge.recorded else job.execution.judge)
    return reviews


def check_loss(
    label: str, failed: Counter[str], total: int, messages: Mapping[str, str], endpoint: EndpointSettings | None
) -> None:
    """Raise EndpointError if all of `total` reviews failed, or half of them for reasons that a rerun may mend.

    failed: error class -> reviews. messages: error class -> the words of one failure. endpoint: the judge's; None for a
    recording, which raises InputError, and only if it has none of the reviews
    """
    lost = sum(count for name, count in failed.items() if endpoint and not ERRORS[name].recorded)
    if not total or (failed.total() < total and lost < _LOST * total):
        return
    causes = ", ".join(
        f"{count:,} {name}" + (f" ({messages[name]})" if name in messages else "")
        for name, count in sorted(failed.items())
    )
    text = f"{label}: {failed.total():,} of {total:,} reviews of the judge are missing: {causes}"
    if endpoint is None:
        raise InputError(text, fix="correct the recording's fields, or give the reviews of these questions")
    fixes = [ERRORS[name].fix.format(key=endpoint.api_key_env) for name in sorted(failed)]
    raise EndpointError(text, fix="; ".join(fixes) + "; then run again: all reviews are kept")


def _look_up(
    job: Job[ScoreRecipe, ScoreExecution], questions: Questions, messages: dict[str, str]
) -> list[ChatResponse]:
    """Return the recorded reviews; put the first miss into `messages`."""
    judge = job.recipe.judge
    assert judge
    replay = open_recording(job, judge.asked.recording, questions, max_bad=job.execution.max_bad)
    write_bad(job.out / "bad.parquet", replay.bad)
    responses = []
    for request in questions.requests():
        found = replay.find(request)
        if found is None:
            messages.setdefault("not_recorded", replay.describe_miss(request))
        responses.append(found or ChatResponse(error="not_recorded"))
    return responses


def _add_up(job: Job[ScoreRecipe, ScoreExecution], questions: Questions, responses: list[ChatResponse]) -> Reviews:
    settings = job.execution.judge
    assert settings is not None
    paid = [
        (request, responses[number]) for number, request in enumerate(questions.requests()) if questions.first[number]
    ]
    return Reviews(
        responses=responses,
        keys=[questions.key(number) for number in range(len(responses))],
        failed=_count_failures(responses),
        omitted=Counter(name for response in responses for name in response.omitted),
        input_tokens=sum(response.input_tokens for _, response in paid),
        output_tokens=sum(response.output_tokens for _, response in paid),
        usd=round(sum(request.usd_of(response, settings.price) for request, response in paid), 6),
    )


def _count_failures(responses: Iterable[ChatResponse]) -> Counter[str]:
    return Counter(response.error for response in responses if response.error)
