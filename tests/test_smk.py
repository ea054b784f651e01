"""Tests of orcac/smk.py: the rules' inputs, outputs and resources, and the copy of the plan that a run keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.smk import Rules, find_snakefile, find_study_folder
from orcac.spec.load import load
from orcac.store.store import Store

ROOT = Path(__file__).parents[1]
SPEC = (ROOT / "specs" / "smoke.yaml").read_text().partition("ablations:")[0]
MULTI_NODE = ("nodes", "tasks", "tasks_per_gpu", "gres", "mpi")


def write_plan(folder: Path, hardware: str = "{}") -> Plan:
    (folder / "spec.yaml").write_text(f"{SPEC}hardware: {hardware}\n")
    plan = Plan()
    lower(plan, load(folder / "spec.yaml"))
    plan.write(folder / "plan.json")
    return plan


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a plan and a store, which the environment names."""
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("PATH", os.environ["PATH"])  # so that the test's end undoes the change of Rules
    monkeypatch.setenv("ORCAC_UPSTREAM", "")
    monkeypatch.delenv("ORCAC_TARGETS", raising=False)
    monkeypatch.setenv("ORCAC_RUN", "this")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def wildcards(ref: str, shard: str = "1-of-2") -> SimpleNamespace:
    return SimpleNamespace(id=ref.partition("/")[2], shard=shard)


def test_a_node_waits_for_the_markers_of_its_inputs_and_shards_until_it_is_done(folder: Path) -> None:
    plan = write_plan(folder)
    rules = Rules()
    ref, node = next((ref, node) for ref, node in plan.nodes.items() if getattr(node.execution, "shards", 1) == 2)
    markers = [str(folder / "store" / need / "artifact.json") for need in node.needs]
    shards = [str(folder / "store" / ref / "shards" / f"{index}-of-2" / "done.json") for index in (1, 2)]
    assert rules.shard_inputs("collect")(wildcards(ref)) == markers
    assert rules.inputs("collect")(wildcards(ref)) == markers + shards
    marker = Path(rules.marker("collect").format(id=ref.partition("/")[2]))
    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    assert rules.inputs("collect")(wildcards(ref)) == []


def test_answers_wait_for_the_pretrained_students_that_are_trained_on_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_pretrained_plan(folder)
    experiment = plan.experiments["smoke"]
    addresses = {name: experiment.addresses[name] for name in ("base", "other")}
    student, other = (addresses[name]["student"] for name in ("base", "other"))
    pool, few = (addresses["base"][f"collect/{name}"] for name in ("pool", "few"))
    replies = experiment.addresses["(baselines)"]["replies/expert/held-out"]
    markers = {ref: str(folder / "store" / ref / "artifact.json") for ref in (student, other, pool, few)}

    def list_waits(ref: str) -> set[str]:
        found = Rules().inputs("collect")(wildcards(ref))
        assert set(Rules().shard_inputs("collect")(wildcards(ref))) <= set(found)
        return {one for one in (student, other) if markers[one] in found}

    assert addresses["other"]["collect/pool"] == pool
    assert list_waits(pool) == {student, other}
    assert list_waits(few) == {student}  # the other arm trains on the pool alone
    assert list_waits(replies) == {student, other}, "no stage reads them"
    for variable, value in (("TARGETS", few), ("UNTIL", "collect"), ("UNTIL", "filter")):
        monkeypatch.setenv(f"ORCAC_{variable}", value)
        assert not list_waits(few), "this run makes no student"
        monkeypatch.delenv(f"ORCAC_{variable}")
    for kinds in ("tokenize", "student,collect"):
        monkeypatch.setenv("ORCAC_UNTIL", kinds)
        assert list_waits(few) == {student}
    monkeypatch.delenv("ORCAC_UNTIL")
    shard = folder / "store" / pool / "shards" / "1-of-2" / "done.json"
    shard.parent.mkdir(parents=True)
    shard.write_text("{}")
    for number, inputs in ((1, False), (2, True)):  # a student that is remade does not remake a finished shard
        assert bool(Rules().shard_inputs("collect")(wildcards(pool, shard=f"{number}-of-2"))) == inputs
    Path(markers[pool]).write_text("{}")
    assert not list_waits(pool)
    Path(markers[student]).parent.mkdir(parents=True)
    Path(markers[student]).write_text("{}")
    assert not list_waits(few), "its student is made"


