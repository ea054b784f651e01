"""Tests of orcac/progress.py: lines in a log, a line on a terminal, a file for other processes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner

from orcac import progress
from orcac.cli import cli
from orcac.progress import REDRAWN, REDRAWN_VARIABLE, Intervals, Progress, print_line


def test_a_line_with_the_words_of_a_server_does_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("collect a  bad_request: \x1b]0;title\x07 no\x1b[2J\n  fix: mend it")
    assert capsys.readouterr().err == "collect a  bad_request:  ]0;title  no [2J\n  fix: mend it\n"


def test_the_file_holds_the_figures_of_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    path = tmp_path / "progress.json"
    shown = Progress(label="a", total=100, unit="steps", path=path)
    shown.update(40)  # a resumed node: these do not count for the rate
    first = json.loads(path.read_text())
    assert (first["done"], first["rate"], first["eta_seconds"], first["usd"]) == (40, None, None, None)
    now[0] += 0.5
    shown.update(45)
    assert json.loads(path.read_text()) == first, "written before it was due"
    now[0] += 1.5
    shown.update(50, "loss 1.2", usd=0.25)
    record = json.loads(path.read_text())
    assert {key: record[key] for key in record if key != "at"} == {
        "done": 50, "total": 100, "unit": "steps", "rate": 5.0, "eta_seconds": 10.0, "note": "loss 1.2", "usd": 0.25,
    }  # fmt: skip
    shown.update(100)
    assert json.loads(path.read_text())["done"] == 100, "the end is written even if it is not due"
    assert [file.name for file in tmp_path.iterdir()] == ["progress.json"]


def test_lines_that_orcac_run_redraws_from_the_file_bear_a_mark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REDRAWN_VARIABLE, "1:2")
    at_once = Intervals(line=0.0)
    path = tmp_path / "progress.json"
    Progress(label="a", total=2, unit="steps", path=path, intervals=at_once).update(1)
    assert capsys.readouterr().err.startswith(f"{REDRAWN}a  1/2 steps")
    Progress(label="a", total=2, unit="MB", intervals=at_once).update(1)
    assert capsys.readouterr().err.startswith("a  1/2 MB"), "a download has no file"
    job = CliRunner().invoke(cli, ["make", "train/0", "--log", str(tmp_path / "log")])
    assert job.exit_code and REDRAWN_VARIABLE not in os.environ, "its stderr is not that pipe, as in a Slurm job"


def test_a_file_that_cannot_be_written_is_not_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    Progress(label="a", total=1, unit="steps", path=tmp_path / "file" / "progress.json").update(1)
    assert "1/1 steps" in capsys.readouterr().err


def test_a_log_has_a_line_every_5_s_and_fewer_while_no_work_advances(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = at = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = Progress(label="a", total=100, unit="answers")
    shown.update(0)

    def go(seconds: int, a_second: float, note: str) -> list[str]:
        """Return the lines of the next `seconds`. N in the note is replaced by the time."""
        nonlocal now, at
        for _ in range(2 * seconds):
            now, at = now + 0.5, at + a_second / 2
            shown.update(int(at), note.replace("N", f"{now:.0f}"))
        return capsys.readouterr().err.splitlines()

    assert go(16, 2, "8 in flight") == [
        "a  10/100 answers  10 %  2.0/s  ETA 0:45  8 in flight",
        "a  20/100 answers  20 %  2.0/s  ETA 0:40  8 in flight",
        "a  30/100 answers  30 %  2.0/s  ETA 0:35  8 in flight",
    ]
    assert go(120, 0, "8 in flight  retried: N rate_limit") == [
        "a  32/100 answers  32 %  1.6/s  ETA 0:42  8 in flight  retried: 20 rate_limit",
        "a  32/100 answers  32 %  no answers for 0:34  8 in flight  retried: 50 rate_limit",
        "a  32/100 answers  32 %  no answers for 1:04  8 in flight  retried: 80 rate_limit",
        "a  32/100 answers  32 %  no answers for 1:34  8 in flight  retried: 110 rate_limit",
    ]
    assert len(go(180, 0, "1 batch running, 20 of 60 requests done")) == 3, "the notes have no new word"
    assert len(go(10, 0, "1 batch running, 20 of 60 requests done  retried: 1 server")) == 1, "an error of a new class"
    assert all(" ETA " in line and "no answers" not in line for line in go(6, 2, "8 in flight"))
    at = 100.0
    assert len(go(100, 0, "N in flight")) == 1, "nothing comes after the end"


ON_TERMINAL = """
import fcntl, sys, termios
from orcac import progress
if sys.argv[1] == "foreground":
    fcntl.ioctl(2, termios.TIOCSCTTY, 0)
now = 0.0
progress.time.monotonic = lambda: now
with progress.redraw_in_place():
    shown = progress.Progress(label="collect answers", total=9000, unit="answers")
    for now in range(8):
        shown.update(250 * now, f"retried: {now} rate_limit, 2,000 server  64 in flight  910 tokens/s")
        if now == 5:
            print("server: HTTP 500", file=sys.stderr)
    if sys.argv[2] == "ends":
        shown.update(9000, "910 tokens/s")
print("made", file=sys.stderr)
"""


def on_terminal(columns: int, *arguments: str) -> list[str]:
    """Return the lines on a terminal; the redrawn line holds all of its states, each after a carriage return."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    subprocess.run(
        [sys.executable, "-c", ON_TERMINAL, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm"},
        start_new_session=True,
        check=True,
    )
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    os.close(theirs)
    return text.removesuffix("\r\n").split("\r\n")


@pytest.mark.parametrize(
    "columns, shown",
    [
        (140, "collect answers  {}  retried: 7 rate_limit, 2,000 server  64 in flight  910 tokens/s"),
        (120, "{}  retried: 7 rate_limit, 2,000 server  64 in flight  910 tokens/s"),
        (98, "{}  retried: 7 rate_limit, 2,000 server  64 in flight …"),
        (80, "{}  retried: 7 rate_limit …"),
        (50, "{} …"),
    ],
)
def test_a_terminal_shows_one_line_that_fits(columns: int, shown: str) -> None:
    before, line, made = on_terminal(columns, "foreground", "stops")
    assert before.endswith("\r\x1b[Kserver: HTTP 500"), "it replaces the line"
    states = f"{before}{line}".replace("\x1b[K", "").split("\r")
    assert len(states) == 1 + 8 + 1 and max(map(len, states)) < columns
    assert states[-1] == shown.format("1,750/9,000 answers  19 %  250.0/s  ETA 0:29"), "the last one stays"
    assert made == "made"


def test_a_background_process_prints_plain_lines_on_its_terminal() -> None:
    end = "collect answers  9,000/9,000 answers  100 %  1,285.7/s  ETA 0:00  910 tokens/s"
    assert on_terminal(80, "foreground", "ends")[1].endswith(f"\r\x1b[K{end}")
    assert on_terminal(80, "background", "ends") == [
        "collect answers  1,250/9,000 answers  14 %  250.0/s  ETA 0:31  "
        "retried: 5 rate_limit, 2,000 server  64 in flight  910 tokens/s",
        "server: HTTP 500",
        end,
        "made",
    ]
