"""orcac profile"""

from __future__ import annotations

import io
import itertools
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from orcac.errors import InputError
from orcac.smk import find_study_folder
from orcac.store import durable

GPU_RULES = ("student", "train", "eval", "eval_shard")  # that load a model
_NAME = re.compile(r"[A-Za-z0-9_][\w.+@-]*(?:,[A-Za-z0-9_][\w.+@-]*)*", re.ASCII)  # Slurm takes lists of partitions
_ADDRESS = re.compile(r"[A-Za-z0-9_][\w.+-]*@[A-Za-z0-9][\w.-]*", re.ASCII)


@click.group("profile")
def command() -> None:
    """Write a Snakemake profile of your own site.

    \b
    Example:
      orcac profile slurm --account lab --partition cpu --gpu-partition gpu
      orcac run specs/tiny.yaml --profile site
    """


@command.command("slurm")
@click.argument("folder", default="site", type=click.Path())
@click.option("--account", help="The account that pays; `sacctmgr show associations user=$USER` lists yours.")
@click.option("--partition", help="The partition of all jobs; `sinfo` lists them.")
@click.option("--gpu-partition", help=f"The partition of the jobs that load a model: {', '.join(GPU_RULES)}.")
@click.option("--qos", help="The quality of service; `sacctmgr show qos` lists them.")
@click.option("--mail", metavar="ADDRESS", help="Let Slurm send a mail here for each job that fails.")
@click.option("--jobs", type=click.IntRange(min=1), help="The most jobs in the queue at the same time.")
@click.option("--requeue", is_flag=True, help="Let Slurm put a job that it pre-empts into the queue again.")
@click.option("--force", is_flag=True, help="Overwrite a profile that is there.")
def slurm(
    folder: str,
    account: str | None,
    partition: str | None,
    gpu_partition: str | None,
    qos: str | None,
    mail: str | None,
    jobs: int | None,
    requeue: bool,
    force: bool,
) -> None:
    """Write the profile FOLDER (site) from the one that orcac ships, with the names of your cluster.

    \b
    Example:
      orcac profile slurm --account lab --partition cpu --gpu-partition gpu
      orcac profile slurm preempt --partition spare --requeue
      orcac run specs/tiny.yaml --profile site
    """
    path = Path(folder) / "config.yaml"
    if path.exists() and not force:
        raise InputError(f"{path}: there is a profile already", fix="name another folder, or overwrite it by --force")
    everywhere = {
        "slurm_account": _check("--account", account, _NAME),
        "slurm_partition": _check("--partition", partition, _NAME),
        "qos": _check("--qos", qos, _NAME),
    }
    if address := _check("--mail", mail, _ADDRESS):
        everywhere["slurm_extra"] = f"--mail-type=FAIL --mail-user={address}"
    on_gpus = _check("--gpu-partition", gpu_partition, _NAME)
    text = _fill_in(everywhere, on_gpus, {"jobs": jobs, "slurm-requeue": requeue or None})
    try:
        durable.write_if_changed(path, text)
    except OSError as error:
        fix = "name a folder that you can write to"
        raise InputError(f"{path}: cannot be written ({error.strerror})", fix=fix) from None
    click.echo(f"{path} is written\nrun a spec with it: orcac run SPEC --profile {shlex.quote(folder)}")


def refuse_missing_profile(arguments: Sequence[str], folder: Path) -> None:
    """Raise InputError if Snakemake's arguments name a profile that is neither in `folder`, where it runs, nor in its
    own configuration."""
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        option, _, value = argument.partition("=")
        name = value or following
        if option != "--profile" or not name or (folder / name).exists():
            continue
        from snakemake.common import get_appdirs  # slow to import

        known = get_appdirs()
        if not any((Path(place) / name).exists() for place in (known.user_config_dir, known.site_config_dir)):
            raise InputError(
                f"--profile {name}: there is no such profile in {folder} or {known.user_config_dir}",
                fix="write one of your own with `orcac profile slurm`, or the folder of a study, which has the profile "
                "`slurm`, with `orcac init`",
            )


def _check(option: str, value: str | None, form: re.Pattern[str]) -> str | None:
    """Return a value that Slurm may get. Raises InputError for one that is not a name of Slurm's."""
    if value is not None and not form.fullmatch(value):
        raise InputError(f"{option} {value!r}: is not a name that Slurm can have", fix="correct it")
    return value


def _fill_in(everywhere: dict[str, str | None], on_gpus: str | None, top: dict[str, Any]) -> str:
    """Return the shipped profile with these resources, partition of GPU jobs and settings; None leaves one as it is."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096  # no line is broken
    shipped = find_study_folder() / "slurm" / "config.yaml"
    profile = yaml.load(shipped.read_text(encoding="utf-8"))
    resources = profile["default-resources"]
    for name, value in everywhere.items():
        if value is not None:
            resources.pop(name, None)
            resources.insert(0, name, _quote(value))
    if on_gpus is not None:
        rules = profile.setdefault("set-resources", {})
        for rule in GPU_RULES:
            rules.setdefault(rule, {})["slurm_partition"] = _quote(on_gpus)
        settings = profile["config"]  # nodes of one job are in one partition
        settings["chained"] = " ".join(kind for kind in settings["chained"].split() if kind not in GPU_RULES)
    profile.update({name: value for name, value in top.items() if value is not None})
    out = io.StringIO()
    yaml.dump(profile, out)
    return out.getvalue()


def _quote(value: str) -> str:
    """Return a resource as Snakemake reads it: a Python expression, in which an account `max` would be a function."""
    return f"'{value}'"
