"""Tests of orcac/filter/funnel.py: every answer is counted once, by each column with several values."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac import rows
from orcac.errors import StoreError
from orcac.filter import funnel
from orcac.filter.funnel import Funnel, count_funnels


def write(folder: Path, *fates: tuple[str, int, str, str]) -> Path:
    """Write the tables of a filter: (task, system message, error, reason) of each row, "" and "" of a kept one."""
    made = [
        rows.Rejected(
            id=f"{n:020x}", source="s", task=task, query=f"q{n}", system_id=system, system="", teacher="m",
            response="" if error else "so", finish_reason="" if error else "stop", error=error, reason=reason,
        )
        for n, (task, system, error, reason) in enumerate(fates)
    ]  # fmt: skip
    rows.write(folder / "kept.parquet", rows.Response, [row for row in made if not row.reason])
    rows.write(folder / "rejected.parquet", rows.Rejected, [row for row in made if row.reason])
    return folder


def test_answers_are_counted_by_task_and_by_system_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(funnel, "_BATCH", 2)  # so that a value is in several batches
    fates = [("a", 1, "", ""), ("b", 2, "timeout", "timeout"), ("b", 1, "", "too short"), ("b", 2, "", ""),
             ("b", 2, "", "too short"), ("b", 1, "", "duplicate")]  # fmt: skip
    found = count_funnels(write(tmp_path, *fates))
    assert found == (
        Funnel(by="task", name="b", asked=5, answered=4, kept=1, rejected={"duplicate": 1, "too short": 2}),
        Funnel(by="task", name="a", asked=1, answered=1, kept=1, rejected={}),
        Funnel(by="system message", name="1", asked=3, answered=3, kept=1, rejected={"duplicate": 1, "too short": 1}),
        Funnel(by="system message", name="2", asked=3, answered=2, kept=1, rejected={"too short": 1}),
    ), "the teacher is one"
    assert found[0].lost == {"duplicate": 1, "too short": 2, "failed": 1}


def test_many_values_are_summed_up_and_none_is_lost(tmp_path: Path) -> None:
    fates = [(f"task {n}", 1, "", "" if n % 2 else "too long") for n in range(100)]
    found = count_funnels(write(tmp_path, *fates))
    assert len(found) == 17 and found[-1].name == "84 others"
    assert sum(one.asked for one in found) == 100 and sum(one.kept for one in found) == 50
    assert all(not one.kept for one in found[:-1]), "those that lose most come first"


def test_a_filter_of_one_task_has_no_funnels_and_a_damaged_table_is_named(tmp_path: Path) -> None:
    assert count_funnels(write(tmp_path, ("a", 1, "", ""), ("a", 1, "", "too short"))) == ()
    assert count_funnels(write(tmp_path, ("a", 1, "", ""))) == (), "an empty table"
    (tmp_path / "kept.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"kept\.parquet: cannot be read"):
        count_funnels(tmp_path)
