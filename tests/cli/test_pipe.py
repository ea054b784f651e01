"""Tests of orcac/cli/__init__.py with a reader that closes the pipe early, as `head` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_pipe_that_is_closed_early_is_no_failure() -> None:
    line = [str(Path(sys.executable).parent / "orcac"), "schema"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout and child.stderr
        child.stdout.read(10)  # of some 180,000, which no pipe holds
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 0
