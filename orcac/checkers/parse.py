r"""The final answer in a model's prose, and whether it is the right one.

A parser decides scores: under the first-capital-letter rule Vicuna gets 1.2 % on a task where guessing
gets 14 %. So there are few rules, they are stated here, and what they cannot read is "" (unparsed), which is
counted and reported as a number of its own. No rule guesses: two candidates and no statement are no answer.

`first-capital` is the paper's (§4.2.2): the first capital letter of the response is the option it chooses;
where the options are words, the first of them that occurs. It is blind to sense: "The answer is B" says T.

`final-answer` reads, in this order:
  1. the last statement that names an option: "the answer is X", "Answer: **X**", "(B) is correct". Named two
     ("A or B") it is unparsed; denied ("is not A") it is no statement;
  2. an option alone on the first or on the last line (if both, they must agree);
  3. the only option the response names, where it opens with it or names it once, as its last word.
Free-form items (no options): what the last statement says, else a response of one line and at most 20 words.

Options come from the item. A letter is read as (A), A, A) or A., and the article "A" and the pronoun "I" are
no letters; a word must be whole, in any case: "invalid" does not contain "valid".
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Literal, NamedTuple

__all__ = ["Parser", "final_answer", "same_answer"]

Parser = Literal["first-capital", "final-answer"]

_MARKUP = r"[\s*_`\"'“”‘’$]"  # what may stand around an answer without being part of it
_STATEMENT = re.compile(
    rf"""\b(?: answer | (?:correct|right|best)\s+(?:option|choice) )\b {_MARKUP}*
         (?: (?:to|for)\s [^.:\n]{{1,60}}? {_MARKUP}+ )?
         (?: [:=] | (?:is|would\ be|should\ be|must\ be)\b\s*:? )""",
    re.IGNORECASE | re.VERBOSE,
)
_IS_CORRECT = re.compile(rf"{_MARKUP}*is\s+(?:(?:the\s+)?(?:correct|right|best)\b|the\s+answer\b)", re.IGNORECASE)
_OPENS_CLAUSE = re.compile(
    rf"(?:^|[.!?:,\n]|\b(?:option|choice|so|thus|hence|therefore|that)){_MARKUP}*$", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"\n|[.!?](?=[\s*_`\"']|$)")
_JOINS = re.compile(rf"{_MARKUP}*(?:,|/|&|\bor\b|\band\b|,\s*or\b){_MARKUP}*", re.IGNORECASE)
_DENIES = re.compile(r"\b(?:not|neither|nor|none|never|cannot)\b|n['’]t\b", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_LETTER = re.compile(r"\(?([A-Z])[).]?")
_NUMBER = re.compile(r"([-+−]?)\s*[$€£]?((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)")
_UNIT = re.compile(r"\s*%|\s+\D*|")
_FREE_FORM_WORDS = 20
_REACH = 80  # characters before an option in which its clause must open, so that no text is searched over and over
_AROUND = "".join(character for character in map(chr, range(0x3001)) if re.fullmatch(_MARKUP, character))


class _Mention(NamedTuple):
    option: str
    start: int
    end: int


def final_answer(response: str, options: Sequence[str], parser: Parser = "final-answer") -> str:
    """One of `options` as it stands there, or text where there are none; "" where no answer was found."""
    response = _BOXED.sub(r"\1", response)
    if not any(option.strip() for option in options):
        return _free_form(response)
    if parser == "first-capital":
        return _first_capital(response, options)
    mentions = _mentions(response, tuple(options))
    for read in (_stated, _alone, _only):
        answer = read(response, mentions)
        if answer is not None:
            return answer
    return ""


def same_answer(parsed: str, reference: str) -> bool:
    """Equal but for case, white space, a final full stop, a letter's brackets, and how a number is written.

    Against a number, "1,200", "$1200", "1200 apples" and "3 * 400 = 1200" are all 1200. "" equals nothing.
    """
    if not parsed or not reference:
        return False
    if _NUMBER.fullmatch(reference.strip()):
        return _number(parsed.rpartition("=")[2]) == _number(reference)
    return _normal(parsed) == _normal(reference)


def _first_capital(response: str, options: Sequence[str]) -> str:
    letters = {match[1]: option for option in options if (match := _LETTER.fullmatch(option.strip()))}
    if letters:
        first = re.search("[A-Z]", response)
        return letters.get(first[0], "") if first else ""
    mentions = _mentions(response, tuple(options))
    return mentions[0].option if mentions else ""


def _stated(response: str, mentions: list[_Mention]) -> str | None:
    """Rule 1. None when nothing is stated, "" when the last statement names two options."""
    ends = [*(match.start() for match in _SENTENCE_END.finditer(response)), len(response)]
    stated: list[tuple[int, str]] = []
    for match in reversed([*_STATEMENT.finditer(response)]):
        if (option := _named_after(response, match.end(), ends, mentions)) is not None:
            stated.append((match.end(), option))
            break
    for mention in reversed(mentions):
        opening = max(0, mention.start - _REACH)
        if _IS_CORRECT.match(response, mention.end) and _OPENS_CLAUSE.search(response, opening, mention.start):
            stated.append((mention.start, mention.option))
            break
    return max(stated)[1] if stated else None


def _named_after(response: str, start: int, ends: list[int], mentions: list[_Mention]) -> str | None:
    """The option that the sentence after a statement's "is" or ":" names. `ends`: where sentences end."""
    start += len(response[start:]) - len(response[start:].lstrip())
    end = ends[bisect_left(ends, start)]
    first, beyond = (bisect_left(mentions, at, key=attrgetter("start")) for at in (start, max(end, start + 1)))
    named = mentions[first:beyond]
    if not named:
        return None
    chosen, lead = named[0], response[start : named[0].start]
    if not re.fullmatch(f"{_MARKUP}*", lead):  # "is most likely (B)", "is either (A) or (B)", "is not (A)"
        if _DENIES.search(lead):
            return None
        return chosen.option if len({mention.option for mention in named}) == 1 else ""
    joined = len(named) > 1 and _JOINS.fullmatch(response, chosen.end, named[1].start)
    return "" if joined and named[1].option != chosen.option else chosen.option


