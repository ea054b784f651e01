"""The options of an item, and the places in a text that name one: by its label, by its text or by its number.

Labels are single letters of any script, or numbers, as in "(B)", "B)", "B." and "option 2". Letters keep their meaning
whatever their order and whichever are missing: of the options (A), (C), (B), "C" is the second. If the options are bare
letters, their texts are read from the list in the item's query. Options may also have names, as in "Sentence A: ...":
the letter or number that ends a name is the label, and the name is another text of the option.

Options without labels are counted: "B" and "option 2" are the second. A number alone is no such label, since a
calculation may end in it.

A strong label is in brackets or after a word such as "option". A weak one is a bare capital, which may also be the
article "A", the pronoun "I" or a part of "vitamin C". Texts must be whole words, in any case: "invalid" does not name
"valid". But "not valid" names "invalid" where both are options.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Literal, NamedTuple

from orcac.checkers.characters import fold, lowered, may_hold
from orcac.checkers.number import quantity
from orcac.checkers.statements import find_all, match_at

Kind = Literal["strong", "weak", "text"]

_LABEL = r"[^\W\d_]|\d{1,2}"
_BARE = re.compile(r"[(\[]?([^\W\d_])[)\].:]?|\((\d{1,2})\)|(\d{1,2})[).]")
_LABELLED = re.compile(rf"(?:[(\[]({_LABEL})[)\]]\s*|({_LABEL})[).:]\s+)(\S.*)", re.DOTALL)
_NAMED = re.compile(r"([^\W\d_]{2,20}) ([A-Z]|\d{1,2}):\s+(\S.*)", re.DOTALL)
_JOIN = re.compile(r"[\s*_\"'$]{0,6}(?:,|/|&|\bor\b|\band\b|,\s?or\b|,\s?and\b)[\s*_\"'$]{0,6}", re.IGNORECASE)
_JOINED_BEFORE = re.compile(r"\w$|\w[-']$|\d[.,]$")
_JOINED_AFTER = re.compile(r"\w|[-']\w|[.,]\d")
_WORD_FOLLOWS = re.compile(r"\s+(?!(?:because|since|as|and|or|is|if)\b)\w")
_VALUE_ENDS = re.compile(r",?\s(?:because|since|so|as)\b|,\s|\s\(")
_NEGATIONS = ("in", "un", "im", "il", "ir", "non", "non-", "not ", "dis")
_LABEL_WORDS = r"(?:options?|choices?|letters?|alternatives?|statements?|answers?|numbers?)"
_LABEL_STEMS = ("option", "choice", "letter", "alternative", "statement", "answer", "number")


class Mention(NamedTuple):
    """A place that names an option: `text[start:end]`. `option` is its index."""

    option: int
    start: int
    end: int
    kind: Kind


class Choices:
    """The options of an item; labels and texts have one entry an option, "" where it has none."""

    def __init__(self, options: Sequence[str], listed: Sequence[str] | None) -> None:
        """Take the texts from `listed` if all options are bare labels."""
        self.options = tuple(options)
        folded = [fold(option).strip() for option in options]
        bare, named = _bare_labels(self.options), _split_names(folded)
        if bare and listed is not None:
            self.labels, self.texts = list(bare), list(listed)
        else:
            self.labels, self.texts = (named.labels, named.texts) if named else _split(folded)
        texts = [_plain(text) for text in self.texts]
        self.by_text = {text: index for index, text in enumerate(texts) if text and texts.count(text) == 1}
        if named:
            self.by_text |= {_plain(name): index for index, name in enumerate(named.names)}
        self.by_label = {label.upper(): index for index, label in enumerate(self.labels) if label}
        self._wanted = [(" ".join(text.lower().split()), index) for text, index in self.by_text.items()]
        self._quantities: list[quantity.Quantity | None] | None = None  # of the texts, once one is looked for
        self._longest = 2 * max((len(option) for option in [*folded, *self.texts]), default=0) + 100
        self._numbered = any(label.isdecimal() for label in self.by_label)
        self._begins, self._strong, self._weak = _label_patterns(tuple(sorted(self.by_label)), self._numbered)

    def find(self, text: str) -> list[Mention]:
        """Return the mentions in order. Those of one kind do not overlap; a label and a text may."""
        strong, weak = self._match_labels(text)
        labels = [
            Mention(
                self.by_label[match[group].upper()],
                match.start("word" if group == "word" else 0),
                match.end(),
                "strong",
            )
            for match in strong
            if (group := str(match.lastgroup))
        ]
        taken = [(mention.start, mention.end) for mention in labels]
        for match in weak:
            place = bisect_left(taken, (match.end(), 0))
            if place == 0 or taken[place - 1][1] <= match.start():
                labels.append(Mention(self.by_label[match[0]], match.start(), match.end(), "weak"))
        labels.sort(key=attrgetter("start"))
        return sorted([*_strengthen(labels, text), *self._find_texts(text)], key=attrgetter("start"))

    def _match_labels(self, text: str) -> tuple[Iterable[re.Match[str]], Iterable[re.Match[str]]]:
        """Return the matches of strong and of weak labels."""
        if not self._begins:
            return (), ()
        lower = lowered(text)
        if may_hold(lower, ()):
            return _matches(self._strong, text), _matches(self._weak, text)
        places = {match.start() for match in self._begins.finditer(text)}
        of_words = {place for word in _LABEL_STEMS if word in lower for place in find_all(word, lower)}
        strong = match_at(self._strong, text, places | of_words) if self._strong else ()
        return strong, match_at(self._weak, text, places) if self._weak else ()

    def _find_texts(self, text: str) -> Iterator[Mention]:
        """Yield the mentions by text: of those that overlap the first, of those that begin together the longest."""
        lower = lowered(text).replace("\n", " ")
        found = [
            (start, start + len(wanted), index)
            for wanted, index in self._wanted
            for start in _occurrences(wanted, lower)
            if _is_whole(wanted, lower, start)
        ]
        for pattern, index in self._negations:
            found += [(match.start(), match.end(), index) for match in pattern.finditer(lower)]
        last = 0
        for start, end, index in sorted(found, key=lambda span: (span[0], -span[1])):
            if start >= last:
                yield Mention(index, start, end, "text")
                last = end

    def label_at_start(self, text: str) -> Mention | None:
        """Return the label that the text opens with, in any case, as a value of its own: "b", "b)", "2."."""
        match = re.match(rf"[\s*_\"'$(\[]{{0,8}}({_LABEL})(?![\w])[)\].:]?", text)
        if not match or not (index := self._index(match[1]) + 1):
            return None
        rest = text[match.end() :]
        if not re.match(r"[\s*_\"'$)\].,;:!]*(?:$|\n)|[*_\"'$)\].,;:!]|\s-\s|\s(?:because|since|as)\b", rest):
            return None
        return Mention(index - 1, match.start(1), match.end(), "strong")

    def whole(self, text: str) -> int | None:
        """Return the option that a whole text names, e.g. "B", "(b)", "option 2", "Rome" or "(B) Rome"."""
        if len(text) > self._longest:
            return None
        plain = _plain(text)
        if plain in self.by_text:
            return self.by_text[plain]
        label_word = re.match(rf"(?:the )?{_LABEL_WORDS} ", plain)
        plain = plain[label_word.end() :] if label_word else plain
        if plain in self.by_text:
            return self.by_text[plain]
        match = _BARE.fullmatch(plain) or _LABELLED.fullmatch(plain)
        label = next((group for group in match.groups() if group), "") if match else plain if plain.isdecimal() else ""
        index = self._index(label, is_called_option=label_word is not None) if label else -1
        if index < 0:
            return None
        if match and match.re is _LABELLED and _plain(match[3]) != _plain(self.texts[index]):
            return None
        return index

    def with_value(self, text: str) -> int | None:
        """Return the one option whose text is the quantity that a text opens with: "42" for "42 km/h"."""
        stated = quantity.parse(_VALUE_ENDS.split(text, maxsplit=1)[0])
        if stated is None:
            return None
        if self._quantities is None:
            self._quantities = [quantity.parse(one) for one in self.texts]
        equal = [index for index, one in enumerate(self._quantities) if one and quantity.equal(one, stated)]
        return equal[0] if len(equal) == 1 else None

    def _index(self, label: str, *, is_called_option: bool = False) -> int:
        """Return the index of the option with a label, or -1. `is_called_option`: as in "option 2" for "2"."""
        label = label.upper()
        if label in self.by_label:
            return self.by_label[label]
        if label.isdecimal():
            has_digits = self._numbered or any(any(map(str.isdecimal, text)) for text in self.texts)
            place = int(label) - 1 if is_called_option and not has_digits else -1
        elif not self.by_label and len(label) == 1 and "A" <= label <= "Z" and label.lower() not in self.by_text:
            place = ord(label) - ord("A")
        else:
            return -1
        return place if 0 <= place < len(self.options) and self.options[place].strip() else -1

    @functools.cached_property
    def _negations(self) -> list[tuple[re.Pattern[str], int]]:
        """Return patterns of options that a negation names: "not valid" is "invalid" where both are options."""
        found = []
        for text, index in self.by_text.items():
            for negation in _NEGATIONS:
                if (opposite := self.by_text.get(negation + text)) is not None:
                    for named, denied in ((opposite, text), (index, negation + text)):
                        denial = rf"\b(?:not|isn't)\s(?:\w+ly\s)?{re.escape(denied)}(?!\w)"
                        found.append((re.compile(denial), named))
        return found


@functools.lru_cache(maxsize=1024)
def _label_patterns(labels: tuple[str, ...], numbered: bool) -> tuple[re.Pattern[str] | None, ...]:
    """Return the patterns of the characters that labels begin with, of strong and of weak labels.

    A pattern is None if no label is of its kind. A strong label may also begin with one of `_LABEL_STEMS`.
    """
    if not labels:
        return None, None, None
    upper = _either(labels)
    either = upper if numbered else f"(?i:{upper})"
    strong = re.compile(
        rf"""[(\[]\s?(?P<brackets>{either})\s?[)\]]
           | (?i:\b{_LABEL_WORDS})\s?[("'*_$:\#]{{0,4}}\s?(?P<word>{upper})(?!\w|[-']\w)(?!\.\d)[)\]]?
           | (?<![\w(\[.&/+])(?<!\w[-'])(?P<bracket>{upper})[)\]]
           | \*\*(?P<bold>{upper})[.:]?\*\*""",
        re.VERBOSE,
    )
    letters = [label for label in labels if not label.isdecimal()]
    plain, wordlike = [one for one in letters if one not in "AI"], [one for one in letters if one in "AI"]
    words = r"(?![ \t]+(?!(?:and|as|because|for|is|or|since|are|would|fits)\b)[a-z])"
    patterns = [_either(plain)] if plain else []
    patterns += [f"(?:{_either(wordlike)}){words}"] if wordlike else []
    weak = rf"(?<![\w(&+])(?<!\w[-'])(?:{'|'.join(patterns)})(?!\w|[-'&]\w|\.\w)"
    begins = re.compile(f"[(\\[*{''.join(sorted({re.escape(label[0]) for label in labels}))}]")
    return begins, strong, re.compile(weak) if patterns else None


@functools.lru_cache(maxsize=1024)
def choices(options: tuple[str, ...], query: str) -> Choices:
    """Return the options of an item, which samples of one item and items of one task share."""
    labels = _bare_labels(options)
    return _choices(options, tuple(_listed_texts(fold(query), labels)) if labels else None)


@functools.lru_cache(maxsize=1024)
def _choices(options: tuple[str, ...], listed: tuple[str, ...] | None) -> Choices:
    return Choices(options, listed)


@functools.lru_cache(maxsize=1024)
def _bare_labels(options: tuple[str, ...]) -> list[str] | None:
    """Return the labels of options that are nothing else; None if an option is more, or if labels repeat."""
    bare = [_BARE.fullmatch(fold(option).strip()) for option in options]
    labels = [next(group for group in match.groups() if group) for match in bare if match]
    return labels if labels and len({label.upper() for label in labels}) == len(options) else None


def joined(text: str, first: Mention, second: Mention) -> bool:
    """Return whether two mentions are members of one list: "A or B", "A, B"."""
    return _JOIN.fullmatch(text, first.end, second.start) is not None


def _matches(pattern: re.Pattern[str] | None, text: str) -> Iterator[re.Match[str]]:
    return pattern.finditer(text) if pattern else iter(())


def _strengthen(labels: list[Mention], text: str) -> list[Mention]:
    """Make the weak labels that continue a list strong: "options A, C and D"."""
    for place in range(1, len(labels)):
        before, here = labels[place - 1], labels[place]
        if here.kind == "weak" and joined(text, before, here):
            labels[place] = here._replace(kind="strong")
            if before.kind == "weak":
                labels[place - 1] = before._replace(kind="strong")
    return labels


def _split(options: list[str]) -> tuple[list[str], list[str]]:
    """Return the label and the text of every option; if not all have labels, all options are texts."""
    labelled = [_LABELLED.fullmatch(option) for option in options]
    if options and all(labelled):
        labels = [match[1] or match[2] for match in labelled if match]
        if len({label.upper() for label in labels}) == len(labels):
            return labels, [match[3] for match in labelled if match]
    return [""] * len(options), options


class _Names(NamedTuple):
    """Options with names: "Sentence A: It rains." has the name "Sentence A", the label "A", the text "It rains."."""

    names: list[str]
    labels: list[str]
    texts: list[str]


def _split_names(options: list[str]) -> _Names | None:
    """Return the parts of options with names; None if one has none, if the first words differ or labels repeat."""
    found = [match for option in options if (match := _NAMED.fullmatch(option))]
    if not found or len(found) < len(options):
        return None
    if len({match[1].lower() for match in found}) > 1 or len({match[2] for match in found}) < len(found):
        return None
    return _Names([f"{match[1]} {match[2]}" for match in found], [m[2] for m in found], [m[3] for m in found])


def name_options(options: Sequence[str]) -> tuple[str, ...]:
    """Return the names of options that all have one ("Sentence A" of "Sentence A: It rains."), else the options."""
    named = _split_names([fold(option).strip() for option in options])
    return tuple(named.names) if named else tuple(options)


def _listed_texts(query: str, labels: list[str]) -> list[str]:
    """Return the text that the last list in `query` gives each label; "" for all if no list has them all."""
    for form, signs in (
        (r"\(({})\)[ \t]*", (")",)),
        (r"(?:(?<=\n)|(?<=[ \t])|^)({})[).][ \t]+", (")", ".")),
        (r"(?:(?<=\n)|^)({}):[ \t]+", (":",)),
    ):
        if not all(any(f"{label}{sign}" in query for sign in signs) for label in labels):
            continue
        found: dict[str, str] = {}
        end = len(query)
        for match in reversed([*re.finditer(form.format(_either(labels)), query)]):
            text = query[match.end() : end].split("\n")[0].strip()
            if match[1] in found or not text:
                break
            found[match[1]] = text
            end = match.start()
        if len(found) == len(labels):
            return [re.sub(r"\s*-$", "", found[label]) for label in labels]
    return [""] * len(labels)


def _either(labels: Sequence[str] | dict[str, int]) -> str:
    return "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))


def _plain(text: str) -> str:
    return " ".join(text.split()).strip("*_`\"'$ ").rstrip(".,;:!? ").casefold()


def _occurrences(wanted: str, text: str) -> Iterator[int]:
    start = text.find(wanted)
    while start >= 0:
        yield start
        start = text.find(wanted, start + 1)


def _is_whole(wanted: str, text: str, start: int) -> bool:
    """Return whether an occurrence is a whole word or phrase: not within a word, a compound or a number."""
    before, after = text[max(0, start - 2) : start], text[start + len(wanted) : start + len(wanted) + 2]
    if _JOINED_BEFORE.search(before) or _JOINED_AFTER.match(after) or (wanted[0].isdecimal() and before.endswith("-")):
        return False
    # "no way back" and "yes men" answer nothing
    return wanted not in ("no", "yes") or not _WORD_FOLLOWS.match(text, start + len(wanted))
