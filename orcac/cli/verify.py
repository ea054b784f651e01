"""orcac verify"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from orcac.cli.common import compiled, opened, plain
from orcac.errors import InputError, StoreError
from orcac.plan.plan import find_ref
from orcac.store.lease import is_leased, try_acquire
from orcac.store.store import Store
from orcac.text import size


@click.command("verify")
@click.argument("what", nargs=-1, metavar="[SPEC | KIND/ID]...")
@click.option("--repair", is_flag=True, help="Unmake what is damaged, so that the next run makes it anew.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings for a script.")
def command(what: tuple[str, ...], repair: bool, as_json: bool) -> int:
    """Read artifacts again and compare every file with its recorded digest: those of specs, single ones, or all.

    Names each file that is missing or damaged. What is being made now is left out. With nothing named, the answers of
    teachers are looked through too. Exit code 0: all sound; 1: something is damaged, also when it was repaired.

    \b
    Example:
      orcac verify
      orcac verify specs/tiny.yaml
      orcac verify train/0f3a5c19 --repair
    """
    _, store = opened()
    refs = [ref for ref in _named(store, what) if store.has_record(ref)]
    busy = [ref for ref in refs if is_leased(store.folder(ref))]
    refs = [ref for ref in refs if ref not in busy]
    damaged: dict[str, list[str]] = {}
    with _counting(_recorded_bytes(store, refs), quiet=as_json) as hashed:
        for ref in refs:
            if found := [str(damage) for damage in store.find_damage(ref, hashed)]:
                damaged[ref] = found
    repaired = [ref for ref in damaged if repair and _repair(store, ref)]
    answers = None if what else _damaged_answers(store)
    if as_json:
        findings = {"checked": refs, "damaged": damaged, "repaired": repaired, "held": busy, "answers": answers or ""}
        click.echo(json.dumps(findings, indent=1, ensure_ascii=False))
        return int(bool(damaged or answers))
    for ref, lines in damaged.items():
        for line in lines:
            click.echo(plain(line))
        if ref in repaired:
            click.echo(f"  {ref} is unmade: the next run that needs it makes it anew")
        elif repair:
            click.echo(f"  {ref} is being made now, or was meanwhile: left as it is")
    if answers:
        click.echo(plain(answers))
    for ref in busy:
        click.echo(f"{ref} is being made now: not checked")
    total = size(_recorded_bytes(store, refs))
    click.echo(f"{len(refs) - len(damaged)} of {len(refs)} artifacts are sound ({total})")
    if damaged and not repair:
        click.echo(f"  fix: `{' '.join(['orcac verify', *what])} --repair`, then run again")
    return int(bool(damaged or answers))


def _named(store: Store, what: tuple[str, ...]) -> list[str]:
    """The KIND/IDs that the arguments name, each once; all in the store where there is none."""
    known = store.refs()
    if not what:
        return known
    specs = [name for name in what if Path(name).suffix or Path(name).is_file()]
    refs = list(compiled(specs)[0].nodes) if specs else []
    for name in what:
        if name not in specs:
            ref = find_ref(known, name)
            if not store.has_record(ref):
                raise InputError(f"{ref}: not made yet", fix="`orcac status` says how far it is")
            refs.append(ref)
    return list(dict.fromkeys(refs))


def _recorded_bytes(store: Store, refs: list[str]) -> int:
    total = 0
    for ref in refs:
        with contextlib.suppress(StoreError):  # damaged, which is found and named later
            total += sum(facts["bytes"] for facts in store.artifact(ref)["files"].values())
    return total


@contextlib.contextmanager
def _counting(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A line on a terminal that says how much is read, how fast, how long still. Yields what is told of each read."""
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
    """Unmake it under its lease, if it is still damaged then."""
    with try_acquire(store.folder(ref)) as held:
        if not held or not any(store.find_damage(ref)):
            return False
        store.drop(ref)
    return True


def _damaged_answers(store: Store) -> str:
    """What is wrong with the first damaged record of the ledger, "" where all are whole."""
    from orcac.chat.ledger.files import read_records

    try:
        for _ in read_records(store.answers):
            pass
    except StoreError as error:
        return str(error)
    return ""
