"""The checker `option`: answers that are one of an item's options.

Four ways to read a response are tried in order:
  1. the last statement that names an option ("the answer is (B)", a boxed letter) or says that "(B) is correct";
  2. the last concluding sentence or choice that names one: "Therefore, the most likely cause is D) ...", "I pick B";
  3. an option that is the first or the last line, or a yes or no that opens the response;
  4. the only option that the response names, if it opens or ends the response, or the only one that it does not deny.

Options that a sentence denies ("not A", "(A) is wrong") are not named by it. A statement that names two leaves the
response ambiguous, and one that names none of them on purpose ("none of the above") leaves it unparsed. A response that
opens with one option and concludes with another is ambiguous.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from orcac.checkers.characters import fold
from orcac.checkers.checker import AMBIGUOUS, UNPARSED, Checker, Extraction, Item
from orcac.checkers.choices import Choices, Mention, choices, joined
from orcac.checkers.statements import CONCLUDES, MARKUP, find_statements, sentence_ends, skip_blank
from orcac.checkers.visible import visible

_TWO = -1  # read instead of an option's index where two are named
_NONE = -2  # where the response says that no option is right

_DENIES_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|cannot|without)\b(?P<near>[^.;:!?\n]{0,20})|n't\b(?P<nearer>[^.;:!?\n]{0,20})"
    r"|(?:\b(?:rather\sthan|instead\sof|unlike|(?:eliminat|exclud|reject|discard|dismiss)\w{0,5}|rul(?:e|es|ed|ing)\sout"
    r"|incorrect|wrong)\b)(?P<far>[^.;:!?\n]{0,60}))$",
    re.IGNORECASE,
)
_AFFIRMS_AGAIN = re.compile(
    r"\b(?:but|so|hence|thus|then|therefore|only|leav\w{1,3}|is|are|it\s(?:is|must)|it's|that's|because|since|and\s(?:is|must))\b",
    re.IGNORECASE,
)
_DENIES_AFTER = re.compile(
    rf"{MARKUP}{{0,6}}(?:,|-)?\s?(?:which\s|that\s)?(?:(?:is|are|was|were|can|could|would|should|does|do|did|may)"
    r"\s?(?:also\s|all\s|both\s|clearly\s|therefore\s|thus\s)?(?:be\s)?(?:not\b|n't\b|never\b|incorrect\b|wrong\b"
    r"|eliminated\b|ruled\sout\b|excluded\b|out\b|irrelevant\b|unlikely\b|too\b|less\b)"
    r"|(?:cannot|can't|isn't|aren't|doesn't|don't|didn't|won't|wouldn't|couldn't|fails?|ignores?|contradicts?)\b)",
    re.IGNORECASE,
)
_IS_RIGHT = re.compile(
    rf"{MARKUP}{{0,6}}(?:,\s?)?(?:which\s)?(?:is|are|would\sbe|must\sbe|should\sbe|seems)\s"
    r"(?:(?:therefore|thus|indeed|clearly|hence|most\slikely|likely|probably|both|all)\s)?"
    r"(?:(?:the\s)?(?:only\s|single\s)?(?:correct|right|best|true|proper)\b|(?:the|my)\s(?:final\s)?(?:answer|choice)\b)",
    re.IGNORECASE,
)
_IS_BEST = re.compile(
    rf"{MARKUP}{{0,6}}(?:,\s?)?(?:which\s)?(?:is|are|would\sbe|must\sbe|should\sbe|may\sbe|seems(?:\slike|\sto\sbe)?|appears\sto\sbe)\s"
    r"(?:(?:therefore|thus|indeed|clearly|hence|likely|probably)\s)?(?:the\s)?(?:best|closest|better|preferred|most\s(?:likely|appropriate"
    r"|suitable|accurate|probable|plausible|reasonable|logical|fitting|relevant|effective|specific))\b",
    re.IGNORECASE,
)
_BEST_IS = re.compile(
    r"\b(?:most|best|least|closest|only|first|next)\s[^.;:?!\n]{1,120}?\s(?:is|are|would\sbe|will\sbe|should\sbe|must\sbe)\b",
    re.IGNORECASE,
)
_THE_ANSWER = re.compile(
    r"[^.;:?!\n,]{0,100}?\b(?:is|are|would\sbe|must\sbe|should\sbe|seems(?:\slike|\sto\sbe)?|appears\sto\sbe)\s(?:therefore\s|thus\s)?"
    r"the\s(?:only\s)?(?:correct|right|best|closest|most\s\w{2,20})\s(?:answer|option|choice|match|fit)\b",
    re.IGNORECASE,
)
_THIS_IS_RIGHT = re.compile(
    r"\b(?:this|that)\s(?:(?:option|answer|choice|statement|one)\s)?is\s(?:therefore\s|thus\s|indeed\s|likely\s)?"
    r"(?:(?:the\s)?(?:correct|right|best)\b|the\smost\s(?:likely|appropriate|suitable|accurate)\b)",
    re.IGNORECASE,
)
_IS_AT_LAST = re.compile(
    rf"\b(?:is|are|was|be|being|by)\b(?:{MARKUP}|:|only|option|choice|answer){{0,6}}$", re.IGNORECASE
)
_OPENS_CLAUSE = re.compile(
    rf"(?:^|[.!?:,;\n]|\b(?:options?|choices?|answer|so|thus|hence|therefore|that|then|only|and|or|both)){MARKUP}{{0,6}}$",
    re.IGNORECASE,
)
_CHOOSES = re.compile(
    r"\b(?:choos(?:e|ing)|pick(?:ing)?|select(?:ing)?|go(?:ing)?\swith|opt(?:ing)?\sfor|settle\s(?:on|for)"
    r"|leav(?:es|ing)(?:\s(?:us|me))?(?:\s(?:with|only))?|left\swith|must\sbe|has\sto\sbe|except(?:\sfor)?"
    r"|correspond(?:s|ing)?\s(?:to|with)|closest\sto|points?\sto)\b",
    re.IGNORECASE,
)
_I_CHOOSE = re.compile(r"\b(?:I|we|you)(?:'d|'ll|\s(?:can|could|would|will|should|must))?\s$", re.IGNORECASE)
_CONDITION = re.compile(
    rf"{MARKUP}{{0,6}}(?:-\s)?(?:but\s|and\s)?(?:if|unless|suppose|assuming|assume|were|had)\b", re.IGNORECASE
)
_LEAD = re.compile(
    rf"(?:{MARKUP}|[(\[:>#-]|\b(?:only|option|choice|answer|letter|the|number|statement|just|either)\b){{0,12}}",
    re.IGNORECASE,
)
_NO_OPTION = re.compile(
    r"\b(?:none\sof|neither\sof|not\s(?:one\s(?:of|among)|listed|among|given|provided|available|present)|no\s(?:correct|right)\s"
    r"(?:answer|option|choice)|cannot\s(?:be\s)?(?:determine|answer|choose)|can't\s(?:be\s)?determine|unknown|undetermined"
    r"|indeterminate|combination\sof|both\sof|all\sof\s(?:the|them|these)|impossible\sto\s(?:say|determine|know|choose))",
    re.IGNORECASE,
)
_ALONE = re.compile(rf"(?:{MARKUP}|[-.:!>#()\[\],])*")
_LABEL_LINE = re.compile(r"[\s*_>#-]{0,6}(?:option |choice )?[(\[]?([^\W\d_]|\d{1,2})[)\].:]", re.IGNORECASE)
_JUDGES = re.compile(
    r"\s*(?:is|was|are|can|cannot|could|would|seems?|has|does|do|states?|says|ignores?|fails?|contradicts?|mentions?"
    r"|may|might|will|should|also|only|gives?|implies|describes?)\b",
    re.IGNORECASE,
)
_AFTER_OPENING = re.compile(rf"{MARKUP}{{0,6}}(?:$|[.,;:!)\n-]|(?:because|since|as|for)\b)", re.IGNORECASE)
_REACH = 80  # characters before an option in which its clause must open


class _Text(NamedTuple):
    """A response with what was found in it once."""

    text: str
    ends: list[int]  # of sentences
    mentions: list[Mention]
    starts: list[int]  # of the mentions
    denied: list[bool]  # for each mention
    denied_before: list[bool]  # by the words before it alone

    def within(self, start: int, end: int) -> range:
        """Return the indices of the mentions that begin in `text[start:end]`."""
        return range(bisect_left(self.starts, start), bisect_left(self.starts, end))

    def sentence_start(self, at: int) -> int:
        place = bisect_left(self.ends, at)
        return skip_blank(self.text, self.ends[place - 1] + 1) if place else 0

    def sentence_end(self, start: int) -> int:
        return self.ends[bisect_left(self.ends, start)]


def read(response: str, item: Item) -> Extraction:
    """Return the option that a response chooses, spelled as in the item."""
    query = fold(item.query)
    offered = choices(item.options, query)
    text = visible(fold(response), query)
    if (whole := offered.whole(text)) is not None:
        return Extraction(item.options[whole], "read")
    mentions = offered.find(text)
    before = _denied_before(text, mentions)
    found = _Text(
        text=text,
        ends=sentence_ends(text),
        mentions=mentions,
        starts=[mention.start for mention in mentions],
        denied=_denied(text, mentions, before),
        denied_before=before,
    )
    stated, concluded = _stated(found, offered), _concluded(found, offered)
    chosen = stated[1] if stated else None
    if stated and chosen == _TWO and concluded and concluded > stated and concluded[1] >= 0:
        chosen = concluded[1]  # "both A and D are right, but D is the best answer"
    if chosen is None:
        chosen, edge = concluded[1] if concluded else None, _at_edge(found, offered)
        if chosen is None:
            chosen = next((one for one in (edge, _only(found), _left(found, offered)) if one is not None), None)
        elif chosen >= 0 and edge is not None and edge not in (chosen, _TWO):
            chosen = _TWO
    if chosen is None or chosen == _NONE:
        return UNPARSED
    return AMBIGUOUS if chosen == _TWO else Extraction(item.options[chosen], "read")


def same(value: str, other: str, item: Item) -> bool:
    """Return whether two texts name one option."""
    if not value or not other:
        return False
    offered = choices(item.options, fold(item.query))
    first, second = (
        item.options.index(one) if one in item.options else offered.whole(fold(one)) for one in (value, other)
    )
    return first is not None and first == second


def score(value: str, item: Item) -> float:
    """Return 1 for the option that the reference names, else 0."""
    return float(same(value, item.reference, item))


CHECKER = Checker(name="option", read=read, same=same, score=score)


def _denied_before(text: str, mentions: Sequence[Mention]) -> list[bool]:
    """Return for each mention whether the words before it deny it: "not A", "rather than (A) or (B)"."""
    denied: list[bool] = []
    for index, mention in enumerate(mentions):
        listed = index > 0 and denied[-1] and joined(text, mentions[index - 1], mention)
        before = _DENIES_BEFORE.search(text, max(0, mention.start - _REACH), mention.start)
        between = _between(before) if before else text[mentions[index - 1].end : mention.start] if listed else ""
        if _AFFIRMS_AGAIN.search(between):  # "not A but B"
            denied.append(False)
        elif before and "," not in between:
            denied.append(True)
        else:
            denied.append(listed)  # behind a comma, only a list goes on
    return denied


def _between(denial: re.Match[str]) -> str:
    """Return what stands between a denying word and what it denies."""
    return str(next(group for group in denial.groups() if group is not None))


def _denied(text: str, mentions: Sequence[Mention], before: list[bool]) -> list[bool]:
    """Return for each mention whether its sentence denies it, by the words before it or after it."""
    denied = [
        deny or _DENIES_AFTER.match(text, here.end) is not None for deny, here in zip(before, mentions, strict=True)
    ]
    for index in range(1, len(mentions)):  # "the red box (option A) is wrong"
        first, second = mentions[index - 1], mentions[index]
        if (
            first.option == second.option
            and second.start - first.end < 12
            and "\n" not in text[first.end : second.start]
        ):
            denied[index - 1] = denied[index] = denied[index - 1] or denied[index]
    for index in range(len(mentions) - 2, -1, -1):  # "A and B are wrong"
        if _DENIES_AFTER.match(text, mentions[index + 1].end) and joined(text, mentions[index], mentions[index + 1]):
            denied[index] = True
    return denied


def _named(found: _Text, start: int, end: int) -> list[int]:
    """Return the mentions in a span that count: strong labels if there are any, else texts, else weak labels.

    If a response names options by labels, a text of a single word is not taken for an option: it is a common word.
    """
    here = [index for index in found.within(start, end) if not found.denied[index]]
    by_label = any(mention.kind == "strong" for mention in found.mentions)
    for kind in ("strong", "text", "weak"):
        of_kind = [index for index in here if found.mentions[index].kind == kind]
        if kind == "text" and by_label:
            of_kind = [i for i in of_kind if " " in found.text[found.mentions[i].start : found.mentions[i].end]]
        if of_kind:
            return of_kind
    return []


def _choose(found: _Text, start: int, end: int, *, at_once: bool = False) -> int | None:
    """Return the option that `text[start:end]` names, `_TWO` if two, None if it names none.

    If the span opens with an option, that is the answer, unless it is joined to another one. `at_once` demands it.
    """
    named = [index for index in found.within(start, end) if not found.denied[index]]
    lead = _LEAD.match(found.text, start, end)
    opening = [
        index
        for index in found.within(start, lead.end() + 1 if lead else start)
        if not found.denied_before[index]  # "the answer is B) Does not ..." denies nothing
    ]
    if opening:
        first = max(opening, key=lambda index: (found.mentions[index].kind != "text", -index))
        mention = found.mentions[first]
        later = (found.mentions[index] for index in named if found.mentions[index].start >= mention.end)
        mention = _with_text(found, first)
        if any(other.option != mention.option and _listed_with(found.text, mention, other) for other in later):
            return _TWO
        same_place = {found.mentions[index].option for index in opening}
        return mention.option if len(same_place) == 1 or mention.kind != "text" else _TWO
    if at_once:
        return None
    options = {found.mentions[index].option for index in _named(found, start, end)}
    return (options.pop() if len(options) == 1 else _TWO) if options else None


def _with_text(found: _Text, index: int) -> Mention:
    """Return a mention, lengthened by the option's text if that follows its label: "B) the red box"."""
    here = found.mentions[index]
    for after in found.mentions[index + 1 : index + 2]:
        if after.option == here.option and after.start - here.end < 4:
            return here._replace(end=after.end)
    return here


