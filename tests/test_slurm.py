"""Tests of orcac/slurm.py, slurm/config.yaml and rules/: what Slurm prints; a dry run; and jobs on a real Slurm.

The tests on a real Slurm need a machine with `slurmctld`, `slurmd` and `munged`, and ORCAC_SLURM_LAB: the path of a
script that starts a private Slurm of nodes with 8 CPUs and a (real or simulated) GPU and prints `export
SLURM_CONF=PATH`. `down.sh --wipe` beside that script stops the Slurm.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from patience import PATIENCE_S

from orcac.slurm import JobFacts, Limits, find_cause, parse_job, parse_limits

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SPEC = (ROOT / "specs" / "smoke.yaml").read_text().partition("ablations:")[0]
SPEC = SPEC.replace("take: 200", "take: 40").replace("take: 50", "take: 12")
SPEC = SPEC.replace("learning_rate: 2e-3,", "learning_rate: 2e-3, order: {by: pass_rate},", 1) + (
    "hardware:\n  train: {threads: 7, memory: 3 GiB}\n  eval: {gpus: 1, shards: 2}\n"
)
EARLIER: set[str] = set()  # the jobs of tests before this one
WAITS = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"]

needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason="snakemake-executor-plugin-slurm is not installed (the `slurm` extra)",
)


on_slurm = pytest.mark.xdist_group("slurm")  # all use one private Slurm


class SlurmJob(NamedTuple):
    id: str
    state: str
    cpus: str
    memory: str
    gpus: str
    comment: str  # rule_orcac:KIND/NAME@ARM.ID_RULES


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec, its plan and an empty store, which the environment names."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    subprocess.run(["orcac", "compile", tmp_path / "spec.yaml"], cwd=ROOT, check=True, capture_output=True)
    return tmp_path


@pytest.fixture(scope="module")
def running_lab() -> Iterator[str]:
    """A private Slurm that runs for the tests of this file; the path of its configuration."""
    if not os.environ.get("ORCAC_SLURM_LAB"):
        pytest.skip("ORCAC_SLURM_LAB is not set: no script to start a private Slurm with")
    search = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    missing = [name for name in ("sbatch", "slurmctld", "slurmd", "munged") if not shutil.which(name, path=search)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    up = Path(os.environ["ORCAC_SLURM_LAB"])
    try:
        output = subprocess.run([up], check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S).stdout
        yield output.strip().removeprefix("export SLURM_CONF=")
    finally:
        subprocess.run([up.with_name("down.sh"), "--wipe"], check=True, timeout=PATIENCE_S)


@pytest.fixture
def lab(running_lab: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The private Slurm, without a job of another test."""
    monkeypatch.setenv("SLURM_CONF", running_lab)
    for job in jobs(every=True):
        subprocess.run(["scancel", job.id], check=True)
        EARLIER.add(job.id)


# `scontrol show job --oneliner` of Slurm 22.05 for three jobs, cut; the last as on a cluster with cgroups
RECORDED = {
    "JobId=32 JobName=wrap UserId=root(0) QOS=(null) JobState=TIMEOUT Reason=TimeLimit Dependency=(null) ExitCode=0:15 "
    "RunTime=00:01:29 TimeLimit=00:01:00 Partition=main AllocNode:Sid=localhost:2295 StdOut=/tmp/32.log Power= ": (
        JobFacts("TIMEOUT", "main", "/tmp/32.log"),
        "time",
    ),
    "JobId=21 JobName=orcac_52c7 JobState=CANCELLED Reason=None ExitCode=0:15 Partition=gpu StdOut=/tmp/21.log": (
        JobFacts("CANCELLED", "gpu", "/tmp/21.log"),
        "",
    ),
    "JobId=9 JobName=orcac_52c7 JobState=OUT_OF_MEMORY Reason=OutOfMemory ExitCode=0:125 Partition=main StdOut=/x": (
        JobFacts("OUT_OF_MEMORY", "main", "/x"),
        "memory",
    ),
}


@pytest.mark.parametrize("line", RECORDED)
def test_the_end_of_a_job_shows_what_was_short(line: str) -> None:
    facts, cause = RECORDED[line]
    assert parse_job(line) == facts and find_cause(facts) == cause
    assert parse_job("slurm_load_jobs error: Invalid job id specified") is None


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=8.0. Some of your",
            "memory",
        ),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=8.batch. Some of the step tasks",
            "memory",
        ),
        ("srun: error: n1: task 0: Out Of Memory", "memory"),
        ("collect  the answer: the room was out of memorable things", ""),
    ],
)
def test_a_killed_step_shows_in_the_log_of_a_failed_job(tmp_path: Path, line: str, cause: str) -> None:
    (tmp_path / "8.log").write_text(f"rule train:\n{line}\nExiting\n")
    assert find_cause(JobFacts("FAILED", "main", str(tmp_path / "8.log"))) == cause
    assert find_cause(JobFacts("CANCELLED", "main", str(tmp_path / "8.log"))) == ""


@pytest.mark.parametrize(
    ("lines", "limits"),
    [
        (["infinite|20000"], Limits(None, 20000)),
        (["1-12:00:00|20000+", "30:00|64000"], Limits(2160, 64000)),
        (["2:30:00|1000", "infinite|900"], Limits(None, 1000)),
        ([], Limits()),
        (["n/a|?"], Limits()),
    ],
)
def test_the_limits_of_partitions_are_the_largest(lines: list[str], limits: Limits) -> None:
    assert parse_limits(lines) == limits


