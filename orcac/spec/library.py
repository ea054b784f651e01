"""The library of system messages: a YAML file of numbered texts, and the spec's own messages laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orcac.errors import InputError
from orcac.spec.problems import Problem, SpecErrors, describe
from orcac.spec.source import File, parse

_FORM = "write `messages: {1: {text: ...}, ...}`"


def number_messages(library: Mapping[int, str], own: Mapping[int, str]) -> dict[int, str]:
    """Return the messages of a library and of a spec by number. The spec's replace the library's.

    Message 1 is the empty message, unless one of the two defines it.
    """
    return {1: ""} | dict(library) | dict(own)


@dataclass(slots=True)
class Libraries:
    """A reader of the libraries that the arms of one spec name. It reads each file once."""

    spec: File  # libraries are read from the spec's revision
    _results: dict[Path, dict[int, str] | InputError] = field(default_factory=dict)

    def read(self, path: Path) -> dict[int, str]:
        """Return the messages of a library by number.

        Raises SpecErrors for errors in the file, InputError if it cannot be read.
        """
        if path not in self._results:
            try:
                self._results[path] = read_library(self.spec.with_path(path))
            except InputError as error:
                self._results[path] = error
        result = self._results[path]
        if isinstance(result, InputError):
            raise result
        return result


def read_library(file: File) -> dict[int, str]:
    """Read a library. Returns its messages by number; raises as `Libraries.read` does."""
    problems: list[Problem] = []
    tree = parse(file, problems, "a library")
    messages: dict[int, str] = {}
    section = tree.entries.get("messages")
    if section is None or not section.is_map:
        problems.append(Problem(section.mark if section else tree.mark, f"a library is a map of messages; {_FORM}"))
    for number, entry in section.entries.items() if section else ():
        mark = section.key_marks[number] if section else tree.mark
        text = entry.entries.get("text")
        if not number.isdecimal() or len(number) > 9:
            problems.append(Problem(mark, f"messages are numbered; {describe(number)} is not a number; {_FORM}"))
        elif text is None:
            problems.append(Problem(mark, f"message {number} has no `text`; {_FORM}"))
        elif not isinstance(text.value, str):
            problems.append(Problem(text.mark, f"the `text` of message {number} is not a text; {_FORM}"))
        else:
            messages[int(number)] = text.value
    if problems:
        raise SpecErrors(problems)
    return messages
