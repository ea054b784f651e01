"""What a recipe is: the base types that every kind's `recipe.py` builds on.

Two types a kind, and the wall between them is the point:
- `Recipe`: what is made. *Every* field enters the node's id; there is no way to leave one out.
- `Execution`: where and how fast (endpoints, threads, paths, prices). *No* field enters an id.
A value that changes what is made and stands in an Execution is a bug; so is the reverse.

A local file is part of what is made by its content: a recipe holds `FileRef`s (name and digest), an Execution
holds where on this machine that content lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from orcac.errors import InputError


class Frozen(BaseModel):
    """Immutable, strict about unknown keys, refuses NaN and infinity (they have no canonical form)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Recipe(Frozen):
    """What is made; all of it is hashed."""


def rule(default: Any) -> Any:
    """Declare a recipe field that holds a version of our own code, as of a parser, and nothing that a spec says.

    A rule that changes only some nodes is such a field: it is set on those alone, so that the others keep their ids.
    An artifact that differs from a node in its rules alone was made for the same spec by another orcac
    (`plan.upgrade`).
    """
    return Field(default, json_schema_extra={"rule": True})


def rules_of(recipe: type[Recipe]) -> set[str]:
    """Return the names of the fields declared by `rule`."""
    return {
        name
        for name, info in recipe.model_fields.items()
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("rule")
    }


class Execution(Frozen):
    """How it is made; none of it is hashed. `files` maps a content digest to a path on this machine."""

    files: dict[str, str] = {}
    threads: int = 1
    memory_mb: int = 1000
    minutes: int = 60
    gpus: int = 0


class FileRef(Frozen):
    """A local file by content. `name` is its base name, since some formats take the task's name from it."""

    name: str
    sha256: str


class HubRef(Frozen):
    """What lies on a Hugging Face hub, by reference: such a source is fetched when its node is made.

    `revision` is a branch, a tag or a commit; `path` is a file, a folder or a glob inside the repository, "" for all
    of it. The reference is what enters an id, so a branch that moves changes no id; the commit that it stood for is in
    the artifact's summary. Made from `hf://...` by `orcac.hub.parse_hub`.
    """

    repo: str  # OWNER/NAME
    revision: str = "main"
    path: str = ""


def file_digest(path: Path, hashed: Callable[[int], None] = lambda count: None) -> str:
    """The sha256 of a file's bytes, in hex; `hashed` is told of every so many bytes: a model's weights take minutes."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            hashed(count)
    return digest.hexdigest()


def resolve_file(ref: FileRef, execution: Execution) -> Path:
    """Where the content of `ref` lies. Raises InputError when it is gone or is not what was compiled."""
    path = Path(execution.files[ref.sha256])
    if not path.is_file():
        raise InputError(f"{path}: the file is gone", fix="put it back, or compile the spec again")
    if file_digest(path) != ref.sha256:
        raise InputError(f"{path}: its content changed since the spec was compiled", fix="compile again")
    return path
