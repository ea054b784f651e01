r"""The final answer in a model's prose.

The parser decides scores: under the first-capital-letter rule Vicuna gets 1.2 % on a task where guessing gets 14 %.
So the rules are few and are stated here. A response that they cannot read gives "" (unparsed), which is counted and
reported as a number of its own. No rule guesses: two candidates without a statement give no answer.

`first-capital` is the paper's rule (§4.2.2): the first capital letter of the response is the chosen option; if the
options are words, it is the first option that occurs. The rule is blind to sense: "The answer is B" reads as T.

`final-answer` tries three rules in this order:
  1. the last statement that names an option: "the answer is X", "Answer: **X**", "(B) is correct". A statement that
     names two ("A or B") leaves the response unparsed; a denial ("is not A") is not a statement;
  2. an option alone on the first or the last line (if on both, the two must agree);
  3. the only option that the response names, if the response opens with it, or names it once and as its last word.
For a free-form item (no options) the answer is the text of the last statement, or else the whole response if that is
one line of at most 20 words.

`option.py` defines what counts as naming an option.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import Literal

from orcac.checkers.statements import find_all, match_at
from orcac.checkers.version1.option import Mention, find_mentions, option_letter

__all__ = ["Parser", "final_answer"]

Parser = Literal["first-capital", "final-answer"]

_MARKUP = r"[\s*_`\"'“”‘’$]"  # characters around an answer that are not part of it
_STATEMENT = re.compile(
    rf"""\b(?: answer | (?:correct|right|best)\s+(?:option|choice) )\b {_MARKUP}*
         (?: (?:to|for)\s [^.:\n]{{1,60}}? {_MARKUP}+ )?
         (?: [:=] | (?:is|would\ be|should\ be|must\ be)\b\s*:? )""",
    re.IGNORECASE | re.VERBOSE,
)
_STATEMENT_WORDS = ("answer", "correct", "right", "best")
_IS_CORRECT = re.compile(rf"{_MARKUP}*is\s+(?:(?:the\s+)?(?:correct|right|best)\b|the\s+answer\b)", re.IGNORECASE)
_OPENS_CLAUSE = re.compile(
    rf"(?:^|[.!?:,\n]|\b(?:option|choice|so|thus|hence|therefore|that)){_MARKUP}*$", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"\n|[.!?](?=[\s*_`\"']|$)")
_JOINS = re.compile(rf"{_MARKUP}*(?:,|/|&|\bor\b|\band\b|,\s*or\b){_MARKUP}*", re.IGNORECASE)
_DENIES = re.compile(r"\b(?:not|neither|nor|none|never|cannot)\b|n['’]t\b", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_FREE_FORM_WORDS = 20
_REACH = 80  # characters before an option in which its clause must open; a bound keeps long responses linear in time
_MARKUP_CHARACTERS = "".join(character for character in map(chr, range(0x3001)) if re.fullmatch(_MARKUP, character))


def final_answer(response: str, options: Sequence[str], parser: Parser = "final-answer") -> str:
    """Return one of `options`, spelled as there, or text if there are no options; "" if no answer was found."""
    response = _BOXED.sub(r"\1", response)
    if not any(option.strip() for option in options):
        return _read_free_form(response)
    if parser == "first-capital":
        return _read_first_capital(response, options)
    mentions = find_mentions(response, tuple(options))
    for read in (_read_statement, _read_lone_line, _read_only_option):
        answer = read(response, mentions)
        if answer is not None:
            return answer
    return ""


def _read_first_capital(response: str, options: Sequence[str]) -> str:
    letters = {letter: option for option in options if (letter := option_letter(option))}
    if letters:
        first = re.search("[A-Z]", response)
        return letters.get(first[0], "") if first else ""
    mentions = find_mentions(response, tuple(options))
    return mentions[0].option if mentions else ""


def _read_statement(response: str, mentions: list[Mention]) -> str | None:
    """Apply rule 1. Return None if no statement names an option, "" if the last one names two."""
    ends = [*(match.start() for match in _SENTENCE_END.finditer(response)), len(response)]
    stated: list[tuple[int, str]] = []
    for match in reversed(_find_statements(response)):
        if (option := _option_after(response, match.end(), ends, mentions)) is not None:
            stated.append((match.end(), option))
            break
    for mention in reversed(mentions):
        opening = max(0, mention.start - _REACH)
        if _IS_CORRECT.match(response, mention.end) and _OPENS_CLAUSE.search(response, opening, mention.start):
            stated.append((mention.start, mention.option))
            break
    return max(stated)[1] if stated else None


def _find_statements(response: str) -> list[re.Match[str]]:
    """Return the matches of `_STATEMENT`; in ASCII they are looked up by their first words, which is faster."""
    if not response.isascii():
        return [*_STATEMENT.finditer(response)]
    lower = response.lower()
    places = {place for word in _STATEMENT_WORDS if word in lower for place in find_all(word, lower)}
    return [*match_at(_STATEMENT, response, places)]


def _option_after(response: str, start: int, ends: list[int], mentions: list[Mention]) -> str | None:
    """Return the option that a statement names between `start`, the end of its "is" or ":", and its sentence's end.

    Return None if it names no option or denies one, "" if it names two. `ends` are the positions of all sentence ends.
    """
    start += len(response[start:]) - len(response[start:].lstrip())
    end = ends[bisect_left(ends, start)]
    first, beyond = (bisect_left(mentions, at, key=attrgetter("start")) for at in (start, max(end, start + 1)))
    candidates = mentions[first:beyond]
    if not candidates:
        return None
    chosen, lead = candidates[0], response[start : candidates[0].start]
    if not re.fullmatch(f"{_MARKUP}*", lead):  # "is most likely (B)", "is either (A) or (B)", "is not (A)"
        if _DENIES.search(lead):
            return None
        return chosen.option if len({mention.option for mention in candidates}) == 1 else ""
    joined = len(candidates) > 1 and _JOINS.fullmatch(response, chosen.end, candidates[1].start)
    return "" if joined and candidates[1].option != chosen.option else chosen.option


def _read_lone_line(response: str, mentions: list[Mention]) -> str | None:
    """Apply rule 2. Return None if neither line is an option, "" if the two lines are different options."""
    lines = [line for line in response.splitlines() if line.strip()]
    options = tuple(dict.fromkeys(mention.option for mention in mentions))
    found = set()
    for line in (*lines[:1], *lines[-1:]):
        here = find_mentions(line, options)
        if len(here) == 1 and re.fullmatch(rf"(?:{_MARKUP}|[-.:!>#])*", line[: here[0].start] + line[here[0].end :]):
            found.add(here[0].option)
    if not found:
        return None
    return found.pop() if len(found) == 1 else ""


def _read_only_option(response: str, mentions: list[Mention]) -> str | None:
    """Apply rule 3. Return None if it does not hold: two options are named, or the one is in another place."""
    if len({mention.option for mention in mentions}) != 1:
        return None
    first, last = mentions[0], mentions[-1]
    if re.fullmatch(f"{_MARKUP}*", response[: first.start]):
        return first.option
    lead = _SENTENCE_END.split(response[: last.start])[-1]
    ends = re.fullmatch(rf"(?:{_MARKUP}|[.!)])*", response[last.end :])
    return last.option if ends and len(mentions) == 1 and not _DENIES.search(lead) else None


def _read_free_form(response: str) -> str:
    statements = _find_statements(response)
    for match in reversed(statements):
        stated = _strip_markup(_SENTENCE_END.split(response[match.end() :].lstrip(), maxsplit=1)[0])
        if stated:
            return stated
    line = "" if statements else response.strip()
    return _strip_markup(line) if "\n" not in line and len(line.split()) <= _FREE_FORM_WORDS else ""


def _strip_markup(text: str) -> str:
    return text.lstrip(_MARKUP_CHARACTERS).rstrip(_MARKUP_CHARACTERS + ".")
