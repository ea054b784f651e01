"""Tests of orcac/rows.py: rows as Parquet, and rows of wider types."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest

from orcac import rows


def prompt(number: int) -> rows.Prompt:
    text = f"query {number}"
    return rows.Prompt(
        id=rows.prompt_id("s", "t", text, ""), source="s", task="t", query=text, system_id=1, system="", options=["a"]
    )


def test_rows_come_back_in_order_and_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    prompts = [prompt(number) for number in range(5000)]  # three batches
    for name in ("one", "two"):
        assert rows.write(tmp_path / name, rows.Prompt, prompts) == 5000
    assert list(rows.read(tmp_path / "one", rows.Prompt)) == prompts
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    pairs = list(rows.read_columns(tmp_path / "one", ("query", "id")))
    assert pairs[4999] == ("query 4999", prompts[4999].id) and len(pairs) == 5000


def test_rows_and_columns_are_widened_alike_and_read_as_the_narrower_type(tmp_path: Path) -> None:
    prompts = [prompt(number) for number in range(3)]
    fields = {"response": "r", "finish_reason": "stop", "reasoning": "", "input_tokens": 3, "output_tokens": 1}
    wide = [rows.widen(each, rows.Answer, **fields) for each in prompts]
    assert rows.write(tmp_path / "rows", rows.Answer, wide) == 3
    assert list(rows.read(tmp_path / "rows", rows.Prompt)) == prompts
    rows.write(tmp_path / "prompts", rows.Prompt, prompts)
    (table,) = rows.read_tables(tmp_path / "prompts", rows.schema(rows.Prompt).names)
    columns = {name: [value] * 3 for name, value in fields.items()}
    rows.write_tables(tmp_path / "columns", rows.Answer, [rows.widen_table(table, rows.Answer, **columns)])
    assert list(rows.read(tmp_path / "columns", rows.Answer)) == wide


def test_a_column_that_an_older_orcac_did_not_write_has_its_default(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class OlderAnswer(rows.Prompt):
        response: str
        finish_reason: str
        parsed: str

    fields = {"response": "r", "finish_reason": "length"}
    rows.write(tmp_path / "rows", OlderAnswer, [rows.widen(prompt(0), OlderAnswer, **fields, parsed="a")])
    (answer,) = rows.read(tmp_path / "rows", rows.Answer)
    assert answer == rows.widen(prompt(0), rows.Answer, **fields)
    assert (answer.reasoning, answer.output_tokens) == ("", 0)


def response(number: int, **fields: str) -> rows.Response:
    return rows.widen(prompt(number), rows.Response, teacher="t", response="r", finish_reason="stop", **fields)


def test_a_spare_column_is_written_where_some_row_needs_it(tmp_path: Path) -> None:
    plain = [response(number) for number in range(5000)]
    some = [*plain[:3000], response(3000, reasoning="why"), *plain[3001:], response(5000, refusal="no")]
    rows.write(tmp_path / "plain", rows.Response, plain)
    assert not rows.has_column(tmp_path / "plain", "reasoning") and not rows.has_column(tmp_path / "plain", "refusal")
    rows.write(tmp_path / "some", rows.Response, some)
    assert list(rows.read(tmp_path / "some", rows.Response)) == some
    whole = rows.schema(rows.Response, ("reasoning", "refusal"))
    columns = [pa.array([getattr(row, name) for row in some], whole.field(name).type) for name in whole.names]
    tables = pa.table(columns, schema=whole).to_batches(max_chunksize=2048)
    rows.write_tables(tmp_path / "tables", rows.Response, tables)
    assert (tmp_path / "tables").read_bytes() == (tmp_path / "some").read_bytes()
    rows.write_tables(tmp_path / "sorted", rows.Response, [*tables[1:], tables[0]])  # needed from the first row on
    assert list(rows.read(tmp_path / "sorted", rows.Response)) == [*some[2048:], *some[:2048]]
    rejected = [rows.widen(some[3000], rows.Rejected, reason="too short")]
    rows.write(tmp_path / "rejected", rows.Rejected, rejected)
    assert list(rows.read(tmp_path / "rejected", rows.Rejected)) == rejected


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    def broken():
        yield prompt(0)
        raise ValueError

    with pytest.raises(ValueError):
        rows.write(tmp_path / "rows", rows.Prompt, broken())
    assert not list(tmp_path.iterdir())


def test_items_are_batched_with_a_shorter_last_batch() -> None:
    assert list(rows.batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
