"""Tests of orcac/recipe.py and orcac/kinds.py: the base types of recipes, local files, and the table of kinds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.kinds import KINDS
from orcac.recipe import Execution, FileRef, Frozen, Recipe, resolve_file

ROOT = Path(__file__).parents[1]


class Numbers(Frozen):
    value: float = 0.0


def test_a_frozen_value_refuses_unknown_keys_infinity_and_change() -> None:
    for values in ({"other": 1}, {"value": float("nan")}, {"value": float("inf")}):
        with pytest.raises(ValidationError):
            Numbers.model_validate(values)
    with pytest.raises(ValidationError):
        Numbers().value = 2.0  # type: ignore[misc]


def test_a_digest_reports_the_bytes_that_it_has_read(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"w" * 2_500_000)
    counts: list[int] = []
    assert file_digest(path, counts.append) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(counts) == 2_500_000 and max(counts) <= 1 << 20


def test_a_file_resolves_while_its_content_is_the_compiled_one(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("{}")
    ref = FileRef(name="q.jsonl", sha256=file_digest(path))
    execution = Execution(files={ref.sha256: str(path)})
    assert resolve_file(ref, execution) == path
    path.write_text("[]")
    with pytest.raises(InputError, match="its content changed since the spec was compiled"):
        resolve_file(ref, execution)
    path.unlink()
    with pytest.raises(InputError, match="the file is gone"):
        resolve_file(ref, execution)


def test_every_kind_has_a_package_a_rule_and_types_of_its_own() -> None:
    assert KINDS.keys() == {path.stem for path in (ROOT / "rules").glob("*.smk")}
    for name, kind in KINDS.items():
        assert (ROOT / "orcac" / name / "run.py").is_file()
        assert kind.name == name and kind.version >= 1
        assert issubclass(kind.recipe, Recipe) and issubclass(kind.execution, Execution)
        assert kind.recipe.__module__ == f"orcac.{name}.recipe"
    assert callable(KINDS["sample"].load_run())
