"""The action `forget` of `orcac answers`: answers that no longer settle their questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orcac.errors import InputError, StoreError
from orcac.plan.plan import Plan
from orcac.store.garbage import Item, find_made_from, remove
from orcac.store.store import Store
from orcac.text import clean, json_text, size

if TYPE_CHECKING:
    from orcac.chat.ledger.record import Record


def forget(
    plan_path: Path, store: Store, found: Iterable[Record], *, remake: bool, dry_run: bool, as_json: bool
) -> None:
    """Forget the records, and print them by model. With `remake`, remove the artifacts that hold one first.

    Raises InputError if an artifact holds one and `remake` is not given.
    """
    from orcac.chat.ledger import forgotten
    from orcac.collect.holders import find_holders

    answers = [_as_json(record) for record in found]
    ids = {forgotten.RecordId(str(answer["key"]), float(str(answer["at"]))) for answer in answers}
    holders = find_holders(store, ids) if ids else []
    items = find_made_from(store, holders, _read_needs(plan_path)) if holders else []
    if holders and not (remake or dry_run):
        raise InputError(
            "\n  ".join(["finished artifacts hold these answers, or are made from them:", *map(_describe, items)]),
            fix="repeat the command with --remake, which removes these artifacts, or with --dry-run",
        )
    if not dry_run:
        for item in items:
            if not remove(store, item) and item.path.exists():
                raise StoreError(f"{item.ref} is being made now", fix="wait until it is done, and repeat the command")
        if ids:
            forgotten.forget(store.answers, ids)
    if as_json:
        artifacts = [{"ref": item.ref, "label": item.label, "bytes": item.bytes} for item in items]
        content = {"forgotten": not dry_run, "answers": answers, "artifacts": artifacts}
        click.echo(json_text(content))
        return
    if not answers:
        click.echo("no answer matches")
        return
    for item in items:
        click.echo(f"{'to remove' if dry_run else 'removed'}  {_describe(item)}")
    models = Counter(str(answer["model"]) for answer in answers)
    tokens = sum(int(str(answer[name])) for answer in answers for name in ("input_tokens", "output_tokens"))
    of_models = ", ".join(f"{clean(model)} {count:,}" for model, count in sorted(models.items()))
    done = "would be forgotten" if dry_run else "forgotten"
    click.echo(f"{len(answers):,} answers {done} ({of_models}); the {tokens:,} tokens that they took stay on record")
    if not dry_run:
        click.echo("the next run asks their questions again")


def _describe(item: Item) -> str:
    return clean(f"{item.ref}  {size(item.bytes)}  {item.label}".rstrip())


def _as_json(record: Record) -> dict[str, object]:
    response = record["response"]
    return {
        "key": record["key"],
        "at": record["at"],
        "model": record["request"]["model"],
        "finish_reason": response["finish_reason"],
        "error": response["error"],
        "input_tokens": response["input_tokens"],
        "output_tokens": response["output_tokens"],
    }


def _read_needs(plan_path: Path) -> dict[str, tuple[str, ...]]:
    """Return node -> its inputs by the plan that was compiled last, {} without a plan."""
    if not plan_path.is_file():
        return {}
    return {ref: node.needs for ref, node in Plan.read(plan_path).nodes.items()}
