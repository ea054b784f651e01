"""Export of a dataset: the answers that a filter kept, in a folder that `datasets` loads.

    README.md            the card; its front matter names the Parquet files alone, so no row is loaded twice
    data/train.parquet   the rows, with the columns of columns.py
    data/train.jsonl     the same rows, one JSON object per line
    data/rejected.*      the rows that the filters dropped, if they are asked for: a split of their own

Rows are streamed, so memory does not grow with them.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from orcac import rows
from orcac.errors import InputError, OrcacError
from orcac.plan.plan import Plan
from orcac.progress import Progress, print_line
from orcac.publish.dataset.card import render_card
from orcac.publish.dataset.columns import Form, Layout
from orcac.publish.dataset.dates import Dates
from orcac.publish.records import list_datasets
from orcac.report.recipe import Dataset
from orcac.rows import Rejected, Response
from orcac.spec.schema import Spec
from orcac.store.durable import new_folder
from orcac.store.store import Store

__all__ = ["PARQUET", "export_dataset", "find_dataset"]

PARQUET, REJECTED = "data/train.parquet", "data/rejected.parquet"


def export_dataset(
    plan: Plan,
    store: Store,
    *,
    spec: Spec,
    arm: str,
    name: str,
    run: int = 1,
    form: Form = "messages",
    with_rejected: bool = False,
    out: Path,
) -> str:
    """Write a dataset of an arm to the folder `out`, and return the KIND/ID of its filter.

    `spec` is the arm's spec, and `run` the number of a training run, which decides on the draw of the data.
    `with_rejected` adds the rows that the filter dropped, as a split of their own. Raises
    InputError if the arm makes no such dataset, or `out` exists, OrcacError if the dataset is not made yet, StoreError
    if it is damaged.
    """
    dataset = find_dataset(plan, spec, arm, name, run)
    ref = dataset.filter
    if not store.is_done(ref):
        raise OrcacError(f"{ref} is not made yet", fix="make it with `orcac run`; `orcac status` shows its progress")
    if spec.datasets[name].transform:
        print_line(f"export {name}: the answers are those before its `transform`, which changes the rows of a stage")
    kept = store.verify(ref) / "kept.parquet"
    files = {PARQUET: (kept, Response)} | (
        {REJECTED: (kept.with_name("rejected.parquet"), Rejected)} if with_rejected else {}
    )
    layout = Layout(
        form=form,
        has_reasoning=any(rows.has_column(path, "reasoning") for path, _ in files.values()),
        has_samples=any(rows.has_column(path, "sample") for path, _ in files.values()),
        has_verdicts=with_rejected,
    )
    facts = [pq.read_metadata(path) for path, _ in files.values()]
    groups = (one.row_group(number) for one in facts for number in range(one.num_row_groups))
    needs = sum(path.stat().st_size for path, _ in files.values()) + 2 * sum(group.total_byte_size for group in groups)
    dates = Dates(plan.nodes[dataset.collect], store)
    progress = Progress(label=f"export {name}", total=sum(one.num_rows for one in facts), unit="rows")
    with new_folder(out, needs=needs) as folder:
        (folder / "data").mkdir()
        done = 0
        for file, (path, kind) in files.items():
            done = _write_rows(path, kind, folder / file, layout, dates, progress, done)
        text = render_card(
            plan,
            store,
            spec=spec,
            arm=arm,
            dataset=dataset,
            count=facts[0].num_rows,
            reasons=rows.has_column(kept, "reasoning"),
            answered=dates.find(),
            data=PARQUET,
            rejected=REJECTED if with_rejected else "",
            columns=layout.columns,
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
    return ref


def find_dataset(plan: Plan, spec: Spec, arm: str, name: str, run: int) -> Dataset:
    """Return the dataset of an arm called `name`. Raises InputError if the arm does not make it."""
    datasets = list_datasets(plan, spec, arm, run)
    for dataset in datasets:
        if dataset.name == name:
            return dataset
    made = ", ".join(dataset.name for dataset in datasets)
    fix = f"name one that it makes: {made}" if made else "name an arm that makes one"
    why = ": no stage learns from it" if name in spec.datasets else ""
    raise InputError(f"the arm `{arm}` makes no dataset `{name}`{why}", fix=fix)


def _write_rows(
    path: Path, kind: type[Response], out: Path, layout: Layout, dates: Dates, progress: Progress, done: int
) -> int:
    """Write the rows of a file in both forms, pass their texts to `dates`, and return `done` and their number."""
    shape = layout.schema
    with out.with_suffix(".jsonl").open("wb") as lines, pq.ParquetWriter(out, shape, compression="zstd") as writer:
        for some in rows.batched(rows.read(path, kind), 1000):
            for row in some:
                dates.add(system=row.system, user=row.query, sample=row.sample)
            values = [layout.values(row) for row in some]
            writer.write_batch(pa.RecordBatch.from_pylist(values, schema=shape))
            lines.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in values)
            done += len(some)
            progress.update(done)
    return done
