"""`Results` as a page and as Markdown. The words and the layout stand in the templates beside this file.

The page is one file: styles and pictures are in it, it runs no script and fetches nothing. It is rendered with
autoescape, since what models say is text of unknown origin; the pictures alone, which are ours, go in as markup.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orcac.report import plots, wording
from orcac.report.results import Results
from orcac.text import dollars

__all__ = ["html", "markdown"]


def html(results: Results) -> str:
    scored = (score.arm for bench in results.benchmarks for score in bench.scores)
    arms = list(dict.fromkeys([*(arm.name for arm in results.arms), *scored]))  # the baselines after the arms
    return (
        _environment(autoescape=True)
        .get_template("page.html.jinja")
        .render(
            results=results,
            findings=wording.findings(results),
            at_chance=wording.AT_CHANCE,
            nothing_measured=wording.NOTHING_MEASURED,
            colours={arm: index % plots.ARM_COLOURS for index, arm in enumerate(arms)},
            score_plots={bench.name: Markup(plots.scores(bench, arms)) for bench in results.benchmarks},
            loss_plot=Markup(plots.losses(results.curves, arms)) if results.curves else "",
        )
    )


def markdown(results: Results) -> str:
    return (
        _environment(autoescape=False)
        .get_template("page.md.jinja")
        .render(
            results=results,
            findings=wording.findings(results),
            at_chance=wording.AT_CHANCE,
            nothing_measured=wording.NOTHING_MEASURED,
        )
    )


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in ("interval", "p_value", "percent", "points", "points_interval", "reasons"):
        environment.filters[name] = getattr(wording, name)
    environment.filters |= {"count": "{:,}".format, "dollars": dollars}
    environment.filters["cell"] = lambda text: " ".join(str(text).replace("|", "\\|").split())
    return environment