def write_pretrained_plan(folder: Path) -> Plan:
    """Write the plan of a spec whose arms train two pretrained students, one of them on one dataset alone."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        for file in ("model.safetensors", "tokenizer.json"):
            (folder / name / file).write_text(name)
        (folder / name / "config.json").write_text("{}")
    text, _, rest = SPEC.partition("student:\n")
    _, _, stages = rest.partition("stages:\n")
    text += "student: {base: one, max_length: 256}\nstages:\n" + stages
    text += "baselines: [expert]\nablations: {other: {student: {base: two}, curriculum: [first]}}\n"
    (folder / "spec.yaml").write_text(text)
    plan = Plan()
    lower(plan, load(folder / "spec.yaml"))
    plan.write(folder / "plan.json")
    return plan


def test_the_marker_of_a_node_that_only_the_upstream_has_is_the_one_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rule makes it, and it needs no input and no shard."""
    plan = write_plan(folder)
    monkeypatch.setenv("ORCAC_UPSTREAM", str(folder / "lab"))
    report = plan.experiments["smoke"].report
    needs = plan.nodes[report].needs
    for ref in needs[1:]:
        marker = folder / "lab" / ref / "artifact.json"
        marker.parent.mkdir(parents=True)
        marker.write_text("{}")
    rules = Rules()
    assert os.environ["ORCAC_UPSTREAM"] == str(folder / "lab")  # which jobs inherit
    own = folder / "store" / needs[0] / "artifact.json"
    assert rules.inputs("report")(wildcards(report)) == [str(own)], "Snakemake plans what is left"
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    assert rules.inputs("report")(wildcards(report)) == []
    (folder / "lab" / report).mkdir(parents=True)
    (folder / "lab" / report / "artifact.json").write_text("{}")
    assert rules.targets == [f"{folder}/lab/{report}/artifact.json"]


def test_an_evaluation_waits_for_shards_unless_version_1_has_its_answers(folder: Path) -> None:
    plan = write_plan(folder, "{eval: {gpus: 1, shards: 3}}")
    rules = Rules()
    ref = plan.experiments["smoke"].addresses["base"]["eval/held-out"]
    store = folder / "store"
    markers = rules.shard_inputs("eval")(wildcards(ref))
    shards = [rules.shard("eval").format(id=ref.partition("/")[2], shard=f"{index}-of-3") for index in (1, 2, 3)]
    assert sorted(markers) == sorted(str(store / need / "artifact.json") for need in plan.nodes[ref].needs)
    assert rules.inputs("eval")(wildcards(ref)) == markers + shards
    earlier = store / plan.nodes[ref].execution.earlier[0] / "artifact.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("{}")
    assert rules.inputs("eval")(wildcards(ref)) == markers


def test_the_targets_are_all_reports_or_those_of_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = write_plan(folder)
    (experiment,) = plan.experiments.values()
    assert Rules().targets == [str(folder / "store" / experiment.report / "artifact.json")]
    monkeypatch.setenv("ORCAC_TARGETS", "train/1,eval/2")
    assert Rules().targets == [str(folder / "store" / ref / "artifact.json") for ref in ("train/1", "eval/2")]


def test_a_resource_is_a_value_if_all_nodes_of_the_kind_agree_else_a_function(folder: Path) -> None:
    plan = write_plan(folder, "{train: {threads: 7, memory: 3 GiB, time: 2 hours}}")
    rules = Rules()
    assert (rules.threads("train"), rules.gpus("train")) == (7, 0)
    train = next(ref for ref in plan.nodes if ref.startswith("train/"))
    data = json.loads((folder / "plan.json").read_text())
    data["nodes"][train]["execution"]["threads"] = 9
    (folder / "plan.json").write_text(json.dumps(data))
    os.environ["ORCAC_PLAN"] = str(folder / "plan.json")
    threads = Rules().threads("train")
    assert callable(threads)
    assert {threads(wildcards(ref)) for ref in plan.nodes if ref.startswith("train/")} == {7, 9}


def of_node(ref: str) -> SimpleNamespace:
    """Return the wildcards of a job that makes a whole node."""
    return SimpleNamespace(id=ref.partition("/")[2])


def write_slurm(folder: Path, jobs: dict[str, str], limits: str = "infinite|20000") -> None:
    """Put commands of Slurm first on the PATH, which print recorded lines."""
    lines = "".join(f"{job}) echo 'JobId={job} {line}' ;;\n" for job, line in jobs.items())
    scripts = {
        "scontrol": f'case "$3" in\n{lines}*) echo "slurm_load_jobs error: Invalid job id" >&2; exit 1;;\nesac',
        "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1",
        "sinfo": f"echo '{limits}'",
    }
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    if not os.environ["PATH"].startswith(str(folder)):
        os.environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


def write_tries(folder: Path, ref: str, *jobs: str, run: str = "this") -> None:
    (folder / "store" / ref).mkdir(parents=True, exist_ok=True)
    (folder / "store" / ref / "tries.json").write_text(json.dumps({"run": run, "jobs": jobs}))


