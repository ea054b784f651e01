"""The spec that measures one model on given benchmarks, which `orcac eval` writes and runs.

A model is a student that is not trained (a folder, a .gguf file or a hub's repository), or a baseline (an endpoint by
its address). A benchmark is a file, one of another spec, or one of KNOWN, whose files are in the folder ORCAC_DATA. A
judged one brings its judge, the teachers that this needs, and the budget of its spec. The text of the spec depends on
these alone, so the same command writes the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import JsonValue

from orcac.errors import InputError
from orcac.spec.judges import find_judge
from orcac.spec.load import Arm, Experiment
from orcac.spec.paths import HUB, Finder, MissingFileError
from orcac.spec.problems import SpecPath
from orcac.spec.schema import FileSource, OpenBenchmark

__all__ = ["KNOWN", "Measured", "from_file", "from_known", "from_spec", "name_spec", "read_model", "write_spec"]

Section = dict[str, JsonValue]

_CHECKERS = {"natural-instructions": "rouge-l"}  # format -> its own measure, if that is not the checker auto
KNOWN: dict[str, Section] = {
    "agieval": {"format": "agieval", "path": "${ORCAC_DATA}/agieval/data/v1/*.jsonl"},
    "bbh": {"format": "bbh", "path": "${ORCAC_DATA}/bbh/bbh/*.json"},
    "natural-instructions": {
        "format": "natural-instructions",
        "path": "${ORCAC_DATA}/niv2/tasks/*.json",
        "checker": _CHECKERS["natural-instructions"],
    },
    "truthfulqa": {"format": "truthfulqa", "path": "${ORCAC_DATA}/truthfulqa/data/v1/mc_task.json"},
}
"""Benchmarks whose files have these places in the folder ORCAC_DATA, which are those of their public repositories."""

_FILES = ("path", "examples")  # keys of a benchmark that name files
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # a text that YAML reads as such without quotes, but for _WORDS
_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A benchmark of the spec to write."""

    name: str
    section: Section
    messages: dict[int, str] = field(default_factory=dict)  # the system messages that it uses
    seed: int | None = None  # of the spec that it comes from
    judging: Section = field(default_factory=dict)  # the sections of that spec by which it is judged

    def limited(self, *, take: int | None, max_tokens: int | None) -> Measured:
        """Return the benchmark with these values of its own, where they are given."""
        given = {key: value for key, value in (("take", take), ("max_tokens", max_tokens)) if value is not None}
        return replace(self, section=self.section | given)


# --- benchmarks --------------------------------------------------------------------------------------------------


def from_file(name: str, path: str, *, format_: str | None, fields: Mapping[str, str]) -> Measured:
    """Return the benchmark in the files that `path` names, in this format or in the one that they are recognised by.

    Raises InputError if there is no such file, or if the format is not given and not clear.
    """
    from orcac.sample.formats import TABLES
    from orcac.sample.formats.recognise import recognise
    from orcac.tables.content import strip_compression

    if format_ is None and path.startswith(HUB):
        fix = "give --format, and for a table --fields query=KEY,reference=KEY"
        raise InputError(f"{path}: the format of a file on a hub is not looked at", fix=fix)
    section: Section = {"format": format_ or "", "path": _absolute(path, Path.cwd())}
    if fields:
        section["fields"] = dict(fields)
    if format_ is None:
        try:
            first = Finder().expand(path, Path.cwd())[0]
        except MissingFileError as error:
            raise InputError(error.message, fix="give the path of a file, or a glob in quotes") from None
        if first.is_dir():
            raise InputError(f"{first} is a folder", fix=f"name the files in it, as in `{name}={path}/*.jsonl`")
        suffix = Path(strip_compression(first.name)).suffix[1:]
        if fields and suffix in TABLES:
            section["format"] = suffix
        else:
            found = recognise(first)
            section["format"] = found.format
            if found.fields:
                section["fields"] = dict(found.fields)
    if checker := _CHECKERS.get(str(section["format"])):
        section["checker"] = checker
    return Measured(name=name, section=section)


def from_known(name: str) -> Measured:
    """Return a benchmark of KNOWN. Raises InputError if it is not one, or if ORCAC_DATA is not set."""
    if name not in KNOWN:
        fix = f"give its files, as in `--on {name}=PATH`, the spec that has it (--spec), or one of {', '.join(KNOWN)}"
        raise InputError(f"--on {name}: no known benchmark", fix=fix)
    if not os.environ.get("ORCAC_DATA"):
        fix = f"set ORCAC_DATA to the folder with the data, or give the files, as in `--on {name}=PATH`"
        raise InputError(f"--on {name}: the environment variable ORCAC_DATA is not set", fix=fix)
    return Measured(name=name, section=KNOWN[name])


