"""Tests of orcac/spec/advice.py, orcac/spec/endpoints.py, orcac/spec/leaks.py, orcac/spec/misnomers.py,
orcac/spec/missing.py, orcac/spec/models.py and orcac/spec/syntax.py by mistakes.yaml: mistakes of a first hour, on the
command line, before anything is asked.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from orcac.cli import main

CASES = YAML(typ="safe", pure=True).load(Path(__file__).with_name("mistakes.yaml"))
SPEC = """\
orcac: 1
name: mine
queries:
  mine: {format: jsonl, path: mine.jsonl, fields: {query: question}}
system_messages:
  messages: {2: "Explain step by step."}
  draw: {mine: [2]}
teachers:
  gpt:
    model: gpt-4o
    endpoint: {kind: openai, base_url: "http://localhost:8000/v1"}
    price: {input: 2.50, output: 10.00}
datasets:
  answers: {teacher: gpt, queries: [mine]}
student: {base: model, max_length: 2048}
stages:
  only: {dataset: answers, epochs: 2, batch: 1 row}
curriculum: [only]
benchmarks:
  test: {format: jsonl, path: test.jsonl, fields: {query: question, reference: answer}, system: 2}
budget: 20 USD
ablations:
  short: {stages: {only: {epochs: 1}}}
"""


def rows(*keys: str) -> str:
    return "".join(json.dumps(dict.fromkeys(keys, f"number {count}")) + "\n" for count in range(600))


@pytest.fixture(autouse=True)
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound study in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("ORCAC_STORE", "ORCAC_PLAN", "OPENAI_API_KEY", "OPENAI_BASE_URL", "DATA", "MY_SERVER", "MODEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mine.yaml").write_text(SPEC)
    (tmp_path / "mine.jsonl").write_text(rows("question"))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(rows("question").encode()))
    (tmp_path / "test.jsonl").write_text(rows("question", "answer"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"max_position_embeddings": 2048}')
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / "model" / name).touch()
    return tmp_path


def run(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code of a command line, and all that it prints."""
    monkeypatch.setattr(sys, "argv", ["orcac", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return int(str(ended.value.code)), printed.out + printed.err


def test_the_study_itself_is_sound(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run("compile mine.yaml", monkeypatch, capsys)
    assert code == 0 and "warning" not in text and "2 arms" in text


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_mistake_is_answered_with_its_place_and_its_correction(
    case: dict[str, Any], study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SPEC
    for old, new in case.get("edit", {}).items():
        assert old in text
        text = text.replace(old, new, 1)
    (study / "mine.yaml").write_text(text)
    for name, content in case.get("files", {}).items():
        (study / name).parent.mkdir(exist_ok=True)
        (study / name).write_text(content)
    for name, content in case.get("bytes", {}).items():
        (study / name).write_bytes(bytes.fromhex(content))
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    code, printed = run(case.get("line", "compile mine.yaml"), monkeypatch, capsys)
    for part in case["say"]:
        assert part in printed
    for part in case.get("hide", ()):
        assert not re.search(rf"\b{part}", printed)
        assert not any(part in path.read_text() for path in (study / "build").glob("*"))
    assert code == case.get("code", 2)
    assert not (study / "store").exists()  # nothing was made
