"""The reasoning in a text, which a model marks by `<think>` and `</think>`, and the answer after it."""

from __future__ import annotations

import re

__all__ = ["CLOSE", "OPEN", "is_open", "split_reasoning"]

OPEN, CLOSE = "<think>", "</think>"
_MARK = re.compile("<(/?)think>")


def split_reasoning(text: str, *, opened: bool = False) -> tuple[str, str]:
    """Return (reasoning, answer) of a response, without the marks; a text without marks is all answer.

    A closing mark alone ends reasoning that began before the text, where some chat templates open it. An opening mark
    that nothing closes leaves no answer. opened: reasoning is known to have begun before the text
    """
    reasoning: list[str] = []
    answer: list[str] = []
    is_thinking, start = opened, 0
    for mark in _MARK.finditer(text):
        part, start = text[start : mark.start()], mark.end()
        if not mark[1]:
            (reasoning if is_thinking else answer).append(part)
        elif is_thinking:
            reasoning.append(part)
        else:
            reasoning, answer = [*reasoning, *answer, part], []
        is_thinking = not mark[1]
    if not start and not opened:
        return "", text
    (reasoning if is_thinking else answer).append(text[start:])
    return "\n".join(part.strip() for part in reasoning if part.strip()), "".join(answer).strip()


def is_open(text: str) -> bool:
    """Return whether a text ends within reasoning."""
    return text.rfind(OPEN) > text.rfind(CLOSE)