ENDED = "JobState={} Reason=x ExitCode=0:0 TimeLimit=02:00:00 Partition=main StdOut={}"


@pytest.mark.parametrize(
    ("states", "memory", "minutes"),
    [
        ([], 3072, 60),  # the first try
        (["CANCELLED"], 3072, 60),
        (["FAILED"], 3072, 60),
        (["NODE_FAIL", "PREEMPTED"], 3072, 60),
        (["OUT_OF_MEMORY"], 6144, 60),
        (["TIMEOUT"], 3072, 120),
        (["OUT_OF_MEMORY", "TIMEOUT"], 6144, 120),
        (["OUT_OF_MEMORY", "OUT_OF_MEMORY", "OUT_OF_MEMORY"], 20000, 60),  # the largest machine
        (["TIMEOUT", "TIMEOUT", "TIMEOUT"], 3072, 360),  # the partition's limit
    ],
)
def test_a_job_that_is_submitted_again_gets_more_of_what_was_short(
    folder: Path, states: list[str], memory: int, minutes: int
) -> None:
    plan = write_plan(folder, "{train: {memory: 3 GiB, time: 1 hour}}")
    ref = next(ref for ref in plan.nodes if ref.startswith("train/"))
    rules = Rules()
    find_memory, find_minutes = rules.memory("train"), rules.minutes("train")
    write_slurm(folder, {str(job): ENDED.format(state, "") for job, state in enumerate(states, 1)}, "6:00:00|20000")
    if states:
        write_tries(folder, ref, *map(str, range(1, len(states) + 1)))
    attempt = len(states) + 1
    assert (find_memory(of_node(ref), attempt), find_minutes(of_node(ref), attempt)) == (memory, minutes)
    write_slurm(folder, {}, "6:00:00|20000")  # Slurm forgets its jobs, and the run does not
    assert (find_memory(of_node(ref), attempt), find_minutes(of_node(ref), attempt)) == (memory, minutes)


def test_a_kill_for_memory_is_found_in_the_log_and_in_the_nodes_own_record(folder: Path) -> None:
    """Slurm calls a job FAILED if only a step of it was killed."""
    plan = write_plan(folder, "{train: {memory: 3 GiB}}")
    one, two = [ref for ref in plan.nodes if ref.startswith("train/")]
    log = folder / "8.log"
    log.write_text("rule train:\nslurmstepd: error: Detected 1 oom_kill event in StepId=8.0. Some of the step tasks\n")
    write_slurm(folder, {"8": ENDED.format("FAILED", log), "9": ENDED.format("FAILED", folder / "no.log")})
    memory = Rules().memory("train")
    write_tries(folder, one, "8")
    write_tries(folder, two, "9")
    assert memory(of_node(one), 2) == 6144
    Store(folder / "store").record_error(two, "rank 1 of 2 was ended by SIGKILL", 1, short_of="memory")
    assert memory(of_node(two), 2) == 6144


def test_the_tries_of_another_run_and_an_absent_slurm_change_nothing(folder: Path) -> None:
    plan = write_plan(folder, "{train: {memory: 3 GiB}}")
    one, two = [ref for ref in plan.nodes if ref.startswith("train/")]
    write_tries(folder, one, "8", run="other")
    write_tries(folder, two, "8")
    memory = Rules().memory("train")
    write_slurm(folder, {"8": ENDED.format("OUT_OF_MEMORY", "")})
    assert memory(of_node(one), 2) == 3072
    write_slurm(folder, {})
    assert memory(of_node(two), 2) == 3072


def test_resources_are_those_of_the_spec_or_of_the_estimate_or_the_default(folder: Path) -> None:
    plan = write_plan(folder, "{train: {memory: 3 GiB}}")
    ref = next(ref for ref in plan.nodes if ref.startswith("train/"))
    assert (Rules().memory("train")(of_node(ref), 1), Rules().minutes("train")(of_node(ref), 1)) == (3072, 120)
    data = json.loads((folder / "plan.json").read_text())
    data["nodes"][ref]["execution"]["estimate"] = {"memory_mb": 9000, "minutes": 700, "is_brief": False}
    (folder / "plan.json").write_text(json.dumps(data))
    os.environ["ORCAC_PLAN"] = str(folder / "plan.json")
    assert (Rules().memory("train")(of_node(ref), 1), Rules().minutes("train")(of_node(ref), 1)) == (3072, 700)


