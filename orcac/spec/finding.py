"""Findings: the errors that the rules of a spec yield, and those that most rules share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from orcac.spec.problems import SpecPath

Names = Mapping[str, Set[str]]  # section -> the names that it defines


class Finding(NamedTuple):
    """An error at `path`. It may be a consequence of an error in one of the parts that it depends on."""

    path: SpecPath
    message: str
    depends_on: tuple[SpecPath, ...] = ()


def join_names(names: Iterable[str]) -> str:
    """Return names as a message lists them: the first ten and the number of the others."""
    every = list(names)
    more = f" and {len(every) - 10} more" if len(every) > 10 else ""
    return ", ".join(every[:10]) + more or "none"


def check_name(path: SpecPath, subject: str, name: str, section: str, names: Names) -> Iterator[Finding]:
    """Yield a finding if a section does not define `name`. `subject` is the reference: "dataset `few` asks teacher"."""
    defined = names[section]
    if name not in defined:
        near = difflib.get_close_matches(name, defined, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        message = f"{subject} `{name}`, which is not defined; {hint}defined: {join_names(sorted(defined))}"
        yield Finding(path, message, ((section,),))


def check_message_number(path: SpecPath, number: int, defined: Set[int]) -> Iterator[Finding]:
    """Yield a finding if a system message is not defined."""
    if number not in defined:
        message = f"system message {number} is not defined; defined: {', '.join(map(str, sorted(defined)))}"
        sources: tuple[SpecPath, ...] = (("system_messages", "library"), ("system_messages", "messages", str(number)))
        yield Finding(path, message, sources)
