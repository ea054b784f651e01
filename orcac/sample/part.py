"""The parts of a sample's input: files, generators and other samples. Each is read by itself, in any process.

A part is read twice. `survey` reads what decides whether a row may be drawn: its task, its ticket, and a digest of its
query to find duplicates, 21 bytes a row. `read_chosen` reads the chosen rows alone, as columns of `rows.Prompt`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orcac import rows
from orcac.bad_rows import MOST_BAD_FIRST
from orcac.errors import InputError
from orcac.job import hide_pandas
from orcac.ratings import digest_questions, read_digests
from orcac.sample import draw
from orcac.sample.draw import Mask, pick_message
from orcac.sample.formats import BadRow, Item, Texts, read_items, read_texts
from orcac.sample.formats.puzzles import generate
from orcac.sample.recipe import OWN, Message, SampleRecipe

__all__ = [
    "BAD",
    "DUPLICATE",
    "FILTERED",
    "NO_OPTION",
    "OUTSIDE",
    "REASONS",
    "UNRATED",
    "Part",
    "Survey",
    "read_chosen",
    "row_type",
    "spill",
    "survey",
]

BAD, FILTERED, DUPLICATE, NO_OPTION = "bad row", "task filter", "duplicate", "reference is no option"
UNRATED, OUTSIDE = "no value", "outside `between`"
REASONS = (
    "", BAD, FILTERED, DUPLICATE, NO_OPTION, "no choices", "no right choice", "empty choice", UNRATED, OUTSIDE
)  # fmt: skip
_CODES = {reason: code for code, reason in enumerate(REASONS)}
_ITEMS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the input: a file, another sample, or a generator if it has no path."""

    recipe: SampleRecipe
    path: Path | None = None
    name: str = ""  # of the file, in the spec
    is_sample: bool = False
    is_first: bool = False
    one_message: bool = False  # the spec gives one message to all items

    @property
    def file(self) -> str:
        """The path of a file; "" of another part."""
        return "" if self.is_sample or self.path is None else str(self.path)

    def items(self, notes: list[str] | None = None) -> Iterator[Item | BadRow]:
        """Yield the items of a file or a generator, from the start. `notes` gets sentences on its references."""
        source = self.recipe.source
        assert source and not self.is_sample
        if self.path is None:
            assert source.puzzles
            return iter(generate(source.puzzles))
        report = (lambda text: None) if notes is None else notes.append
        matches = self.recipe.matching is not None
        return read_items(self.path, self.name, source, matches=matches, report=report)

    def texts(self, mask: Mask | None = None) -> Iterator[Texts | Item | BadRow] | None:
        """Return the items of a file that is read as columns, those of `mask` alone if it is given; else None."""
        source = self.recipe.source
        if self.path is None or source is None or self.recipe.matching is not None:
            return None
        return read_texts(self.path, self.name, source, mask, whole=mask is not None)


@dataclass(slots=True, kw_only=True)
class Survey:
    """The rows of a part, in order."""

    codes: npt.NDArray[np.uint8]  # (rows,): indices in REASONS; a duplicate is not known yet
    tasks: npt.NDArray[np.int32]  # (rows,): indices in `names`; 0 for a bad row
    tickets: draw.Tickets  # uint64 (rows,)
    digests: draw.Tickets  # uint64 (rows,): of the queries
    names: list[str]  # of tasks
    bad: list[BadRow]
    later_turns: int = 0  # of conversations, those that are not used
    conversations: int = 0  # that have such turns
    notes: list[str] = field(default_factory=list)


