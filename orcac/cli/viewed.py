"""The content of `orcac view`: the figures that are there, and every item and row behind them.

An unfinished study is shown as far as it goes: the arms whose nodes are all made, once the base is one of them, and the
rows of every dataset. While a teacher is asked, its answers come from the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from orcac.collect.recipe import CollectRecipe
from orcac.job import Job
from orcac.plan.node import Node
from orcac.plan.plan import Experiment, Plan
from orcac.report.gather import gather
from orcac.report.items import Collection, collect_rows, read_dataset, read_items
from orcac.report.recipe import Arm, Baseline, Dataset, ReportExecution, ReportRecipe
from orcac.report.render import Unfinished
from orcac.report.results import Results, read_json
from orcac.store.store import Store

if TYPE_CHECKING:
    from orcac.chat.messages import ChatResponse


@dataclass(frozen=True, slots=True)
class Viewed:
    """Everything that a view shows."""

    results: Results
    collections: Sequence[Collection]
    unfinished: Sequence[Unfinished]


def gather_view(plan: Plan, store: Store, experiment: Experiment, most: int) -> Viewed:
    """Return the figures and the items of an experiment. most: rows of a dataset, of the kept and of the dropped."""
    refs = plan.closure([*experiment.targets, *(ref for refs in experiment.arms.values() for ref in refs)])
    folders = {ref: store.find_folder(ref) for ref in refs if store.is_done(ref)}
    datasets = [_read_plan(plan.nodes[ref], plan) for ref in refs if plan.nodes[ref].kind == "filter"]
    execution, recipe = ReportExecution(title=experiment.name), None
    if experiment.report:
        node = plan.nodes[experiment.report]
        assert isinstance(node.recipe, ReportRecipe) and isinstance(node.execution, ReportExecution)
        execution, recipe = node.execution, _keep_finished(node.recipe, folders, experiment)
    if experiment.report in folders:
        results = read_json(folders[experiment.report] / "results.json")
        unfinished = []
    else:
        unfinished = _list_unfinished(folders, experiment) if experiment.report else []
        alone = Arm(
            name=experiment.name,
            student=None,
            datasets=tuple(one for one in datasets if {*one.prompts, one.collect, one.filter} <= folders.keys()),
            stages=(),
            evaluations=(),
        )
        results = _gather(recipe or ReportRecipe(arms=(alone,)), execution, folders, store)
    collections = read_items(folders, recipe, execution.model, results) if recipe else []
    collections += [found for one in datasets if (found := _read_rows(plan, store, folders, one, most))]
    return Viewed(results, collections, unfinished)


def _gather(recipe: ReportRecipe, execution: ReportExecution, folders: dict[str, Path], store: Store) -> Results:
    job = Job(
        ref="report/view",
        label="view",
        recipe=recipe,
        execution=execution,
        inputs={},
        by_ref=folders,
        out=store.root,  # neither is written: only the figures are read
        work=store.root,
        answers=store.answers,
    )
    return gather(job)


def _read_plan(node: Node, plan: Plan) -> Dataset:
    """Return the dataset that a filter node makes."""
    (collect,) = node.inputs["responses"]
    recipe = plan.nodes[collect].recipe
    assert isinstance(recipe, CollectRecipe)
    prompts = plan.nodes[collect].inputs["prompts"]
    return Dataset(name=node.label, prompts=prompts, collect=collect, filter=node.ref, teacher=recipe.model)


def _keep_finished(recipe: ReportRecipe, folders: dict[str, Path], experiment: Experiment) -> ReportRecipe | None:
    """Return the recipe of a report over the finished arms and baselines; None if the base is not finished."""
    finished = [arm for arm in recipe.arms if all(ref in folders for ref in experiment.arms[arm.name])]
    if not finished or finished[0] is not recipe.arms[0]:
        return None

    def is_finished(baseline: Baseline) -> bool:
        return all(
            ref in folders for one in baseline.evaluations for ref in (one.items, one.answers, *one.samples, one.score)
        )

    baselines = tuple(baseline for baseline in recipe.baselines if is_finished(baseline))
    return recipe.model_copy(update={"arms": tuple(finished), "baselines": baselines})


def _list_unfinished(folders: dict[str, Path], experiment: Experiment) -> list[Unfinished]:
    counted = {arm: (sum(ref in folders for ref in refs), len(refs)) for arm, refs in experiment.arms.items()}
    return [Unfinished(arm, done, nodes) for arm, (done, nodes) in counted.items() if done < nodes]


def _read_rows(plan: Plan, store: Store, folders: dict[str, Path], dataset: Dataset, most: int) -> Collection | None:
    """Return the rows of a dataset as far as it is made; None if its questions are not drawn yet."""
    if dataset.filter in folders:
        return read_dataset(folders, dataset, dataset.name, most)
    if not all(ref in folders for ref in dataset.prompts):
        return None
    tables, total = _read_answers(plan.nodes[dataset.collect], store, [folders[ref] for ref in dataset.prompts], most)
    note = "The teacher is being asked, or was stopped; no filter has read the answers."
    return collect_rows(tables, name=dataset.name, teacher=dataset.teacher, total=total, note=note)


def _read_answers(node: Node, store: Store, folders: Sequence[Path], most: int) -> tuple[list[pa.Table], int]:
    """Return the first questions of a collect node with the answers that the ledger has, and the number of all."""
    from orcac.chat.ledger.ledger import Ledger
    from orcac.chat.questions import Questions
    from orcac.collect.prompts import Prompts

    recipe = node.recipe
    assert isinstance(recipe, CollectRecipe)
    prompts = Prompts(folders)
    questions = Questions(recipe.template, prompts.texts, system_role=recipe.system_role, samples=recipe.samples)
    keys, places, _ = questions.keys
    found: dict[int, ChatResponse] = {}
    if store.answers.is_dir() and len(keys) and recipe.origin in ("api", "solver", "local"):
        ledger = Ledger(store.answers, keys)
        try:
            numbers = ledger.find(keys, questions.max_tokens)
            wanted = [place for place in dict.fromkeys(places[:most].tolist()) if numbers[place] >= 0]
            if wanted:
                responses = ledger.responses(numbers[wanted])
                found = {wanted[position]: response for position, response in responses}
        finally:
            ledger.close()
    columns: dict[str, list[str]] = {name: [] for name in ("response", "reasoning", "refusal", "reason")}
    tables, at = [], 0
    for batch in prompts.tables(recipe.samples):
        batch = batch.slice(0, max(0, most - at))
        if not batch.num_rows:
            break
        for values in columns.values():
            values.clear()
        for place in places[at : at + batch.num_rows].tolist():
            response = found.get(place)
            columns["response"].append(response.text if response else "")
            columns["reasoning"].append(response.reasoning if response else "")
            columns["refusal"].append(response.refusal if response else "")
            columns["reason"].append(response.error or "answered" if response else "waiting")
        at += batch.num_rows
        table = pa.Table.from_batches([batch.select(["task", "system", "query", "reference"])])
        for name, values in columns.items():
            table = table.append_column(name, pa.array(values, pa.string()))
        tables.append(table)
    return tables, len(prompts) * recipe.samples


__all__ = ["Viewed", "gather_view"]
