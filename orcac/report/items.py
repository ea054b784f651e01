"""The texts behind the figures: every item of a benchmark with the answers of all rows, and every row of a dataset.

A `Collection` is a short entry for each item, by which a page lists and filters them, and their texts, which a page
loads only for the items that are looked at. Tables stay columns, since a large study has some hundred thousand answers.

The texts of a row of the report are those of its first run and its first answer to each item; the outcomes of its
further answers stand beside them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orcac import rows
from orcac.report.recipe import Arm, Baseline, Dataset, Evaluation, ReportRecipe, name_baseline
from orcac.report.results import Results

__all__ = ["Collection", "read_dataset", "read_items"]

HEAD = 140  # characters of a question in the list of items
NONE = "."  # the mark of a row without an answer
_FIRST = 48  # the character that marks outcome 0

Folders = Mapping[str, Path]
Key = tuple[str, int]  # id, number of earlier items with this id
Text = dict[str, Any]  # the texts of an item: see `Collection.read_text`


@dataclass(frozen=True, slots=True)
class Item:
    """The entry of an item: `outcomes` has a character for each row, the position in `Collection.outcomes` from "0"."""

    task: int  # position in `Collection.tasks`
    outcomes: str
    head: str  # beginning of the question
    system: int = 0  # position in `Collection.systems`
    scores: tuple[float | None, ...] = ()  # of each row, if one of them is neither 0 nor 1

    @property
    def is_split(self) -> bool:
        """True if the rows differ on the item."""
        known = [score for score in self.scores if score is not None]
        return len({*known}) > 1 if known else len({*self.outcomes} - {NONE}) > 1


@dataclass(frozen=True, slots=True)
class Collection:
    """The items of a benchmark, or the rows of a dataset."""

    name: str
    kind: str  # "benchmark" or "dataset"
    rows: tuple[str, ...]  # names of the arms and baselines; of a dataset, its teacher
    tasks: tuple[str, ...]
    systems: tuple[str, ...]  # system messages
    outcomes: tuple[str, ...]  # of a dataset: "kept" and the reasons of the filter
    items: Sequence[Item]
    total: int  # items, those that are left out here included
    size: int  # bytes of all texts
    read_text: Callable[[int], Text]  # of the item at a position
    note: str = ""


@dataclass(slots=True)
class _Names:
    """Names in the order in which they came, with their positions."""

    places: dict[str, int] = field(default_factory=dict)

    def place(self, name: str) -> int:
        return self.places.setdefault(name, len(self.places))


def read_items(folders: Folders, recipe: ReportRecipe, model: str, results: Results) -> list[Collection]:
    """Return the items of each benchmark, in the order of the report.

    model: the name of the only arm's row, if it is not the arm's. A row whose answers were removed from the store has
    no reasoning, and one whose scores were removed is left out.
    """
    every: dict[str, Arm | Baseline] = {model or arm.name: arm for arm in recipe.arms}
    every |= {name_baseline(baseline): baseline for baseline in recipe.baselines}
    found = (
        _read_benchmark(
            folders, bench.name, {score.arm: every[score.arm] for score in bench.scores if score.arm in every}
        )
        for bench in results.benchmarks
    )
    return [collection for collection in found if collection.rows]


def _read_benchmark(folders: Folders, benchmark: str, rows_of: Mapping[str, Arm | Baseline]) -> Collection:
    columns = {}
    for name, row in rows_of.items():
        runs = row.runs if isinstance(row, Arm) else (row,)
        evaluations = [one for run in runs for one in run.evaluations if one.benchmark == benchmark]
        if evaluations and all(one.score in folders for one in evaluations):
            columns[name] = _Answers.read(folders, evaluations)
    keys = list(dict.fromkeys(key for column in columns.values() for key in column.places))
    tasks, outcomes = _Names(), _Names()
    for outcome in ("right", "wrong"):
        outcomes.place(outcome)
    items = []
    for key in keys:
        has = next(column for column in columns.values() if key in column.places)
        marks = "".join(
            chr(_FIRST + outcomes.place(column.outcomes[column.places[key]])) if key in column.places else NONE
            for column in columns.values()
        )
        place = has.places[key]
        scores = tuple(
            column.scores[column.places[key]] if key in column.places else None for column in columns.values()
        )
        is_graded = any(score not in (0.0, 1.0, None) for score in scores)
        head, task = _head(has.get("query", place)), tasks.place(has.get("task", place))
        items.append(Item(task, marks, head, scores=scores if is_graded else ()))

    def read_text(number: int) -> Text:
        key = keys[number]
        has = next(column for column in columns.values() if key in column.places)
        place = has.places[key]
        return {
            "query": has.get("query", place),
            "system": has.get("system", place),
            "reference": has.get("reference", place),
            "answers": [column.text(key) for column in columns.values()],
        }

    return Collection(
        name=benchmark,
        kind="benchmark",
        rows=tuple(columns),
        tasks=tuple(tasks.places),
        systems=(),
        outcomes=tuple(outcomes.places),
        items=items,
        total=len(items),
        size=sum(column.size for column in columns.values())
        + max((column.table["query"].nbytes for column in columns.values()), default=0),
        read_text=read_text,
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers of one row of the report to a benchmark."""

    table: pa.Table  # of the first run's scores
    outcomes: Sequence[str]  # of the rows of the table
    scores: Sequence[float | None]  # likewise
    places: Mapping[Key, int]  # item -> its place in the table: that of its first answer
    reasoning: Mapping[Key, str]
    further: Mapping[Key, Sequence[str]]  # outcomes of the item's other answers, or scores if a judge gave them
    reviews: Mapping[str, Sequence[Sequence[object]]]  # item id -> a judge's reviews

    @classmethod
    def read(cls, folders: Folders, evaluations: Sequence[Evaluation]) -> _Answers:
        first, *others = evaluations
        folder = folders[first.score]
        wanted = ("id", "task", "query", "system", "reference", "response", "parsed", "outcome", "score")
        table = _read(folder / "scores.parquet", wanted)
        further: dict[Key, list[str]] = defaultdict(list)
        for number, evaluation in enumerate((first, *others)):
            columns = ("id", "outcome", "score")
            read = table if number == 0 else _read(folders[evaluation.score] / "scores.parquet", columns)
            samples = _samples(read)
            for place, (key, sample) in enumerate(zip(_keys(read["id"].to_pylist(), samples), samples, strict=True)):
                if number or sample:
                    outcome, score = (read[name][place].as_py() for name in columns[1:])
                    further[key].append(f"{100 * score:.0f} %" if outcome in ("judged", rows.MEASURED) else outcome)
        samples = _samples(table)
        keys = _keys(table["id"].to_pylist(), samples)
        return cls(
            table=table,
            outcomes=table["outcome"].to_pylist(),
            scores=table["score"].to_pylist(),
            places={key: place for place, key in enumerate(keys) if not samples[place]},
            reasoning=_read_reasoning(folders.get(first.answers)),
            further=further,
            reviews=_read_reviews(folder / "reviews.parquet"),
        )

    def get(self, column: str, place: int) -> Any:
        """Return one value."""
        return self.table[column][place].as_py()

    def text(self, key: Key) -> Text | None:
        """Return the texts of the first answer to an item, but for empty ones; None if the item has no answer."""
        if (place := self.places.get(key)) is None:
            return None
        texts = {name: self.get(name, place) for name in ("response", "parsed", "score")}
        texts |= {"reasoning": self.reasoning.get(key), "further": self.further.get(key)}
        texts |= {"reviews": self.reviews.get(key[0])}
        return {name: value for name, value in texts.items() if value not in (None, "", [])}

    @property
    def size(self) -> int:
        """The bytes of its answers."""
        return int(self.table["response"].nbytes) + sum(map(len, self.reasoning.values()))


