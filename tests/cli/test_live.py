"""Tests of orcac/cli/live.py and orcac/cli/node_lines.py."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import PATIENCE_S
from rich.console import Console

from orcac.cli.live import find_terminal, live_display
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.progress import REDRAWN, REDRAWN_VARIABLE, Intervals, Progress
from orcac.spec.load import load
from orcac.store.store import Store

SPECS = Path(__file__).parents[2] / "specs"
ON_TERMINAL = """
import fcntl, sys, termios
from orcac.cli import main
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
main()
"""


def test_lines_go_above_and_shards_at_work_are_drawn_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, shown = Plan(), io.StringIO()
    lower(plan, load(SPECS / "smoke.yaml"))
    node = next(node for node in plan.nodes.values() if getattr(node.execution, "shards", 1) == 2)
    shard = tmp_path / node.ref / "shards" / "2-of-2"
    monkeypatch.setenv(REDRAWN_VARIABLE, "1")
    console = Console(file=shown, force_terminal=True, width=100)
    with (
        live_display(console, plan, Store(tmp_path), close_s=PATIENCE_S) as stderr,
        os.fdopen(os.dup(stderr), "w") as lines,
    ):
        (shard / "work").mkdir(parents=True)
        (shard / "lease.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
        monkeypatch.setattr("sys.stderr", lines)
        path, at_once = shard / "work" / "progress.json", Intervals(redraw=0.0, file=0.0, line=0.0)
        progress = Progress(label="half", total=40, unit="answers", path=path, intervals=at_once)
        for done in (0, 11):
            progress.update(done, "3 in flight")
        deadline = time.monotonic() + PATIENCE_S
        while "11/40 answers" not in shown.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)
        print("Using workflow specific profile P for setting default command line arguments.", file=lines)
        print("rate_limit: \x1b[2Jslow [bold]down", file=lines, flush=True)
        Progress(label="whole", total=40, unit="answers").update(40)
    text = shown.getvalue()
    assert "11/40 answers" in text and "2 of 2" in text and f"0 of {len(plan.nodes)} nodes done" in text
    assert "workflow specific profile" not in text
    assert "half  11/40" not in text and REDRAWN not in text, "what the foot draws is not printed, too"
    assert "rate_limit:  [2Jslow [bold]down\n" in text.replace("\r", ""), "as it came, but for what a terminal obeys"
    assert "whole  40/40 answers" in text, "the last line of a node stays"
    assert "\x1b[?25h" in text.partition("nodes done")[0], "Ctrl-Z and SIGKILL leave the cursor as it is"


def test_what_is_said_last_is_shown_as_it_was(tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    with live_display(console, Plan(), Store(tmp_path), close_s=PATIENCE_S) as above:
        said = [f"{number:05}" for number in range(10_000)]  # as of a long traceback
        os.write(above, "\n".join([*said, "specs/tiny.yaml:100:5: x\ty \u2714", "no end"]).encode())
    text = shown.getvalue().replace("\r", "")
    assert "\n".join([*said, "specs/tiny.yaml:100:5: x        y \u2714\n"]) in text and "no end\n" in text


def test_no_foot_in_a_file_nor_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # for which rich takes any file for a terminal
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr("sys.stderr", log)
        assert find_terminal() is None
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs, "w") as foreign:  # in whose foreground we are not
        monkeypatch.setattr("sys.stderr", foreign)
        assert find_terminal() is None


def test_stdout_comes_above_the_foot_too(tmp_path: Path) -> None:
    """Snakemake's listings go there."""
    ours, theirs = pty.openpty()
    more = {"ORCAC_STORE": str(tmp_path / "store"), "ORCAC_PLAN": str(tmp_path / "plan.json"), "TERM": "xterm"}
    run = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, "run", str(SPECS / "smoke.yaml"), "--list-rules"],
        cwd=SPECS.parent,
        env=os.environ | more,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    text = b""
    try:
        while block := os.read(ours, 1 << 16):
            text += block
    except OSError:  # so Linux says that nobody writes any more
        pass
    os.close(ours)
    run.wait()
    assert b"nodes done" in text, "a foot was drawn"
    lines = re.split(rb"[\r\n]+", re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", text))
    assert {b"all", b"collect", b"train"} <= set(lines), "and stands on no line of the list"
