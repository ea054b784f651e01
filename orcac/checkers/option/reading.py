"""A response as the rules of `option` read it: its sentences, lines and mentions of options, each found once."""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cached_property

from orcac.checkers.option.choices import Choices, Mention, joined
from orcac.checkers.option.denials import Denials
from orcac.checkers.statements import MARKUP, end_before, sentence_end, sentence_ends, skip_blank

TWO = -1  # read instead of an option's index where several are named
NONE = -2  # read where the response rejects all options

LABEL_LINE = re.compile(r"[\s*_>#-]{0,6}(?:option |choice )?[(\[]?([^\W\d_]|\d{1,2})[)\].:]", re.IGNORECASE)

_LEAD = re.compile(
    rf"(?:{MARKUP}|[(\[:>#-]|\b(?:only|option|choice|answer|letter|the|number|statement|just|either)\b){{0,12}}",
    re.IGNORECASE,
)
_NO_OPTION = re.compile(
    r"\b(?:none\sof|neither\sof|not\s(?:one\s(?:of|among)|listed|among|given|provided|available|present)"
    r"|no\s(?:correct|right)\s(?:answer|option|choice)|cannot\s(?:be\s)?(?:determine|answer|choose)"
    r"|can't\s(?:be\s)?determine|unknown|undetermined|indeterminate|combination\sof|both\sof|all\sof\s(?:the|them|these)"
    r"|impossible\sto\s(?:say|determine|know|choose))",
    re.IGNORECASE,
)
_JOINED_TO = re.compile(
    rf"(?:,|/|&|\b(?:or|and)\b){MARKUP}{{0,3}}\(?(?:options?|choices?)?{MARKUP}{{0,2}}$", re.IGNORECASE
)
_NEW_CLAUSE = re.compile(
    r"[.;:!?]\s|\n|\b(?:because|since|as|is|are|was|were|not|than|rather|while|whereas|although|though|but|which|that"
    r"|so|if|when|does|do)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    rf"{MARKUP}{{0,6}}(?:-\s)?(?:but\s|and\s)?(?:if|unless|suppose|assuming|assume|were|had)\b", re.IGNORECASE
)
_LINE = re.compile(r"[^\n]*\S[^\n]*")


