"""The reasoning in a text, between marks such as `<think>` and `</think>`, and the answer after it.

Models have different marks, and all of these count. Those that are English words, such as `<thinking>`, count only in a
text that begins with one. A pair of marks in code, and a mark between quotation marks, belong to the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = [
    "CLOSE",
    "OPEN",
    "find_mark_tokens",
    "has_marks",
    "is_open",
    "join_reasoning",
    "mark_reasoning",
    "split_reasoning",
]

OPEN, CLOSE = "<think>", "</think>"
# The only group of a mark is that of a closing one. One first character is found five times as fast as three.
_ANGLED = r"<(?i:(/)?(?:seed:)?think>|\|(?:start|(end))_thinking\|>)"
_WORDED = r"<(?i:(/)?(?:thinking|thoughts?)>)"
_OTHERS = r"\[(/)?THINK\]|◁(/)?think▷"
_MARK = re.compile(f"{_ANGLED}|{_OTHERS}")
_PATTERNS = {  # by (begins with a word, may have others)
    (False, False): re.compile(_ANGLED),
    (True, False): re.compile(rf"<(?:{_ANGLED[1:]}|{_WORDED[1:]})"),
    (False, True): _MARK,
    (True, True): re.compile(f"{_ANGLED}|{_WORDED}|{_OTHERS}"),
}
_BEGINS_WORDED = re.compile(rf"\s*{_WORDED}")
_TRACE = re.compile(r"<\S{0,9}(?i:think|thought|channel)")  # in every text whose marks begin with `<`
_QUOTES = frozenset("`'\"‘’“”")
_CHANNEL = re.compile(r"(?:<\|start\|>\w+)?<\|channel\|>\s*(?P<name>\w+)[^<\n]{0,80}<\|message\|>")
_CHANNEL_TOKENS = {"<|start|>", "<|channel|>", "<|message|>", "<|end|>"}
_ENDS_OF_CHANNEL = ("<|end|>", "<|return|>", "<|call|>")


def find_mark_tokens(tokens: Iterable[str]) -> set[str]:
    """Return the tokens of a vocabulary that mark reasoning, or the channels of OpenAI's harmony format."""
    vocabulary = set(tokens)
    channels = _CHANNEL_TOKENS & vocabulary if "<|channel|>" in vocabulary else set()
    return {token for token in vocabulary if _MARK.fullmatch(token)} | channels


def has_marks(text: str) -> bool:
    """Return whether a text may have marks, fast: most texts have none."""
    return ("<" in text and _TRACE.search(text) is not None) or ("[" in text and "THINK]" in text) or "◁" in text


def split_reasoning(text: str, *, opened: bool = False) -> tuple[str, str]:
    """Return (reasoning, answer) of a response, without the marks; a text without marks is all answer.

    A closing mark alone ends reasoning that began before the text, where some chat templates open it. An opening mark
    that nothing closes leaves no answer, unless an answer precedes it, which then goes on to the end.

    opened: reasoning is known to have begun before the text
    """
    if not opened and not has_marks(text):
        return "", text
    if "<|channel|>" in text and (channels := list(_CHANNEL.finditer(text))):
        return _split_channels(text, channels)
    reasoning: list[str] = []
    answer: list[str] = []
    is_thinking, start, opening, in_code = opened, 0, 0, 0
    backticks, counted = 0, 0  # the backticks between `start` and `counted`: a text may have very many marks
    for begin, end, closes in _find_marks(text):
        if not closes:
            backticks, counted = backticks + text.count("`", counted, begin), begin
        if not is_thinking and (in_code if closes else backticks % 2):
            in_code += -1 if closes else 1
            continue
        part = text[start:begin]
        if not closes:
            (reasoning if is_thinking else answer).append(part)
        elif is_thinking:
            reasoning.append(part)
        else:
            reasoning += [*answer, part]
            answer = []
        is_thinking, start, opening = not closes, end, begin
        backticks, counted = 0, end
    if not start and not opened:
        return "", text
    if is_thinking and any(part.strip() for part in answer):
        is_thinking, start = False, opening
    (reasoning if is_thinking else answer).append(text[start:])
    return join_reasoning(reasoning), "".join(answer).strip()


def join_reasoning(parts: Iterable[str]) -> str:
    """Return the parts of a response's reasoning as one text."""
    return "\n".join(stripped for part in parts if (stripped := part.strip()))


def mark_reasoning(reasoning: str, answer: str) -> str:
    """Return the text of a response whose reasoning is marked; without reasoning it is the answer alone."""
    return f"{OPEN}\n{reasoning}\n{CLOSE}\n\n{answer}" if reasoning else answer


def is_open(text: str) -> bool:
    """Return whether a text ends within reasoning."""
    return text.rfind(OPEN) > text.rfind(CLOSE)


def _find_marks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield (begin, end, whether it closes) of each mark that is not quoted."""
    pattern = _PATTERNS[_BEGINS_WORDED.match(text) is not None, "THINK]" in text or "◁" in text]
    for mark in pattern.finditer(text):
        begin, end = mark.span()
        if not (text[begin - 1 : begin] in _QUOTES and text[end : end + 1] in _QUOTES):
            yield begin, end, mark.lastindex is not None


def _split_channels(text: str, channels: list[re.Match[str]]) -> tuple[str, str]:
    """Split a text in OpenAI's harmony format: the channel `final` has the answer, all others have reasoning."""
    ends = [*(match.start() for match in channels[1:]), len(text)]
    parts = [_cut_end(text[match.end() : end]) for match, end in zip(channels, ends, strict=True)]
    named = list(zip((match["name"] for match in channels), parts, strict=True))
    reasoning = join_reasoning([text[: channels[0].start()], *(part for name, part in named if name != "final")])
    return reasoning, "".join(part for name, part in named if name == "final").strip()


def _cut_end(part: str) -> str:
    """Return the text of a channel without the mark of its end."""
    text = part.rstrip()
    end = next((mark for mark in _ENDS_OF_CHANNEL if text.endswith(mark)), "")
    return text.removesuffix(end).rstrip() if end else part