def from_spec(name: str, experiment: Experiment) -> Measured:
    """Return a benchmark of a spec, asked and scored as there. Raises InputError if it has none that can be scored."""
    arm = experiment.base
    if name not in arm.spec.benchmarks:
        names = ", ".join(arm.spec.benchmarks) or "none"
        raise InputError(f"{experiment.file}: no benchmark `{name}`", fix=f"give one of its benchmarks: {names}")
    if name in arm.left_out:
        raise InputError(f"{experiment.file}: benchmark `{name}`: {arm.left_out[name]}", fix="supply its files")
    benchmark = arm.spec.benchmarks[name]
    files = [(key,) for key in _FILES] if isinstance(benchmark, FileSource) else []
    section = _copy_part(arm, ("benchmarks", name), files)
    section = {key: value for key, value in section.items() if key not in ("missing", "primary")}
    text = arm.messages[benchmark.system]
    messages = {benchmark.system: text} if (benchmark.system, text) != (1, "") else {}
    if isinstance(benchmark, OpenBenchmark):
        judging = _copy_judging(arm, benchmark)
    else:
        judging = _copy_teachers(arm, [name for name in (benchmark.form_of, benchmark.loss_of) if name])
    return Measured(name=name, section=section, messages=messages, seed=arm.spec.seed, judging=judging)


def _copy_judging(arm: Arm, benchmark: OpenBenchmark) -> Section:
    """Return the judge of a benchmark, the teachers that it needs, and the budget, as sections of a spec."""
    judge = find_judge(arm.spec, benchmark)
    sections = _copy_teachers(arm, (judge.teacher, *benchmark.against))
    if benchmark.judge in arm.spec.judges:
        prompts: list[SpecPath] = [("prompt",), *(("per_category", task) for task in judge.per_category)]
        sections["judges"] = {benchmark.judge: _copy_part(arm, ("judges", benchmark.judge), prompts)}
    return sections


def _copy_teachers(arm: Arm, names: Sequence[str]) -> Section:
    """Return these teachers and the budget as sections of a spec; {} if no teacher is asked."""
    if not names:
        return {}
    files: list[SpecPath] = [("endpoint", "path"), ("endpoint", "questions")]
    sections: Section = {
        "teachers": {name: _copy_part(arm, ("teachers", name), files) for name in dict.fromkeys(names)}
    }
    if arm.spec.budget is not None:
        sections["budget"] = arm.tree.at(("budget",)).plain()
    return sections


def _copy_part(arm: Arm, path: SpecPath, files: Sequence[SpecPath]) -> Section:
    """Return a map of a spec. The paths in its fields `files` do not depend on the spec's place."""
    plain = arm.tree.at(path).plain()
    assert isinstance(plain, dict)
    for *above, key in files:
        section: JsonValue = plain
        for name in above:
            section = section.get(str(name)) if isinstance(section, dict) else None
        if isinstance(section, dict) and key in section:
            folder = arm.tree.locate((*path, *above, key)).folder
            section[str(key)] = _absolute(section[str(key)], folder)
    return plain


def _absolute(paths: JsonValue, folder: Path) -> JsonValue:
    """Return a path, or a list of paths, that does not depend on the place of the spec."""
    if isinstance(paths, list):
        return [_absolute(path, folder) for path in paths]
    text = str(paths)
    return text if text.startswith((HUB, "${")) else str(folder.absolute() / text)


# --- the model ---------------------------------------------------------------------------------------------------


def read_model(
    text: str,
    *,
    model: str | None = None,
    api_key_env: str | None = None,
    price: tuple[float, float] | None = None,
    gpus: int | None = None,
) -> tuple[str, dict[str, JsonValue]]:
    """Return the name of a model, and the sections of a spec that name it.

    text: an address (http://...), a folder, a .gguf file, or a hub's OWNER/NAME
    model, api_key_env: the model's name at an address, and the environment variable with its key
    price: of a model at an address, in USD per 1M tokens of input and of output
    gpus: of a job that loads the model

    Raises InputError if there is no such model, or if an argument is for one of another kind.
    """
    if text.startswith(("http://", "https://")):
        if gpus is not None:
            raise InputError(f"{text}: --gpus is for a model that is loaded here", fix="leave it out")
        return _read_endpoint(text, model, api_key_env, price)
    if model or api_key_env or price:
        fix = "leave them out, or give the address of a server, as in http://localhost:8000/v1"
        raise InputError(f"{text}: --model, --api-key-env and --price are for an endpoint", fix=fix)
    path = Path(text)
    if path.exists():
        if not (path / "config.json").is_file() and path.suffix != ".gguf":
            fix = "give a Hugging Face model folder or a .gguf file"
            raise InputError(f"{text}: not a model, since it has no config.json", fix=fix)
        base = str(path.absolute())
    elif text.startswith(HUB) or _REPOSITORY.fullmatch(text):
        base = HUB + text.removeprefix(HUB)
    else:
        raise InputError(
            f"{text}: no such model", fix="give a model folder, hf://OWNER/NAME, or the address of a server"
        )
    name = path.resolve().name if path.exists() else base.removeprefix(HUB).partition("@")[0]
    student: dict[str, JsonValue] = {"student": {"base": base}}
    return name, student if gpus is None else student | {"hardware": {"eval": {"gpus": gpus}}}


