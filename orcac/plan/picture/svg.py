"""The style of a picture of a plan and the marks of states, each of which differs in shape as well as in colour."""

from __future__ import annotations

from orcac.svg import FONT, define_colours

STATES = ("done", "making", "failed", "partial", "to do")

_COLOURS = (  # selector, property, light, dark
    (".page", "fill", "#ffffff", "#0d1117"),
    (".page", "stroke", "#d1d9e0", "#30363d"),
    ("text", "fill", "#1f2328", "#e6edf3"),
    (".muted", "fill", "#59636e", "#9198a1"),
    (".edge", "stroke", "#b3bcc7", "#4d5663"),
    (".trunk", "stroke", "#9787e0", "#7566c4"),
    (".all", "fill", "#e8e3fc", "#2d2556"),
    (".some", "fill", "#f7f5ff", "#1a1730"),
    (".one", "fill", "#ffffff", "#161b22"),
    (".all,.some", "stroke", "#6e56cf", "#9e8cfc"),
    (".one", "stroke", "#aab4bf", "#566070"),
    (".hole", "fill", "#ffffff", "#0d1117"),
    (".glyph", "stroke", "#ffffff", "#0d1117"),
    (".glyph.solid", "fill", "#ffffff", "#0d1117"),
    (".done", "fill", "#1a7f37", "#3fb950"),
    (".making", "fill", "#0969da", "#4493f8"),
    (".failed", "fill", "#cf222e", "#f85149"),
    (".partial", "fill", "#b35900", "#e0a030"),
    (".to-do", "fill", "#818b98", "#7d8590"),
)
_STYLE = """
text{font:11.5px FONT}
.title{font-size:19px;font-weight:600}.name{font-size:13.5px;font-weight:600}.note{font-size:12.5px}
.id{font:10.5px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.end{text-anchor:end}.edge,.trunk{fill:none;stroke-width:1.4}.trunk{stroke-width:1.8}
.all{stroke-width:2}.some{stroke-width:1.6;stroke-dasharray:5 3}.one{stroke-width:1.2}
.glyph{fill:none;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}.glyph.solid{stroke-width:1}
""".replace("FONT", FONT)
_MARKS = {
    "done": '<circle class="done" r="6.5"/><path class="glyph" d="M-3 .3l2 2 3.8-4.2"/>',
    "making": '<circle class="making" r="6.5"/><path class="glyph solid" d="M-1.7-2.8v5.6L3 0z"/>',
    "failed": '<circle class="failed" r="6.5"/><path class="glyph" d="M-2.4-2.4l4.8 4.8m0-4.8l-4.8 4.8"/>',
    "partial": '<circle class="partial" r="6.5"/><path class="hole" d="M0-4.7a4.7 4.7 0 0 1 0 9.4z"/>',
    "to do": '<circle class="to-do" r="6.5"/><circle class="hole" r="4.7"/>',
}


def draw_mark(state: str, x: str, y: str) -> str:
    """Return the mark of a state at a place; `define_marks` must be in the same SVG."""
    return f'<use href="#{_slug(state)}" x="{x}" y="{y}"/>'


def define_marks() -> list[str]:
    """Return the definitions of the marks, each on a disc in the page's colour that sets it off from a border."""
    return [f'<g id="{_slug(state)}"><circle class="hole" r="8"/>{mark}</g>' for state, mark in _MARKS.items()]


def define_style() -> str:
    """Return the style sheet, with the colours for a light and a dark page."""
    return f"<style>{_STYLE}{define_colours(_COLOURS)}</style>"


def _slug(state: str) -> str:
    return state.replace(" ", "-")
