"""Boolean expressions: `True and not ( False or True ) is`. The size is the number of literals.

The solver rewrites the expression as one does on paper: the leftmost innermost brackets first, and inside them
(or once none are left) `not` before `and` before `or`, as in Python. Every step is one such reduction, so each line
follows from two or three words of the line before, which even a very small student can learn. The brief form is the
full one without its reasons, so both teachers speak one language.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from orcac.puzzles.base import Ending, Puzzle, Solution, Step, Task

HARD = 4  # literals
_LITERALS = ("False", "True")
_OR, _AND, _NOT, _ATOM = range(4)  # how tightly an expression binds


class _Expression(NamedTuple):
    text: str
    value: bool
    binding: int


def generate(size: int, rng: random.Random) -> Puzzle:
    expression = _grow(size, rng.randint(1, 3), rng)
    return Puzzle(query=f"{expression.text} is", reference=str(expression.value), options=["True", "False"])


def _grow(size: int, extras: int, rng: random.Random) -> _Expression:
    """Return a random expression of `size` literals with `extras` nots and needless brackets."""
    if size == 1:
        value = rng.random() < 0.5
        grown = _Expression(str(value), value, _ATOM)
    else:
        left_size = rng.randint(1, size - 1)
        nodes = (1, 2 * left_size - 1, 2 * (size - left_size) - 1)
        places = rng.choices(("here", "left", "right"), nodes, k=extras)
        extras = places.count("here")
        binding = rng.choice((_OR, _AND))
        left = _bind(_grow(left_size, places.count("left"), rng), binding)
        right = _bind(_grow(size - left_size, places.count("right"), rng), binding)
        if binding == _AND:
            grown = _Expression(f"{left.text} and {right.text}", left.value and right.value, _AND)
        else:
            grown = _Expression(f"{left.text} or {right.text}", left.value or right.value, _OR)
    for _ in range(extras):
        if rng.random() < 0.3:
            grown = _bracket(grown)
        else:
            inner = _bind(grown, _NOT)
            grown = _Expression(f"not {inner.text}", not inner.value, _NOT)
    return grown


def _bind(expression: _Expression, binding: int) -> _Expression:
    """Return the expression as an operand of an operator of this binding, in brackets if it binds less tightly."""
    return _bracket(expression) if expression.binding < binding else expression


def _bracket(expression: _Expression) -> _Expression:
    return _Expression(f"( {expression.text} )", expression.value, _ATOM)


class _Reduction(NamedTuple):
    """A step of the evaluation: tokens[start:end] become `value`."""

    start: int
    end: int
    value: str


def solve(query: str) -> Solution | None:
    tokens = query.split()
    if tokens[-1:] == ["is"]:
        tokens.pop()
    if not tokens or not set(tokens) <= {*_LITERALS, "not", "and", "or", "(", ")"}:
        return None
    hard = sum(token in _LITERALS for token in tokens) >= HARD
    steps = []
    last = tokens[0]  # the left side of the last step: the literal itself if there is only one
    while len(tokens) > 1:
        reduction = _next_reduction(tokens)
        if reduction is None:
            return None
        last = " ".join(tokens[reduction.start : reduction.end])
        tokens[reduction.start : reduction.end] = [reduction.value]
        rewritten = " ".join(tokens)
        steps.append(Step(full=f"{last} is {reduction.value}\n= {rewritten}", brief=f"= {rewritten}"))
    answer = tokens[0]
    if answer not in _LITERALS:
        return None
    opposite = _LITERALS[answer == "False"]
    return Solution(steps=tuple(steps[:-1]), right=_ending(last, answer), wrong=_ending(last, opposite), hard=hard)


def _ending(left: str, value: str) -> Ending:
    return Ending(Step(full=f"{left} is {value}\n= {value}", brief=f"= {value}"), value)


def _next_reduction(tokens: list[str]) -> _Reduction | None:
    """Return the next reduction; None if the expression is malformed. Brackets around one value go with it."""
    start, end = 0, len(tokens)
    if ")" in tokens:
        end = tokens.index(")")
        opens = [i for i in range(end) if tokens[i] == "("]
        if not opens:
            return None
        start = opens[-1] + 1
    inner = tokens[start:end]
    found = _innermost(inner)
    if found is None:
        return None
    if ")" in tokens and found.end - found.start == len(inner):
        return _Reduction(start - 1, end + 1, found.value)
    return _Reduction(start + found.start, start + found.end, found.value)


def _innermost(tokens: list[str]) -> _Reduction | None:
    """Return the first reduction of an expression without brackets, by precedence and from the left."""
    if len(tokens) == 1 and tokens[0] in _LITERALS:
        return _Reduction(0, 1, tokens[0])
    for i in range(len(tokens) - 1):
        if tokens[i] == "not" and tokens[i + 1] in _LITERALS:
            return _Reduction(i, i + 2, str(tokens[i + 1] == "False"))
    for operator, decide in (("and", all), ("or", any)):
        for i in range(len(tokens) - 2):
            left, word, right = tokens[i : i + 3]
            if word == operator and left in _LITERALS and right in _LITERALS:
                return _Reduction(i, i + 3, str(decide((left == "True", right == "True"))))
    return None


TASK = Task(
    name="boolean_expressions",
    size="literals",
    smallest=2,
    largest=12,
    generate=generate,
    solve=solve,
    distinct={2: 824, 3: 17_056},
)