def _read_endpoint(
    address: str, model: str | None, api_key_env: str | None, price: tuple[float, float] | None
) -> tuple[str, dict[str, JsonValue]]:
    parts = urlsplit(address)
    if parts.username or parts.password or parts.query or parts.fragment:  # not shown, since it may be a secret
        fix = "give the address alone; the key is read from the environment (--api-key-env NAME)"
        raise InputError("the address has a password, a query or a fragment", fix=fix)
    if not model:
        raise InputError(f"{address}: which of its models is meant?", fix="name it, as in `--model gpt-4o`")
    if api_key_env and not os.environ.get(api_key_env):
        raise InputError(f"the environment variable {api_key_env} holds no API key", fix=f"set {api_key_env}")
    endpoint: Section = {"kind": "openai", "base_url": address}
    if api_key_env:
        endpoint["api_key_env"] = api_key_env
    teacher: Section = {"model": model, "endpoint": endpoint}
    if price:
        teacher["price"] = dict(zip(("input", "output"), price, strict=True))
    name = _name(model)
    return model, {"teachers": {name: teacher}, "baselines": [name]}


def _name(text: str) -> str:
    """Return the last part of a model's name, as a name in a spec."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text.rstrip("/").rpartition("/")[2]).strip("._-")[:40] or "model"


# --- the spec ----------------------------------------------------------------------------------------------------


def write_spec(model: str, sections: Mapping[str, JsonValue], benchmarks: Sequence[Measured]) -> str:
    """Return the text of the spec that measures a model on benchmarks; `sections` name the model.

    Raises InputError if two benchmarks have one name, or if a benchmark's spec has a budget and the model, at an
    endpoint, has no price.
    """
    names = [one.name for one in benchmarks]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"--on {repeated} is given twice", fix="give each benchmark a name of its own")
    messages = {number: text for one in benchmarks for number, text in one.messages.items()}
    seeds = {one.seed for one in benchmarks if one.seed}
    whole: dict[str, JsonValue] = {
        "orcac": 1,
        "name": f"{_name(model)}-on-{'-'.join(names)}"[:60].rstrip("._-"),
        "about": f"{model} on {', '.join(names)}",
    }
    if seeds:
        whole["seed"] = max(seeds)  # all of them come from one spec
    if messages:
        whole["system_messages"] = {"messages": {str(number): text for number, text in sorted(messages.items())}}
    judging: Section = {}
    for one in benchmarks:
        judging |= {key: _join(judging.get(key), value) for key, value in one.judging.items()}
    if "budget" in judging and "teachers" in sections and "price" not in _only(sections["teachers"]):
        fix = "give it, in USD per 1M tokens, as in `--price 2.50,10`; `--price 0,0` for a server of your own"
        raise InputError(f"{model} has no price, so the budget of the benchmark's spec would not cap it", fix=fix)
    whole |= judging | _add_model(sections, judging.get("teachers"))
    whole["benchmarks"] = {one.name: one.section for one in benchmarks}
    head = "# Written by `orcac eval`. It is a spec like any other: edit it, and run it with `orcac run`.\n"
    return head + "".join(f"{key}:{_block(key, value)}\n" for key, value in whole.items())


def _add_model(sections: Mapping[str, JsonValue], others: JsonValue) -> Section:
    """Return the sections of the model to measure, with the teachers `others` beside it and a name unlike theirs."""
    own = sections.get("teachers")
    if not isinstance(own, dict) or not isinstance(others, dict):
        return dict(sections)
    name, teacher = next(iter(own)), _only(own)
    while name in others:
        name = f"measured-{name}"
    return {**sections, "teachers": {**others, name: teacher}, "baselines": [name]}


def _only(named: JsonValue) -> Section:
    """Return the section of the one thing in a map of named things."""
    assert isinstance(named, dict)
    (one,) = named.values()
    assert isinstance(one, dict)
    return one


def _join(one: JsonValue, other: JsonValue) -> JsonValue:
    return one | other if isinstance(one, dict) and isinstance(other, dict) else other


def name_spec(text: str) -> str:
    """Return the file name of a spec that `write_spec` returned: its name, and a digest that changes with its text."""
    match = re.search(r"^name: (.*)$", text, re.MULTILINE)
    assert match
    return f"{match[1].strip(chr(34))}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.yaml"


def _block(key: str, value: JsonValue) -> str:
    """Return a section as YAML: a map of named things with a line for each, anything else on one line."""
    if key in ("teachers", "judges", "benchmarks") and isinstance(value, dict):
        return "".join(f"\n  {_flow(name)}: {_flow(item)}" for name, item in value.items())
    return f" {_flow(value)}"


def _flow(value: JsonValue) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)  # JSON is YAML
