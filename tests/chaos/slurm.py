"""A private Slurm, whose daemons are killed and started again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from pathlib import Path

_NAMES = ("slurmctld", "n1", "n2")  # the controller, and the daemons of two nodes


class Daemons:
    """The Slurm that the script `up` starts, as a context manager; `down.sh` beside it ends it.

    The script keeps the process ids of its daemons in `pid/` of its folder and starts those that have ended.
    """

    def __init__(self, up: Path) -> None:
        self._up = up

    def __enter__(self) -> Daemons:
        line = self._start()
        self._conf = Path(line.removeprefix("export SLURM_CONF="))
        os.environ["SLURM_CONF"] = str(self._conf)
        return self

    def __exit__(self, *_: object) -> None:
        os.environ.pop("SLURM_CONF", None)
        subprocess.run([self._up.with_name("down.sh"), "--wipe"], check=True, stdout=subprocess.DEVNULL)

    def kill(self, draw: random.Random) -> str:
        """Kill a daemon and start it again. Returns its kind."""
        name = draw.choice(_NAMES)
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self._conf.parent / "pid" / name).read_text().split()[0]), signal.SIGKILL)
        self._start()
        return name if name == "slurmctld" else "slurmd"

    def cancel_all(self) -> None:
        """Cancel all jobs, as their user would who starts anew."""
        subprocess.run(["scancel", "--signal=KILL", "--full", "--user=root"], check=False, capture_output=True)
        subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)

    def _start(self) -> str:
        return subprocess.run([self._up], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
