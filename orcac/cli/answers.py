"""orcac answers"""

from __future__ import annotations

import contextlib
import itertools
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orcac.cli.forgetting import forget
from orcac.cli.printing import print_table
from orcac.cli.selection import failure_of, read_selection, texts_of
from orcac.cli.students import MARK, Evaluated, find_evaluated, read_answers, sum_up
from orcac.errors import InputError
from orcac.store.durable import replacing
from orcac.study import find_study
from orcac.text import clean, escape_json, json_text

if TYPE_CHECKING:
    from orcac.chat.ledger.record import Record

_LOOK_EVERY_S = 0.5
_SHOWN = 8  # digits of a key in a line
_NAMED = 24  # characters of a model's name in a line, however wide the terminal is
_LEAST = 10  # characters of a model's name and of each text in a line, however narrow the terminal is
_TITLES = {"cut_off": "cut off", "input_tokens": "tokens in", "output_tokens": "tokens out"}
_NAME_AN_EXPORT = "name a file that `orcac answers export` wrote, decompressed"


@click.command("answers")
@click.argument("action", type=click.Choice(["list", "count", "export", "import", "forget"]), required=False)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--model", help="Take the records of this model alone.")
@click.option("--contains", help="Take records whose messages, answer or reasoning contain this text.")
@click.option(
    "--matches", metavar="REGEX", help="Take records whose answer or reasoning has a match of REGEX (Python's)."
)
@click.option("--error", help="Take failures of this class alone; `any` takes all failures.")
@click.option("--finish-reason", help="Take answers that ended for this reason, such as `length`.")
@click.option(
    "--teacher", help="Take the records of this teacher of the spec; without --spec, of the model of this name."
)
@click.option(
    "--spec", type=click.Path(path_type=Path), help="The spec that names the teacher, and in whose study to look."
)
@click.option(
    "--student",
    metavar="ARM",
    help="Take the answers of this arm's students to its benchmarks instead of the ledger; `*` is any text.",
)
@click.option("--key", help="Take the records whose key begins with these hex digits.")
@click.option("--limit", type=click.IntRange(1), help="Take at most this many records.")
@click.option("--follow", is_flag=True, help="list: print new records as they come, until Ctrl-C.")
@click.option("--remake", is_flag=True, help="forget: remove the artifacts that hold one, and all made from them.")
@click.option("--dry-run", is_flag=True, help="forget: print the answers and artifacts that would go, and keep them.")
@click.option("--json", "as_json", is_flag=True, help="list: print one record per line; count, forget: a JSON object.")
def command(
    action: str | None,
    file: Path | None,
    limit: int | None,
    follow: bool,
    remake: bool,
    dry_run: bool,
    as_json: bool,
    spec: Path | None,
    student: str | None,
    **selection: Any,
) -> None:
    """Look into the ledger, all answers that were ever received for any experiment, and at the answers of students.

    \b
    count   count the answers, failures and tokens of each model and of the students of each arm (the default)
    list    print one line for each record, and for each answer of a student, whose model is `ARM (student)`; with
            --follow (which implies list) print new records as they come
    export  write whole records to FILE (JSON Lines; `-` is the standard output); answers of students with --student
    import  add the records of an exported FILE: all of them, or none if one is damaged; nothing is replaced
    forget  let records settle nothing any more, so that the next run asks their questions again. They stay counted, and
            neither `list` nor `export` takes them. Runs that have begun do not notice

    \b
    Example:
      orcac answers
      orcac answers list --model gpt-4o --contains "step by step" --limit 20
      orcac answers list --student base --spec study.yaml --finish-reason length
      orcac answers --follow
      orcac answers export gpt-4o.jsonl --model gpt-4o
      orcac answers import gpt-4o.jsonl
      orcac answers forget --teacher gpt4 --spec study.yaml --finish-reason length --dry-run
    """
    action = action or ("list" if follow else "count")
    if (file is None) == (action in ("export", "import")):
        problem, fix = ("needs a FILE", "add it") if file is None else ("takes no FILE", "leave it out")
        raise InputError(f"`orcac answers {action}` {problem}", fix=f"{fix}; `orcac answers --help` has examples")
    if follow and action != "list":
        raise InputError(f"`orcac answers {action}` cannot follow", fix="use `orcac answers list --follow`")
    narrows = [name for name, value in selection.items() if value is not None]
    if student is not None and (action in ("import", "forget") or follow):
        problem = f"`orcac answers {'--follow' if follow else action}` is about the ledger"
        raise InputError(problem, fix="leave --student out; the answers of students are in the store's artifacts")
    if action == "import" and (narrows or limit or as_json or spec):
        raise InputError(
            "`orcac answers import` takes whole files", fix="filter with `orcac answers export --model ...`"
        )
    if action == "forget" and (not narrows or limit):
        problem = "takes no --limit" if limit else "needs a selection, such as --key or --finish-reason"
        raise InputError(f"`orcac answers forget` {problem}", fix="state which answers to forget")
    if action != "forget" and (remake or dry_run):
        raise InputError(f"`orcac answers {action}` removes nothing", fix="leave --remake and --dry-run out")
    study = find_study([spec] if spec else [])
    folder = study.store.answers
    keep = read_selection(spec=spec, **selection)
    if action == "import":
        assert file is not None
        _import(folder, file)
        return
    evaluated: Evaluated = ()
    if student is not None or (action in ("list", "count") and not follow):
        evaluated = find_evaluated(study.store, student, spec)
    found = iter(()) if student is not None else _followed(folder, keep) if follow else _recorded(folder, keep)
    if action != "count":
        found = _left(folder, found)
    models = [selection[name] for name in ("model", "teacher") if selection[name] is not None]
    evaluated = [(ref, arm) for ref, arm in evaluated if all(model == arm + MARK for model in models)]
    are_summed = action == "count" and not narrows and not limit
    if not are_summed:
        found = itertools.chain(found, filter(keep, read_answers(study.store, evaluated)))
    found = _limited(found, limit)
    none = f"no answers{' of this selection' if narrows or student else ''} in {folder}"
    if action == "count":
        _count(folder, found, as_json, none=none, students=sum_up(study.store, evaluated) if are_summed else {})
    elif action == "forget":
        forget(study.plan, study.store.own, found, remake=remake, dry_run=dry_run, as_json=as_json)
    elif action == "export":
        assert file is not None
        _export(found, file)
    else:
        with contextlib.suppress(KeyboardInterrupt) if follow else contextlib.nullcontext():
            last = _list(found, as_json)
            if not as_json:
                click.echo(_describe_export(last, spec) if last else none, err=True)


