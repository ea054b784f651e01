"""Tests of orcac/plan/upgrade.py, orcac/cost/outdated.py and the commands that use them, such as orcac/cli/pin.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orcac import kinds
from orcac.chat import settings
from orcac.cli import cli
from orcac.errors import InputError, PinError
from orcac.kinds import KINDS
from orcac.make import make
from orcac.plan import asking
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.plan.upgrade import find_older, find_unreplaced, keep, list_outdated
from orcac.spec.load import load
from orcac.store.store import Store

SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "study",
    "queries": {
        "q": {"format": "puzzles", "task": "navigate", "size": [2, 3], "take": 9},
        "r": {"format": "puzzles", "task": "web_of_lies", "size": [2, 3], "take": 9},
    },
    "teachers": {"t": {"model": "expert", "endpoint": {"kind": "solver"}}},
    "datasets": {"d": {"teacher": "t", "queries": ["q"]}, "e": {"teacher": "t", "queries": ["r"]}},
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["d"]}},
    "stages": {"s": {"dataset": "d"}, "t": {"dataset": "e"}},
    "curriculum": ["s", "t"],
    "ablations": {"twice": {"stages": {"t": {"epochs": 8}}}},
}


SUMMARIES = {  # the fields that prices are measured by
    "sample": {"read": 9, "kept": 9, "tasks": 1, "characters": 900},
    "collect": {"prompts": 9, "answered": 9, "failed": {}, "input_tokens": 90, "output_tokens": 900, "usd": 0.0},
    "filter": {"read": 9, "kept": 9, "rejected": {}},
    "student": {"parameters": 800_000, "vocabulary": 400},
    "tokenize": {
        "examples": 9,
        "packed": 9,
        "too_long": 0,
        "rows": 1,
        "tokens": 900,
        "supervised_tokens": 500,
        "max_length": 2048,
        "fill": 0.5,
    },
    "train": {
        "steps": 4,
        "tokens": 900,
        "supervised_tokens": 500,
        "first_loss": 6.0,
        "final_loss": 5.0,
        "tokens_per_second": 900,
        "mfu": None,
        "mfu_of": "",
        "peak_gib": 0.1,
        "processes": 1,
    },
}


def compiled(spec: Path) -> Plan:
    plan = Plan()
    lower(plan, load(spec))
    return plan


def finish(plan: Plan, store: Store, *kinds: str) -> None:
    """Put an artifact without files into the store for every node of the plan, or those of some kinds."""
    for node in plan.nodes.values():
        if not kinds or node.kind in kinds:
            folder = store.folder(node.ref)
            folder.mkdir(parents=True, exist_ok=True)
            record = {
                **node.content,
                "ref": node.ref,
                "label": node.label,
                "recipe": node.recipe.model_dump(mode="json"),
                "summary": SUMMARIES.get(node.kind, {}),
                "made": {"seconds": 1.0},
                "hardware": node.execution.model_dump(mode="json"),
                "files": {},
            }
            (folder / "artifact.json").write_text(json.dumps(record))


def raise_version(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    kind = KINDS[name]
    monkeypatch.setitem(KINDS, name, kinds.Kind(name, kind.version + 1, kind.recipe, kind.execution))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Store]:
    """A spec, and a store in which all of it is made."""
    monkeypatch.chdir(tmp_path)
    spec, store = tmp_path / "study.yaml", Store(tmp_path / "store")
    spec.write_text(json.dumps(SPEC))
    finish(compiled(spec), store)
    return spec, store


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done.output


def test_without_an_upgrade_nothing_is_outdated(study: tuple[Path, Store]) -> None:
    spec, store = study
    plan = compiled(spec)
    older = find_older(plan, store)
    assert list_outdated(plan, older, store) == [] and keep(plan, {"study": older}, store) is plan
    spec.write_text(json.dumps(SPEC | {"filters": {"min_characters": 7}}))  # an edit, not an upgrade
    plan = compiled(spec)
    assert list_outdated(plan, find_older(plan, store), store) == []


@pytest.mark.parametrize("name", ["filter", "collect", "tokenize", "train", "sample"])
def test_all_that_follows_a_raised_version_is_outdated_and_can_be_kept(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spec, store = study
    before = compiled(spec)
    raise_version(monkeypatch, name)
    plan = compiled(spec)
    older = find_older(plan, store)
    found = list_outdated(plan, older, store)
    moved = [ref for ref in plan.nodes if ref not in before.nodes]
    assert [item.ref for item in found] == moved
    assert {item.ref.partition("/")[0] for item in found if item.cause} == {name}
    assert {item.cause for item in found} <= {"", f"VERSION {KINDS[name].version - 1} (now {KINDS[name].version})"}
    assert not any(item.is_replaced for item in found)
    kept = keep(plan, {"study": older}, store)
    assert list(kept.nodes) == list(before.nodes)
    assert kept.experiments["study"] == before.experiments["study"]
    assert find_unreplaced(plan, older, store) >= {item.older for item in found}
    path = spec.with_name("plan.json")
    kept.write(path)
    assert list(Plan.read(path).nodes) == list(before.nodes)


BENCHMARK = {"format": "puzzles", "task": "navigate", "size": [2, 3], "take": 9}


def test_evaluations_of_version_1_are_no_garbage_until_their_answers_are_taken_over(study: tuple[Path, Store]) -> None:
    spec, store = study
    spec.write_text(json.dumps(SPEC | {"benchmarks": {"b": BENCHMARK}, "ablations": {}}))
    plan = compiled(spec)
    finish(plan, store, *(KINDS.keys() - {"eval", "score", "report"}))
    (node,) = (node for node in plan.nodes.values() if node.kind == "eval")
    ordinary, capital = node.execution.earlier
    for ref in (ordinary, capital):
        store.folder(ref).mkdir(parents=True)
        store.marker(ref).write_text(json.dumps({"ref": ref, "label": "", "files": {}}))
    assert find_unreplaced(plan, find_older(plan, store), store) == {ordinary, capital}
    assert ordinary not in run("gc", "study.yaml", "--json") and capital not in run("gc", "study.yaml", "--json")
    assert "remakes" not in run("compile", "study.yaml"), "nothing is generated again"
    finish(plan, store, "eval")
    assert ordinary in run("gc", "study.yaml", "--json")


def test_a_kept_stage_has_the_evaluations_that_version_1_made_of_it(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = study
    spec.write_text(json.dumps(SPEC | {"benchmarks": {"b": BENCHMARK}, "ablations": {}}))
    before = compiled(spec)
    finish(before, store, *(KINDS.keys() - {"eval", "score", "report"}))
    raise_version(monkeypatch, "train")
    plan = compiled(spec)
    kept = keep(plan, {"study": find_older(plan, store)}, store)
    (of_kept, of_old, of_new) = (
        next(node.execution.earlier for node in each.nodes.values() if node.kind == "eval")
        for each in (kept, before, plan)
    )
    assert of_kept == of_old != of_new


def test_a_rule_that_a_recipe_holds_is_named(study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, store = study
    monkeypatch.setattr(asking, "SOLVER_VERSION", settings.SOLVER_VERSION + 1)
    plan = compiled(spec)
    causes = {item.cause for item in list_outdated(plan, find_older(plan, store), store)}
    assert causes == {"", f"solver_version {settings.SOLVER_VERSION} (now {settings.SOLVER_VERSION + 1})"}


def test_compile_says_what_an_upgrade_remakes_and_pins_keep_it(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = study
    raise_version(monkeypatch, "filter")
    printed = run("compile", "study.yaml")
    assert "2 filter nodes were made by VERSION 1 (now 2)" in printed
    assert "remakes 8 nodes and retrains 2 students: " in printed and ", 0 USD" in printed
    assert "`orcac pin --keep study.yaml`" in printed
    for command in (["report", "study.yaml"], ["export", "study.yaml", "student"]):
        assert "2 filter nodes were made by VERSION 1 (now 2)" in run(*command, code=1)
    assert "nothing to remove" in run("gc", "study.yaml"), "no artifact is replaced yet"
    run("pin", "--keep", "study.yaml")
    printed = run("compile", "study.yaml")
    assert "kept as pinned, though an older VERSION made them: 2 filter" in printed and "retrains" not in printed
    assert "to do" not in run("plan", "study.yaml")
    run("pin", "study.yaml")  # accepts today's
    assert "retrains 2 students" in run("compile", "study.yaml")
    plan = compiled(spec)
    finish(plan, store)
    assert "retrains" not in run("compile", "study.yaml")
    assert "artifact" in run("gc", "study.yaml"), "all is replaced"


def test_a_kept_artifact_that_is_gone_is_not_made_by_the_new_version(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = study
    raise_version(monkeypatch, "filter")
    plan = compiled(spec)
    kept = keep(plan, {"study": find_older(plan, store)}, store)
    ref = next(ref for ref, node in kept.nodes.items() if node.version is not None)
    store.marker(ref).rename(store.folder(ref) / "complete.json")  # as after `snakemake --forceall`
    assert set(keep(plan, {"study": find_older(plan, store)}, store).nodes) == set(kept.nodes)
    assert not make(kept, store, ref) and store.is_done(ref), "the twin of its marker serves"
    (store.folder(ref) / "complete.json").write_text("{")
    store.marker(ref).unlink()
    with pytest.raises(InputError, match="made by VERSION 1 of `filter`, which this orcac cannot make again"):
        make(kept, store, ref)


def test_a_run_that_was_stopped_halfway_still_knows_what_it_would_replace(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = study
    before = compiled(spec)
    raise_version(monkeypatch, "filter")
    plan = compiled(spec)
    finish(plan, store, "filter")  # the inputs come first, so all nodes that name the cause are replaced
    printed = run("compile", "study.yaml")
    assert "2 filter nodes were made by VERSION 1 (now 2)" in printed
    assert "remakes 6 nodes and retrains 2 students: " in printed
    assert "nothing to remove" in run("gc", "study.yaml")
    run("pin", "--keep", "study.yaml")
    assert "kept as pinned, though an older VERSION made them: 2 filter" in run("compile", "study.yaml")
    older = find_older(plan, store)
    kept = keep(plan, {"study": older}, store)
    assert set(kept.nodes) == set(before.nodes)
    found = list_outdated(plan, older, store)
    assert {item.ref for item in found if item.is_replaced} == {ref for ref in plan.nodes if ref.startswith("filter/")}


def test_what_nothing_of_today_replaced_is_kept_over_two_upgrades(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = study
    before = compiled(spec)
    raise_version(monkeypatch, "filter")
    finish(compiled(spec), store, "filter")  # and nothing more
    raise_version(monkeypatch, "filter")
    plan = compiled(spec)
    assert find_unreplaced(plan, find_older(plan, store), store) >= set(before.nodes) - set(plan.nodes)
    assert "remakes 8 nodes and retrains 2 students" in run("compile", "study.yaml")


def test_the_newest_artifacts_are_kept_and_not_those_that_they_replaced(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = study
    raise_version(monkeypatch, "filter")
    second = compiled(spec)
    finish(second, store)
    raise_version(monkeypatch, "train")
    plan = compiled(spec)
    older = find_older(plan, store)
    assert set(keep(plan, {"study": older}, store).nodes) == set(second.nodes)
    now = KINDS["train"].version
    causes = {item.cause for item in list_outdated(plan, older, store) if item.cause}
    assert causes == {f"VERSION {now - 1} (now {now})"}


def test_a_lock_binds_its_own_spec_alone(study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, _ = study
    spec.with_name("other.yaml").write_text(json.dumps(SPEC | {"name": "other", "budget": 1}))  # of the same nodes
    run("pin", "study.yaml")
    raise_version(monkeypatch, "filter")
    alone = run("compile", "other.yaml")
    both = run("compile", "study.yaml", "other.yaml")
    for printed in (alone, both):
        assert "2 filter nodes were made by VERSION 1 (now 2)" in printed and "retrains 2 students" in printed
    assert "kept as pinned, though an older VERSION made them: 2 filter" in both
    run("pin", "other.yaml")  # today's ids, of nodes whose older ids the other spec pins
    run("compile", "study.yaml", "other.yaml")
    plan = Plan.read(Path("build/plan.json"))
    versions = {
        name: plan.nodes[item.addresses["base"]["filter/d"]].content["version"]
        for name, item in plan.experiments.items()
    }
    assert versions == {"study": 1, "other": 2}


def test_what_was_made_from_a_pinned_artifact_that_is_lost_stays(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = study
    run("pin", "study.yaml")
    lost = compiled(spec).experiments["study"].addresses["base"]["filter/d"]
    raise_version(monkeypatch, "filter")
    store.marker(lost).unlink()
    assert "12 done" in run("compile", "study.yaml")
    assert "nothing to remove" in run("gc", "study.yaml")
    arms = SPEC["ablations"] | {"thrice": {"stages": {"t": {"epochs": 9}}}}
    spec.write_text(json.dumps(SPEC | {"ablations": arms}))
    with pytest.raises(InputError, match=f"{lost} was made by VERSION 1 of `filter`, which this orcac cannot make"):
        CliRunner().invoke(cli, ["run", "study.yaml"], catch_exceptions=False)


def test_the_fix_of_a_moved_pin_keeps_what_an_older_version_made(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _ = study
    run("pin", "study.yaml")
    raise_version(monkeypatch, "filter")
    spec.write_text(json.dumps(SPEC | {"stages": {"s": {"dataset": "d"}, "t": {"dataset": "e", "epochs": 2}}}))
    with pytest.raises(PinError) as caught:
        CliRunner().invoke(cli, ["compile", "study.yaml"], catch_exceptions=False)
    assert "`orcac pin --keep study.yaml`" in caught.value.fix
    assert caught.value.message.startswith("study.lock: 1 pinned id moved\n  base: train/t (")
    run("pin", "--keep", "study.yaml")
    assert "kept as pinned, though an older VERSION made them: 2 filter" in run("compile", "study.yaml")


def test_a_raised_version_of_the_report_asks_nothing(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_version(monkeypatch, "report")
    assert "VERSION" not in run("compile", "study.yaml"), "a report is free, and no lock holds it"


def test_diff_and_explain_take_what_is_pinned(study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    _, store = study
    run("pin", "study.yaml")
    raise_version(monkeypatch, "filter")
    printed = run("diff", "study.yaml")
    assert "in the store" in printed and "to make" not in printed
    run("compile", "study.yaml")
    (kept, *_) = (ref for ref in store.refs() if ref.startswith("filter/"))
    assert "of filter VERSION 1 and:" in run("explain", kept)


@pytest.mark.parametrize("part", ["kind", "identity", "version", "recipe", "inputs"])
@pytest.mark.parametrize("value", [None, [], {"x": 5}, "x", ...])
def test_a_damaged_record_is_no_older_artifact(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch, part: str, value: object
) -> None:
    spec, store = study
    damaged = compiled(spec).experiments["study"].addresses["base"]["filter/d"]
    record = store.artifact(damaged)
    if value is ...:
        del record[part]
    else:
        record[part] = value
    store.marker(damaged).write_text(json.dumps(record))
    raise_version(monkeypatch, "filter")
    assert "1 filter node was made by VERSION 1 (now 2)" in run("compile", "study.yaml")
    run("gc", "study.yaml")


def test_a_collect_node_of_another_rule_is_not_made_again(
    study: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = study
    run("pin", "study.yaml")
    monkeypatch.setattr(asking, "SOLVER_VERSION", settings.SOLVER_VERSION + 1)
    run("compile", "study.yaml")
    plan = Plan.read(Path("build/plan.json"))
    ref = plan.experiments["study"].addresses["base"]["collect/d"]
    store.marker(ref).unlink()
    with pytest.raises(InputError, match=f"{ref} was made by another rule of `collect`, which"):
        make(plan, store, ref)