def _read(path: Path, wanted: Iterable[str]) -> pa.Table:
    """Return the wanted columns of a table, and the number of the answer if its items have several."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        stored = file.schema_arrow.names
        return file.read(columns=[name for name in (*wanted, "sample") if name in stored], use_threads=False)


def _samples(table: pa.Table) -> list[int]:
    return table["sample"].to_pylist() if "sample" in table.column_names else [0] * table.num_rows


def _keys(ids: Sequence[str], samples: Sequence[int]) -> list[Key]:
    """Return the key of the item of each answer; the answers to an item follow one another."""
    seen: Counter[str] = Counter()
    keys: list[Key] = []
    for name, sample in zip(ids, samples, strict=True):
        if sample and keys:
            keys.append(keys[-1])
            continue
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


def _read_reasoning(folder: Path | None) -> dict[Key, str]:
    """Return the reasoning before the first answer to each item; {} if the answers are gone or have none."""
    for path in (folder / name for name in ("answers.parquet", "responses.parquet") if folder):
        if path.is_file() and rows.has_column(path, "reasoning"):
            table = _read(path, ("id", "reasoning"))
            samples = _samples(table)
            keys = _keys(table["id"].to_pylist(), samples)
            texts = table["reasoning"].to_pylist()
            return {key: text for key, text, sample in zip(keys, texts, samples, strict=True) if text and not sample}
    return {}


_REVIEW = ("against_model", "candidate_first", "candidate_points", "reference_points", "review")


def _read_reviews(path: Path) -> dict[str, list[list[object]]]:
    """Return item id -> the judge's reviews of its answer, as the values of `_REVIEW`; {} if no judge reviewed it."""
    found: dict[str, list[list[object]]] = defaultdict(list)
    if path.is_file():
        table = _read(path, ("id", *_REVIEW))
        for name, *values in zip(*(table[column].to_pylist() for column in ("id", *_REVIEW)), strict=True):
            found[name].append(values)
    return found