def _declines(found: _Text, start: int, end: int, chosen: int | None) -> bool:
    """Return whether a span says that no option or several are right, before it names one: "none of the above"."""
    refusal = _NO_OPTION.search(found.text, start, end)
    if refusal is None:
        return False
    named = [found.mentions[index] for index in found.within(start, end) if not found.denied[index]]
    return chosen is None or not any(mention.start < refusal.end() or mention.kind == "strong" for mention in named)


def _listed_with(text: str, first: Mention, second: Mention) -> bool:
    """Return whether two options are answers alike: "A or B", "A) red and B) blue"."""
    if joined(text, first, second):
        return True
    if first.kind == "text" or second.kind == "text":
        return False
    between = text[first.end : second.start]
    return bool(_JOINED_TO.search(between[-12:])) and not _NEW_CLAUSE.search(between)


def _stated(found: _Text, offered: Choices) -> tuple[int, int] | None:
    """Apply rule 1. Return a position and the option read there."""
    last: tuple[int, int] | None = None
    for statement in reversed(find_statements(found.text, found.ends)):
        if statement.kind != "marked" and _CONDITION.match(found.text, found.sentence_start(statement.head)):
            continue
        value = found.text[statement.start : statement.end]
        if statement.kind == "marked":
            chosen = offered.whole(value)
            if chosen is None:
                chosen = _choose(found, statement.start, statement.end)
        else:
            on_own_line = "\n" in found.text[statement.head + 1 : statement.start]
            end = _block_end(found, statement.start, statement.end, on_own_line)
            chosen = offered.whole(value) if end == statement.end else _TWO
            if (
                chosen is None
                and (opening := offered.label_at_start(value))
                and not _JOINS_ON.match(value, opening.end)
            ):
                chosen = opening.option
            if chosen is None:
                chosen = _choose(found, statement.start, end)
        if statement.kind != "loose" and _declines(found, statement.start, statement.end, chosen):
            chosen = _NONE
        if chosen is not None:
            last = (statement.start, chosen)
            break
    return _latest(last, _judged(found, offered, _IS_RIGHT))


