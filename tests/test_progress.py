"""The progress file: what others read of a node, and never a reason for it to fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcac import progress
from orcac.progress import Progress


def test_the_file_says_what_the_line_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    path = tmp_path / "progress.json"
    shown = Progress(label="a", total=100, unit="steps", path=path)
    shown.update(40)  # resumed: those say nothing of the rate
    first = json.loads(path.read_text())
    assert (first["done"], first["rate"], first["eta_seconds"], first["usd"]) == (40, None, None, None)
    now[0] += 0.5
    shown.update(45)
    assert json.loads(path.read_text()) == first, "written before it was due"
    now[0] += 1.5
    shown.update(50, "loss 1.2", usd=0.25)
    record = json.loads(path.read_text())
    assert {key: record[key] for key in record if key != "at"} == {
        "done": 50, "total": 100, "unit": "steps", "rate": 5.0, "eta_seconds": 10.0, "note": "loss 1.2", "usd": 0.25,
    }  # fmt: skip
    shown.update(100)
    assert json.loads(path.read_text())["done"] == 100, "the end is written, due or not"
    assert [file.name for file in tmp_path.iterdir()] == ["progress.json"]


def test_a_file_that_cannot_be_written_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    Progress(label="a", total=1, unit="steps", path=tmp_path / "file" / "progress.json").update(1)
    assert "1/1 steps" in capsys.readouterr().err
