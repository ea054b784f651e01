"""orcac init

What it lays out is copied from the package byte for byte, so the rules of a study are those of the checkout. It never
overwrites: everything is looked at before anything is written, and a file that is there already must hold just what
would be written. That is also why an init that was killed can be run again.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from orcac.errors import InputError
from orcac.smk import find_study_folder
from orcac.store.durable import write_if_changed

# Files and folders, by the same name in a checkout, in the wheel and in a study; pyproject.toml puts them in the wheel.
LAID_OUT = (
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
IGNORED = "/store/\n/build/\n/.snakemake/\n/slurm_logs/\n/.venv/\n"
ABOUT = """\
  specs/study.yaml        a small experiment, with comments: start here
  specs/tiny.yaml         a larger one: Orca in miniature
  specs/system_messages/  the library of system messages
  specs/orca-13b.yaml     the paper's whole experiment, to price and compare
  specs/orcac.schema.json lets an editor complete specs and check them
  Snakefile, rules/       what runs a compiled spec
  profiles/default/       settings of every `snakemake` in this folder
  slurm/                  those of `--profile slurm`: account, partition, limits
  .gitignore              keeps what is made out of version control
"""
NEXT = """\
  orcac diff specs/study.yaml    what each arm changes, and what that remakes
  orcac run specs/study.yaml     run it here and print the table
  orcac status                   how far it is, from another terminal"""


@click.command("init")
@click.argument("folder", metavar="DIR")
def command(folder: str) -> None:
    """Lay out a study in DIR: rules, profiles and a commented spec. No file is overwritten.

    \b
    Example:
      orcac init study && cd study
      orcac run specs/study.yaml
    """
    root, files = Path(folder), _files()
    try:
        for name, text in files.items():
            _refuse_what_is_in_the_way(root / name, text)
        for name, text in files.items():
            write_if_changed(root / name, text)
    except OSError as error:
        fix = "choose a folder that you can write to; then run the same command again"
        raise InputError(f"{root}: cannot be written ({error.strerror})", fix=fix) from None
    click.echo(f"{root}:\n{ABOUT}")
    store = os.environ.get("ORCAC_STORE")
    click.echo(
        f"Artifacts go to {store}: ORCAC_STORE says so.\n"
        if store
        else "Artifacts go to store/ in it; ORCAC_STORE=FOLDER puts them elsewhere.\n"
    )
    click.echo("Next:")
    if root.resolve() != Path.cwd():
        click.echo(f"  cd {shlex.quote(str(root))}")
    click.echo(NEXT)


def _files() -> dict[str, str]:
    """Path in the study -> text."""
    top, files = find_study_folder(), {}
    for name in LAID_OUT:
        for path in [top / name, *sorted((top / name).rglob("*"))]:
            if path.is_file():
                files[path.relative_to(top).as_posix()] = path.read_text(encoding="utf-8")
    return files | {".gitignore": IGNORED}


def _refuse_what_is_in_the_way(path: Path, text: str) -> None:
    for folder in reversed(path.parents):
        if os.path.lexists(folder) and not folder.is_dir():
            raise _in_the_way(folder, "is not a folder")
    if os.path.lexists(path) and not (path.is_file() and path.read_bytes() == text.encode()):
        raise _in_the_way(path, "is there already and is something else")


def _in_the_way(path: Path, why: str) -> InputError:
    return InputError(f"{path} {why}; nothing was written", fix="move it away, or name a new folder")
