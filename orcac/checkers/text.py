"""The checker `text`: free-form answers in words, equal after normalisation.

The answer is the value of the last statement, up to the end of its sentence or to the clause that explains it. Without
a statement it is the whole response, if that is a line of at most 20 words or a list, whose entries are joined. If the
reference is a passage, the whole response is the answer.

Case, markup, the numbering of lists, a leading article and punctuation at the edges of words make no difference; every
other character does, so "> ) }" is not "> } )".
"""

from __future__ import annotations

import re

from orcac.checkers.characters import fold
from orcac.checkers.checker import UNPARSED, Checker, Extraction, Item, found
from orcac.checkers.plain import plain
from orcac.checkers.statements import MARKUP, Statement, answer_in, find_statements
from orcac.checkers.visible import visible

WORDS_OF_A_LINE = 20  # a longer text, or one of several lines, is a passage

_ENTRY = re.compile(r"\s*(?:[-*•·]|\(?\d{1,3}[.):]|[a-z]\))\s+(?=\S)")
_WORDS = re.compile(r"(?:[\w'-]+ ?){1,3},?")  # a line of a list without signs
_INTRODUCTION = re.compile(
    r"^[\w' -]{0,60}\b(?:sorted|lists?|words?|order|sequence|output|brackets?|is|are|be) ?: (?=\S)", re.IGNORECASE
)
_INTRODUCES = re.compile(r".{1,100}:[* _]*")
_EXPLAINS = re.compile(r",?\s(?:because|since)\b|,\s(?:as|which|where|who|so|given|due\sto|and\sso)\b|\s-\s|;")
_EDGES = re.compile(r"(?<!\S)[\"'(*_`]+(?=\w)|(?<=\w)[\"',;:*_`.)]+(?!\S)|(?<=[^\W\d])[!?\"',;:*_`.)]+(?!\S)")
_DELIMITED = re.compile(r"(?P<mark>\*\*|`|\"|\$)(?P<value>(?:(?!(?P=mark)).){1,200})(?P=mark)")
_THAT = re.compile(r"that\s", re.IGNORECASE)
_LAST_OF_LIST = re.compile(r",?\s(?:and|&)\s(?=[^,]*$)")
_RANGE = re.compile(r"(?<=\d)\s?(?:-|to)\s?(?=\d)")
_ARTICLE = re.compile(r"(?:the|an?)\s(?=\S)")
_MARKUP_CHARACTERS = "".join(character for character in map(chr, range(0x3001)) if re.fullmatch(MARKUP, character))


def read(response: str, item: Item) -> Extraction:
    """Return the text that a response states as its answer."""
    if is_passage(answer_in(item.reference)):
        return read_passage(response, item)
    text = visible(fold(response), item.query)
    statements = [statement for statement in find_statements(text) if statement.kind != "loose"]
    for statement in reversed(statements):
        if value := _value(text, statement):
            return found(value)
    if statements:
        return UNPARSED
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) > 2 and _INTRODUCES.fullmatch(lines[0]):
        lines = lines[1:]
    if len(lines) > 1:
        entries = all(map(_ENTRY.match, lines)) or all(map(_WORDS.fullmatch, lines))
        return found(" ".join(_ENTRY.sub("", line) for line in lines)) if entries else UNPARSED
    return found(_strip(_INTRODUCTION.sub("", text))) if lines and not is_passage(text) else UNPARSED


def read_passage(response: str, item: Item) -> Extraction:
    """Return the whole response without reasoning. Questions that the reference asks too are part of the answer."""
    return found(visible(fold(response), f"{item.query}\n{item.reference}"))


def same(value: str, other: str, item: Item) -> bool:
    """Return whether two texts are equal after normalisation."""
    return bool(value and other) and normalise(value) == normalise(other)


def score(value: str, item: Item) -> float:
    """Return 1 for the reference or for the answer that it states, else 0."""
    if same(value, item.reference, item) or same(value, answer_in(item.reference), item):
        return 1.0
    stated = "" if is_passage(item.reference) else read(item.reference, item).value
    return float(same(value, stated, item))


CHECKER = Checker(name="text", read=read, same=same, score=score)


def is_passage(text: str) -> bool:
    """Return whether a text has several lines or more than 20 words, and so is no short answer."""
    return "\n" in text.strip() or len(text.split()) > WORDS_OF_A_LINE


def normalise(text: str) -> str:
    """Return the form of a text that decides equality; "" only for an empty text."""
    folded = fold(text).casefold()
    lines = [_ENTRY.sub("", line) for line in folded.split("\n") if line.strip()]
    words = " ".join(_EDGES.sub("", plain(" ".join(lines))).split())
    words = _RANGE.sub("-", _LAST_OF_LIST.sub(" ", words) if "," in folded else words)
    words = _ARTICLE.sub("", words, count=1) if _ARTICLE.match(words) else words
    letter = re.fullmatch(r"\(?([a-z])\)?", words)
    return (letter[1] if letter else words) or " ".join(folded.split())


def _value(text: str, statement: Statement) -> str:
    value = text[statement.start : statement.end]
    if statement.kind == "marked":
        return _strip(plain(value))
    quoted = _DELIMITED.match(value)
    if quoted and not value[quoted.end() : quoted.end() + 1].isalnum():
        return _strip(quoted["value"])
    value = _THAT.sub("", value, count=1) if _THAT.match(value) else value
    return _strip(_EXPLAINS.split(value, maxsplit=1)[0])


def _strip(text: str) -> str:
    return text.strip(_MARKUP_CHARACTERS).rstrip(_MARKUP_CHARACTERS + ".").strip()
