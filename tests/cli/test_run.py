"""Tests of orcac/cli/run.py and orcac/cli/make.py: signals, and arguments passed to Snakemake."""

from __future__ import annotations

import contextlib
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

import pytest
import tiny
from faults import FaultServer
from patience import PATIENCE_S

from orcac.chat.ledger.files import read_records

SMOKE = Path(__file__).parents[2] / "specs" / "smoke.yaml"
ORCAC = Path(sys.executable).parent / "orcac"

WAIT = "import subprocess, sys; from orcac.cli.run import _wait; _wait(subprocess.Popen([sys.executable, '-c', {!r}]))"
# As Snakemake's scheduler does it: the handler takes a lock, and a second signal within it waits for that for ever.
CHILD = """
import os, signal, threading, time
lock, told = threading.Lock(), []
def handle(*_):
    with lock:
        print("told", flush=True)
        os.read(0, 1)
    told.append(1)
signal.signal(signal.SIGTERM, handle)
print(os.getpid(), flush=True)
while not told:
    time.sleep(0.01)
raise SystemExit(1)
"""


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[bytes]]:
    run = subprocess.Popen(
        [sys.executable, "-c", WAIT.format(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    yield run
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()


def test_sigterm_to_all_at_once_stops_all(waiting: subprocess.Popen[bytes]) -> None:
    assert waiting.stdout
    child = int(waiting.stdout.readline())
    os.kill(child, signal.SIGTERM)
    assert waiting.stdout.readline() == b"told\n"
    waiting.terminate()
    _, said = waiting.communicate(b"\n", timeout=PATIENCE_S)
    assert b"KeyboardInterrupt" in said  # so exit code 130, not that of a node that failed


def test_sigterm_to_us_alone_reaches_snakemake(waiting: subprocess.Popen[bytes]) -> None:
    assert waiting.stdout
    waiting.stdout.readline()
    waiting.terminate()
    assert waiting.stdout.readline() == b"told\n"
    waiting.terminate()
    _, said = waiting.communicate(b"\n", timeout=PATIENCE_S)
    assert b"KeyboardInterrupt" in said


def test_sigterm_to_us_alone_lets_jobs_end_with_what_they_have(tmp_path: Path) -> None:
    with FaultServer(latency_s=0.5) as server:
        spec = tmp_path / "spec.yaml"
        endpoint = f"{{kind: openai, base_url: {json.dumps(server.base_url)}, concurrency: 4}}"
        spec.write_text(
            f"orcac: 1\nname: stopped\nseed: 1\nextends: {SMOKE}\n"
            f"teachers: {{assistant: {{model: m, endpoint: {endpoint}}}}}\n"
        )
        line = [Path(sys.executable).parent / "orcac", "run", spec, "--until", "collect"]
        environment = os.environ | {"ORCAC_STORE": str(tmp_path / "store"), "ORCAC_PLAN": str(tmp_path / "plan.json")}
        run = subprocess.Popen(line, env=environment, start_new_session=True, stderr=subprocess.PIPE)
        try:
            while server.billed.total() < 20:
                assert run.poll() is None
                time.sleep(0.05)
            run.terminate()
            _, said = run.communicate(timeout=PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
        assert run.returncode == 130, said
        kept = {record["request"]["messages"][-1][1] for record in read_records(tmp_path / "store" / "answers")}
        assert 20 <= server.billed.total() < 200 and set(server.billed.values()) == {1}
        assert server.billed.keys() <= kept, "what was in flight, too"


def test_a_part_of_the_plan_is_not_a_failure(tmp_path: Path) -> None:
    line = [Path(sys.executable).parent / "orcac", "run", SMOKE, "--until", "sample"]
    environment = os.environ | {"ORCAC_STORE": str(tmp_path / "store"), "ORCAC_PLAN": str(tmp_path / "plan.json")}
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not all that the spec needs" in done.stderr and "stopped" not in done.stderr


def test_no_question_is_asked_if_the_student_cannot_be_trained_in_its_chat_format(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    examples = tiny.write_examples(tmp_path / "kept", [tiny.response(number) for number in range(50)])
    student = tiny.make_student(tmp_path / "made", examples) / "model"
    (student / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with FaultServer() as server:
        endpoint = f"{{kind: openai, base_url: {json.dumps(server.base_url)}}}"
        spec = tmp_path / "spec.yaml"
        spec.write_text(
            "orcac: 1\nname: unproven\nseed: 1\n"
            "queries: {q: {format: puzzles, task: boolean_expressions, size: [3, 5], take: 20}}\n"
            f"teachers: {{t: {{model: m, endpoint: {endpoint}}}}}\n"
            "datasets: {d: {teacher: t, queries: [q], shards: 2}}\n"
            f"student: {{base: {student}, template: own, max_length: 64}}\n"
            "stages: {s: {dataset: d, epochs: 1, batch: 1}}\n"
        )

        def run(*further: str) -> subprocess.CompletedProcess[str]:
            environment = {"ORCAC_STORE": str(tmp_path / "store"), "ORCAC_PLAN": str(tmp_path / "plan.json")}
            line = [ORCAC, "run", spec, "--cores", "2", *further]
            return subprocess.run(line, env=os.environ | environment, capture_output=True, text=True)

        done = run("--quiet", "all", "--keep-going")
        assert done.returncode == 2 and "does not teach the student to stop" in done.stderr, done.stderr
        assert not server.asked
        done = run("--until", "collect")  # a run of answers alone makes no student, and says so
        assert done.returncode == 0 and "model: not checked before answers are asked for" in done.stderr, done.stderr
        assert len(server.asked) == 20 and not [*tmp_path.glob("store/student/*/artifact.json")]


def test_make_of_a_finished_node_imports_no_models_and_no_kinds(tmp_path: Path) -> None:
    """Every rule calls `orcac make`, and most of the time of a small node would be imports."""
    environment = os.environ | {"ORCAC_STORE": str(tmp_path / "store"), "ORCAC_PLAN": str(tmp_path / "plan.json")}
    subprocess.run([ORCAC, "compile", SMOKE], env=environment, check=True, capture_output=True)
    ref = next(ref for ref in json.loads((tmp_path / "plan.json").read_text())["order"] if ref.startswith("train/"))
    (tmp_path / "store" / ref).mkdir(parents=True)
    (tmp_path / "store" / ref / "artifact.json").touch()
    code = (
        f"import sys; from click.testing import CliRunner; from orcac.cli import cli\n"
        f"print(CliRunner().invoke(cli, ['make', {ref!r}]).output)\n"
        "heavy = {'pydantic', 'numpy', 'ruamel', 'torch', 'orcac.cost', 'orcac.spec', 'orcac.kinds'}\n"
        "print('loaded', *sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{ref} is made already", "", "loaded"], done.stderr


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder here that nobody may write to")
@pytest.mark.parametrize("store", ["/sys/kernel", "/proc/none/store"])
def test_a_store_that_cannot_be_written_is_told(tmp_path: Path, store: str) -> None:
    line = [Path(sys.executable).parent / "orcac", "run", SMOKE]
    environment = os.environ | {"ORCAC_STORE": store, "ORCAC_PLAN": str(tmp_path / "plan.json")}
    failed = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert failed.returncode == 5, failed.stderr
    assert f"{store}: cannot write here" in failed.stderr and "ORCAC_STORE" in failed.stderr


ONE = """
orcac: 1
name: one
queries: {boolean: {format: puzzles, task: boolean_expressions, size: [3, 5], take: 20}}
system_messages: {messages: {7: "Work step by step."}, draw: {boolean: [7]}}
teachers: {expert: {model: expert, endpoint: {kind: solver}}}
datasets: {answers: {teacher: expert, queries: [boolean]}}
"""
TWO = "orcac: 1\nname: two\nextends: one.yaml\nfilters: {min_characters: 2}\n"


def test_two_runs_at_once_in_one_study_share_nodes_and_import_nothing_from_it(tmp_path: Path) -> None:
    """The second compilation took the first run's nodes away, and a `numpy.py` beside the specs was imported."""
    study_files = Path(__file__).parents[2]
    shutil.copy(study_files / "Snakefile", tmp_path)
    for name in ("rules", "profiles"):
        shutil.copytree(study_files / name, tmp_path / name)
    for name in ("orcac/__init__.py", "numpy.py", "pyarrow.py", "transformers.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('not ours')\n")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "one.yaml").write_text(ONE)
    (tmp_path / "specs" / "two.yaml").write_text(TWO)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCAC_")}
    orcac = Path(sys.executable).parent / "orcac"
    runs = [
        subprocess.Popen([orcac, "run", spec], cwd=tmp_path / here, env=environment, stderr=subprocess.PIPE, text=True)
        for spec, here in (("one.yaml", "specs"), ("specs/two.yaml", "."))
    ]
    outputs = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    made = [line for text in outputs for line in text.splitlines() if re.search("made in [0-9.]+ s$", line)]
    assert sorted(line.split()[0] for line in made) == ["collect", "filter", "filter", "sample"], outputs
    assert not (tmp_path / "specs" / "store").exists()
