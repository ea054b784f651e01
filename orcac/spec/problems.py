"""The problems of a spec, and their display: place, message, source line, caret."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orcac.errors import InputError
from orcac.spec.secrets import mask

SpecPath = tuple[str | int, ...]  # the keys and list indices that lead to a value of a spec


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file. Lines and columns count from 1; `source` is the whole line.

    `path` names the file in messages, with `REV:` before it for a git revision. `folder` is the folder that relative
    paths in this file start from.
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
    """One error of a spec, at its place. As text: the place and message, the source line, and a caret below it.

    Secrets of the line and of the message are masked.
    """

    mark: Mark
    message: str

    def __str__(self) -> str:
        mark, number = self.mark, str(self.mark.line)
        source, column = mask(mark.source.replace("\t", " ")), mark.column - 1
        if len(source) > 100:  # keep the place in sight on a narrow terminal
            cut = max(0, column - 40)
            source, column = source[cut : cut + 100], column - cut
        caret = "^" * max(1, min(mark.length, len(source) - column))
        margin = " " * len(number)
        # a file may contain terminal escape sequences, which must not reach the terminal
        source = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in source)
        message = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in mask(self.message))
        return f"{mark}: {message}\n {f'{number} | {source}'.rstrip()}\n {margin} | {' ' * column}{caret}"


def describe(value: object) -> str:
    """Return a value as an error message shows it: a scalar as it was written, at most 60 characters of it."""
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


class SpecErrors(InputError):
    """All problems of a spec, in the order of the file, without duplicates."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems = sorted(unique, key=lambda item: (item.mark.path, item.mark.line, item.mark.column))
        super().__init__("\n".join(str(problem) for problem in self.problems))
