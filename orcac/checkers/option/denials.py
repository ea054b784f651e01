"""Denials: which of the options that a response names it names only to reject: "not A", "(A) is wrong"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from orcac.checkers.option.choices import Mention, joined
from orcac.checkers.statements import MARKUP

_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|cannot|without)\b(?P<near>[^.;:!?\n]{0,20})|n't\b(?P<nearer>[^.;:!?\n]{0,20})"
    r"|(?:\b(?:rather\sthan|instead\sof|unlike|(?:eliminat|exclud|reject|discard|dismiss)\w{0,5}"
    r"|rul(?:e|es|ed|ing)\sout|incorrect|wrong)\b)(?P<far>[^.;:!?\n]{0,60}))$",
    re.IGNORECASE,
)
_AFFIRMS_AGAIN = re.compile(
    r"\b(?:but|so|hence|thus|then|therefore|only|leav\w{1,3}|is|are|it\s(?:is|must)|it's|that's|because|since"
    r"|and\s(?:is|must))\b",
    re.IGNORECASE,
)
_AFTER = re.compile(
    rf"{MARKUP}{{0,6}}(?:,|-)?\s?(?:which\s|that\s)?(?:(?:is|are|was|were|can|could|would|should|does|do|did|may)"
    r"\s?(?:also\s|all\s|both\s|clearly\s|therefore\s|thus\s)?(?:be\s)?(?:not\b|n't\b|never\b|incorrect\b|wrong\b"
    r"|false\b|untrue\b|eliminated\b|ruled\sout\b|excluded\b|out\b|irrelevant\b|unlikely\b|too\b|less\b)"
    r"|(?:cannot|can't|isn't|aren't|doesn't|don't|didn't|won't|wouldn't|couldn't|fails?|ignores?|contradicts?)\b)",
    re.IGNORECASE,
)
_REACH = 80  # characters before an option in which a denying word is looked for
_APART = 40  # characters between two mentions that no list joins, and which decide on their own
_SIDE_BY_SIDE = 12  # characters at most between a label and its text: "the red box (option A)"


def is_denied_at(text: str, start: int) -> bool:
    """Return whether the words before a position deny those after it."""
    before = _BEFORE.search(text, max(0, start - _REACH), start)
    return before is not None and not _AFFIRMS_AGAIN.search(_between(before))


class Denial(NamedTuple):
    """The denial of a mention: by its sentence, and by the words before it alone."""

    by_sentence: bool
    by_words_before: bool


class Denials:
    """The denials of the mentions in a text. They are judged when they are asked for: few of a long response are."""

    def __init__(self, text: str, mentions: Sequence[Mention]) -> None:
        self._text, self._mentions = text, mentions
        self._judged: dict[int, Denial] = {}

    def __getitem__(self, index: int) -> Denial:
        if index not in self._judged:
            first, last = index, index + 1
            while first > 0 and self._are_close(first):
                first -= 1
            while last < len(self._mentions) and self._are_close(last):
                last += 1
            some = self._mentions[first:last]
            before = _denied_before(self._text, some)
            found = map(Denial, _denied(self._text, some, before), before)
            self._judged.update(zip(range(first, last), found, strict=True))
        return self._judged[index]

    def _are_close(self, index: int) -> bool:
        return self._mentions[index].start - self._mentions[index - 1].end <= _APART


def _denied_before(text: str, mentions: Sequence[Mention]) -> list[bool]:
    """Return for each mention whether the words before it deny it: "not A", "rather than (A) or (B)"."""
    denied: list[bool] = []
    for index, mention in enumerate(mentions):
        listed = index > 0 and denied[-1] and joined(text, mentions[index - 1], mention)
        before = _BEFORE.search(text, max(0, mention.start - _REACH), mention.start)
        between = _between(before) if before else text[mentions[index - 1].end : mention.start] if listed else ""
        if _AFFIRMS_AGAIN.search(between):  # "not A but B"
            denied.append(False)
        elif before and "," not in between:
            denied.append(True)
        else:
            denied.append(listed)  # behind a comma, only a list goes on
    return denied


def _denied(text: str, mentions: Sequence[Mention], before: Sequence[bool]) -> list[bool]:
    """Return for each mention whether its sentence denies it, by the words before it or after it."""
    after = [_AFTER.match(text, mention.end) is not None for mention in mentions]
    for index in range(len(mentions) - 2, -1, -1):  # "A, B and C are wrong"
        after[index] = after[index] or (after[index + 1] and joined(text, mentions[index], mentions[index + 1]))
    found = [first or second for first, second in zip(before, after, strict=True)]
    for index in range(1, len(mentions)):  # "the red box (option A) is wrong"
        first, second = mentions[index - 1], mentions[index]
        between = text[first.end : second.start]
        if first.option == second.option and len(between) < _SIDE_BY_SIDE and "\n" not in between:
            found[index - 1] = found[index] = found[index - 1] or found[index]
    return found


def _between(denial: re.Match[str]) -> str:
    """Return the text between a denying word and the end of its reach."""
    return next(group for group in denial.groups() if group is not None)
