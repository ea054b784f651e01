"""Finished artifacts that an older orcac made for the nodes of a plan, and how a plan keeps them.

A new VERSION of a kind, or a new value of a rule that a recipe holds (`recipe.rule`), gives another id to a node and to
everything made from it. The older artifact is still in the store, under the id that the node had before. It is found by
its recipe without rules, and its inputs: the spec determines these two, and they alone must be equal.

`find_older` looks through the store, `read_pinned` through a lock. `keep` then returns the plan that the older orcac
would have compiled, as far as its artifacts are done. A kept node has the recipe and VERSION of its artifact: it can be
used but not be made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from pydantic import ValidationError

from orcac.errors import StoreError
from orcac.eval.recipe import EvalExecution, EvalRecipe
from orcac.kinds import KINDS
from orcac.plan.earlier import list_earlier
from orcac.plan.node import IDENTITY, Node, NodeContent, canonical
from orcac.plan.plan import Experiment, Plan
from orcac.recipe import Execution, Recipe, rules_of
from orcac.report.recipe import ReportRecipe
from orcac.store.store import Store

_UNORDERED = {"nodes", "benchmarks"}  # roles whose inputs the compiler sorts by id


@dataclass(frozen=True, slots=True)
class Outdated:
    """A node that is not made yet, and the finished artifact of an older orcac in its place."""

    ref: str  # KIND/ID by today's rules
    older: str  # KIND/ID of the artifact
    cause: str  # as in `VERSION 1`, `solver_version 1`; "" if it is outdated by its inputs alone


@dataclass(slots=True)
class OlderNodes:
    """Nodes of older versions, found by the recipe without rules and the inputs."""

    _nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, content: NodeContent) -> None:
        """Add a node by its content, as an artifact or a lock records it. Content that cannot be kept is left out."""
        kind = KINDS.get(content["kind"])
        if kind is None or content["identity"] != IDENTITY:
            return
        try:
            node = Node(
                kind=kind.name,
                version=content["version"],
                recipe=kind.recipe.model_validate(content["recipe"]),
                inputs={role: tuple(refs) for role, refs in content["inputs"].items()},
                execution=Execution(),  # of the planned node, if this one is kept
                label="",
            )
        except ValidationError:  # the recipe has lost a field since
            return
        key = _key(node)
        if key not in self._nodes or self._nodes[key].content["version"] < content["version"]:
            self._nodes[key] = node

    @property
    def is_empty(self) -> bool:
        return not self._nodes

    def find(self, node: Node) -> Node | None:
        """Return the older node with the recipe, rules aside, and the inputs of `node`."""
        older = self._nodes.get(_key(node))
        return None if older is None or older.ref == node.ref else older


def find_older(plan: Plan, store: Store) -> OlderNodes:
    """Return the artifacts in the store that another VERSION, or another rule, may have made for nodes of the plan."""
    found = OlderNodes()
    for name in {node.kind for node in plan.nodes.values() if not store.is_done(node.ref)}:
        kind = KINDS[name]
        if kind.version == 1 and not rules_of(kind.recipe):
            continue  # this kind never had another version
        for marker in sorted((store.root / name).glob("*/artifact.json")):
            ref = f"{name}/{marker.parent.name}"
            if ref not in plan.nodes:
                try:
                    found.add(cast(NodeContent, store.artifact(ref)))  # a record includes the content
                except (StoreError, KeyError, TypeError):
                    continue  # `orcac verify` reports damage
    return found


def read_pinned(contents: Iterable[NodeContent]) -> OlderNodes:
    """Return the nodes of a lock, by their contents."""
    found = OlderNodes()
    for content in contents:
        found.add(content)
    return found


def list_outdated(plan: Plan, older: OlderNodes, store: Store) -> list[Outdated]:
    """Return the nodes of the plan that are to be made although an older artifact is done, inputs first."""
    found = []
    for ref, node in _map_to_older(plan, older, store).items():
        if node.ref != ref and store.is_done(node.ref) and not store.is_done(ref):
            found.append(Outdated(ref, node.ref, ", ".join(_causes(node, plan.nodes[ref]))))
    return found


def keep(plan: Plan, older: OlderNodes, store: Store) -> Plan:
    """Return the plan in which each node with an older artifact is replaced by it, and the inputs of others follow."""
    nodes = _map_to_older(plan, older, store)
    refs = {ref: node.ref for ref, node in nodes.items()}
    if all(ref == kept for ref, kept in refs.items()):
        return plan
    kept_plan = Plan()
    for node in nodes.values():
        kept_plan.add(node)
    for name, item in plan.experiments.items():
        kept_plan.experiments[name] = Experiment(
            name=name,
            spec=item.spec,
            report=refs[item.report],
            arms={arm: [refs[ref] for ref in arm_refs] for arm, arm_refs in item.arms.items()},
            addresses={
                arm: {address: refs[ref] for address, ref in addresses.items()}
                for arm, addresses in item.addresses.items()
            },
        )
    return kept_plan


def find_unreplaced(plan: Plan, older: OlderNodes, store: Store) -> set[str]:
    """Return the older artifacts that nothing has replaced yet, with the older ones that they were made from.

    Evaluations of VERSION 1, whose answers today's evaluations will take over (`plan.earlier`), are among them.
    """
    nodes = _map_to_older(plan, older, store)
    by_ref = {node.ref: node for node in nodes.values()}
    found = {
        ref
        for node in nodes.values()
        if isinstance(node.execution, EvalExecution) and not store.is_done(node.ref)
        for ref in node.execution.earlier
    }
    stack = [item.older for item in list_outdated(plan, older, store)]
    while stack:
        ref = stack.pop()
        if ref not in found:
            found.add(ref)
            stack.extend(by_ref[ref].needs)
    return found


def _map_to_older(plan: Plan, older: OlderNodes, store: Store) -> dict[str, Node]:
    """Return each node of the plan as the older orcac had it, inputs included: KIND/ID today -> node."""
    if older.is_empty:
        return dict(plan.nodes)
    nodes: dict[str, Node] = {}
    for ref, node in plan.nodes.items():
        inputs = {role: tuple(nodes[need].ref for need in needs) for role, needs in node.inputs.items()}
        inputs |= {role: tuple(sorted(inputs[role])) for role in _UNORDERED & inputs.keys()}
        if inputs != node.inputs:
            recipe = _with_refs(node.recipe, nodes) if isinstance(node.recipe, ReportRecipe) else node.recipe
            node = _with(node, inputs=inputs, recipe=recipe)
        found = older.find(node)
        if found and store.is_done(found.ref):
            node = _with(node, recipe=found.recipe, version=found.version)
        nodes[ref] = node
    return nodes


def _with(
    node: Node, *, recipe: Recipe, inputs: dict[str, tuple[str, ...]] | None = None, version: int | None = None
) -> Node:
    """Return a node with some fields changed; `model_copy` would copy the id that it has computed."""
    inputs, execution = node.inputs if inputs is None else inputs, node.execution
    if isinstance(execution, EvalExecution) and isinstance(recipe, EvalRecipe):
        execution = execution.model_copy(update={"earlier": list_earlier(recipe, inputs)})
    return Node(
        kind=node.kind,
        recipe=recipe,
        inputs=inputs,
        execution=execution,
        label=node.label,
        version=version,
        blockers=node.blockers,
    )


def _with_refs(recipe: ReportRecipe, nodes: Mapping[str, Node]) -> ReportRecipe:
    """Return a report's recipe with the KIND/IDs in it replaced; no other recipe holds any."""

    def replaced(value: object) -> object:
        if isinstance(value, dict):
            return {key: replaced(item) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item) for item in value]
        return nodes[value].ref if isinstance(value, str) and value in nodes else value

    return ReportRecipe.model_validate(replaced(recipe.model_dump(mode="json")))


def _causes(older: Node, node: Node) -> list[str]:
    version = older.content["version"]
    causes = [f"VERSION {version}"] if version != node.content["version"] else []
    for name in rules_of(type(node.recipe)):
        value = getattr(older.recipe, name)
        if value != getattr(node.recipe, name):
            causes.append(f"{name} {value}")
    return causes


def _key(node: Node) -> str:
    recipe = node.recipe.model_dump(mode="json", exclude_defaults=True, exclude=rules_of(type(node.recipe)))
    inputs = {role: list(refs) for role, refs in node.inputs.items() if refs}
    return canonical({"kind": node.kind, "recipe": recipe, "inputs": inputs})
