"""Draw docs/terminal.svg: the first minutes of README.md as a terminal of 100 columns shows them.

    python docs/terminal.py             # five minutes on two cores
    python docs/terminal.py STORE       # at once, if STORE has the finished nodes of specs/tiny.yaml

The commands run in a new study, so that nothing is made yet, and their output is drawn as it is, but for two changes:
the path of that study is cut off, and of `orcac run` only the first result table is kept.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "terminal.svg"
COLUMNS = 100
RUN = "orcac run specs/tiny.yaml"
COMMANDS = ("orcac compile specs/tiny.yaml", "orcac diff specs/tiny.yaml specs/tiny.yaml:no-assistant", RUN)
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder).resolve()
        shutil.copytree(ROOT / "specs", study / "specs")
        (study / "orcac.toml").touch()
        parts = []
        for command in COMMANDS:
            store = {"ORCAC_STORE": str(Path(sys.argv[1]).resolve())} if sys.argv[1:] and command == RUN else {}
            output = show(command, study, store).replace(f"{study}/", "").strip("\n")
            parts.append(f"\x1b[1m$ {command}\x1b[0m\n{cut_table(output) if command == RUN else output}\n")
    PICTURE.write_text(draw("\n".join(parts)), encoding="utf-8")
    return 0


def show(command: str, folder: Path, settings: Mapping[str, str]) -> str:
    """Return the output of a command on a terminal, with its colours. Raises CalledProcessError if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCAC_")}
    environment |= {"TERM": "xterm-256color", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["COLUMNS"] = str(COLUMNS)  # where one is set already, it would count more than the terminal's
    line = ["script", "--quiet", "--return", "--command", f"stty cols {COLUMNS} && {command}", os.devnull]
    done = subprocess.run(line, cwd=folder, env=environment | settings, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode > ("diff" in shlex.split(command)):  # `diff` returns 1 if there is a difference
        raise subprocess.CalledProcessError(done.returncode, line, done.stdout)
    return done.stdout.replace("\r\n", "\n")


def cut_table(output: str) -> str:
    """Return the first result table of a run, between marks of the lines that are left out."""
    lines = output.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("counting-test: "))
    table = takewhile(lambda line: not line.startswith("Asked: "), lines[first:])
    return "\n".join(["\x1b[2m⋮\x1b[0m", *table, "\x1b[2m⋮\x1b[0m"])


def draw(output: str) -> str:
    """Return the SVG of a terminal's output, which loads no font."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    console.print(Text.from_ansi(output), highlight=False, no_wrap=True, overflow="ignore")
    form = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("Fira Code, monospace", _FONT).replace("arial", "system-ui, sans-serif")
    form = form.replace("viewBox=", 'width="{width}" height="{height}" viewBox=')
    svg = console.export_svg(title="orcac", code_format=form, unique_id="orcac")
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
