"""Makes a `tokenize` node (see recipe.py). Examples are streamed: their ids are spilled to `work` while their lengths
are collected, the lengths are packed, and the rows are filled in place. Memory holds a few numbers per example.

An example that does not fit in a row is left out and counted, never cut: a cut one would teach the student to stop
mid-sentence, or to answer a question whose end it has not seen.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orcac import rows
from orcac.errors import InputError
from orcac.job import Job
from orcac.model.chat_format import ChatFormat, load_tokenizer, read_end_tokens
from orcac.model.offline import go_offline
from orcac.model.positions import check_positions
from orcac.progress import print_line
from orcac.reasoning import split_reasoning
from orcac.tokenize import holdout, rowfile
from orcac.tokenize.holdout import Apart, Group
from orcac.tokenize.mixture import Drawn, draw_mixture, ticket
from orcac.tokenize.order import sort_examples
from orcac.tokenize.pack import best_fit_decreasing, fill_in_order, shuffle_and_fill
from orcac.tokenize.recipe import ENOUGH, Mixture, TokenizeExecution, TokenizeRecipe, TokenizeSummary
from orcac.tokenize.rowfile import MASKED
from orcac.tokenize.steps import Packed, describe_shortage, describe_steps
from orcac.tokenize.transform import Texts, Transformer

_EXAMPLES_AT_ONCE = 1000


def run(job: Job[TokenizeRecipe, TokenizeExecution]) -> TokenizeSummary:
    """Write `rows.safetensors` and `counts.json`, and return the counts. Raises InputError if no example is left.

    Print the steps of each stage, with a warning if it would learn little from the rows. Raises InputError as well if
    no example is kept apart although the recipe asks for it.
    """
    go_offline(threads=job.execution.threads)
    recipe, student = job.recipe, job.input("student") / "model"
    check_positions(student, recipe.max_length)
    tokenizer = load_tokenizer(student)
    spill = job.work / "ids.int32"
    chat = ChatFormat(tokenizer, ends=read_end_tokens(student, tokenizer))
    apart = Apart(recipe.seed, recipe.holdout) if recipe.holdout else None
    parts = [_read_part(job, number, chat, spill, apart) for number in range(len(recipe.parts))]
    lengths, prompt_lengths = (np.concatenate([getattr(part, name) for part in parts]) for name in _LENGTHS)
    too_long, reasoned = sum(part.too_long for part in parts), sum(part.reasoned for part in parts)
    if not len(lengths):
        raise InputError(
            f"no example is left: {too_long} have more than {recipe.max_length} tokens, the rest were filtered",
            fix="raise max_length, or loosen the filters",
        )
    groups = apart.draw() if apart else {}
    trained = _list_trained(job.label, len(lengths), groups, recipe)
    mixed = _draw_mixture(job, recipe.mixture, parts, trained, lengths) if recipe.mixture else None
    trained = mixed.indices if mixed else trained
    packed = _pack(recipe, trained, lengths, lengths - prompt_lengths)
    write = functools.partial(
        write_rows,
        ids=np.memmap(spill, dtype=np.int32, mode="r"),
        lengths=lengths,
        prompt_lengths=prompt_lengths,
        pad=tokenizer.pad_token_id,
        max_length=recipe.max_length,
    )
    write(job.out / "rows.safetensors", packed)
    if groups:
        kept_apart = {
            name: [members[row].tolist() for row in _fill_rows(recipe, lengths[members])]
            for name, members in groups.items()
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
        examples=len(lengths) + too_long,
        packed=len(trained),
        too_long=too_long,
        held_out=sum(map(len, groups.values())) if apart else None,
        rows=len(packed),
        tokens=tokens,
        supervised_tokens=tokens - int(prompt_lengths[trained].sum()),
        fill=tokens / (len(packed) * recipe.max_length),
        packing="none" if recipe.packing == "none" else None,
        repeated=mixed.repeated if mixed else None,
        undrawn=mixed.undrawn if mixed else None,
        parts=mixed.parts if mixed else None,
        transformed=sum(part.transformed for part in parts) if any(part.transform for part in recipe.parts) else None,
        reasoned=reasoned or None,
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


class _PartRead(NamedTuple):
    """The examples of one dataset, whose ids are spilled after those of the datasets before it."""

    lengths: np.ndarray  # int64 (examples,), in tokens
    prompt_lengths: np.ndarray  # likewise
    tickets: np.ndarray  # uint64 (examples,); empty without a mixture
    too_long: int
    reasoned: int
    transformed: int


_LENGTHS = ("lengths", "prompt_lengths")


def _read_part(
    job: Job[TokenizeRecipe, TokenizeExecution],
    number: int,
    chat: ChatFormat,
    spill: Path,
    apart: Apart | None,
) -> _PartRead:
    """Encode the examples of the dataset `number`, and append their ids to `spill`."""
    recipe, part = job.recipe, job.recipe.parts[number]
    transformer = Transformer(part.transform, recipe.seed, chat) if part.transform else None
    tickets: list[int] = []

    def add(row: rows.Response) -> None:
        if apart:
            apart.add(row.teacher, row.source, row.query)
        if recipe.mixture:
            texts = (row.teacher, row.source, row.system, row.query, row.reasoning, row.response)
            tickets.append(ticket(recipe.seed, part, *texts))

    lengths, prompt_lengths, too_long, reasoned = spill_ids(
        job.inputs["examples"][number] / "kept.parquet",
        chat,
        recipe.max_length,
        spill,
        append=number > 0,
        with_reasoning=part.learns_reasoning,
        transformer=transformer,
        add=add,
    )
    changed = transformer.changed if transformer else 0
    return _PartRead(lengths, prompt_lengths, np.array(tickets, dtype=np.uint64), too_long, reasoned, changed)


def _draw_mixture(
    job: Job[TokenizeRecipe, TokenizeExecution],
    mixture: Mixture,
    parts: Sequence[_PartRead],
    trained: np.ndarray,
    lengths: np.ndarray,
) -> Drawn:
    """Draw a mixture from the examples `trained`, indices into `lengths`. Raises the errors of `draw_mixture`."""
    ends = np.cumsum([len(part.lengths) for part in parts])
    names = job.execution.datasets or [f"part {number}" for number in range(1, len(parts) + 1)]
    members = np.split(trained, np.searchsorted(trained, ends[:-1]))
    tickets = np.concatenate([part.tickets for part in parts])
    try:
        return draw_mixture(mixture, names, members=members, lengths=lengths, tickets=tickets)
    except InputError as error:
        raise InputError(f"{job.label}: {error.message}", fix=error.fix) from None


def _pack(recipe: TokenizeRecipe, trained: np.ndarray, lengths: np.ndarray, learnt: np.ndarray) -> list[list[int]]:
    """Return the examples of each row, as indices into `lengths`, in the order of the rows.

    trained: the examples to pack, as such indices. learnt: int64 (examples,), the learnt tokens of each example
    """
    rng = np.random.default_rng(recipe.seed)
    if recipe.order:
        trained = sort_examples(recipe.order, rng.permutation(trained), learnt=learnt)
        if recipe.packing == "none":
            return [[index] for index in trained.tolist()]
        packed = fill_in_order(lengths[trained], recipe.max_length, np.arange(len(trained)))
        return [trained[members].tolist() for members in packed]
    if recipe.packing == "shuffle":
        packed = shuffle_and_fill(lengths[trained], recipe.max_length, rng)
    else:
        packed = _fill_rows(recipe, lengths[trained])
    return [trained[packed[index]].tolist() for index in rng.permutation(len(packed))]


def _fill_rows(recipe: TokenizeRecipe, lengths: np.ndarray) -> list[list[int]]:
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
    chat: ChatFormat,
    max_length: int,
    spill: Path,
    *,
    append: bool = False,
    with_reasoning: bool = True,
    transformer: Transformer | None = None,
    add: Callable[[rows.Response], None] = lambda row: None,
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Write the ids of all examples of up to `max_length` tokens to `spill`, one after another, int32.

    append: write them after those that are there

    Returns their lengths, int64 (examples,), the lengths of their prompts, int64 (examples,), the number of examples
    that were too long, and the number of those written that have reasoning. Without `with_reasoning` the examples are
    written as if they had none. `add` gets the written examples, in order.
    """
    lengths: list[int] = []
    prompt_lengths: list[int] = []
    too_long = reasoned = 0
    read = rows.read(examples, rows.Response)
    with spill.open("ab" if append else "wb") as file:
        while batch := list(itertools.islice(read, _EXAMPLES_AT_ONCE)):
            texts = [_texts_of(row, with_reasoning=with_reasoning) for row in batch]
            encoded = chat.encode_examples([*map(transformer.change, texts)] if transformer else texts)
            for row, example in zip(batch, encoded, strict=True):
                if len(example.input_ids) > max_length:
                    too_long += 1
                    continue
                add(row)
                lengths.append(len(example.input_ids))
                prompt_lengths.append(example.prompt_tokens)
                reasoned += with_reasoning and bool(row.reasoning)
                file.write(np.asarray(example.input_ids, dtype=np.int32).tobytes())
    return np.array(lengths, dtype=np.int64), np.array(prompt_lengths, dtype=np.int64), too_long, reasoned


