"""A solution in words: how much of the working is shown follows what the system message asks for.

    system message                                       assistant         expert
    none, or one that asks for the answer alone          the answer        the answer
    one that asks for nothing in particular              brief steps       brief steps
    one that asks for steps, reasons, detail, ...        brief steps       full steps

Every explanation ends with the same sentence, `So the answer is X.`, and is as regular as it can be made, one
step a line: what these words teach must be learnable by a model of under a million parameters.

The expert is always right. The assistant gets the last step wrong on a share of the hard queries. Which ones is
a digest of the query and the seed: the same query fails however it is asked, as a bare answer too.
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


def style(system: str) -> Style:
    """What a system message asks for."""
    if not system.strip() or _ANSWER_ALONE.search(system):
        return "answer"
    return "full" if _EXPLAIN.search(system) else "brief"


def fails(query: str, *, error_rate: float, seed: int) -> bool:
    """Whether an assistant of this error rate fails at a hard query."""
    digest = hashlib.sha256(f"{seed}\x1f{query}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < error_rate * 2**64


def word(solution: Solution, *, system: str, skill: Skill, error_rate: float, query: str, seed: int) -> str:
    """The response of a teacher of this skill to `query` under this system message."""
    slips = skill == "assistant" and solution.hard and fails(query, error_rate=error_rate, seed=seed)
    ending = solution.wrong if slips else solution.right
    asked = style(system)
    if asked == "answer":
        return ending.answer
    steps = (*solution.steps, ending.step)
    full = asked == "full" and skill == "expert"
    lines = [line for step in steps if (line := step.full if full else step.brief)]
    return "\n".join([*lines, f"So the answer is {ending.answer}."])
