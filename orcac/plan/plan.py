"""The plan: every node that the given specs need, once, with the arms that need it; stored as build/plan.json.

The file is the whole interface between the compiler and Snakemake. It is canonical (sorted, without times and without
the store's path) and rewritten only if its bytes change, so that a second compilation touches nothing. `orcac/smk.py`
reads it without pydantic models, for speed; the commands that make a node read it with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from pydantic import ValidationError

from orcac.errors import InputError
from orcac.kinds import KINDS
from orcac.plan.node import Node, canonical
from orcac.store.durable import write_if_changed
from orcac.tokenize.recipe import TokenizeExecution
from orcac.tokenize.steps import Schedule
from orcac.train.recipe import TrainExecution

FORMAT = 2
BASELINES = "(baselines)"  # the key of all baselines in `Experiment.arms`; an arm cannot have this name


class NodeData(TypedDict):
    """A node in the plan file."""

    kind: str
    label: str
    recipe: dict[str, object]
    inputs: dict[str, list[str]]
    execution: dict[str, object]
    arms: list[str]
    waits: list[str]  # `Node.blockers`
    version: NotRequired[int]  # of a kept node alone (`Node.version`)


class ExperimentData(TypedDict):
    """An experiment in the plan file. `arms` are pairs, since keys are sorted and the spec's order matters."""

    spec: str
    report: str
    targets: NotRequired[list[str]]  # absent in a plan that an older orcac wrote: the report alone
    arms: list[tuple[str, list[str]]]
    addresses: dict[str, dict[str, str]]


class PlanData(TypedDict):
    """The plan file."""

    format: int
    order: list[str]
    experiments: dict[str, ExperimentData]
    nodes: dict[str, NodeData]


@dataclass(slots=True)
class Experiment:
    """One compiled spec."""

    name: str
    spec: str  # path as given; absolute in the plan file
    report: str  # KIND/ID; "" if the spec only collects answers
    targets: list[str]  # the nodes to make, whose inputs are all others: the report, or the filters of a collection
    arms: dict[str, list[str]]  # arm, or BASELINES -> all nodes that it needs (KIND/ID), in the order of making
    addresses: dict[str, dict[str, str]]  # arm -> address of a node in it, e.g. `train/expert` -> KIND/ID