class _Columns:
    """The rows of a part that is being surveyed."""

    def __init__(self, recipe: SampleRecipe) -> None:
        self._recipe = recipe
        self._wanted = frozenset(recipe.source.tasks) if recipe.source else frozenset()
        self._codes, self._tasks, self._tickets, self._digests = (bytearray() for _ in range(4))
        self._names: dict[str, int] = {}
        self.bad: list[BadRow] = []

    def __len__(self) -> int:
        return len(self._codes)

    def add_bad(self, row: BadRow) -> None:
        self.bad.append(row)
        self._codes.append(_CODES[BAD])
        self._tasks.extend(bytes(4))
        self._tickets.extend(bytes(8))
        self._digests.extend(bytes(8))

    def add(
        self,
        tasks: Sequence[str],
        queries: Sequence[str],
        systems: Sequence[str | None] | None,
        losses: Mapping[int, str],
        sources: Sequence[str] | None = None,
    ) -> None:
        """Add rows. `systems`: the rows' own messages, if any has one. `losses`: row -> why it is of no use."""
        recipe, names = self._recipe, self._names
        of = [recipe.name] * len(queries) if sources is None else sources
        self._digests += digest_questions(of, queries, systems)
        self._tickets += draw.ticket_bytes(recipe.seed, recipe.name, of, tasks, queries)
        self._tasks += np.array([names.setdefault(task, len(names)) for task in tasks], dtype=np.int32).tobytes()
        codes = bytearray(len(queries))
        for index, reason in losses.items():
            codes[index] = _CODES[reason]
        if self._wanted:
            for index, task in enumerate(tasks):
                codes[index] = codes[index] if task in self._wanted else _CODES[FILTERED]
        self._codes += codes

    def finish(self) -> Survey:
        tickets = np.frombuffer(self._tickets, dtype=np.uint64)
        return Survey(
            codes=np.frombuffer(self._codes, dtype=np.uint8),
            tasks=np.frombuffer(self._tasks, dtype=np.int32),
            tickets=tickets.byteswap(inplace=True) if sys.byteorder == "little" else tickets,
            digests=read_digests(self._digests),
            names=[*self._names],
            bad=self.bad,
        )


def survey(part: Part) -> Survey:
    """Read a part once. The first part is read no further than MOST_BAD_FIRST rows if these are all bad.

    Raises InputError if an item brings a system message, and others are to be drawn or one is for all.
    """
    hide_pandas()  # a worker is a fresh interpreter, without the set-up of the job
    columns = _Columns(part.recipe)
    if part.is_sample:
        _survey_sample(part, columns)
        return columns.finish()
    by_choice = part.recipe.source is not None and part.recipe.source.items == "choices"
    later_turns = conversations = 0
    notes: list[str] = []
    texts = part.texts()
    for some in _gather(part.items(notes) if texts is None else texts):
        if isinstance(some, BadRow):
            columns.add_bad(dataclasses.replace(some, file=part.name))
            if part.is_first and len(columns) == len(columns.bad) == MOST_BAD_FIRST:
                break
        elif isinstance(some, Texts):
            if some.systems is not None:
                _check_message(part, some.queries[0])
            losses = {
                index: NO_OPTION
                for index, options in some.options.items()
                if _is_no_option(some.references.get(index, ""), options)
            }
            columns.add(some.tasks, some.queries, some.systems, losses)
        else:
            for item in some:
                if item.system is not None:
                    _check_message(part, item.query)
                later_turns += item.later_turns
                conversations += item.later_turns > 0
            systems = [item.system for item in some]
            columns.add(
                [item.task for item in some],
                [item.query for item in some],
                None if all(system is None for system in systems) else systems,
                {index: reason for index, item in enumerate(some) if (reason := _find_loss(item, by_choice=by_choice))},
            )
    found = columns.finish()
    found.later_turns, found.conversations, found.notes = later_turns, conversations, notes
    return found


def _survey_sample(part: Part, columns: _Columns) -> None:
    assert part.path
    names = ("source", "task", "query", "system_id", "system", "reference", "options")
    for table in rows.read_as(part.path, rows.Prompt):
        columns_of = (table.column(name).to_pylist() for name in names)
        sources, tasks, queries, numbers, systems, references, options = columns_of
        own = [system if number == OWN else None for number, system in zip(numbers, systems, strict=True)]
        losses = {
            index: NO_OPTION
            for index, (reference, some) in enumerate(zip(references, options, strict=True))
            if _is_no_option(reference, some)
        }
        columns.add(tasks, queries, None if all(one is None for one in own) else own, losses, sources)


def _gather(items: Iterable[Texts | Item | BadRow]) -> Iterator[Texts | list[Item] | BadRow]:
    """Yield items that follow one another as lists, and all else unchanged."""
    some: list[Item] = []
    for item in items:
        if isinstance(item, Item):
            some.append(item)
            if len(some) < _ITEMS_AT_ONCE:
                continue
        if some:
            yield some
            some = []
        if not isinstance(item, Item):
            yield item
    if some:
        yield some


def _is_no_option(reference: str, options: Sequence[str]) -> bool:
    """Return whether an item with options has a reference that is not one of them."""
    return bool(options and reference) and reference not in options


