"""Tests of orcac/make.py: a node is found by a beginning of its id and made once, and its errors are recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.plan.state import read_state
from orcac.sample import run as sample_run
from orcac.spec.load import load
from orcac.store.store import Store

SPECS = Path(__file__).parents[1] / "specs"


@pytest.fixture
def plan() -> Plan:
    made = Plan()
    lower(made, load(SPECS / "smoke.yaml"))
    return made


def test_a_beginning_of_an_id_names_the_node_itself(plan: Plan, tmp_path: Path) -> None:
    store, ref = Store(tmp_path), next(ref for ref in plan.nodes if ref.startswith("sample/"))
    assert make(plan, store, ref)
    written = (store.folder(ref) / "prompts.parquet").stat().st_ino
    assert not make(plan, store, ref[:15])
    assert (store.folder(ref) / "prompts.parquet").stat().st_ino == written
    assert [folder.name for folder in (tmp_path / "sample").iterdir()] == [ref.partition("/")[2]]


@pytest.mark.parametrize(("ref", "message"), [("sample/", "nodes begin so"), ("../../etc", "no such node")])
def test_a_name_of_several_nodes_or_of_none_is_refused(plan: Plan, tmp_path: Path, ref: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(plan, Store(tmp_path), ref)
    assert not list(tmp_path.iterdir())


def test_a_missing_torch_is_an_error_that_names_the_package(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(job: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(sample_run, "run", run)
    store, ref = Store(tmp_path), next(ref for ref in plan.nodes if ref.startswith("sample/"))
    with pytest.raises(InputError, match="needs torch"):
        make(plan, store, ref)
    assert read_state(store, ref).exit_code == 2


def test_a_new_try_clears_the_error_of_an_earlier_one(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ref = Store(tmp_path), next(ref for ref in plan.nodes if ref.startswith("sample/"))
    store.folder(ref).mkdir(parents=True)
    store.record_error(ref, "the reason of the first try", 1)

    def run(job: object) -> None:
        assert not read_state(store, ref).error
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_run, "run", run)
    with pytest.raises(KeyboardInterrupt):
        make(plan, store, ref)
    assert read_state(store, ref).name == "partial"
