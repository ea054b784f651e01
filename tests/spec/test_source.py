"""Tests of orcac/spec/source.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import lay_out

from orcac.errors import InputError
from orcac.spec.load import load
from orcac.spec.problems import Problem, SpecErrors
from orcac.spec.source import File, Tree, cut, merge, parse, put


def read(text: str, folder: Path) -> Tree:
    (folder / "spec.yaml").write_text(text)
    return parse(File(folder / "spec.yaml"), [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"orcac: 1\nname: \xff", "spec.yaml:2:7: not UTF-8"),
        (b"x: " + b"y" * (5 * 2**20), "larger than 4 MiB"),
        (b"[" * 10_000, "more than 50 levels deep"),
        (b"orcac: " + b"9" * 5_000, "`999999999999999999999999999999999999999999999999999999999...` is not a number"),
    ],
    ids=["not UTF-8", "huge", "deep", "long number"],
)
def test_a_hostile_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "spec.yaml")
    assert message in str(caught.value)


def test_a_file_of_too_many_values_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("- x\n" * 2000 + "]")  # the end is not YAML
    with pytest.raises(SpecErrors, match=r"spec.yaml:1000:3: the file holds more than 1,000 values"):
        parse(File(tmp_path / "spec.yaml"), [], max_values=1000)


@pytest.mark.filterwarnings("error")
def test_an_anchor_may_be_defined_twice(tmp_path: Path) -> None:
    edit = {"about: all of the language": "about: &a again", "name: sound": "name: &a sound"}
    assert load(lay_out({"edit": edit}, tmp_path)).base.spec.about == "again"


def test_a_folded_text_has_no_line_breaks(tmp_path: Path) -> None:
    assert read("a: >-\n  Think\n  step by step.", tmp_path).plain() == {"a": "Think step by step."}


def test_a_duplicate_key_is_a_problem_and_the_first_value_is_kept(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("a: 1\na: 2\n")
    problems: list[Problem] = []
    assert parse(File(tmp_path / "spec.yaml"), problems).plain() == {"a": 1}
    assert [problem.mark.line for problem in problems] == [2]


def test_a_map_is_located_at_its_key_and_a_missing_value_at_its_nearest_ancestor(tmp_path: Path) -> None:
    tree = read("a:\n  b: [x, y]\n", tmp_path)
    places = {path: (mark.line, mark.column) for path in PATHS for mark in [tree.locate(path)]}
    assert places == dict(zip(PATHS, [(1, 1), (2, 6), (2, 10), (1, 1)], strict=True))
    assert str(tree.locate(("a", "b"), key=True)).endswith("spec.yaml:2:3")


PATHS = (("a",), ("a", "b"), ("a", "b", 1), ("a", "c", "d"))


def test_equal_trees_have_values_of_equal_types(tmp_path: Path) -> None:
    tree = read("a: 1\n", tmp_path)
    assert tree.equals(read("{a: 1}", tmp_path))
    assert not tree.equals(read("a: 1.0", tmp_path)) and not tree.equals(read("a: true", tmp_path))


def test_merge_put_and_cut_leave_their_arguments_unchanged(tmp_path: Path) -> None:
    base, patch = read("a: {b: 1, c: 2}\nd: [1]\n", tmp_path), read("a: {b: null}\nd: [2]\n", tmp_path)
    assert merge(base, patch).plain() == {"a": {"c": 2}, "d": [2]}
    assert merge(base, patch, keep_nulls=True).plain() == {"a": {"b": None, "c": 2}, "d": [2]}
    assert put(base, ["a", "x", "y"], patch.at(["d"]), base.mark).plain() == {
        "a": {"b": 1, "c": 2, "x": {"y": [2]}},
        "d": [1],
    }
    assert cut(base, ("a", "b"), ("d",), ("e", "f")).plain() == {"a": {"c": 2}}
    assert base.plain() == {"a": {"b": 1, "c": 2}, "d": [1]}


def test_a_file_of_a_revision_is_named_with_it_and_normalized() -> None:
    file = File(Path("specs/tiny.yaml"), "HEAD~1").with_path(Path("specs/../a.yaml"))
    assert str(file) == "HEAD~1:a.yaml"
