"""The tables of a spec that only collects answers, which are its result in place of a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orcac.collect.recipe import CollectSummary
from orcac.errors import OrcacError
from orcac.filter.recipe import FilterSummary
from orcac.plan.plan import Experiment, Plan
from orcac.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """One dataset under the filters of one arm or of several."""

    label: str
    prompts: int  # the questions that were asked
    rows: int  # answers in `responses`
    responses: str  # path
    examples_rows: int  # answers in `examples`
    examples: str  # path of the answers that passed the filters


def list_tables(plan: Plan, store: Store, experiment: Experiment) -> list[Collected]:
    """Return the tables of an experiment, in the order of the plan. Raises OrcacError if one is not made yet."""
    return list(_iterate_tables(plan, store, experiment))


def _iterate_tables(plan: Plan, store: Store, experiment: Experiment) -> Iterator[Collected]:
    for ref in experiment.targets:
        node = plan.nodes[ref]
        if node.kind != "filter":
            continue
        (responses,) = node.inputs["responses"]
        for needed in (responses, ref):
            if not store.is_done(needed):
                raise OrcacError(
                    f"{needed}: the answers are not collected yet",
                    fix="collect them with `orcac run`; `orcac status` shows its progress",
                )
        asked = CollectSummary.from_json(store.artifact(responses)["summary"], store.marker(responses))
        kept = FilterSummary.from_json(store.artifact(ref)["summary"], store.marker(ref))
        arms = [arm for arm, refs in experiment.arms.items() if ref in refs]
        is_shared = len(arms) == len(experiment.arms)
        yield Collected(
            label=node.label if is_shared else f"{node.label} ({', '.join(arms)})",
            prompts=asked.prompts,
            rows=asked.answered,
            responses=str(store.find_folder(responses) / "responses.parquet"),
            examples_rows=kept.kept,
            examples=str(store.find_folder(ref) / "kept.parquet"),
        )
