"""Changed traces: their steps in another order, some of them deleted, or only their first tokens.

The *trace* of an example is its reasoning if that is learnt, and otherwise its answer without the last step, which
holds the final answer and stays. The *steps* of a text are its paragraphs; of a text with one paragraph, its lines; of
a text with one line, its sentences. The space between steps stays where it is.

The draws depend on the seed and the texts of the example alone, and a larger share changes the steps that a smaller one
changes, and more. Shuffling and deleting steps are the interventions of Li et al. (2025, arXiv 2502.07374, §4).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orcac.model.chat_format import ChatFormat
from orcac.reasoning import split_reasoning
from orcac.tokenize.recipe import Transform

__all__ = ["Texts", "Transformer", "split_steps"]

_SPACES = (r"(\n\s*\n)", r"(\n)", r"((?<=[.!?])\s+)")  # between paragraphs, lines and sentences


class Texts(NamedTuple):
    """The texts of an example. `reasoning` is "" if it has none, or none that is learnt."""

    system: str
    query: str
    answer: str
    reasoning: str


class Transformer:
    """A transform with its seed, and the format that counts `keep_tokens`. `changed` counts the changed examples."""

    def __init__(self, transform: Transform, seed: int, chat: ChatFormat) -> None:
        self._transform, self._seed, self._chat = transform, seed, chat
        self.changed = 0

    def change(self, texts: Texts) -> Texts:
        """Return an example with its trace changed."""
        if not texts.reasoning:  # files of an older orcac have the reasoning in the text of the answer
            reasoning, answer = split_reasoning(texts.answer)
            texts = texts._replace(reasoning=reasoning, answer=answer)
        digest = hashlib.sha256("\x1f".join((f"transform {self._seed}", *texts)).encode()).digest()
        body = (texts.reasoning or texts.answer).strip()
        if texts.reasoning:
            changed = texts._replace(reasoning=_put(texts.reasoning, body, self._change_trace(body, digest)))
        else:
            parts = split_steps(body)
            trace, end = "".join(parts[:-2]), "".join(parts[-2:])  # the last step with the space before it
            changed = texts._replace(answer=_put(texts.answer, body, self._change_trace(trace, digest) + end))
        self.changed += changed != texts
        return changed

    def _change_trace(self, trace: str, digest: bytes) -> str:
        transform, parts = self._transform, split_steps(trace)
        steps, spaces = parts[::2], parts[1::2]
        random = np.random.PCG64(int.from_bytes(digest[:8], "big"))  # its raw stream is the same in every numpy
        if transform.shuffle_steps:
            steps = shuffle_steps(steps, transform.shuffle_steps, random.random_raw(len(steps)))
        if transform.delete_steps:
            kept = keep_steps(len(steps), transform.delete_steps, random.random_raw(len(steps)))
            spaces = [spaces[number - 1] for number in kept[1:]]  # a deleted step takes the space before it along
            steps = [steps[number] for number in kept]
        trace = "".join(part for pair in zip(steps, [*spaces, ""], strict=True) for part in pair)
        return self._chat.cut(trace, transform.keep_tokens) if transform.keep_tokens else trace


def _put(text: str, body: str, changed: str) -> str:
    """Return a text with its `body`, all of it but the space around, replaced."""
    start = text.index(body)
    return text[:start] + changed + text[start + len(body) :]


def split_steps(text: str) -> list[str]:
    """Return the steps of a text and the spaces between them in turn; the steps are at even places."""
    for pattern in _SPACES:
        parts = re.split(pattern, text)
        if sum(bool(step.strip()) for step in parts[::2]) > 1:
            return parts
    return [text]


def shuffle_steps(steps: Sequence[str], share: float, tickets: np.ndarray) -> list[str]:
    """Return the steps with a share of them in other places: each of these moves, in one cycle.

    A single step cannot move by itself, so at least two do, unless the share rounds to none.

    tickets: uint64 (steps,), random
    """
    count = round(share * len(steps))
    moved = np.argsort(tickets, kind="stable")[: max(count, 2) if count else 0]
    shuffled = list(steps)
    for place, source in zip(moved, np.roll(moved, 1), strict=True):
        shuffled[place] = steps[source]
    return shuffled


def keep_steps(steps: int, share: float, tickets: np.ndarray) -> list[int]:
    """Return the numbers of the steps that are left when a share is deleted, at least one, in order.

    tickets: uint64 (steps,), random
    """
    count = min(round(share * steps), steps - 1)
    return sorted(np.argsort(tickets, kind="stable")[count:].tolist())
