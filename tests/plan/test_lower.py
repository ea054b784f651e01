"""Tests of orcac/plan/lower.py, orcac/plan/replicates.py and orcac/plan/deferred.py.

Arms share their common nodes and yet come out as if each were lowered alone, and a node that cannot be made yet has
blockers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orcac.cost.bill import price, total_cost
from orcac.errors import InputError
from orcac.make import make
from orcac.plan.deferred import describe_deferred, list_hub_addresses
from orcac.plan.lower import lower
from orcac.plan.node import Node
from orcac.plan.plan import BASELINES, Plan
from orcac.plan.replicates import count_runs
from orcac.score.recipe import ScoreRecipe
from orcac.spec.load import load
from orcac.store.store import Store

SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "many",
    "seed": 3,
    "queries": {"q": {"format": "puzzles", "task": "navigate", "size": [3, 5], "take": 100}},
    "system_messages": {"messages": {"7": "Explain.", "8": "Be brief."}, "draw": {"q": [7]}},
    "teachers": {
        "t": {"model": "assistant", "endpoint": {"kind": "solver"}},
        "u": {"model": "expert", "endpoint": {"kind": "solver"}},
    },
    "datasets": {"d": {"teacher": "t", "queries": ["q"]}, "e": {"teacher": "u", "sample": {"from": "d", "take": 10}}},
    "filters": {"contamination": {"ngram": 20}},
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["d"]}},
    "stages": {"s": {"dataset": "d"}, "x": {"dataset": "e"}},
    "curriculum": ["s", "x"],
    "benchmarks": {"b": {"format": "puzzles", "task": "navigate", "size": [3, 5], "take": 10}},
    "baselines": ["u"],
    "hardware": {"train": {}, "eval": {}, "other": {}},
}
PATCHES: dict[str, Any] = {
    "alone": {"curriculum": ["x"]},
    "longer": {"stages": {"x": {"epochs": 9}}},
    "brief": {"system_messages": {"draw": {"q": [8]}}},
    "worded": {"datasets": {"e": {"draw": {"q": [8]}}}},
    "hotter": {"teachers": {"t": {"sampling": {"temperature": 0.5}}}},
    "fewer": {"queries": {"q": {"take": 50}}},
    "other-seed": {"seed": 4},
    "retrained": {"student": {"seed": 4}},
    "loose": {"filters": {"contamination": None}},
    "unfiltered": {"filters": None},
    "asked": {"benchmarks": {"b": {"system": 7}}},
    "none": {"benchmarks": None, "baselines": None, "filters": None},
    "exact": {"hardware": {"train": {"precision": "bf16"}}},
}


def lowered(folder: Path, spec: dict[str, Any]) -> Plan:
    (folder / "spec.yaml").write_text(json.dumps(spec))
    plan = Plan()
    lower(plan, load(folder / "spec.yaml"))
    return plan


def merged(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    value = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            value.pop(key, None)
        else:
            value[key] = merged(value.get(key), item)
    return value


def test_an_arm_equals_the_base_of_a_spec_with_its_patch(tmp_path: Path) -> None:
    together = lowered(tmp_path, SPEC | {"ablations": PATCHES}).experiments["many"]
    assert set(together.arms) == {"base", BASELINES, *PATCHES}
    for arm, patch in {"base": {}, **PATCHES}.items():
        alone = lowered(tmp_path, merged(SPEC, patch)).experiments["many"]
        assert together.addresses[arm] == alone.addresses["base"], arm
        assert set(together.arms[arm]) == set(alone.arms["base"]), arm


def test_a_sweep_makes_every_arm_at_every_point(tmp_path: Path) -> None:
    sweep = {"stages.x.epochs": [4, 8], "student.seed": [1, 2]}
    plan = lowered(tmp_path, SPEC | {"sweep": sweep, "ablations": {"alone": PATCHES["alone"]}})
    arms = plan.experiments["many"].arms
    points = [f"epochs-{epochs}.seed-{seed}" for epochs in (4, 8) for seed in (1, 2)]
    assert list(arms) == [
        "base",
        "alone",
        *(f"{arm}.{point}" for arm in ("base", "alone") for point in points),
        BASELINES,
    ]
    collected = {ref for refs in arms.values() for ref in refs if ref.startswith("collect/")}
    assert len(collected) == 3  # two datasets and a baseline: no point of the sweep asks a teacher again
    students = {ref for refs in arms.values() for ref in refs if ref.startswith("student/")}
    assert len(students) == 3  # the spec's own seed, 1 and 2


def test_a_subset_worded_anew_draws_the_same_queries(tmp_path: Path) -> None:
    plan = lowered(tmp_path, SPEC | {"ablations": {"worded": PATCHES["worded"]}})
    addresses = plan.experiments["many"].addresses
    worded = {address for address in addresses["worded"] if address not in addresses["base"]}
    assert worded == {"queries/e/q"}
    before, after = (plan.nodes[addresses[arm]["subset/e"]] for arm in ("base", "worded"))
    assert before.recipe == after.recipe
    assert before.inputs != after.inputs


def test_baselines_belong_to_the_study_and_to_no_arm(tmp_path: Path) -> None:
    plan = lowered(tmp_path, SPEC)
    experiment = plan.experiments["many"]
    own = set(experiment.arms[BASELINES]) - set(experiment.arms["base"])
    assert sorted(ref.partition("/")[0] for ref in own) == ["collect", "score"]
    assert own < set(plan.nodes[experiment.report].needs)
    may_omit = {ref: node.execution.endpoint.may_omit for ref, node in plan.nodes.items() if node.kind == "collect"}
    assert {ref for ref, may in may_omit.items() if may} == own & may_omit.keys(), "a teacher's sampling is sent whole"


def test_primary_arms_change_the_report_alone_and_come_first_in_it(tmp_path: Path) -> None:
    def plan_of(**changes: Any) -> tuple[Plan, Node]:
        plan = lowered(tmp_path, SPEC | {"ablations": PATCHES} | changes)
        (experiment,) = plan.experiments.values()
        return plan, plan.nodes[experiment.report]

    (plan, every), (primary_plan, some) = plan_of(), plan_of(primary=["retrained", "brief"])
    assert every.recipe.primary == ()
    assert some.recipe.primary == ("brief", "retrained")
    assert plan.nodes.keys() ^ primary_plan.nodes.keys() == {every.ref, some.ref}
    names = [name for name in PATCHES if name not in ("retrained", "brief")]
    assert some.execution.order == ("base", "retrained", "brief", *names, "u", "b")
    assert every.execution.order == ("base", *PATCHES, "u", "b")
    _, swapped = plan_of(primary=["brief", "retrained"])
    assert swapped.ref == some.ref and swapped.execution.order[1:3] == ("brief", "retrained")
    _, swept = plan_of(sweep={"stages.x.epochs": [5]}, primary=["brief.epochs-5"])
    assert swept.execution.order[1] == "brief.epochs-5"


def test_a_checker_under_its_older_name_makes_the_same_nodes(tmp_path: Path) -> None:
    def ids(**protocol: Any) -> dict[str, str]:
        return lowered(tmp_path, merged(SPEC, {"benchmarks": {"b": protocol}})).experiments["many"].addresses["base"]

    assert ids() == ids(checker="auto")
    assert ids(parser="final-answer") == ids(checker="final-answer")
    capital = ids(parser="first-capital")
    assert capital == ids(checker="first-capital") == ids(checker=["first-capital"])
    assert {name for name, ref in ids().items() if ref != capital[name]} == {"score/b"}
    assert ids(checker=["first-capital", "final-answer"])["score/b"] not in (capital["score/b"], ids()["score/b"])


BLOCKED = [
    ({"queries": {"q": {"format": "bbh", "path": "${UNSET}/x.json", "task": None, "size": None, "missing": "later"}}},
     "queries.q: the environment variable UNSET is not set", "sample"),
]  # fmt: skip


@pytest.mark.parametrize(("patch", "why", "kind"), BLOCKED, ids=[kind + why[:12] for _, why, kind in BLOCKED])
def test_a_node_that_cannot_be_made_is_planned_with_its_reason_and_refused_by_make(
    tmp_path: Path, patch: dict[str, Any], why: str, kind: str
) -> None:
    plan = lowered(tmp_path, merged(SPEC, patch))
    blocked = [ref for ref, node in plan.nodes.items() if node.blockers and ref.startswith(kind)]
    assert blocked
    assert describe_deferred(plan)
    with pytest.raises(InputError, match=why) as caught:
        make(plan, Store(tmp_path / "store"), blocked[0])
    assert caught.value.fix


def test_a_teacher_as_judge_has_the_shipped_prompts_and_the_sampling_of_judges(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"q": "Why?"}\n')
    judged = {"format": "open-ended", "path": "q.jsonl", "fields": {"query": "q"}, "judge": "u", "against": ["u"]}
    spec = merged(SPEC, {"benchmarks": {"b": None, "open": judged}})
    plan = lowered(tmp_path, spec)
    node = plan.nodes[plan.experiments["many"].addresses["base"]["score/open"]]
    assert isinstance(node.recipe, ScoreRecipe) and node.recipe.judge
    assert not node.blockers
    judge = node.recipe.judge
    assert (judge.form, set(judge.prompts), judge.recorded) == ("pairwise", {"", "coding", "math"}, None)
    assert (judge.asked.sampling.temperature, judge.asked.sampling.max_tokens) == (0.2, 1024)
    named = merged(spec, {"judges": {"pairs": {"teacher": "u"}}, "benchmarks": {"open": {"judge": "pairs"}}})
    assert lowered(tmp_path, named).nodes.keys() == plan.nodes.keys()


def test_the_wording_of_a_teacher_changes_the_scores_alone(tmp_path: Path) -> None:
    before = lowered(tmp_path, SPEC)
    worded = {"checker": ["auto", "form"], "form_of": "u"}
    after = lowered(tmp_path, merged(SPEC, {"benchmarks": {"b": worded}}))
    scores = [node for ref, node in after.nodes.items() if ref not in before.nodes and node.kind != "report"]
    assert {node.kind for node in scores} == {"score"}
    replies = after.experiments["many"].addresses["base"]["replies/u/b"]
    assert [node.inputs["form_of"] for node in scores] == [(replies,)] * len(scores)
    other = lowered(tmp_path, merged(SPEC, {"benchmarks": {"b": worded | {"form_of": "t"}}}))
    added = [node for ref, node in other.nodes.items() if ref not in after.nodes]
    assert {node.kind for node in added} == {"collect", "score", "report"}


def test_the_loss_of_a_teachers_answers_changes_the_evaluations_alone(tmp_path: Path) -> None:
    before = lowered(tmp_path, SPEC)
    after = lowered(tmp_path, merged(SPEC, {"benchmarks": {"b": {"method": "loss", "loss_of": "u"}}}))
    added = {ref: node for ref, node in after.nodes.items() if ref not in before.nodes}
    assert {node.kind for node in added.values()} == {"eval", "score", "report", "collect"}
    texts = after.experiments["many"].addresses["base"]["texts/u/b"]
    evals = [node for node in added.values() if node.kind == "eval"]
    assert [node.inputs["texts"] for node in evals] == [(texts,)] * len(evals)
    assert all(node.inputs["items"] == after.nodes[texts].inputs["prompts"] for node in evals)
    scores = [node.recipe for node in added.values() if node.kind == "score"]
    assert scores == [ScoreRecipe(likelihood="loss")] * len(scores)


def test_recorded_reviews_enter_by_their_content_their_parsers_and_their_order(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"q": "Why?", "a": "So.", "r": "8 9"}\n')
    tape = {"kind": "replay", "path": "q.jsonl", "fields": {"question": "q", "answer": "a"}}
    spec = {
        "orcac": 1,
        "name": "taped",
        "teachers": {
            "one": {"model": "one", "endpoint": tape},
            "two": {"model": "two", "endpoint": tape},
            "reviews": {"model": "gpt", "endpoint": tape | {"fields": {"question": "q", "answer": "r"}}},
        },
        "judges": {"old": {"teacher": "reviews"}},
        "baselines": ["one", "two"],
        "benchmarks": {
            "b": {
                "format": "open-ended",
                "path": "q.jsonl",
                "fields": {"query": "q"},
                "judge": "old",
                "against": ["two"],
            }
        },
    }

    def score(patch: dict[str, Any]) -> Node:
        plan = lowered(tmp_path, merged(spec, patch))
        (node,) = (node for node in plan.nodes.values() if node.kind == "score")  # a reference is not judged
        return node

    before = score({})
    assert isinstance(before.recipe, ScoreRecipe) and before.recipe.judge
    assert before.recipe.judge.prompts["math"].model_dump() == {"reads": "last-scores", "system": "", "text": ""}
    assert score({"judges": {"old": {"recorded": "candidate-first"}}}).ref != before.ref
    assert score({"judges": {"old": {"recorded": "reference-first"}}}).ref == before.ref
    (tmp_path / "q.jsonl").write_text('{"q": "Why?", "a": "So.", "r": "8 8"}\n')
    assert score({}).ref != before.ref


def test_a_stage_keeps_its_optimizer_if_any_arm_trains_another_upon_it(tmp_path: Path) -> None:
    carry = {"stages": {"x": {"optimizer": "carry"}}}
    plan = lowered(tmp_path, SPEC | {"ablations": {"carried": carry}})
    short = {"curriculum": ["s"]}
    last, first = lowered(tmp_path, merged(SPEC, short)), lowered(tmp_path, SPEC | {"ablations": {"short": short}})
    for many, labels in ((plan, {"base: s"}), (last, set()), (first, {"base: s"})):
        kept = {node.label for node in many.nodes.values() if getattr(node.execution, "keep_optimizer", False)}
        assert kept == labels
    base, carried = (plan.experiments["many"].addresses[arm] for arm in ("base", "carried"))
    assert base["train/s"] == carried["train/s"] and base["train/x"] != carried["train/x"]
    assert not any(node.blockers for node in plan.nodes.values())


def test_hardware_is_passed_to_the_stage_and_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    hardware: dict[str, Any] = {"nodes": 2, "gpus": 4, "zero": 3, "offload": True, "recompute": True, "compile": True}
    student = {"base": "small.gguf", "max_length": 1024}
    stages = {"s": {"dataset": "d", "tokens": 5000, "batch": "16_384 tokens"}, "x": SPEC["stages"]["x"]}
    plan = lowered(tmp_path, SPEC | {"student": student, "hardware": {"train": hardware}, "stages": stages})
    addresses = plan.experiments["many"].addresses["base"]
    stage: Any = plan.nodes[addresses["train/s"]]
    assert stage.execution.model_dump(include=set(hardware)) == hardware
    assert (stage.recipe.tokens, stage.recipe.epochs, stage.recipe.batch_rows) == (5000, None, 16)
    made: Any = plan.nodes[addresses["student"]]
    assert [file.name for file in made.recipe.pretrained.files] == ["small.gguf"]
    assert not any(node.blockers for node in plan.nodes.values())


def test_a_source_on_a_hub_is_deferred_and_blocks_nothing(tmp_path: Path) -> None:
    hub = {"format": "parquet", "path": "hf://some/where@v1/data/*.parquet", "fields": {"query": "inputs"}}
    plan = lowered(tmp_path, SPEC | {"queries": {"q": hub}, "student": {"base": "hf://some/model", "like": "7B"}})
    assert {address for node in plan.nodes.values() for address in list_hub_addresses(node)} == {
        "hf://some/where@v1/data/*.parquet",
        "hf://some/model@main",
    }
    assert not any(node.blockers for node in plan.nodes.values())


def test_a_missing_file_enters_by_its_path_and_by_its_content_once_it_is_here(tmp_path: Path) -> None:
    source = {"format": "jsonl", "path": "late.jsonl", "fields": {"query": "q"}, "missing": "later"}
    spec = SPEC | {"queries": {"q": source}}
    before = lowered(tmp_path, spec).experiments["many"].addresses["base"]["queries/d/q"]
    (tmp_path / "late.jsonl").write_text('{"q": "Now?"}\n')
    plan = lowered(tmp_path, spec)
    after = plan.experiments["many"].addresses["base"]["queries/d/q"]
    assert before != after
    assert not plan.nodes[after].blockers


def test_a_folder_with_a_name_like_a_glob_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "runs [1]*"
    folder.mkdir()
    (folder / "q1.jsonl").write_text('{"q": "Now?"}\n')
    spec = SPEC | {"queries": {"q": {"format": "jsonl", "path": "q*.jsonl", "fields": {"query": "q"}}}}
    assert lowered(folder, spec).nodes


def test_moving_a_model_to_another_server_changes_no_id(tmp_path: Path) -> None:
    served = {"model": "served", "endpoint": {"kind": "vllm", "path": "/m", "gpus": 2}}
    spec = merged(SPEC, {"teachers": {"t": served}})
    plan = lowered(tmp_path, spec)
    addresses = plan.experiments["many"].addresses["base"]
    assert plan.nodes[addresses["collect/d"]].execution.gpus == 2
    spec["teachers"]["t"]["endpoint"] = {"kind": "openai", "base_url": "http://elsewhere/v1"}
    assert lowered(tmp_path, spec).experiments["many"].addresses["base"] == addresses


def test_replicates_share_their_data_tokenizer_and_rows(tmp_path: Path) -> None:
    alone = lowered(tmp_path, SPEC).experiments["many"].addresses["base"]
    plan = lowered(tmp_path, SPEC | {"replicates": 3, "ablations": {"alone": PATCHES["alone"]}})
    for arm, stages in (("base", ("s", "x")), ("alone", ("x",))):
        addresses = plan.experiments["many"].addresses[arm]
        names = ("student", "eval/b", "score/b", *(f"train/{stage}" for stage in stages))
        replicated = {f"{name}#{number}" for number in (1, 2) for name in names}
        assert {name for name in addresses if name not in alone} == replicated
        if arm == "base":
            assert {name: ref for name, ref in addresses.items() if name in alone} == alone
        student = plan.nodes[addresses["student#2"]]
        assert student.inputs == {"tokenizer": (addresses["student"],)}
        first: Any = plan.nodes[addresses["train/x"]]
        third: Any = plan.nodes[addresses["train/x#2"]]
        assert third.inputs["rows"] == first.inputs["rows"]
        assert third.label == f"{arm}: x #2"
        assert third.recipe.model_copy(update={"seed": first.recipe.seed}) == first.recipe
        seeds = {plan.nodes[addresses[f"train/x{mark}"]].recipe.seed for mark in ("", "#1", "#2")}  # type: ignore[attr-defined]
        assert len(seeds) == 3 and all(0 <= seed < 2**32 for seed in seeds)
    report: Any = plan.nodes[plan.experiments["many"].report].recipe
    assert [[run.stages[-1].train for run in arm.runs] for arm in report.arms] == [
        [plan.experiments["many"].addresses[arm][f"train/x{mark}"] for mark in ("", "#1", "#2")]
        for arm in ("base", "alone")
    ]


def test_the_base_and_the_arms_may_have_other_numbers_of_replicates(tmp_path: Path) -> None:
    arms = {
        "alone": PATCHES["alone"],
        "longer": PATCHES["longer"] | {"replicates": {"arms": 4}},
    }
    plan = lowered(
        tmp_path, SPEC | {"replicates": {"base": 5, "arms": 3}, "ablations": arms, "sweep": {"student.seed": [9]}}
    )
    runs = {arm: count_runs(addresses) for arm, addresses in plan.experiments["many"].addresses.items()}
    assert runs == {
        "base": 5, "alone": 3, "longer": 4, "base.seed-9": 3, "alone.seed-9": 3, "longer.seed-9": 4, BASELINES: 1,
    }  # fmt: skip


def test_a_draw_of_the_data_asks_and_trains_anew_on_the_same_items(tmp_path: Path) -> None:
    sampled = {"t": {"endpoint": {"kind": "openai"}, "sampling": {"temperature": 0.7}}}
    spec = merged(SPEC, {"teachers": sampled})
    one = lowered(tmp_path, spec).experiments["many"].addresses["base"]
    plan = lowered(tmp_path, spec | {"replicates": {"training": 2, "data": 3}})
    addresses = plan.experiments["many"].addresses["base"]
    assert {name: ref for name, ref in addresses.items() if name in one} == one
    assert {name for name in addresses if "~" not in name and "#" not in name} == one.keys()
    drawn = {name for name in addresses if name.endswith("~2")}
    assert {name.removesuffix("~2").partition("/")[0] for name in drawn} == {
        "queries", "subset", "collect", "filter", "student", "tokenize", "train", "eval", "score",
    }  # fmt: skip
    nodes: Any = {name: plan.nodes[ref] for name, ref in addresses.items()}
    assert [nodes[f"collect/d{mark}"].recipe.sample_index for mark in ("", "~1", "~2")] == [0, 1, 2]
    assert [nodes[f"collect/e{mark}"].recipe.sample_index for mark in ("", "~1", "~2")] == [0, 0, 0]  # it never varies
    assert nodes["student~2#1"].inputs["tokenizer"] == (addresses["student~2"],)
    assert nodes["train/s~2#1"].inputs["rows"] == nodes["train/s~2"].inputs["rows"] != nodes["train/s"].inputs["rows"]
    assert nodes["eval/b~2#1"].inputs["items"] == nodes["eval/b"].inputs["items"]
    trained = [nodes[f"train/x{draw}{run}"].recipe.seed for draw in ("", "~1", "~2") for run in ("", "#1")]
    assert len(set(trained)) == 6


def test_a_draw_shares_what_is_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text('{"q": "1 + 1?", "a": "2"}\n')
    changes = {
        "queries": {"whole": {"format": "jsonl", "path": "all.jsonl", "fields": {"query": "q", "reference": "a"}}},
        "datasets": {"w": {"teacher": "t", "queries": ["whole"]}},
        "stages": {"w": {"dataset": "w"}},
        "curriculum": ["s", "w"],
        "student": {"tokenizer": {"train_on": ["w"]}},
        "replicates": {"data": 2},
    }
    addresses = lowered(tmp_path, merged(SPEC, changes)).experiments["many"].addresses["base"]
    shared = {name for name in addresses if addresses.get(f"{name}~1") == addresses[name]}
    assert shared == {"queries/w/whole", "collect/w", "filter/w"}
    assert addresses["student~1"] != addresses["student"]  # its weights have another seed


def test_replicates_of_a_pretrained_student_start_from_the_same_weights(tmp_path: Path) -> None:
    spec = SPEC | {"student": {"base": "hf://some/model", "like": "7B"}, "replicates": {"training": 2, "data": 2}}
    plan = lowered(tmp_path, spec)
    assert [node.label for node in plan.nodes.values() if node.kind == "student"] == ["some/model"]
    assert sum(node.kind == "train" for node in plan.nodes.values()) == 2 * 2 * 2


def test_replicates_answer_with_seeds_of_their_own_where_answers_are_sampled(tmp_path: Path) -> None:
    spec = merged(SPEC, {"benchmarks": {"warm": {**SPEC["benchmarks"]["b"], "temperature": 0.7}}, "replicates": 2})
    plan = lowered(tmp_path, spec)
    nodes: Any = {name: plan.nodes[ref] for name, ref in plan.experiments["many"].addresses["base"].items()}
    assert nodes["eval/b#1"].recipe == nodes["eval/b"].recipe
    assert nodes["eval/warm#1"].recipe.seed != nodes["eval/warm"].recipe.seed == 3


def test_an_arm_that_trains_nothing_measures_its_student_once(tmp_path: Path) -> None:
    arms = {"control": {"curriculum": []}}
    plan = lowered(tmp_path, SPEC | {"replicates": 3, "ablations": arms})
    experiment = plan.experiments["many"]
    control = experiment.addresses["control"]
    assert not any(name.startswith(("train/", "tokenize/")) or "#" in name for name in control)
    assert plan.nodes[control["eval/b"]].inputs["model"] == (experiment.addresses["base"]["student"],)
    assert (count_runs(control), count_runs(experiment.addresses["base"])) == (1, 3)
    recipe: Any = plan.nodes[experiment.report].recipe
    assert [(len(arm.runs), len(arm.stages), len(arm.datasets)) for arm in recipe.arms] == [(3, 2, 2), (1, 0, 0)]
    drawn = lowered(
        tmp_path, SPEC | {"replicates": {"data": 2}, "curriculum": [], "ablations": {"all": {"curriculum": ["s"]}}}
    )
    runs = {arm: count_runs(addresses) for arm, addresses in drawn.experiments["many"].addresses.items()}
    assert (runs["base"], runs["all"]) == (1, 2)


def test_a_pretrained_student_that_is_only_measured_keeps_its_own_chat_format(tmp_path: Path) -> None:
    spec = SPEC | {"student": {"base": "hf://some/model", "like": "7B"}, "ablations": {"control": {"curriculum": []}}}
    plan = lowered(tmp_path, spec)
    addresses = plan.experiments["many"].addresses
    students: Any = {arm: plan.nodes[addresses[arm]["student"]].recipe for arm in ("base", "control")}
    assert {arm: recipe.pretrained.is_trained for arm, recipe in students.items()} == {"base": True, "control": False}


def test_a_pretrained_student_needs_a_system_role_if_it_meets_a_system_message(tmp_path: Path) -> None:
    base = {"base": "hf://some/model", "like": "7B"}
    empty = {"system_messages": {"draw": {"q": [1]}}, "datasets": {"e": {"draw": None}}}

    def needs(patch: Any) -> bool:
        plan = lowered(tmp_path, merged(SPEC | {"student": base, "ablations": {}}, patch))
        execution: Any = plan.nodes[plan.experiments["many"].addresses["base"]["student"]].execution
        return execution.has_system

    assert needs({})
    assert not needs(empty)
    assert needs(merged(empty, {"benchmarks": {"b": {"system": 7}}}))
    assert needs(merged(empty, {"datasets": {"e": {"draw": {"q": [8]}}}}))
    assert needs({"curriculum": [], "benchmarks": {"b": {"system": 7}}})
    assert not needs({"curriculum": []})


def test_a_pretrained_student_expects_the_reasoning_that_its_stages_learn(tmp_path: Path) -> None:
    base = {"base": "hf://some/model", "like": "7B"}
    solver = {"endpoint": {"kind": "solver"}}
    (tmp_path / "tape.jsonl").write_text('{"q": "1", "a": "2", "r": "3"}\n')
    replay = {"kind": "replay", "path": "tape.jsonl", "fields": {"question": "q", "answer": "a"}}
    reasoned = merged({"endpoint": replay}, {"endpoint": {"fields": {"reasoning": "r"}}})

    def expects(teacher: Any, learn: Any = None) -> str:
        spec = merged(
            SPEC | {"student": base, "ablations": {}},
            {"stages": {name: {"learn": learn} for name in "sx"}} if learn else {},
        )
        spec["teachers"] = {name: {"model": "expert"} | teacher for name in spec["teachers"]}
        plan = lowered(tmp_path, spec)
        execution: Any = plan.nodes[plan.experiments["many"].addresses["base"]["student"]].execution
        return str(execution.reasoning)

    assert expects(solver) == expects({"endpoint": replay}) == "none"
    assert expects(solver | {"sampling": {"extra": {"reasoning": True}}}) == expects(reasoned) == "certain"
    assert expects(reasoned, learn=["answer"]) == "none"
    assert expects({"endpoint": {"kind": "openai"}}) == "perhaps"


def test_the_date_and_the_system_role_of_a_template_are_in_the_recipe_where_they_are_given(tmp_path: Path) -> None:
    def recipe(**fields: Any) -> Any:
        student = {"base": "hf://some/model", "like": "7B"} | fields
        plan = lowered(tmp_path, SPEC | {"student": student, "ablations": {}})
        return plan.nodes[plan.experiments["many"].addresses["base"]["student"]].content["recipe"]["pretrained"]

    given = {"system_role": "none", "date": "2024-07-26"}
    assert recipe(**given) == recipe() | given
    assert not {"date", "system_role", "keeps_template"} & recipe().keys()
    assert recipe(date="2026-01-01") == recipe()


EVALUATE = {key: SPEC[key] for key in ("orcac", "name", "seed", "teachers", "benchmarks")}
COLLECT = {key: SPEC[key] for key in ("orcac", "name", "seed", "queries", "system_messages", "teachers", "datasets")}


def test_a_spec_without_stages_measures_a_pretrained_student(tmp_path: Path) -> None:
    plan = lowered(tmp_path, EVALUATE | {"student": {"base": "hf://some/model"}})
    assert [node.kind for node in plan.nodes.values()] == ["student", "sample", "eval", "score", "report"]


def test_a_baseline_gives_a_node_of_answers_for_each_sample_that_it_can_have(
    tmp_path: Path,
) -> None:
    benchmarks = {"b": SPEC["benchmarks"]["b"] | {"samples": 3, "temperature": 0.7}}
    (tmp_path / "two.jsonl").write_text('{"q": "x", "a": "y"}\n')
    twice = {"kind": "replay", "path": "two.jsonl", "fields": {"question": "q", "answer": "a"}, "samples": 2}
    teachers = SPEC["teachers"] | {"r": {"model": "r", "endpoint": {"kind": "reference"}}}
    teachers |= {"two": {"model": "two", "endpoint": twice}}
    spec = EVALUATE | {"teachers": teachers, "baselines": ["t", "r", "two"], "benchmarks": benchmarks}
    plan = lowered(tmp_path, spec)
    addresses = plan.experiments["many"].addresses[BASELINES]
    recipes: Any = {name: plan.nodes[ref].recipe for name, ref in addresses.items() if name.startswith("replies/")}
    indices = {name: recipe.sample_index for name, recipe in recipes.items()}
    once = {"replies/r/b": 0, "replies/two/b": 0, "replies/two/b/1": 1}
    assert indices == {"replies/t/b": 0, "replies/t/b/1": 1, "replies/t/b/2": 2} | once
    answers = tuple(addresses[name] for name in indices if name.startswith("replies/t/"))
    assert plan.nodes[addresses["baseline/t/b"]].inputs["answers"] == answers
    costs = price(plan, Store(tmp_path / "store"))
    assert total_cost(plan, costs, list(plan.nodes)).requests.mid == 3 * 10  # each sample is a question of its own
    report: Any = plan.nodes[plan.experiments["many"].report].recipe
    assert {one.name: len(one.evaluations[0].samples) for one in report.baselines} == {"t": 2, "r": 0, "two": 1}


def test_a_spec_without_a_student_measures_its_baselines(tmp_path: Path) -> None:
    plan = lowered(tmp_path, EVALUATE | {"baselines": ["t", "u"]})
    experiment = plan.experiments["many"]
    assert experiment.arms["base"] == []
    assert [plan.nodes[ref].kind for ref in experiment.arms[BASELINES]] == [
        "sample", "collect", "score", "collect", "score",
    ]  # fmt: skip
    shared = lowered(tmp_path, SPEC).nodes
    assert {ref for ref, node in plan.nodes.items() if node.label.startswith("u")} <= set(shared)


def test_a_spec_without_a_student_collects_all_its_datasets_and_has_no_report(tmp_path: Path) -> None:
    plan = lowered(tmp_path, COLLECT)
    experiment = plan.experiments["many"]
    addresses = experiment.addresses["base"]
    assert {"filter/d", "filter/e"} <= set(addresses)
    whole = lowered(tmp_path, SPEC | {"filters": {}}).experiments["many"].addresses["base"]
    assert addresses.items() <= whole.items()
    assert (experiment.report, experiment.targets) == ("", [addresses["filter/d"], addresses["filter/e"]])
    assert set(plan.closure(experiment.targets)) == set(plan.nodes) == set(addresses.values())
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json").experiments == plan.experiments


def test_a_single_stage_is_the_curriculum(tmp_path: Path) -> None:
    one = {key: value for key, value in SPEC.items() if key != "curriculum"} | {"stages": {"s": {"dataset": "d"}}}
    assert list(lowered(tmp_path, one).nodes) == list(lowered(tmp_path, one | {"curriculum": ["s"]}).nodes)


def test_only_the_scores_read_all_right_answers_so_that_evaluations_keep_their_ids(tmp_path: Path) -> None:
    (tmp_path / "task1.json").write_text(json.dumps({"Definition": "Do.", "Instances": []}))
    (tmp_path / "t.jsonl").write_text('{"q": "Q", "a": ["x", "y"]}')
    niv2 = {"format": "natural-instructions", "path": "task1.json"}
    table = {"format": "jsonl", "path": "t.jsonl", "fields": {"query": "q", "references": "a"}}
    plan = lowered(tmp_path, SPEC | {"benchmarks": {"niv2": niv2, "table": table}})
    at = plan.experiments["many"].addresses["base"]
    items = {
        name: plan.nodes[at[name]].recipe.source.items for name in ("items/niv2", "references/niv2", "items/table")
    }
    assert items == {"items/niv2": None, "references/niv2": "references", "items/table": "references"}
    read = {name: plan.nodes[at[name]].inputs["items"] for name in ("eval/niv2", "score/niv2", "score/table")}
    assert read == {
        "eval/niv2": (at["items/niv2"],),
        "score/niv2": (at["references/niv2"],),
        "score/table": (at["items/table"],),
    }
