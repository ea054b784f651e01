"""The variances of a benchmark's scores, measured on the finished replicates in the store.

They come from the study itself and from the reports in the store of the same student on the same items.
`cost.detectable` plans with them; no verdict uses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from orcac.errors import StoreError
from orcac.plan.plan import Plan
from orcac.report.recipe import Arm, Claim, Evaluation, ReportRecipe, map_benchmarks
from orcac.stats.averages import FEWEST_TASKS
from orcac.store.store import Store, read_record
from orcac.student.recipe import StudentRecipe

if TYPE_CHECKING:
    from orcac.stats.compare import Scores
    from orcac.stats.power import Estimate

__all__ = ["measure_variances"]


def measure_variances(plan: Plan, store: Store, recipe: ReportRecipe) -> dict[str, Estimate]:
    """Return benchmark -> the variances of finished replicates of a report's arms; without benchmarks that have none.

    The variances are those of the average that the report names for the benchmark. Replicates that redraw the data vary
    more than those that do not, so they are never pooled with these.
    """
    base = recipe.arms[0]
    if base.student is None:
        return {}
    student = plan.nodes[base.student].recipe
    assert isinstance(student, StudentRecipe)
    studies = [recipe, *_read_reports(store, student)]
    found = {}
    for benchmark, draws in map_benchmarks(base.draws).items():
        counted: set[str] = set()
        is_redrawn, items = len(draws) > 1, draws[0][0].items
        read = [_read_study(store, study, items, is_redrawn=is_redrawn, counted=counted) for study in studies]
        if replicated := [(arms, tasks) for arms, tasks in read if any(len(scores) > 1 for scores in arms)]:
            from orcac.stats.power import estimate

            tables, tasks = zip(*replicated, strict=True)
            average = recipe.claims.get(benchmark, Claim()).average
            if average == "clustered" and any(len(set(of_study)) < FEWEST_TASKS for of_study in tasks):
                average = "macro"
            if (variances := estimate(tables, tasks, average)) is not None:
                found[benchmark] = variances
    return found


def _read_reports(store: Store, student: StudentRecipe) -> Iterator[ReportRecipe]:
    """Yield the recipes of the reports in the store whose base starts from the same student, whatever its seed."""
    for path in sorted((store.root / "report").glob("*/artifact.json")):
        try:
            recipe = ReportRecipe.model_validate(_read_record(path))
            if recipe.arms[0].student is None:
                continue
            of_base = StudentRecipe.model_validate(_read_record(store.marker(recipe.arms[0].student)))
        except (StoreError, ValueError, KeyError, IndexError, ValidationError):
            continue  # an older orcac made it, or its student is gone
        if any(arm.replicates for arm in recipe.arms) and of_base.model_copy(update={"seed": student.seed}) == student:
            yield recipe


def _read_record(path: Path) -> Mapping[str, object]:
    recipe = read_record(path)["recipe"]
    assert isinstance(recipe, dict)
    return recipe


def _read_study(
    store: Store, recipe: ReportRecipe, items: str, *, is_redrawn: bool, counted: set[str]
) -> tuple[list[Scores], list[str]]:
    """Return (scores, tasks) of the arms whose replicates are finished, the base first.

    The scores of an arm are float (replicates, items), and `tasks` has the task of each item. Both are empty if the
    base has none. An item that failed in some run is left out of all. Evaluations in
    `counted` are skipped, and those returned are added to it.
    """
    arms = [_find_evaluations(arm, items) for arm in recipe.arms]
    done = [
        draws
        for draws in arms
        if draws
        and (len(draws) > 1) == is_redrawn
        and all(store.is_done(one.score) and one.score not in counted for runs in draws for one in runs)
    ]
    if not done or done[0] is not arms[0]:
        return [], []
    import numpy as np

    from orcac.report.runs import Row, drop_repeated, key_answers, read_score, tabulate
    from orcac.score.scores import read

    counted |= {one.score for draws in done for runs in draws for one in runs}
    rows = [
        drop_repeated(Row([[read(store.find_folder(one.score)) for one in runs] for runs in draws])) for draws in done
    ]
    keyed = key_answers(rows[0].runs[0].rows)
    tables = [tabulate(row, list(keyed), read_score) for row in rows]
    answered = np.all([np.isfinite(table).all(axis=0) for table in tables], axis=0)
    if answered.sum() < 2:
        return [], []
    tasks = [answer.task for answer, is_answered in zip(keyed.values(), answered, strict=True) if is_answered]
    return [table[:, answered] for table in tables], tasks


def _find_evaluations(arm: Arm, items: str) -> list[list[Evaluation]]:
    """Return the evaluations of an arm's runs on these items, by draw; [] if it has none."""
    for draws in map_benchmarks(arm.draws).values():
        if draws[0][0].items == items:
            return draws
    return []
