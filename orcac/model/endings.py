"""The ends of an answer and of its reasoning, beside the model's own end token.

A stop string ends an answer where it first occurs, also across tokens. A limit ends reasoning by the closing mark: its
tokens take the place of the model's next ones, and the answer goes on (budget forcing; Muennighoff et al. 2025, s1).
Both depend on the tokens of their own answer alone, so an answer does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orcac.reasoning import CLOSE, OPEN

__all__ = ["ReasoningLimit", "StopStrings"]

Decode = Callable[[Sequence[int]], str]
_OPENING = 16  # tokens within which an answer opens its reasoning, if it does


class StopStrings:
    """Strings that end an answer, which holds none of them."""

    def __init__(self, strings: Sequence[str], decode: Decode) -> None:
        self._strings, self._decode = tuple(strings), decode
        # a token is a byte at least; two more, since a decoder may strip the first one's space
        self._tail = max((len(text.encode()) for text in strings), default=0) + 2

    def occur(self, ids: Sequence[int]) -> bool:
        """Return whether a string ends with the last tokens."""
        return bool(self._strings) and self.find(self._decode(ids[-self._tail :])) is not None

    def find(self, text: str) -> int | None:
        """Return the place of the earliest of the strings in a text, None if it holds none of them."""
        return min((place for one in self._strings if (place := text.find(one)) >= 0), default=None)


class ReasoningLimit:
    """The largest number of tokens of an answer's reasoning, for answers that are named by numbers.

    They are counted from the answer's own opening mark, or from its beginning if the prompt has opened the reasoning.
    """

    def __init__(self, limit: int, closing: Sequence[int], decode: Decode) -> None:
        self._limit, self._closing, self._decode = limit, tuple(closing), decode
        self._starts: dict[int, int] = {}
        self._forced: dict[int, int] = {}  # row -> tokens of the closing mark that were put
        self._ended: set[int] = set()

    def begin(self, row: int, *, opened: bool) -> None:
        """Begin an answer whose prompt has opened the reasoning or not, or begin it anew."""
        self._ended.discard(row)
        self._forced.pop(row, None)
        self._starts.pop(row, None)
        if opened:
            self._starts[row] = 0

    def force(self, row: int, ids: Sequence[int]) -> int | None:
        """Return the token that comes after the tokens of an answer, None if the model chooses. Called for each."""
        if row in self._ended or (row not in self._starts and len(ids) > _OPENING):
            return None
        if row in self._forced:
            self._forced[row] += 1
            if self._forced[row] == len(self._closing):
                self._ended.add(row)
            return self._closing[self._forced[row] - 1]
        start = self._starts.get(row)
        if start is None:
            if not self._decode(ids).lstrip().startswith(OPEN):
                return None
            start = self._starts[row] = len(ids)
        if CLOSE in self._decode(ids[max(start, len(ids) - len(CLOSE) - 2) :]):
            self._ended.add(row)
            return None
        if len(ids) - start < self._limit:
            return None
        self._forced[row] = 0
        return self.force(row, ids)
