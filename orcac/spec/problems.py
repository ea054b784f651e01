"""What is wrong with a spec, and how that is shown: place, line, caret, reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orcac.errors import InputError


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file. Lines and columns count from 1; `source` is the whole line.

    `path` is the file as people are told it, a git revision's `REV:` included; `folder` is where the paths that
    are written in it start from.
    """

    path: str
    folder: Path
    line: int
    column: int
    length: int
    source: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    mark: Mark
    message: str

    def __str__(self) -> str:
        mark, number = self.mark, str(self.mark.line)
        source, column = mark.source.replace("\t", " "), mark.column - 1
        if len(source) > 100:  # keep the place in sight on a narrow terminal
            cut = max(0, column - 40)
            source, column = source[cut : cut + 100], column - cut
        caret = "^" * max(1, min(mark.length, len(source) - column))
        margin = " " * len(number)
        # what a file holds must not steer the terminal that shows it
        source = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in source)
        message = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in self.message)
        return f"{mark}: {message}\n {f'{number} | {source}'.rstrip()}\n {margin} | {' ' * column}{caret}"


def shown(value: Any) -> str:
    """A value as a message tells it: in short, and as it is written."""
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


class SpecErrors(InputError):
    """Every problem of a spec at once, in the order of the file; equal ones are said once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems = sorted(unique, key=lambda item: (item.mark.path, item.mark.line, item.mark.column))
        super().__init__("\n".join(str(problem) for problem in self.problems))