def _recorded(folder: Path, keep: Callable[[Record], bool]) -> Iterator[Record]:
    from orcac.chat.ledger.files import read_records

    return filter(keep, read_records(folder))


def _left(folder: Path, found: Iterator[Record]) -> Iterator[Record]:
    """Yield the records that are not forgotten."""
    from orcac.chat.ledger.forgotten import Forgotten, RecordId

    forgotten = Forgotten(folder)
    return (record for record in found if RecordId(record["key"], record["at"]) not in forgotten)


def _followed(folder: Path, keep: Callable[[Record], bool]) -> Iterator[Record]:
    from orcac.chat.ledger.following import Follower

    following = Follower(folder)
    while True:
        yield from filter(keep, following.read_new())
        time.sleep(_LOOK_EVERY_S)


def _limited(found: Iterator[Record], limit: int | None) -> Iterator[Record]:
    for number, record in enumerate(found, start=1):
        yield record
        if number == limit:
            return


def _list(found: Iterator[Record], as_json: bool) -> Record | None:
    """Print the records, and return the last one."""
    from orcac.chat.ledger.record import line_of

    width = shutil.get_terminal_size().columns  # 80 if the output is not a terminal and COLUMNS is not set
    record = None
    for record in found:
        if as_json and sys.stdout.isatty():
            click.echo(escape_json(line_of(record).decode()), nl=False)
        else:
            click.echo(line_of(record) if as_json else _line(record, width), nl=not as_json)
    return record


def _describe_export(record: Record, spec: Path | None) -> str:
    """Return the command that prints a listed record in full."""
    place = f" --spec {shlex.quote(str(spec))}" if spec else ""
    if record["request"]["model"].endswith(MARK) and record["request"]["origin"].startswith("eval/"):
        place = f" --student {shlex.quote(record['request']['model'].removesuffix(MARK))}{place}"
    return f"in full, by its key: orcac answers export - --key {record['key'][:_SHOWN]}{place}"


