"""Tests of orcac/make.py, orcac/cli/gc.py, orcac/cli/verify.py and Snakemake with an upstream, which is only read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import survey
from click.testing import CliRunner
from survey import MORE, SPEC

from orcac.chat.ledger.files import read_records
from orcac.cli import cli
from orcac.errors import InputError, StoreError
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.smk import find_study_folder
from orcac.spec.load import load
from orcac.store.store import Store


def list_tree(folder: Path) -> list[tuple[str, int, int, int]]:
    """Return (name, mode, size, time of change) of a folder and everything in it."""
    found = [(path, path.lstat()) for path in sorted([folder, *folder.rglob("*")])]
    return [(str(path), facts.st_mode, facts.st_size, facts.st_mtime_ns) for path, facts in found]


def set_modes(top: Path, folder: int, file: int) -> None:
    for path in [top, *top.rglob("*")]:
        path.chmod(folder if path.is_dir() else file)


def orcac(*arguments: str) -> str:
    return survey.orcac(*arguments).output


def read_plan(spec: Path) -> Plan:
    plan = Plan()
    lower(plan, load(spec))
    return plan


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with all nodes of SPEC."""
    folder = tmp_path_factory.mktemp("lab")
    return survey.make_all(folder)[1].root


@pytest.fixture
def lab(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A read-only copy of that store; the working folder is a study of MORE, whose upstream it is."""
    for name in ("ORCAC_STORE", "ORCAC_PLAN", "ORCAC_UPSTREAM", "ORCAC_TARGETS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "lab"
    shutil.copytree(made, folder)
    set_modes(folder, 0o555, 0o444)
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    Path("mine.yaml").write_text(MORE)
    Path("orcac.toml").write_text('upstream = "../lab"\n')
    yield folder
    set_modes(folder, 0o755, 0o644)


def test_a_study_is_made_from_an_upstream_that_nothing_writes_to_and_lives_on_without_it(lab: Path) -> None:
    before = list_tree(lab)
    assert f"3 of 6 nodes are used from the upstream {lab}" in orcac("compile", "mine.yaml")
    assert json.loads(orcac("cost", "mine.yaml", "--json"))
    orcac("plan", "mine.yaml", "--svg", "plan.svg")
    line = [sys.executable, "-m", "snakemake", "--snakefile", str(find_study_folder() / "Snakefile"), "--cores", "2"]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False)
    assert done.returncode == 0, done.stderr
    states = json.loads(orcac("status", "mine.yaml", "--json"))["states"]
    assert sorted(state["name"] for state in states.values()) == ["done"] * 3 + ["upstream"] * 3
    assert sorted(ref for ref, state in states.items() if state["name"] == "done") == Store(Path("store")).refs()
    asked = [record["at"] for record in read_records(Path("store/answers"))]
    assert len(asked) == 5 and set(asked) <= {record["at"] for record in read_records(lab / "answers")}
    assert orcac("status", "mine.yaml", "--once").split()[:3] == ["kind", "done", "upstream"]
    assert str(lab) in orcac("report", "mine.yaml")
    orcac("export", "--dataset", "all", "mine.yaml", "data")
    assert "expert" in Path("data/README.md").read_text()
    assert orcac("gc", "mine.yaml", "--delete") == "0 B removed\n"
    assert "6 of 6 artifacts are sound" in orcac("verify", "mine.yaml")
    assert list_tree(lab) == before

    lab.rename(lab.with_name("gone"))
    with pytest.raises(InputError, match=r"orcac\.toml:1: the upstream .*: there is no such folder"):
        orcac("run", "mine.yaml")
    Path("orcac.toml").write_text("")
    states = json.loads(orcac("status", "mine.yaml", "--json"))["states"]
    assert sorted(state["name"] for state in states.values()) == ["done"] * 3 + ["to do"] * 3
    assert "3 of 3 artifacts are sound" in orcac("verify")
    lab.with_name("gone").rename(lab)


def test_garbage_and_repairs_leave_the_upstream_alone(lab: Path) -> None:
    (ref,) = [f"collect/{path.name}" for path in (lab / "collect").iterdir()]
    set_modes(lab, 0o755, 0o644)
    (lab / ref / "responses.parquet").write_bytes(b"damaged")
    (lab / ref / "work").mkdir()
    (lab / ref / "half.part").write_text("")
    before = list_tree(lab)
    (Path("store") / ref / "work").mkdir(parents=True)
    (Path("store") / ref / "lease.lock").write_text("")
    result = CliRunner().invoke(cli, ["verify", "mine.yaml", "--repair"], standalone_mode=False)
    assert result.return_value == 1 and "its owner can repair it" in result.output
    Path("other.yaml").write_text(SPEC.replace("survey", "other").replace("[2, 4]", "[3, 4]"))
    shutil.copytree(lab / "answers", "store/answers")
    assert "12 answers would be forgotten" in orcac("answers", "forget", "--model", "expert", "--dry-run")
    assert "12 answers forgotten" in orcac("answers", "forget", "--model", "expert", "--remake")
    orcac("gc", "other.yaml", "--delete")
    assert list_tree(lab) == before


def test_a_node_with_a_damaged_input_in_the_upstream_is_not_made(lab: Path) -> None:
    plan = read_plan(Path("mine.yaml"))
    (collect, few) = [ref for ref in plan.nodes if ref.startswith("collect/")]
    set_modes(lab, 0o755, 0o644)
    for need in plan.nodes[few].needs:
        make(plan, Store(Path("store"), lab), need)
    (sample,) = [need for ref in plan.nodes[few].needs for need in plan.nodes[ref].needs]
    store = Store(Path("store"), lab)
    (lab / sample / "prompts.parquet").write_bytes(b"damaged")
    with pytest.raises(StoreError, match="is damaged"):
        make(plan, store, collect)
    assert not store.is_own(collect)


def test_make_makes_a_node_here_that_the_upstream_has(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The upstream may get it after Snakemake has begun, which then waits for a marker of its own."""
    plan, store = read_plan(Path("mine.yaml")), Store(Path("store"), lab)
    ref = next(ref for ref in plan.nodes if store.is_upstream(ref) and ref.startswith("sample/"))
    before = list_tree(lab)
    assert make(plan, store, ref) and store.is_own(ref) and list_tree(lab) == before
    assert f"{ref} is in {lab} as well" in capsys.readouterr().err
    assert store.artifact(ref)["files"] == Store(lab).artifact(ref)["files"]
