"""orcac compile"""

from __future__ import annotations

import json

import click

from orcac.cli.common import (
    check_locks,
    check_memory,
    compile_specs,
    describe_choices,
    describe_new_store,
    describe_unmeasured,
    describe_upstream,
    size_jobs,
    warn_outdated,
    warn_reasked,
)
from orcac.cli.upstream import look_upstream
from orcac.plan.deferred import describe_deferred
from orcac.plan.needs import describe_missing
from orcac.plan.plan import BASELINES
from orcac.plan.replicates import count_runs
from orcac.study import find_study
from orcac.text import clean

MAX_LISTED_ARMS = 20


@click.command("compile")
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Check SPECS and write the plan that Snakemake runs.

    Several specs become one plan, in which nodes that they share are made once.

    \b
    Example:
      orcac compile specs/tiny.yaml
      snakemake --cores 2                 here
      snakemake --profile slurm           on a cluster
    """
    plan, experiments = compile_specs(specs)
    check_locks(plan)
    study = find_study(specs)
    path, store = study.plan, study.store
    look_upstream(plan, study)
    check_memory(plan, experiments, store)
    outdated = warn_outdated(plan, experiments, store)
    reasked = warn_reasked(plan, experiments, store)
    size_jobs(plan, experiments, store)
    todo = [node for ref, node in plan.nodes.items() if not store.is_done(ref)]
    missing, fix = describe_missing(todo)
    missing += [f"to make them on this machine: {fix}"] if missing else []
    notes = [*describe_deferred(plan), *describe_unmeasured(experiments), *describe_choices(plan), *missing]
    notes += [*describe_upstream(plan, study), *describe_new_store(store)]
    changed = plan.write(path)
    if as_json:
        arms = {name: [arm for arm in item.arms if arm != BASELINES] for name, item in plan.experiments.items()}
        summary = {
            "plan": str(path),
            "changed": changed,
            "nodes": len(plan.nodes),
            "done": len(plan.nodes) - len(todo),
            "arms": arms,
            "notes": notes,
            "outdated": [line.strip() for line in outdated],
            "asked_again": [line.strip() for line in reasked],
        }
        click.echo(json.dumps(summary))
        return
    for experiment in experiments:
        name = experiment.base.spec.name
        addresses = plan.experiments[name].addresses
        counts = {arm: count_runs(addresses[arm]) for arm in experiment.arms if plan.experiments[name].arms[arm]}
        names = [f"{arm} × {runs}" if runs > 1 else arm for arm, runs in counts.items()]
        listed = ", ".join(names[:MAX_LISTED_ARMS])
        further = f" and {len(names) - MAX_LISTED_ARMS:,} more" if len(names) > MAX_LISTED_ARMS else ""
        baselines = experiment.base.spec.baselines
        parts = [f"{len(names):,} arm{'s' * (len(names) != 1)} ({listed}{further})"] if names else []
        parts += (
            [f"{len(baselines)} baseline{'s' * (len(baselines) != 1)} ({', '.join(baselines)})"] if baselines else []
        )
        click.echo(f"{name}: {', '.join(parts) or 'nothing to make'}")
    shared = sum(len(users) > 1 for users in plan.map_nodes_to_users().values())
    note = "written" if changed else "unchanged"
    done = len(plan.nodes) - len(todo)
    for line in notes:
        click.echo(clean(f"  {line}"))
    click.echo(f"{len(plan.nodes)} nodes, {shared} of them shared between arms, {done} done; {path} {note}")
