"""Tests of orcac/cli/eval.py: a model folder and a server are measured, with the real Snakemake."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from click.testing import CliRunner

from orcac.cli.eval import command
from orcac.errors import InputError

SMOKE = Path(__file__).parents[2] / "specs" / "smoke.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.jsonl").write_text(
        "".join(f'{{"question": "What is {n} and one?", "answer": "{n + 1}"}}\n' for n in range(6))
    )
    return tmp_path


def orcac(folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCAC_")}
    return subprocess.run(
        [Path(sys.executable).parent / "orcac", *line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.fixture
def solver() -> Iterator[str]:
    """Serve the embedded teachers on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "orcac.chat.endpoints.solver", "--port", str(port)], stdout=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/models", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def test_a_model_folder_is_measured_by_a_spec_that_can_be_kept(folder: Path) -> None:
    examples = tiny.write_examples(folder / "kept", [tiny.response(n) for n in range(50)])
    model = tiny.make_student(folder / "student", examples) / "model"
    line = ["eval", str(model), "--on", "sums=items.jsonl", "--max-tokens", "8"]
    done = orcac(folder, *line)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sums: 6 items" in done.stdout and "report.html" in done.stdout and "vs base" not in done.stdout
    (spec,) = (folder / "build" / "eval").iterdir()
    assert f"build/eval/{spec.name}: the spec" in done.stderr
    again = orcac(folder, *line, "--json")
    results = json.loads(again.stdout)["model-on-sums"]
    assert [(row["arm"], row["n"]) for row in results["benchmarks"][0]["scores"]] == [("model", 6)]
    assert "nothing to do" in again.stderr
    spec.write_text(spec.read_text() + "# mine\n")
    changed = orcac(folder, *line)
    assert changed.returncode == 2 and "it is not overwritten" in changed.stderr
    assert spec.read_text().endswith("# mine\n")


def test_a_server_is_measured_as_the_benchmarks_of_a_spec_ask_and_judge(folder: Path, solver: str) -> None:
    (folder / "spec.yaml").write_text(
        f"orcac: 1\nname: judged\nextends: {SMOKE}\n"
        "teachers:\n"
        "  good: {model: expert, endpoint: {kind: solver}}\n"
        "  critic: {model: judge, endpoint: {kind: solver}}\n"
        "benchmarks:\n"
        "  open: {format: open-ended, path: items.jsonl, fields: {query: question}, judge: critic, against: [good]}\n"
    )
    done = orcac(
        folder, "eval", solver, "--model", "expert", "--on", "held-out", "--on", "open", "--spec", "spec.yaml",
        "--take", "5", "--save", "mine.yaml", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = json.loads(done.stdout).values()
    (right,), (judged,) = (bench["scores"] for bench in results["benchmarks"])
    assert (right["arm"], right["n"], right["mean"]) == ("expert (baseline)", 5, 1.0)
    assert (judged["arm"], judged["n"], judged["judging"]["reviews"]) == ("expert (baseline)", 5, 10)
    assert judged["judging"]["against"][0]["figures"]["ties"] == 5  # with itself
    assert "baselines: [expert]" in (folder / "mine.yaml").read_text()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (["some/model", "--on", "b=none.jsonl"], "does not exist"),
        (["some/model", "--on", "none", "--spec", str(SMOKE)], "no benchmark `none`"),
        (["some/model", "--on", "b=items.jsonl", "--fields", "query"], "not a list of fields"),
        (["some/model", "--on", "held-out", "--spec", str(SMOKE), "--format", "bbh"], "are for files"),
        (["some/model", "--on", "b/c=items.jsonl"], "a name is made of"),
        (["nowhere", "--on", "b=items.jsonl"], "no such model"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(folder: Path, line: list[str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        CliRunner().invoke(command, line, catch_exceptions=False, standalone_mode=False)
    assert not (folder / "store").exists()
