"""How long the commands that should feel instant take, as whole processes, beside Snakemake and a bare Python.

    python benchmarks/startup.py

Each command runs in turn, round after round, so that a noisy machine is noisy for all; medians and their ratio to
bare Python are printed. Files that the commands read are warm.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 9
BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "orcac --help": [str(BIN / "orcac"), "--help"],
    "orcac compile specs/tiny.yaml": [str(BIN / "orcac"), "compile", "specs/tiny.yaml"],
    "orcac diff specs/tiny.yaml": [str(BIN / "orcac"), "diff", "specs/tiny.yaml"],
    "snakemake --version": [str(BIN / "snakemake"), "--version"],
}


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS + 1):
        for name, line in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}  # the first warms the files
    bare = medians["python -c pass"]
    print(f"{platform.machine()}, Python {platform.python_version()}, {ROUNDS} rounds, medians")
    for name, seconds in medians.items():
        print(f"{name:<32} {seconds:6.3f} s   {seconds / bare:5.1f} x bare Python")


if __name__ == "__main__":
    main()
