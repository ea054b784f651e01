"""Rules 3 and 4 of `option`: the first and the last line, and the only option that is named or not denied."""

from __future__ import annotations

import re

from orcac.checkers.option.choices import joined
from orcac.checkers.option.reading import LABEL_LINE, TWO, Reading
from orcac.checkers.statements import MARKUP, end_before

_ALONE = re.compile(rf"(?:{MARKUP}|[-.:!?>#()\[\],])*")
_OPENS = re.compile(rf"(?:{MARKUP}|[(\[>#-]|\b(?:option|choice|answer)\b){{0,8}}", re.IGNORECASE)
_AFTER_OPENING = re.compile(rf"{MARKUP}{{0,6}}(?:$|[.,;:!)\n-]|(?:because|since|as|for)\b)", re.IGNORECASE)
_JUDGES = re.compile(
    r"\s*(?:is|was|are|can|cannot|could|would|seems?|has|does|do|states?|says|ignores?|fails?|contradicts?|mentions?"
    r"|may|might|will|should|also|only|gives?|implies|describes?)\b",
    re.IGNORECASE,
)
_IS_AT_LAST = re.compile(
    rf"\b(?:is|are|was|be|being|by)\b(?:{MARKUP}|:|only|option|choice|answer){{0,6}}$", re.IGNORECASE
)
_LONGEST_LINE = 400  # characters of a line that may be an option


def at_edge(reading: Reading) -> int | None:
    """Return the option that is the first or the last line, or opens the one or ends the other; they must agree."""
    if not reading.lines:
        return None
    first, last = reading.lines[0], reading.lines[-1]
    chosen = {_first_line(reading)}
    if last != first:
        chosen.add(_last_line(reading))
    chosen.discard(None)
    if not chosen:
        return _last_words(reading, *last)
    return chosen.pop() if len(chosen) == 1 else TWO


def only(reading: Reading) -> int | None:
    """Return the option that the response names alone, if it names it as an answer."""
    labels = {mention.option for mention in reading.mentions if mention.kind == "strong"}
    options = labels or {mention.option for mention in reading.mentions}
    if len(options) != 1 or any(map(reading.is_denied, range(len(reading.mentions)))):
        return None
    if labels and not any(reading.label_at(*line) for line in reading.lines):
        return labels.pop()
    first, last = reading.mentions[0], reading.mentions[-1]
    if _ALONE.fullmatch(reading.text, 0, first.start) and first.kind != "weak":
        return first.option
    return last.option if _ALONE.fullmatch(reading.text, last.end) and len(reading.mentions) <= 2 else None


def left(reading: Reading) -> int | None:
    """Return the one option that is not denied, if every other one is."""
    mentions = [(mention, reading.is_denied(index)) for index, mention in enumerate(reading.mentions)]
    denied = {mention.option for mention, deny in mentions if deny}
    affirmed = {mention.option for mention, deny in mentions if not deny}
    remaining = set(range(len(reading.offered.options))) - denied
    return remaining.pop() if len(remaining) == 1 and len(denied) > 1 and not affirmed & denied else None


def _first_line(reading: Reading) -> int | None:
    start, end = reading.lines[0]
    option = _lone_line(reading, start, end)
    return _opening(reading, start, end) if option is None else option


def _last_line(reading: Reading) -> int | None:
    """Return the option that is the last line, or whose label opens it below a colon or alone among the lines."""
    start, end = reading.lines[-1]
    option = _lone_line(reading, start, end)
    label = reading.label_at(start, end)
    if option is not None or label is None or _JUDGES.match(reading.text, label[1], end):
        return option
    above = reading.text[slice(*reading.lines[-2])].rstrip("* ")
    return label[0] if above.endswith(":") or not reading.lists_options(reading.lines) else None


def _lone_line(reading: Reading, start: int, end: int) -> int | None:
    line = reading.text[start:end]
    if len(line) > _LONGEST_LINE:
        return None
    whole = reading.offered.whole(re.sub(r"^[\s>#*-]+", "", line))
    if whole is not None:
        label = LABEL_LINE.match(line)
        if label is None or _ALONE.fullmatch(line[label.end() :]):
            return whole
    here = [reading.mentions[index] for index in reading.within(start, end)]
    for mention in reversed(here):
        if mention.end <= end:
            line = line[: mention.start - start] + line[mention.end - start :]
    named = {mention.option for mention in here}
    return named.pop() if len(named) == 1 and _ALONE.fullmatch(line) else None


def _opening(reading: Reading, start: int, end: int) -> int | None:
    """Return the option that opens a response whose first line names no other."""
    here = reading.within(start, end)
    lead = _OPENS.match(reading.text, start)
    if not here or lead is None or reading.mentions[here[0]].start > lead.end():
        label = reading.offered.label_at_start(reading.text[start:end]) if len(reading.lines) == 1 else None
        return label.option if label else None
    mention = reading.mentions[here[0]]
    after = reading.text[mention.end : end]
    if mention.kind == "text":
        return mention.option if _AFTER_OPENING.match(after) and not reading.lists_options(reading.lines) else None
    if len({reading.mentions[index].option for index in here if reading.mentions[index].kind != "text"}) > 1:
        return TWO if joined(reading.text, mention, reading.mentions[here[1]]) else None
    if _JUDGES.match(after.lstrip("*_.) ")) or reading.is_denied(here[0]) or reading.lists_options(reading.lines):
        return None
    return mention.option if mention.kind == "strong" or _AFTER_OPENING.match(after) else None


def _last_words(reading: Reading, start: int, end: int) -> int | None:
    """Return the label that the last sentence ends in: "The false statement is B) ..."."""
    start = max(start, end_before(reading.text, end - 1))
    if reading.is_conditional(end - 1):
        return None
    named = {mention.option for mention in reading.named(start, end)}
    for index in reading.within(start, end):
        mention = reading.mentions[index]
        if len(named) == 1 and mention.kind == "strong" and mention.option in named and not reading.is_denied(index):
            before = _IS_AT_LAST.search(reading.text, max(start, mention.start - 20), mention.start)
            return mention.option if before else None
    return None
