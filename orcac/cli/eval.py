"""orcac eval"""

from __future__ import annotations

import math
from pathlib import Path

import click

from orcac.cli.run import run_specs
from orcac.errors import InputError
from orcac.spec.evaluation import KNOWN, from_file, from_known, from_spec, name_spec, read_model, write_spec
from orcac.spec.load import load
from orcac.store.durable import write_if_changed
from orcac.study import find_study


@click.command("eval")
@click.argument("model")
@click.option(
    "--on",
    "benchmarks",
    metavar="NAME[=PATH]",
    multiple=True,
    required=True,
    help=f"A benchmark: its files, or NAME alone for one of --spec, or of ORCAC_DATA: {', '.join(KNOWN)}. Repeatable.",
)
@click.option("--spec", metavar="FILE", type=click.Path(path_type=Path), help="Take the benchmarks NAME of this spec.")
@click.option(
    "--format", "format_", metavar="FORMAT", help="Format of PATH, as a spec has it, if it is not recognised."
)
@click.option("--fields", metavar="OURS=KEY,...", default="", help="Keys of PATH's rows: query=KEY,reference=KEY.")
@click.option("--take", type=click.IntRange(1), metavar="N", help="Draw so many items of each benchmark.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Largest length of an answer.")
@click.option("--gpus", type=click.IntRange(0, 1), help="GPUs for a model that is loaded here: 0 or 1.")
@click.option("--model", "model_name", metavar="NAME", help="Name of the model at an endpoint.")
@click.option("--api-key-env", metavar="NAME", help="Environment variable with the endpoint's key, for OPENAI_API_KEY.")
@click.option(
    "--price", metavar="IN,OUT", help="Price of the model at an endpoint, in USD per 1M tokens of input and of output."
)
@click.option(
    "--save", metavar="FILE", type=click.Path(path_type=Path), help="Write the spec here, not to build/eval/."
)
@click.option("--json", "as_json", is_flag=True, help="Print every number of the report as JSON.")
def command(
    model: str,
    benchmarks: tuple[str, ...],
    spec: Path | None,
    format_: str | None,
    fields: str,
    take: int | None,
    max_tokens: int | None,
    gpus: int | None,
    model_name: str | None,
    api_key_env: str | None,
    price: str | None,
    save: Path | None,
    as_json: bool,
) -> int:
    """Measure MODEL on benchmarks and print the result table.

    MODEL is a folder, a .gguf file, OWNER/NAME on the Hugging Face hub, or the address of a server that speaks OpenAI's
    chat completions. The command writes a spec, which you can keep and edit, and runs it as `orcac run` does.

    \b
    Example:
      orcac eval path/to/model --on bbh --on agieval --take 200
      orcac eval Qwen/Qwen3-0.6B --on mine=items.jsonl --gpus 1
      orcac eval http://localhost:8000/v1 --model qwen --on held-out --spec specs/study.yaml
    """
    name, sections = read_model(
        model, model=model_name, api_key_env=api_key_env, price=_parse_price(price) if price else None, gpus=gpus
    )
    keys = _parse_fields(fields)
    if (format_ or keys) and not any("=" in one for one in benchmarks):
        raise InputError("--format and --fields are for files", fix="give these as in `--on NAME=PATH`")
    experiment = load(spec) if spec else None
    found = []
    for text in benchmarks:
        benchmark, is_file, path = text.partition("=")
        if is_file:
            one = from_file(benchmark, path, format_=format_, fields=keys)
        else:
            one = from_spec(benchmark, experiment) if experiment else from_known(benchmark)
        found.append(one.limited(take=take, max_tokens=max_tokens))
    text = write_spec(name, sections, found)
    study = find_study()
    file = save or study.plan.parent / "eval" / name_spec(text)
    _write(file, text)
    click.echo(f"{file}: the spec, to keep and edit", err=True)
    return run_specs([str(file)], study=study, as_json=as_json)


def _parse_fields(text: str) -> dict[str, str]:
    """Return the fields that `query=q,reference=a` names. Raises InputError for any other text."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(ours and key for ours, _, key in pairs):
        raise InputError(f"--fields {text}: not a list of fields", fix="write `--fields query=KEY,reference=KEY`")
    return {ours.strip(): key.strip() for ours, _, key in pairs}


def _parse_price(text: str) -> tuple[float, float]:
    """Return the two prices that `2.50,10` names. Raises InputError for any other text."""
    try:
        each = [float(part) for part in text.split(",")]
    except ValueError:
        each = []
    if len(each) != 2 or not all(math.isfinite(value) and value >= 0 for value in each):
        raise InputError(f"--price {text}: not two prices", fix="write `--price INPUT,OUTPUT`, as in `--price 2.50,10`")
    return each[0], each[1]


def _write(file: Path, text: str) -> None:
    try:
        if file.exists() and file.read_text(encoding="utf-8") != text:
            fix = f"run it with `orcac run {file}`, or give another file with --save"
            raise InputError(f"{file} exists already with other content; it is not overwritten", fix=fix)
        write_if_changed(file, text)
    except (OSError, UnicodeDecodeError) as error:
        fix = "give the path of a file that you can write with --save"
        raise InputError(f"{file}: cannot be written ({error})", fix=fix) from None