def test_a_profile_names_gpus_and_the_spec_features(folder: Path) -> None:
    gpu = "gpus: 2, gpu: a100-80gb, constraint: a100&ib"
    write_plan(folder, f"{{train: {{{gpu}}}, eval: {{gpus: 1, gpu: h100-80gb}}}}")
    rules = Rules({"gpu_types": {"a100-80gb": "a100"}})
    assert (rules.gpu_model("train"), rules.gpus("train"), rules.constraint("train")) == ("a100", 2, "a100&ib")
    assert (rules.gpu_model("eval"), rules.gpus("eval"), rules.constraint("eval")) == (None, 1, None)
    assert Rules().gpu_model("train") is None
    write_plan(folder, f"{{train: {{nodes: 2, {gpu.replace('gpus: 2', 'gpus: 1')}}}}}")
    os.environ["ORCAC_PLAN"] = str(folder / "plan.json")
    rules = Rules({"gpu_types": {"a100-80gb": "a100"}})
    assert (rules.gpu_model("train"), rules.multi_node("train", "gres")) == (None, "gpu:a100:1")


def test_a_profile_chains_kinds_and_makes_some_on_the_login_node(folder: Path) -> None:
    plan = write_plan(folder)
    addresses = plan.experiments["smoke"].addresses["base"]
    rules = Rules({"chained": "sample collect filter tokenize", "on_login_node": "report"})
    names = {
        kind: rules.group(kind)(of_node(addresses[f"{address}/few"]))  # type: ignore[misc]
        for kind, address in (("sample", "subset"), ("collect", "collect"), ("filter", "filter"))
    }
    assert set(names.values()) == {f"orcac:tokenize/few@base.{addresses['tokenize/few'].partition('/')[2][:6]}"}
    shard = SimpleNamespace(id=addresses["collect/pool"].partition("/")[2], shard="1-of-2")
    assert rules.group("collect")(shard) == f"orcac:collect/pool@base.{shard.id[:6]}.1-of-2"  # type: ignore[misc]
    assert rules.is_local("report") and rules.group("report") is None and not rules.is_local("sample")
    assert rules.group("filter") and Rules().group("filter") is None, "a local run has no groups"
    find_group = Rules({"chained": ""}).group("filter")
    assert len({find_group(of_node(ref)) for ref in plan.nodes if ref.startswith("filter/")}) == 2  # type: ignore[misc]


def test_an_evaluation_that_version_1_made_requests_no_gpu(folder: Path) -> None:
    plan = write_plan(folder, "{eval: {gpus: 1}}")
    assert Rules().gpus("eval") == 1
    node = next(node for node in plan.nodes.values() if node.kind == "eval")
    marker = folder / "store" / node.execution.earlier[1] / "artifact.json"
    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    os.environ["ORCAC_PLAN"] = str(folder / "plan.json")
    assert Rules().gpus("eval") == 0


@pytest.mark.parametrize(
    ("hardware", "resources"),
    [
        ("{nodes: 2}", {"nodes": 2, "tasks": 2, "tasks_per_gpu": 0, "mpi": "srun", "gres": None, "gpu": 0}),
        ("{nodes: 2, gpus: 1}", {"nodes": 2, "tasks": 2, "tasks_per_gpu": 0, "mpi": "srun", "gres": "gpu:1", "gpu": 0}),
        ("{gpus: 1}", dict.fromkeys(MULTI_NODE) | {"gpu": 1}),
    ],
)
def test_a_stage_on_several_machines_requests_them_of_slurm(
    folder: Path, hardware: str, resources: dict[str, object]
) -> None:
    write_plan(folder, f"{{train: {hardware}}}")
    rules = Rules()
    assert {name: rules.multi_node("train", name) for name in MULTI_NODE} | {"gpu": rules.gpus("train")} == resources


def test_jobs_read_the_plan_that_their_run_began_with(folder: Path) -> None:
    write_plan(folder)
    original = (folder / "plan.json").read_text()
    Rules()
    copy = Path(os.environ["ORCAC_PLAN"])
    (folder / "plan.json").write_text(original.replace('"order"', '"other"'))
    Rules()  # as in a job, which inherits the environment
    assert Path(os.environ["ORCAC_PLAN"]) == copy
    assert json.loads(copy.read_text()) == json.loads(original)


def test_a_node_that_is_not_in_the_plan_ends_snakemake_with_a_fix(folder: Path) -> None:
    write_plan(folder)
    with pytest.raises(SystemExit, match=r"train/0: no such node in the plan\n  fix: compile the spec again"):
        Rules().inputs("train")(wildcards("train/0"))


def test_a_checkout_is_a_study_folder() -> None:
    assert find_study_folder() == ROOT
    assert find_snakefile(ROOT) == ROOT / "Snakefile"
