"""A run on a terminal: what is printed scrolls by, the nodes at work are redrawn below it."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from orcac.cli.foot import drawn
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.progress import DRAWN, DRAWN_VARIABLE, Progress
from orcac.spec.load import load
from orcac.store import Store

SPECS = Path(__file__).parents[2] / "specs"


def test_lines_go_above_and_shards_at_work_are_drawn_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, shown = Plan(), io.StringIO()
    lower(plan, load(SPECS / "smoke.yaml"))
    node = next(node for node in plan.nodes.values() if getattr(node.execution, "shards", 1) == 2)
    shard = tmp_path / node.ref / "shards" / "2-of-2"
    monkeypatch.setenv(DRAWN_VARIABLE, "1")
    monkeypatch.setattr("orcac.progress._SAY_EVERY", 0.0)
    console = Console(file=shown, force_terminal=True, width=100)
    with drawn(console, plan, Store(tmp_path)) as stderr, os.fdopen(os.dup(stderr), "w") as lines:
        (shard / "work").mkdir(parents=True)
        (shard / "lease.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
        monkeypatch.setattr("sys.stderr", lines)
        progress = Progress(label="half", total=40, unit="answers", path=shard / "work" / "progress.json")
        for done in (0, 11):
            progress.update(done, "3 in flight")
            time.sleep(1.1)  # the file is written once a second, and looked at twice
        print("rate_limit: \x1b[2Jslow [bold]down", file=lines, flush=True)
        Progress(label="whole", total=40, unit="answers").update(40)
    text = shown.getvalue()
    assert "11/40 answers" in text and "2 of 2" in text and f"0 of {len(plan.nodes)} nodes done" in text
    assert "half  11/40" not in text and DRAWN not in text, "what the foot draws is not printed, too"
    assert "rate_limit:  [2Jslow [bold]down\n" in text.replace("\r", ""), "as it came, but for what a terminal obeys"
    assert "whole  40/40 answers" in text, "the last line of a node stays"
