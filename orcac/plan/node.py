"""A node and its identity.

    id = the first 20 hex digits of sha256 over the canonical JSON of
         {identity rule, kind, the kind's VERSION, recipe, inputs by role}

This is rule 1. It leaves out, with the reason:
- Execution (endpoints, threads, paths, shards, prices), labels and blockers: they change where or when a node is made,
  not the result.
- A recipe field that holds its default, so that a recipe can grow a field without renaming every artifact. A change of
  a *default* changes the result, and so requires a higher VERSION of the kind.
- Package versions: a new torch would otherwise remake paid answers. The artifact's provenance records them.
Raise IDENTITY if this rule itself changes; every id changes with it.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TypedDict

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from orcac.kinds import KINDS
from orcac.recipe import Execution, Recipe

IDENTITY = 1


class NodeContent(TypedDict):
    """Everything that an id is a digest of, as JSON values."""

    identity: int
    kind: str
    version: int
    recipe: dict[str, object]
    inputs: dict[str, list[str]]  # role -> KIND/ID, in order


def canonical(value: object) -> str:
    """Return JSON with one spelling: sorted keys, no spaces, UTF-8.

    Raises TypeError if `value` contains a type that JSON lacks, ValueError if it contains NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(content: NodeContent) -> str:
    """Return the id of a node: 20 hex digits."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:20]


class Node(BaseModel):
    """One unit of work. Two nodes of equal id are one node, whichever arms and specs need them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    recipe: SerializeAsAny[Recipe]
    inputs: dict[str, tuple[str, ...]]  # role -> KIND/ID, in order
    execution: SerializeAsAny[Execution]
    label: str
    version: int | None = None  # the VERSION of a kept artifact (plan.upgrade); None is the kind's own
    blockers: tuple[str, ...] = ()  # reasons why it can be planned but not made yet; each names its place in the spec

    @cached_property
    def content(self) -> NodeContent:
        return {
            "identity": IDENTITY,
            "kind": self.kind,
            "version": KINDS[self.kind].version if self.version is None else self.version,
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True),
            "inputs": {role: list(refs) for role, refs in self.inputs.items() if refs},
        }

    @cached_property
    def id(self) -> str:
        return content_id(self.content)

    @cached_property
    def ref(self) -> str:
        """KIND/ID: the node's name in the plan, in the store and on the command line."""
        return f"{self.kind}/{self.id}"

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The nodes (KIND/ID) that must be made before this one, without repeats."""
        return tuple(dict.fromkeys(ref for refs in self.inputs.values() for ref in refs))
