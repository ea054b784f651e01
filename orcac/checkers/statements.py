r"""Statements: the places where a response says what its answer is, whatever the kind of answer.

A marked answer is one that a format sets apart: `\boxed{...}`, `<answer>...</answer>`, `#### ...`, `{"answer": ...}`.
A said answer is one in prose or under a heading: "the answer is ...", "Answer: ...". A loose one is less
surely the answer: "the result is ...", "the option that follows is ...". The last statement of a response counts; each
checker decides on the meaning of its words.

All patterns have bounded repetitions, so that a response of any length is read in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from orcac.checkers.characters import fold, lowered, may_hold

MARKUP = r"[\s*_`\"'$]"  # characters around an answer that are not part of it
CONCLUDES = re.compile(
    rf"""{MARKUP}{{0,6}}(?:[-*>\d.)]{{1,4}}\s)?
        (?: (?:and\s|but\s)?(?:therefore|thus|hence|so|overall|ultimately|consequently|accordingly)\b
          | (?:in|to)\s(?:conclusion|conclude|summary|sum\sup|short)\b | as\sa\sresult\b | all\sin\sall\b
          | (?:based\son|given|considering|out\sof|among|of|from|taking|after|with)\s(?:\w{{1,20}}\s)?
            (?:this|these|the|all|those|my|our|that)\b
          | (?:this|that|which|it)\s(?:means|implies|shows|suggests|leaves|indicates)\b )""",
    re.IGNORECASE | re.VERBOSE,
)

_NOUN = (
    r"(?:answers?|ans|(?:final|correct|right|best|closest|chosen|overall)"
    r"\s(?:option|choice|response|result|solution|conclusion|statement|alternative|selection|value|output)s?"
    r"|(?:my|the)\s(?:choice|response|solution|verdict|prediction|selection))"
)
_VERB = (
    r"(?:is|are|was|(?:would|will|should|must|has\sto|have\sto|could|can\sonly|appears\sto|seems\sto)\s(?:only\s)?be"
    r"|becomes|remains|equals)\b"
)
_NOUN_ABROAD = (
    r"(?:الإجابة|الاجابة|الجواب|התשובה|תשובה|答案|答え|回答|正解|정답|ответ|respuesta|resposta|réponse|risposta|antwort"
    r"|svar|odpowiedź|cevap|उत्तर|jawaban|đáp\sán)"
)
_VERB_ABROAD = r"(?:هي|هو|היא|הוא|是|为|為|は|es|est|é|è|ist|är|adalah|है)"
_SAID = re.compile(
    rf"""(?: \b{_NOUN}\b {MARKUP}{{0,6}}
             (?: \([^()\n]{{0,40}}\) {MARKUP}{{0,6}} | ,[^,.\n]{{1,30}},\s )?
             (?: (?:to|for|of|here|that|which|in|among|from|given|option|choice|key|we)\b
                 [^.:;=?!\n]{{0,100}}? {MARKUP}{{1,6}} )?
             (?: [:=→] | -> | => | -(?=[\s*_]) | {_VERB} (?:\s{{0,3}}:)? )
           | \b(?:no|wait|actually|correction)\b[,:]?\s(?:it(?:'s|\s(?:is|must\sbe|should\sbe)))\b
           | {_NOUN_ABROAD} [^\n:.]{{0,30}}? (?: {MARKUP}{{0,6}} : | {_VERB_ABROAD} (?=[\s(a-z*]) ) )""",
    re.VERBOSE,
)
_LOOSE = re.compile(
    rf"""(?: \b(?:option|choice|statement|alternative|one)\s(?:that|which)\b [^.:;?!\n]{{1,120}}? \s(?:is|are)\b
           | \b(?:the|this)\s(?:\w{{1,20}}\s)?(?:argument|result|total|sum|conclusion|statement|sentence|output)
             \s{_VERB} )""",
    re.VERBOSE,
)
_HEADING = re.compile(
    r"(?:^|\n)[ >*_#]{0,8}(?:the )?(?:final |correct |my )?(?:answer|solution|conclusion|result)[ *_]{0,4}(?=\n)",
    re.IGNORECASE,
)
_HASHES = re.compile(r"(?:^|\n)[ ]?####[ ]?(?=\S)")
_TAG = re.compile(r"<(?P<close>/)?(?:final[_ -]?)?(?:answer|ans)>", re.IGNORECASE)
_KEY = re.compile(
    r"""["'](?:final[_ ]?|correct[_ ]?)?(?:answer|choice|option|solution|result|prediction|label)["']\s{0,5}:\s{0,5}""",
    re.IGNORECASE,
)
_BRACE = re.compile(r"\\[{}\\]|[{}]")
_BOXED = re.compile(r"\\f?box(?:ed)?\s{0,3}(?:(\{)|(?<=\s)(?=\w))")
_SHORT_FORMS = (
    "Dr", "Mr", "Mrs", "Ms", "St", "Jr", "Sr", "vs", "e.g", "i.e", "No", "Prof", "Inc", "Ltd", "Mt", "Ft", "approx",
    "cf", "Gen", "Rev",
)  # fmt: skip
_SHORT_FORM = re.compile(rf"\b(?:{'|'.join(map(re.escape, _SHORT_FORMS))})$")
_INITIAL = re.compile(r"(?:\b[A-Z]\.\s?|\b[A-Z][a-z]{1,20}\s)[A-Z]$")
_FIRST_OF_INITIALS = re.compile(r"(?<!\w)[A-Z]\.\s?[A-Z]\.")
_NAME_FOLLOWS = re.compile(
    r"\.\s?(?:[A-Z]\.|(?!(?:It|This|The|He|She|They|We|You|In|That|These|Those|There|However|So|Thus|As|If|For|But"
    r"|And|Its|His|Her|Therefore|Because|Since|Option|Explanation|To|On|At|By|When|While|Hence|Both|All)\b)[A-Z][a-z]+)"
)
_STOP = re.compile(r"[\n.!?](?:(?<=\n)|[.!?]*(?=[\s*_`\"')\]]|$))")  # a pattern that opens with a set is searched fast
# the words with which a match begins, or by which it is found
_SAID_WORDS = (
    "ans", "respuesta", "resposta", "risposta", "antwort", "svar", "cevap", "jawaban",
    "wait", "actually", "correction", "no it", "no, it", "no: it",
)  # fmt: skip
_SAID_OVER_LINES = ("no\nit", "no,\nit", "no:\nit")
_SAID_ABROAD = (
    "الإجابة", "الاجابة", "الجواب", "תשובה", "答案", "答え", "回答", "正解", "정답", "ответ", "réponse", "odpowiedź",
    "đáp", "उत्तर", "התשובה",
)  # fmt: skip
_SAID_NOUNS = (
    "option", "choice", "response", "result", "solution", "conclusion", "statement", "alternative", "selection",
    "value", "output", "verdict", "prediction",
)  # fmt: skip
_BEFORE_NOUN = ("final", "correct", "right", "best", "closest", "chosen", "overall", "my", "the")
_LOOSE_FIRST = ("option", "choice", "statement", "alternative", "one")
_LOOSE_NOUNS = ("argument", "result", "total", "sum", "conclusion", "statement", "sentence", "output")
_THE = re.compile(r"th(?:e|is)\s")
_HEADS = ("answer", "solution", "conclusion", "result")
_KEYS = tuple(
    f"{word}{quote}" for word in ("answer", "choice", "option", "solution", "result", "prediction", "label")
    for quote in "\"'"
)  # fmt: skip
_MOST = 30  # statements that are looked at, the last ones
_LONGEST_SAID = 2_000  # characters of a sentence
_LONGEST_MARKED = 20_000  # characters of a marked answer; a longer one is no answer


class Statement(NamedTuple):
    """A statement of the answer: its value begins at `start`.

    A marked value ends at `end`; of the others, `end` is that of the sentence. `head` is where the statement begins.
    """

    head: int
    start: int
    end: int
    kind: Literal["marked", "said", "loose"]


def find_statements(text: str) -> list[Statement]:
    """Return the last statements of a response, in order."""
    lower = lowered(text)  # a pattern that ignores case takes three times as long
    found = [*_boxes(text), *_tags(text), *_hashes(text), *_keys(text, lower)]
    inside = {statement.start for statement in found if statement.kind == "marked"}
    said: tuple[tuple[Iterator[re.Match[str]], Literal["said", "loose"]], ...] = (
        (match_at(_SAID, lower, _places_of_said(lower)), "said"),
        (_HEADING.finditer(lower) if "\n" in lower and may_hold(lower, _HEADS) else iter(()), "said"),
        (match_at(_LOOSE, lower, _places_of_loose(lower)), "loose"),
    )
    for matches, kind in said:
        for match in matches:
            start = skip_blank(text, match.end())
            if start not in inside:
                end = min(sentence_end(text, start), start + _LONGEST_SAID)
                found.append(Statement(match.start(), start, end, kind))
    return sorted(found, key=lambda statement: (statement.start, statement.head))[-_MOST:]


def match_at(pattern: re.Pattern[str], text: str, places: set[int]) -> Iterator[re.Match[str]]:
    """Yield the matches that `finditer` yields, if each begins at one of `places`.

    Places that are found by a word take a tenth of the time of a search for the pattern.
    """
    last = 0
    for place in sorted(places):
        if place >= last and (match := pattern.match(text, place)):
            yield match
            last = match.end()


def _places_of_said(lower: str) -> set[int]:
    """Return where `_SAID` may match."""
    words: tuple[str, ...] = _SAID_WORDS if lower.isascii() else _SAID_WORDS + _SAID_ABROAD
    words += _SAID_OVER_LINES if "\n" in lower else ()
    places = {place for word in words for place in find_all(word, lower)}
    for noun in _SAID_NOUNS:
        for place in find_all(noun, lower):
            end = max(0, place - 1)
            if lower.endswith(_BEFORE_NOUN, 0, end):
                places.update(end - len(word) for word in _BEFORE_NOUN if lower.endswith(word, 0, end))
    return places


def _places_of_loose(lower: str) -> set[int]:
    """Return where `_LOOSE` may match."""
    places: set[int] = set()
    for word in ("that", "which"):
        for place in find_all(word, lower):
            if lower.endswith(_LOOSE_FIRST, 0, max(0, place - 1)):
                places.update(
                    place - 1 - len(noun) for noun in _LOOSE_FIRST if lower.endswith(noun, 0, max(0, place - 1))
                )
    for noun in _LOOSE_NOUNS:
        for place in find_all(noun, lower):
            places.update(match.start() for match in _THE.finditer(lower, max(0, place - 26), place))
    return places


def find_all(word: str, text: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def sentence_ends(text: str) -> list[int]:
    """Return the positions at which sentences and lines end, and last the end of the text."""
    return [*(match.start() for match in _STOP.finditer(text) if _ends_sentence(match)), len(text)]


def sentence_end(text: str, at: int) -> int:
    """Return the first of `sentence_ends` from `at` on, without a search for the others."""
    start = _first_sign(text, at)
    return next(
        (match.start() for match in _STOP.finditer(text, start) if match.start() >= at and _ends_sentence(match)),
        len(text),
    )


def end_before(text: str, at: int) -> int:
    """Return the last of `sentence_ends` before `at`, or -1."""
    while (at := max(text.rfind(sign, 0, at) for sign in "\n.!?")) >= 0:
        at = _first_sign(text, at) if text[at] != "\n" else at
        match = _STOP.match(text, at)
        if match and _ends_sentence(match):
            break
    return at


def _first_sign(text: str, at: int) -> int:
    """Return where the signs begin that end directly before `at`: all of them together end a sentence."""
    while at > 0 and text[at - 1] in ".!?":
        at -= 1
    return at


def _ends_sentence(stop: re.Match[str]) -> bool:
    """Return whether a match of `_STOP` ends a sentence: its point is not that of an abbreviation or a name."""
    if stop[0] != ".":
        return True
    text, start = stop.string, stop.start()
    before, last = max(0, start - 24), text[start - 1 : start]  # "$" ignores a last line end
    if (last == "\n" or text.endswith(_SHORT_FORMS, before, start)) and _SHORT_FORM.search(text, before, start):
        return False
    if last == "\n" or "A" <= last <= "Z":
        if _INITIAL.search(text, before, start) and _NAME_FOLLOWS.match(text, start):
            return False
        if _FIRST_OF_INITIALS.match(text, start - 1):
            return False
    return True


def answer_in(reference: str) -> str:
    """Return the marked answer in a reference that is a worked solution ("... #### 18"), else the reference itself."""
    if "####" not in reference and "box" not in reference and "<" not in reference:
        return reference
    folded = fold(reference)
    marked = [statement for statement in find_statements(folded) if statement.kind == "marked"]
    return folded[marked[-1].start : marked[-1].end].strip() if marked else reference


def skip_blank(text: str, start: int) -> int:
    """Return the position of the first character from `start` on that is not white space."""
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _boxes(text: str) -> Iterator[Statement]:
    opened: list[int] = []
    closed_at: dict[int, int] = {}
    boxes = list(_BOXED.finditer(text)) if "\\" in text else []
    for match in _BRACE.finditer(text) if boxes else ():
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            closed_at[opened.pop()] = match.start()
    for box in boxes:
        if not box[1]:
            word = re.compile(r"\w{1,40}").match(text, box.end())
            yield Statement(box.start(), box.end(), word.end() if word else box.end(), "marked")
        elif 0 < (end := closed_at.get(box.end() - 1, -1)) - box.end() < _LONGEST_MARKED:
            yield Statement(box.start(), box.end(), end, "marked")


def _tags(text: str) -> Iterator[Statement]:
    """Yield `<answer>...</answer>`; a tag that is left open goes to the end of its line."""
    opened: re.Match[str] | None = None
    for match in _TAG.finditer(text) if "<" in text else ():
        if not match["close"]:
            opened = match
        elif opened:
            yield Statement(opened.start(), opened.end(), match.start(), "marked")
            opened = None
    if opened:
        start = skip_blank(text, opened.end())
        end = text.find("\n", start)
        yield Statement(opened.start(), start, end if end >= 0 else len(text), "marked")


def _hashes(text: str) -> Iterator[Statement]:
    """Yield "#### value" if it is the last line, or if its value is no heading but a number or a letter."""
    for match in _HASHES.finditer(text) if "####" in text else ():
        end = text.find("\n", match.end())
        end = end if end >= 0 else len(text)
        if not text[end : end + 200].strip() or not re.search(r"[^\W\d_]{2}", text[match.end() : end]):
            yield Statement(match.start(), match.end(), end, "marked")


def _keys(text: str, lower: str) -> Iterator[Statement]:
    """Yield the value of a JSON object's key "answer", which may be quoted as in Python."""
    for match in _KEY.finditer(text) if may_hold(lower, _KEYS) else ():
        start = match.end()
        if text[start : start + 1] in ('"', "'"):
            quote = re.compile(r"""(["'])((?:(?!\1)[^\\\n]|\\.){0,2000})\1""").match(text, start)
            if quote:
                yield Statement(match.start(), quote.start(2), quote.end(2), "marked")
        elif text[start : start + 1] == "[":
            end = text.find("]", start, start + 2000)
            if end >= 0:
                yield Statement(match.start(), start + 1, end, "marked")
        elif value := re.compile(r"[^,}\n\]]{1,200}").match(text, start):
            yield Statement(match.start(), start, value.end(), "marked")
