"""orcac reproduce"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from orcac.cli.common import check_locks, check_memory, compile_specs, size_jobs
from orcac.cli.printing import print_table
from orcac.cli.profile import refuse_missing_profile
from orcac.cli.run import report_failures, run_snakemake
from orcac.errors import InputError, OrcacError, StoreError
from orcac.extras import explain_missing_package
from orcac.make import refuse_blocked
from orcac.plan.needs import refuse_missing
from orcac.plan.plan import Plan
from orcac.plan.replay import list_remade, list_targets
from orcac.store.store import Store
from orcac.study import Study, find_study
from orcac.text import clean, json_text

if TYPE_CHECKING:
    from orcac.remote.archive import Archive
    from orcac.remote.place import Place
    from orcac.remote.reproduced import Changed, Reproduced

_LISTED = 10  # nodes


@click.command("reproduce", context_settings={"ignore_unknown_options": True})
@click.argument("place", metavar="ARCHIVE")
@click.argument("spec", type=click.Path())
@click.argument("further", nargs=-1, type=click.Path(), metavar="[SNAKEMAKE ARGUMENTS]")
@click.option(
    "--into",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Keep the store and the plan of the replay here, not in build/reproduce/NAME.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(place: str, spec: str, further: tuple[str, ...], into: Path | None, as_json: bool) -> int:
    """Run SPEC again from ARCHIVE, which `orcac push --archive` wrote, and compare the result with it.

    The recorded answers go into a new store that asks no model: a question without one ends the run. Nodes that read no
    student must have the bytes of the archive. The scores of the others are compared run by run: for each arm and
    benchmark the mean difference, with an interval over the rounding of machines, and p after Holm's adjustment. A
    killed replay continues when it is started again.

    Exit code 0: reproduced; 1: not.

    \b
    Example:
      orcac reproduce docs/study/navigate specs/navigate.yaml
      orcac reproduce https://lab.example/navigate specs/navigate.yaml --json
      orcac reproduce docs/study/navigate specs/navigate.yaml --into /scratch/replay --cores 16
    """
    from orcac.remote.archive import read_archive
    from orcac.remote.place import open_place

    plan, experiments = compile_specs([spec])
    check_locks(plan)
    with explain_missing_package("an archive at a URL"):
        there = open_place(place)
    archive = read_archive(there)
    _refuse_other_spec(plan, archive)
    found = find_study([spec])
    (name,) = plan.experiments
    folder = into or found.plan.parent / "reproduce" / name
    study = Study(root=found.root, store=Store(folder / "store"), plan=folder / "plan.json")
    _fetch_answers(archive, there, study)
    remade = list_remade(plan)
    if not all(map(study.store.is_done, remade)):
        refuse_missing_profile(further, study.work_folder())
        check_memory(plan, experiments, study.store)
        refuse_blocked(plan.nodes[ref] for ref in remade)
        refuse_missing(plan.nodes[ref] for ref in remade)
        size_jobs(plan, experiments, study.store)
        plan.write(study.plan)
        since = time.time()
        code = run_snakemake(plan, study, list_targets(plan, remade), further, sys.stderr if as_json else None)
        if not all(map(study.store.is_done, remade)):
            if code:
                return report_failures(plan, study, code, further, since)
            raise OrcacError("not all nodes of the replay are made", fix="run the same command without `--until`")
    from orcac.remote.reproduced import compare_replay

    result = compare_replay(plan, study.store, archive)
    if as_json:
        click.echo(json_text({"archive": archive.label, "store": str(study.store.root)} | _as_json(result)))
    else:
        _show(result, archive.label, study.store)
    return 0 if result.holds else OrcacError.exit_code


def _refuse_other_spec(plan: Plan, archive: Archive) -> None:
    """Raise InputError if the archive lacks nodes of the plan, or if none of its scores can be compared."""
    lacking = [ref for ref in plan.nodes if ref not in archive.records]
    if lacking:
        raise InputError(
            f"{len(lacking):,} of the {len(plan.nodes):,} nodes of the spec are not in {archive.label}, such as "
            f"{lacking[0]} ({plan.nodes[lacking[0]].label})",
            fix="take the spec, its files and the orcac with which the archive was made",
        )
    remade = list_remade(plan)
    if archive.scores and not any(ref.startswith("score/") for ref in remade):
        raise InputError(
            "a judge scores every benchmark of the spec, and would be asked about the new answers",
            fix="add a benchmark with a checker to the spec before its archive is made",
        )


def _fetch_answers(archive: Archive, place: Place, study: Study) -> None:
    """Put the answers of an archive into the store of its replay, which is closed before.

    Raises InputError if that store is not one of this archive, StoreError if answers are damaged.
    """
    from orcac.chat.ledger.closed import close, read_closed
    from orcac.remote.answers import pull_answers

    answers, mark = study.store.answers, f"the archive {archive.digest[:16]}"
    known = read_closed(answers)
    if known != mark and (known is not None or study.store.is_begun):
        what = f"the replay of {known}, and not of {mark}" if known else "a store that may ask models"
        raise InputError(f"{study.store.root}: is {what}", fix="name another folder with --into, or delete this one")
    study.store.check_writable()
    close(answers, mark)
    with TemporaryDirectory(prefix="answers-", dir=study.plan.parent) as fresh:  # pulled files are deleted after it
        counts = pull_answers(answers, place, lambda record: True, Path(fresh) / "pulled")
    wrong = [*counts.damaged]
    wrong += [f"{counts.refused:,} answers are not those of their questions"] * bool(counts.refused)
    if wrong:
        raise StoreError(f"{archive.label}: {'; '.join(wrong)}", fix="take a sound copy of the archive")


def _as_json(result: Reproduced) -> dict[str, object]:
    return {"reproduced": result.holds} | asdict(result)


def _show(result: Reproduced, label: str, store: Store) -> None:
    from rich.console import Console
    from rich.table import Table

    from orcac.stats.wording import p_value, points, points_interval

    console = Console(highlight=False, markup=False)
    click.echo(clean(f"\n{label} made again in {store.root}, without asking a model\n"))
    exact = sum(result.exact.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in result.exact.items())
    click.echo(f"byte by byte   {exact:,} of {exact + len(result.changed):,} nodes that read no student ({kinds})")
    for line in _describe_changes(result.changed):
        click.echo(clean(f"  {line}"))
    others = ", ".join(f"{same:,} of {made:,} {kind}" for kind, (same, made) in result.others.items())
    if others:
        click.echo(f"may differ     the bytes are the same in {others}")
    if result.left_out:
        named = ", ".join(result.left_out)
        click.echo(clean(f"not made       scores of {named}: a judge would be asked about the new answers"))
    if result.arms:
        click.echo()
        table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
        for header in ("arm", "benchmark", "runs", "same", "archive %", "replay %", "difference", "95 %", "p (Holm)"):
            is_name = header in ("arm", "benchmark")
            table.add_column(header, justify="left" if is_name else "right", no_wrap=not is_name)
        for arm in result.arms:
            table.add_row(
                clean(arm.arm),
                clean(arm.benchmark),
                f"{arm.runs}",
                f"{arm.same}",
                f"{100 * arm.original:.1f}",
                f"{100 * arm.replay:.1f}",
                points(arm.difference),
                points_interval(arm.interval),
                p_value(arm.p_holm),
            )
        print_table(console, table)
    for line in result.lost:
        click.echo(clean(f"not compared   {line}: fewer than 2 items have an answer in the archive and here"))
    click.echo(f"\n{_word(result)}")


def _describe_changes(changed: Sequence[Changed]) -> Iterator[str]:
    """Yield a line for each node whose bytes differ, and the packages that differ between the two machines."""
    for one in changed[:_LISTED]:
        yield f"{one.ref} ({one.label}): {', '.join(one.files)} differ"
    if len(changed) > _LISTED:
        yield f"{len(changed) - _LISTED:,} more nodes differ"
    packages = {name: versions for one in changed for name, versions in one.packages.items()}
    if packages:
        listed = ", ".join(f"{name} {before} there, {now} here" for name, (before, now) in sorted(packages.items()))
        yield f"the versions of these packages differ, which may be the reason: {listed}"


def _word(result: Reproduced) -> str:
    """Return the verdict as one line."""
    if not result.holds:
        wrong = sum(not arm.holds for arm in result.arms)
        reasons = [f"nodes with other bytes: {len(result.changed):,}"] * bool(result.changed)
        reasons += [f"differences beyond chance (p < 0.05, Holm): {wrong:,} of {len(result.arms):,}"] * bool(wrong)
        reasons += [f"arms without answers to compare: {len(result.lost):,}"] * bool(result.lost)
        return f"not reproduced: {'; '.join(reasons)}"
    exact = f"all {sum(result.exact.values()):,} nodes that read no student have the same bytes"
    if not result.arms:
        return f"reproduced: {exact}"
    widest = max(100 * max(abs(arm.interval.low), abs(arm.interval.high)) for arm in result.arms)
    text = f"reproduced: {exact}, and no arm differs beyond chance (the widest interval ends at {widest:.1f} points)"
    if not all(arm.covers_luck for arm in result.arms):
        text += "; one run of each arm, so the luck of rounding is not covered"
    return text
