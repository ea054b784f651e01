"""Finished artifacts that another orcac made for the nodes of a plan, and how a plan keeps them.

A new VERSION of a kind, or a new value of a rule that a recipe holds (`recipe.rule`), gives another id to a node and to
everything made from it. The older artifact is still in the store, under the id that the node had before. It is found by
its recipe without rules, and its inputs: the spec determines these two, and they alone must be equal.

`find_older` looks through the store, `read_pinned` through a lock. `keep` then returns the plan that the older orcac
would have compiled, as far as its artifacts are of use. A kept node has the recipe and VERSION of its artifact: it can
be used but not be made again.

A run after an upgrade replaces artifacts one by one, inputs first. So an older artifact is of use as long as nothing
has replaced it, and so are the older ones that it was made from, even if those are replaced. A pinned artifact is of
use if it is done, and so are the pinned ones that it was made from, even if those are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    """A node of a plan, and the finished artifact of an older orcac in its place that is still of use."""

    ref: str  # KIND/ID by today's rules
    older: str  # KIND/ID of the artifact
    cause: str  # as in `VERSION 1 (now 2)`; "" if it is outdated by its inputs alone
    is_replaced: bool  # today's artifact is done too, but another older one was made from this one


@dataclass(slots=True)
class OlderNodes:
    """Nodes of other versions, found by the recipe without rules and the inputs; several may be found, newest first.

    A node that a lock pins (`is_pinned`) takes precedence over today's artifact, any other one does not.
    """

    is_pinned: bool = False
    _nodes: dict[str, list[Node]] = field(default_factory=dict)
    _kinds: set[str] = field(default_factory=set)

    def add(self, content: NodeContent) -> None:
        """Add a node by its content, as an artifact or a lock records it. Content that cannot be kept is left out."""
        try:
            kind = KINDS[content["kind"]]
            node = Node(
                kind=kind.name,
                version=content["version"],
                recipe=kind.recipe.model_validate(content["recipe"]),
                inputs={role: tuple(refs) for role, refs in content["inputs"].items()},
                execution=Execution(),  # of the planned node, if this one is kept
                label="",
            )
            if content["identity"] != IDENTITY or node.version is None:
                return
        except (ValidationError, KeyError, TypeError, AttributeError):  # damaged, or the recipe has lost a field since
            return
        nodes = self._nodes.setdefault(_key(node), [])
        nodes.append(node)
        nodes.sort(key=_age)
        self._kinds.add(node.kind)

    @property
    def depth(self) -> int:
        """The largest number of nodes with one recipe and the same inputs."""
        return max(map(len, self._nodes.values()), default=0)

    def find(self, node: Node) -> list[Node]:
        """Return the other nodes with the recipe, rules aside, and the inputs of `node`, newest first."""
        if node.kind not in self._kinds or node.version is not None:  # a kept node stays
            return []
        return [older for older in self._nodes.get(_key(node), ()) if older.ref != node.ref]


def find_older(plan: Plan, store: Store) -> OlderNodes:
    """Return the artifacts in the store that another VERSION, or another rule, may have made for nodes of the plan."""
    found = OlderNodes()
    if all(map(store.is_done, plan.nodes)):
        return found
    for name in {node.kind for node in plan.nodes.values()}:
        kind = KINDS[name]
        if kind.version == 1 and not rules_of(kind.recipe):
            continue  # this kind never had another version
        for folder in sorted((store.root / name).glob("*/")):
            ref = f"{name}/{folder.name}"
            if store.has_record(ref) and (ref not in plan.nodes or plan.nodes[ref].version is not None):
                try:
                    found.add(cast(NodeContent, store.artifact(ref)))  # a record includes the content
                except StoreError:
                    continue  # `orcac verify` reports damage
    return found


def read_pinned(contents: Iterable[NodeContent]) -> OlderNodes:
    """Return the nodes of a lock, by their contents."""
    found = OlderNodes(is_pinned=True)
    for content in contents:
        found.add(content)
    return found


def list_outdated(plan: Plan, older: OlderNodes, store: Store) -> list[Outdated]:
    """Return the nodes of the plan that are to be made although an older artifact is done, and those nodes that they
    need and that moved with them; inputs first."""
    return [
        Outdated(ref, node.ref, ", ".join(_causes(node, plan.nodes[ref])), is_replaced=store.is_done(ref))
        for ref, node in _map_to_older(plan, older, store).items()
        if node.ref != ref and store.has_record(node.ref)
    ]


def keep(plan: Plan, older: Mapping[str, OlderNodes], store: Store) -> Plan:
    """Return the plan in which each experiment that `older` names has its older artifacts that are of use.

    Nodes that experiments share can come apart: a lock binds its own experiment alone.
    """
    kept_plan, is_same = Plan(), True
    for name, item in plan.experiments.items():
        nodes = _map_to_older(plan, older[name], store) if name in older else plan.nodes
        refs = {ref: node.ref for ref, node in nodes.items()}
        is_same = is_same and all(ref == kept for ref, kept in refs.items())
        own = [ref for addresses in item.addresses.values() for ref in addresses.values()]
        for ref in plan.closure([*item.targets, *own]):
            kept_plan.add(nodes[ref])
        kept_plan.experiments[name] = Experiment(
            name=name,
            spec=item.spec,
            report=refs.get(item.report, ""),
            targets=[refs[ref] for ref in item.targets],
            arms={arm: [refs[ref] for ref in arm_refs] for arm, arm_refs in item.arms.items()},
            addresses={
                arm: {address: refs[ref] for address, ref in addresses.items()}
                for arm, addresses in item.addresses.items()
            },
        )
    return plan if is_same else kept_plan


def find_unreplaced(plan: Plan, older: OlderNodes, store: Store) -> set[str]:
    """Return the older artifacts of any age that nothing of today has replaced, with those that they were made from.

    Evaluations of VERSION 1, whose answers today's evaluations will take over (`plan.earlier`), are among them.
    """
    found = set()
    for nodes in (plan.nodes, *(_map_to_age(plan, older, store, age)[0] for age in _ages(older))):
        found |= {node.ref for ref, node in nodes.items() if node.ref != ref}
        for node in nodes.values():
            if isinstance(node.execution, EvalExecution) and not store.is_done(node.ref):
                found |= set(node.execution.earlier)
    return found


def _map_to_older(plan: Plan, older: OlderNodes, store: Store) -> dict[str, Node]:
    """Return each node of the plan, or the older one that is of use in its place, inputs included: KIND/ID -> node.

    If artifacts of several ages are of use, take the age with the most of them, or the newest of several such ages.
    """
    best, most = dict(plan.nodes), 0
    for age in _ages(older):
        nodes, count = _map_to_age(plan, older, store, age)
        if count > most:
            best, most = nodes, count
    return best


def _ages(older: OlderNodes) -> range:
    return range(older.depth if older.is_pinned else older.depth + 1 if older.depth else 0)


def _map_to_age(plan: Plan, older: OlderNodes, store: Store, age: int) -> tuple[dict[str, Node], int]:
    """Return the map of `_map_to_older` for one age, and the number of artifacts that are of use by themselves.

    Age 0 is the newest that a node has: today's artifact, if that is done and none is pinned.
    """
    chosen: set[str] = set()

    def choose(node: Node) -> Node | None:
        found = older.find(node)
        if found and not older.is_pinned and store.is_done(node.ref):
            found = [node, *found]
        if not found:
            return None
        one = found[min(age, len(found) - 1)]
        chosen.add(one.ref)
        return one

    nodes = _replace(plan, choose)
    useful, count = set[str](), 0
    for ref, node in reversed(nodes.items()):  # the nodes that are made from a node come after it
        is_useful = node.ref != ref and store.has_record(node.ref) and (older.is_pinned or not store.is_done(ref))
        count += is_useful
        if is_useful or node.ref in useful:
            useful |= {node.ref, *node.needs}
    if chosen - useful:
        nodes = _replace(plan, lambda node: one if (one := choose(node)) and one.ref in useful else None)
    return nodes, count


def _replace(plan: Plan, choose: Callable[[Node], Node | None]) -> dict[str, Node]:
    """Return the nodes of the plan with the chosen ones in their places, inputs included: KIND/ID -> node.

    `choose` gets each node once its inputs are replaced.
    """
    nodes: dict[str, Node] = {}
    for ref, node in plan.nodes.items():
        if node.version is None:
            inputs = {role: tuple(nodes[need].ref for need in needs) for role, needs in node.inputs.items()}
            inputs |= {role: tuple(sorted(inputs[role])) for role in _UNORDERED & inputs.keys()}
            if inputs != node.inputs:
                recipe = _with_refs(node.recipe, nodes) if isinstance(node.recipe, ReportRecipe) else node.recipe
                node = change_node(node, inputs=inputs, recipe=recipe)
            chosen = choose(node)
            if chosen and chosen.ref != node.ref:
                node = change_node(node, recipe=chosen.recipe, version=chosen.version)
        nodes[ref] = node
    return nodes


def change_node(
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
    version, today = older.content["version"], node.content["version"]
    causes = [f"VERSION {version} (now {today})"] if version != today else []
    for name in sorted(rules_of(type(node.recipe))):
        value, today = getattr(older.recipe, name), getattr(node.recipe, name)
        if value != today:
            causes.append(f"{name} {value} (now {today})")
    return causes


def _age(node: Node) -> tuple[int, ...]:
    """Return a sort key by which the node of the highest VERSION, and then of the highest rules, comes first."""
    rules = (getattr(node.recipe, name) for name in sorted(rules_of(type(node.recipe))))
    return -node.content["version"], *(-value if isinstance(value, int) else 0 for value in rules)


def _key(node: Node) -> str:
    recipe = node.recipe.model_dump(mode="json", exclude_defaults=True, exclude=rules_of(type(node.recipe)))
    inputs = {role: list(refs) for role, refs in node.inputs.items() if refs}
    return canonical({"kind": node.kind, "recipe": recipe, "inputs": inputs})
