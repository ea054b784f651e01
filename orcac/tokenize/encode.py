"""The ids of examples: a file of examples in parts, each encoded by itself, in any process.

The ids of a part depend on its rows alone, so neither the parts nor the number of processes changes the result.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from orcac import rows
from orcac.model.chat_format import ChatFormat, load_tokenizer, read_end_tokens
from orcac.model.offline import go_offline
from orcac.ratings import digest_questions, read_digests
from orcac.reasoning import split_reasoning
from orcac.sample.recipe import OWN
from orcac.tokenize.bounds import find_outside
from orcac.tokenize.holdout import Apart
from orcac.tokenize.mixture import ticket
from orcac.tokenize.recipe import TokenizeRecipe
from orcac.tokenize.transform import Texts, Transformer
from orcac.workers import run_in_order

__all__ = ["Encoded", "encode_examples", "load_format", "merge"]

_EXAMPLES_AT_ONCE = 1000
_PART_ROWS = 10_000
_COUNTS = ("too_long", "forged", "reasoned", "transformed")
_MANY_ROWS = 20_000  # a process starts in the time that it takes to encode some thousand rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    examples: Path
    groups: range  # row groups of the file
    recipe: TokenizeRecipe
    number: int  # of the dataset in the recipe
    student: Path


@dataclass(slots=True, kw_only=True)
class Encoded:
    """The examples of a part that are not left out, in order."""

    ids: npt.NDArray[np.int32]  # (tokens,): of all examples, one after another
    lengths: npt.NDArray[np.int64]  # (examples,), in tokens
    prompt_lengths: npt.NDArray[np.int64]  # (examples,), in tokens
    tickets: npt.NDArray[np.uint64]  # (examples,); empty without a mixture
    questions: npt.NDArray[np.uint64]  # (examples,), as `orcac.ratings` names them; empty without an order by values
    apart: Apart | None  # if the recipe keeps examples apart
    too_long: int = 0  # examples left out
    outside: Counter[str] = field(default_factory=Counter)  # examples left out: reason -> examples
    forged: int = 0  # examples left out: they hold a mark of another turn
    reasoned: int = 0  # examples with reasoning
    transformed: int = 0  # examples that were read and changed


def encode_examples(
    examples: Path, recipe: TokenizeRecipe, number: int, student: Path, *, threads: int
) -> Iterator[Encoded]:
    """Yield the examples of a file, which is the dataset `number` of the recipe, part by part.

    Raises InputError if the student's chat format cannot be used.
    """
    parts = [
        _Part(examples=examples, groups=groups, recipe=recipe, number=number, student=student)
        for groups in _split(examples)
    ]
    processes = threads if pq.read_metadata(examples).num_rows >= _MANY_ROWS else 1
    if processes == 1:
        yield from map(_encode, parts)
    else:
        yield from run_in_order(_encode_alone, parts, processes=processes)


def merge(parts: Sequence[Encoded]) -> Encoded:
    """Return the examples of all parts, in order."""
    apart = None
    for part in parts:
        if part.apart:
            apart = part.apart if apart is None else apart.extend(part.apart)
    return Encoded(
        ids=np.concatenate([np.zeros(0, dtype=np.int32), *(part.ids for part in parts)]),
        lengths=np.concatenate([np.zeros(0, dtype=np.int64), *(part.lengths for part in parts)]),
        prompt_lengths=np.concatenate([np.zeros(0, dtype=np.int64), *(part.prompt_lengths for part in parts)]),
        tickets=np.concatenate([np.zeros(0, dtype=np.uint64), *(part.tickets for part in parts)]),
        questions=np.concatenate([np.zeros(0, dtype=np.uint64), *(part.questions for part in parts)]),
        apart=apart,
        outside=sum((part.outside for part in parts), Counter[str]()),
        **{name: sum(getattr(part, name) for part in parts) for name in _COUNTS},
    )


def _split(examples: Path) -> Iterator[range]:
    """Yield the row groups of a file, as many at a time as have some rows together."""
    facts = pq.read_metadata(examples)
    start = size = 0
    for group in range(facts.num_row_groups):
        size += facts.row_group(group).num_rows
        if size >= _PART_ROWS or group + 1 == facts.num_row_groups:
            yield range(start, group + 1)
            start, size = group + 1, 0


def _encode_alone(part: _Part) -> Encoded:
    go_offline(threads=1)
    return _encode(part)


@functools.lru_cache(maxsize=1)
def load_format(student: Path) -> ChatFormat:
    """Return a student's chat format. Raises InputError if it cannot be used."""
    tokenizer = load_tokenizer(student)
    return ChatFormat(tokenizer, ends=read_end_tokens(student, tokenizer))


def _encode(part: _Part) -> Encoded:
    recipe, chat, of = part.recipe, load_format(part.student), part.recipe.parts[part.number]
    apart = Apart(recipe.seed, recipe.holdout) if recipe.holdout else None
    transformer = Transformer(of.transform, recipe.seed, chat) if of.transform else None
    none = np.zeros(0, dtype=np.int64)
    found = Encoded(
        ids=none.astype(np.int32),
        lengths=none,
        prompt_lengths=none,
        tickets=none.astype(np.uint64),
        questions=none.astype(np.uint64),
        apart=apart,
    )
    is_rated = recipe.order is not None and recipe.order.is_by_value
    questions = bytearray()
    ids: list[npt.NDArray[np.int32]] = []
    lengths: list[int] = []
    prompt_lengths: list[int] = []
    tickets: list[int] = []
    for batch in rows.batched(rows.read(part.examples, rows.Response, part.groups), _EXAMPLES_AT_ONCE):
        texts = [_texts_of(row, with_reasoning=of.learns_reasoning) for row in batch]
        outside = iter(find_outside(batch, of.lengths, chat))
        texts = [*map(transformer.change, texts)] if transformer else texts
        for row, some, example in zip(batch, texts, chat.encode_examples(texts), strict=True):
            reason = next(outside)
            if chat.forges_turn(*some):
                found.forged += 1
            elif reason:
                found.outside[reason] += 1
            elif len(example.input_ids) > recipe.max_length:
                found.too_long += 1
            else:
                if apart:
                    apart.add(row.teacher, row.source, row.query)
                if recipe.mixture:
                    own = (row.teacher, row.source, row.system, row.query, row.reasoning, row.response)
                    tickets.append(ticket(recipe.seed, of, *own))
                if is_rated:
                    own_message = [row.system] if row.system_id == OWN else None
                    questions += digest_questions([row.source], [row.query], own_message)
                ids.append(np.array(example.input_ids, dtype=np.int32))
                lengths.append(len(example.input_ids))
                prompt_lengths.append(example.prompt_tokens)
                found.reasoned += of.learns_reasoning and bool(row.reasoning)
    found.ids = np.concatenate(ids) if ids else found.ids
    found.lengths, found.prompt_lengths = (np.array(some, dtype=np.int64) for some in (lengths, prompt_lengths))
    found.tickets = np.array(tickets, dtype=np.uint64)
    found.questions = read_digests(questions)
    found.transformed = transformer.changed if transformer else 0
    return found


def _texts_of(row: rows.Response, *, with_reasoning: bool) -> Texts:
    """Return the texts of an example, without its reasoning if that is not learnt.

    A file of an older orcac has the reasoning in the text of the answer. It is learnt there as before.
    """
    if with_reasoning:
        return Texts(row.system, row.query, row.response, row.reasoning)
    return Texts(row.system, row.query, split_reasoning(row.response)[1], "")
