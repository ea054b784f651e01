"""Solutions in words: the system message decides how much of the working is shown.

    system message                                       assistant         expert
    none, or a request for the answer alone              the answer        the answer
    any other, without a request for an explanation      brief steps       brief steps
    a request for steps, reasons, detail, ...            brief steps       full steps

With `full_rate`, an assistant writes full steps for a share of the queries. A digest of query and seed selects them.

Every explanation ends with the same sentence, `So the answer is X.`, and is as regular as possible, one step per line:
a model of under a million parameters must be able to learn it.

A teacher that reasons puts its working before its answer, brief or full by its skill alone, and the answer holds no
steps: it is the closing sentence, or the answer itself where nothing else is asked for.

The expert is always right. The assistant gets the last step wrong on a share of the hard queries. A digest of the query
and the seed chooses them, so that the same query fails under every system message, even if only the answer is shown.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from orcac.puzzles.base import Ending, Solution

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
    return _is_drawn(f"{seed}\x1f{query}", error_rate)


def _is_drawn(text: str, rate: float) -> bool:
    """Return whether the digest of a text draws it at this rate (0 to 1)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") < rate * 2**64


def is_full(query: str, *, full_rate: float, seed: int) -> bool:
    """Return whether an assistant of this share (0 to 1) of full explanations explains a query in full steps."""
    return _is_drawn(f"full\x1f{seed}\x1f{query}", full_rate)


def write_answer(
    solution: Solution, *, system: str, skill: Skill, error_rate: float, query: str, seed: int, full_rate: float = 0
) -> str:
    """Return the response of a teacher of this skill to `query` under this system message."""
    ending = _choose_ending(solution, skill=skill, error_rate=error_rate, query=query, seed=seed)
    style = requested_style(system)
    if style == "answer":
        return ending.answer
    in_full = style == "full" and _works_in_full(skill, query, full_rate=full_rate, seed=seed)
    steps = _write_steps(solution, ending, is_full=in_full)
    return f"{steps}\n{_conclude(ending)}" if steps else _conclude(ending)


def write_reasoned_answer(
    solution: Solution, *, system: str, skill: Skill, error_rate: float, query: str, seed: int, full_rate: float = 0
) -> tuple[str, str]:
    """Return the (reasoning, answer) of a teacher of this skill that reasons, to `query` under this system message."""
    ending = _choose_ending(solution, skill=skill, error_rate=error_rate, query=query, seed=seed)
    answer = ending.answer if requested_style(system) == "answer" else _conclude(ending)
    in_full = _works_in_full(skill, query, full_rate=full_rate, seed=seed)
    return _write_steps(solution, ending, is_full=in_full), answer


def _works_in_full(skill: Skill, query: str, *, full_rate: float, seed: int) -> bool:
    return skill == "expert" or is_full(query, full_rate=full_rate, seed=seed)


def _choose_ending(solution: Solution, *, skill: Skill, error_rate: float, query: str, seed: int) -> Ending:
    errs = skill == "assistant" and solution.hard and fails(query, error_rate=error_rate, seed=seed)
    return solution.wrong if errs else solution.right


def _write_steps(solution: Solution, ending: Ending, *, is_full: bool) -> str:
    steps = (*solution.steps, ending.step)
    return "\n".join(line for step in steps if (line := step.full if is_full else step.brief))


def _conclude(ending: Ending) -> str:
    return f"So the answer is {ending.answer}."
