"""The answers that a query offers, read from the block at the end of questions of FLAN and BIG-Bench Hard.

    Options:            Options:          OPTIONS:
    (A) one             - yes             - (A) one
    (B) two             - no              - (B) two
    -> (A), (B)         -> yes, no        -> (A), (B)

The block is read from the row itself, since the number of options differs from row to row, even inside one task.
"""

from __future__ import annotations

import re

_HEAD = re.compile(r"^.*\boptions:[ \t]*\n", re.IGNORECASE | re.MULTILINE)
_LETTER = re.compile(r"(?:- )?(\([A-Z]\))")


def find_options(query: str) -> tuple[str, ...]:
    """Return the options of the last block in `query`, letters in brackets or words; () if it lists no options."""
    heads = list(_HEAD.finditer(query))
    if not heads:
        return ()
    found: list[str] = []
    for line in query[heads[-1].end() :].split("\n"):
        if letter := _LETTER.match(line):
            found.append(letter[1])
        elif line.startswith("- "):
            found.append(line[2:].strip())
        else:
            break
    return tuple(found)
