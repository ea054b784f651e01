"""Parts of any SVG: its frame, texts of a known width, and colours for light and dark pages.

A text of unknown origin can be given to every function: it is escaped here and nowhere else. The reader's font is not
known and none is loaded, so widths are those of a wide font. Colours are plain values with a second set under
`prefers-color-scheme: dark`, because not every viewer knows CSS variables.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from html import escape

FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans",sans-serif'
_FORBIDDEN = re.compile(  # in XML; and the controls of writing direction, which would reorder the rest of the line
    "[^\\t\\n\\r\\x20-\\x7e\\xa0-\\u2029\\u202f-\\u2065\\u206a-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]"
)


def open_svg(width: int, height: int, title: str, facts: str) -> list[str]:
    """Return the first lines of an SVG of this size in pixels; `title` and `facts` describe it to a screen reader."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' role="img" aria-labelledby="title facts">',
        f'<title id="title">{escape_text(title)}</title>',
        f'<desc id="facts">{escape_text(facts)}</desc>',
    ]


def define_colours(colours: Sequence[tuple[str, str, str, str]]) -> str:
    """Return CSS that gives properties their colours: each is a selector, a property, and its light and dark value."""
    light = "".join(f"{selector}{{{name}:{value}}}" for selector, name, value, _ in colours)
    dark = "".join(f"{selector}{{{name}:{value}}}" for selector, name, _, value in colours)
    return f"{light}@media(prefers-color-scheme:dark){{{dark}}}"


def draw_text(x: float, y: float, name: str, text: str) -> str:
    """Return a text element of the CSS class `name`."""
    return f'<text class="{name}" x="{x:.0f}" y="{y:.0f}">{escape_text(text)}</text>'


def escape_text(text: str) -> str:
    """Return `text` for XML: markup escaped, forbidden characters and direction controls replaced by U+FFFD."""
    return escape(_FORBIDDEN.sub("\ufffd", text))


def shorten_text(text: str, room: float, size: float) -> str:
    """Return `text` on one line, cut with an ellipsis if it is wider than `room` pixels."""
    text = " ".join(text.split())
    if text_width(text, size) <= room:
        return text
    while text and text_width(text, size) > room - 0.9 * size:
        text = text[:-1]
    return text.rstrip() + "…"


def text_width(text: str, size: float) -> float:
    """Return a width in pixels for a wide font, since the reader's font is not known. Sizes above 13 are bold."""
    return size * sum(_em(letter) for letter in text) * (1.1 if size > 13 else 1.0)


def _em(letter: str) -> float:
    """Return a letter's width in units of the font size."""
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in "iljtfr.,:;'|!()[]- ":
        return 0.4
    return 0.98 if letter in "mwMW@%…" else 0.74 if letter.isupper() else 0.63
