"""Runs one side of a benchmark in a process of its own, so that its memory and start-up time are not shared."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def measure_child(python: str, script: str, *arguments: str) -> Any:
    """Run `script --child ARGUMENTS`, and return the JSON value that is the last line of its output.

    VERBOSE in the environment shows its stderr. Raises CalledProcessError if it fails.
    """
    printed = subprocess.run(
        [python, script, "--child", *arguments],
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("VERBOSE") else subprocess.DEVNULL,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    ).stdout
    return json.loads(printed.splitlines()[-1])
