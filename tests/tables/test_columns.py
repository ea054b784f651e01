"""Tests of orcac/tables/columns.py and orcac/tables/footer.py: columns, looked up without reading the files."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orcac.errors import InputError
from orcac.tables.columns import find_missing

ROW: dict[str, object] = {
    "q": "x",
    "n": {"a": {"b": 1}, "c": None},
    "m": [{"role": "user", "content": "x"}],
    "null": None,
    "a.b": 3,
}
HERE = ("q", "n", "n.a.b", "n.c", "m", "m.0.content", "m.user", "m.7.content", "null", "a.b")
MISSING = ("none", "n.none", "n.a.none", "q.none", "more.role", "b", "n.a.b.none")


@pytest.mark.parametrize("suffix", ["jsonl", "json", "gz", "parquet"])
def test_paths_that_lead_nowhere_are_found(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    line = json.dumps(ROW).encode() + b"\n"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([ROW]), path)
    elif suffix == "json":
        path.write_text(json.dumps([ROW], indent=1))
    else:
        path.write_bytes(gzip.compress(line) if suffix == "gz" else line)
    assert find_missing(path, "jsonl", HERE) == ([], [])
    for key in MISSING:
        missing, columns = find_missing(path, "jsonl", [key, "q"])
        assert (missing, columns) == ([key], ["q", "n.a", "n.c", "m", "null", "a.b"]), key


def test_keys_of_later_rows_are_left_to_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"q": str(number)} for number in range(500)] + [{"q": "last", "late": {"r": 1}}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert find_missing(path, "jsonl", ["q", "late.r"]) == ([], [])
    assert find_missing(path, "jsonl", ["q", "never", "late.never"]) == (["never", "late.never"], ["q"])


def test_footers_of_wide_and_deep_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            **{f"column {number}": pa.array([number]) for number in range(40)},
            "map": pa.array([[("k", {"v": 1})]], pa.map_(pa.string(), pa.struct([("v", pa.int64())]))),
            "time": pa.array([1], pa.timestamp("us", "UTC")),
            "price": pa.array([None], pa.decimal128(9, 2)),
            "deep": pa.array([{"a": [{"b": {"c": "x"}}]}]),
            "é": pa.array([True]),
        },
        metadata={"long": "x" * 5_000},
    )
    pq.write_table(table, path)
    here = ["column 0", "column 39", "map", "map.k", "time", "price", "deep.a.0.b.c", "é"]
    assert find_missing(path, "parquet", here) == ([], [])
    assert find_missing(path, "parquet", ["deep.b", "time.a"])[0] == ["deep.b", "time.a"]
    content = path.read_bytes()
    for broken in (content[:-1], content[:-8] + b"\xff\xff\xff\x7fPAR1", content[: len(content) // 2] + content[-8:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="cannot be read as Parquet"):
            find_missing(path, "parquet", here)


@pytest.mark.parametrize(
    "footer",
    [
        b"\x15" + b"\x80" * 3_000_000,  # one number that never ends
        b"\x19\xf9\xc0\x9a\x0c" + b"\xf0\xc0\x9a\x0c" * 100_000,  # lists of lists of elements without a byte
        b"\x1b\xff\xff\xff\x7f\x11",  # a map of truth values
    ],
)
def test_damaged_footers_take_no_longer_than_their_bytes(tmp_path: Path, footer: bytes) -> None:
    """Each of them took minutes, or for ever, if sizes were believed."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(InputError, match="its footer is damaged"):
        find_missing(path, "parquet", ["q"])


def test_arrow_is_not_loaded_for_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([ROW]), path)
    program = (
        "import sys; from pathlib import Path; from orcac.tables.columns import find_missing\n"
        f"print(find_missing(Path({str(path)!r}), 'parquet', ['q', 'n.x', 'm.0.content']), 'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(['n.x'], ['q', 'n.a', 'n.c', 'm', 'null', 'a.b']) False"
