"""The differences that a planned study could show, for the commands that print them beside prices."""

from __future__ import annotations

import functools

import click

from orcac.cost.detectable import PlannedComparison, list_comparisons
from orcac.cost.flow import Flow
from orcac.extras import fix_of, is_installed
from orcac.plan.plan import Experiment

__all__ = ["plan_comparisons"]


def plan_comparisons(flow: Flow, experiment: Experiment) -> list[PlannedComparison]:
    """Return the comparisons of an experiment's report; [], and a note on the terminal, without the extra `measure`."""
    if is_installed("measure"):
        return list_comparisons(flow, experiment)
    _warn_unmeasurable()
    return []


@functools.cache
def _warn_unmeasurable() -> None:
    click.echo(f"the differences that arms could show are left out: they need scipy; {fix_of('measure')}", err=True)
