"""A cut of specs/openthoughts.yaml with a fault server: arms share answers, and a kill costs what is in flight."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import FaultServer
from patience import PATIENCE_S

from orcac.collect.recipe import CollectRecipe, CollectSummary
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store

SPECS = Path(__file__).parents[2] / "specs"
TAKE, SAMPLES, TEACHERS, IN_FLIGHT, KILLS = 15, 16, ("qwq", "phi"), 8, 2
NO_FILES = {"path": None, "fields": None, "expect": None, "license": None}


def write_cut(folder: Path, base_url: str) -> Path:
    """Write the study with few generated questions, two teachers that `base_url` serves, and one way to select."""
    cut = {
        "orcac": 1,
        "name": "cut",
        "extends": str(SPECS / "openthoughts.yaml"),
        "queries": {
            "words": NO_FILES | {"format": "puzzles", "task": "navigate", "size": [3, 6], "take": TAKE},
            "counting": {"take": TAKE},
            "logic": {"take": TAKE},
            "contests": None,
        },
        "teachers": {name: {"endpoint": {"base_url": base_url, "concurrency": IN_FLIGHT}} for name in TEACHERS},
        "ablations": dict.fromkeys(("short-first", "half-of-steps", "equal-tokens")),
        "sweep": {
            "datasets.traces.queries": [["words"], ["counting", "logic"], ["words", "counting", "logic"]],
            "datasets.traces.samples": [4, 8, SAMPLES],
            "datasets.traces.teacher": TEACHERS,
            "filters.select.by": ["majority"],
        },
    }
    (folder / "cut.json").write_text(json.dumps(cut))
    return folder / "cut.json"


def test_the_arms_of_a_study_pay_once_for_each_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    plan, store = Plan(), Store(tmp_path / "store")
    pairs = 3 * TAKE * SAMPLES * len(TEACHERS)  # distinct (prompt, sample) of each teacher
    with FaultServer(latency_s=0.005) as server:
        lower(plan, load(write_cut(tmp_path, server.base_url)))
        plan.write(tmp_path / "plan.json")
        assert len(plan.experiments["cut"].arms) == 1 + 3 * 3 * len(TEACHERS)
        collects = sorted(
            (node for node in plan.nodes.values() if isinstance(node.recipe, CollectRecipe)),
            key=lambda node: (-node.recipe.samples, -len(node.needs)),
        )
        for ref in dict.fromkeys(ref for node in collects for ref in node.inputs["prompts"]):
            make(plan, store, ref)
        for kill in range(1, KILLS + 1):
            job = start(tmp_path, collects[0].ref)
            end = time.monotonic() + PATIENCE_S
            while server.billed.total() < kill * pairs // 8:
                assert job.poll() is None and time.monotonic() < end
                time.sleep(0.005)
            job.kill()
            job.wait()
        for node in collects:
            make(plan, store, node.ref)
        bill = server.billed.total()
    wanted = 0
    for node in collects:
        summary = CollectSummary.from_json(store.artifact(node.ref)["summary"], store.marker(node.ref))
        assert summary.answered == summary.prompts
        wanted += summary.prompts
    assert wanted > 2 * pairs, "the arms ask for more than twice as many answers as they pay for"
    assert pairs <= bill <= pairs + KILLS * IN_FLIGHT <= 1.05 * pairs


def start(folder: Path, ref: str) -> subprocess.Popen[bytes]:
    places = {"ORCAC_STORE": str(folder / "store"), "ORCAC_PLAN": str(folder / "plan.json")}
    line = [sys.executable, "-m", "orcac", "make", ref]
    return subprocess.Popen(line, cwd=folder, env=os.environ | places, stderr=subprocess.DEVNULL)
