"""Tests of orcac/spec/units.py and orcac/fields.py; refused values are in broken/cases.yaml."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from orcac.chat.settings import Azure, Price, Sampling
from orcac.fields import Number, Share, Whole
from orcac.spec.units import BatchSize, Dollars, Megabytes, Minutes, Paths, Rows, RowsOrTokens


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (Whole, 2.0, 2),
        (Number, 1, 1.0),
        (Share, "7 %", 0.07),
        (Share, 0.03, 0.03),
        (Rows, "160 rows", 160),
        (Rows, 1, 1),
        (Dollars, "60_000 USD", 60_000.0),
        (Megabytes, "8 GiB", 8192),
        (Minutes, "2 hours", 120),
        (Minutes, "1.5 days", 2160),
        (Paths, "a.jsonl", ("a.jsonl",)),
        (RowsOrTokens, 160, BatchSize(160)),
        (RowsOrTokens, "1 row", BatchSize(1)),
        (RowsOrTokens, "327_680 tokens", BatchSize(327_680, "tokens")),
    ],
)
def test_a_value_is_read_with_its_unit(kind: object, written: object, value: object) -> None:
    read = TypeAdapter(kind).validate_python(written)
    assert read == value and type(read) is type(value)


def test_a_batch_size_in_rows_and_as_text() -> None:
    assert BatchSize(4096, "tokens").rows(2048) == BatchSize(2).rows(2048) == 2
    assert str(BatchSize(4096, "tokens")) == "4096 tokens"


@pytest.mark.parametrize("part", [Sampling, Price, Azure])
def test_the_types_that_requests_share_with_specs_are_declared_as_the_fields_of_a_spec(part: type) -> None:
    for name, info in part.model_fields.items():
        assert info.json_schema_extra["class"] == ("semantic" if part is Sampling else "execution"), name
        assert info.description, name
