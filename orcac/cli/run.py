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
from pathlib import Path
from types import FrameType

import click

from orcac.cli.common import compiled, fitting, held, opened, plain, warn_outdated
from orcac.cli.foot import drawn, terminal
from orcac.cli.report import show
from orcac.errors import InputError
from orcac.make import refuse_blocked
from orcac.plan.plan import Plan
from orcac.plan.state import read_state
from orcac.progress import REDRAWN_VARIABLE, pipe_id
from orcac.smk import find_snakefile
from orcac.store.store import Store

_ASKS = frozenset({"-n", "--dry-run", "--dryrun"})  # arguments of Snakemake with which nothing is made
_FORWARD_AFTER_S = 0.5  # less than that in which a job takes two signals for one (chat/interrupt.py)


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="SPECS... [SNAKEMAKE ARGUMENTS]")
def command(arguments: tuple[str, ...]) -> int:
    """Compile SPECS, run the plan with Snakemake, print the result table.

    What is made already is not made again; a run that was killed goes on where it was. Whatever follows the specs
    goes to Snakemake as it is.

    \b
    Example:
      orcac run specs/tiny.yaml
      orcac run specs/tiny.yaml --cores 8
      orcac run specs/tiny.yaml --profile slurm
    """
    specs = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    further = list(arguments[len(specs) :])
    if not specs:
        raise InputError("run: no spec is given", fix="orcac run specs/tiny.yaml")
    plan, experiments = compiled(specs)
    held(plan)
    path, store = opened()
    fitting(plan, experiments, store)
    warn_outdated(plan, experiments, store)
    plan.write(path)
    names = list(plan.experiments)
    todo = [ref for ref in plan.nodes if not store.is_done(ref)]
    if all(store.is_done(plan.experiments[name].report) for name in names):
        gone = f"; of {len(plan.nodes)} nodes, {len(todo)} are not in the store and nothing needs them" if todo else ""
        click.echo(f"nothing to do: the report is made{gone}\n")
        show(plan, store, names)
        return 0
    refuse_blocked(plan.nodes[ref] for ref in todo)
    if not _ASKS.intersection(further):
        store.check_writable()  # Snakemake would end without a word
    click.echo(f"{len(todo)} of {len(plan.nodes)} nodes to make, in {store.root.absolute()}", err=True)
    start = time.monotonic()
    code = _snakemake(plan, path, store, further)
    if _ASKS.intersection(further):
        return code
    if all(store.is_done(plan.experiments[name].report) for name in names):
        click.echo(f"done in {time.monotonic() - start:.0f} s\n")
        show(plan, store, names)
        return 0
    if code == 0:
        click.echo("\nmade what Snakemake's arguments ask for; that is not all: no report", err=True)
        return 0
    return _explain(plan, store, code)


def _snakemake(plan: Plan, path: Path, store: Store, further: list[str]) -> int:
    line = [sys.executable, "-m", "snakemake", "--snakefile", str(find_snakefile())]
    if not any(argument.startswith(("--profile", "--executor", "-e")) for argument in further):
        line += ["--cores", "all", "--quiet", "all"]  # here: the nodes print their own progress
    line += further
    click.echo("$ " + shlex.join(["snakemake", *line[3:]]), err=True)
    targets = ",".join(item.report for item in plan.experiments.values())
    environment = os.environ | {
        "ORCAC_PLAN": str(path),
        "ORCAC_STORE": str(store.root),
        "ORCAC_TARGETS": targets,
    }
    console = None if _ASKS.intersection(further) else terminal()
    if console is None:
        return _wait(subprocess.Popen(line, env=environment))
    shares = sys.stdout.isatty()  # the terminal
    with drawn(console, plan, store) as above:
        environment[REDRAWN_VARIABLE] = pipe_id(above)
        return _wait(subprocess.Popen(line, env=environment, stdout=above if shares else None, stderr=above))


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Until Snakemake ends. A SIGTERM to us goes on to it and its jobs; raises KeyboardInterrupt where that ended it.

    Not at once, and one time: what stops a whole process group (`timeout`, systemd) has told them already, and
    Snakemake waits for itself for ever where a second SIGTERM comes while it handles the first.
    """
    told = threading.Timer(_FORWARD_AFTER_S, _stop, [child.pid])
    told.daemon = True

    def forward(number: int, frame: FrameType | None) -> None:
        if told.ident is None:
            told.start()

    before = signal.signal(signal.SIGTERM, forward)
    try:
        code = child.wait()
    except KeyboardInterrupt:  # the terminal sent it to Snakemake too, which lets running nodes end
        child.wait()
        raise
    finally:
        told.cancel()
        signal.signal(signal.SIGTERM, before)
    if told.ident is not None and code:
        raise KeyboardInterrupt
    return code


def _stop(snakemake: int) -> None:
    """SIGTERM to Snakemake, which begins nothing more and waits for its jobs, and to those on this machine, which end
    with what they have. The shells between them hear nothing: they would go at once, and Snakemake would not wait."""
    import psutil

    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(snakemake)
        below = parent.children(recursive=True)
        parent.terminate()
        for process in below:
            with contextlib.suppress(psutil.Error):
                if [Path(part).name for part in process.cmdline()[1:3]] == ["orcac", "make"]:
                    process.terminate()


def _explain(plan: Plan, store: Store, code: int) -> int:
    """Say which nodes failed and why; the exit code is the first failure's."""
    codes = []
    for ref, node in plan.nodes.items():
        if (state := read_state(store, node)).exit_code is not None:
            message = state.error.replace("\n", "\n  ")
            click.echo(plain(f"\nfailed: {node.kind} {node.label} ({ref})\n  {message}"), err=True)
            codes.append(state.exit_code)
    if not codes:
        by_hand = shlex.join(["snakemake", "--snakefile", str(find_snakefile()), "--cores", "all"])
        click.echo(f"\nSnakemake stopped and no node failed; where no line above says why, `{by_hand}` does", err=True)
    click.echo("what was made is kept; run the same command again to go on", err=True)
    return codes[0] if codes else max(code, 1)  # negative: a signal ended Snakemake
