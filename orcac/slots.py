"""Slots of a prompt: the places where texts of unknown origin are put in.

A slot begins and ends with a mark of 16 hex digits that is computed from the prompt and all of its texts. So no text
can hold the mark that ends its own slot: it would have to contain its own digest. Equal texts give equal prompts, so
that a recorded review is found again.

    <<<answer_1 5d0f36a9c2b1e874
    the text, unchanged
    5d0f36a9c2b1e874 answer_1>>>
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

__all__ = ["fill_slots", "imitates_slots", "list_slots", "read_slots", "strip_slots"]

_FIELD = re.compile(r"\{(question|answer|answer_1|answer_2|mark)\}")
_SLOT = re.compile(r"^<<<(\w{1,20}) ([0-9a-f]{16})\n(.*?)^\2 \1>>>$", re.DOTALL | re.MULTILINE)
_IMITATION = re.compile(
    r"<<<\s{0,3}(?:question|answer)|(?:question|answer)(?:_[12])?\s{0,3}>>>|\[The (?:Start|End) of|\[\[[ABC]\]\]",
    re.IGNORECASE,
)


def fill_slots(template: str, texts: Mapping[str, str]) -> str:
    """Return a prompt with each `{NAME}` replaced by the slot of that text, and `{mark}` by the mark.

    Fields inside the texts are left as they are.
    """
    whole = json.dumps([template, sorted(texts.items())])
    mark = hashlib.sha256(whole.encode()).hexdigest()[:16]
    while any(mark in text for text in texts.values()):  # by chance alone
        mark = hashlib.sha256(mark.encode()).hexdigest()[:16]

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        return mark if name == "mark" else f"<<<{name} {mark}\n{texts[name]}\n{mark} {name}>>>"

    return _FIELD.sub(fill, template)


def list_slots(template: str) -> list[str]:
    """Return the names of the fields of a template, in order; `mark` among them."""
    return _FIELD.findall(template)


def read_slots(prompt: str) -> dict[str, str]:
    """Return the texts in the slots of a prompt by name; the first slot of a name counts."""
    found: dict[str, str] = {}
    for match in _SLOT.finditer(prompt):
        found.setdefault(match[1], match[3][:-1])
    return found


def strip_slots(prompt: str) -> str:
    """Return a prompt without its slots: the words around them."""
    return _SLOT.sub("", prompt)


def imitates_slots(text: str) -> bool:
    """Return whether a text contains what looks like the end of a slot or a verdict, as an injected instruction has."""
    return _IMITATION.search(text) is not None
