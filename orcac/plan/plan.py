"""The plan: every node that the given specs need, once, with the arms that need it; stored as build/plan.json.

The file is the whole interface between the compiler and Snakemake. It is canonical (sorted, without times and without
the store's path) and rewritten only if its bytes change, so that a second compilation touches nothing. `orcac/smk.py`
reads it without pydantic models (file.py), for speed; the commands that make a node read it with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from orcac.errors import InputError
from orcac.kinds import KINDS
from orcac.plan.file import FORMAT, ExperimentData, NodeData, PlanData, parse_plan_data, read_plan_text
from orcac.plan.node import Node, canonical
from orcac.store.durable import write_if_changed
from orcac.student.recipe import StudentExecution
from orcac.tokenize.recipe import TokenizeExecution
from orcac.tokenize.steps import Schedule
from orcac.train.recipe import TrainExecution

BASELINES = "(baselines)"  # the key of all baselines in `Experiment.arms`; an arm cannot have this name


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

    def add_rows(self, ref: str, length: int, *, is_packed: bool) -> None:
        """Make the student node `ref` check that it can be trained on rows of `length` tokens.

        `is_packed`: the rows hold several examples.
        """
        node = self.nodes[ref]
        assert isinstance(node.execution, StudentExecution)
        lengths, was_packed = node.execution.lengths, node.execution.is_packed
        if length not in lengths or is_packed > was_packed:
            update = {"lengths": (*dict.fromkeys((*lengths, length)),), "is_packed": is_packed or was_packed}
            self.nodes[ref] = node.model_copy(update={"execution": node.execution.model_copy(update=update)})

    def require_system_role(self, ref: str) -> None:
        """Make the student node `ref` check that its chat template has a place for system messages."""
        node = self.nodes[ref]
        assert isinstance(node.execution, StudentExecution)
        if not node.execution.has_system:
            execution = node.execution.model_copy(update={"has_system": True})
            self.nodes[ref] = node.model_copy(update={"execution": execution})

    def expect_reasoning(self, ref: str, *, is_certain: bool) -> None:
        """Make the student node `ref` check that its chat template leaves a place for reasoning to learn."""
        node = self.nodes[ref]
        assert isinstance(node.execution, StudentExecution)
        if node.execution.reasoning != "certain":
            execution = node.execution.model_copy(update={"reasoning": "certain" if is_certain else "perhaps"})
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
    def read(cls, path: Path) -> Plan:
        """Read the plan file.

        Raises InputError if the file is missing, damaged, or written by another version of orcac.
        """
        return cls.from_data(parse_plan_data(read_plan_text(path), path), path)

    @classmethod
    def from_data(cls, data: PlanData, path: Path, *, beginning: str = "") -> Plan:
        """Return the plan that the file `path` holds. With `beginning`, leave out nodes whose KIND/ID begins otherwise.

        Raises InputError if another version of orcac wrote the file.
        """
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
