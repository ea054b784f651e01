"""The short form of benchmarks/verdicts.py, which simulates studies and compares them with orcac/stats/compare.py.

Its long form is in benchmarks/README.md.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def verdicts() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "verdicts.py"
    spec = importlib.util.spec_from_file_location("verdicts", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["verdicts"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def cell(verdicts: ModuleType, runs: int, arms: int, luck: float, **changes):
    return verdicts.Cell(
        **{
            "table": "grid",
            "items": 250,
            "discordance": 0.36,
            "bent": 0.4,
            "luck": (luck,) * 3,
            "runs": (runs,) * 3,
            "arms": arms,
            **changes,
        }
    )


def misses(verdicts: ModuleType, rows) -> tuple[int, int]:
    """Return the numbers of cells with too many wrong verdicts, and with too low a coverage."""
    null, studies = [row for row in rows if row.effect == 0], [row.studies for row in rows]
    return (
        verdicts.failures([row.wrong for row in null], [row.studies for row in null], 0.05, at_most=True),
        verdicts.failures([row.covered for row in rows], studies, 0.95, at_most=False),
    )


def test_verdicts_are_as_often_wrong_as_stated_and_the_power_is_as_computed(verdicts: ModuleType) -> None:
    cells = [cell(verdicts, 3, 4, 0.02), cell(verdicts, 2, 2, 0.01, discordance=0.1), cell(verdicts, 5, 2, 0.0)]
    rows = [row for each in cells for row in verdicts.run(each, 250)]
    assert misses(verdicts, rows) == (0, 0)
    assert verdicts.power_failures(rows, [verdicts.predicted(row.cell, row.effect) for row in rows]) == 0
    assert verdicts.run(cells[0], 20) == verdicts.run(cells[0], 20)


def test_the_power_of_a_claim_about_tasks_like_these_is_as_computed(verdicts: ModuleType) -> None:
    clustered = {"items": 2700, "average": "clustered", "task_effect": 0.06, "effects": (0.0, 0.03)}
    rows = verdicts.run(cell(verdicts, 3, 4, 0.01, **clustered), 250)
    assert misses(verdicts, rows) == (0, 0)
    assert verdicts.power_failures(rows, [verdicts.predicted(row.cell, row.effect) for row in rows]) == 0


def test_the_validation_notices_a_rule_that_is_wrong(verdicts: ModuleType) -> None:
    rows = verdicts.run(cell(verdicts, 1, 2, 0.03, items=1000), 250)  # one run each: items alone
    assert misses(verdicts, rows) == (1, 5)
    planned = verdicts.run(cell(verdicts, 3, 4, 0.0), 100)
    assert verdicts.power_failures(planned, [row.found / row.studies / 2 + 0.4 for row in planned]) > 0


def test_splits_of_students_that_differ_by_seed_alone(verdicts: ModuleType) -> None:
    rng = np.random.default_rng(0)
    students = (rng.random((20, 200)) < 0.5 + rng.normal(0, 0.05, (20, 1))).astype(float)
    found = verdicts.split(students, splits=400)
    assert found.wrong < 0.15 and 0 < found.error < 0.15  # a rule for items alone gives 32 %
    assert found.luck == pytest.approx(0.05, abs=0.03)


def test_results_survive_their_file(verdicts: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cells = [next(iter(part())) for part in verdicts.PARTS.values()]
    rows = [row for each in cells for row in verdicts.run(each, 2)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(verdicts.to_line(row) + "\n" for row in rows))
    assert verdicts.read(file) == rows
    verdicts.report(rows)
    assert "| coverage, 5 cells |" in capsys.readouterr().out