def _find_loss(item: Item, *, by_choice: bool) -> str:
    """Return why an item is of no use; "" if it is. `by_choice`: the likelihoods of its choices are compared."""
    if _is_no_option(item.reference, item.options):
        return NO_OPTION
    if by_choice:
        fields = item.benchmark_fields()
        if not fields["choices"]:
            return "no choices"
        if not fields["right"]:
            return "no right choice"
        if not all(fields["choices"]):
            return "empty choice"
    return ""


def _check_message(part: Part, query: str) -> None:
    """Raise InputError for an item that brings a message, if others are to be drawn or one is for all items."""
    is_drawn = part.recipe.draw != SampleRecipe.model_fields["draw"].default
    if is_drawn or part.one_message:
        other = "the spec draws another" if is_drawn else "a benchmark asks under one message, its `system`"
        fix = "take the human's turn alone, as in `query: messages.user`"
        raise InputError(
            f"{part.recipe.name}: {part.name} has a system message for {query[:80]!r}, and {other}",
            fix=f"remove the draw of this source, or {fix}" if is_drawn else fix,
        )


def read_chosen(part: Part, mask: Mask) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part for which `mask` (rows,) is true, as columns of `row_type`, some at a time.

    A mask may be shorter than the part, which is read no further than to its end.
    """
    if part.is_sample:
        yield from _read_sample(part, mask)
        return
    texts = part.texts(mask)
    for some in _gather(compress(part.items(), mask) if texts is None else texts):
        assert not isinstance(some, BadRow), some
        if isinstance(some, Texts):
            numbers = range(len(some.queries))
            references = [some.references.get(number, "") for number in numbers]
            options = [some.options.get(number, ()) for number in numbers]
            yield _as_table(part.recipe, some.tasks, some.queries, references, options, some.systems or ())
        else:
            yield _as_table(
                part.recipe,
                [item.task for item in some],
                [item.query for item in some],
                [item.reference for item in some],
                [item.options for item in some],
                [item.system for item in some],
                [item.benchmark_fields() for item in some],
            )


def _read_sample(part: Part, mask: Mask) -> Iterator[pa.RecordBatch]:
    assert part.path
    at = 0
    for table in rows.read_as(part.path, rows.Prompt):
        table = table.slice(0, len(mask) - at)
        yield table.filter(pa.array(mask[at : at + len(table)]))
        at += len(table)
        if at == len(mask):
            break


def row_type(recipe: SampleRecipe) -> type[rows.Prompt]:
    """Return the type of a sample's rows."""
    return rows.BenchmarkItem if recipe.source and recipe.source.items else rows.Prompt


def _as_table(
    recipe: SampleRecipe,
    tasks: Sequence[str],
    queries: Sequence[str],
    references: Sequence[str],
    options: Sequence[Sequence[str]],
    systems: Sequence[str | None],
    more: Sequence[Mapping[str, Sequence[object]]] = (),
) -> pa.RecordBatch:
    """Return rows as a table, each with its own system message or the one that is drawn for it."""
    messages = []
    for index, (task, query) in enumerate(zip(tasks, queries, strict=True)):
        system = systems[index] if systems else None
        if system is None:
            names = (recipe.name, task, query)
            messages.append(pick_message(recipe.draw, has_options=bool(options[index]), seed=recipe.seed, names=names))
        else:
            messages.append(Message(id=OWN, text=system))
    shape = rows.schema(row_type(recipe))
    columns: dict[str, Sequence[object]] = {
        "id": [
            rows.prompt_id(recipe.name, task, query, message.text)
            for task, query, message in zip(tasks, queries, messages, strict=True)
        ],
        "source": [recipe.name] * len(queries),
        "task": tasks,
        "query": queries,
        "system_id": [message.id for message in messages],
        "system": [message.text for message in messages],
        "reference": references,
        "options": options,
    }
    for name in shape.names[len(columns) :]:
        columns[name] = [fields[name] for fields in more]
    return pa.RecordBatch.from_arrays([pa.array(columns[one.name], one.type) for one in shape], schema=shape)


def spill(work: tuple[Part, Mask, Path]) -> Path:
    """Write the chosen rows of a part to a file of Arrow, for another process, and return its path."""
    hide_pandas()
    part, mask, path = work
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    shape = rows.schema(row_type(part.recipe))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, shape, options=options) as writer:
        for table in read_chosen(part, mask):
            writer.write_batch(table)
    return path
