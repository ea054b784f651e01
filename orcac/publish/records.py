"""The parts of a plan and a store that an export names: a run of an arm, and the records of artifacts."""

from __future__ import annotations

from typing import TypeVar

from orcac.errors import InputError
from orcac.plan.plan import Plan
from orcac.plan.replicates import draw_mark
from orcac.report.recipe import Arm, Dataset, ReportRecipe, Run
from orcac.spec.schema import Spec
from orcac.store.store import Store
from orcac.summary import Summary

__all__ = ["find_arm", "find_run", "list_datasets", "read_summary"]

S = TypeVar("S", bound=Summary)


def find_arm(plan: Plan, spec: str, name: str) -> Arm:
    """Return an arm by its name. `spec` is the spec's name in the plan. Raises InputError if it trains no student."""
    if not (report := plan.experiments[spec].report):
        raise InputError(f"{spec}: the spec trains no student", fix="add `student` and `stages`")
    recipe = plan.nodes[report].recipe
    assert isinstance(recipe, ReportRecipe)
    (arm,) = [arm for arm in recipe.arms if arm.name == name]
    return arm


def find_run(arm: Arm, number: int) -> Run:
    """Return a run of an arm by its number, from 1. Raises InputError if the arm has no such run."""
    _check_number(number, arm.name, len(arm.runs))
    return arm.runs[number - 1]


def _check_number(number: int, arm: str, count: int) -> None:
    if not 1 <= number <= count:
        runs = "1 run" if count == 1 else f"runs 1 to {count}"
        raise InputError(f"the arm `{arm}` has no run {number}", fix=f"it has {runs}")


def list_datasets(plan: Plan, spec: Spec, arm: str, run: int) -> tuple[Dataset, ...]:
    """Return the datasets of a run of an arm, whose spec is `spec`. Raises InputError if the arm has no such run.

    A run of a spec that only collects is a draw of its data.
    """
    if plan.experiments[spec.name].report:
        return find_run(find_arm(plan, spec.name, arm), run).datasets
    _check_number(run, arm, spec.replicates.data)
    made, mark = plan.experiments[spec.name].addresses[arm], draw_mark(run - 1)
    return tuple(
        Dataset(
            name=name,
            prompts=plan.nodes[made[f"collect/{name}{mark}"]].inputs["prompts"],
            collect=made[f"collect/{name}{mark}"],
            filter=made[f"filter/{name}{mark}"],
            teacher=dataset.teacher,
        )
        for name, dataset in spec.datasets.items()
    )


def read_summary(store: Store, summary: type[S], ref: str) -> S | None:
    """Return the summary of an artifact; None if its record is gone, which does not prevent an export."""
    return summary.from_json(store.artifact(ref)["summary"], store.marker(ref)) if store.has_record(ref) else None
