"""The options of an item, and the places in a text that name one: by its label, by its text or by its number.

Labels are single letters of any script, or numbers, as in "(B)", "B)", "B." and "option 2". Letters keep their meaning
whatever their order and whichever are missing: of the options (A), (C), (B), "C" is the second. If the options are bare
letters, their texts are read from the list in the item's query.

A strong label stands in brackets or after a word such as "option". A weak one is a bare capital, which may also be the
article "A", the pronoun "I" or a part of "vitamin C". Texts must be whole words, in any case: "invalid" does not name
"valid". But "not valid" names "invalid" where both are options.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Literal, NamedTuple

from orcac.checkers.characters import fold

Kind = Literal["strong", "weak", "text"]

_LABEL = r"[^\W\d_]|\d{1,2}"
_BARE = re.compile(r"[(\[]?([^\W\d_])[)\].:]?|\((\d{1,2})\)|(\d{1,2})[).]")
_LABELLED = re.compile(rf"(?:[(\[]({_LABEL})[)\]]\s*|({_LABEL})[).:]\s+)(\S.*)", re.DOTALL)
_JOIN = re.compile(r"[\s*_\"'$]{0,6}(?:,|/|&|\bor\b|\band\b|,\s?or\b|,\s?and\b)[\s*_\"'$]{0,6}", re.IGNORECASE)
_NEGATIONS = ("in", "un", "im", "il", "ir", "non", "non-", "not ", "dis")
_LABEL_WORDS = r"(?:options?|choices?|letters?|alternatives?|statements?|answers?|numbers?)"


class Mention(NamedTuple):
    """A place that names an option: `text[start:end]`. `option` is its index."""

    option: int
    start: int
    end: int
    kind: Kind


class Choices:
    """The options of an item; labels and texts have one entry an option, "" where it has none."""

    def __init__(self, options: Sequence[str], query: str) -> None:
        self.options = tuple(options)
        folded = [fold(option).strip() for option in options]
        self.labels, self.texts = _split(folded, query)
        texts = [_plain(text) for text in self.texts]
        self.by_text = {text: index for index, text in enumerate(texts) if text and texts.count(text) == 1}
        self.by_label = {label.upper(): index for index, label in enumerate(self.labels) if label}
        self._longest = 2 * max((len(option) for option in [*folded, *self.texts]), default=0) + 100
        self._numbered = any(label.isdecimal() for label in self.by_label)
        self._strong, self._weak = self._strong_pattern(), self._weak_pattern()

    def find(self, text: str) -> list[Mention]:
        """Return the mentions in order. Those of one kind do not overlap; a label and a text may."""
        labels = [
            Mention(
                self.by_label[match[group].upper()],
                match.start("word" if group == "word" else 0),
                match.end(),
                "strong",
            )
            for match in _matches(self._strong, text)
            if (group := str(match.lastgroup))
        ]
        taken = [(mention.start, mention.end) for mention in labels]
        for match in _matches(self._weak, text):
            place = bisect_left(taken, (match.end(), 0))
            if place == 0 or taken[place - 1][1] <= match.start():
                labels.append(Mention(self.by_label[match[0]], match.start(), match.end(), "weak"))
        labels.sort(key=attrgetter("start"))
        return sorted([*_strengthen(labels, text), *self._find_texts(text)], key=attrgetter("start"))

    def _find_texts(self, text: str) -> list[Mention]:
        """Return the mentions by an option's text.

        A pattern takes 0.2 ms per option to compile, so it is made of the texts that occur at all.
        """
        plain = " ".join(text.split()).casefold()
        occurring = tuple(option for option in self.by_text if option in plain)
        if not occurring:
            return []
        pattern, option_of = self._text_pattern(occurring)
        return [
            Mention(option_of[str(match.lastgroup)], match.start(), match.end(), "text")
            for match in pattern.finditer(text)
        ]

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
        plain = re.sub(rf"^(?:the )?{_LABEL_WORDS} ", "", plain)
        if plain in self.by_text:
            return self.by_text[plain]
        match = _BARE.fullmatch(plain) or _LABELLED.fullmatch(plain)
        label = next((group for group in match.groups() if group), "") if match else plain if plain.isdecimal() else ""
        index = self._index(label) if label else -1
        if index < 0:
            return None
        if match and match.re is _LABELLED and _plain(match[3]) != _plain(self.texts[index]):
            return None
        return index

    def _index(self, label: str) -> int:
        """Return the index of the option with a label; -1 if there is none.

        Options without labels are counted: "A" and "1" are the first.
        """
        label = label.upper()
        if label in self.by_label:
            return self.by_label[label]
        if label.isdecimal() and not self._numbered and not any(any(map(str.isdecimal, text)) for text in self.texts):
            place = int(label) - 1
        elif not self.by_label and len(label) == 1 and "A" <= label <= "Z" and label.lower() not in self.by_text:
            place = ord(label) - ord("A")
        else:
            return -1
        return place if 0 <= place < len(self.options) and self.options[place].strip() else -1

    def _strong_pattern(self) -> re.Pattern[str] | None:
        if not self.by_label:
            return None
        upper = _either(self.by_label)
        either = f"(?i:{upper})" if not self._numbered else upper
        return re.compile(
            rf"""[(\[]\s?(?P<brackets>{either})\s?[)\]]
               | (?i:\b{_LABEL_WORDS})\s?[("'*_$:\#]{{0,4}}\s?(?P<word>{upper})(?!\w|[-']\w)(?!\.\d)[)\]]?
               | (?<![\w(\[.&/+])(?<!\w[-'])(?P<bracket>{upper})[)\]]
               | \*\*(?P<bold>{upper})[.:]?\*\*""",
            re.VERBOSE,
        )

    def _weak_pattern(self) -> re.Pattern[str] | None:
        letters = [label for label in self.by_label if not label.isdecimal()]
        if not letters:
            return None
        words = r"(?![ \t]+(?!(?:and|as|because|for|is|or|since|are|would|fits)\b)[a-z])"
        plain, wordlike = [one for one in letters if one not in "AI"], [one for one in letters if one in "AI"]
        patterns = [_either(plain)] if plain else []
        patterns += [f"(?:{_either(wordlike)}){words}"] if wordlike else []
        return re.compile(rf"(?<![\w(&+])(?<!\w[-'])(?:{'|'.join(patterns)})(?!\w|[-'&]\w|\.\w)")

    def _text_pattern(self, texts: Sequence[str]) -> tuple[re.Pattern[str], dict[str, int]]:
        """Return a pattern with groups for these texts, and the option of each group.

        Longer texts come first, so that "the red box" is not "the red".
        """
        option_of: dict[str, int] = {}
        patterns: list[tuple[int, str]] = []

        def add(index: int, priority: int, pattern: str) -> None:
            name = f"t{len(patterns)}"
            option_of[name] = index
            patterns.append((priority, f"(?P<{name}>{pattern})"))

        for text in texts:
            add(self.by_text[text], len(text), _words(text))
            for negation in _NEGATIONS:
                if (opposite := self.by_text.get(negation + text)) is not None:
                    add(opposite, 999, rf"\b(?:not|isn't)\s(?:\w+ly\s)?{_words(text)}")
                if text.startswith(negation) and (opposite := self.by_text.get(text[len(negation) :])) is not None:
                    add(opposite, 999, rf"\b(?:not|isn't)\s(?:\w+ly\s)?{_words(text)}")
        patterns.sort(key=lambda pair: -pair[0])
        return re.compile("|".join(pattern for _, pattern in patterns), re.IGNORECASE), option_of


@functools.lru_cache(maxsize=4096)
def choices(options: tuple[str, ...], query: str) -> Choices:
    """Return the options of an item, which samples of one item and items of one task share."""
    return Choices(options, query)


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


def _split(options: list[str], query: str) -> tuple[list[str], list[str]]:
    """Return the label and the text of every option; if not all have labels, all options are texts."""
    bare = [_BARE.fullmatch(option) for option in options]
    if all(bare):
        labels = [next(group for group in match.groups() if group) for match in bare if match]
        if len({label.upper() for label in labels}) == len(labels):
            return labels, _listed_texts(query, labels)
    labelled = [_LABELLED.fullmatch(option) for option in options]
    if options and all(labelled):
        labels = [match[1] or match[2] for match in labelled if match]
        if len({label.upper() for label in labels}) == len(labels):
            return labels, [match[3] for match in labelled if match]
    return [""] * len(options), options


def _listed_texts(query: str, labels: list[str]) -> list[str]:
    """Return the text that the last list in `query` gives each label; "" for all if no list has them all."""
    for form in (r"\(({})\)[ \t]*", r"(?:(?<=\n)|(?<=[ \t])|^)({})[).][ \t]+", r"(?:(?<=\n)|^)({}):[ \t]+"):
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


def _words(text: str) -> str:
    words = r"\s+".join(re.escape(word) for word in text.split())
    sign = r"(?<!-)" if text[0].isdecimal() else ""
    whole = rf"(?<!\w)(?<!\w[-'])(?<!\d[.,]){sign}{words}(?!\w|[-']\w|[.,]\d)"
    if text in ("no", "yes"):  # "no way back" and "yes men" answer nothing
        return whole + r"(?!\s+(?!(?:because|since|as|and|or|is|if)\b)\w)"
    return whole
