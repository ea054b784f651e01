"""The making of a report: the score of every arm, its difference to the base, and the cost of both.

gather (artifacts -> typed numbers) -> render (numbers -> page, Markdown). Both forms show the same numbers, and
`results.json` has them for other programs. The page also has the items with their answers, as many as fit.
"""

from __future__ import annotations

from markupsafe import Markup

from orcac.job import Job
from orcac.report.browser import inline_scripts
from orcac.report.gather import gather
from orcac.report.items import read_items
from orcac.report.recipe import ReportExecution, ReportRecipe, ReportSummary
from orcac.report.render import list_rows, render_html, render_markdown
from orcac.report.results import to_json

__all__ = ["run"]


def run(job: Job[ReportRecipe, ReportExecution]) -> ReportSummary:
    """Write `report.html`, `report.md` and `results.json`."""
    results = gather(job)
    (job.out / "results.json").write_text(to_json(results), encoding="utf-8")
    items = read_items(job.by_ref, job.recipe, job.execution.model, results)
    page = render_html(results, inline_scripts(items, list_rows(results)) if items else Markup())
    (job.out / "report.html").write_text(page, encoding="utf-8", errors="replace")
    (job.out / "report.md").write_text(render_markdown(results), encoding="utf-8")
    return ReportSummary(
        arms=len(results.arms), benchmarks=len(results.benchmarks), all_at_chance=results.all_at_chance
    )
