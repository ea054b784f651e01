"""Tests of slurm/config.yaml and rules/: a dry run; and, on a real Slurm, cancelled and killed jobs and two machines.

The tests on a real Slurm need a machine with `slurmctld`, `slurmd` and `munged`, and ORCAC_SLURM_LAB: the path of a
script that starts a private Slurm of nodes with 8 CPUs and a (real or simulated) GPU and prints `export
SLURM_CONF=PATH`. `down.sh --wipe` beside that script stops the Slurm. The tests take three or four minutes, nearly all
of it waits of Slurm and Snakemake.
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

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SPEC = (ROOT / "specs" / "smoke.yaml").read_text().partition("ablations:")[0]
SPEC = SPEC.replace("take: 200", "take: 40").replace("take: 50", "take: 12")
SPEC = SPEC.replace("learning_rate: 2e-3,", "learning_rate: 2e-3, order: {by: pass_rate},", 1) + (
    "hardware:\n  train: {threads: 7, memory: 3 GiB}\n  eval: {gpus: 1, shards: 2}\n"
)
WAITS = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"]

needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason="snakemake-executor-plugin-slurm is not installed (the `slurm` extra)",
)


class SlurmJob(NamedTuple):
    id: str
    state: str
    cpus: str
    memory: str
    gpus: str
    comment: str  # rule_RULE_wildcards_ID


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec, its plan and an empty store, which the environment names."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    subprocess.run(["orcac", "compile", tmp_path / "spec.yaml"], cwd=ROOT, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A private Slurm that runs for one test."""
    if not os.environ.get("ORCAC_SLURM_LAB"):
        pytest.skip("ORCAC_SLURM_LAB is not set: no script to start a private Slurm with")
    search = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    missing = [name for name in ("sbatch", "slurmctld", "slurmd", "munged") if not shutil.which(name, path=search)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    up = Path(os.environ["ORCAC_SLURM_LAB"])
    try:
        output = subprocess.run([up], check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout
        monkeypatch.setenv("SLURM_CONF", output.strip().removeprefix("export SLURM_CONF="))
        yield
    finally:
        subprocess.run([up.with_name("down.sh"), "--wipe"], check=True, timeout=120)


@needs_plugin
def test_a_dry_run_plans_every_rule_with_its_resources(planned: Path) -> None:
    done = subprocess.run(["snakemake", "-n", "--profile", "slurm"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    counted = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert counted.keys() >= {path.stem for path in (ROOT / "rules").glob("*.smk")}
    blocks = dict(re.findall(r"^rule (\w+):\n(.*?)^\[", done.stdout, re.MULTILINE | re.DOTALL))
    assert "mem_mb=3072" in blocks["train"]
    assert "gpu=1" in blocks["eval"] and "gpu=1" in blocks["eval_shard"]
    assert "gpu=0" in blocks["train"]
    assert not re.search(r"nodes=|tasks|gres|mpi", done.stdout), "a job on one machine requests nothing else"


@needs_plugin
def test_cancelled_and_killed_on_slurm_it_finishes(planned: Path, lab: None) -> None:
    line = [str(BIN / "orcac"), "run", str(planned / "spec.yaml"), "--profile", "slurm", *WAITS]
    line += ["--slurm-logdir", str(planned / "logs")]

    with (planned / "first.txt").open("w") as output:
        first = subprocess.Popen(line, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        cancelled = running("rule_sample", first)
        subprocess.run(["scancel", cancelled.id], check=True)
        training = running("rule_train", first)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert training in jobs(), "a Slurm job must outlive the Snakemake that submitted it"

    second = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert second.returncode == 0, second.stderr[-3000:]
    assert "report.html" in second.stdout

    tries = [job for job in jobs() if job.comment == cancelled.comment]
    assert [(job.state, job.memory) for job in tries] == [("CANCELLED", "2000M"), ("COMPLETED", "4000M")]
    assert all(job.state == "COMPLETED" for job in jobs() if job.id != cancelled.id)
    asked = {job.comment.split("_")[1]: (job.cpus, job.gpus) for job in jobs()}
    assert asked["train"] == ("7", "N/A")
    assert asked["eval"] == ("1", "gres:gpu:1")
    ref = training.comment.removeprefix("rule_").replace("_wildcards_", "/")
    made = json.loads((planned / "store" / ref / "artifact.json").read_text())["made"]
    assert made["slurm_job"] == training.id, "the first run's job held the lease, so the second run's job waited"
    assert (planned / "store" / ref / "log.txt").is_file()
    assert list((planned / "logs").rglob(f"{training.id}.log"))


@needs_plugin
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
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    (job,) = jobs()
    squeue = subprocess.run(["squeue", "-h", "-t", "all", "-j", job.id, "-o", "%D %C"], check=True, capture_output=True)
    assert squeue.stdout.decode().split() == ["2", "2"]
    summary = json.loads(marker.read_text())["summary"]
    assert summary["processes"] == 2 and summary["final_loss"] < summary["first_loss"]


def jobs() -> list[SlurmJob]:
    """Return every job that Slurm remembers, oldest first."""
    fields = "JobID:|,State:|,NumCPUs:|,MinMemory:|,tres-per-job:|,Comment:100"
    line = ["squeue", "--noheader", "--states=all", "--sort=i", "--Format", fields]
    output = subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout
    return [SlurmJob(*(value.strip() for value in row.split("|"))) for row in output.splitlines()]


def running(comment: str, run: subprocess.Popen[bytes]) -> SlurmJob:
    """Wait until Slurm runs a job of a rule, and return it. Fails if `run` ends before."""
    while run.poll() is None:
        for job in jobs():
            if job.state == "RUNNING" and job.comment.startswith(f"{comment}_"):
                return job
        time.sleep(0.2)
    raise AssertionError(f"the run ended before a job of {comment} ran")