class Reading:
    """A visible response to an item with these options. Positions are those in `text`."""

    def __init__(self, text: str, offered: Choices) -> None:
        self.text, self.offered = text, offered
        self.mentions = offered.find(text)
        self.starts = [mention.start for mention in self.mentions]
        self._denials = Denials(text, self.mentions)
        self.by_label = any(mention.kind == "strong" for mention in self.mentions)

    @cached_property
    def ends(self) -> list[int]:
        """The ends of sentences."""
        return sentence_ends(self.text)

    @cached_property
    def lines(self) -> list[tuple[int, int]]:
        """The spans of the lines that are not blank."""
        return [(match.start(), match.end()) for match in _LINE.finditer(self.text)]

    def sentence_start(self, at: int) -> int:
        end = end_before(self.text, at)
        return skip_blank(self.text, end + 1) if end >= 0 else 0

    def is_conditional(self, at: int) -> bool:
        """Return whether the sentence at a position only holds under a condition: "if it rains, the answer is A"."""
        return _CONDITION.match(self.text, self.sentence_start(at)) is not None

    def sentence_end(self, at: int) -> int:
        return sentence_end(self.text, at)

    def is_denied(self, index: int) -> bool:
        """Return whether the sentence of a mention denies it."""
        return self._denials[index].by_sentence

    def within(self, start: int, end: int) -> range:
        """Return the indices of the mentions that begin in `text[start:end]`."""
        return range(bisect_left(self.starts, start), bisect_left(self.starts, end))

    def label_at(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the option whose label opens a line, and where the label ends; None if none does."""
        match = LABEL_LINE.match(self.text, start, end)
        option = self.offered.by_label.get(match[1].upper()) if match else None
        return None if match is None or option is None else (option, match.end())

    def lists_options(self, lines: list[tuple[int, int]]) -> bool:
        """Return whether two or more of the lines begin with different labels."""
        return len({label[0] for line in lines if (label := self.label_at(*line))}) > 1

    def named(self, start: int, end: int) -> list[Mention]:
        """Return the mentions in a span that count: strong labels if there are any, else texts, else weak labels.

        If a response names options by labels, a text of a single word is not taken for an option: it is a common word.
        """
        here = [self.mentions[index] for index in self.within(start, end) if not self.is_denied(index)]
        for kind in ("strong", "text", "weak"):
            of_kind = [mention for mention in here if mention.kind == kind]
            if kind == "text" and self.by_label:
                of_kind = [mention for mention in of_kind if " " in self.text[mention.start : mention.end]]
            if of_kind:
                return of_kind
        return []

    def choose(self, start: int, end: int, *, at_once: bool = False, firm: bool = False) -> int | None:
        """Return the option that `text[start:end]` names, `TWO` if several, None if it names none.

        If the span opens with an option, that is the answer, unless it is joined to another one. `at_once` demands it.
        Behind a firm statement, only words before an option deny it: "the answer is B) Does not ..." does not.
        """
        lead = _LEAD.match(self.text, start, end)
        here = self.within(start, lead.end() + 1 if lead else start)
        opening = [index for index in here if not self._denials[index][firm]]
        if opening:
            first = min(opening, key=lambda index: (self.mentions[index].kind == "text", index))
            mention = self._with_text(first)
            later = (self.mentions[index] for index in self.within(mention.end, end) if not self.is_denied(index))
            if any(other.option != mention.option and self._listed_with(mention, other) for other in later):
                return TWO
            same_place = {self.mentions[index].option for index in opening}
            return mention.option if len(same_place) == 1 or mention.kind != "text" else TWO
        if at_once:
            return None
        options = {mention.option for mention in self.named(start, end)}
        return (options.pop() if len(options) == 1 else TWO) if options else None

    def declines(self, start: int, end: int, chosen: int | None) -> bool:
        """Return whether a span accepts none or several before it names one: "none of the above"."""
        refusal = _NO_OPTION.search(self.text, start, end)
        if refusal is None:
            return False
        here = [self.mentions[index] for index in self.within(start, end) if not self.is_denied(index)]
        return chosen is None or not any(mention.start < refusal.end() or mention.kind == "strong" for mention in here)

    def lists_answers(self, start: int) -> bool:
        """Return whether a statement whose value begins a line gives several: a paragraph of lines with labels."""
        blank = self.text.find("\n\n", start)
        lines = self.text[start : blank if blank >= 0 else len(self.text)].split("\n")
        labels = [LABEL_LINE.match(line) for line in lines]
        return len(lines) > 1 and all(labels) and len({label[1] for label in labels if label}) > 1

    def _with_text(self, index: int) -> Mention:
        """Return a mention, lengthened by the option's text if that follows its label: "B) the red box"."""
        here = self.mentions[index]
        for after in self.mentions[index + 1 : index + 2]:
            if after.option == here.option and after.start - here.end < 4:
                return here._replace(end=after.end)
        return here

    def _listed_with(self, first: Mention, second: Mention) -> bool:
        """Return whether two options are answers alike: "A or B", "A) red and B) blue"."""
        if joined(self.text, first, second):
            return True
        if first.kind == "text" or second.kind == "text":
            return False
        between = self.text[first.end : second.start]
        return bool(_JOINED_TO.search(between[-12:])) and not _NEW_CLAUSE.search(between)


At = tuple[int, int]  # a position, and the option read there, `TWO` or `NONE`


def latest(*readings: At | None) -> At | None:
    """Return the reading at the last position, if there is any."""
    return max((reading for reading in readings if reading), default=None)
