"""Tests of orcac/cli/push.py, orcac/cli/pull.py and orcac/cli/transfer.py: what the commands choose and print."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import survey
from click.testing import CliRunner
from survey import orcac

from orcac.chat.ledger.files import read_records
from orcac.cli import cli
from orcac.errors import InputError
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store

SPEC = survey.SPEC.replace("take: 12", "take: 8") + "ablations: {fewer: {queries: {counting: {take: 5}}}}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which the base of SPEC is made, and its arm is not."""
    folder = tmp_path_factory.mktemp("mine")
    plan, store = survey.lay_out(folder, SPEC)
    survey.make_nodes(plan, store, plan.closure(plan.experiments["survey"].arms["base"]))
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ORCAC_STORE", "ORCAC_PLAN", "ORCAC_UPSTREAM"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(made, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path


def test_a_colleague_gets_all_and_asks_nothing(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert orcac("push", "../lab", "mine.yaml", "--dry-run").output.startswith(
        "would be pushed to ../lab: 3 artifacts ("
    )
    assert not Path("../lab").exists()
    text = orcac("push", "../lab", "mine.yaml").output
    assert "pushed to ../lab: 3 artifacts (" in text and "8 answers; 3 are not made" in text
    assert "0 artifacts (0 B), 0 answers; 3 artifacts were there already" in orcac("push", "../lab", "mine.yaml").output
    (study / "yours").mkdir()
    monkeypatch.chdir(study / "yours")
    shutil.copy("../mine/mine.yaml", ".")
    assert "would be pulled from ../lab: 3 artifacts (" in orcac("pull", "../lab", "mine.yaml", "-n").output
    assert not Path("store").exists()
    assert "pulled from ../lab: 3 artifacts (" in orcac("pull", "../lab", "mine.yaml").output
    assert "3 of 3 artifacts are sound" in orcac("verify").output
    plan, store = Plan(), Store(Path("store"))
    lower(plan, load(Path("mine.yaml")))
    for ref in plan.nodes:
        make(plan, store, ref)
    assert len([*read_records(store.answers)]) == 8, "the arm's five questions are among them"


def test_arms_and_kinds_are_chosen(study: Path) -> None:
    found = json.loads(orcac("push", "../lab", "mine.yaml:fewer", "--json").output)
    assert found["artifacts"]["sent"] == {} and len(found["artifacts"]["missing"]) == 3
    assert found["place"] == "../lab" and found["answers"] == {"sent": 8, "refused": 0, "damaged": []}
    found = json.loads(orcac("push", "../lab", "mine.yaml:base", "--only", "artifacts", "--json").output)
    assert len(found["artifacts"]["sent"]) == 3 and "answers" not in found
    found = json.loads(orcac("pull", "../lab", "--only", "answers", "--json").output)
    assert found["answers"]["sent"] == 0 and "artifacts" not in found
    with pytest.raises(InputError, match="no arm `more`"):
        orcac("push", "../lab", "mine.yaml:more")
    Path("other.yaml").write_text(SPEC.replace("model: expert", "model: assistant"))
    assert json.loads(orcac("push", "../lab2", "other.yaml", "--json").output)["answers"]["sent"] == 0


def test_damage_at_the_place_is_named_and_the_rest_comes(study: Path) -> None:
    orcac("push", "../lab")
    (path,) = Path("../lab").glob("collect/*/responses.parquet")
    path.write_bytes(b"x")
    shutil.rmtree("store")
    result = orcac("pull", "../lab")
    assert result.return_value == 1 and f"refused: {path}: has another size or digest" in result.output
    assert "pulled from ../lab: 2 artifacts (" in result.output
    found = json.loads(orcac("pull", "../lab", "--json").output)
    assert [*found["artifacts"]["refused"]] == [f"collect/{path.parent.name}"] and len(
        found["artifacts"]["present"]
    ) == 2


def test_a_folder_that_is_not_a_store_is_not_pulled_from(study: Path) -> None:
    for address in ("../nowhere", ".."):
        with pytest.raises(InputError, match="holds no artifacts and no answers"):
            orcac("pull", address)


def test_a_password_in_an_address_is_not_printed(study: Path) -> None:
    pytest.importorskip("fsspec")
    for verb in ("push", "pull"):
        result = CliRunner().invoke(cli, [verb, "http://me:hunter2@127.0.0.1:1/store"], standalone_mode=False)
        text = f"{result.output} {result.exception}"
        assert "127.0.0.1" in text and "hunter2" not in text
    assert not [path for path in study.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
