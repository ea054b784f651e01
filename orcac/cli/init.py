"""orcac init

Files are copied from the package byte for byte, so the rules of a study are those of the checkout. Nothing is ever
overwritten: all places are checked before anything is written, and an existing file must hold exactly the bytes to be
written. So an init that was killed can be run again, over the files that it wrote.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from orcac.cli.shipped import describe_specs, list_files
from orcac.errors import InputError
from orcac.smk import find_study_folder
from orcac.store.durable import write_if_changed

# Files and folders of the same name in a checkout, in the wheel and in a study. pyproject.toml puts them, and all of
# specs/, in the wheel.
RULES = ("Snakefile", "rules", "profiles", "slurm")
SPECS = (
    "specs/study.yaml",
    "specs/modern.yaml",
    "specs/tiny.yaml",
    "specs/orca-13b.yaml",
    "specs/orcac.schema.json",
    "specs/questions",
    "specs/system_messages",
)
GITIGNORE = "/store/\n/build/\n/.snakemake/\n/.venv/\n"
ABOUT = """\
  specs/study.yaml        a small experiment, with comments: start here
  specs/modern.yaml       an open student and a teacher that reasons, to price, and to run with a server and a GPU
  specs/tiny.yaml         a larger one: Orca in miniature
  specs/questions/        the questions of its judged benchmark
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
@click.argument("folder", metavar="DIR", required=False)
@click.option(
    "--from",
    "name",
    metavar="[NAME]",
    is_flag=False,
    flag_value="",
    help="Lay out this shipped spec alone, with the files that it needs; without NAME, list the shipped specs.",
)
def command(folder: str | None, name: str | None) -> None:
    """Lay out a study in DIR: rules, profiles and commented specs. No file is overwritten.

    With --from NAME it has the spec NAME alone, and DIR may be a study already, whose rules and profiles it keeps.

    \b
    Example:
      orcac init study && cd study
      orcac run specs/study.yaml
      orcac init --from                    list the shipped specs
      orcac init --from reasoning study    add one to the study
    """
    if name == "":
        _list_specs()
        return
    if folder is None:
        raise InputError("`orcac init` needs a DIR", fix="add it, as in `orcac init study`")
    root = Path(folder)
    specs = list_files(name) if name else SPECS
    rules, files = _read_files(RULES) | {".gitignore": GITIGNORE}, _read_files(specs)
    if name:  # a study's own rules and profiles stay as they are
        rules = {path: text for path, text in rules.items() if not (root / path).is_file()}
    files |= rules
    try:
        for path, text in files.items():
            _check_free(root / path, text)
        written = [path for path, text in files.items() if write_if_changed(root / path, text)]
    except OSError as error:
        fix = "choose a folder that you can write to; then run the same command again"
        raise InputError(f"{root}: cannot be written ({error.strerror})", fix=fix) from None
    if not written:
        click.echo(f"{root}: nothing is written; all {len(files)} files are there")
        return
    if name:
        _describe_added(root, specs)
        return
    click.echo(f"{root}:\n{ABOUT}")
    store = os.environ.get("ORCAC_STORE")
    click.echo(
        f"Artifacts go to {store}, as ORCAC_STORE is set.\n"
        if store
        else "Artifacts go to store/ in this folder; set ORCAC_STORE to use another one.\n"
    )
    _print_next(root, NEXT)


def _list_specs() -> None:
    """Print the shipped specs."""
    about = describe_specs()
    width = max(map(len, about))
    for name, line in about.items():
        click.echo(f"{name:{width}}  {line}")
    click.echo("\n`orcac init --from NAME DIR` lays one out, with the files that it needs")


def _describe_added(root: Path, specs: Sequence[str]) -> None:
    """Print the files of a spec that was added to a study, and the commands to begin with."""
    click.echo(f"{root}:\n" + "\n".join(f"  {path}" for path in specs) + "\n")
    texts = "".join((root / path).read_text(encoding="utf-8") for path in specs if path.endswith(".yaml"))
    if variables := sorted(set(re.findall(r"\$\{(\w+)\}", texts))):
        click.echo(f"Its paths name the environment variables {', '.join(variables)}; its comments explain them.\n")
    _print_next(root, f"  orcac cost {specs[0]}    print its price\n  orcac run {specs[0]}     run it")


def _print_next(root: Path, commands: str) -> None:
    click.echo("Next:")
    if root.resolve() != Path.cwd():
        click.echo(f"  cd {shlex.quote(str(root))}")
    click.echo(commands)


def _read_files(names: Sequence[str]) -> dict[str, str]:
    """Return the text of each file, or of each file of a folder, by its path in the study."""
    top, files = find_study_folder(), {}
    for name in names:
        for path in [top / name, *sorted((top / name).rglob("*"))]:
            if path.is_file():
                files[path.relative_to(top).as_posix()] = path.read_text(encoding="utf-8")
    return files


def _check_free(path: Path, text: str) -> None:
    for folder in reversed(path.parents):
        if os.path.lexists(folder) and not folder.is_dir():
            raise _occupied_error(folder, "is not a folder")
    if os.path.lexists(path) and not (path.is_file() and path.read_bytes() == text.encode()):
        raise _occupied_error(path, "exists already with other content")


def _occupied_error(path: Path, why: str) -> InputError:
    return InputError(f"{path} {why}; nothing was written", fix="move it away, or give another DIR")
