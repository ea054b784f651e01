"""Tests of orcac/sample/part.py, orcac/sample/pool.py and orcac/tables/batches.py: columns give the items that rows do,
and samples do not depend on the number of processes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import make_job

from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.recipe import FileRef
from orcac.sample import pool
from orcac.sample import run as sample
from orcac.sample.formats import BadRow, Item, Texts, mapped
from orcac.sample.part import REASONS, Part, read_chosen, spill, survey
from orcac.sample.recipe import Draw, Message, SampleExecution, SampleRecipe, Source

FIELDS = {"query": "q", "reference": "r", "task": "t"}
TEXT = st.sampled_from(
    ["", " a ", "b\n", "é\u2028", "x<|endoftext|> ", "Pick:\nOptions:\n- yes\n- no", "yes", "no", "\ud800"]
)
CELL = st.one_of(st.none(), TEXT, TEXT, TEXT, st.sampled_from([1.5, ["a", "b"], {"k": "v"}]))


def expand(some: Texts | Item | BadRow) -> list[Item | BadRow]:
    """Return the items of columns one by one."""
    if not isinstance(some, Texts):
        return [some]
    return [
        Item(
            query=query,
            task=some.tasks[index],
            options=some.options.get(index, ()),
            reference=some.references.get(index, ""),
            system=some.systems[index] if some.systems else None,
        )
        for index, query in enumerate(some.queries)
    ]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.fixed_dictionaries({"q": CELL}, optional={"r": CELL, "t": CELL}), min_size=1, max_size=12),
    torn=st.sets(st.integers(0, 12)),
    data=st.data(),
)
def test_columns_of_json_lines_have_the_items_that_rows_have(tmp_path_factory, rows, torn, data) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    lines = [json.dumps(row) for row in ({"q": "first", "r": "r", "t": "t"}, *rows)]
    for place in sorted(torn, reverse=True):
        lines.insert(1 + place, ["", "{", "[1]"][place % 3])
    path.write_text("\n".join(lines))
    source = Source(format="jsonl", fields=FIELDS)
    check_same(path, source, data)


@settings(max_examples=40, deadline=None)
@given(
    columns=st.integers(1, 9).flatmap(
        lambda n: st.fixed_dictionaries(
            {
                name: st.lists(
                    st.sampled_from([None, b"a ", b"", b"\xff", "é".encode(), b"no"]), min_size=n, max_size=n
                )
                for name in "qrt"
            }
        )
    ),
    data=st.data(),
)
def test_columns_of_parquet_have_the_items_that_rows_have(tmp_path_factory, columns, data) -> None:
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    table = pa.table({name: pa.array([b"x", *cells], pa.binary()).view(pa.string()) for name, cells in columns.items()})
    pq.write_table(table, path)
    check_same(path, Source(format="parquet", fields=FIELDS), data)


def check_same(path: Path, source: Source, data: st.DataObject) -> None:
    expected = [*mapped.read(path, "a.jsonl", source)]
    texts = mapped.read_texts(path, "a.jsonl", source)
    assert texts is not None
    assert [item for some in texts for item in expand(some)] == expected
    mask = np.array(data.draw(st.lists(st.booleans(), max_size=len(expected))), dtype=bool)  # it may end early
    chosen = mapped.read_texts(path, "a.jsonl", source, mask)
    assert chosen is not None
    assert [item for some in chosen for item in expand(some)] == [
        item for item, is_chosen in zip(expected, mask, strict=False) if is_chosen
    ]


def test_a_file_is_read_no_further_than_to_the_end_of_the_mask(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({name: [f"{name} {row}" for row in range(4_000)] for name in "qrt"}), path, row_group_size=2_000
    )
    damaged = pq.read_metadata(path).row_group(1).column(0)
    with path.open("r+b") as file:
        file.seek(damaged.dictionary_page_offset)
        file.write(b"\xff" * damaged.total_compressed_size)
    part = Part(recipe=SampleRecipe(name="s", seed=1, source=Source(format="parquet", fields=FIELDS)), path=path)
    (chosen,) = read_chosen(part, np.arange(1_000) == 999)
    assert chosen.column("query").to_pylist() == ["q 999"]
    with pytest.raises(InputError):
        list(read_chosen(part, np.arange(4_000) == 999))


def test_a_worker_loads_no_pandas(tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "one", "t": "two"}\n')
    source = Source(format="jsonl", fields={"query": "q"})
    part = Part(recipe=SampleRecipe(name="s", seed=1, source=source), path=path)
    code = "import pickle, sys; call, it = pickle.load(sys.stdin.buffer); call(it); sys.exit('pandas' in sys.modules)"
    for work in ((survey, part), (spill, (part, np.ones(1, bool), tmp_path / "a.arrow"))):
        subprocess.run([sys.executable, "-c", code], input=pickle.dumps(work), check=True)


@given(rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 0, 0, 1, 2, 4, 5]))))
def test_duplicates_are_the_rows_after_the_first_that_may_be_drawn(rows) -> None:
    digests, codes = (np.array([row[at] for row in rows], dtype=kind) for at, kind in ((0, np.uint64), (1, np.uint8)))
    expected, known = [], set()
    for digest, code in rows:
        if digest in known and code not in (REASONS.index("bad row"), REASONS.index("task filter")):
            code = REASONS.index("duplicate")
        expected.append(code)
        known |= {digest} if code == 0 else set()
    pool._mark_duplicates(codes, digests)
    assert codes.tolist() == expected


@pytest.mark.parametrize("take", [None, 300])
def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch, take) -> None:
    monkeypatch.setattr(sample, "_MANY_BYTES", 0)
    paths = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for number, path in enumerate(paths):
        rows: list[Any] = [{"q": f"{index % 900} of {number // 2}", "t": f"t{index % 7}"} for index in range(1_000)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "torn\n" * number)
    refs = tuple(FileRef(name=path.name, sha256=file_digest(path)) for path in paths)
    source = Source(format="jsonl", files=refs, fields={"query": "q", "task": "t"}, take=take)
    draw = Draw(always=tuple(Message(id=number, text=f"message {number}") for number in (1, 2, 3)))
    recipe = SampleRecipe(name="s", seed=1, source=source, draw=draw)
    files = {ref.sha256: str(path) for ref, path in zip(refs, paths, strict=True)}
    made = []
    for threads in (1, 2, 3):
        job = make_job(tmp_path / f"{threads}", recipe, SampleExecution(files=files, threads=threads))
        summary = sample.run(job)
        assert sorted(path.name for path in job.work.iterdir()) == ["progress.json"]
        made.append((summary, [(path.name, path.read_bytes()) for path in sorted(job.out.iterdir())]))
    assert made[0] == made[1] == made[2]
    assert made[0][0].dropped["bad row"] == 3
