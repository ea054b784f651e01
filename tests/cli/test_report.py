"""Tests of orcac/cli/report.py: tables and pages of finished reports, and an error for one that is not made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from orcac.cli import cli
from orcac.errors import OrcacError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.report.results import Results, to_json
from orcac.report.wording import NOTHING_MEASURED
from orcac.spec.load import load
from orcac.store.store import Store

SPEC = Path(__file__).parents[2] / "specs" / "smoke.yaml"
RESULTS = Results(
    title="smoke",
    about="",
    base="base",
    all_at_chance=False,
    benchmarks=(),
    arms=(),
    flows=(),
    packings=(),
    teachers=(),
    curves=(),
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    plan = Plan()
    lower(plan, load(SPEC))
    plan.write(tmp_path / "plan.json")
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


def test_a_finished_report_is_printed_as_a_table_or_as_json(store: Store) -> None:
    ((name, experiment),) = Plan.read(store.root.parent / "plan.json").experiments.items()
    out = store.folder(experiment.report) / "work" / "out"
    out.mkdir(parents=True)
    (out / "results.json").write_text(to_json(RESULTS))
    with store.lease(experiment.report):
        store.publish(experiment.report, out, {"summary": {}})
    table = CliRunner().invoke(cli, ["report", str(SPEC)], standalone_mode=False).output
    page = store.folder(experiment.report) / "report.html"
    assert table == f"{NOTHING_MEASURED}\n\nreport    {page}\n  open    {page.as_uri()}\n"
    output = CliRunner().invoke(cli, ["report", str(SPEC), "--json"], standalone_mode=False).output
    assert json.loads(output) == {name: json.loads(to_json(RESULTS))}


def test_a_report_that_is_not_made_is_an_error_with_a_fix(store: Store) -> None:
    result = CliRunner().invoke(cli, ["report", str(SPEC)], standalone_mode=False)
    assert isinstance(result.exception, OrcacError) and "orcac run" in result.exception.fix
