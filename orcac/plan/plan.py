"""The plan: every node that the given specs need, each once, and which arms want it; kept as build/plan.json.

The file is the whole interface between the compiler and Snakemake: canonical (sorted, no times, no absolute
store), and rewritten only when its bytes change, so that compiling twice touches nothing. It is read without
pydantic models where speed matters (`orcac/smk.py`) and with them where a node is made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orcac.errors import InputError
from orcac.kinds import KINDS
from orcac.plan.node import Node, canonical
from orcac.store.durable import write_if_changed
from orcac.train.recipe import TrainExecution

FORMAT = 2
BASELINES = "(baselines)"  # what they answer is wanted by the study, and by none of its arms; no arm can be named so


def default_plan_path() -> Path:
    """`build/plan.json` in the working folder, or what ORCAC_PLAN says, where it says anything."""
    return Path(os.environ.get("ORCAC_PLAN") or "build/plan.json")


@dataclass(slots=True)
class Experiment:
    """One compiled spec: where it came from, its report, and for each arm the nodes that it needs."""

    name: str
    spec: str  # path as given
    report: str  # KIND/ID
    arms: dict[str, list[str]]  # arm, or BASELINES -> KIND/ID in the order of making, shared nodes included
    addresses: dict[str, dict[str, str]]  # arm -> what a node is for in it, as `train/expert` -> KIND/ID


@dataclass(slots=True)
class Plan:
    nodes: dict[str, Node] = field(default_factory=dict)  # KIND/ID -> node, inputs before those that need them
    experiments: dict[str, Experiment] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)  # KIND/ID -> its place in `nodes`

    def add(self, node: Node) -> str:
        """Add a node unless its equal is there; its inputs must be. Returns KIND/ID."""
        assert all(ref in self.nodes for ref in node.needs), f"{node.ref} is added before its inputs"
        if node.ref not in self.nodes:
            self._places[node.ref] = len(self.nodes)
            self.nodes[node.ref] = node
        return node.ref

    def keep_optimizer(self, ref: str) -> None:
        """A stage's AdamW state stays in its artifact, since a stage of some arm is trained upon it."""
        node = self.nodes[ref]
        assert isinstance(node.execution, TrainExecution)
        execution = node.execution.model_copy(update={"keep_optimizer": True})
        self.nodes[ref] = node.model_copy(update={"execution": execution})

    def closure(self, refs: list[str]) -> list[str]:
        """`refs` and all that they need, in the order of making."""
        wanted, stack = set(), list(refs)
        while stack:
            ref = stack.pop()
            if ref not in wanted:
                wanted.add(ref)
                stack.extend(self.nodes[ref].needs)
        return sorted(wanted, key=self._places.__getitem__)

    def map_nodes_to_users(self) -> dict[str, list[str]]:
        """KIND/ID -> `spec:arm` for every arm that needs the node; a report is needed by none.

        BASELINES stands there where nothing else does: they are no arm, and share with the arms what these need.
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
        users = self.map_nodes_to_users()
        nodes = {
            ref: {
                "kind": node.kind,
                "label": node.label,
                "recipe": node.content["recipe"],
                "inputs": node.content["inputs"],
                "execution": node.execution.model_dump(mode="json"),
                "arms": users[ref],
                "waits": list(node.blockers),
                **({} if node.version is None else {"version": node.version}),
            }
            for ref, node in self.nodes.items()
        }
        experiments = {
            name: {
                "spec": item.spec,
                "report": item.report,
                "arms": list(item.arms.items()),  # pairs: their order is the spec's, and keys are sorted
                "addresses": item.addresses,
            }
            for name, item in self.experiments.items()
        }
        # a line a node: as canonical as indented JSON, and ten times as fast to write
        head = {"format": FORMAT, "order": list(self.nodes), "experiments": experiments}
        lines = [f"{canonical(ref)}:{canonical(nodes[ref])}" for ref in sorted(nodes)]
        return "{" + canonical(head)[1:-1] + ',"nodes":{\n' + ",\n".join(lines) + "\n}}\n"

    def write(self, path: Path) -> bool:
        """Write the plan; False when the file held the same bytes already and was left alone."""
        try:
            return write_if_changed(path, self.to_json())
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})", fix="set ORCAC_PLAN to a file") from None

    @classmethod
    def read(cls, path: Path, *, beginning: str = "") -> Plan:
        """The plan, or of a large one just the nodes whose KIND/ID begins so, which is all that making one needs.

        Raises InputError when there is no plan or it is not one of this version.
        """
        data = read_plan_data(path)
        try:
            nodes = {ref: _node(data["nodes"][ref]) for ref in data["order"] if ref.startswith(beginning)}
            if any(node.ref != ref for ref, node in nodes.items()):
                raise InputError(f"{path}: its ids are not this orcac's", fix="compile the spec again")
            experiments = {
                name: Experiment(
                    name=name,
                    spec=item["spec"],
                    report=item["report"],
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
    """The one of `refs` (KIND/ID) that `text` names: it whole, or a beginning of it or of its ID alone.

    Raises InputError where none does, or several.
    """
    near = sorted({ref for ref in refs if ref.startswith(text) or ref.partition("/")[2].startswith(text)})
    if text in near:
        return text
    if not near:
        raise InputError(f"{text}: no such node in the plan or the store", fix="`orcac plan SPEC` lists a spec's nodes")
    if len(near) > 1:
        raise InputError(f"{text}: {len(near)} nodes begin so", fix=f"write more of the id: {', '.join(near[:3])}")
    return near[0]


def read_plan_data(path: Path) -> dict[str, Any]:
    """The plan file as plain data."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no plan", fix="run `orcac compile specs/tiny.yaml` first") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", fix="set ORCAC_PLAN to a file") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: the plan is damaged", fix="compile the spec again") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{path}: the plan was made by another version of orcac", fix="compile the spec again")
    return data


def _node(data: dict[str, Any]) -> Node:
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
