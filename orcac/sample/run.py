"""Make a sample: read the queries of a source, or the prompts of other samples, and keep a random part.

The items of a benchmark in the form in which models are asked are made in one pass (`form`).

The input is read twice: once to choose (`part.survey`, `pool`) and once to write the chosen prompts, in the order of
the input. Its parts are read by as many processes as the job has threads; the result does not depend on their number.
Every row is kept or dropped for one reason: read = kept + the sum of dropped. Files on a hub are downloaded first; the
summary records the commit that each revision was resolved to.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orcac import hub, rows
from orcac.bad_rows import check_bad, write_bad
from orcac.errors import InputError
from orcac.job import Job, hide_pandas
from orcac.losses import print_counts
from orcac.progress import Progress, print_line
from orcac.ratings import read_values
from orcac.recipe import resolve_file
from orcac.sample.draw import Mask
from orcac.sample.form import put_in_form
from orcac.sample.formats import SUFFIXES, TABLES
from orcac.sample.part import BAD, NO_OPTION, Part, Survey, read_chosen, row_type, spill, survey
from orcac.sample.pool import Pool, choose, merge
from orcac.sample.recipe import Form, SampleExecution, SampleRecipe, SampleSummary
from orcac.sample.references import NAMED, find_fault, name_items
from orcac.tables.content import PACKED
from orcac.tables.rows import describe
from orcac.workers import run_in_order

_MANY_BYTES = 64 << 20  # of the input; starting a process costs as much as reading some of them
_FIX_OPTIONS = "let each reference be the text, the label or the number of an option, or correct the source's `fields`"
_FIX_REFERENCES = "correct these references, or name another checker"
_FIX_EMPTY = "correct the files or the source's `fields`, or list these tasks or files in the source's `allow_empty`"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """The input of a sample."""

    parts: list[Part]
    commits: dict[str, str] = dataclasses.field(default_factory=dict)  # of each revision on a hub


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
    processes = _count_processes(job.execution.threads, parts)
    notes: dict[str, str] = {}
    later_turns = conversations = 0

    def surveys() -> Iterator[Survey]:
        nonlocal later_turns, conversations
        for number, found in enumerate(run_in_order(survey, parts, processes=processes), start=1):
            later_turns += found.later_turns
            conversations += found.conversations
            if found.notes:
                notes[parts[number - 1].file] = found.notes[-1]
            yield found
            progress.update(number)

    rated = job.inputs.get("rated", ())
    pool = merge(parts, surveys(), job.recipe, read_values(rated[0]) if rated else None)
    check_bad(job.label, pool.dropped[BAD], pool.read, pool.bad, share=job.execution.max_bad)
    for file, note in notes.items():
        print_line(f"{job.label}  {file}: {note}")
    if later_turns:
        counts = f"{later_turns:,}, conversations: {conversations:,}"
        print_line(f"{job.label}  turns after the first answer are not used: {counts}")
    what = "queries are dropped, since their reference is not one of their options"
    unanswerable = pool.dropped[NO_OPTION]
    named = list(_read_at(parts, pool, pool.unanswerable)) if unanswerable else []
    name_items(job.label, unanswerable, what, named, fix=_FIX_OPTIONS, files=files)
    pool.losses.check(job.label, job.execution.allow_empty, fix=_FIX_EMPTY)
    chosen, dropped = choose(pool, job.recipe, label=job.label)
    tasks: set[str] = set()
    faults: Counter[str] = Counter()  # why no answer to an item could be right -> such items
    examples: dict[str, list[rows.Prompt]] = defaultdict(list)
    characters = 0  # of the texts that a teacher will read
    kind = row_type(job.recipe)

    def kept() -> Iterator[pa.RecordBatch]:
        nonlocal characters
        masks = _split(chosen, pool.sizes)
        for table in rows.regroup(_read_parts(job, parts, masks, processes, progress)):
            tasks.update(table.column("task").to_pylist())
            characters += sum(pc.sum(pc.utf8_length(table.column(name))).as_py() for name in ("system", "query"))
            for prompt in rows.of_table(table, kind) if job.execution.checker or job.execution.agreement else ():
                if fault := _find_fault(prompt, job.execution):
                    faults[fault] += 1
                    examples[fault] += [prompt] if len(examples[fault]) < NAMED else []
            yield table

    count = rows.write_tables(job.out / "prompts.parquet", kind, kept())
    write_bad(job.out / "bad.parquet", pool.bad)
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


def _count_processes(threads: int, parts: list[Part]) -> int:
    """Return the number of processes that read the parts: as many as threads, if there is enough to read."""
    sizes = [part.path.stat().st_size for part in parts if part.path]
    return threads if sum(sizes) >= _MANY_BYTES else 1


def _split(mask: Mask, sizes: list[int]) -> list[Mask]:
    """Return the part of a mask that belongs to each part of the input."""
    return np.split(mask, np.cumsum(sizes)[:-1])


def _read_parts(
    job: Job[SampleRecipe, SampleExecution], parts: list[Part], masks: list[Mask], processes: int, progress: Progress
) -> Iterator[pa.RecordBatch]:
    """Yield the chosen rows of all parts, in order."""
    if processes == 1:
        for number, (part, mask) in enumerate(zip(parts, masks, strict=True), start=len(parts) + 1):
            yield from read_chosen(part, mask)
            progress.update(number)
        return
    work = [
        (part, mask, job.work / f"chosen-{number}.arrow")
        for number, (part, mask) in enumerate(zip(parts, masks, strict=True))
    ]
    for number, path in enumerate(run_in_order(spill, work, processes=processes), start=len(parts) + 1):
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as tables:
            yield from tables
        path.unlink()
        progress.update(number)


def _read_at(parts: list[Part], pool: Pool, places: list[int]) -> Iterator[rows.Prompt]:
    """Yield the rows at these places in the input, in order."""
    mask = np.zeros(pool.read, dtype=bool)
    mask[places] = True
    for part, wanted in zip(parts, _split(mask, pool.sizes), strict=True):
        for table in read_chosen(part, np.trim_zeros(wanted, "b")) if wanted.any() else ():
            yield from rows.of_table(table, rows.Prompt)


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
        return _Input(parts=[Part(recipe=recipe, path=sample, is_sample=True) for sample in samples])
    if source.format == "puzzles":
        return _Input(parts=[Part(recipe=recipe)])
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
    parts = [
        Part(recipe=recipe, path=path, name=name, is_first=not number, one_message=job.execution.one_message)
        for number, (path, name) in enumerate(paths)
    ]
    return _Input(parts=parts, commits=commits)