def _alone(response: str, mentions: list[_Mention]) -> str | None:
    """Rule 2. None when neither line is an option, "" when the two differ."""
    lines = [line for line in response.splitlines() if line.strip()]
    options = tuple(dict.fromkeys(mention.option for mention in mentions))
    found = set()
    for line in (*lines[:1], *lines[-1:]):
        here = _mentions(line, options)
        if len(here) == 1 and re.fullmatch(rf"(?:{_MARKUP}|[-.:!>#])*", line[: here[0].start] + line[here[0].end :]):
            found.add(here[0].option)
    if not found:
        return None
    return found.pop() if len(found) == 1 else ""


def _only(response: str, mentions: list[_Mention]) -> str | None:
    """Rule 3."""
    if len({mention.option for mention in mentions}) != 1:
        return None
    first, last = mentions[0], mentions[-1]
    if re.fullmatch(f"{_MARKUP}*", response[: first.start]):
        return first.option
    lead = _SENTENCE_END.split(response[: last.start])[-1]
    ends = re.fullmatch(rf"(?:{_MARKUP}|[.!)])*", response[last.end :])
    return last.option if ends and len(mentions) == 1 and not _DENIES.search(lead) else None


def _free_form(response: str) -> str:
    statements = list(_STATEMENT.finditer(response))
    for match in reversed(statements):
        stated = _clean(_SENTENCE_END.split(response[match.end() :].lstrip(), maxsplit=1)[0])
        if stated:
            return stated
    line = "" if statements else response.strip()
    return _clean(line) if "\n" not in line and len(line.split()) <= _FREE_FORM_WORDS else ""


def _clean(text: str) -> str:
    return text.lstrip(_AROUND).rstrip(_AROUND + ".")


def _mentions(text: str, options: tuple[str, ...]) -> list[_Mention]:
    """Every place where an option is named, in order and without overlaps."""
    if not options:
        return []
    names = {f"o{index}": option for index, option in enumerate(options)}
    return [
        _Mention(names[str(match.lastgroup)], match.start(), match.end()) for match in _pattern(options).finditer(text)
    ]


@functools.lru_cache(maxsize=4096)
def _pattern(options: tuple[str, ...]) -> re.Pattern[str]:
    """One group an option, `o0`, `o1`, ...; the longest first, so that none hides behind its beginning."""
    order = sorted(range(len(options)), key=lambda index: -len(options[index]))
    return re.compile("|".join(f"(?P<o{i}>{_option_pattern(options[i])})" for i in order if options[i].strip()))


def _option_pattern(option: str) -> str:
    letter = _LETTER.fullmatch(option.strip())
    if letter is None:
        words = r"\s+".join(re.escape(word) for word in option.split())
        sign = r"(?<!-)" if option.strip()[0].isdigit() else ""
        return rf"(?<!\w)(?<!\w[-'’])(?<!\d[.,]){sign}(?i:{words})(?!\w|[-'’]\w|[.,]\d)"
    a_word = r"(?![ \t]+(?!(?:and|as|because|for|is|or|since)\b)[a-z])" if letter[1] in "AI" else ""
    return rf"\(\s*(?i:{letter[1]})\s*\)|(?<![\w(])(?<!\w[-'’]){letter[1]}(?!\w|[-'’]\w){a_word}\)?"


def _number(text: str) -> Decimal | None:
    text = text.strip().rstrip(".")
    match = _NUMBER.match(text)
    if match is None or not _UNIT.fullmatch(text, match.end()):
        return None
    value = Decimal(match[2].replace(",", ""))
    return -value if match[1] in ("-", "−") else value


def _normal(text: str) -> str:
    text = " ".join(text.split()).rstrip(".").casefold()
    letter = re.fullmatch(r"\(?([a-z])\)?", text)
    return letter[1] if letter else text