@dataclass(slots=True)
class Plan:
    """The nodes of one or several experiments."""

    nodes: dict[str, Node] = field(default_factory=dict)  # KIND/ID -> node, inputs before those that need them
    experiments: dict[str, Experiment] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)  # KIND/ID -> its place in `nodes`

    def add(self, node: Node) -> str:
        """Add a node, unless the plan has an equal one; return KIND/ID. The plan must have the node's inputs."""
        assert all(ref in self.nodes for ref in node.needs), f"{node.ref} is added before its inputs"
        if node.ref not in self.nodes:
            self._places[node.ref] = len(self.nodes)
            self.nodes[node.ref] = node
        return node.ref

    def keep_optimizer(self, ref: str) -> None:
        """Make the stage `ref` keep AdamW's state in its artifact, because another stage is trained upon it."""
        node = self.nodes[ref]
        assert isinstance(node.execution, TrainExecution)
        execution = node.execution.model_copy(update={"keep_optimizer": True})
        self.nodes[ref] = node.model_copy(update={"execution": execution})

    def add_schedule(self, ref: str, schedule: Schedule) -> None:
        """Make the tokenize node `ref` check its rows for a stage that is trained on them."""
        node = self.nodes[ref]
        assert isinstance(node.execution, TokenizeExecution)
        if schedule not in node.execution.stages:
            execution = node.execution.model_copy(update={"stages": (*node.execution.stages, schedule)})
            self.nodes[ref] = node.model_copy(update={"execution": execution})

    def closure(self, refs: list[str]) -> list[str]:
        """Return `refs` and all nodes that they need, directly or not, in the order of making."""
        found, stack = set(), list(refs)
        while stack:
            ref = stack.pop()
            if ref not in found:
                found.add(ref)
                stack.extend(self.nodes[ref].needs)
        return sorted(found, key=self._places.__getitem__)

    def map_nodes_to_users(self) -> dict[str, list[str]]:
        """Return KIND/ID -> `SPEC:ARM` of every arm that needs the node. The list of a report is empty.

        A node that baselines alone need has the user `SPEC:(baselines)`; one that arms need as well has only the arms.
        """
        users: dict[str, list[str]] = {ref: [] for ref in self.nodes}
        for name, experiment in self.experiments.items():
            for arm, refs in experiment.arms.items():
                for ref in refs if arm != BASELINES else ():
                    users[ref].append(f"{name}:{arm}")
        for name, experiment in self.experiments.items():
            for ref in experiment.arms.get(BASELINES, ()):
                if not users[ref]:
                    users[ref].append(f"{name}:{BASELINES}")
        return users

    def to_json(self) -> str:
        """Return the text of the plan file (`PlanData`)."""
        users = self.map_nodes_to_users()
        nodes: dict[str, NodeData] = {
            ref: {
                "kind": node.kind,
                "label": node.label,
                "recipe": node.content["recipe"],
                "inputs": node.content["inputs"],
                "execution": node.execution.model_dump(mode="json"),
                "arms": users[ref],
                "waits": list(node.blockers),
            }
            for ref, node in self.nodes.items()
        }
        for ref, node in self.nodes.items():
            if node.version is not None:
                nodes[ref]["version"] = node.version
        experiments: dict[str, ExperimentData] = {
            name: {
                "spec": str(Path(experiment.spec).absolute()),
                "report": experiment.report,
                "targets": experiment.targets,
                "arms": list(experiment.arms.items()),
                "addresses": experiment.addresses,
            }
            for name, experiment in self.experiments.items()
        }
        # one line for each node: as canonical as indented JSON, and ten times as fast to write
        head = {"format": FORMAT, "order": list(self.nodes), "experiments": experiments}
        lines = [f"{canonical(ref)}:{canonical(nodes[ref])}" for ref in sorted(nodes)]
        return "{" + canonical(head)[1:-1] + ',"nodes":{\n' + ",\n".join(lines) + "\n}}\n"

    def write(self, path: Path) -> bool:
        """Write the plan file and return True, or leave a file of the same bytes alone and return False.

        Raises InputError if the file cannot be written.
        """
        try:
            return write_if_changed(path, self.to_json())
        except OSError as error:
            fix = "set ORCAC_PLAN to the path of a file that you can write"
            raise InputError(f"{path}: cannot be written ({error.strerror})", fix=fix) from None

    @classmethod
    def read(cls, path: Path, *, beginning: str = "") -> Plan:
        """Read the plan file. With `beginning`, read only the nodes whose KIND/ID begins with it, for speed.

        Raises InputError if the file is missing, damaged, or written by another version of orcac.
        """
        data = parse_plan_data(read_plan_text(path), path)
        try:
            nodes = {ref: _parse_node(data["nodes"][ref]) for ref in data["order"] if ref.startswith(beginning)}
            if any(node.ref != ref for ref, node in nodes.items()):
                raise InputError(
                    f"{path}: another version of orcac computed the ids in this plan", fix="compile the spec again"
                )
            experiments = {
                name: Experiment(
                    name=name,
                    spec=item["spec"],
                    report=item["report"],
                    targets=item.get("targets", [item["report"]]),
                    arms=dict(item["arms"]),
                    addresses=item["addresses"],
                )
                for name, item in data["experiments"].items()
            }
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            raise InputError(f"{path}: not a plan that this orcac can read", fix="compile the spec again") from error
        places = {ref: place for place, ref in enumerate(nodes)}
        return cls(nodes=nodes, experiments=experiments, _places=places)


def find_ref(refs: Iterable[str], text: str) -> str:
    """Return the only one of `refs` (KIND/ID) that begins with `text`, or whose ID does. A full match wins.

    Raises InputError if none or several begin so.
    """
    matches = sorted({ref for ref in refs if ref.startswith(text) or ref.partition("/")[2].startswith(text)})
    if text in matches:
        return text
    if not matches:
        raise InputError(f"{text}: no such node in the plan or the store", fix="`orcac plan SPEC` lists a spec's nodes")
    if len(matches) > 1:
        fix = f"write more of the id: {', '.join(matches[:3])}"
        raise InputError(f"{text}: the names of {len(matches)} nodes begin so", fix=fix)
    return matches[0]


def keep_copy(text: str, folder: Path) -> Path:
    """Write the text of a plan file under a name that depends on it, and return its path."""
    path = folder / f"plan-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    write_if_changed(path, text)
    return path


def read_plan_text(path: Path) -> str:
    """Read the plan file. Raises InputError if it is missing or unreadable."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        fix = "compile a spec first, or change to the folder of its study"
        raise InputError(f"{path}: there is no plan", fix=fix) from None
    except OSError as error:
        fix = "set ORCAC_PLAN to the path of a file that you can read"
        raise InputError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
    except ValueError:
        raise InputError(f"{path}: the plan is damaged", fix="compile the spec again") from None


def parse_plan_data(text: str, path: Path) -> PlanData:
    """Return the content of the plan file as plain data; only its format number is checked.

    Raises InputError if it is not JSON, or has another format number.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: the plan is damaged", fix="compile the spec again") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{path}: the plan was made by another version of orcac", fix="compile the spec again")
    return cast(PlanData, data)


def _parse_node(data: NodeData) -> Node:
    kind = KINDS[data["kind"]]
    return Node(
        kind=kind.name,
        recipe=kind.recipe.model_validate(data["recipe"]),
        inputs={role: tuple(refs) for role, refs in data["inputs"].items()},
        execution=kind.execution.model_validate(data["execution"]),
        label=data["label"],
        version=data.get("version"),
        blockers=tuple(data["waits"]),
    )
