"""Tests of the whole pipeline (Snakefile, rules/): `orcac run` with the real Snakemake, killed, rerun and edited."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SPEC = (ROOT / "specs" / "smoke.yaml").read_text().replace("take: 200", "take: 60").replace("take: 50", "take: 20")
SPEC = SPEC.replace("learning_rate: 2e-3,", "learning_rate: 2e-3, order: {by: pass_rate},", 1)


def orcac(folder: Path, *line: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "orcac", *line],
        cwd=ROOT,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=400,
        umask=0o002,  # of a user whose group shares the store
    )


def environment(folder: Path, **more: str) -> dict[str, str]:
    return os.environ | {"ORCAC_STORE": str(folder / "store"), "ORCAC_PLAN": str(folder / "plan.json")} | more


def artifacts(folder: Path) -> dict[str, dict[str, str]]:
    """Return KIND/ID -> file -> digest for every artifact in the store."""
    found = {}
    for marker in (folder / "store").glob("*/*/artifact.json"):
        record = json.loads(marker.read_text())
        found[record["ref"]] = {name: facts["sha256"] for name, facts in record["files"].items()}
    return found


def read_packages(folder: Path) -> dict[str, dict[str, str]]:
    """Return KIND/ID -> the packages that made an artifact, for every artifact in the store."""
    records = [json.loads(marker.read_text()) for marker in (folder / "store").glob("*/*/artifact.json")]
    return {record["ref"]: record["made"]["packages"] for record in records}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    folder.chmod(0o2775)
    (folder / "spec.yaml").write_text(SPEC)
    done = orcac(folder, "run", str(folder / "spec.yaml"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "no-first" in done.stdout
    assert "report.html" in done.stdout
    return folder


def test_every_kind_is_made_and_a_second_run_does_nothing(finished: Path) -> None:
    before = artifacts(finished)
    kinds = {ref.partition("/")[0] for ref in before}
    assert kinds == {path.stem for path in (ROOT / "rules").glob("*.smk")}
    again = orcac(finished, "run", str(finished / "spec.yaml"))
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert artifacts(finished) == before
    status = json.loads(orcac(finished, "status", "--json").stdout)
    assert {state["name"] for state in status["states"].values()} == {"done"}


def test_the_group_may_read_and_continue_everything_in_the_store(finished: Path) -> None:
    paths = [finished / "store", *(finished / "store").rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert not [path for path, mode in modes.items() if mode & 0o060 != 0o060]
    assert not [path for path, mode in modes.items() if path.is_dir() and mode != 0o2775]


def test_cold_jobs_leave_the_bytes_of_warm_ones(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "store", tmp_path / "store")
    shutil.copy(finished / "plan.json", tmp_path)
    warm, packages = artifacts(finished), read_packages(finished)
    shutil.rmtree(tmp_path / "store" / "answers")  # else `collect` would find its answers there
    one_of_each = {ref.partition("/")[0]: ref for ref in sorted(warm)}.values()
    for ref in one_of_each:
        for record in ("artifact.json", "complete.json"):
            (tmp_path / "store" / ref / record).unlink()
        made = orcac(tmp_path, "make", ref)
        assert made.returncode == 0 and "already" not in made.stderr, made.stderr
    assert artifacts(tmp_path) == warm
    assert read_packages(tmp_path) == packages


def test_an_edit_remakes_the_nodes_that_diff_listed_and_no_others(finished: Path) -> None:
    edited = finished / "edited.yaml"
    edited.write_text(SPEC.replace("no-first: {curriculum: [second]}", "no-first: {curriculum: [first]}"))
    before = artifacts(finished)
    output = orcac(finished, "diff", f"{finished / 'spec.yaml'}:no-first", f"{edited}:no-first", "--json")
    assert output.returncode == 1
    (diff,) = json.loads(output.stdout)
    assert diff["changes"] == [{"path": "curriculum", "old": ["second"], "new": ["first"], "kind": "semantic"}]
    assert orcac(finished, "run", str(edited)).returncode == 0
    made = {ref for ref in artifacts(finished).keys() - before.keys() if not ref.startswith("report/")}
    assert made == set(diff["nodes"]["remade"])
    assert made


def test_a_run_that_was_killed_anywhere_finishes_with_the_same_artifacts(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    rng, line = random.Random(7), [str(BIN / "orcac"), "run", str(tmp_path / "spec.yaml")]
    for goal in (1, 4, 8, 12):  # of about twenty artifacts
        child = subprocess.Popen(
            line, cwd=ROOT, env=environment(tmp_path), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        while len(artifacts(tmp_path)) < goal:
            assert child.poll() is None, "it ended with fewer artifacts"
            time.sleep(0.1)
        time.sleep(rng.uniform(0, 1))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    done = orcac(tmp_path, "run", str(tmp_path / "spec.yaml"))
    assert done.returncode == 0, done.stderr[-3000:]
    again, whole = artifacts(tmp_path), artifacts(finished)
    assert all(again[ref] == whole[ref] for ref in again), "an artifact differs from the uninterrupted run's"
    reports = [ref for ref in again if ref.startswith("report/")]
    assert len(reports) == 1


def test_a_damaged_input_is_named_and_can_be_remade(finished: Path) -> None:
    spec = SPEC.replace("max_length: 256", "max_length: 250")  # so that the examples are read again
    (finished / "longer.yaml").write_text(spec)
    plan = json.loads(orcac(finished, "plan", str(finished / "longer.yaml"), "--json").stdout)
    ref = next(row["ref"] for row in plan if row["ref"].startswith("filter/") and row["label"] == "few")
    path = finished / "store" / ref / "kept.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    failed = orcac(finished, "run", str(finished / "longer.yaml"))
    assert failed.returncode == 5, failed.stderr[-2000:]
    assert f"{ref}/kept.parquet: the file is damaged" in failed.stderr, failed.stderr[-3000:]
    assert "Traceback" not in failed.stderr
    subprocess.run(["rm", "-r", path.parent], check=True)
    assert orcac(finished, "run", str(finished / "longer.yaml")).returncode == 0


def test_a_teacher_that_is_down_is_an_error_that_names_its_address(finished: Path) -> None:
    endpoint = "{kind: openai, base_url: 'http://127.0.0.1:9/v1', attempts: 2}"
    spec = re.sub(
        r"expert:\n    model: expert\n    endpoint: .*", f"expert:\n    model: m\n    endpoint: {endpoint}", SPEC
    )
    (finished / "down.yaml").write_text(spec)
    failed = orcac(finished, "run", str(finished / "down.yaml"), OPENAI_API_KEY="sk-a-secret-key")
    assert failed.returncode == 4, failed.stderr[-2000:]
    assert "http://127.0.0.1:9/v1" in failed.stderr
    assert "Traceback" not in failed.stderr
    written = [path for path in (finished / "store").rglob("*") if path.is_file()]
    assert not any(b"sk-a-secret-key" in path.read_bytes() for path in written)
    assert "sk-a-secret-key" not in failed.stderr + failed.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["run"], "no spec is given"),
        (["run", "nowhere.yaml"], "no such file"),
        (["make", "train/0"], "there is no plan"),
        (["diff", "specs/smoke.yaml:nobody"], "no arm `nobody`"),
    ],
)
def test_wrong_arguments_exit_with_2(tmp_path: Path, line: list[str], message: str) -> None:
    failed = orcac(tmp_path, *line)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert "fix:" in failed.stderr
    assert "Traceback" not in failed.stderr
