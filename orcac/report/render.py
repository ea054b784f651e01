"""`Results` as an HTML page and as Markdown, through the templates beside this file.

The page is one file: it contains its styles and pictures, runs no script and fetches nothing. It is rendered with
autoescape, since the responses of models are text of unknown origin. Only the pictures, which we draw, are inserted as
markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orcac.report import judging, plots, wording
from orcac.report.results import HeldOut, Results
from orcac.text import by_reason, dollars

__all__ = ["render_html", "render_markdown"]


def render_html(results: Results) -> str:
    """Return the page."""
    scored = (score.arm for bench in results.benchmarks for score in bench.scores)
    arms = list(dict.fromkeys([*(arm.name for arm in results.arms), *scored]))  # the baselines after the arms
    return (
        _environment(autoescape=True)
        .get_template("page.html.jinja")
        .render(
            results=results,
            findings=wording.describe_findings(results),
            at_chance=wording.AT_CHANCE,
            nothing_measured=wording.NOTHING_MEASURED,
            limits=wording.describe_limits(results),
            judged_header=judging.HEADER,
            colours={arm: index % plots.ARM_COLOURS for index, arm in enumerate(arms)},
            score_plots={bench.name: Markup(plots.draw_scores(bench, arms)) for bench in results.benchmarks},
            held_out_plots=[
                {"title": title, "svg": Markup(plots.draw_held_out(groups, title))}
                for title, groups in _plots_of(results.held_out).items()
            ],
            loss_plot=Markup(plots.draw_losses(results.curves, arms)) if results.curves else "",
        )
    )


def render_markdown(results: Results) -> str:
    """Return the report as Markdown."""
    return (
        _environment(autoescape=False)
        .get_template("page.md.jinja")
        .render(
            results=results,
            findings=wording.describe_findings(results),
            at_chance=wording.AT_CHANCE,
            nothing_measured=wording.NOTHING_MEASURED,
            limits=wording.describe_limits(results),
            judged_header=judging.HEADER,
        )
    )


def _plots_of(held_out: Sequence[HeldOut]) -> dict[str, list[HeldOut]]:
    """Return title -> the groups of examples of one stage, as different arms train it."""
    found: dict[str, list[HeldOut]] = {}
    for one in held_out:
        found.setdefault(f"{one.stage}, for {', '.join(one.arms)}", []).append(one)
    return found


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in ("interval", "p_value", "percent", "points", "points_interval"):
        environment.filters[name] = getattr(wording, name)
    environment.filters["list_judged"] = judging.list_judged
    for name in ("answers", "claim", "items", "protocol", "runs", "verdicts"):
        environment.filters[f"describe_{name}"] = getattr(wording, f"describe_{name}")
    environment.filters["name_verdict"] = wording.name_verdict
    environment.filters |= {"count": "{:,}".format, "dollars": dollars, "by_reason": by_reason}
    environment.filters["cell"] = lambda text: " ".join(str(text).replace("|", "\\|").split())
    return environment
