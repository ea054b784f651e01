"""The parts of a plan and a store that an export names: a run of an arm, and the records of artifacts."""

from __future__ import annotations

from typing import TypeVar

from orcac.errors import InputError
from orcac.plan.plan import Plan
from orcac.report.recipe import Arm, ReportRecipe, Run
from orcac.store.store import Store
from orcac.summary import Summary

__all__ = ["find_arm", "find_run", "read_summary"]

S = TypeVar("S", bound=Summary)


def find_arm(plan: Plan, spec: str, name: str) -> Arm:
    """Return an arm by its name. `spec` is the spec's name in the plan."""
    recipe = plan.nodes[plan.experiments[spec].report].recipe
    assert isinstance(recipe, ReportRecipe)
    (arm,) = [arm for arm in recipe.arms if arm.name == name]
    return arm


def find_run(arm: Arm, number: int) -> Run:
    """Return a run of an arm by its number, from 1. Raises InputError if the arm has no such run."""
    if not 1 <= number <= len(arm.runs):
        runs = "1 run" if len(arm.runs) == 1 else f"runs 1 to {len(arm.runs)}"
        raise InputError(f"the arm `{arm.name}` has no run {number}", fix=f"it has {runs}")
    return arm.runs[number - 1]


def read_summary(store: Store, summary: type[S], ref: str) -> S | None:
    """Return the summary of an artifact; None if its record is gone, which does not prevent an export."""
    return summary.from_json(store.artifact(ref)["summary"], store.marker(ref)) if store.has_record(ref) else None
