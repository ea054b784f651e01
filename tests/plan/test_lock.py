"""Tests of orcac/plan/lock.py: an id that moves is refused with its cause, and specs keep their golden locks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orcac import kinds
from orcac.errors import InputError, PinError
from orcac.kinds import KINDS
from orcac.plan.lock import check_pins, format_lock, lock_path, write_lock
from orcac.plan.lower import lower
from orcac.plan.plan import BASELINES, Plan
from orcac.spec.load import load

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "pinned",
    "queries": {"q": {"format": "jsonl", "path": "q.jsonl", "fields": {"query": "q"}}},
    "teachers": {"t": {"model": "expert", "endpoint": {"kind": "solver"}}},
    "datasets": {"d": {"teacher": "t", "queries": ["q"]}},
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["d"]}},
    "stages": {"s": {"dataset": "d"}},
    "curriculum": ["s"],
    "ablations": {"twice": {"stages": {"s": {"epochs": 8}}}},
}


def compiled(path: Path) -> Plan:
    plan = Plan()
    lower(plan, load(path))
    return plan


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "q.jsonl").write_text('{"q": "1 + 1?"}\n')
    path = tmp_path / "pinned.yaml"
    path.write_text(json.dumps(SPEC))
    plan = compiled(path)
    write_lock(lock_path(path), format_lock(plan, plan.experiments["pinned"]))
    return path


def check(path: Path) -> None:
    plan = compiled(path)
    (experiment,) = plan.experiments.values()
    check_pins(plan, experiment, lock_path(path))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(SPEC | changes))


@pytest.mark.parametrize("name", ["tiny", "ingredients", "smoke", "orca-13b"])
def test_a_shipped_spec_keeps_its_golden_lock(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An intended change of ids raises a VERSION if one is due; then `orcac pin` writes the lock to copy here."""
    for variable in ("ORCAC_DATA", "EVAL"):
        monkeypatch.delenv(variable, raising=False)
    plan = compiled(ROOT / "specs" / f"{name}.yaml")
    (experiment,) = plan.experiments.values()
    assert format_lock(plan, experiment) == (GOLDEN / f"{name}.lock").read_text()


def test_a_label_and_a_new_arm_may_change(spec: Path) -> None:
    check(spec)
    edit(spec, about="other words", ablations=SPEC["ablations"] | {"once": {"stages": {"s": {"epochs": 1}}}})
    check(spec)


def test_a_field_that_moves_an_id_is_named_and_the_nodes_made_from_it_are_counted(spec: Path) -> None:
    edit(spec, filters={"min_characters": 9})
    with pytest.raises(PinError) as caught:
        check(spec)
    assert caught.value.exit_code == 3
    text = str(caught.value)
    assert "base: filter/d (filter/" in text
    assert "min_characters (default) -> 9" in text
    assert "4 more moved because they are made from these" in text  # the student, the rows, and a training in each arm
    assert "orcac pin" in caught.value.fix


def test_a_lock_from_before_all_rows_were_asked_alike_is_explained_in_words(tmp_path: Path) -> None:
    benchmark = {"format": "puzzles", "task": "navigate", "size": [3, 5], "take": 9, "temperature": 0.2}
    path = tmp_path / "asked.yaml"
    asked = {"name": "asked", "baselines": ["t"], "benchmarks": {"b": benchmark}}
    path.write_text(json.dumps({"orcac": 1, "teachers": SPEC["teachers"]} | asked))
    plan = compiled(path)
    text = format_lock(plan, plan.experiments["asked"])
    lock = json.loads(text)  # as it was then: the teacher's temperature, and the items as asked under another address
    replies, items = (lock["arms"][BASELINES][address] for address in ("replies/t/b", "items/b"))
    lock["nodes"]["collect/old"] = lock["nodes"][replies] | {"recipe": {"sampling": {"temperature": 0.9}}}
    lock["arms"][BASELINES] |= {"replies/t/b": "collect/old", "asked/b": items}
    write_lock(lock_path(path), json.dumps(lock))
    with pytest.raises(PinError) as caught:
        check(path)
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("  orcac now asks baselines as it asks students")
    assert "`orcac pin --keep` cannot keep" in str(caught.value)
    assert "sampling.temperature 0.9 -> 0.2" in str(caught.value) and "asked/b" not in str(caught.value)
    lock["arms"][BASELINES] = {"replies/t/b": "collect/old"}  # a newer lock of an edited spec
    write_lock(lock_path(path), json.dumps(lock))
    with pytest.raises(PinError, match=r"pinned id moved\n  .baselines.: replies/t/b"):
        check(path)


def test_a_data_file_that_changed_is_named(spec: Path) -> None:
    (spec.parent / "q.jsonl").write_text('{"q": "1 + 2?"}\n')
    with pytest.raises(PinError, match=r"queries/d/q .*source\.files\[0\]\.sha256"):
        check(spec)


def test_a_version_that_was_raised_is_named(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = kinds.Kind("tokenize", 7, KINDS["tokenize"].recipe, KINDS["tokenize"].execution)
    monkeypatch.setitem(KINDS, "tokenize", raised)
    with pytest.raises(PinError, match=r"VERSION of `tokenize` 2 -> 7"):
        check(spec)


def test_an_arm_and_a_stage_that_are_gone_are_named(spec: Path) -> None:
    edit(spec, ablations={})
    with pytest.raises(PinError, match=r"the arm twice is no longer in the spec"):
        check(spec)
    edit(spec, stages={"other": {"dataset": "d"}}, curriculum=["other"], ablations={"twice": {"seed": 1}})
    with pytest.raises(PinError, match=r"train/s .*is no longer in the spec"):
        check(spec)


NODE = '{"format": 1, "arms": {"base": {"train/s": "train/1"}}, "nodes": {"train/1": %s}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"format": 1, "arms": {"base": {"train/s": "train/1"}}, "nodes": {}}',
        NODE % '{"identity": 1, "version": 1, "recipe": {}, "inputs": []}',
        NODE % '{"identity": 1, "version": 1, "recipe": {}, "inputs": {"rows": 3}}',
        NODE % '{"identity": 1, "version": 1, "recipe": [], "inputs": {}}',
    ],
)
def test_a_damaged_lock_is_an_error_with_a_fix(spec: Path, text: str) -> None:
    lock_path(spec).write_text(text)
    with pytest.raises(InputError, match="not a lock, or it is damaged") as caught:
        check(spec)
    assert caught.value.fix


def test_a_dangling_link_in_place_of_a_lock_is_refused(spec: Path) -> None:
    lock_path(spec).unlink()
    lock_path(spec).symlink_to("nowhere")
    with pytest.raises(InputError, match="cannot be read"):
        check(spec)


def test_replicates_move_no_pin_until_they_are_pinned_themselves(spec: Path) -> None:
    edit(spec, replicates=3)
    check(spec)
    plan = compiled(spec)
    write_lock(lock_path(spec), format_lock(plan, plan.experiments["pinned"]))
    edit(spec, replicates=5)
    check(spec)
    edit(spec, replicates=2)
    with pytest.raises(PinError, match=r"train/s#2 .* is no longer in the spec"):
        check(spec)