def _texts_of(row: rows.Response, *, with_reasoning: bool) -> Texts:
    """Return the texts of an example, without its reasoning if that is not learnt.

    A file of an older orcac has the reasoning in the text of the answer. It is learnt there as before.
    """
    if with_reasoning:
        return Texts(row.system, row.query, row.response, row.reasoning)
    return Texts(row.system, row.query, split_reasoning(row.response)[1], "")


def write_rows(
    path: Path,
    packed: Sequence[Sequence[int]],
    *,
    ids: np.ndarray,
    lengths: np.ndarray,
    prompt_lengths: np.ndarray,
    pad: int,
    max_length: int,
) -> None:
    """Write the rows to `path`. Padding gets masked labels and positions 0, 1, ... of its own.

    `packed`: the examples of each row, as indices into `lengths`. `ids`: int32 (tokens,), of all examples in order.
    `lengths`, `prompt_lengths`: int64 (examples,), in tokens.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    file = rowfile.create(path, rows=len(packed), max_length=max_length)
    counting = np.arange(max_length, dtype=np.int32)
    for row, members in enumerate(packed):
        filled = 0
        for index in members:
            size, prompt = lengths[index], prompt_lengths[index]
            tokens = ids[starts[index] : starts[index] + size]
            file.input_ids[row, filled : filled + size] = tokens
            file.position_ids[row, filled : filled + size] = counting[:size]
            file.labels[row, filled : filled + prompt] = MASKED
            file.labels[row, filled + prompt : filled + size] = tokens[prompt:]
            filled += size
        file.input_ids[row, filled:] = pad
        file.position_ids[row, filled:] = counting[: max_length - filled]
        file.labels[row, filled:] = MASKED
    for array in file:
        array.flush()
