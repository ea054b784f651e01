"""Writes the report of one spec: what every arm scored, whether that differs from the base, and what it took.

gather (artifacts -> typed numbers) -> render (numbers -> page, Markdown); both forms show the same numbers, and
`results.json` is those numbers for whoever wants to go on from them.
"""

from __future__ import annotations

from orcac.job import Job
from orcac.report.gather import gather
from orcac.report.recipe import ReportExecution, ReportRecipe, ReportSummary
from orcac.report.render import html, markdown
from orcac.report.results import to_json

__all__ = ["run"]


def run(job: Job[ReportRecipe, ReportExecution]) -> ReportSummary:
    results = gather(job)
    (job.out / "results.json").write_text(to_json(results), encoding="utf-8")
    (job.out / "report.html").write_text(html(results), encoding="utf-8")
    (job.out / "report.md").write_text(markdown(results), encoding="utf-8")
    return ReportSummary(
        arms=len(results.arms), benchmarks=len(results.benchmarks), all_at_chance=results.all_at_chance
    )
