"""Responses that no model is asked for: those of a recording, and the references that the prompts bring along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from orcac.bad_rows import check_bad
from orcac.chat.display import TallyLine
from orcac.chat.endpoints.replay import Replay, Source
from orcac.chat.messages import ChatResponse
from orcac.chat.questions import Questions
from orcac.chat.tally import Tally
from orcac.collect.prompts import Prompts
from orcac.collect.recipe import CollectExecution, CollectRecipe, Recording
from orcac.hub import fetch
from orcac.job import Job
from orcac.recipe import Execution, FileRef, Recipe, resolve_file

R = TypeVar("R", bound=Recipe)
E = TypeVar("E", bound=Execution)

_SHOW_EVERY = 100  # rows of a recording between two updates of the progress line


def read_references(prompts: Prompts) -> Iterator[ChatResponse]:
    """Yield each prompt's own reference, without an explanation, as in training on FLAN itself."""
    for prompt in prompts:
        if prompt.reference:
            yield ChatResponse(text=prompt.reference, finish_reason="stop")
        else:
            yield ChatResponse(error="not_recorded")


def open_recording(
    job: Job[R, E], recording: Recording | None, questions: Questions, *, max_bad: float | None
) -> Replay:
    """Return the answers of a recording to a job's questions, and print the number of its bad rows.

    Raises InputError if a file cannot be read, or if a larger share of the rows is bad than `max_bad`.
    """
    assert recording is not None, job.ref
    replay = Replay(_find_source(recording, job.execution, job.label), questions.requests(), folder=job.work)
    check_bad(job.label, len(replay.bad), replay.read, replay.bad, share=max_bad, of="endpoint")
    return replay


def replay_responses(
    job: Job[CollectRecipe, CollectExecution],
    replay: Replay,
    questions: Questions,
    total: int,
    messages: dict[str, str],
) -> Iterator[ChatResponse]:
    """Yield the recording's response to each of `total` questions; put the first miss into `messages`."""
    show, tally = TallyLine(job.progress(total, "answers"), job.label), Tally(total=total, messages=messages)
    counts = ((replay.duplicates, "repeat an earlier question"), (replay.skipped, "have no question or no answer"))
    note = ", ".join(f"{count:,} rows of the recording {problem}" for count, problem in counts if count)
    for number, request in enumerate(questions.requests(), start=1):
        answer = replay.find(request)
        if answer:
            tally.answered += 1
        else:
            tally.failed["not_recorded"] += 1
            if "not_recorded" not in messages:
                messages["not_recorded"] = replay.describe_miss(request)
        yield answer or ChatResponse(error="not_recorded")
        if number % _SHOW_EVERY == 0 or number == total:
            show(tally, note)


def _find_source(recording: Recording, execution: Execution, label: str) -> Source:
    """Return the files of a recording on this machine, fetched if they are on a hub, with the names of their fields."""

    def paths(refs: tuple[FileRef, ...]) -> tuple[Path, ...]:
        return tuple(resolve_file(ref, execution) for ref in refs)

    fetched = [fetch(ref, kind="dataset", label=label) for ref in recording.hub]
    return Source(
        answers=paths(recording.answers) + tuple(path for one in fetched for path, _ in one.files),
        fields=recording.fields,
        questions=paths(recording.questions),
        question_fields=recording.question_fields,
        samples=recording.samples,
    )
