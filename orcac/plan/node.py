"""A node and its identity.

    id = the first 20 hex digits of sha256 over the canonical JSON of
         {identity rule, kind, the kind's VERSION, recipe, inputs by role}

Rule 1. What is left out, and why:
- Execution (endpoints, threads, paths, shards, prices), labels and what a node waits for: they change where or
  when, not what.
- A recipe field that holds its default: so that a recipe can grow a field without renaming every artifact in
  the world. Whoever changes a *default* changes what is made, and raises the kind's VERSION.
- Package versions: a new torch would otherwise remake paid answers. They stand in the artifact's provenance.
Raise IDENTITY when this rule itself changes; every id changes with it.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from orcac.kinds import KINDS
from orcac.recipe import Execution, Recipe

IDENTITY = 1


def canonical(value: Any) -> str:
    """JSON with one spelling: sorted keys, no spaces, UTF-8. Raises TypeError on a type that JSON lacks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Node(BaseModel):
    """One unit of work. Two nodes of equal id are one node, whichever arms and specs asked for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    recipe: SerializeAsAny[Recipe]
    inputs: dict[str, tuple[str, ...]]  # role -> KIND/ID, in order
    execution: SerializeAsAny[Execution]
    label: str
    version: int | None = None  # the VERSION of a kept artifact (plan.upgrade); None is the kind's own
    blockers: tuple[str, ...] = ()  # reasons why it can be planned but not made yet; each names its place in the spec

    @cached_property
    def content(self) -> dict[str, Any]:
        """All that the id is a digest of, as plain data."""
        return {
            "identity": IDENTITY,
            "kind": self.kind,
            "version": KINDS[self.kind].version if self.version is None else self.version,
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True),
            "inputs": {role: list(refs) for role, refs in self.inputs.items() if refs},
        }

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(canonical(self.content).encode()).hexdigest()[:20]

    @cached_property
    def ref(self) -> str:
        """KIND/ID: the node's name in the plan, in the store and on the command line."""
        return f"{self.kind}/{self.id}"

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The nodes that must be made first, each once."""
        return tuple(dict.fromkeys(ref for refs in self.inputs.values() for ref in refs))
