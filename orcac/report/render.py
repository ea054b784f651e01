"""`Results` as an HTML page and as Markdown, through the templates beside this file.

The page is one file: its styles (page.css) and its script (page.js) are in it, and it fetches nothing. A policy allows
that script alone, by its digest. The template has autoescape and makes control characters visible, since names, titles
and the responses of models are text of unknown origin; items are data within scripts (`browser`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orcac.report import judging, plots, wording
from orcac.report.results import Benchmark, Flow, HeldOut, Results, Score, TaskDifference
from orcac.stats.wording import points, points_interval
from orcac.text import by_reason, dollars

__all__ = ["Folder", "Unfinished", "list_rows", "render_html", "render_markdown"]

_HERE = Path(__file__).parent
_CLASSES = {
    "better": "good",
    "scores higher": "good",
    "worse": "bad",
    "scores lower": "bad",
    "equal": "even",
    "withheld": "warn",
}  # of a verdict; any other is plain
_SIGNS = {"good": "▲", "bad": "▼", "even": "=", "warn": "?", "plain": "○"}
_HEAT = 0.2  # the difference, a share, from which on a cell has its full colour
_PALE = 0.35  # the part of its colour that a cell has whose interval contains 0
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|!(?=\[)")  # a tag or an image in Markdown
_CONTROLS = {number: chr(0x2400 + number) for number in range(32) if chr(number) not in "\n\t"} | {0x7F: "␡"}
_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS |= {number: f"⟨{number:X}⟩" for number in (*range(0x80, 0xA0), *_DIRECTIONS)}
_FUNNELS = 20  # datasets whose funnels are shown

T = TypeVar("T")


class Unfinished(NamedTuple):
    """An arm that has no figures yet."""

    arm: str
    done: int  # nodes
    nodes: int


class Folder(NamedTuple):
    """The folder of a page whose items' texts are files."""

    texts: str  # the name of their folder
    version: str = ""  # of the page, which a server states in the file `version`; "" if nothing serves it
    done: int = 0  # nodes of the study
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class Forest:
    """The differences of one benchmark as strips on one scale, or its scores if nothing is compared."""

    axis: Markup
    strips: dict[str, Markup]  # row -> its strip
    is_compared: bool


@dataclass(frozen=True, slots=True)
class TaskForest:
    """The scale on which the page's script draws the differences of one row by task."""

    axis: Markup
    low: float
    high: float
    marked: int  # differences whose interval excludes 0
    cells: int  # differences


def list_rows(results: Results) -> list[str]:
    """Return the names of all rows by their numbers on the page, from 0: the arms, then the baselines."""
    scored = (score.arm for bench in results.benchmarks for score in bench.scores)
    return list(dict.fromkeys([*(arm.name for arm in results.arms), *scored]))


def render_html(
    results: Results, items: str = "", *, unfinished: Sequence[Unfinished] = (), folder: Folder | None = None
) -> str:
    """Return the page. items: the scripts with the items; in a folder, the index alone, since their texts are files."""
    rows = list_rows(results)
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    environment = _environment(autoescape=True)
    environment.finalize = _show_controls
    environment.filters["breakable"] = lambda name: Markup("_<wbr>").join(_show_controls(name).split("_"))
    return environment.get_template("page.html.jinja").render(
        results=results,
        rows={name: number for number, name in enumerate(rows)},
        colours=plots.COLOURS,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_sources=f"'sha256-{_digest(script)}'" + (" 'self' file:" if folder else ""),
        folder=folder,
        items=items,
        unfinished=unfinished,
        funnels=_list_funnels(results),
        leaks=[flow for flow in results.flows if flow.rejected.get("contamination")],
        at_chance=wording.AT_CHANCE,
        nothing_measured=wording.NOTHING_MEASURED,
        limits=wording.describe_limits(results),
        forests={bench.name: _draw_forest(bench) for bench in results.benchmarks},
        task_forests={bench.name: _fit_task_forest(bench) for bench in results.benchmarks},
        papers={bench.name: _list_models(bench) for bench in results.benchmarks},
        loss_plot=_draw_training(results, rows),
        held_out_plots=_draw_held_out(results.held_out),
    )


def _list_funnels(results: Results) -> list[Flow]:
    """Return the datasets whose funnels are shown."""
    return [flow for flow in results.flows if flow.funnels][:_FUNNELS]


def _show_controls(value: T) -> T | str:
    """Return a text with visible signs in place of its control characters; markup and other values as they are."""
    return value.translate(_CONTROLS) if isinstance(value, str) and not isinstance(value, Markup) else value


def _show_markup(value: T) -> T | str:
    """Return a text for a Markdown page with visible signs in place of its control characters, tags and images."""
    shown = _show_controls(value)
    return _MARKUP.sub(r"\\\g<0>", shown) if isinstance(shown, str) else shown


def _draw_training(results: Results, rows: Sequence[str]) -> str:
    lines = plots.list_lines(results.curves, rows)
    title = "Training loss of each arm by optimizer step"
    return plots.draw_losses(lines, title, "optimizer steps, all stages") if lines else ""