@needs_plugin
def test_a_dry_run_plans_every_rule_with_its_resources(planned: Path) -> None:
    done = subprocess.run(["snakemake", "-n", "--profile", "slurm"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    counted = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert counted.keys() >= {path.stem for path in (ROOT / "rules").glob("*.smk")}
    blocks = dict(re.findall(r"^ *rule (\w+):\n(.*?)^ *\[", done.stdout, re.MULTILINE | re.DOTALL))
    assert "mem_mb=3072" in blocks["train"] and "runtime=30" in blocks["train"]
    assert "gpu=1" in blocks["eval"] and "gpu=1" in blocks["eval_shard"]
    assert "gpu=0" in blocks["train"]
    assert not re.search(r"nodes=|tasks|gres|mpi|constraint|gpu_model", done.stdout), "nothing else is requested"


@needs_plugin
@on_slurm
def test_cancelled_and_killed_on_slurm_it_finishes(planned: Path, lab: None) -> None:
    # the study, where Snakemake runs, is the checkout at first, and the folder of the spec once it has a store
    line = [str(BIN / "orcac"), "run", str(planned / "spec.yaml"), "--profile", str(ROOT / "slurm"), *WAITS]
    line += ["--slurm-logdir", str(planned / "logs")]

    with (planned / "first.txt").open("w") as output:
        first = subprocess.Popen(line, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        cancelled = running("sample/pool-boolean@base", first)
        subprocess.run(["scancel", cancelled.id], check=True)
        training = running("train/second@base", first)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert training in jobs(), "a Slurm job must outlive the Snakemake that submitted it"

    second = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S * 6)
    assert second.returncode == 0, second.stderr[-3000:]
    assert "report.html" in second.stdout

    tries = [job for job in jobs() if job.comment == cancelled.comment]
    assert [(job.state, job.memory) for job in tries] == [("CANCELLED", "2000M"), ("COMPLETED", "2000M")]
    assert all(job.state == "COMPLETED" for job in jobs() if job.id != cancelled.id)
    asked = {read_name(job): (job.cpus, job.gpus) for job in jobs()}
    assert asked["train/second@base"] == ("7", "N/A")
    assert asked["eval/held-out@base"] == ("1", "gres:gpu:1")
    plan = json.loads((planned / "plan.json").read_text())
    refs = plan["experiments"]["smoke"]["addresses"]["base"]

    def maker(address: str) -> str:
        record = json.loads((planned / "store" / refs[address] / "artifact.json").read_text())
        return str(record["made"]["slurm_job"])

    assert maker("collect/few") == maker("tokenize/few"), "the steps of a dataset share a job"
    ref = refs["train/first"]  # in one job with the second stage
    assert maker("train/first") == training.id, "the first run's job held the lease, so the second run's job waited"
    assert (planned / "store" / ref / "log.txt").is_file()
    assert list((planned / "logs").rglob(f"{training.id}.log"))


@needs_plugin
@on_slurm
def test_two_machines_train_one_stage(planned: Path, lab: None) -> None:
    """The inputs are made on this machine, and the stage by one Slurm job, with ZeRO-2 across the machines."""
    train = "{nodes: 2, zero: 2, micro_batch: 1}"
    (planned / "spec.yaml").write_text(SPEC.partition("hardware:")[0] + f"hardware:\n  train: {train}\n")
    subprocess.run(["orcac", "compile", planned / "spec.yaml"], cwd=ROOT, check=True, capture_output=True)
    nodes = json.loads((planned / "plan.json").read_text())["nodes"]
    (ref,) = [ref for ref, node in nodes.items() if node["inputs"].get("start", [""])[0].startswith("student/")]
    needs = [planned / "store" / need / "artifact.json" for needed in nodes[ref]["inputs"].values() for need in needed]
    subprocess.run(["snakemake", "--cores", "2", *needs], cwd=ROOT, check=True, capture_output=True)

    marker = planned / "store" / ref / "artifact.json"
    line = ["snakemake", "--profile", "slurm", *WAITS, "--slurm-logdir", str(planned / "logs"), str(marker)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S * 6)
    assert done.returncode == 0, done.stderr[-3000:]
    (job,) = jobs()
    squeue = subprocess.run(["squeue", "-h", "-t", "all", "-j", job.id, "-o", "%D %C"], check=True, capture_output=True)
    assert squeue.stdout.decode().split() == ["2", "2"]
    summary = json.loads(marker.read_text())["summary"]
    assert summary["processes"] == 2 and summary["final_loss"] < summary["first_loss"]


def jobs(*, every: bool = False) -> list[SlurmJob]:
    """Return every job that Slurm remembers of this test, or of `every` one, oldest first."""
    fields = "JobID:|,State:|,NumCPUs:|,MinMemory:|,tres-per-job:|,Comment:200"
    line = ["squeue", "--noheader", "--states=all", "--sort=i", "--Format", fields]
    output = subprocess.run(line, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    found = [SlurmJob(*(value.strip() for value in row.split("|"))) for row in output.splitlines()]
    return [job for job in found if every or job.id not in EARLIER]


def read_name(job: SlurmJob) -> str:
    """Return the kind, name and arm in a job's comment, without the id of the node."""
    return job.comment.removeprefix("rule_orcac:").rpartition(".")[0].split(".")[0]


def running(name: str, run: subprocess.Popen[bytes]) -> SlurmJob:
    """Wait until Slurm runs a job of this name, and return it. Fails if `run` ends before."""
    while run.poll() is None:
        for job in jobs():
            if job.state == "RUNNING" and read_name(job) == name:
                return job
        time.sleep(0.2)
    raise AssertionError(f"the run ended before a job of {name} ran")
