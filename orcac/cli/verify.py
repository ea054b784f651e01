"""orcac verify"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from orcac.cli.common import compile_specs
from orcac.errors import InputError, StoreError
from orcac.plan.file import find_ref
from orcac.store.lease import is_leased, try_acquire
from orcac.store.store import Store, has_digest
from orcac.study import find_study
from orcac.text import clean, json_text, size


@click.command("verify")
@click.argument("targets", nargs=-1, metavar="[SPEC | KIND/ID]...", type=click.Path())
@click.option("--repair", is_flag=True, help="Unmake damaged artifacts, so that the next run makes them again.")
@click.option(
    "--seal", "seals", is_flag=True, help="Give sound records of an older orcac, which have no checksum, one."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(targets: tuple[str, ...], repair: bool, seals: bool, as_json: bool) -> int:
    """Compare every file of artifacts with its recorded digest: artifacts of specs, single ones, or all.

    Every missing or damaged file is listed, and records that do not match their own checksum. Nodes that are being
    made are left out. Without arguments the recorded answers are checked as well, and the records of budgets, batches
    and finished shards. Exit code 0: all sound; 1: something was damaged, even if it is repaired now.

    Records that an older orcac wrote have no checksum, so a changed figure in one cannot be found: they are counted.

    \b
    Example:
      orcac verify
      orcac verify specs/tiny.yaml
      orcac verify train/0f3a5c19 --repair
    """
    from orcac.chat.checking import check_small_records, seal_small_records
    from orcac.chat.ledger.files import check_records
    from orcac.chat.ledger.sealing import seal

    specs = [name for name in targets if Path(name).suffix or Path(name).is_file()]
    study = find_study(specs)
    store = study.store.own if study.upstream_url else study.store  # the files of a URL upstream are not here
    refs = [ref for ref in _find_refs(store, specs, targets) if store.has_record(ref)]
    busy = [ref for ref in refs if is_leased(store.folder(ref))]
    refs = [ref for ref in refs if ref not in busy]
    damaged: dict[str, list[str]] = {}
    with _show_reading(_recorded_bytes(store, refs), quiet=as_json) as hashed:
        for ref in refs:
            if found := [str(damage) for damage in store.find_damage(ref, hashed)]:
                damaged[ref] = found
    unsealed = [ref for ref in refs if ref not in damaged and not has_digest(store.marker(ref))]
    sealed = [ref for ref in unsealed if seals and not store.is_upstream(ref) and _seal(store, ref)]
    theirs = [ref for ref in damaged if store.is_upstream(ref)]
    repaired = [ref for ref in damaged if repair and ref not in theirs and _repair(store, ref)]
    answers = None if targets else check_records(store.answers)
    if answers and seals and not answers.damaged:
        seal(store.answers, everything=True)
        answers = check_records(store.answers)
    small = None if targets else check_small_records(store.root)
    if small and seals:
        seal_small_records(small)
        small = check_small_records(store.root)
    unsound = [str(error) for error in answers.damaged] if answers else []
    unsound += small.damaged if small else []
    if as_json:
        findings: dict[str, Any] = {"checked": refs, "damaged": damaged, "repaired": repaired, "held": busy}
        findings["unverifiable"] = [ref for ref in unsealed if ref not in sealed]
        findings["answers"] = "".join(unsound[:1])
        if answers:
            findings["records"] = answers._asdict() | {"damaged": unsound}
        if small:
            findings["small_records"] = {"sound": small.sound, "unverifiable": list(map(str, small.unverifiable))}
        click.echo(json_text(findings))
        return int(bool(damaged or unsound))
    for ref, lines in damaged.items():
        for line in lines:
            click.echo(clean(line))
        if ref in repaired and store.is_own(ref):
            click.echo(f"  the record of {ref} is replaced by its sound copy")
        elif ref in repaired:
            click.echo(f"  {ref} is unmade: the next run that needs it makes it again")
        elif ref in theirs:
            click.echo(f"  {ref} is in the upstream, which is only read: its owner can repair it")
        elif repair:
            click.echo(f"  {ref} is being made now, or was made meanwhile: it is left alone")
    for line in unsound:
        click.echo(clean(line))
    for ref in busy:
        click.echo(f"{ref} is being made now: not checked")
    total = size(_recorded_bytes(store, refs))
    click.echo(f"{len(refs) - len(damaged)} of {len(refs)} artifacts are sound ({total})")
    if sealed:
        click.echo(f"  {len(sealed)} of their records had no checksum, and have one now")
    if len(unsealed) > len(sealed):
        click.echo(f"  {len(unsealed) - len(sealed)} of their records are older and have no checksum: add --seal")
    if len(damaged) > len(theirs) and not repair:
        click.echo(f"  fix: `{' '.join(['orcac verify', *targets])} --repair`, then run again")
    if answers and any(answers):
        text = f"{answers.sound:,} recorded answers match their checksums"
        click.echo(text + _describe_rest(answers.unverifiable, len(answers.damaged)))
    if small and any(small):
        text = f"{small.sound:,} records of budgets, batches and shards match their checksums"
        click.echo(text + _describe_rest(len(small.unverifiable), len(small.damaged)))
    return int(bool(damaged or unsound))


def _describe_rest(unverifiable: int, damaged: int) -> str:
    older = f"; {unverifiable:,} are older and have no checksum" if unverifiable else ""
    return f"{older}; {damaged:,} damaged"


def _find_refs(store: Store, specs: list[str], targets: tuple[str, ...]) -> list[str]:
    """Return the KIND/IDs that the arguments name, each once; without arguments all in the store."""
    known = store.refs()
    if not targets:
        return known
    refs = list(compile_specs(specs)[0].nodes) if specs else []
    for name in targets:
        if name not in specs:
            ref = find_ref(known, name)
            if not store.has_record(ref):
                raise InputError(
                    f"{ref}: not made yet", fix="make it with `orcac run`; `orcac status` shows its progress"
                )
            refs.append(ref)
    return list(dict.fromkeys(refs))


def _recorded_bytes(store: Store, refs: list[str]) -> int:
    total = 0
    for ref in refs:
        with contextlib.suppress(StoreError):  # damage is reported later
            total += sum(facts["bytes"] for facts in store.artifact(ref)["files"].values())
    return total


@contextlib.contextmanager
def _show_reading(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show the bytes read, the rate and the time left on a terminal. Yield a callable for the bytes of each read."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("reading"),
        progress.BarColumn(bar_width=20),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TextColumn("ETA"),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    disabled = quiet or not console.is_terminal
    with progress.Progress(*columns, console=console, transient=True, disable=disabled) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


def _repair(store: Store, ref: str) -> bool:
    """Unmake an artifact under its lease if it is still damaged; return whether it was."""
    with try_acquire(store.folder(ref)) as is_free:
        if not is_free or not any(store.find_damage(ref)):
            return False
        if not store.mend_record(ref):
            store.drop(ref)
    return True


def _seal(store: Store, ref: str) -> bool:
    """Give the records of an artifact a checksum under its lease, and return whether it was free."""
    with try_acquire(store.folder(ref)) as is_free:
        if is_free:
            store.seal(ref)
    return is_free
