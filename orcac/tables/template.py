"""Texts made of several fields of a row, as in "{instruction}\\n\\n{input}".

An empty field leaves no trace of its place: a line whose fields are all empty is left out, and so is a paragraph, with
the words around its fields. Doubled braces stand for plain ones. The values are put in as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Template", "list_keys"]

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
_PARAGRAPHS = re.compile(r"(\n[ \t]*\n\s*)")

Parts = list[tuple[str, str]]  # (text, "") or ("", key)


@dataclass(frozen=True, slots=True)
class _Line:
    parts: Parts
    keys: list[str]


@dataclass(frozen=True, slots=True)
class Template:
    """A template: for each paragraph the space before it, and its lines."""

    paragraphs: list[tuple[str, list[_Line]]]
    keys: list[str]

    @classmethod
    def parse(cls, text: str) -> Template | None:
        """Return the template that a text is; None for a text without fields, which is a key."""
        if not any(match[1] for match in _TOKEN.finditer(text)):
            return None
        pieces = ["", *_PARAGRAPHS.split(text)]
        paragraphs = [
            (space, [_parse_line(line) for line in paragraph.split("\n")])
            for space, paragraph in zip(pieces[::2], pieces[1::2], strict=True)
        ]
        keys = [key for _, lines in paragraphs for line in lines for key in line.keys]
        return cls(paragraphs, list(dict.fromkeys(keys)))

    def fill(self, get: Callable[[str], str]) -> str:
        """Return the text with the value of each key, by `get`; "" if all values are empty."""
        values = {key: get(key) for key in self.keys}
        if not any(values.values()):
            return ""
        filled = ""
        for space, lines in self.paragraphs:
            kept = [line for line in lines if not line.keys or any(values[key] for key in line.keys)]
            has_keys = any(line.keys for line in lines)
            if has_keys and not any(line.keys for line in kept):
                continue
            text = "\n".join("".join(words or values[key] for words, key in line.parts) for line in kept)
            filled += (space if filled else "") + text
        return filled.strip()


def _parse_line(text: str) -> _Line:
    parts: Parts = []
    at = 0
    for match in _TOKEN.finditer(text):
        parts += [(text[at : match.start()], ""), ("", match[1]) if match[1] else (match[0][0], "")]
        at = match.end()
    parts.append((text[at:], ""))
    parts = [part for part in parts if any(part)]
    return _Line(parts, [key for _, key in parts if key])


def list_keys(field: str) -> list[str]:
    """Return the keys of a file that a field of a source names: one, or those of its template."""
    template = Template.parse(field)
    return template.keys if template else [field]
