"""The record of a finished artifact, as far as estimates use it: its recipe, summary, time and hardware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from orcac.cost import priors
from orcac.errors import StoreError
from orcac.store.store import read_record
from orcac.summary import Summary

S = TypeVar("S", bound=Summary)


@dataclass(frozen=True, slots=True)
class Hardware:
    """The part of an execution that a speed depends on, as artifacts record it."""

    threads: int = 1
    gpus: int = 0
    nodes: int = 1
    gpu: str | None = None
    recompute: bool = False
    offload: bool = False

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Hardware:
        """Read the fields of an execution; some may be missing. Raises ValueError if a count is not an integer."""
        counts = [values.get(name, default) for name, default in (("threads", 1), ("gpus", 0), ("nodes", 1))]
        threads, gpus, nodes = (count for count in counts if isinstance(count, int))
        return cls(
            threads=threads,
            gpus=gpus,
            nodes=nodes,
            gpu=str(values["gpu"]) if values.get("gpu") else None,
            recompute=bool(values.get("recompute")),
            offload=bool(values.get("offload")),
        )

    def speed_key(self, precision: str) -> tuple[object, ...]:
        """Return a key that two executions share if their speeds are comparable.

        It holds the GPU and the precision, or the number of CPU threads; and whether a stage computes its activations
        twice, or AdamW on the CPU.
        """
        if self.gpus:
            return (self.gpu, precision, self.recompute, self.offload)
        return ("cpu", self.threads, self.recompute, self.offload)


@dataclass(frozen=True, slots=True)
class MadeNode(Generic[S]):
    """The record of a finished artifact."""

    recipe: Mapping[str, object]
    inputs: Mapping[str, Sequence[str]]  # role -> KIND/IDs
    summary: S
    seconds: float  # from the start of its making to the end
    hardware: Hardware | None  # None if an older orcac made it

    def first_input(self, role: str) -> str:
        """Return the KIND/ID of the first input in this role; "" if the record names none."""
        return next(iter(self.inputs.get(role, ())), "")

    def number(self, name: str) -> float:
        """Return a field of the recipe that is a number; 0 if it is missing or None."""
        value = self.recipe.get(name)
        return float(value) if isinstance(value, (int, float)) else 0.0

    @property
    def working_seconds(self) -> float:
        """Return the seconds without those of a usual start-up."""
        return max(self.seconds - priors.START_MODEL, self.seconds / 10, 1e-3)


def read_made(summary: type[S], path: Path) -> MadeNode[S] | None:
    """Return the record in an artifact.json; None if it is damaged."""
    try:
        values = read_record(path)
        assert all(isinstance(values[part], dict) for part in ("recipe", "inputs", "made"))
        assert all(isinstance(refs, list) for refs in values["inputs"].values())
        assert all(isinstance(ref, str) for refs in values["inputs"].values() for ref in refs)
        hardware = values.get("hardware")
        return MadeNode(
            recipe=values["recipe"],
            inputs=values["inputs"],
            summary=summary.from_json(values["summary"], path),
            seconds=float(values["made"]["seconds"]),
            hardware=Hardware.from_values(hardware) if hardware else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, StoreError):
        return None
