"""Values at a path into nested JSON."""

from __future__ import annotations

import pytest

from orcac.tables.paths import lookup

ROW = {"a": {"b": 1, "n": None}, "a.b": 2, "a.n": None, "list": ["x", {"y": 3}]}


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b", 2), ("a", ROW["a"]), ("a.n", None), ("list.0", "x"), ("list.1.y", 3)]
    + [(path, None) for path in ("list.2", "list.-1", "list.²", "a.b.c", "a.", "", "b")],
)
def test_lookup(path: str, value: object) -> None:
    assert lookup(ROW, path) == value


def test_a_key_that_holds_null_gives_way_to_the_path() -> None:
    assert lookup({"a.b": None, "a": {"b": 1}}, "a.b") == 1
    assert lookup([], "a") is None


def test_null_differs_from_a_missing_value() -> None:
    row = {"a": {"n": None}, "b.c": None, "list": [None]}
    assert [lookup(row, path, "absent") for path in ("a.n", "a.n.m", "b.c", "list.0")] == [None] * 4
    assert [lookup(row, path, "absent") for path in ("c", "a.m", "a.m.k", "list.1", "b")] == ["absent"] * 5
