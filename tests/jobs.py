"""Builders of the jobs that tests run, so that a test states only the fields that matter to it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from unittest import mock

from orcac import rows
from orcac.chat.ask import ChatExecution
from orcac.chat.batch.tuning import Tuning
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.collect import asking
from orcac.collect import run as collect_run
from orcac.collect.recipe import CollectExecution, CollectRecipe, CollectSummary
from orcac.job import Job
from orcac.recipe import Execution, Recipe
from orcac.rows import Prompt, Response

R = TypeVar("R", bound=Recipe)
E = TypeVar("E", bound=Execution)
CollectJob = Job[CollectRecipe, CollectExecution]
IN_FLIGHT = 8  # requests that a job of `collect_job` has in flight at most


def make_job(
    root: Path,
    recipe: R,
    execution: E | None = None,
    *,
    inputs: Mapping[str, Sequence[Path]] | None = None,
    by_ref: Mapping[str, Path] | None = None,
    label: str = "test",
    out: str = "out",
) -> Job[R, E]:
    """Return a job that writes to the folder `out` of `root`; `out` and `work` are made if they are not there."""
    for name in (out, "work"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return Job(
        ref="kind/0",
        label=label,
        recipe=recipe,
        execution=execution or Execution(),
        inputs=inputs or {},
        by_ref=by_ref or {},
        out=root / out,
        work=root / "work",
        answers=(root / "answers").resolve(),  # several jobs may share one by a link
    )


def make_shard_job(node: Job[R, E], index: int) -> Job[R, E]:
    """Return the job of a shard of the node that `node` makes."""
    root = node.work.parent / "shards" / str(index)
    for name in ("out", "work"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return dataclasses.replace(node, out=root / "out", work=root / "work", whole_work=node.work, packages={})


def collect_job(root: Path, base_url: str, **settings: object) -> CollectJob:
    """Return a job that asks the server at `base_url` the prompts in `root/prompts`; `settings` are the endpoint's."""
    endpoint = EndpointSettings(kind="openai", base_url=base_url, concurrency=IN_FLIGHT).model_copy(update=settings)
    recipe = CollectRecipe(model="m", sampling=Sampling(), origin="api")
    inputs = {"prompts": [root / "prompts"]}
    return make_job(root, recipe, CollectExecution(endpoint=endpoint), inputs=inputs, label="child")


def run_collect(job: CollectJob, tuning: Tuning) -> CollectSummary:
    """Run a collect job with other waits and sizes of batches."""
    with mock.patch.object(asking, "ChatExecution", functools.partial(ChatExecution, tuning=tuning)):
        return collect_run.run(job)


def write_prompts(
    root: Path, count: int, *, first: int = 0, systems: Sequence[str] = ("",), tasks: Sequence[str] = ("t",)
) -> None:
    """Write `count` prompts to `root/prompts`, whose queries are q0, q1, ... from `first` on.

    They have the system messages and the tasks in turn; the number of a message is its position, from 1.
    """
    (root / "prompts").mkdir(parents=True)
    prompts = (
        Prompt(
            id=f"{n:020x}",
            source="s",
            task=tasks[n % len(tasks)],
            query=f"q{n}",
            system_id=1 + n % len(systems),
            system=systems[n % len(systems)],
        )
        for n in range(first, first + count)
    )
    rows.write(root / "prompts" / "prompts.parquet", Prompt, prompts)


def read_responses(root: Path) -> list[Response]:
    """Return the responses that the job of `root` wrote."""
    return list(rows.read(root / "out" / "responses.parquet", Response))
