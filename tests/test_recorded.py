"""A test of a cut of specs/recorded.yaml: real text goes through every rule, and every row is accounted for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CUTS = [
    ("fields: {query: instruction, reference: answer, task: task}}",
     "fields: {query: instruction, reference: answer, task: task}, take: 120}"),
    ("take: 600}", "take: 40}"),
    ("take: 600, per_task: 300}", "take: 40, per_task: 300}"),
    ("take: 270", "take: 27"),
    ("take: 240", "take: 16"),
    ("max_tokens: 48", "max_tokens: 8"),
    ("allow_empty: [jailbreak_llms, theoremqa]", 'allow_empty: ["*"]'),  # of a cut, some tasks have one row
    ("curriculum: [labels, assistant, expert, explained]", "curriculum: [labels, expert]"),
    ("  no-assistant: {curriculum: [labels, expert, explained]}",
     "  longer: {curriculum: [labels, expert, explained]}"),
]  # fmt: skip


@pytest.mark.data
def test_every_row_of_the_recorded_data_is_accounted_for(data: Path, tmp_path: Path) -> None:
    text = (ROOT / "specs" / "recorded.yaml").read_text()
    for old, new in CUTS:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "system_messages").symlink_to(ROOT / "specs" / "system_messages")
    (tmp_path / "spec.yaml").write_text(text)
    environment = os.environ | {"ORCAC_STORE": str(tmp_path / "store"), "ORCAC_PLAN": str(tmp_path / "plan.json")}
    line = [Path(sys.executable).parent / "orcac", "run", tmp_path / "spec.yaml"]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "All students are at chance" in done.stdout

    summaries: dict[str, dict[str, Any]] = {}
    for marker in (tmp_path / "store").glob("*/*/artifact.json"):
        record = json.loads(marker.read_text())
        summaries[f"{record['kind']} {record['label']}"] = record["summary"]
    for name, facts in summaries.items():
        kind = name.partition(" ")[0]
        if kind == "sample":
            assert facts["read"] == facts["kept"] + sum(facts["dropped"].values()), name
        if kind == "collect":
            assert facts["prompts"] == facts["answered"] + sum(facts["failed"].values()), name
        if kind == "filter":
            assert facts["read"] == facts["kept"] + sum(facts["rejected"].values()), name
        if kind == "tokenize":
            assert facts["examples"] == facts["packed"] + facts["too_long"], name
    assert summaries["sample niv2"]["read"] > 6000
    assert summaries["collect gpt4-1740"]["prompts"] == 120
    assert summaries["filter gpt4-1740"]["read"] == 120
    assert summaries["eval base: agieval"]["n"] == 16
    assert summaries["eval base: bbh"]["n"] == 27
