"""The specs that orcac ships, and the files that each of them needs beside it."""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath
from typing import Any

from orcac.errors import InputError
from orcac.smk import find_study_folder

__all__ = ["describe_specs", "list_files"]

_FOLDER = "specs"
_SCHEMA = f"{_FOLDER}/orcac.schema.json"  # the first line of each spec names it, for editors


def describe_specs() -> dict[str, str]:
    """Return the names of the shipped specs, sorted, each with its own line about it."""
    folder = find_study_folder() / _FOLDER
    specs = {path.stem: _read(path) for path in sorted(folder.glob("*.yaml"))}
    return {
        name: str(spec.get("about") or f"a patch on {PurePosixPath(str(spec.get('extends', ''))).stem}")
        for name, spec in specs.items()
    }


def list_files(name: str) -> list[str]:
    """Return the files of a shipped spec, itself first, as paths in a study: its parents, and the files that they name.

    Files of messages and of questions are shipped; paths with a variable, or on a hub, are the user's own.

    Raises InputError if no spec of this name is shipped.
    """
    top, names = find_study_folder(), describe_specs()
    name = name.removesuffix(".yaml")
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise InputError(f"no spec `{name}` is shipped", fix=f"{hint}shipped are {', '.join(names)}")
    found: dict[str, None] = {}
    following: str | None = f"{_FOLDER}/{name}.yaml"
    while following and following not in found:
        found[following] = None
        spec = _read(top / following)
        named = [(spec.get("system_messages") or {}).get("library")]
        named += [one.get("path") for key in ("queries", "benchmarks") for one in (spec.get(key) or {}).values() if one]
        found |= {f"{_FOLDER}/{path}": None for path in named if path and (top / _FOLDER / path).is_file()}
        following = f"{_FOLDER}/{spec['extends']}" if "extends" in spec else None
    return [*found, _SCHEMA]


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML

    spec: dict[str, Any] = YAML(typ="safe").load(path)
    return spec
