"""The table of kinds. A kind is a package of the same name: `recipe.py` describes its results, `run.py` makes them.

This module imports only the recipes, which are light. `run.py` may need torch, and is imported when a node is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orcac.collect import recipe as collect
from orcac.eval import recipe as eval_
from orcac.filter import recipe as filter_
from orcac.rate import recipe as rate
from orcac.recipe import Execution, Recipe
from orcac.report import recipe as report
from orcac.sample import recipe as sample
from orcac.score import recipe as score
from orcac.student import recipe as student
from orcac.summary import ShardSummary, Summary
from orcac.tokenize import recipe as tokenize
from orcac.train import recipe as train

if TYPE_CHECKING:
    from orcac.job import Job


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of node. `version` enters the ids, so a higher one remakes every artifact of the kind."""

    name: str
    version: int
    recipe: type[Recipe]
    execution: type[Execution]

    def load_run(self) -> Callable[[Job[Recipe, Execution]], Summary]:
        """Import the kind's `run.py` and return its `run`, whose job must have this kind's recipe and execution."""
        run: Callable[[Job[Recipe, Execution]], Summary] = importlib.import_module(f"orcac.{self.name}.run").run
        return run

    def load_run_shard(self) -> Callable[[Job[Recipe, Execution], int, int], ShardSummary] | None:
        """Import the kind's `run.py` and return its `run_shard` (job, index, count); None if it has no shards."""
        if "shards" not in self.execution.model_fields:
            return None
        run: Callable[[Job[Recipe, Execution], int, int], ShardSummary]
        run = importlib.import_module(f"orcac.{self.name}.run").run_shard
        return run


KINDS = {
    kind.name: kind
    for kind in (
        Kind("sample", sample.VERSION, sample.SampleRecipe, sample.SampleExecution),
        Kind("collect", collect.VERSION, collect.CollectRecipe, collect.CollectExecution),
        Kind("filter", filter_.VERSION, filter_.FilterRecipe, filter_.FilterExecution),
        Kind("rate", rate.VERSION, rate.RateRecipe, rate.RateExecution),
        Kind("student", student.VERSION, student.StudentRecipe, student.StudentExecution),
        Kind("tokenize", tokenize.VERSION, tokenize.TokenizeRecipe, tokenize.TokenizeExecution),
        Kind("train", train.VERSION, train.TrainRecipe, train.TrainExecution),
        Kind("eval", eval_.VERSION, eval_.EvalRecipe, eval_.EvalExecution),
        Kind("score", score.VERSION, score.ScoreRecipe, score.ScoreExecution),
        Kind("report", report.VERSION, report.ReportRecipe, report.ReportExecution),
    )
}
