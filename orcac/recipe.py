"""The base types of every kind's `recipe.py`.

A kind has two types, kept apart on purpose:
- `Recipe`: the result. *Every* field enters the node's id; a field cannot be left out.
- `Execution`: where and how fast the result is made (endpoints, threads, paths, prices). *No* field enters an id.
A field of an Execution that changes the result is a bug; so is a field of a Recipe that does not.

A local file enters a recipe by its content: the recipe holds `FileRef`s (name and digest), and the Execution holds the
path of that content on this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from orcac.digest import file_digest
from orcac.errors import InputError

T = TypeVar("T")


class Frozen(BaseModel):
    """An immutable value that refuses unknown keys, and NaN and infinity, which have no canonical form."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Recipe(Frozen):
    """The description of a node's result; all of it is hashed."""


def rule(default: T) -> T:
    """Declare a recipe field that holds the version of a rule of this code, such as a parser, and nothing of the spec.

    A rule that concerns only some nodes of a kind is a field and not the kind's VERSION: it is set on those nodes, and
    the others keep their ids. An artifact that differs from a node only in its rules was made for the same spec by
    another version of orcac (`plan.upgrade`).
    """
    return Field(default, json_schema_extra={"rule": True})


def rules_of(recipe: type[Recipe]) -> set[str]:
    """Return the names of the fields declared by `rule`."""
    return {
        name
        for name, info in recipe.model_fields.items()
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("rule")
    }


MATCHING = 1  # the version of the rule by which references meet options and answers (`checkers.references`)


class Estimate(Frozen):
    """The estimated need of a node's job, with a margin; it counts where the spec states none (`cost.jobs`)."""

    minutes: int
    memory_mb: int
    is_brief: bool  # so that the node may share a job with others (`plan.chains`)


class Execution(Frozen):
    """The circumstances under which a node is made; none of it is hashed."""

    files: dict[str, str] = {}  # sha256 of a local file's content -> its path on this machine
    threads: int = 1
    memory_mb: int | None = None  # of a machine; None: the spec states none
    minutes: int | None = None  # the time limit of the job; None: the spec states none
    gpus: int = 0
    constraint: str | None = None  # features that the machine must have
    estimate: Estimate | None = None


class FileRef(Frozen):
    """A local file by content. Its base name is part of it, since some formats take the task's name from it."""

    name: str
    sha256: str


class HubRef(Frozen):
    """A part of a Hugging Face repository, by its address: it is fetched when its node is made.

    The address enters the id, so a branch that moves changes no id; the artifact's summary records the commit. Made
    from `hf://...` by `orcac.hub.parse_hub`.
    """

    repo: str  # OWNER/NAME
    revision: str = "main"  # a branch, a tag or a commit
    path: str = ""  # a file, a folder or a glob in the repository; "" for all of it


def resolve_file(ref: FileRef, execution: Execution) -> Path:
    """Return the path of a file's content. Raises InputError if the file is gone or its content changed."""
    path = Path(execution.files[ref.sha256])
    if not path.is_file():
        raise InputError(f"{path}: the file is gone", fix="put it back, or compile the spec again")
    if file_digest(path) != ref.sha256:
        raise InputError(f"{path}: its content changed since the spec was compiled", fix="compile again")
    return path
