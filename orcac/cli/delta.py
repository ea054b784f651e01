"""orcac delta"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from orcac.errors import InputError
from orcac.plan.file import find_ref
from orcac.study import find_study
from orcac.text import clean, size


@click.group("delta")
def command() -> None:
    """Publish a student as its difference to a base that may not be published; restore it.

    \b
    Example:
      orcac delta make hf://huggyllama/llama-13b train/0f3a5c19 student-delta
      orcac delta apply hf://huggyllama/llama-13b student-delta student
    """


@command.command("make")
@click.argument("base")
@click.argument("model")
@click.argument("delta", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the sizes as JSON.")
def make_(base: str, model: str, delta: Path, as_json: bool) -> None:
    """Write the difference of MODEL to BASE to the folder DELTA.

    MODEL and BASE are each a model's folder, a train or student node of the store (KIND/ID, or a beginning of it), or
    hf://OWNER/NAME. Only BASE's weights are used: to apply the delta one needs the same weight files.

    \b
    Example:
      orcac delta make models/llama-13b train/0f3a5c19 student-delta
    """
    from orcac.publish import delta as deltas

    made = deltas.make(_model(base), _model(model), delta)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(made), indent=1))
        return
    share = 100 * made.delta_bytes / max(made.model_bytes, 1)
    click.echo(f"{clean(str(delta))}: {size(made.delta_bytes)}, {share:.0f} % of the model's {size(made.model_bytes)}")
    click.echo(f"  {made.tensors:,} tensors: {made.equal:,} equal the base's, {made.whole:,} have no counterpart in it")


@command.command("apply")
@click.argument("base")
@click.argument("delta", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
def apply_(base: str, delta: Path, model: Path) -> None:
    """Write the model that DELTA was made from to the folder MODEL.

    Every file is restored bit for bit; MODEL appears once all of them are checked.

    \b
    Example:
      orcac delta apply models/llama-13b student-delta student
    """
    from orcac.publish import delta as deltas

    total = deltas.apply(_model(base), delta, model)
    click.echo(f"{clean(str(model))}: {size(total)}, every file restored bit for bit")


def _model(text: str) -> dict[str, Path]:
    """Return a model's files by their names in its folder. `text` is a folder, a node of the store or hf://..."""
    if text.startswith("hf://"):
        from orcac.hub import fetch, parse_hub

        ref = parse_hub(text)
        fetched = fetch(ref, kind="model", label="delta")
        return {name.removeprefix(f"{ref.path}/"): path for path, name in fetched.files}
    folder = Path(text)
    if not folder.is_dir():
        store = find_study().store
        made = [ref for ref in store.refs() if ref.startswith(("train/", "student/"))]
        if not any(text in (ref[: len(text)], ref.partition("/")[2][: len(text)]) for ref in made):
            raise InputError(
                f"{text}: neither a folder nor a train or student node of the store",
                fix="give a model's folder, KIND/ID, or hf://OWNER/NAME",
            )
        folder = store.verify(find_ref(made, text)) / "model"
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
