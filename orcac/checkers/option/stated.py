"""Rule 1 of `option`: the last statement that names an option or calls one correct."""

from __future__ import annotations

import re

from orcac.checkers.option.denials import is_denied_at
from orcac.checkers.option.reading import NONE, TWO, At, Reading, latest
from orcac.checkers.statements import MARKUP, Statement, find_statements

IS = r"(?:is|are|would\sbe|must\sbe|should\sbe|may\sbe|seems(?:\slike|\sto\sbe)?|appears\sto\sbe)"

_IS_RIGHT = re.compile(
    rf"{MARKUP}{{0,6}}(?:,\s?)?(?:which\s)?{IS}(?:\s(?:therefore|thus|indeed|clearly|hence|most\slikely|likely|probably"
    r"|both|all))?(?:\s(?:(?:the\s)?(?:only\s|single\s)?(?:correct|right|best|true|proper)\b"
    r"|(?:the|my)\s(?:final\s)?(?:answer|choice)\b)|[.!](?=\s|$))",
    re.IGNORECASE,
)
_OPENS_CLAUSE = re.compile(
    r"(?:^|[.!?:,;\n]|\b(?:options?|choices?|answer|so|thus|hence|therefore|that|then|only|and|or|both|but))"
    rf"{MARKUP}{{0,6}}$",
    re.IGNORECASE,
)
_JOINS_ON = re.compile(
    rf"{MARKUP}{{0,6}}(?:,|/|&|\bor\b|\band\b){MARKUP}{{0,6}}[(\[]?[A-Za-z\d][)\]]?(?!\w)", re.IGNORECASE
)
_REACH = 80  # characters before an option in which its clause must open


def stated(reading: Reading) -> At | None:
    """Return the option of the last statement, with its position."""
    last: At | None = None
    statements = find_statements(reading.text)
    for index in reversed(range(len(statements))):
        statement = statements[index]
        if is_denied_at(reading.text, statement.head):
            continue
        if statement.kind == "marked":
            chosen = _marked(reading, statement)
            before = statements[index - 1] if index else None
            if before and before.kind == "marked" and _side_by_side(reading, before, statement):
                chosen = chosen if _marked(reading, before) in (chosen, None) else TWO
        else:
            if reading.is_conditional(statement.head):
                continue
            chosen = _said(reading, statement)
        if chosen is not None:
            last = (statement.start, chosen)
            break
    return latest(last, judged(reading, _IS_RIGHT))


def judged(reading: Reading, judgement: re.Pattern[str]) -> At | None:
    """Return the last option that is followed by a match of `judgement`, with its position."""
    truth = {reading.offered.by_text.get(word) for word in ("true", "false", "correct", "incorrect")}
    for index in reversed(range(len(reading.mentions))):
        mention = reading.mentions[index]
        if reading.is_denied(index) or not judgement.match(reading.text, mention.end):
            continue
        if mention.kind == "text" and mention.option in truth:
            continue  # "true is correct" chooses nothing
        if not _OPENS_CLAUSE.search(reading.text, max(0, mention.start - _REACH), mention.start):
            continue
        before = reading.mentions[index - 1] if index else None
        two = before and before.option != mention.option and _listed(reading, index)
        return mention.start, TWO if two else mention.option
    return None


def _listed(reading: Reading, index: int) -> bool:
    return reading.choose(reading.mentions[index - 1].start, reading.mentions[index].end, at_once=True) == TWO


def _marked(reading: Reading, statement: Statement) -> int | None:
    value = reading.text[statement.start : statement.end]
    chosen = reading.offered.whole(value)
    if chosen is None:
        chosen = reading.choose(statement.start, statement.end, firm=True)
    return reading.offered.with_value(value) if chosen is None else chosen


def _side_by_side(reading: Reading, first: Statement, second: Statement) -> bool:
    return bool(re.fullmatch(r"[}$\s\\)]{0,6}(?:,|and|or|,\s?or)[$\s\\(]{0,6}", reading.text[first.end : second.head]))


def _said(reading: Reading, statement: Statement) -> int | None:
    if "\n" in reading.text[statement.head + 1 : statement.start] and reading.lists_answers(statement.start):
        return TWO
    value = reading.text[statement.start : statement.end]
    chosen = reading.offered.whole(value)
    if chosen is None:
        opening = reading.offered.label_at_start(value)
        if opening and not _JOINS_ON.match(value, opening.end):
            chosen = opening.option
    if chosen is None:
        chosen = reading.choose(statement.start, statement.end, firm=True)
    if statement.kind == "said" and reading.declines(statement.start, statement.end, chosen):
        return NONE
    return reading.offered.with_value(value) if chosen is None and statement.kind == "said" else chosen
