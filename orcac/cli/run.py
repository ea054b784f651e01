"""orcac run"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

import click

from orcac.cli.common import (
    check_locks,
    check_memory,
    compile_specs,
    describe_new_store,
    describe_unmeasured,
    describe_upstream,
    size_jobs,
    warn_outdated,
    warn_reasked,
)
from orcac.cli.live import find_terminal, live_display
from orcac.cli.outcome import describe_failures, describe_outcome
from orcac.cli.profile import refuse_missing_profile
from orcac.cli.report import show
from orcac.cli.until import describe_unchecked, list_wanted, read_until
from orcac.cli.upstream import look_upstream, pull_needed
from orcac.cli.warm import warm_server
from orcac.errors import InputError
from orcac.make import refuse_blocked
from orcac.plan.credentials import check_credentials
from orcac.plan.file import keep_copy, release_copy
from orcac.plan.needs import refuse_missing
from orcac.plan.plan import Plan
from orcac.progress import REDRAWN_VARIABLE, pipe_id
from orcac.smk import find_snakefile
from orcac.study import Study, export_study, find_study
from orcac.text import clean

_DRY = frozenset({"-n", "--dry-run", "--dryrun"})  # arguments with which Snakemake makes nothing
_FORWARD_AFTER_S = 0.5  # shorter than the time in which a job takes two signals for one (chat/interrupt.py)


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.Path(), metavar="SPECS... [SNAKEMAKE ARGUMENTS]")
def command(arguments: tuple[str, ...]) -> int:
    """Compile SPECS, run the plan with Snakemake, print the result table.

    Finished nodes are not made again, and a run that was killed continues. Arguments after the specs are passed to
    Snakemake. `--until KIND` stops with the nodes of that kind: sample, collect, filter, tokenize, train, eval, score.

    \b
    Example:
      orcac run specs/tiny.yaml
      orcac run specs/tiny.yaml --until filter     ask the teachers alone
      orcac run specs/tiny.yaml --cores 8
      orcac run specs/tiny.yaml --profile slurm
    """
    specs = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    further = list(arguments[len(specs) :])
    if not specs:
        given = [argument for argument in arguments if argument.lower().endswith((".yaml", ".yml"))]
        first = shlex.join([*given, *(argument for argument in arguments if argument not in given)])
        fix = (
            f"put specs before options: `orcac run {first}`" if given else "give one, as in `orcac run specs/tiny.yaml`"
        )
        raise InputError("`orcac run`: no spec is given", fix=fix)
    return run_specs(specs, further)


def run_specs(
    specs: Sequence[str], further: Sequence[str] = (), *, study: Study | None = None, as_json: bool = False
) -> int:
    """Compile specs, run the plan, print the results, and return the exit code.

    further: arguments for Snakemake. study: the study to run in, if it is not that of the specs. With `as_json`, stdout
    holds the results as JSON and nothing else.
    """
    until = read_until(further)
    plan, experiments = compile_specs(specs)
    check_locks(plan)
    study = study or find_study(specs)
    refuse_missing_profile(further, study.work_folder())
    store = study.store
    look_upstream(plan, study)
    check_memory(plan, experiments, store)
    warn_outdated(plan, experiments, store)
    warn_reasked(plan, experiments, store)
    notes = [*describe_unmeasured(experiments), *size_jobs(plan, experiments, store)]
    for line in [*notes, *describe_upstream(plan, study)]:
        click.echo(clean(line), err=True)
    plan.write(study.plan)
    if not _DRY.intersection(further):
        pull_needed(plan, study)
    names = list(plan.experiments)
    todo = [ref for ref in plan.nodes if not store.is_done(ref)]
    targets = list(dict.fromkeys(ref for item in plan.experiments.values() for ref in item.targets))
    result = "the report" if all(item.report for item in plan.experiments.values()) else "every dataset"
    if all(map(store.is_done, targets)):
        gone = (
            f"; {len(todo)} of {len(plan.nodes)} nodes are not in the store, and none of them is needed" if todo else ""
        )
        click.echo(f"nothing to do: {result} is made{gone}\n", err=as_json)
        show(plan, store, names, as_json=as_json)
        return 0
    refuse_blocked(plan.nodes[ref] for ref in todo if not store.has_record(ref))
    if not _DRY.intersection(further):
        wanted = [plan.nodes[ref] for ref in list_wanted(plan, until) if not store.is_done(ref)]
        refuse_missing(wanted)
        for problem in check_credentials(wanted, experiments, store):
            click.echo(str(problem), err=True)
        for line in [*describe_unchecked(plan, wanted, store), *describe_new_store(store)]:
            click.echo(clean(line), err=True)
        store.check_writable()  # else Snakemake would end without a message
    click.echo(f"{len(todo)} of {len(plan.nodes)} nodes to make, in {store.root.absolute()}", err=True)
    start, since = time.monotonic(), time.time()
    code = run_snakemake(plan, study, targets, further, sys.stderr if as_json else None)
    if _DRY.intersection(further):
        return code
    if all(map(store.is_done, targets)):
        click.echo(f"done in {time.monotonic() - start:.0f} s\n", err=as_json)
        show(plan, store, names, as_json=as_json)
        return 0
    if code == 0:
        click.echo("\nSnakemake made what its arguments ask for, which is not all that the spec needs\n", err=True)
        for line in itertools.chain(*(describe_outcome(plan, store, name) for name in names)):
            click.echo(line, err=as_json)
        return 0
    return report_failures(plan, study, code, further, since)


def run_snakemake(
    plan: Plan, study: Study, targets: Sequence[str], further: Sequence[str], stdout: TextIO | None
) -> int:
    """Run Snakemake in the study root, where it finds its profiles, and return its exit code.

    It gets a copy of the plan of its own, so that another run in the study may compile another spec meanwhile. `-P`
    keeps Python from importing modules of the root, such as a `transformers.py`.
    """
    line = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(find_snakefile(study.root))]
    is_local = not any(argument.startswith(("--profile", "--executor", "-e")) for argument in further)
    if is_local:
        line += ["--cores", "all", "--quiet", "all"]  # on this machine the nodes print their own progress
    if os.environ.get("NO_COLOR"):
        line.append("--nocolor")
    line += further
    click.echo("$ " + shlex.join(["snakemake", *line[4:]]), err=True)
    copy = keep_copy(plan.to_json(), study.plan.parent)
    environment = os.environ | export_study(study.store, copy.path)
    environment["ORCAC_TARGETS"] = ",".join(targets)
    environment["ORCAC_UNTIL"] = ",".join(read_until(further))
    folder = study.work_folder()
    with contextlib.ExitStack() as opened:
        if is_local:
            opened.callback(release_copy, copy)
        if _DRY.intersection(further):
            return _wait(subprocess.Popen(line, env=environment, cwd=folder, stdout=stdout))
        if is_local:
            environment |= opened.enter_context(warm_server())
        if (console := find_terminal()) is None:
            return _wait(subprocess.Popen(line, env=environment, cwd=folder, stdout=stdout))
        above = opened.enter_context(live_display(console, plan, study.store))
        environment[REDRAWN_VARIABLE] = pipe_id(above)
        shown = above if sys.stdout.isatty() else stdout
        return _wait(subprocess.Popen(line, env=environment, cwd=folder, stdout=shown, stderr=above))


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for Snakemake and return its exit code. Raise KeyboardInterrupt if a SIGTERM ended it.

    A SIGTERM to this process is forwarded to Snakemake and its jobs, once and after a delay. A sender that stops a
    whole process group (`timeout`, systemd) has reached them already, and Snakemake hangs if a second SIGTERM comes
    while it handles the first.
    """
    forwarding = threading.Timer(_FORWARD_AFTER_S, _stop_jobs, [child.pid])
    forwarding.daemon = True

    def forward(number: int, frame: FrameType | None) -> None:
        if forwarding.ident is None:
            forwarding.start()

    before = signal.signal(signal.SIGTERM, forward)
    try:
        code = child.wait()
    except KeyboardInterrupt:  # the terminal sent SIGINT to Snakemake as well, which lets running nodes end
        child.wait()
        raise
    finally:
        forwarding.cancel()
        signal.signal(signal.SIGTERM, before)
    if forwarding.ident is not None and code:
        raise KeyboardInterrupt
    return code


