"""orcac init

Files are copied from the package byte for byte, so the rules of a study are those of the checkout. Nothing is ever
overwritten: all places are checked before anything is written, and an existing file must hold exactly the bytes to be
written. So an init that was killed can be run again, over the files that it wrote.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from orcac.errors import InputError
from orcac.smk import find_study_folder
from orcac.store.durable import write_if_changed

# Files and folders of the same name in a checkout, in the wheel and in a study. pyproject.toml puts them in the wheel.
STUDY_FILES = (
    "Snakefile",
    "rules",
    "profiles",
    "slurm",
    "specs/study.yaml",
    "specs/tiny.yaml",
    "specs/orca-13b.yaml",
    "specs/orcac.schema.json",
    "specs/system_messages",
)
GITIGNORE = "/store/\n/build/\n/.snakemake/\n/slurm_logs/\n/.venv/\n"
ABOUT = """\
  specs/study.yaml        a small experiment, with comments: start here
  specs/tiny.yaml         a larger one: Orca in miniature
  specs/system_messages/  the library of system messages
  specs/orca-13b.yaml     the paper's whole experiment, to price and compare
  specs/orcac.schema.json for editors, which complete and check specs with it
  Snakefile, rules/       run a compiled spec
  profiles/default/       settings of every `snakemake` in this folder
  slurm/                  settings of `--profile slurm`: account, partition, limits
  .gitignore              keeps artifacts out of version control
"""
NEXT = """\
  orcac diff specs/study.yaml    show what each arm changes and remakes
  orcac run specs/study.yaml     run it here and print the table
  orcac status                   show its progress, from another terminal"""


@click.command("init")
@click.argument("folder", metavar="DIR")
def command(folder: str) -> None:
    """Lay out a study in DIR: rules, profiles and a commented spec. No file is overwritten.

    \b
    Example:
      orcac init study && cd study
      orcac run specs/study.yaml
    """
    root, files = Path(folder), _read_files()
    try:
        for name, text in files.items():
            _check_free(root / name, text)
        for name, text in files.items():
            write_if_changed(root / name, text)
    except OSError as error:
        fix = "choose a folder that you can write to; then run the same command again"
        raise InputError(f"{root}: cannot be written ({error.strerror})", fix=fix) from None
    click.echo(f"{root}:\n{ABOUT}")
    store = os.environ.get("ORCAC_STORE")
    click.echo(
        f"Artifacts go to {store}, as ORCAC_STORE is set.\n"
        if store
        else "Artifacts go to store/ in this folder; set ORCAC_STORE to use another one.\n"
    )
    click.echo("Next:")
    if root.resolve() != Path.cwd():
        click.echo(f"  cd {shlex.quote(str(root))}")
    click.echo(NEXT)


def _read_files() -> dict[str, str]:
    """Return the text of each file by its path in the study."""
    top, files = find_study_folder(), {}
    for name in STUDY_FILES:
        for path in [top / name, *sorted((top / name).rglob("*"))]:
            if path.is_file():
                files[path.relative_to(top).as_posix()] = path.read_text(encoding="utf-8")
    return files | {".gitignore": GITIGNORE}


def _check_free(path: Path, text: str) -> None:
    for folder in reversed(path.parents):
        if os.path.lexists(folder) and not folder.is_dir():
            raise _occupied_error(folder, "is not a folder")
    if os.path.lexists(path) and not (path.is_file() and path.read_bytes() == text.encode()):
        raise _occupied_error(path, "exists already with other content")


def _occupied_error(path: Path, why: str) -> InputError:
    return InputError(f"{path} {why}; nothing was written", fix="move it away, or give another DIR")
