"""The rule of identity: what leaves every id alone, and what changes the ids of exactly the nodes that feel it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orcac.errors import InputError
from orcac.plan.lower import lower
from orcac.plan.node import canonical
from orcac.plan.plan import Plan
from orcac.spec.load import load

SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "sound",
    "seed": 3,
    "queries": {
        "q": {"format": "puzzles", "task": "navigate", "size": [3, 5], "take": 100},
        "r": {"format": "puzzles", "task": "web_of_lies", "size": [3, 5], "take": 100},
    },
    "system_messages": {"messages": {"7": "Explain."}, "draw": {"q": [7]}},
    "teachers": {
        "t": {"model": "expert", "endpoint": {"kind": "solver"}},
        "u": {
            "model": "gpt",
            "endpoint": {"kind": "openai", "base_url": "http://localhost:1/v1"},
            "price": {"input": 1, "output": 1},
        },
    },
    "datasets": {
        "d": {"teacher": "t", "queries": ["q", "r"]},
        "e": {"teacher": "u", "sample": {"from": "d", "take": 10}},
    },
    "filters": {},
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["d"]}},
    "stages": {"s": {"dataset": "d"}, "x": {"dataset": "e"}},
    "curriculum": ["s", "x"],
    "benchmarks": {"b": {"format": "puzzles", "task": "navigate", "size": [3, 5], "take": 10}},
    "hardware": {"train": {}, "eval": {}, "other": {}},
}


def ids(folder: Path, spec: dict[str, Any]) -> dict[str, str]:
    """(kind, label) -> KIND/ID of the base."""
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))  # JSON is YAML
    plan = Plan()
    lower(plan, load(path))
    return {f"{node.kind} {node.label}": ref for ref, node in plan.nodes.items()}


def changed(folder: Path, edit: str, value: Any) -> set[str]:
    """The nodes whose ids differ once the dotted path `edit` holds `value`."""
    spec = json.loads(json.dumps(SPEC))
    *steps, last = edit.split(".")
    place = spec
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = value
    before, after = ids(folder, SPEC), ids(folder, spec)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    ("edit", "value"),
    [
        ("about", "another line"),
        ("budget", "5 USD"),
        ("teachers.t.price", {"input": 1, "output": 2}),
        ("teachers.t.endpoint.concurrency", 3),
        ("teachers.u.endpoint.base_url", "http://localhost:2/v1"),
        ("teachers.u.endpoint.requests_per_minute", 3),
        ("datasets.d.shards", 8),
        ("hardware.train", {"threads": 2, "memory": "9 GiB", "time": "3 days", "gpus": 1, "micro_batch": 2}),
        ("hardware.eval", {"batch": 7}),
        ("hardware.other", {"threads": 2}),
        ("filters.min_characters", 1),  # a default, spelt out
        ("stages.s", {"dataset": "d", "epochs": 4, "warmup": "3 %", "batch": "160 rows"}),
    ],
)
def test_execution_labels_and_defaults_change_no_id(tmp_path: Path, edit: str, value: Any) -> None:
    assert changed(tmp_path, edit, value) == set()


TRAINED = {"train base: s", "train base: x", "eval base: b", "report sound"}
FILTERED = {"filter d", "student tiny", "tokenize d", "tokenize e"} | TRAINED
COLLECTED = {"collect d", "filter d", "student tiny", "tokenize d", "tokenize e"} | TRAINED


@pytest.mark.parametrize(
    ("edit", "value", "felt"),
    [
        ("stages.x.epochs", 9, {"train base: x", "eval base: b", "report sound"}),
        ("stages.s.learning_rate", 1e-3, TRAINED),
        ("hardware.train.precision", "bf16", TRAINED),
        ("student.packing", "shuffle", {"tokenize d", "tokenize e"} | TRAINED),
        ("student.tokenizer.vocabulary", 500, {"student tiny", "tokenize d", "tokenize e"} | TRAINED),
        ("filters.max_characters", 100, FILTERED | {"filter e"}),
        ("teachers.t.sampling", {"temperature": 0.5}, COLLECTED),
        ("teachers.u.model", "gpt-4", {"collect e", "filter e", "tokenize e"}
         | {"train base: x", "eval base: b", "report sound"}),
        ("benchmarks.b.max_tokens", 99, {"eval base: b", "report sound"}),
        ("benchmarks.b.take", 11, {"sample b", "eval base: b", "report sound"}),
        ("queries.r.take", 99, {"sample r", "sample e of d", "collect e", "filter e"} | COLLECTED),
        ("datasets.e.sample.take", 9, {"sample e of d", "collect e", "filter e", "tokenize e"}
         | {"train base: x", "eval base: b", "report sound"}),
    ],
)  # fmt: skip
def test_a_semantic_field_changes_just_what_feels_it(tmp_path: Path, edit: str, value: Any, felt: set[str]) -> None:
    assert changed(tmp_path, edit, value) == felt


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    return value


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_no_id(tmp_path: Path, rng: random.Random) -> None:
    assert ids(tmp_path, shuffled(SPEC, rng)) == ids(tmp_path, SPEC)


def test_a_file_enters_by_content_not_by_path(tmp_path: Path) -> None:
    spec = json.loads(json.dumps(SPEC))
    for name, text in {"one": "a", "two": "a", "three": "b"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.jsonl").write_text(json.dumps({"q": text}))
    found = {}
    for name in ("one", "two", "three"):
        spec["queries"]["q"] = {"format": "jsonl", "path": f"{name}/data.jsonl", "fields": {"query": "q"}}
        found[name] = ids(tmp_path, spec)["sample q"]
    assert found["one"] == found["two"] != found["three"]


def test_the_folder_of_a_file_does_not_decide_its_place(tmp_path: Path) -> None:
    spec = json.loads(json.dumps(SPEC))
    found = set()
    for folders in (("a", "b"), ("d", "c")):
        for folder, name in zip(folders, ("x", "y"), strict=True):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / f"{name}.jsonl").write_text(json.dumps({"q": name}))
        path = [f"{folder}/*.jsonl" for folder in folders]
        spec["queries"]["q"] = {"format": "jsonl", "path": path, "fields": {"query": "q"}}
        found.add(ids(tmp_path, spec)["sample q"])
    assert len(found) == 1


def test_seed_and_name_make_other_puzzles(tmp_path: Path) -> None:
    def seeds(seed: int) -> dict[str, int]:
        (tmp_path / "a.json").write_text(json.dumps(SPEC | {"seed": seed}))
        plan = Plan()
        lower(plan, load(tmp_path / "a.json"))
        recipes = {node.label: node.recipe.model_dump() for node in plan.nodes.values() if node.kind == "sample"}
        return {label: recipe["source"]["puzzles"]["seed"] for label, recipe in recipes.items() if recipe["source"]}

    assert len({*seeds(1).values(), *seeds(2).values()}) == 6  # q, r and b, twice


def test_a_plan_of_another_identity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(SPEC))
    plan = Plan()
    lower(plan, load(tmp_path / "a.json"))
    plan.write(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    (tmp_path / "plan.json").write_text(text.replace('"count": 100', '"count": 99', 1))
    with pytest.raises(InputError, match="compile the spec again"):
        Plan.read(tmp_path / "plan.json")


def test_equal_nodes_of_arms_and_specs_are_one(tmp_path: Path) -> None:
    spec = json.loads(json.dumps(SPEC)) | {"ablations": {"alone": {"curriculum": ["x"]}, "same": {"about": "again"}}}
    (tmp_path / "a.json").write_text(json.dumps(spec))
    (tmp_path / "b.json").write_text(json.dumps(SPEC | {"name": "other"}))
    plan = Plan()
    lower(plan, load(tmp_path / "a.json"))
    before = len(plan.nodes)
    arms = plan.experiments["sound"].arms
    assert arms["same"] == arms["base"]
    assert {ref.partition("/")[0] for ref in set(arms["alone"]) - set(arms["base"])} == {"train", "eval"}
    lower(plan, load(tmp_path / "b.json"))
    assert len(plan.nodes) == before + 1  # its own report, and nothing else


def test_the_plan_file_is_canonical_and_reads_back(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(SPEC))
    plan = Plan()
    lower(plan, load(tmp_path / "a.json"))
    path = tmp_path / "build" / "plan.json"
    assert plan.write(path)
    stamp = path.stat().st_mtime_ns
    assert not plan.write(path)
    assert path.stat().st_mtime_ns == stamp
    assert Plan.read(path).to_json() == plan.to_json()


def test_what_has_no_canonical_form_is_refused() -> None:
    with pytest.raises(TypeError):
        canonical({"path": Path("x")})
    with pytest.raises(ValueError):
        canonical(float("nan"))


def test_the_names_of_datasets_and_stages_are_labels(tmp_path: Path) -> None:
    text = json.dumps(SPEC)
    for old, new in (('"d"', '"pool"'), ('"e"', '"few"'), ('"s"', '"early"'), ('"x"', '"late"')):
        text = text.replace(old, new)
    renamed = json.loads(text)
    made = {ref for ref in ids(tmp_path, SPEC).values() if not ref.startswith("report/")}
    assert made == {ref for ref in ids(tmp_path, renamed).values() if not ref.startswith("report/")}
