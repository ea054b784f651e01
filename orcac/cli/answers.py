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
from orcac.store.durable import replacing

if TYPE_CHECKING:
    from orcac.chat.ledger.record import Record

_LOOK_EVERY_S = 0.5
_AN_EXPORT = "name a file that `orcac answers export` wrote, unpacked if it was packed"


@click.command("answers")
@click.argument("what", type=click.Choice(["list", "count", "export", "import"]), required=False)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--model", help="Of this model alone.")
@click.option("--contains", help="Those whose messages or answer contain this text.")
@click.option("--error", help="Failures of this class alone; `any` for all of them.")
@click.option("--limit", type=click.IntRange(1), help="So many at most.")
@click.option("--follow", is_flag=True, help="list: go on with what is answered from now on, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="list, count: print for a script; list: a record a line.")
def command(
    what: str | None,
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
    count   how many answers and failures there are of each model, and their tokens; the default
    list    the records, one a line; with --follow, where it is the default, those that are yet to come
    export  write whole records to FILE (JSON Lines; `-` is the standard output)
    import  take records from FILE, as export wrote it: all, or none where one is damaged; nothing is replaced

    \b
    Example:
      orcac answers
      orcac answers list --model gpt-4o --contains "step by step" --limit 20
      orcac answers --follow
      orcac answers export gpt-4o.jsonl --model gpt-4o
      orcac answers import gpt-4o.jsonl
    """
    what = what or ("list" if follow else "count")
    if (file is None) == (what in ("export", "import")):
        which = "needs a FILE" if file is None else "takes no FILE"
        raise InputError(f"`orcac answers {what}` {which}", fix=f"`orcac answers {what} --help` shows how")
    if follow and what != "list":
        raise InputError(f"`orcac answers {what}` cannot follow", fix="`orcac answers list --follow`")
    if what == "import" and (model or contains or error or limit or as_json):
        raise InputError(
            "`orcac answers import` takes whole files", fix="`orcac answers export` takes --model and so on"
        )
    _check_class(error)
    folder = opened()[1].answers

    def keep(record: Record) -> bool:
        failure = _failure(record)
        return (
            (model is None or record["request"]["model"] == model)
            and (error is None or failure == error or (error == "any" and failure != ""))
            and (contains is None or any(contains in text for text in _texts(record)))
        )

    if what == "import":
        assert file is not None
        _import(folder, file)
        return
    found = _limited(_followed(folder, keep) if follow else _recorded(folder, keep), limit)
    if what == "count":
        _count(found, as_json)
    elif what == "export":
        assert file is not None
        _export(found, file)
    else:
        with contextlib.suppress(KeyboardInterrupt) if follow else contextlib.nullcontext():
            _list(found, as_json)


def _check_class(error: str | None) -> None:
    from orcac.chat.ledger.record import RECORDED_FAILURES

    if error not in (None, "any", *RECORDED_FAILURES):
        raise InputError(
            f"the ledger keeps no failures of class {error!r}",
            fix=f"say --error {' or '.join(('any', *RECORDED_FAILURES))}",
        )


def _recorded(folder: Path, keep: Callable[[Record], bool]) -> Iterator[Record]:
    from orcac.chat.ledger.files import read_records

    return filter(keep, read_records(folder))


def _followed(folder: Path, keep: Callable[[Record], bool]) -> Iterator[Record]:
    from orcac.chat.ledger.following import Following

    following = Following(folder)
    while True:
        yield from filter(keep, following.read_new())
        time.sleep(_LOOK_EVERY_S)


def _limited(found: Iterator[Record], limit: int | None) -> Iterator[Record]:
    for number, record in enumerate(found, start=1):
        yield record
        if number == limit:
            return


def _texts(record: Record) -> list[str]:
    return [*(content for _, content in record["request"]["messages"]), record["response"]["text"]]


def _failure(record: Record) -> str:
    """The class of a failure, "" of an answer. OpenAI's filter takes an answer away and charges for it all the same: a
    record has that as an answer without a text."""
    response = record["response"]
    filtered = response["finish_reason"] == "content_filter" and not response["text"]
    return response["error"] or ("content_filter" if filtered else "")


def _list(found: Iterator[Record], as_json: bool) -> None:
    from orcac.chat.ledger.record import line_of

    for record in found:
        click.echo(line_of(record) if as_json else _line(record), nl=not as_json)


def _line(record: Record) -> str:
    """In 80 columns: when, model, tokens, how it ended, and as much of question and answer as there is room for."""
    response = record["response"]
    when = time.strftime("%m-%d %H:%M", time.localtime(record["at"]))
    model, ended, question, answer = (
        " ".join(plain(text).split())
        for text in (
            record["request"]["model"],
            _failure(record) or response["finish_reason"],
            *_texts(record)[-2:],
        )
    )
    head = f"{when}  {model[:16]:16}  {response['output_tokens']:>5,}  {ended[:8]:8}  "
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
        counts["cut_off"] += response["finish_reason"] in ("length", "content_filter")
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
    from orcac.chat.ledger.record import line_of

    if str(file) == "-":
        for record in found:
            click.echo(line_of(record), nl=False)
        return
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: not a file", fix="name a file; `-` is the standard output")
    if not file.parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}", fix="make it, or name a file elsewhere")
    count = 0
    with replacing(file) as out:
        for record in found:
            out.write(line_of(record))
            count += 1
    click.echo(f"{count:,} records in {file}")


def _import(folder: Path, file: Path) -> None:
    import asyncio

    from orcac.chat.ledger.ledger import Ledger
    from orcac.chat.ledger.record import record_of, request_of, response_of

    if not file.is_file():
        raise InputError(f"{file}: no such file", fix=_AN_EXPORT)
    there = foreign = 0
    for record in _read(file):  # all, before any is taken
        there, foreign = there + (record is not None), foreign + (record is None)
    if foreign and not there:
        raise InputError(f"{file}: no line of it is a record", fix=_AN_EXPORT)

    async def go() -> tuple[int, int]:
        taken = known = 0
        async with Ledger(folder) as ledger:
            pending: list[Any] = []
            for record in filter(None, _read(file)):
                request = request_of(record["request"])
                if ledger.get_outcome(request):
                    known += 1
                    continue
                ours = record_of(request, response_of(record))
                ours["at"] = record["at"]
                pending.append(ledger.append_record(ours))
                taken += 1
                if len(pending) == 1000:
                    await asyncio.gather(*pending)
                    pending = []
            await asyncio.gather(*pending)
        return taken, known

    taken, known = asyncio.run(go())
    skipped = f", {foreign:,} {'line was' if foreign == 1 else 'lines were'} no record" if foreign else ""
    click.echo(f"{taken:,} records taken, {known:,} were known{skipped}")


def _read(file: Path) -> Iterator[Record | None]:
    """The record in each line, None where it is something else. Raises InputError for a damaged one."""
    from orcac.chat.ledger.record import InvalidRecord, NotARecord, parse_and_verify

    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield parse_and_verify(line)
            except InvalidRecord as error:
                raise InputError(
                    f"{file}:{number}: a damaged record: {error}", fix="mend or remove that line"
                ) from error
            except NotARecord:
                yield None
            except ValueError as error:
                if line.endswith(b"\n") and line.strip():
                    raise InputError(f"{file}:{number}: not a line of JSON", fix=_AN_EXPORT) from error
                yield None  # an empty line, or a last one that was cut off
