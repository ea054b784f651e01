"""The report's pictures as inline SVG: scores with their intervals, and training loss.

matplotlib draws them in placeholder colours, which are then replaced by CSS variables, so that the page alone decides
the colours, light or dark. Text stays text and takes the page's font. The same numbers give the same bytes: the style
is matplotlib's default and not the user's, ids come from a fixed salt, and no date is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orcac.report.results import Benchmark, Curve, HeldOut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ARM_COLOURS", "draw_held_out", "draw_losses", "draw_scores"]

ARM_COLOURS = 8  # the page defines --arm-0 to --arm-7; further arms reuse them from the first on
TEXT, MUTED, LINE = "#010101", "#020202", "#030303"
_VARIABLES = {TEXT: "currentColor", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    f"#0a0a{index:02x}": f"var(--arm-{index})" for index in range(ARM_COLOURS)
}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "orcac",
    "font.size": 10,
    "text.color": TEXT,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": TEXT,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
}


def arm_colour(index: int) -> str:
    """Return the placeholder for the colour of the arm at this index."""
    return f"#0a0a{index % ARM_COLOURS:02x}"


def draw_scores(bench: Benchmark, arms: Sequence[str]) -> str:
    """Return an SVG with a dot and a 95 % interval per arm, and a tick per run if it has several.

    Guessing, the constant answer and the paper are lines.
    """
    height = 0.85 + 0.34 * len(bench.scores)
    with _figure(7.2, height) as (figure, axes):
        for place, score in enumerate(bench.scores):
            low, high = (100 * end for end in score.interval)
            here = arm_colour(arms.index(score.arm))
            axes.plot([low, high], [place, place], color=here, linewidth=2.2, solid_capstyle="round")
            if score.mean is not None:
                axes.plot([100 * score.mean], [place], "o", color=here, markersize=7)
            if len(score.runs) > 1:
                runs = [100 * mean for mean in score.runs if mean is not None]
                axes.plot(runs, [place] * len(runs), "|", color=here, markersize=12, markeredgewidth=1.2)
        if any(len(score.runs) > 1 for score in bench.scores):
            axes.plot([], [], "|", color=MUTED, markersize=12, markeredgewidth=1.2, label="one run")
        marks = [("guessing", bench.chance, "--"), ("constant answer", bench.constant, ":")]
        marks = [] if bench.is_judged else marks
        if "Orca-13B" in bench.paper:
            marks.append(("Orca-13B, paper", bench.paper["Orca-13B"], "-."))
        for name, share, style in marks:
            axes.axvline(100 * share, color=MUTED, linewidth=1.2, linestyle=style, zorder=0, label=name)
        axes.set_yticks(range(len(bench.scores)), [score.arm for score in bench.scores])
        axes.set_ylim(len(bench.scores) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("score, %" if bench.is_judged else "correct, %")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=len(marks) + 1, frameon=False, fontsize=9, labelcolor=MUTED)
        return _svg(figure, f"Score of each arm on {bench.name} with 95 % intervals")


def draw_losses(curves: Sequence[Curve], arms: Sequence[str]) -> str:
    """Return an SVG with a line per arm over all its stages; a ring marks the first step of each later stage."""
    with _figure(7.2, 3.4) as (figure, axes):
        for index, arm in enumerate(arms):
            chain = [curve for curve in curves if curve.arm == arm and curve.steps]
            steps = [step for curve in chain for step in curve.steps]
            values = [loss for curve in chain for loss in curve.losses]
            axes.plot(steps, values, color=arm_colour(index), linewidth=1.6)
            for curve in chain[1:]:
                axes.plot(
                    curve.steps[:1], curve.losses[:1], "o", color=arm_colour(index), fillstyle="none", markersize=6
                )
        axes.set_xlabel("optimizer steps, all stages")
        axes.set_ylabel("training loss")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelcolor=MUTED)
        axes.grid(axis="y")
        return _svg(figure, "Training loss of each arm by optimizer step")


def draw_held_out(groups: Sequence[HeldOut], title: str) -> str:
    """Return an SVG with a line for each group of examples that a stage keeps apart."""
    with _figure(7.2, 2.8) as (figure, axes):
        for index, one in enumerate(groups):
            colour, name = arm_colour(index), f"{one.teacher}, {one.source}"
            axes.plot(one.steps, one.losses, color=colour, linewidth=1.6, marker="o", markersize=4, label=name)
        axes.set_xlabel("optimizer steps of the stage")
        axes.set_ylabel("loss")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelcolor=MUTED)
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9, labelcolor=MUTED)
        return _svg(figure, f"Loss on examples kept apart: {title}")


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Yield a new figure of this size in inches, and its axes, without any effect on matplotlib's global state."""
    import matplotlib as mpl  # slow to import, and the terminal's table does not need it
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


def _svg(figure: Figure, title: str) -> str:
    """Return the <svg> element alone, with the page's colours and `title` as its name for screen readers."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # no link needs the ids, which would repeat on a page
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    title = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
