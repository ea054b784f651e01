"""orcac answers"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orcac.cli.common import opened, plain
from orcac.errors import InputError

if TYPE_CHECKING:
    from orcac.chat.segments import Record

_LOOK_EVERY_S = 0.5


@click.command("answers")
@click.argument("what", type=click.Choice(["list", "count", "export", "import"]), default="count")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--model", help="Of this model alone.")
@click.option("--contains", help="Those whose messages or answer contain this text.")
@click.option("--error", help="Failures of this class alone; `any` for all of them.")
@click.option("--limit", type=click.IntRange(1), help="So many at most.")
@click.option("--follow", is_flag=True, help="list: go on with what is answered from now on, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="list, count: print for a script; list: a record a line.")
def command(
    what: str,
    file: Path | None,
    model: str | None,
    contains: str | None,
    error: str | None,
    limit: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Look into the ledger: every answer that was ever received, whatever experiment asked.

    \b
    count   how many answers and failures there are of each model, and their tokens
    list    the records, one a line; with --follow those that are yet to come
    export  write whole records to FILE (JSON Lines; `-` is the standard output)
    import  take records from FILE, as export wrote it; nothing is replaced

    \b
    Example:
      orcac answers
      orcac answers list --model gpt-4o --contains "step by step" --limit 20
      orcac answers list --follow
      orcac answers export gpt-4o.jsonl --model gpt-4o
      orcac answers import gpt-4o.jsonl
    """
    if (file is None) == (what in ("export", "import")):
        which = "needs a FILE" if file is None else "takes no FILE"
        raise InputError(f"`orcac answers {what}` {which}", fix=f"`orcac answers {what} --help` shows how")
    if follow and what != "list":
        raise InputError(f"`orcac answers {what}` cannot follow", fix="`orcac answers list --follow`")
    folder = opened()[1].answers

    def keep(record: Record) -> bool:
        response = record["response"]
        return (
            (model is None or record["request"]["model"] == model)
            and (error is None or response["error"] == error or (error == "any" and response["error"] != ""))
            and (contains is None or any(contains in text for text in _texts(record)))
        )

    if what == "import":
        assert file is not None
        _import(folder, file)
        return
    with contextlib.suppress(KeyboardInterrupt):
        found = _limited(_followed(folder, keep) if follow else _recorded(folder, keep), limit)
        if what == "count":
            _count(found, as_json)
        elif what == "export":
            assert file is not None
            _export(found, file)
        else:
            for record in found:
                click.echo(json.dumps(record, ensure_ascii=False) if as_json else _line(record))


def _recorded(folder: Path, keep: Callable[[Record], bool]) -> Iterator[Record]:
    from orcac.chat.ledger import records

    return filter(keep, records(folder))


def _followed(folder: Path, keep: Callable[[Record], bool]) -> Iterator[Record]:
    from orcac.chat.following import Following

    following = Following(folder)
    while True:
        yield from filter(keep, following.look())
        time.sleep(_LOOK_EVERY_S)


def _limited(found: Iterator[Record], limit: int | None) -> Iterator[Record]:
    for number, record in enumerate(found, start=1):
        yield record
        if number == limit:
            return


def _texts(record: Record) -> list[str]:
    return [*(content for _, content in record["request"]["messages"]), record["response"]["text"]]


def _line(record: Record) -> str:
    """In 80 columns: when, model, tokens, how it ended, and as much of question and answer as there is room for."""
    response = record["response"]
    when = time.strftime("%m-%d %H:%M", time.localtime(record["at"]))
    ended = response["error"] or response["finish_reason"]
    head = f"{when}  {record['request']['model'][:16]:16}  {response['output_tokens']:>5,}  {ended[:8]:8}  "
    question, answer = (" ".join(plain(text).split()) for text in _texts(record)[-2:])
    room = (79 - len(head) - 4) // 2
    return head + f"{_cut(question, room):{room}} -> {_cut(answer, room)}".rstrip()


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _count(found: Iterator[Record], as_json: bool) -> None:
    models: dict[str, dict[str, int]] = {}
    for record in found:
        response = record["response"]
        counts = models.setdefault(
            record["request"]["model"],
            dict.fromkeys(("answers", "cut_off", "failures", "input_tokens", "output_tokens"), 0),
        )
        counts["failures" if response["error"] else "answers"] += 1
        counts["cut_off"] += response["finish_reason"] == "length"
        counts["input_tokens"] += response["input_tokens"]
        counts["output_tokens"] += response["output_tokens"]
    if as_json:
        click.echo(json.dumps({"models": models}, indent=1, ensure_ascii=False))
        return
    if not models:
        click.echo("no answers")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model")
    for title in ("answers", "cut off", "failures", "tokens in", "tokens out"):
        table.add_column(title, justify="right")
    for name, counts in sorted(models.items()):
        table.add_row(Text(plain(name)), *(f"{count:,}" if count else "" for count in counts.values()))
    Console(highlight=False).print(table)


def _export(found: Iterator[Record], file: Path) -> None:
    def lines() -> Iterator[str]:
        return (json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in found)

    if str(file) == "-":
        for line in lines():
            click.echo(line)
        return
    part, count = file.with_name(file.name + ".part"), 0
    with part.open("w", encoding="utf-8", errors="surrogatepass") as out:
        for line in lines():
            out.write(line + "\n")
            count += 1
    part.replace(file)
    click.echo(f"{count:,} records in {file}")


def _import(folder: Path, file: Path) -> None:
    import asyncio

    from orcac.chat.ledger import Ledger
    from orcac.chat.segments import Log, request_of

    if not file.is_file():
        raise InputError(f"{file}: no such file", fix="name a file that `orcac answers export` wrote")

    async def go() -> tuple[int, int]:
        taken = known = 0
        log = Log(file)
        async with Ledger(folder) as ledger:
            pending: list[Any] = []
            for record in log.records():
                if ledger.look(request_of(record)):
                    known += 1
                    continue
                pending.append(ledger.append_record(record))
                taken += 1
                if len(pending) == 1000:
                    await asyncio.gather(*pending)
                    pending = []
            await asyncio.gather(*pending)
        log.close()
        return taken, known

    taken, known = asyncio.run(go())
    click.echo(f"{taken:,} records taken, {known:,} were known")
