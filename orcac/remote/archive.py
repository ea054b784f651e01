"""The archive of a study: what a reader needs to check its figures, and to make them again without asking a model.

    nodes.parquet            the record of each node of the plan, with the digests of its files; written last
    scores.parquet           every scored answer of every run
    answers/DIGEST.parquet   the recorded answers that the study asked for, as in a store, so `orcac pull` reads them
    report.md, results.json  the report, without its page

There are neither weights nor the tables between the answers and the scores, which a replay makes again. Runs answer the
same items, so one table of all scores takes a fifth of the space of a file for each run.

An archive is untrusted, like any place. A record must match its own digest and have the id of its recipe and inputs,
and the scores must have the figures that the records give. That shows damage, and not who wrote it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orcac import rows
from orcac.chat.ledger.ledger import Ledger
from orcac.collect.holders import Asked, list_asked
from orcac.errors import InputError, StoreError
from orcac.plan.plan import Plan
from orcac.plan.replay import list_exact
from orcac.remote.answers import push_answers
from orcac.remote.artifacts import check_record
from orcac.remote.place import Place, read
from orcac.score.recipe import ScoreSummary
from orcac.score.scores import Answers, sum_up
from orcac.store.store import Store

__all__ = ["Archive", "Written", "read_archive", "write_archive"]

_NODES, _SCORES, _ANSWERS = "nodes.parquet", "scores.parquet", "answers"
_REPORT = ("report.md", "results.json")  # without the page, which has every text once more
_LARGEST = 1 << 30  # bytes of a file of an archive
_LARGEST_TABLE = 4 << 30  # bytes of a table once decompressed, by its own statement
_FIX = "take a sound copy of the archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedScore(rows.Scored):
    """A scored answer with the node that holds it."""

    node: str  # KIND/ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The content of an archive: its numbers, and the bytes of each of its files."""

    nodes: int
    scores: int  # scored answers
    answers: int  # recorded answers
    unanswered: int  # questions of the study without a recorded answer
    files: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive that was read: the records of its nodes by KIND/ID, and their scored answers."""

    label: str
    digest: str  # of its records and scores, and of the names of its files of answers, which are digests
    records: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Answers]  # of the score nodes


def write_archive(plan: Plan, store: Store, place: Place, *, dry_run: bool = False) -> Written:
    """Write the archive of a plan's nodes, all of which are made.

    Raises InputError if some are not, or if the place has the archive of other nodes; StoreError if an artifact is
    damaged; EndpointError if the place cannot be reached.
    """
    if missing := [ref for ref in plan.nodes if not store.is_done(ref)]:
        raise InputError(
            f"{len(missing):,} of {len(plan.nodes):,} nodes are not made, such as {missing[0]}",
            fix="make them with `orcac run`, then write the archive",
        )
    contents = {ref: _read_content(store, ref) for ref in plan.nodes}
    known = read(place, _NODES, _LARGEST)
    if known is not None and _read_contents(known, place.label) != contents:
        fix = "name another folder, or remove that archive"
        raise InputError(f"{place.label}: has the archive of another run", fix=fix)
    files = _make_files(plan, store, contents)
    asked = list(list_asked(store, list_exact(plan)))
    keys = {key.ljust(16, b"\0").hex() for one in asked for key in one.keys.tolist()}
    push_answers(store.answers, place, lambda record: record["key"] in keys, dry_run=dry_run)
    for name, content in files.items() if not dry_run and known is None else ():
        place.put(name, content)  # the records last: without them there is no archive
    return Written(
        nodes=len(contents),
        scores=pq.read_metadata(pa.BufferReader(files[_SCORES])).num_rows if _SCORES in files else 0,
        answers=len(keys),
        unanswered=_count_unanswered(store, asked),
        files={name: len(content) for name, content in files.items()} | _measure_answers(place),
    )


def _make_files(plan: Plan, store: Store, contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the content of each file of an archive but those of answers, the records last."""
    files = {}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / _SCORES
        if rows.write(path, ArchivedScore, _read_all_scores(plan, store)):
            files[_SCORES] = _compress(pq.read_table(path))
    for experiment in plan.experiments.values():
        if experiment.report:
            folder = store.verify(experiment.report)
            files |= {name: (folder / name).read_bytes() for name in _REPORT}
    files[_NODES] = _compress(pa.table({"ref": list(contents), "record": list(contents.values())}))
    return files


def _measure_answers(place: Place) -> dict[str, int]:
    """Return the bytes of each file of answers at a place."""
    names = (f"{_ANSWERS}/{name}" for name in place.names(_ANSWERS) if name.endswith(".parquet"))
    return {name: place.size(name) or 0 for name in names}


def _read_content(store: Store, ref: str) -> bytes:
    """Return the record of an artifact as bytes. Raises StoreError if it is damaged."""
    store.artifact(ref)
    return store.marker(ref).read_bytes()