def _draw_held_out(held_out: Sequence[HeldOut]) -> list[tuple[str, list[HeldOut], Markup]]:
    """Return (title, groups, plot) for each stage that keeps examples apart, as different arms train it."""
    found: dict[str, list[HeldOut]] = {}
    for one in held_out:
        found.setdefault(f"{one.stage}, for {', '.join(one.arms)}", []).append(one)
    drawn = []
    for title, groups in found.items():
        lines = [
            plots.Line(number, str(number + 1), list(zip(one.steps, one.losses, strict=True)))
            for number, one in enumerate(groups)
        ]
        plot = plots.draw_losses(
            lines, f"Loss on examples kept apart: {_show_controls(title)}", "optimizer steps of the stage"
        )
        drawn.append((title, groups, plot))
    return drawn


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _list_models(bench: Benchmark) -> dict[str, dict[str, float]]:
    """Return the paper's models with their accuracy by task; an older report has one of them."""
    older = {"Orca-13B": bench.task_paper} if bench.task_paper else {}
    return bench.paper_tasks or older


def _draw_forest(bench: Benchmark) -> Forest:
    compared = [score for score in bench.scores if score.difference]
    if not compared:
        scale = plots.Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))
        lines = [
            *([bench.chance] if bench.has_right_answers else []),
            *([bench.paper["Orca-13B"]] if "Orca-13B" in bench.paper else []),
        ]
        strips = {score.arm: _draw_score(scale, score, lines) for score in bench.scores}
        return Forest(plots.draw_axis(scale, [f"{100 * tick:g}" for tick in scale.ticks]), strips, False)
    students = [score for score in compared if not score.is_baseline] or compared
    ends = [end for score in students if score.difference for end in score.difference.interval]
    margins = [0.0] if bench.margin is None else [-bench.margin, 0.0, bench.margin]
    scale = plots.fit_scale([*ends, *margins])
    strips = {}
    for score in compared:
        assert score.difference is not None
        found = score.difference
        strips[score.arm] = plots.draw_strip(
            scale,
            found.interval,
            found.points,
            filled=found.verdict not in ("no difference shown", "exploratory", "withheld"),
            lines=margins,
            title=f"{points(found.points)} points, 95 % {points_interval(found.interval)}",
        )
    return Forest(_draw_points_axis(scale), strips, True)


def _fit_task_forest(bench: Benchmark) -> TaskForest | None:
    """Return the scale of the differences by task; None if the benchmark has one task, or nothing is compared."""
    by_score = [(score, [task.difference for task in score.tasks if task.difference]) for score in bench.scores]
    found = [difference for _, of_score in by_score for difference in of_score]
    if len(bench.task_chance) < 2 or not found:
        return None
    of_students = [difference for score, of_score in by_score if not score.is_baseline for difference in of_score]
    scale = plots.fit_scale([0.0, *(end for difference in of_students or found for end in difference.interval)])
    marked = sum(difference.is_beyond for difference in found)
    return TaskForest(_draw_points_axis(scale), scale.low, scale.high, marked, len(found))


def _draw_points_axis(scale: plots.Scale) -> Markup:
    labels = ["0" if tick == 0 else f"{100 * tick:+g}".replace("-", "−") for tick in scale.ticks]
    return plots.draw_axis(scale, labels)


def _draw_score(scale: plots.Scale, score: Score, lines: Sequence[float]) -> Markup:
    title = f"{wording.percent(score.mean)} %, 95 % {wording.interval(score.interval)}"
    return plots.draw_strip(scale, score.interval, score.mean, filled=True, lines=lines, title=title)


def _name_class(verdict: str) -> str:
    return _CLASSES.get(verdict, "plain")


def _shade(difference: TaskDifference | None) -> str:
    """Return the style of a heat map's cell: blue if better than the base, orange if worse, by the difference.

    The colour is pale if the interval of the difference contains 0.
    """
    if difference is None or not difference.points:
        return ""
    share = min(abs(difference.points) / _HEAT, 1.0) * (1.0 if difference.is_beyond else _PALE)
    colour = "up" if difference.points > 0 else "down"
    return f"background: color-mix(in srgb, var(--{colour}) {100 * share:.0f}%, transparent)"


def render_markdown(results: Results) -> str:
    """Return the report as Markdown."""
    environment = _environment(autoescape=False)
    environment.finalize = _show_markup
    return environment.get_template("page.md.jinja").render(
        results=results,
        findings=wording.describe_findings(results),
        funnels=_list_funnels(results),
        at_chance=wording.AT_CHANCE,
        nothing_measured=wording.NOTHING_MEASURED,
        limits=wording.describe_limits(results),
        judged_header=judging.HEADER,
    )


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in ("interval", "p_value", "percent", "points", "points_interval"):
        environment.filters[name] = getattr(wording, name)
    environment.filters["list_judged"] = judging.list_judged
    environment.filters["list_pairs"] = judging.list_pairs
    environment.filters["describe_adjusted"] = wording.describe_adjusted
    for name in ("answers", "claim", "items", "protocol", "runs", "verdicts"):
        environment.filters[f"describe_{name}"] = getattr(wording, f"describe_{name}")
    environment.filters["describe_primary"] = wording.describe_primary
    environment.filters["describe_scopes"] = wording.describe_scopes
    environment.filters["headline"] = wording.describe_headline
    environment.filters["name_verdict"] = wording.name_verdict
    environment.filters["verdict_class"] = _name_class
    environment.filters["verdict_sign"] = lambda verdict: _SIGNS[_name_class(verdict)]
    environment.filters["shade"] = _shade
    environment.filters |= {"count": "{:,}".format, "dollars": dollars, "by_reason": by_reason}
    environment.filters["cell"] = lambda text: " ".join(str(text).replace("|", "\\|").split())
    return environment
