"""Printing rich's tables without trailing blanks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.segment import Segment


def print_table(console: Console, table: RenderableType) -> None:
    """Print a table, or padded text, without the blanks that rich adds to fill the width of each line.

    In a file or in a copied text they are noise.
    """
    from rich.segment import Segment, Segments

    def strip() -> Iterator[Segment]:
        for line in console.render_lines(table, pad=False):
            while line and not line[-1].text.rstrip(" "):
                line.pop()
            if line:
                line[-1] = Segment(line[-1].text.rstrip(" "), line[-1].style)
            yield from (*line, Segment.line())

    console.print(Segments(strip()), end="")
