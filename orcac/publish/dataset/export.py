"""Export of a dataset: the answers that a filter kept, as conversations, in a folder that `datasets` loads.

    README.md            the card; its front matter names the Parquet file as the only data, so no row is loaded twice
    data/train.parquet   the rows
    data/train.jsonl     the same rows, one JSON object per line

A row's `messages` are the system message, unless it is empty, the question, and the answer. Reasoning is a field of the
answer's message, `reasoning_content`, which chat templates read. Rows are streamed, so memory does not grow with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from orcac import rows
from orcac.errors import InputError, OrcacError
from orcac.plan.plan import Plan
from orcac.progress import Progress, print_line
from orcac.publish.dataset.card import render_card
from orcac.publish.dataset.dates import Dates
from orcac.publish.records import list_datasets
from orcac.report.recipe import Dataset
from orcac.rows import Response
from orcac.spec.schema import Spec
from orcac.store.durable import new_folder
from orcac.store.store import Store

__all__ = ["COLUMNS", "PARQUET", "export_dataset"]

PARQUET, JSONL = "data/train.parquet", "data/train.jsonl"
COLUMNS = {  # column -> its meaning; the card lists them
    "messages": "the conversation: a system message, unless it is empty, the question, and the answer",
    "id": "digest of source, task, question and system message",
    "source": "the collection of the question",
    "task": "the task of the question in its collection",
    "system_id": "number of the system message in its library; 1 is the empty one",
    "teacher": "the model that answered",
    "reference": "the known right answer; empty if none is known",
    "options": "the allowed final answers; empty if the question lists none",
    "finish_reason": "the reason why the answer ended",
    "input_tokens": "tokens of the prompt, as the server counted them; 0 if nothing counted them",
    "output_tokens": "tokens of reasoning and answer, likewise",
}


class _Message(TypedDict, total=False):
    role: str
    content: str
    reasoning_content: str


def export_dataset(plan: Plan, store: Store, *, spec: Spec, arm: str, name: str, run: int = 1, out: Path) -> str:
    """Write a dataset of an arm to the folder `out`, and return the KIND/ID of its filter.

    `spec` is the arm's spec, and `run` the number of a training run, which decides on the draw of the data. Raises
    InputError if the arm makes no such dataset, or `out` exists, OrcacError if the dataset is not made yet, StoreError
    if it is damaged.
    """
    dataset = _find_dataset(list_datasets(plan, spec, arm, run), spec, arm, name)
    ref = dataset.filter
    if not store.is_done(ref):
        raise OrcacError(f"{ref} is not made yet", fix="make it with `orcac run`; `orcac status` shows its progress")
    if spec.datasets[name].transform:
        print_line(f"export {name}: the answers are those before its `transform`, which changes the rows of a stage")
    kept = store.verify(ref) / "kept.parquet"
    facts = pq.read_metadata(kept)
    groups = (facts.row_group(number) for number in range(facts.num_row_groups))
    needs = kept.stat().st_size + 2 * sum(group.total_byte_size for group in groups)
    dates = Dates(plan.nodes[dataset.collect], store)
    progress = Progress(label=f"export {name}", total=facts.num_rows, unit="rows")
    with new_folder(out, needs=needs) as folder:
        (folder / "data").mkdir()
        _write_rows(kept, folder, dates, progress)
        text = render_card(
            plan,
            store,
            spec=spec,
            arm=arm,
            dataset=dataset,
            count=facts.num_rows,
            reasons=rows.has_column(kept, "reasoning"),
            answered=dates.find(),
            data=PARQUET,
            columns=COLUMNS,
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
    return ref


def _find_dataset(datasets: Sequence[Dataset], spec: Spec, arm: str, name: str) -> Dataset:
    """Return the dataset called `name`. Raises InputError if the arm does not make it."""
    for dataset in datasets:
        if dataset.name == name:
            return dataset
    made = ", ".join(dataset.name for dataset in datasets)
    fix = f"name one that it makes: {made}" if made else "name an arm that makes one"
    why = ": no stage learns from it" if name in spec.datasets else ""
    raise InputError(f"the arm `{arm}` makes no dataset `{name}`{why}", fix=fix)


def _write_rows(kept: Path, folder: Path, dates: Dates, progress: Progress) -> None:
    """Write the rows in both forms."""
    reasons = rows.has_column(kept, "reasoning")
    shape = _schema(reasons)
    done = 0
    with (folder / JSONL).open("wb") as lines, pq.ParquetWriter(folder / PARQUET, shape, compression="zstd") as writer:
        for some in rows.batched(_read_rows(kept, dates), 1000):
            writer.write_batch(pa.RecordBatch.from_pylist(some, schema=shape))
            lines.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in some)
            done += len(some)
            progress.update(done)


def _schema(reasons: bool) -> pa.Schema:
    """Return the columns of the Parquet file. Messages have a field of reasoning if some answer has any."""
    names = ["role", "content", *(["reasoning_content"] if reasons else [])]
    message = pa.struct([(name, pa.string()) for name in names])
    stored = rows.schema(Response)
    return pa.schema(
        [pa.field(name, pa.list_(message) if name == "messages" else stored.field(name).type) for name in COLUMNS]
    )


def _read_rows(kept: Path, dates: Dates) -> Iterator[dict[str, object]]:
    """Yield the columns of each row, and pass its texts to `dates`."""
    for row in rows.read(kept, Response):
        dates.add(system=row.system, user=row.query, sample=row.sample)
        yield {name: _messages(row) if name == "messages" else getattr(row, name) for name in COLUMNS}


def _messages(row: Response) -> list[_Message]:
    answer: _Message = {"role": "assistant", "content": row.response}
    if row.reasoning:
        answer["reasoning_content"] = row.reasoning
    before: list[_Message] = [{"role": "system", "content": row.system}] if row.system else []
    return [*before, {"role": "user", "content": row.query}, answer]