def read_dataset(folders: Folders, dataset: Dataset, name: str, most: int) -> Collection:
    """Return the rows of a dataset with the filter's verdict on each, `most` of the kept and of the dropped at most."""
    wanted = ("task", "query", "system", "reference", "response", "reasoning", "refusal", "reason")
    tables, total = [], 0
    for file in ("kept.parquet", "rejected.parquet"):
        path = folders[dataset.filter] / file
        with pq.ParquetFile(path, pre_buffer=False) as opened:
            stored, count = opened.schema_arrow.names, opened.metadata.num_rows
            total += count
            columns = [column for column in wanted if column in stored]
            batches = list(_take(opened.iter_batches(batch_size=2048, columns=columns, use_threads=False), most))
            shape = pa.schema([opened.schema_arrow.field(column) for column in columns])
            tables.append(pa.Table.from_batches([batch.select(columns) for batch in batches], schema=shape))
    return collect_rows(tables, name=name, teacher=dataset.teacher, total=total)


def _take(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if most <= 0:
            return
        yield batch.slice(0, most)
        most -= batch.num_rows


def collect_rows(tables: Sequence[pa.Table], *, name: str, teacher: str, total: int, note: str = "") -> Collection:
    """Return the rows of tables of responses as a collection; a row without a `reason` is kept."""
    tasks, systems, outcomes = _Names(), _Names(), _Names()
    if not all("reason" in table.column_names for table in tables):
        outcomes.place("kept")
    items = []
    for table in tables:
        reasons = table["reason"].to_pylist() if "reason" in table.column_names else ["kept"] * table.num_rows
        texts = (table[column].to_pylist() for column in ("task", "system", "query"))
        for reason, task, system, query in zip(reasons, *texts, strict=True):
            mark = chr(_FIRST + outcomes.place(reason))
            items.append(Item(tasks.place(task), mark, _head(query), systems.place(system)))
    starts = [sum(table.num_rows for table in tables[:number]) for number in range(len(tables))]

    def read_text(number: int) -> Text:
        which = max(index for index, start in enumerate(starts) if start <= number and tables[index].num_rows)
        row = {column: tables[which][column][number - starts[which]].as_py() for column in tables[which].column_names}
        answer = {part: row.get(part) for part in ("response", "reasoning", "refusal") if row.get(part)}
        return {
            "query": row["query"],
            "system": row["system"],
            "reference": row.get("reference", ""),
            "answers": [answer],
        }

    return Collection(
        name=name,
        kind="dataset",
        rows=(teacher,),
        tasks=tuple(tasks.places),
        systems=tuple(systems.places),
        outcomes=tuple(outcomes.places),
        items=items,
        total=total,
        size=sum(table.nbytes for table in tables),
        read_text=read_text,
        note=note,
    )


def _head(text: str) -> str:
    """Return the beginning of a question on one line."""
    line = " ".join(text[: 2 * HEAD].split())
    return line if len(line) <= HEAD else line[: HEAD - 1] + "…"
