"""Makes a `tokenize` node (see recipe.py). Examples are streamed: their ids are spilled to `work` while their lengths
are collected, the lengths are packed, and the rows are filled in place. Memory holds a few numbers per example.

An example that does not fit in a row is left out and counted, never cut: a cut one would teach the student to stop
mid-sentence, or to answer a question whose end it has not seen. Neither is one that forges a turn
(`ChatFormat.forges_turn`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from orcac.errors import InputError
from orcac.job import Job
from orcac.model.offline import go_offline
from orcac.model.positions import check_positions
from orcac.progress import print_line
from orcac.ratings import read_values
from orcac.text import by_reason
from orcac.tokenize import holdout, rowfile
from orcac.tokenize.encode import Encoded, encode_examples, load_format, merge
from orcac.tokenize.equal import find_size
from orcac.tokenize.holdout import Group
from orcac.tokenize.mixture import Drawn, draw_mixture
from orcac.tokenize.order import sort_examples
from orcac.tokenize.pack import best_fit_decreasing, fill_in_order, shuffle_and_fill
from orcac.tokenize.recipe import ENOUGH, Mixture, TokenizeExecution, TokenizeRecipe, TokenizeSummary
from orcac.tokenize.steps import Packed, describe_shortage, describe_steps

Rows: TypeAlias = Sequence[Sequence[int] | np.ndarray]  # of examples, by index


def run(job: Job[TokenizeRecipe, TokenizeExecution]) -> TokenizeSummary:
    """Write `rows.safetensors` and `counts.json`, and return the counts. Raises InputError if no example is left.

    Print the steps of each stage, with a warning if it would learn little from the rows. Raises InputError as well if
    no example is kept apart although the recipe asks for it.
    """
    go_offline(threads=job.execution.threads)
    recipe, student = job.recipe, job.input("student") / "model"
    check_positions(student, recipe.max_length)
    chat = load_format(student)
    type_of_ids = rowfile.id_type(chat.vocabulary)
    spill = job.work / "ids"
    parts = [
        spill_ids(folder / "kept.parquet", recipe, number, student, spill, type_of_ids, threads=job.execution.threads)
        for number, folder in enumerate(job.inputs["examples"])
    ]
    found = merge(parts)
    lengths, prompt_lengths, apart = found.lengths, found.prompt_lengths, found.apart
    if found.forged:
        print_line(
            f"{job.label}  {found.forged:,} examples left out: a text holds a mark by which the student's chat "
            "template begins a turn"
        )
    if found.outside:
        print_line(f"{job.label}  left out by tokens of the student: {by_reason(found.outside)}")
    if not len(lengths):
        raise InputError(
            f"no example is left: {found.too_long} have more than {recipe.max_length} tokens, the rest were filtered",
            fix="raise max_length, or loosen the filters",
        )
    groups = apart.draw() if apart else {}
    trained = _list_trained(job.label, len(lengths), groups, recipe)
    mixed, usd = _draw_mixture(job, recipe.mixture, parts, found, trained) if recipe.mixture else (None, None)
    trained = mixed.indices if mixed else trained
    values = _find_values(job, parts)
    packed = _pack(recipe, trained, lengths, lengths - prompt_lengths, values)
    unrated = 0 if values is None else int(np.isnan(values[trained]).sum())
    if unrated:
        print_line(f"{job.label}  {unrated:,} examples come last: no answer to their question has a rating")
    write = functools.partial(
        rowfile.write,
        ids=np.memmap(spill, dtype=type_of_ids, mode="r"),
        lengths=lengths,
        prompt_lengths=prompt_lengths,
        pad=chat.pad_id,
        max_length=recipe.max_length,
    )
    write(job.out / "rows.safetensors", packed)
    if groups:
        kept_apart = {
            name: [members[row] for row in _fill_rows(recipe, lengths[members])] for name, members in groups.items()
        }
        write(job.out / holdout.ROWS, [row for rows_of in kept_apart.values() for row in rows_of])
        facts = [
            Group(
                teacher=teacher,
                source=source,
                examples=len(groups[teacher, source]),
                rows=len(rows_of),
                supervised_tokens=int((lengths - prompt_lengths)[groups[teacher, source]].sum()),
            )
            for (teacher, source), rows_of in kept_apart.items()
        ]
        holdout.write_groups(job.out, facts)
    spill.unlink()
    tokens = int(lengths[trained].sum())
    summary = TokenizeSummary(
        examples=len(lengths) + found.too_long + found.forged + found.outside.total(),
        packed=len(trained),
        too_long=found.too_long,
        outside=dict(sorted(found.outside.items())) or None,
        forged=found.forged or None,
        held_out=sum(map(len, groups.values())) if apart else None,
        rows=len(packed),
        tokens=tokens,
        supervised_tokens=tokens - int(prompt_lengths[trained].sum()),
        fill=tokens / (len(packed) * recipe.max_length),
        packing="none" if recipe.packing == "none" else None,
        repeated=mixed.repeated if mixed else None,
        undrawn=mixed.undrawn if mixed else None,
        parts=mixed.parts if mixed else None,
        dollars=usd,
        unrated=unrated or None,
        transformed=found.transformed if any(part.transform for part in recipe.parts) else None,
        reasoned=found.reasoned or None,
    )
    (job.out / "counts.json").write_text(json.dumps(summary.as_json(), indent=2) + "\n", encoding="utf-8")
    counted = Packed(
        rows=summary.rows, fill=summary.fill, length=recipe.max_length, is_exact=True, room=int(lengths.max())
    )
    if summary.held_out:
        print_line(f"{job.label}  {summary.held_out:,} of {len(lengths):,} examples kept apart")
    if summary.transformed is not None:
        print_line(f"{job.label}  {summary.transformed:,} of {summary.examples:,} examples changed by `transform`")
    for one in summary.parts or ():
        print_line(
            f"{job.label}  {one.dataset}: {one.examples:,} examples from {one.available:,} "
            f"({one.examples / len(trained):.1%}), {one.tokens:,} tokens ({one.tokens / tokens:.1%})"
        )
    for schedule in job.execution.stages:
        warning = describe_shortage(schedule, counted)
        text = f"warning: {warning}" if warning else f"stage `{schedule.stage}`: {describe_steps(schedule, counted)}"
        print_line(f"{job.label}  {text}")
    return summary


def _draw_mixture(
    job: Job[TokenizeRecipe, TokenizeExecution],
    mixture: Mixture,
    parts: Sequence[Encoded],
    found: Encoded,
    trained: np.ndarray,
) -> tuple[Drawn, float | None]:
    """Draw a mixture from the examples `trained`, indices into `found`, the parts as one.

    Return the dollars of its distinct examples as well; None unless its size is by dollars. Raises the errors of
    `find_size` and `draw_mixture`.
    """
    ends = np.cumsum([len(part.lengths) for part in parts])
    names = job.execution.datasets or [f"part {number}" for number in range(1, len(parts) + 1)]
    members = np.split(trained, np.searchsorted(trained, ends[:-1]))
    usd = None
    try:
        if mixture.same:
            size = find_size(mixture, names, job.inputs, list(map(len, members)))
            print_line(f"{job.label}  {size.text}")
            mixture, usd = mixture.model_copy(update={"take": size.examples}), size.usd
        drawn = draw_mixture(mixture, names, members=members, lengths=found.lengths, tickets=found.tickets)
    except InputError as error:
        raise InputError(f"{job.label}: {error.message}", fix=error.fix) from None
    if usd is None:
        return drawn, None
    used = (min(1.0, part.examples / part.available) for part in drawn.parts)
    return drawn, math.fsum(price * share for price, share in zip(usd, used, strict=True))


def _find_values(job: Job[TokenizeRecipe, TokenizeExecution], parts: Sequence[Encoded]) -> np.ndarray | None:
    """Return the value of each example's question, float64 (examples,); None unless the order is by them.

    Raises InputError if no example has one.
    """
    rated = job.inputs.get("rated", ())
    if not rated:
        return None
    values = np.concatenate(
        [read_values(folder).find(part.questions) for folder, part in zip(rated, parts, strict=True)]
    )
    if np.isnan(values).all():
        raise InputError(
            f"{job.label}: no answer to a question of the examples has a rating",
            fix="rate the answers of a dataset that asks the same questions: correct `of` in the stage's `order`",
        )
    return values


def _pack(
    recipe: TokenizeRecipe, trained: np.ndarray, lengths: np.ndarray, learnt: np.ndarray, values: np.ndarray | None
) -> Rows:
    """Return the examples of each row, as indices into `lengths`, in the order of the rows.

    trained: the examples to pack, as such indices. learnt: int64 (examples,), the learnt tokens of each example.
    values: float64 (examples,), those of their questions, if the order is by them
    """
    rng = np.random.default_rng(recipe.seed)
    if recipe.order:
        trained = sort_examples(recipe.order, rng.permutation(trained), learnt=learnt, values=values)
        if recipe.packing == "none":
            return [[index] for index in trained.tolist()]
        filled = fill_in_order(lengths[trained], recipe.max_length, np.arange(len(trained)))
        return [trained[members] for members in filled]
    if recipe.packing == "shuffle":
        packed: Rows = shuffle_and_fill(lengths[trained], recipe.max_length, rng)
    else:
        packed = _fill_rows(recipe, lengths[trained])
    return [trained[packed[index]] for index in rng.permutation(len(packed))]


def _fill_rows(recipe: TokenizeRecipe, lengths: np.ndarray) -> Rows:
    """Return rows as lists of indices into `lengths`, with no order of their own."""
    if recipe.packing == "none":
        return [[index] for index in range(len(lengths))]
    return best_fit_decreasing(lengths, recipe.max_length)


def _list_trained(
    label: str, count: int, groups: Mapping[tuple[str, str], np.ndarray], recipe: TokenizeRecipe
) -> np.ndarray:
    """Return the indices of the examples that are not kept apart, int64.

    Raises InputError if these are all, although some are to be kept apart, or none.
    """
    if recipe.holdout and not groups:
        raise InputError(
            f"{label}: `holdout` keeps no example apart: none of {count:,} falls to it, and no teacher and source have "
            f"{ENOUGH} questions to spare one",
            fix="raise `holdout` in the stage, collect more answers, or remove it",
        )
    is_apart = np.zeros(count, dtype=bool)
    for members in groups.values():
        is_apart[members] = True
    if is_apart.all():
        raise InputError(f"{label}: `holdout` leaves no example to train on", fix="lower `holdout` in the stage")
    return np.flatnonzero(~is_apart)


def spill_ids(
    examples: Path,
    recipe: TokenizeRecipe,
    number: int,
    student: Path,
    spill: Path,
    type_of_ids: type[np.uint16 | np.int32],
    *,
    threads: int,
) -> Encoded:
    """Write the ids of the examples of the dataset `number` that are not left out to `spill`; return the rest.

    They are written one after another, after those of the datasets before. Raises InputError if the student's chat
    format cannot be used.
    """
    parts: list[Encoded] = []
    with spill.open("ab" if number else "wb") as file:
        for part in encode_examples(examples, recipe, number, student, threads=threads):
            file.write(part.ids.astype(type_of_ids).tobytes())
            parts.append(dataclasses.replace(part, ids=part.ids[:0]))
    return merge(parts)