def _read_all_scores(plan: Plan, store: Store) -> Iterator[ArchivedScore]:
    for ref in plan.nodes:
        if ref.startswith("score/"):
            for row in rows.read(store.verify(ref) / "scores.parquet", rows.Scored):
                yield rows.widen(row, ArchivedScore, node=ref)


def _count_unanswered(store: Store, asked: Sequence[Asked]) -> int:
    """Return the number of questions that the ledger of the store does not settle."""
    if not asked or not store.answers.is_dir():
        return sum(len(one.keys) for one in asked)
    ledger = Ledger(store.answers, np.unique(np.concatenate([one.keys for one in asked])))
    try:
        return sum(int((ledger.find(one.keys, one.max_tokens) < 0).sum()) for one in asked)
    finally:
        ledger.close()


def _compress(table: pa.Table) -> bytes:
    """Return a table as one row group of Parquet, which is as small as zstd makes it: it is written once."""
    sink = io.BytesIO()
    options = {"compression": "zstd", "compression_level": 19, "write_statistics": False}
    pq.write_table(table, sink, row_group_size=max(len(table), 1), write_page_checksum=True, **options)
    return sink.getvalue()


def read_archive(place: Place) -> Archive:
    """Read and check an archive, without its answers.

    Raises InputError if the place has none, StoreError if it is damaged, EndpointError if it cannot be reached.
    """
    content = read(place, _NODES, _LARGEST)
    if content is None:
        fix = "name the folder that `orcac push --archive` wrote"
        raise InputError(f"{place.label}: holds no archive, which has a file {_NODES}", fix=fix)
    records = {}
    for ref, text in _read_contents(content, place.label).items():
        try:
            records[ref] = check_record(text, ref)
        except ValueError as error:
            raise StoreError(f"{place.label}/{_NODES}: the record of {ref} is damaged ({error})", fix=_FIX) from None
    scored = read(place, _SCORES, _LARGEST)
    scores = dict(_read_scores(scored, f"{place.label}/{_SCORES}", records))
    parts = [content, scored or b"", *(name.encode() for name in _measure_answers(place))]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    return Archive(label=place.label, digest=digest, records=records, scores=scores)


def _read_contents(content: bytes, label: str) -> dict[str, bytes]:
    """Return the bytes of each node's record. Raises StoreError if the file is damaged."""
    table = _open_table(content, f"{label}/{_NODES}", pa.schema([("ref", pa.string()), ("record", pa.binary())]))
    return dict(zip(table.column("ref").to_pylist(), table.column("record").to_pylist(), strict=True))


def _read_scores(
    content: bytes | None, label: str, records: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Answers]]:
    """Yield each score node with its scored answers. Raises StoreError if they are not those of the records."""
    expected = {ref for ref in records if ref.startswith("score/")}
    if content is not None:
        table = _open_table(content, label, rows.schema(ArchivedScore))
        try:
            scored = (row for batch in table.to_batches() for row in rows.of_table(batch, ArchivedScore))
            for ref, of_node in itertools.groupby(scored, key=lambda row: row.node):
                answers = Answers(rows=list(of_node), checkers=())
                if ref not in expected or not _has_figures(answers, records[ref]):
                    raise StoreError(f"{label}: the scores of {ref} are not those that its record sums up", fix=_FIX)
                expected.remove(ref)
                yield ref, answers
        except (LookupError, ValueError, TypeError, pa.ArrowException) as error:
            raise StoreError(f"{label}: holds what is not a score ({error})", fix=_FIX) from None
    # a score node may have no rows: all of its items are left out
    for ref in expected:
        if content is None or not _has_figures(Answers(rows=[], checkers=()), records[ref]):
            raise StoreError(f"{label}: the scores of {ref} are missing", fix=_FIX)
        yield ref, Answers(rows=[], checkers=())


def _has_figures(answers: Answers, record: Mapping[str, Any]) -> bool:
    """Return whether scored answers have the figures of their node's record."""
    summary = ScoreSummary.from_json(record.get("summary"), Path(str(record.get("ref"))))
    found = sum_up(answers)
    counts = (found.n, found.mean is None, Counter(found.outcomes))
    if counts != (summary.n, summary.mean is None, Counter(summary.outcomes)):
        return False
    return math.isclose(found.mean or 0.0, summary.mean or 0.0, abs_tol=1e-9)


def _open_table(content: bytes, label: str, shape: pa.Schema) -> pa.Table:
    """Return the table of a Parquet file with the columns of `shape`, and others. Raises StoreError for damage."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
        if sum(group.total_byte_size for group in groups) > _LARGEST_TABLE:
            raise ValueError("its table is larger than 4 GiB")
        if wrong := [field.name for field in shape if file.schema_arrow.field(field.name).type != field.type]:
            raise ValueError(f"its column `{wrong[0]}` has another type")
        return file.read()
    except (pa.ArrowException, LookupError, ValueError, OSError) as error:
        raise StoreError(f"{label}: is damaged ({' '.join(str(error).split())[:200]})", fix=_FIX) from None
