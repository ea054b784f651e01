"""The making of a report: the score of every arm, its difference to the base, and the cost of both.

gather (artifacts -> typed numbers) -> render (numbers -> page, Markdown). Both forms show the same numbers, and
`results.json` has them for other programs.
"""

from __future__ import annotations

from orcac.job import Job
from orcac.report.gather import gather
from orcac.report.recipe import ReportExecution, ReportRecipe, ReportSummary
from orcac.report.render import render_html, render_markdown
from orcac.report.results import to_json

__all__ = ["run"]


def run(job: Job[ReportRecipe, ReportExecution]) -> ReportSummary:
    """Write `report.html`, `report.md` and `results.json`."""
    results = gather(job)
    (job.out / "results.json").write_text(to_json(results), encoding="utf-8")
    (job.out / "report.html").write_text(render_html(results), encoding="utf-8")
    (job.out / "report.md").write_text(render_markdown(results), encoding="utf-8")
    return ReportSummary(
        arms=len(results.arms), benchmarks=len(results.benchmarks), all_at_chance=results.all_at_chance
    )