def _line(record: Record, width: int) -> str:
    """Return a line: key, time, model, output tokens, ending, and the beginnings of question and answer."""
    response = record["response"]
    when = time.strftime("%m-%d %H:%M", time.localtime(record["at"]))
    model, ended, question, answer = (
        " ".join(clean(text).split())
        for text in (
            record["request"]["model"],
            failure_of(record) or response["finish_reason"],
            *texts_of(record)[-2:],
        )
    )
    named = min(max(width // 5, _LEAST), _NAMED)
    if len(model) > named:
        model = model.rpartition("/")[2]  # its owner says the least
    head = f"{record['key'][:_SHOWN]}  {when}  {_cut(model, named):{named}}  {response['output_tokens']:>5,}  "
    head += f"{_cut(ended, 8):8}  "
    room = max((width - 1 - len(head) - 4) // 2, _LEAST)
    return head + f"{_cut(question, room):{room}} -> {_cut(answer, room)}".rstrip()


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _count(
    folder: Path, found: Iterator[Record], as_json: bool, *, none: str, students: dict[str, dict[str, int]]
) -> None:
    """Print the figures of each model, and of each of `students`, whose figures are known.

    A forgotten record counts with its tokens alone, which were paid for.
    """
    from orcac.chat.ledger.forgotten import Forgotten, RecordId

    forgotten = Forgotten(folder)
    models: dict[str, dict[str, int]] = {}
    for record in found:
        response = record["response"]
        counts = models.setdefault(
            record["request"]["model"],
            dict.fromkeys(("answers", "cut_off", "failures", "input_tokens", "output_tokens"), 0),
        )
        if RecordId(record["key"], record["at"]) in forgotten:
            counts["forgotten"] = counts.get("forgotten", 0) + 1
        else:
            counts["failures" if response["error"] else "answers"] += 1
            counts["cut_off"] += response["finish_reason"] in ("length", "content_filter")
        counts["input_tokens"] += response["input_tokens"]
        counts["output_tokens"] += response["output_tokens"]
    models |= students
    if as_json:
        click.echo(json_text({"models": models}))
        return
    if not models:
        click.echo(none)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model")
    columns = ["answers", "cut_off", "failures", "input_tokens", "output_tokens"]
    columns += ["forgotten"] if any("forgotten" in counts for counts in models.values()) else []
    for name in columns:
        table.add_column(_TITLES.get(name, name), justify="right")
    for name, counts in sorted(models.items()):
        table.add_row(Text(clean(name)), *(f"{counts[one]:,}" if counts.get(one) else "" for one in columns))
    print_table(Console(highlight=False), table)


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
    try:
        with replacing(file) as out:
            for record in found:
                out.write(line_of(record))
                count += 1
    except OSError as error:
        fix = "name a file elsewhere, or make room for it"
        raise InputError(f"{file}: cannot be written ({error.strerror})", fix=fix) from None
    click.echo(f"{count:,} records in {file}")


def _import(folder: Path, file: Path) -> None:
    import asyncio

    from orcac.chat.ledger.ledger import Ledger
    from orcac.chat.ledger.record import record_of, request_of, response_of

    if not file.is_file():
        raise InputError(f"{file}: no such file", fix=_NAME_AN_EXPORT)
    records = others = 0
    for record in _read(file):  # all are checked before any is added
        records, others = records + (record is not None), others + (record is None)
    if others and not records:
        raise InputError(f"{file}: none of its lines is a record", fix=_NAME_AN_EXPORT)

    async def go() -> tuple[int, int]:
        added = known = 0
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
                added += 1
                if len(pending) == 1000:
                    await asyncio.gather(*pending)
                    pending = []
            await asyncio.gather(*pending)
        return added, known

    added, known = asyncio.run(go())
    skipped = f"; {others:,} {'line is' if others == 1 else 'lines are'} not a record" if others else ""
    click.echo(f"{added:,} records added, {known:,} were there already{skipped}")


def _read(file: Path) -> Iterator[Record | None]:
    """Yield the record in each line, None for a line of another kind. Raise InputError for a damaged record."""
    from orcac.chat.ledger.record import DamagedRecord, InvalidRecord, NotARecord, parse_and_verify

    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield parse_and_verify(line)
            except (InvalidRecord, DamagedRecord) as error:
                raise InputError(
                    f"{file}:{number}: a damaged record: {error}",
                    fix="export it again, or remove that line; a record that was changed by hand must have no `crc`",
                ) from error
            except NotARecord:
                yield None
            except ValueError as error:
                if line.endswith(b"\n") and line.strip():
                    raise InputError(f"{file}:{number}: not a line of JSON", fix=_NAME_AN_EXPORT) from error
                yield None  # an empty line, or a last one that was cut off
