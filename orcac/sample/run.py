"""Make a sample: read the queries of a source, or the prompts of other samples, and keep a random part.

The items of a benchmark in the form in which models are asked are made in one pass (`form`).

The input is read twice: once to choose (`pool`) and once to write the chosen prompts, in the order of the input. Every
row is kept or dropped for one reason: read = kept + the sum of dropped. Files on a hub are downloaded first; the
summary records the commit that each revision was resolved to.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

from orcac import hub, rows
from orcac.bad_rows import check_bad, write_bad
from orcac.errors import InputError
from orcac.job import Job, hide_pandas
from orcac.losses import print_counts
from orcac.progress import Progress, print_line
from orcac.recipe import resolve_file
from orcac.sample.draw import pick_message
from orcac.sample.form import put_in_form
from orcac.sample.formats import SUFFIXES, TABLES, BadRow, Item, read_items
from orcac.sample.formats.puzzles import generate
from orcac.sample.pool import BAD, choose, survey
from orcac.sample.recipe import OWN, Form, Message, SampleExecution, SampleRecipe, SampleSummary
from orcac.sample.references import NAMED, find_fault, name_items
from orcac.tables.content import PACKED
from orcac.tables.rows import describe

_FIX_OPTIONS = "let each reference be the text, the label or the number of an option, or correct the source's `fields`"
_FIX_REFERENCES = "correct these references, or name another checker"
_FIX_EMPTY = "correct the files or the source's `fields`, or list these tasks or files in the source's `allow_empty`"


class _Part(NamedTuple):
    """A part of the input: a file, a generator or another sample."""

    read: Callable[[], Iterator[rows.Prompt | BadRow]]  # each time from the start
    file: str = ""  # its path
    items: Callable[[], Iterable[Item | BadRow]] = tuple  # of a file


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """The input of a sample."""

    parts: list[_Part]
    commits: dict[str, str] = dataclasses.field(default_factory=dict)  # of each revision on a hub
    unused: Counter[str] = dataclasses.field(default_factory=Counter)  # turns of conversations, and such conversations
    notes: dict[str, str] = dataclasses.field(default_factory=dict)  # file -> a sentence on its references, once read


def run(job: Job[SampleRecipe, SampleExecution]) -> SampleSummary:
    """Write `prompts.parquet`.

    Raises InputError if a file is bad or has fewer queries than `take`, if nothing is left of a file or a task, or if
    no item of a benchmark can be scored, and the errors of `hub.fetch` if the source is on a hub.
    """
    hide_pandas()
    if job.recipe.form:
        return _run_form(job, job.recipe.form)
    source = _find_input(job)
    parts, files = source.parts, [(part.file, part.items) for part in source.parts if part.file]
    progress = job.progress(2 * len(parts), "readings")
    pool = survey(_read(parts, progress, done=0), job.recipe)
    check_bad(job.label, pool.dropped[BAD], pool.read, pool.bad, share=job.execution.max_bad)
    for file, note in source.notes.items():
        print_line(f"{job.label}  {file}: {note}")
    later_turns = source.unused["turns"]  # of the first reading
    if later_turns:
        counts = f"{later_turns:,}, conversations: {source.unused['conversations']:,}"
        print_line(f"{job.label}  turns after the first answer are not used: {counts}")
    what = "queries are dropped, since their reference is not one of their options"
    unanswerable = pool.dropped["reference is no option"]
    name_items(job.label, unanswerable, what, pool.unanswerable, fix=_FIX_OPTIONS, files=files)
    pool.losses.check(job.label, job.execution.allow_empty, fix=_FIX_EMPTY)
    chosen, dropped = choose(pool, job.recipe)
    tasks: set[str] = set()
    faults: Counter[str] = Counter()  # why no answer to an item could be right -> such items
    examples: dict[str, list[rows.Prompt]] = defaultdict(list)
    characters = 0  # of the texts that a teacher will read
    bad: list[BadRow] = []

    def kept() -> Iterator[rows.Prompt]:
        nonlocal characters
        prompts = (prompt for _, part in _read(parts, progress, done=len(parts)) for prompt in part)
        for is_chosen, prompt in zip(chosen, prompts, strict=True):
            if isinstance(prompt, BadRow):
                bad.append(prompt)
            elif is_chosen:
                tasks.add(prompt.task)
                characters += len(prompt.system) + len(prompt.query)
                if fault := _find_fault(prompt, job.execution):
                    faults[fault] += 1
                    examples[fault] += [prompt] if len(examples[fault]) < NAMED else []
                yield prompt

    kind = rows.BenchmarkItem if job.recipe.source and job.recipe.source.items else rows.Prompt
    count = rows.write(job.out / "prompts.parquet", kind, kept())
    write_bad(job.out / "bad.parquet", bad)
    assert pool.read == count + dropped.total()
    for fault, found in sorted(faults.items()):
        what = f"of {count:,} items will be left out of the scores: {fault}"
        if not job.execution.checker:
            what = f"of {count:,} queries have a reference that no answer could agree with: {fault}"
        name_items(job.label, found, what, examples[fault], fix=_FIX_REFERENCES, files=files)
    if job.execution.checker and faults.total() == count:
        raise InputError(
            f"{job.label}: none of its {count:,} items can be scored: {'; '.join(sorted(faults))}",
            fix="evaluate on items whose right answer is known, or choose another checker",
        )
    print_counts(job.label, count, dropped)
    return SampleSummary(
        read=pool.read,
        kept=count,
        tasks=len(tasks),
        characters=characters,
        dropped=dict(sorted(dropped.items())),
        later_turns=later_turns or None,
        hub=source.commits or None,
    )


def _find_fault(prompt: rows.Prompt, execution: SampleExecution) -> str:
    """Return why the checker of a benchmark, or of a filter, would accept no answer; "" if it would accept one."""
    if not execution.checker and not prompt.reference:
        return ""  # a teacher's query needs no reference
    checker = execution.checker or execution.agreement
    return find_fault(prompt, checker) if checker else ""


def _run_form(job: Job[SampleRecipe, SampleExecution], form: Form) -> SampleSummary:
    path = job.input("from") / "prompts.parquet"
    kind = rows.BenchmarkItem if rows.has_column(path, "choices") else rows.Prompt
    items = list(rows.read(path, kind))
    dropped = Counter[str]()
    formed = list(put_in_form(job, form, items, dropped))
    rows.write(job.out / "prompts.parquet", kind, formed)
    print_counts(job.label, len(formed), dropped)
    return SampleSummary(
        read=len(items),
        kept=len(formed),
        tasks=len({item.task for item in formed}),
        characters=sum(len(item.system) + len(item.query) for item in formed),
        dropped=dict(dropped),
    )


def _find_input(job: Job[SampleRecipe, SampleExecution]) -> _Input:
    recipe, source = job.recipe, job.recipe.source
    assert (source is None) != (recipe.subset is None), "exactly one of source, subset and form"
    if source is None:
        samples = [folder / "prompts.parquet" for folder in job.inputs["from"]]
        return _Input(parts=[_Part(partial(rows.read, sample, rows.Prompt)) for sample in samples])
    if source.format == "puzzles":
        assert source.puzzles is not None
        unused = Counter[str]()
        return _Input(parts=[_Part(partial(_prompts, recipe, partial(generate, source.puzzles), unused))])
    paths = [(resolve_file(ref, job.execution), ref.name) for ref in source.files]
    commits: dict[str, str] = {}
    for ref in source.hub:
        revision = f"{ref.repo}@{ref.revision}"
        pinned = ref.model_copy(update={"revision": commits.get(revision, ref.revision)})  # a branch may move meanwhile
        suffix = SUFFIXES[source.format]
        fetched = hub.fetch(pinned, kind="dataset", label=job.label, suffix=suffix, packed=PACKED)
        commits[revision] = fetched.commit
        paths += [(path, PurePosixPath(name).name) for path, name in fetched.files]
    for path, name in paths if source.format in TABLES else ():
        if content := describe(path, source.format):
            print_line(f"{job.label}  {name} is {content}")
    found = _Input(parts=[], commits=commits)
    for path, name in paths:
        report = partial(found.notes.__setitem__, str(path))
        items = partial(read_items, path, name, source, matches=recipe.matching is not None, report=report)
        prompts = partial(_prompts, recipe, items, found.unused, name, one_message=job.execution.one_message)
        found.parts.append(_Part(prompts, str(path), items))
    return found


def _read(parts: list[_Part], progress: Progress, *, done: int) -> Iterator[tuple[str, Iterator[rows.Prompt | BadRow]]]:
    for number, part in enumerate(parts, start=done + 1):
        yield part.file, part.read()
        progress.update(number)


def _prompts(
    recipe: SampleRecipe,
    items: Callable[[], Iterable[Item | BadRow]],
    unused: Counter[str],
    file: str = "",
    *,
    one_message: bool = False,
) -> Iterator[rows.Prompt | BadRow]:
    """Yield each item with its own system message, or the one that is drawn for it.

    Raises InputError if an item has a message of its own, and others are to be drawn or `one_message` is for all.
    """
    as_items = recipe.source is not None and recipe.source.items is not None
    is_drawn = recipe.draw != SampleRecipe.model_fields["draw"].default
    for item in items():
        if isinstance(item, BadRow):
            yield dataclasses.replace(item, file=file)
            continue
        if item.later_turns:
            unused.update(turns=item.later_turns, conversations=1)
        if item.system is None:
            names = (recipe.name, item.task, item.query)
            message = pick_message(recipe.draw, has_options=bool(item.options), seed=recipe.seed, names=names)
        elif is_drawn or one_message:
            other = "the spec draws another" if is_drawn else "a benchmark asks under one message, its `system`"
            fix = "take the human's turn alone, as in `query: messages.user`"
            raise InputError(
                f"{recipe.name}: {file} has a system message for {item.query[:80]!r}, and {other}",
                fix=f"remove the draw of this source, or {fix}" if is_drawn else fix,
            )
        else:
            message = Message(id=OWN, text=item.system)
        prompt = rows.Prompt(
            id=rows.prompt_id(recipe.name, item.task, item.query, message.text),
            source=recipe.name,
            task=item.task,
            query=item.query,
            system_id=message.id,
            system=message.text,
            reference=item.reference,
            options=list(item.options),
        )
        yield rows.widen(prompt, rows.BenchmarkItem, **item.benchmark_fields()) if as_items else prompt
