"""Tests of orcac/tables/rows.py, orcac/tables/content.py, orcac/tables/text.py, orcac/tables/documents.py,
orcac/tables/delimited.py and orcac/tables/parquet.py: files as people have them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcac.errors import InputError
from orcac.tables import documents, text
from orcac.tables.columns import find_missing
from orcac.tables.rows import BadRow, count_rows, describe, read_rows

Table = list[dict[str, object]]
ROWS: Table = [{"q": "How many?", "a": "3"}, {"q": 'A "b", c\nd', "a": "é\u2028x"}, {"q": "Last", "a": "\t;,"}]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def to_jsonl(rows: Table) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def to_delimited(rows: Table, separator: str = ",", end: str = "\r\n") -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=separator, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def to_parquet(rows: Table) -> bytes:
    file = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=2)
    return file.getvalue().to_pybytes()


FORMS: dict[str, tuple[str, Callable[[Table], bytes]]] = {
    "lines": ("jsonl", to_jsonl),
    "lines with a mark, CRLF and blank lines": (
        "jsonl",
        lambda rows: b"\xef\xbb\xbf" + to_jsonl(rows).replace(b"\n", b"\r\n\r\n"),
    ),
    "lines that end in commas": ("jsonl", lambda rows: to_jsonl(rows).replace(b"}\n", b"},\n")),
    "an array": ("json", lambda rows: json.dumps(rows).encode()),
    "an array over several lines": ("json", lambda rows: b"\n" + json.dumps(rows, indent=1).encode() + b"\n"),
    "an array with a comma too many": ("json", lambda rows: json.dumps(rows).encode()[:-1] + b" , ]"),
    "objects over several lines": ("json", lambda rows: "\n".join(json.dumps(row, indent=2) for row in rows).encode()),
    "a document": ("json", lambda rows: json.dumps({"version": 1, "data": rows}, indent=1).encode()),
    "a document on one line": ("json", lambda rows: json.dumps({"rows": rows, "tags": ["x"]}).encode()),
    "a list for each column": ("json", lambda rows: json.dumps(columns(rows)).encode()),
    "a map for each column": (
        "json",
        lambda rows: json.dumps(
            {name: {str(n): cell for n, cell in enumerate(cells)} for name, cells in columns(rows).items()}
        ).encode(),
    ),
    "csv": ("csv", to_delimited),
    "csv with a mark and plain line ends": ("csv", lambda rows: b"\xef\xbb\xbf" + to_delimited(rows, end="\n")),
    "csv with semicolons": ("csv", lambda rows: to_delimited(rows, ";")),
    "csv with tabs": ("csv", lambda rows: to_delimited(rows, "\t")),
    "tsv": ("tsv", lambda rows: to_delimited(rows, "\t")),
    "parquet": ("parquet", to_parquet),
}


def columns(rows: Table) -> dict[str, list[object]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def read(path: Path, format: str = "jsonl") -> list[dict[str, object] | BadRow]:
    return [row if isinstance(row, BadRow) else row[1] for row in read_rows(path, format, ("q", "a"))]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("form", FORMS)
def test_the_rows_do_not_depend_on_the_form_of_the_file(tmp_path: Path, form: str, suffix: str) -> None:
    format, encode = FORMS[form]
    if format == "parquet" and suffix:
        return
    path = write(tmp_path / f"a.{format}{suffix}", COMPRESS[suffix](encode(ROWS)))
    assert read(path, format) == ROWS
    assert (count_rows(path, format, ("q",)), describe(path, format)) == (3, "")


@pytest.mark.parametrize(("form", "content"), [("lines", "JSON Lines"), ("an array", "a JSON array")])
def test_a_file_is_read_by_its_content_whatever_its_name(tmp_path: Path, form: str, content: str) -> None:
    data = FORMS[form][1](ROWS)
    for name, format in (("a.json", "json"), ("a.jsonl", "jsonl"), ("a.csv", "csv"), ("a.parquet", "parquet")):
        path = write(tmp_path / name, gzip.compress(data))
        assert read(path, format) == ROWS
        hides = format == "jsonl" if form == "lines" else format == "json"
        assert describe(path, format) == f"gzip of {content}", hides
    assert describe(write(tmp_path / "train.json", data), "jsonl") == ("" if form == "lines" else "a JSON array")
    path = write(tmp_path / "b.jsonl", to_parquet(ROWS))
    assert (read(path), describe(path, "jsonl")) == (ROWS, "Parquet")
    assert read(write(tmp_path / "b.csv", to_delimited(ROWS))) == ROWS  # by its name, since its bytes do not tell


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_any_texts_are_read_back_from_every_form(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows: Table = [{"q": f"{number}{q.strip()}", "a": f"a{a.strip()}"} for number, (q, a) in enumerate(cells)]
    for number, (format, encode) in enumerate(FORMS.values()):
        if b"semicolon" not in encode(rows):
            path = write(folder / f"{number}.{format}", encode(rows))
            assert read(path, format) == rows, list(FORMS)[number]


def test_one_bad_row_does_not_hide_the_others(tmp_path: Path) -> None:
    torn = to_jsonl(ROWS[:1]) + b'{"q": "torn\n' + to_jsonl(ROWS[1:]) + '{"q": "café"}\n'.encode("latin-1") + b"[1]\n"
    found = read(write(tmp_path / "a.jsonl", torn))
    assert [row for row in found if not isinstance(row, BadRow)] == ROWS
    bad = [row for row in found if isinstance(row, BadRow)]
    assert [(row.line, row.reason) for row in bad] == [
        (2, "not JSON: Unterminated string starting at (column 7)"),
        (5, "byte 10 is not UTF-8"),
        (6, "not a JSON object"),
    ]
    assert bad[0].text == '{"q": "torn' and bad[1].text == '{"q": "caf\ufffd"}\n'
    first = b'{"q": "torn\n' + to_jsonl(ROWS)
    assert [isinstance(row, BadRow) for row in read(write(tmp_path / "b.jsonl", first))] == [True, False, False, False]
    array = json.dumps([ROWS[0], 7, None, ROWS[1]]).encode()
    assert [row.line for row in read(write(tmp_path / "c.json", array)) if isinstance(row, BadRow)] == [2, 3]


def test_bad_rows_of_csv(tmp_path: Path) -> None:
    table = 'q,a\n1,x\n2\n3,y,z\n"4"5,x\n6,NaN\n7,\n,8\n"9\n9",x\n'
    found = read(write(tmp_path / "a.csv", table), "csv")
    good = [("1", "x"), ("6", None), ("7", None), (None, "8"), ("9\n9", "x")]
    assert [(row["q"], row["a"]) for row in found if not isinstance(row, BadRow)] == good
    assert [(row.line, row.reason) for row in found if isinstance(row, BadRow)] == [
        (3, "1 cells, but 2 columns"),
        (4, "3 cells, but 2 columns"),
        (5, "not valid in quotes: ',' expected after '\"'"),
    ]
    found = read(write(tmp_path / "b.csv", b"q,a\ncaf\xe9,x\nb,x\n"), "csv")
    assert [isinstance(row, BadRow) for row in found] == [True, False]
    found = read(write(tmp_path / "c.csv", 'q,a\n1,x\n2,"x\n3,x\n4,x\n'), "csv")  # no good row is lost without a count
    assert [row.line for row in found if isinstance(row, BadRow)] == [3, 4, 5]
    with pytest.raises(InputError, match=r"d\.csv:1: 2 columns are named 'a'"):
        read(write(tmp_path / "d.csv", "q,a,a\n1,2,3\n"), "csv")
    assert read(write(tmp_path / "e.csv", "q,n,n,a\n1,2,3,4\n"), "csv") == [{"q": "1", "n": "3", "a": "4"}]


def test_quotes_of_tsv_are_plain_characters_where_they_enclose_no_text(tmp_path: Path) -> None:
    table = 'q\ta\n"Stop!" he said.\tx\n"Open\ty\n"in quotes\nstill"\tz\n5" pipe\t"\n'
    found = read(write(tmp_path / "a.tsv", table), "tsv")
    assert [(row["q"], row["a"]) for row in found if not isinstance(row, BadRow)] == [
        ('"Stop!" he said.', "x"),
        ('"Open', "y"),
        ("in quotes\nstill", "z"),
        ('5" pipe', '"'),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04....", "a zip file"),
        (to_parquet(ROWS)[:-1], "cannot be read as Parquet"),
        (gzip.compress(to_parquet(ROWS)), "Parquet inside gzip"),
        (gzip.compress(to_jsonl(ROWS * 99))[:-9], r"compressed data \(gzip\) are damaged or cut"),
        (COMPRESS[".zst"](to_jsonl(ROWS * 99))[:-9], r"compressed data \(zstd\) are damaged or cut"),
        (lzma.compress(to_jsonl(ROWS))[:-9], r"compressed data \(xz\) are damaged or cut"),
        ('{"q": "x"}'.encode("utf-16"), "UTF-16"),
        ('{"q": "x"}'.encode("utf-16-le"), "UTF-16"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"<!DOCTYPE html>\n<p>Not found", "a web page"),
        (b"\x80\x04\x95", "a pickle"),
        (b'[{"q": "x"}, {"q": "y"}', "a.jsonl:1:24: the array is not closed, .*; rows before this place: 2"),
        (b'[\n {"q": "x"},\n {"q": "y"},\n {"q": [\n  1\n ]', "6:3: not JSON: .*; rows before this place: 2"),
        (b'[\n{"q": "x"},\n{"q": "y', "3:7: not JSON: Unterminated .*; rows before this place: 1"),
        (b'[{"q": "x"}\n {"q": "y"}]', "a.jsonl:2:2: a comma is missing"),
        (b'[{"q": "x"}\n, {"q": }]', "a.jsonl:2:9: not JSON"),
        (b'[{"q": "x"}]\n[1]', "a.jsonl:2:1: more text after the end"),
        (b'{"train": [{"q": "x"}], "test": [{"q": "y"}]}', "may be at 'train', 'test'"),
        (b'{"q": ["x", "y"], "a": ["z"]}', "columns differ in length: a lack rows"),
        (b'{\n "q": "x",\n', "a.jsonl:3:1: not JSON"),
        (b'{"q": "caf\xe9"}', "a.jsonl:1: byte 10 is not UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_says_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(write(tmp_path / "a.jsonl", content))
    assert caught.value.fix


def test_arrow_files_are_named(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    feather.write_feather(table, tmp_path / "a.feather")
    with pa.OSFile(str(tmp_path / "b.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.feather", "b.arrow"):
        with pytest.raises(InputError, match="an Arrow"):
            read(tmp_path / name)


def test_long_rows_need_no_setting_and_endless_ones_are_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long: Table = [{"q": "x" * 300_000, "a": "1"}, *ROWS]
    for number, (format, encode) in enumerate(FORMS.values()):
        assert read(write(tmp_path / f"{number}.{format}", encode(long)), format) == long
    monkeypatch.setattr(text, "LONGEST_LINE", 1 << 10)
    found = read(write(tmp_path / "a.jsonl", to_jsonl([ROWS[0], *long])))
    assert [isinstance(row, BadRow) for row in found] == [False, True, False, False, False]


def test_an_array_is_read_in_pieces_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.json", json.dumps([*ROWS, 12, "é"], indent=1, ensure_ascii=False))
    for size in (1, 2, 3, 7, 50):
        monkeypatch.setattr(documents, "_CHUNK", size)
        found = read(path)
        assert found[:3] == ROWS and [row.text for row in found[3:] if isinstance(row, BadRow)] == ["12", '"é"']


LINES = '[\n{"q": "1"},\n{"q": "2", "a": "x},\n{"q": "3"},\n7,\n{"q": \n],\n{"q": "4"}\n{"q": "5"},\n{"q": "6"}\n]\n'


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_torn_element_does_not_end_an_array_with_a_line_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(documents, "_CHUNK", size)
    found = read(write(tmp_path / "a.json", LINES))
    assert [row["q"] for row in found if not isinstance(row, BadRow)] == ["1", "3", "4", "6"]
    assert [(row.line, row.reason, row.text) for row in found if isinstance(row, BadRow)] == [
        (2, "not JSON: Invalid control character at (line 3, column 21)", '{"q": "2", "a": "x},'),
        (4, "not a JSON object", "7"),
        (5, "not JSON: Expecting value (line 7, column 1)", '{"q": \n],'),
        (7, "a comma is missing (line 9, column 1)", '{"q": "5"},'),
    ]
    last = read(write(tmp_path / "b.json", json.dumps(ROWS, indent=2).replace('"a": "\\t;,"', '"a": \\t')))
    assert last[:2] == ROWS[:2] and isinstance(last[2], BadRow) and len(last) == 3
    latin = read(write(tmp_path / "c.json", '[{"q": "é"},\n{"q": "1"}]'.encode("latin-1")))
    assert isinstance(latin[0], BadRow) and latin[0].reason == "a byte that is not UTF-8" and latin[1] == {"q": "1"}


@settings(max_examples=150)
@given(
    indent=st.sampled_from([None, 1, 4]),
    torn=st.integers(0, 4),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_damage_to_one_element_of_an_array_leaves_the_others_or_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, indent: int | None, torn: int, cut: tuple[float, float]
) -> None:
    rows: Table = [{"q": f"{number}?", "a": [{"x": 'a "b" }'}, {"y": [number, {}]}]} for number in range(5)]
    elements = [json.dumps(row, indent=indent).replace("\n", "\n" + " " * (indent or 0)) for row in rows]
    start, end = (int(place * len(elements[torn])) for place in sorted(cut))
    elements[torn] = elements[torn][:start] + elements[torn][end:]
    margin = "\n" + " " * (indent or 0)
    path = write(tmp_path_factory.mktemp("torn") / "a.json", f"[{margin}{f',{margin}'.join(elements)}\n]\n")
    try:
        found = read(path)
    except InputError as error:
        assert "rows before this place" in error.message or torn == 0
        return
    others = [row for row in rows if row != rows[torn]]
    assert [row for row in found if row in others] == others
    assert len(found) >= 5 or not elements[torn], "a comma before the end of the array is no row"


@settings(max_examples=150)
@given(
    form=st.sampled_from(sorted(FORMS)),
    suffix=st.sampled_from(sorted(COMPRESS)),
    format=st.sampled_from(["jsonl", "json", "csv", "tsv", "parquet"]),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    put=st.binary(max_size=4),
    damages_content=st.booleans(),
)
def test_damage_ends_in_rows_or_in_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    suffix: str,
    format: str,
    cut: tuple[float, float],
    put: bytes,
    damages_content: bool,
) -> None:
    def damage(data: bytes) -> bytes:
        start, end = (int(place * len(data)) for place in sorted(cut))
        return data[:start] + put + data[end:]

    content, pack = FORMS[form][1](ROWS), COMPRESS[suffix]
    path = tmp_path_factory.mktemp("damaged") / "a.table"
    path.write_bytes(pack(damage(content)) if damages_content else damage(pack(content)))
    for look in (read, lambda path, format: find_missing(path, format, ["q", "n.x"]), describe):
        try:
            look(path, format)
        except InputError as error:
            assert error.message.startswith(str(path)) and error.fix
