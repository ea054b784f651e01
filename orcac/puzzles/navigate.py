"""Navigation: do these instructions lead back to the start? The size is the number of instructions.

Half of the generated walks return. In each of the others, only the length of one leg keeps it from returning, so that
neither the number of steps nor the choice of turns gives the answer away.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple

from orcac.puzzles.base import Ending, Puzzle, Solution, Step, Task

HARD = 5  # instructions
_QUESTION = "If you follow these instructions, do you return to the starting point?"
_LONGEST = 10  # steps in one generated leg
# A heading is the number of quarter turns to the right since the start.
_TURNS = {"right": 1, "around": 2, "left": 3}
_RELATIVE = {"forward": 0, "right": 1, "backward": 2, "left": 3}
_MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))
_FACING = ("north", "east", "south", "west")


class _Leg(NamedTuple):
    """A walk in one heading; `word` is its direction in the instruction ("" for straight ahead)."""

    heading: int
    word: str


def generate(size: int, rng: random.Random) -> Puzzle:
    always = size < 3 or rng.random() < 0.5  # a walk with turns needs three instructions to come back
    draw = _draw_facing_forward if always else _draw_turning
    lengths = None
    while lengths is None:
        walk = draw(size, rng)
        legs = [part for part in walk if isinstance(part, _Leg)]
        lengths = _returning_lengths([leg.heading for leg in legs], rng)
    returns = rng.random() < 0.5
    if not returns:
        i = rng.randrange(len(lengths))
        lengths[i] = rng.choice([n for n in range(1, _LONGEST + 1) if n != lengths[i]])
    remaining = iter(lengths)
    sentences = [_QUESTION, *(["Always face forward."] if always else [])]
    sentences += [f"Turn {part}." if isinstance(part, str) else _take(part, next(remaining)) for part in walk]
    query = " ".join(sentences) + "\nOptions:\n- Yes\n- No"
    return Puzzle(query=query, reference="Yes" if returns else "No", options=["Yes", "No"])


def _draw_facing_forward(size: int, rng: random.Random) -> list[_Leg | str]:
    words = rng.choices(list(_RELATIVE), k=size)
    return [_Leg(_RELATIVE[word], word) for word in words]


def _draw_turning(size: int, rng: random.Random) -> list[_Leg | str]:
    heading, walk = 0, list[_Leg | str]()
    for _ in range(size):
        if rng.random() < 0.5:
            walk.append(_Leg(heading, ""))
        else:
            turn = rng.choice(list(_TURNS))
            heading = (heading + _TURNS[turn]) % 4
            walk.append(turn)
    return walk


def _returning_lengths(headings: list[int], rng: random.Random) -> list[int] | None:
    """Return lengths with which legs in these headings lead back; None if no lengths do, or if there is no leg."""
    lengths = [0] * len(headings)
    for there in (0, 1):
        out = [i for i, heading in enumerate(headings) if heading == there]
        back = [i for i, heading in enumerate(headings) if heading == there + 2]
        if not out and not back:
            continue
        if not out or not back:
            return None
        total = rng.randint(max(len(out), len(back)), _LONGEST * min(len(out), len(back)))
        for way in (out, back):
            for i, length in zip(way, _split(total, len(way), rng), strict=True):
                lengths[i] = length
    return lengths or None


def _split(total: int, parts: int, rng: random.Random) -> Iterator[int]:
    """Yield `parts` numbers from 1 to _LONGEST that sum to `total`."""
    for left in range(parts - 1, -1, -1):
        part = rng.randint(max(1, total - _LONGEST * left), min(_LONGEST, total - left))
        total -= part
        yield part


def _take(leg: _Leg, length: int) -> str:
    return f"Take {length} step{'s' * (length > 1)}{' ' * bool(leg.word)}{leg.word}."


def solve(query: str) -> Solution | None:
    if not query.startswith(_QUESTION):
        return None
    instructions = re.findall(r"(Take|Turn) ([^.]+)\.", query)
    if not instructions:
        return None
    x = y = heading = 0
    steps = []
    for verb, rest in instructions:
        if verb == "Turn":
            if rest not in _TURNS:
                return None
            heading = (heading + _TURNS[rest]) % 4
            steps.append(Step(full=f"Turn {rest}: facing {_FACING[heading]}.", brief=""))
            continue
        match = re.fullmatch(r"(\d{1,9}) steps?(?: (forward|backward|left|right))?", rest)
        if not match:
            return None
        dx, dy = _MOVES[(heading + _RELATIVE[match[2] or "forward"]) % 4]
        x, y = x + dx * int(match[1]), y + dy * int(match[1])
        steps.append(Step(full=f"Take {rest}: ({x}, {y}).", brief=f"({x}, {y})."))
    verb, rest = instructions[-1]
    home = (x, y) == (0, 0)
    return Solution(
        steps=tuple(steps[:-1]),
        right=_ending(f"{verb} {rest}", x, y),
        wrong=_ending(f"{verb} {rest}", 0, int(home)),
        hard=len(instructions) >= HARD,
    )


def _ending(instruction: str, x: int, y: int) -> Ending:
    """Return the last instruction, with the answer whether it ends at the start."""
    home = (x, y) == (0, 0)
    found = f"({x}, {y}), {'the start' if home else 'not the start'}."
    return Ending(Step(full=f"{instruction}: {found}", brief=found), "Yes" if home else "No")


TASK = Task(
    name="navigate",
    size="instructions",
    smallest=2,
    largest=12,
    generate=generate,
    solve=solve,
    distinct={2: 400, 3: 8_620},
)
