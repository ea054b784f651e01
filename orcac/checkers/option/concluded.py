"""Rule 2 of `option`: the last sentence that concludes, chooses or compares, and names one option."""

from __future__ import annotations

import re

from orcac.checkers.option.denials import is_denied_at
from orcac.checkers.option.reading import NONE, TWO, At, Reading, latest
from orcac.checkers.option.stated import IS, judged
from orcac.checkers.statements import CONCLUDES, MARKUP, skip_blank

_SUPERLATIVE = (
    r"(?:best|closest|better|preferred|most\s(?:likely|appropriate|suitable|accurate|probable|plausible|reasonable"
    r"|logical|fitting|relevant|effective|specific))"
)
_IS_BEST = re.compile(
    rf"{MARKUP}{{0,6}}(?:,\s?)?(?:which\s)?{IS}\s(?:(?:therefore|thus|indeed|clearly|hence|likely|probably)\s)?"
    rf"(?:the\s)?{_SUPERLATIVE}\b",
    re.IGNORECASE,
)
_IS_THE_ANSWER = re.compile(
    rf"[^.;:?!\n,]{{0,100}}?\b{IS}\s(?:therefore\s|thus\s)?the\s(?:only\s)?(?:correct|right|best|closest|most\s\w{{2,20}})"
    r"\s(?:answer|option|choice|match|fit)\b",
    re.IGNORECASE,
)
_BEST_IS = re.compile(
    r"\b(?:most|best|least|closest|only|first|next)\s[^.;:?!\n]{1,120}?\s"
    r"(?:is|are|would\sbe|will\sbe|should\sbe|must\sbe)\b",
    re.IGNORECASE,
)
_THIS_IS_RIGHT = re.compile(
    r"\b(?:this|that)\s(?:(?:option|answer|choice|statement|one)\s)?is\s(?:therefore\s|thus\s|indeed\s|likely\s)?"
    r"(?:(?:the\s)?(?:correct|right|best)\b|the\smost\s(?:likely|appropriate|suitable|accurate)\b)",
    re.IGNORECASE,
)
_CHOOSES = re.compile(
    r"\b(?:choos(?:e|ing)|pick(?:ing)?|select(?:ing)?|go(?:ing)?\swith|opt(?:ing)?\sfor|settle\s(?:on|for)"
    r"|leav(?:es|ing)(?:\s(?:us|me))?(?:\s(?:with|only))?|left\swith|must\sbe|has\sto\sbe|except(?:\sfor)?"
    r"|correspond(?:s|ing)?\s(?:to|with)|closest\sto|points?\sto|only|(?P<follows>hence|therefore|thus|so))\b,?",
    re.IGNORECASE,
)
_I_CHOOSE = re.compile(r"\b(?:I|we|you)(?:'d|'ll|\s(?:can|could|would|will|should|must))?\s$", re.IGNORECASE)


def concluded(reading: Reading) -> At | None:
    """Return the option of the last conclusion, with its position."""
    return latest(
        _sentence(reading),
        _choice(reading),
        _best(reading),
        judged(reading, _IS_BEST),
        judged(reading, _IS_THE_ANSWER),
        _after_colon(reading),
        _confirmed(reading),
    )


def _sentence(reading: Reading) -> At | None:
    """Return the option of the last sentence that opens with "Therefore", "Based on this" and the like."""
    last: At | None = None
    start = 0
    for end in reading.ends:
        begin = skip_blank(reading.text, start)
        start = end + 1
        if begin >= end or not CONCLUDES.match(reading.text, begin):
            continue
        chosen = reading.choose(begin, end)
        if reading.text[begin:end].rstrip("* ").endswith(":"):
            following = skip_blank(reading.text, end)
            if reading.lists_answers(following):
                chosen = TWO
            elif following < len(reading.text):
                chosen = reading.choose(begin, reading.sentence_end(following))
        elif reading.declines(begin, end, chosen):
            chosen = NONE
        if chosen is not None:
            last = (begin, chosen)
    return last


def _choice(reading: Reading) -> At | None:
    """Return the option that directly follows "I choose", "that leaves", "hence" and the like."""
    for match in reversed([*_CHOOSES.finditer(reading.text)] if reading.mentions else []):
        after = skip_blank(reading.text, match.end())
        if after >= len(reading.text) or (not match["follows"] and is_denied_at(reading.text, match.start())):
            continue
        chosen = reading.choose(after, reading.sentence_end(after), at_once=True)
        if chosen is None and _I_CHOOSE.search(reading.text, max(0, match.start() - 20), match.start()):
            chosen = reading.choose(after, reading.sentence_end(after))
            chosen = None if chosen == TWO else chosen
        if chosen is not None:
            return match.start(), chosen
    return None


def _best(reading: Reading) -> At | None:
    """Return the option after "the most likely cause is" and the like."""
    for match in reversed([*_BEST_IS.finditer(reading.text)] if reading.mentions else []):
        chosen = reading.choose(match.end(), reading.sentence_end(match.end()))
        if chosen is not None:
            return match.start(), chosen
    return None


def _after_colon(reading: Reading) -> At | None:
    """Return the option on the last line that follows a colon, if the lines after it do not list other options."""
    lines = reading.lines
    for index in range(len(lines) - 1, 0, -1):
        if label := reading.label_at(*lines[index]):
            if reading.lists_options(lines[index:]):
                return None
            if reading.text[slice(*lines[index - 1])].rstrip("* ").endswith(":"):
                return lines[index][0], label[0]
    return None


def _confirmed(reading: Reading) -> At | None:
    """Return the option whose own line says "this is the correct answer"; two such lines say nothing."""
    confirmed: dict[int, int] = {}
    for start, end in reading.lines:
        label = reading.label_at(start, end)
        if label and (this := _THIS_IS_RIGHT.search(reading.text, start, end)):
            confirmed[label[0]] = this.start()
    return next(((at, option) for option, at in confirmed.items()), None) if len(confirmed) == 1 else None
