"""orcac batches"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING

import click

from orcac.cli.printing import print_table
from orcac.errors import InputError, OrcacError
from orcac.study import find_study
from orcac.text import clean, json_text

if TYPE_CHECKING:
    from orcac.chat.batch.files import Batch


@click.group("batches")
def command() -> None:
    """List the batches sent to a Batch API, or cancel some.

    \b
    Example:
      orcac batches list
      orcac batches cancel 0f3a5c19d2b8e4f6
    """


@command.command("list")
@click.option("--all", "with_ended", is_flag=True, help="Include batches whose answers are in the ledger already.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def list_(with_ended: bool, as_json: bool) -> None:
    """Show the progress of batches and the most they can cost; take in the answers of those that have ended.

    The provider is asked for the state of each. If it does not answer, the last known state is shown.

    \b
    Example:
      orcac batches list
      orcac batches list --all --json
    """
    from orcac.chat.batch.control import refresh
    from orcac.chat.batch.files import live_ids, read_batches

    store = find_study().store
    live = live_ids(store.answers)
    problems = asyncio.run(refresh(store.answers, live, on_event=lambda text: click.echo(clean(text), err=True)))
    shown = [batch for batch in read_batches(store.answers) if with_ended or not batch.settled]
    for problem in problems:
        click.echo(clean(f"warning: {problem}"), err=True)
    if as_json:
        click.echo(json_text([dataclasses.asdict(batch) for batch in shown]))
    elif shown:
        _show(shown)
    else:
        click.echo("no batch was ever sent" if with_ended else "no batch is under way")


@command.command("cancel")
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Cancel all live batches.")
def cancel(ids: tuple[str, ...], every: bool) -> None:
    """Cancel batches, or give up lost ones.

    IDS are those that `list` shows, or their beginnings. Answers that a batch has brought are paid for: the next run or
    `list` takes them in. A run that waits for the batch stops when it ends. A batch that the provider does not know
    any more is given up: its requests are asked again, and its cost so far is lost.

    \b
    Example:
      orcac batches cancel 0f3a5c19d2b8e4f6
      orcac batches cancel --all
    """
    from orcac.chat.batch.control import cancel as stop
    from orcac.chat.batch.files import live_ids

    store = find_study().store
    live = live_ids(store.answers)
    if not ids and not every:
        raise InputError("no batch is named", fix="name one that `orcac batches list` shows, or give --all")
    chosen = live if every else [_find(live, text) for text in ids]
    if not chosen:
        click.echo("no batch is under way")
    failures: list[OrcacError] = []
    for id in chosen:
        try:
            click.echo(clean(f"batch {id} {asyncio.run(stop(store.answers, id))}"))
        except OrcacError as error:
            failures.append(error)
    for failure in failures[1:]:
        click.echo(clean(failure.message), err=True)
    if failures:
        raise failures[0]


def _find(live: list[str], text: str) -> str:
    near = [id for id in live if id.startswith(text)]
    if len(near) != 1:
        raise InputError(
            f"{text}: {len(near)} live batches have an id that begins so",
            fix="give the beginning of one id that `orcac batches list` shows",
        )
    return near[0]


def _show(shown: list[Batch]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from orcac.text import clock, dollars

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("batch", "model", "status"):
        table.add_column(name, no_wrap=name == "batch", overflow="fold")
    for name in ("requests", "done", "at most", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    for batch in shown:
        done = f"{100 * (batch.answered if batch.settled else batch.done) / batch.requests:.0f} %"
        usd = dollars(batch.usd) if batch.settled else dollars(batch.usd_bound)
        status = f"{batch.status}, lost" if batch.lost else batch.status
        age = clock(max(0.0, time.time() - batch.planned_at))
        table.add_row(batch.id, Text(clean(batch.model)), Text(clean(status)), f"{batch.requests:,}", done, usd, age)
    print_table(Console(highlight=False), table)
    live = [batch for batch in shown if not batch.settled]
    if live:
        requests = sum(batch.requests for batch in live)
        most = dollars(sum(batch.usd_bound for batch in live))
        click.echo(f"{len(live)} under way: {requests:,} requests, at most {most}")
