"""Tests of orcac/cli/completion.py and of the completion of commands and files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orcac.cli import GROUPS

BIN = Path(sys.executable).parent
# Loads the script that `orcac completion bash` prints, then asks for completions as its function does at each TAB.
PRESS_TAB = """
eval "$(orcac completion bash)"
declare -F _orcac_completion > /dev/null || exit 1
COMP_WORDS='{words}' COMP_CWORD={position} _ORCAC_COMPLETE=bash_complete orcac
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_commands_options_and_specs(tmp_path: Path) -> None:
    def complete(words: str) -> list[str]:
        script = PRESS_TAB.format(words=words, position=len(words.split()) - 1)
        environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        line = ["bash", "-c", script]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    commands = [name for names in GROUPS.values() for name in names]
    assert complete("orcac p") == [f"plain,{name}" for name in commands if name.startswith("p")]
    assert complete("orcac run m") == ["file,m"], "bash completes the name of a file"
    assert complete("orcac cost --j") == ["plain,--json"]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_the_arms_of_a_spec(tmp_path: Path) -> None:
    """bash splits a word at its colons, and replaces the part after the last one."""
    spec = tmp_path / "a.yaml"
    spec.write_text("orcac: 1\nname: a\nstudent: {base: hf://a/b}\nablations: {other: {seed: 2}}\n")

    def complete(words: list[str]) -> list[str]:
        environment = os.environ | {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
        environment["_ORCAC_COMPLETE"] = "bash_complete"
        done = subprocess.run(
            [BIN / "orcac"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    split = ["orcac", "diff", "a.yaml", ":", "base", "a.yaml"]
    assert complete([*split, ":", "b"]) == ["plain,base"]
    assert complete([*split, ":"]) == ["plain,base", "plain,other"] and complete([*split, ":", "x"]) == []
    assert complete(["orcac", "export", "a.yaml:b"]) == ["plain,a.yaml:base"], "where bash is told not to split"
    assert complete(["orcac", "export", "none.yaml", ":"]) == complete(["orcac", "export", "a.yaml", ":", "z"]) == []
    assert complete(["orcac", "export", "a.y"]) == ["file,a.y"]


@pytest.mark.parametrize(
    ("shell", "mark"), [("zsh", "#compdef orcac"), ("fish", "complete --no-files --command orcac")]
)
def test_other_shells_get_scripts_of_their_own(shell: str, mark: str) -> None:
    line = [BIN / "orcac", "completion", shell]
    assert mark in subprocess.run(line, capture_output=True, text=True, check=True).stdout
