"""orcac make"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from pathlib import Path
from typing import TextIO

import click

from orcac.errors import InputError
from orcac.progress import REDRAWN, REDRAWN_VARIABLE, pipe_id, redraw_in_place
from orcac.warm.client import make_warm


@click.command("make")
@click.argument("node")
@click.option("--shard", metavar="I-of-N", help="Ask only this part of a collect or an eval node's prompts.")
@click.option("--log", metavar="FILE", help="Copy the printed lines to this file.")
def command(node: str, shard: str | None, log: str | None) -> None:
    """Make NODE (KIND/ID as `orcac plan` lists it), whose inputs must be made. Every rule calls this.

    On a terminal its progress is one line that is redrawn; with --log, as in Snakemake's jobs, plain lines.

    \b
    Example:
      orcac make train/0f3a5c19d2b8e4f60711
    """
    make_warm()  # a process whose job is warm imports no more than this
    from orcac.plan.file import find_ref, parse_plan_data, read_plan_text
    from orcac.store.tries import refuse_known_error
    from orcac.study import find_study

    if REDRAWN_VARIABLE in os.environ and os.environ[REDRAWN_VARIABLE] != pipe_id(2):
        del os.environ[REDRAWN_VARIABLE]
    if log:
        try:
            sys.stderr = _Tee(sys.stderr, Path(log))
        except OSError as error:
            raise InputError(
                f"--log {log}: cannot be written ({error.strerror})", fix="give the path of a file that you can write"
            ) from None
    study = find_study()
    data = parse_plan_data(read_plan_text(study.plan), study.plan)
    ref = find_ref(data["nodes"], node)
    if shard is None and study.store.is_own(ref):
        click.echo(f"{node} is made already", err=True)
        return
    refuse_known_error(study.store.folder(f"{ref}/shards/{shard}" if shard else ref))
    from orcac.make import make, make_shard  # with pydantic and all kinds, which a finished node does without
    from orcac.plan.plan import Plan

    plan = Plan.from_data(data, study.plan, beginning=ref)
    if shard is None:
        with redraw_in_place():
            made = make(plan, study.store, ref)
        if not made:
            click.echo(f"{node} is made already", err=True)
        return
    found = re.fullmatch(r"(\d+)-of-(\d+)", shard)
    if not found:
        raise InputError(f"--shard {shard}: not a shard", fix="write it as 3-of-8")
    with redraw_in_place():
        make_shard(plan, study.store, ref, int(found[1]) - 1, int(found[2]))


class _Tee(io.TextIOBase):
    """A stream that writes to stderr and appends to a log, which Snakemake begins anew at each try.

    It does not count as a terminal, even if stderr is one, because several of Snakemake's jobs share the terminal.
    """

    def __init__(self, terminal: TextIO, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._terminal = terminal
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW  # another user may have put a link there
        self._log = os.fdopen(os.open(log, flags, 0o666), "a", encoding="utf-8", buffering=1)
        self._log.write(time.strftime("--- %Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))

    def write(self, text: str) -> int:
        self._log.write(text.removeprefix(REDRAWN))
        return self._terminal.write(text)

    def flush(self) -> None:
        self._log.flush()
        self._terminal.flush()

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._terminal.fileno()