def _latest(*readings: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the reading at the last position, if there is any."""
    return max((reading for reading in readings if reading), default=None)


def _judged(found: _Text, offered: Choices, judgement: re.Pattern[str]) -> tuple[int, int] | None:
    """Return the last option of which a clause says that it is right, with its position."""
    for index in reversed(range(len(found.mentions))):
        mention = found.mentions[index]
        if found.denied[index] or not judgement.match(found.text, mention.end):
            continue
        if mention.kind == "text" and mention.option in _names_of_truth(offered):
            continue
        if not _OPENS_CLAUSE.search(found.text, max(0, mention.start - _REACH), mention.start):
            continue
        before = found.mentions[index - 1] if index else None
        two = before and before.option != mention.option and joined(found.text, before, mention)
        return mention.start, _TWO if two else mention.option
    return None


_JOINED_TO = re.compile(
    rf"(?:,|/|&|\b(?:or|and)\b){MARKUP}{{0,3}}\(?(?:options?|choices?)?{MARKUP}{{0,2}}$", re.IGNORECASE
)
_NEW_CLAUSE = re.compile(
    r"[.;:!?]\s|\n|\b(?:because|since|as|is|are|was|were|not|than|rather|while|whereas|although|though|but|which|that|so|if|when|does|do)\b",
    re.IGNORECASE,
)
_JOINS_ON = re.compile(
    rf"{MARKUP}{{0,6}}(?:,|/|&|\bor\b|\band\b){MARKUP}{{0,6}}[(\[]?[A-Za-z\d][)\]]?(?!\w)", re.IGNORECASE
)


def _names_of_truth(offered: Choices) -> set[int]:
    """Return the options in words that say of a sentence whether it is right: "true is correct" chooses nothing."""
    return {offered.by_text[word] for word in ("true", "false", "correct", "incorrect") if word in offered.by_text}


def _block_end(found: _Text, start: int, end: int, whole_block: bool) -> int:
    """Return where a statement ends: with its sentence, or if it begins on a line of its own, with its paragraph."""
    if not whole_block:
        return end
    blank = found.text.find("\n\n", start)
    block = found.text[start : blank if blank >= 0 else len(found.text)]
    lines = block.split("\n")
    labels = [_LABEL_LINE.match(line) for line in lines]
    if len(lines) > 1 and all(labels) and len({label[1] for label in labels if label}) > 1:
        return start + len(block)
    return end


def _concluded(found: _Text, offered: Choices) -> tuple[int, int] | None:
    """Apply rule 2. Return a position and the option read there."""
    return _latest(
        _concluding_sentence(found),
        _chosen(found),
        _best(found),
        _judged(found, offered, _IS_BEST),
        _judged(found, offered, _THE_ANSWER),
        _after_colon(found, offered),
        _confirmed(found, offered),
    )


def _concluding_sentence(found: _Text) -> tuple[int, int] | None:
    last: tuple[int, int] | None = None
    start = 0
    for end in found.ends:
        begin = skip_blank(found.text, min(start, len(found.text)))
        if begin < end and CONCLUDES.match(found.text, begin):
            stop, block = end, False
            if found.text[begin:end].rstrip("* ").endswith(":"):
                following = skip_blank(found.text, end)
                if following < len(found.text):
                    line_end = found.sentence_end(following)
                    stop = _block_end(found, following, line_end, True)
                    block = stop != line_end
            chosen = _TWO if block else _choose(found, begin, stop)
            if stop == end and _declines(found, begin, end, chosen):
                chosen = _NONE
            if chosen is not None:
                last = (begin, chosen)
        start = end + 1
    return last


def _chosen(found: _Text) -> tuple[int, int] | None:
    for match in reversed([*_CHOOSES.finditer(found.text)]):
        after = skip_blank(found.text, match.end())
        if after >= len(found.text):
            continue
        before = _DENIES_BEFORE.search(found.text, max(0, match.start() - 40), match.start())
        if before and not _AFFIRMS_AGAIN.search(_between(before)):
            continue
        chosen = _choose(found, after, found.sentence_end(after), at_once=True)
        if chosen is None and _I_CHOOSE.search(found.text, max(0, match.start() - 20), match.start()):
            chosen = _choose(found, after, found.sentence_end(after))
            chosen = None if chosen == _TWO else chosen
        if chosen is not None:
            return match.start(), chosen
    return None


def _after_colon(found: _Text, offered: Choices) -> tuple[int, int] | None:
    """Return the option in the last line that follows a colon, if the lines after it do not list other options."""
    lines = _lines(found.text)
    for index in range(len(lines) - 1, 0, -1):
        start, end = lines[index]
        label = _LABEL_LINE.match(found.text, start, end)
        if label and (option := offered.by_label.get(label[1].upper())) is not None:
            if _listed(found, offered, lines[index:]):
                return None
            if found.text[lines[index - 1][0] : lines[index - 1][1]].rstrip("* ").endswith(":"):
                return start, option
    return None


def _confirmed(found: _Text, offered: Choices) -> tuple[int, int] | None:
    """Return the option whose own line says "this is the correct answer"; two such lines say nothing."""
    confirmed: dict[int, int] = {}
    for start, end in _lines(found.text):
        label = _LABEL_LINE.match(found.text, start, end)
        option = offered.by_label.get(label[1].upper()) if label else None
        if option is not None and (this := _THIS_IS_RIGHT.search(found.text, start, end)):
            confirmed[option] = this.start()
    return next(((at, option) for option, at in confirmed.items()), None) if len(confirmed) == 1 else None


def _lines(text: str) -> list[tuple[int, int]]:
    """Return the span of every line that is not blank."""
    return [(match.start(), match.end()) for match in re.finditer(r"[^\n]*\S[^\n]*", text)]


def _best(found: _Text) -> tuple[int, int] | None:
    for match in reversed([*_BEST_IS.finditer(found.text)]):
        chosen = _choose(found, match.end(), found.sentence_end(match.end()))
        if chosen is not None:
            return match.start(), chosen
    return None


def _at_edge(found: _Text, offered: Choices) -> int | None:
    """Apply rule 3. The first and the last line must agree."""
    lines = _lines(found.text)
    if not lines:
        return None
    chosen = set()
    first, last = lines[0], lines[-1]
    for start, end in dict.fromkeys((first, last)):
        option = _lone_line(found, offered, start, end)
        if option is None and (start, end) == first:
            option = _opening(found, offered, lines)
        if option is None and (start, end) == last and len(lines) > 1:
            option = _closing(found, offered, lines)
        if option is not None:
            chosen.add(option)
    if not chosen and (option := _last_words(found, *last)) is not None:
        chosen.add(option)
    return (chosen.pop() if len(chosen) == 1 else _TWO) if chosen else None


def _lone_line(found: _Text, offered: Choices, start: int, end: int) -> int | None:
    line = found.text[start:end]
    if len(line) < 400 and (whole := offered.whole(re.sub(r"^[\s>#*-]+", "", line))) is not None:
        labelled = _LABEL_LINE.match(line)
        if labelled is None or _ALONE.fullmatch(line[labelled.end() :]):
            return whole
    named = {found.mentions[index].option for index in found.within(start, end)}
    if len(named) != 1:
        return None
    rest = line
    for index in reversed(found.within(start, end)):
        mention = found.mentions[index]
        rest = rest[: mention.start - start] + rest[mention.end - start :] if mention.end <= end else rest
    return named.pop() if _ALONE.fullmatch(rest) else None


def _opening(found: _Text, offered: Choices, lines: list[tuple[int, int]]) -> int | None:
    """Return the option that opens a response whose first line names no other."""
    start, end = lines[0]
    here = found.within(start, end)
    lead = re.compile(rf"(?:{MARKUP}|[(\[>#-]|\b(?:option|choice|answer)\b){{0,8}}", re.IGNORECASE).match(
        found.text, start
    )
    if not here or lead is None or found.mentions[here[0]].start > lead.end():
        label = offered.label_at_start(found.text[start:end]) if len(lines) == 1 else None
        return label.option if label else None
    mention = found.mentions[here[0]]
    after = found.text[mention.end : end]
    if mention.kind == "text":
        return mention.option if _AFTER_OPENING.match(after) and not _listed(found, offered, lines) else None
    if len({found.mentions[index].option for index in here if found.mentions[index].kind != "text"}) > 1:
        two = found.mentions[here[1]] if len(here) > 1 else None
        return _TWO if two and joined(found.text, mention, two) else None
    if _JUDGES.match(after.lstrip("*_.) ")) or found.denied[here[0]] or _listed(found, offered, lines):
        return None
    if mention.kind == "weak" and not _AFTER_OPENING.match(after):
        return None
    return mention.option


def _closing(found: _Text, offered: Choices, lines: list[tuple[int, int]]) -> int | None:
    """Return the label that opens the last line, if the line above ends in a colon or no other line has a label."""
    start, end = lines[-1]
    label = _LABEL_LINE.match(found.text, start, end)
    index = offered.by_label.get(label[1].upper()) if label else None
    if label is None or index is None or _JUDGES.match(found.text, label.end(), end):
        return None
    above = found.text[lines[-2][0] : lines[-2][1]].rstrip("* ")
    return index if above.endswith(":") or not _listed(found, offered, lines) else None


def _last_words(found: _Text, start: int, end: int) -> int | None:
    """Return the label that the last sentence ends in: "The false statement is B) ..."."""
    ends = found.ends[: bisect_left(found.ends, end - 1)]
    start = max(start, ends[-1] if ends else 0)
    named = {found.mentions[index].option for index in _named(found, start, end)}
    for index in found.within(start, end):
        mention = found.mentions[index]
        if len(named) == 1 and mention.kind == "strong" and mention.option in named and not found.denied[index]:
            before = _IS_AT_LAST.search(found.text, max(start, mention.start - 20), mention.start)
            return mention.option if before else None
    return None


def _listed(found: _Text, offered: Choices, lines: list[tuple[int, int]]) -> bool:
    """Return whether the lines list the options: two or more begin with different labels."""
    seen = set()
    for start, end in lines:
        if (label := _LABEL_LINE.match(found.text, start, end)) and label[1].upper() in offered.by_label:
            seen.add(label[1].upper())
    return len(seen) > 1


def _only(found: _Text) -> int | None:
    """Apply rule 4."""
    labels = {mention.option for mention in found.mentions if mention.kind == "strong"}
    options = labels or {mention.option for mention in found.mentions}
    if len(options) != 1 or any(found.denied):
        return None
    if labels and not any(
        mention.kind == "strong" and found.text[: mention.start].rstrip("(* ").endswith("\n")
        for mention in found.mentions
    ):
        return labels.pop()
    first, last = found.mentions[0], found.mentions[-1]
    if _ALONE.fullmatch(found.text, 0, first.start) and first.kind != "weak":
        return first.option
    ends = _ALONE.fullmatch(found.text, last.end)
    return last.option if ends and len(found.mentions) <= 2 else None


def _left(found: _Text, offered: Choices) -> int | None:
    """Return the one option that is not denied, if every other one is."""
    named = {mention.option for mention in found.mentions if mention.kind != "weak"}
    denied = {mention.option for mention, deny in zip(found.mentions, found.denied, strict=True) if deny}
    affirmed = {mention.option for mention, deny in zip(found.mentions, found.denied, strict=True) if not deny}
    left = set(range(len(offered.options))) - denied
    return left.pop() if len(left) == 1 and len(named) > 1 and not affirmed & denied else None
