"""The examples that a stage keeps apart from training, to measure its loss on questions that it has not seen.

An example is kept apart by its question alone: a question whose digest, seeded, falls below the share. So no question
is on both sides, and stages with the same share keep the same questions apart, whichever teacher answers them. A group
(a teacher and a source) that chance leaves without an example gets the one with the smallest digest, unless it is too
small to spare one.

The examples of each group have rows of their own, so that a loss per row gives a loss per group. Beside the rows,
`holdout.json` lists the groups in the order of their rows.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from orcac.digest import uniform64
from orcac.recipe import Frozen
from orcac.tokenize.recipe import ENOUGH

__all__ = ["FILE", "ROWS", "Apart", "Group", "read_groups", "write_groups"]

FILE, ROWS = "holdout.json", "holdout.safetensors"
_LARGEST = 1 << 64


class Group(Frozen):
    """The examples of one teacher to one source that are kept apart."""

    teacher: str
    source: str
    examples: int
    rows: int
    supervised_tokens: int

    @property
    def name(self) -> str:
        return f"{self.teacher}/{self.source}"


class Apart:
    """A draw of examples, which are added one by one."""

    def __init__(self, seed: int, share: float) -> None:
        self._seed, self._share = seed, share
        self._tickets: list[int] = []  # of the questions, 0 to 2^64
        self._groups: list[int] = []
        self._names: dict[tuple[str, str], int] = {}  # (teacher, source) -> its number

    def add(self, teacher: str, source: str, query: str) -> None:
        """Add an example."""
        self._tickets.append(uniform64(f"holdout {self._seed} {query}"))
        self._groups.append(self._names.setdefault((teacher, source), len(self._names)))

    def extend(self, other: Apart) -> Apart:
        """Add the examples of another draw of the same seed and share, and return this one."""
        numbers = [self._names.setdefault(name, len(self._names)) for name in other._names]
        self._tickets += other._tickets
        self._groups += [numbers[group] for group in other._groups]
        return self

    def draw(self) -> dict[tuple[str, str], np.ndarray]:
        """Return (teacher, source) -> the indices of its examples that are kept apart, sorted, int64.

        The groups are sorted by name, and those without such an example are left out.
        """
        tickets, groups = np.array(self._tickets, dtype=np.uint64), np.array(self._groups, dtype=np.int64)
        chosen = tickets < np.uint64(min(int(self._share * _LARGEST), _LARGEST - 1))
        spared = list[int]()
        for group in range(len(self._names)):
            own = tickets[groups == group]
            if len(np.unique(own)) >= ENOUGH and not chosen[groups == group].any():
                spared.append(int(own.min()))
        chosen |= np.isin(tickets, np.array(spared, dtype=np.uint64))
        members = {name: np.flatnonzero(chosen & (groups == group)) for name, group in sorted(self._names.items())}
        return {name: indices for name, indices in members.items() if len(indices)}


def write_groups(folder: Path, groups: list[Group]) -> None:
    """Write the groups of the rows that are kept apart."""
    text = json.dumps([group.model_dump() for group in groups], indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read_groups(folder: Path) -> list[Group]:
    """Return the groups of a tokenize artifact, in the order of their rows; [] if it keeps nothing apart."""
    path = folder / FILE
    return TypeAdapter(list[Group]).validate_json(path.read_bytes()) if path.is_file() else []
