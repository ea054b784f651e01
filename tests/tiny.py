"""The smallest student and dataset that can be trained, for the tests of all kinds after `filter`."""

from __future__ import annotations

import contextlib
import itertools
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jobs import make_job

from orcac import rows
from orcac.job import Job
from orcac.recipe import Execution, Recipe
from orcac.student.recipe import Scratch, StudentRecipe
from orcac.tokenize import rowfile
from orcac.tokenize.recipe import TokenizeExecution, TokenizeRecipe

if TYPE_CHECKING:
    from orcac.model.generation import LocalAnswer, Model

SHAPE = Scratch(vocabulary=300, hidden=16, layers=1, heads=2, kv_heads=1, intermediate=24, positions=64, init_std=0.2)


def response(number: int, **fields: object) -> rows.Response:
    values: dict[str, object] = {
        "id": str(number),
        "source": "sums",
        "task": "sums",
        "query": f"What is {number} and one?",
        "system_id": 1 + number % 2,
        "system": "Think first." if number % 2 else "",
        "teacher": "teacher",
        "response": f"It is {number + 1}.",
        "finish_reason": "stop",
    }
    return rows.Response(**(values | fields))  # type: ignore[arg-type]


def write_examples(folder: Path, examples: list[rows.Response]) -> Path:
    """Write the folder of a filter node that kept `examples`, and return it."""
    folder.mkdir(parents=True)
    rows.write(folder / "kept.parquet", rows.Response, examples)
    return folder


def job(root: Path, recipe: Recipe, inputs: dict[str, list[Path]], execution: Execution | None = None) -> Job:
    """Return a job that writes under `root`; as at a second try, `out` is new and `work` is kept."""
    tries = len(list(root.glob("out*")))
    return make_job(root, recipe, execution, inputs=inputs, out=f"out{tries}")


def answer_all(model: Model, prompts: Sequence[tuple[str, str]], **settings: Any) -> list[LocalAnswer]:
    """Return the answers of a model to (system, user) prompts, in their order."""
    answers = {number: answer for ended in model.answer(prompts, **settings) for number, answer in ended}
    return [answers[number] for number in range(len(prompts))]


def make_student(root: Path, examples: Path, *, shape: Scratch = SHAPE, seed: int = 0) -> Path:
    """Make a student from scratch, and return the folder of its node."""
    from orcac.student.run import run

    made = job(root, StudentRecipe(seed=seed, scratch=shape), {"texts": [examples]})
    run(made)
    return made.out


def make_rows(root: Path, examples: Path, student: Path, *, max_length: int = 64, packing: str = "best-fit") -> Path:
    """Tokenize and pack, and return the folder of the node."""
    from orcac.tokenize.run import run

    recipe = TokenizeRecipe(seed=0, max_length=max_length, packing=packing)  # type: ignore[arg-type]
    made = job(root, recipe, {"examples": [examples], "student": [student]}, TokenizeExecution())
    run(made)
    return made.out


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """Make the system refuse files of more than `size` bytes for a while, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_rows(
    path: Path, packed: Sequence[Sequence[tuple[Sequence[int], int]]], *, max_length: int, pad: int = 0
) -> rowfile.RowFile:
    """Write rows of examples, each its ids and the length of its prompt, and return the file."""
    examples = [example for row in packed for example in row]
    ends = np.cumsum([0, *map(len, packed)])
    rowfile.write(
        path,
        [range(start, end) for start, end in itertools.pairwise(ends.tolist())],
        ids=np.array([token for ids, _ in examples for token in ids], dtype=np.int64),
        lengths=np.array([len(ids) for ids, _ in examples], dtype=np.int64),
        prompt_lengths=np.array([prompt for _, prompt in examples], dtype=np.int64),
        pad=pad,
        max_length=max_length,
    )
    return rowfile.read(path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file of rows by name, each int32 (rows, max_length)."""
    return {name: np.stack([*array]) for name, array in rowfile.read(path)._asdict().items()}
