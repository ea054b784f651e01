"""The form in which a benchmark's items are put to a model: exemplars, question, instruction and cue as one message.

Without exemplars the message is the question, then the instruction and the cue, each after a blank line. With exemplars
it is a block for each of them and for the question, in the form of BBH's `cot-prompts`:

    Q: question of an exemplar
    A: its reference

    Q: the question
    the instruction
    A: the cue

A question that already begins its answer ("A: Among A through E, the answer is", "Output:") keeps its own form.

The exemplars of a task are the same for all its items, and for all models. They are the items of the task with the
lowest tickets (`sample.draw`), so the exemplars of two shots are among those of three.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orcac.errors import InputError
from orcac.job import Job
from orcac.recipe import resolve_file
from orcac.rows import Prompt
from orcac.sample.draw import ticket
from orcac.sample.recipe import Form, SampleExecution, SampleRecipe

__all__ = ["put_in_form"]

_HEADER_END = "-----"  # below it, a file of worked examples has its text; above it, a notice
_OPEN_ANSWER = re.compile(r"(?:^|\n)(?:A|Answer|Output): ?[^\n]*$")


def put_in_form(
    job: Job[SampleRecipe, SampleExecution], form: Form, items: Sequence[Prompt], dropped: Counter[str]
) -> Iterator[Prompt]:
    """Yield each item with its message as `query`, and count the items that serve as exemplars in `dropped`.

    Raises InputError if a task has no worked examples, or no items beside its exemplars.
    """
    before = _read_examples(job, form) if form.examples else {}
    exemplars = _draw_exemplars(job, form, items) if form.shots else {}
    left_out = {item.id for chosen in exemplars.values() for item in chosen}
    before |= {task: "\n\n".join(map(_show_exemplar, chosen)) for task, chosen in exemplars.items()}
    for item in items:
        if item.id in left_out:
            dropped["exemplar"] += 1
            continue
        if form.examples and item.task not in before:
            raise InputError(
                f"{job.label}: no worked examples for the task `{item.task}`",
                fix=f"add a file {item.task}.txt to `examples`, or leave the task out by `tasks`",
            )
        yield dataclasses.replace(
            item,
            query=write_message(item.query, form, before.get(item.task, "")),
            system_id=form.system.id,
            system=form.system.text,
        )


def write_message(query: str, form: Form, exemplars: str = "") -> str:
    """Return the message for a question; `exemplars` is the text before it, or ""."""
    if not exemplars:
        return "\n\n".join(part for part in (query, form.instruction, form.cue) if part)
    lines = [query if _OPEN_ANSWER.search(query) else f"Q: {query}"]
    lines += [form.instruction] if form.instruction else []
    if not _OPEN_ANSWER.search(query):
        lines.append(f"A: {form.cue}".rstrip())
    elif form.cue:
        lines.append(form.cue)
    return exemplars + "\n\n" + "\n".join(lines)


def _show_exemplar(item: Prompt) -> str:
    if _OPEN_ANSWER.search(item.query):
        return f"{item.query} {item.reference}"
    return f"Q: {item.query}\nA: {item.reference}"


def _draw_exemplars(
    job: Job[SampleRecipe, SampleExecution], form: Form, items: Sequence[Prompt]
) -> Mapping[str, list[Prompt]]:
    """Return task -> its exemplars, by rising ticket. Raises InputError if a task has too few items."""
    by_task: dict[str, list[Prompt]] = defaultdict(list)
    for item in items:
        by_task[item.task].append(item)
    for task, of_task in by_task.items():
        if len(of_task) <= form.shots:
            raise InputError(
                f"{job.label}: the task `{task}` has {len(of_task):,} items, of which {form.shots} would be exemplars",
                fix="take more items, or fewer shots",
            )
        of_task.sort(
            key=lambda item: (ticket(job.recipe.seed, "exemplar", item.source, item.task, item.query), item.id)
        )
    return {task: of_task[: form.shots] for task, of_task in by_task.items()}


def _read_examples(job: Job[SampleRecipe, SampleExecution], form: Form) -> dict[str, str]:
    """Return task -> its worked examples. Raises InputError if a file is not UTF-8."""
    texts: dict[str, str] = {}
    for ref in form.examples:
        path = resolve_file(ref, job.execution)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: byte {error.start} is not UTF-8", fix="save the file as UTF-8") from error
        if _HEADER_END in lines:
            lines = lines[lines.index(_HEADER_END) + 1 :]
        texts[Path(ref.name).stem] = "\n".join(lines).strip()
    return texts
