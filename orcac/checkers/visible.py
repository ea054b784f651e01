"""The part of a response in which its answer is looked for: without reasoning, and without a next question.

Text marked as reasoning (`<think>` and its kin) does not count. A closing mark alone ends reasoning that began before
the response; an opening mark alone means that the response ended while the model was still reasoning.

Small students go on after their answer with a question of their own ("Q: ..."). All that follows such a line is cut
off, unless nothing precedes it or most of its words are those of the item's query, which is then only repeated.
"""

from __future__ import annotations

import re

from orcac.checkers.characters import fold, lowered, may_hold

_MARK = re.compile(
    r"<(?P<close>/)?(?:think(?:ing)?|thoughts?|reasoning|scratchpad)>|\[(?P<close2>/)?THINK\]", re.IGNORECASE
)
_CHANNEL = re.compile(r"<\|channel\|>\s?(?P<name>\w+)[^<\n]{0,80}<\|message\|>")
_END_OF_TURN = re.compile(r"<\|(?:im_end|eot_id|endoftext|end|return|end_of_text|eom_id)\|>|</s>|<end_of_turn>|<eos>")
_NEXT_QUESTION = re.compile(
    r"""(?: (?:^|\n) [ >*_\#-]{0,8} (?: (?:next\ |new\ )? (?:Q|question) (?:\ ?\#?\d{1,4})?
                                                [*_]{0,3} [:.)] [*_]{0,3} (?=\s|$)
                                      | (?:human|user|instructions?) [*_]{0,3} : )
          | (?:^|\n) \#{2,4}\ (?:instruction|human|user|question|input)\b
          | (?<=[.!?)])\ (?:Q|Question|Human|User): (?=\s)
          | <\|(?:im_start|user|start_header_id)\|> | \[INST\] )""",
    re.IGNORECASE | re.VERBOSE,
)
_ASKS = ("question", "human", "user", "instruction", "input", "<|", "[inst]")  # one is in each match, or the letter Q
_ASKS_IN_LINE = (
    " q: ",
    " question: ",
    " human: ",
    " user: ",
    "<|",
    "[inst]",
)  # one is in each match without a line end
_Q = re.compile(r"q(?: ?#?\d{1,4})?[*_]{0,3}[:.)]")
_LONGER_WORD = re.compile(r"\w{4,}")
_REPEATED = 0.6  # of the longer words of a line; they make it a repetition of the query


def visible(response: str, query: str = "") -> str:
    """Return a folded response without reasoning and without the text that follows its answer."""
    return _cut_next_question(_without_reasoning(response), query).strip()


def _without_reasoning(text: str) -> str:
    if "<" not in text and "[" not in text:
        return text
    channels = list(_CHANNEL.finditer(text))
    if channels:
        finals = [match for match in channels if match["name"] == "final"]
        return text[finals[-1].end() :] if finals else ""
    kept: list[str] = []
    depth = start = 0
    for mark in _MARK.finditer(text):
        closes = bool(mark["close"] or mark["close2"])
        if not closes:
            if depth == 0:
                kept.append(text[start : mark.start()])
            depth += 1
        elif depth > 0:
            depth -= 1
        else:
            kept.clear()
        start = mark.end()
    return "\n".join([*kept, text[start:]]) if depth == 0 else "\n".join(kept)


def _cut_next_question(text: str, query: str) -> str:
    text = text.strip()
    if "<" in text and (end := _END_OF_TURN.search(text)):
        text = text[: end.start()]
    lower = lowered(text)
    if "\n" not in text and not may_hold(lower, _ASKS_IN_LINE):  # at its beginning a question is all of the text
        return text
    if not may_hold(lower, _ASKS) and not _Q.search(lower):
        return text
    known: set[str] | None = None
    for match in _NEXT_QUESTION.finditer(text):
        if not text[: match.start()].strip():
            continue
        if known is None:
            known = set(_LONGER_WORD.findall(fold(query).casefold()))
        line = text[match.end() : match.end() + 300].strip("\n:*_ ").split("\n")[0]
        words = _LONGER_WORD.findall(line.casefold())
        if not words or sum(word in known for word in words) < _REPEATED * len(words):
            return text[: match.start()]
    return text
