"""Tests of orcac/cli/__init__.py and orcac/cli/common.py: every error is a message and an exit code."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from orcac.cli import main

SMOKE = str(Path(__file__).parents[2] / "specs" / "smoke.yaml")


def run(monkeypatch: pytest.MonkeyPatch, *line: str) -> int:
    monkeypatch.setattr(sys, "argv", ["orcac", *line])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(str(ended.value.code))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCAC_STORE", raising=False)
    monkeypatch.delenv("ORCAC_PLAN", raising=False)
    return tmp_path


def test_a_name_that_no_disk_can_hold_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "diff", f"{SMOKE}:{'a' * 300}") == 2
    assert "File name too long" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_an_output_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(monkeypatch, "schema") == 5
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # what it holds still can go somewhere
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize("stands", ["pipe", "folder"])
def test_a_plan_replaces_files_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stands: str
) -> None:
    """A rename over a device would take it from everybody on the machine."""
    os.mkfifo(place / "pipe")
    (place / "folder").mkdir()
    monkeypatch.setenv("ORCAC_PLAN", str(place / stands))
    assert run(monkeypatch, "compile", SMOKE) == 2
    assert "not a file" in capsys.readouterr().err
    assert (place / "pipe").is_fifo()
    assert run(monkeypatch, "plan", SMOKE, "--svg", str(place / stands)) == 2
    assert (place / "pipe").is_fifo()
    assert not list(place.glob("*.part"))


def test_settings_that_are_empty_are_none(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_PLAN", "")
    monkeypatch.setenv("ORCAC_STORE", "")
    spec = place / "study" / "spec.yaml"
    spec.parent.mkdir()
    spec.write_bytes(Path(SMOKE).read_bytes())
    assert run(monkeypatch, "compile", str(spec)) == 0
    assert (place / "study" / "build" / "plan.json").is_file()


@pytest.mark.parametrize(("no_color", "is_styled"), [("", True), ("1", False)])
def test_no_color_keeps_a_terminal_plain(place: Path, no_color: str, is_styled: bool) -> None:
    (place / "spec.yaml").write_bytes(Path(SMOKE).read_bytes())
    line = [sys.executable, "-P", "-m", "orcac", "cost", "spec.yaml"]
    ours, theirs = pty.openpty()
    child = subprocess.Popen(line, stdout=theirs, env=os.environ | {"NO_COLOR": no_color, "TERM": "xterm"})
    os.close(theirs)
    text = b""
    try:
        while block := os.read(ours, 1 << 16):
            text += block
    except OSError:  # Linux reports the end of a terminal in this way
        pass
    os.close(ours)
    assert child.wait() == 0
    assert b"nodes to make" in text and (b"\x1b[" in text) == is_styled


def test_the_module_imports_nothing_from_the_working_folder(place: Path) -> None:
    for name in ("click", "pydantic", "numpy"):
        (place / f"{name}.py").write_text("raise SystemExit('not ours')\n")
    (place / "spec.yaml").write_bytes(Path(SMOKE).read_bytes())
    done = subprocess.run([sys.executable, "-m", "orcac", "compile", "spec.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
