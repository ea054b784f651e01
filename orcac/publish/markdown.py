"""The Markdown of cards: templates beside this module, and the escape of texts that they show.

Names, descriptions and settings are of unknown origin. A template passes each through the filter `text`, which leaves
no markup and no HTML in it, or through `yaml`, which quotes it for the front matter.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.report import wording

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["escape", "load_template"]

_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~&$]|^[-+]|(?<=^\d)[.)](?=\s|$)|:(?=//)")


def escape(text: object) -> str:
    """Return text of unknown origin as one line of Markdown that shows it.

    The line contains no markup, no HTML and no control characters.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())
    return _MARKDOWN.sub(r"\\\g<0>", line)


def load_template(name: str) -> Template:
    """Return a template of this folder, with the filters of cards."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # the filter `text` escapes Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = lambda number: "–" if number is None else f"{number:,}"
    environment.filters["interval"] = wording.interval
    environment.filters["loss"] = lambda value: "–" if value is None else f"{value:.3f}"
    environment.filters["percent"] = wording.percent
    environment.filters["text"] = escape
    environment.filters["yaml"] = json.dumps  # JSON is YAML, and quotes its texts
    return environment.get_template(name)
