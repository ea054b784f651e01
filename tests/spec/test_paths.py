"""Tests of orcac/spec/paths.py; broken paths are in broken/cases.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.spec.paths import FileSet, Finder, MissingFileError, substitute_variables
from orcac.spec.problems import Mark


def mark(folder: Path) -> Mark:
    return Mark(path="spec.yaml", folder=folder, line=1, column=1, length=1, source="")


def test_a_glob_is_relative_to_a_folder_whose_name_is_no_glob(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*"
    folder.mkdir()
    for name in ("x.jsonl", "y.jsonl", "z.csv"):
        (folder / name).touch()
    files = Finder().find_files([("*.jsonl", mark(folder)), ("y.jsonl", mark(folder))])
    assert files == FileSet(files=(folder / "x.jsonl", folder / "y.jsonl"))


def test_a_file_that_may_come_later_is_absent(tmp_path: Path) -> None:
    finder, written = Finder(), [("no.jsonl", mark(tmp_path)), ("hf://o/n@v1/x.parquet", mark(tmp_path))]
    with pytest.raises(MissingFileError):
        finder.find_files(written)
    files = finder.find_files(written, later=True)
    assert files.absent == ("no.jsonl",) and files.why.startswith("`no.jsonl` does not exist")
    assert [(ref.repo, ref.revision, ref.path) for ref in files.hub] == [("o/n", "v1", "x.parquet")]


def test_a_model_directory_has_all_files_but_the_hidden_ones(tmp_path: Path) -> None:
    for name in ("config.json", "sub/weights.bin", ".cache/times"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).touch()
    model = Finder().find_model("m", mark(tmp_path))
    assert model.root == tmp_path / "m"
    assert [path.relative_to(tmp_path / "m").as_posix() for path in model.files] == ["config.json", "sub/weights.bin"]


def test_variables_are_substituted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_HERE", "/data")
    monkeypatch.delenv("ORCAC_UNSET", raising=False)
    assert substitute_variables("${ORCAC_HERE}/$x/{y}") == "/data/$x/{y}"
    with pytest.raises(MissingFileError, match="ORCAC_UNSET is not set"):
        substitute_variables("${ORCAC_UNSET}")