def _stop_jobs(snakemake: int) -> None:
    """Send SIGTERM to Snakemake, which starts nothing more and waits for its jobs, and to its jobs on this machine.

    The shells between them get no signal: they would end at once, and Snakemake would not wait for the jobs.
    """
    import psutil

    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(snakemake)
        below = parent.children(recursive=True)
        parent.terminate()
        for process in below:
            with contextlib.suppress(psutil.Error):
                if [Path(part).name for part in process.cmdline()[1:3]] == ["orcac", "make"]:
                    process.terminate()


def report_failures(plan: Plan, study: Study, code: int, further: Sequence[str], since: float) -> int:
    """Print the failed nodes with their errors and logs, and return the exit code of the first."""
    lines, codes = describe_failures(plan, study.store, since=since)
    click.echo("\n".join(lines), err=True)
    if not codes:
        line = ["snakemake", "--snakefile", str(find_snakefile(study.root)), *(further or ["--cores", "all"])]
        by_hand = shlex.join(line)
        if study.work_folder() != Path.cwd():
            by_hand = f"cd {shlex.quote(str(study.work_folder()))} && {by_hand}"
        click.echo(
            f"\nSnakemake stopped and no node failed; if no line above gives the reason, `{by_hand}` does", err=True
        )
    click.echo("finished nodes are kept; run the same command again to continue", err=True)
    return codes[0] if codes else max(code, 1)  # negative: a signal ended Snakemake
