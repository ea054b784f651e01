"""A side of a benchmark as a process of its own, so that its memory and its start are its alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def measured(python: str, script: str, *arguments: str) -> dict[str, Any]:
    """What `script --child ARGUMENTS` prints last, a line of JSON; VERBOSE in the environment shows its stderr."""
    printed = subprocess.run(
        [python, script, "--child", *arguments],
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("VERBOSE") else subprocess.DEVNULL,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    ).stdout
    told: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return told
