"""Solutions in words: the system message decides how much of the working is shown.

    system message                                       assistant         expert
    none, or a request for the answer alone              the answer        the answer
    any other, without a request for an explanation      brief steps       brief steps
    a request for steps, reasons, detail, ...            brief steps       full steps

Every explanation ends with the same sentence, `So the answer is X.`, and is as regular as possible, one step per line:
a model of under a million parameters must be able to learn it.

The expert is always right. The assistant gets the last step wrong on a share of the hard queries. A digest of the query
and the seed chooses them, so that the same query fails under every system message, even if only the answer is shown.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from orcac.puzzles.base import Solution

Skill = Literal["assistant", "expert"]
Style = Literal["answer", "brief", "full"]

_ANSWER_ALONE = re.compile(
    r"""(?<!not\ )\b(?:only|just|nothing\ but)\ (?:(?:with|give|state|the|your|one|final|correct|right|bare)\ )*
            (?:answer|option|letter|result)
      | \b(?:answer|respond|reply)\ (?:only|just|with\ only|with\ just)\b (?!\ (?:when|if|after|once))
      | \b(?:answer|option|letter|result)\ (?:only(?=[.,;:!]|\s*$)|alone|and\ nothing\ (?:else|more))\b
      | \b(?:no|without|do\ not|don't|never)\ (?:(?:any|an|further|give|giving|show|showing|include|your|the)\ )*
            (?:expla|justif|reasoning|working)""",
    re.IGNORECASE | re.VERBOSE,
)
_EXPLAIN = re.compile(
    r"""\b(?: steps?\b | step-by-step | expla[in] | justif | reason | detail | descri[bp] | elaborat | thorough
      | fully\b | in\ full\b | complete\ answer | at\ length\b | long(?:,|er\b|\ and\b|\ answer) | outside\b
      | elsewhere\b | why\b | how\ (?:you|the|it|each)\b | show\b | think\b | teach | guideline | definition | example
      | (?:break|split|divide)\b | child | year.old )""",
    re.IGNORECASE | re.VERBOSE,
)


def requested_style(system: str) -> Style:
    """Return the style that a system message asks for."""
    if not system.strip() or _ANSWER_ALONE.search(system):
        return "answer"
    return "full" if _EXPLAIN.search(system) else "brief"


def fails(query: str, *, error_rate: float, seed: int) -> bool:
    """Return whether an assistant of this error rate (0 to 1) fails at a hard query."""
    digest = hashlib.sha256(f"{seed}\x1f{query}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < error_rate * 2**64


def write_answer(solution: Solution, *, system: str, skill: Skill, error_rate: float, query: str, seed: int) -> str:
    """Return the response of a teacher of this skill to `query` under this system message."""
    errs = skill == "assistant" and solution.hard and fails(query, error_rate=error_rate, seed=seed)
    ending = solution.wrong if errs else solution.right
    style = requested_style(system)
    if style == "answer":
        return ending.answer
    steps = (*solution.steps, ending.step)
    full = style == "full" and skill == "expert"
    lines = [line for step in steps if (line := step.full if full else step.brief)]
    return "\n".join([*lines, f"So the answer is {ending.answer}."])
