"""Shuffled objects: people swap the things they hold, and the question is which thing one of them has at the end.

The size is the number of people, and also the number of swaps.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from orcac.puzzles.base import (
    Ending,
    Puzzle,
    Solution,
    Step,
    Task,
    join_list,
    option_letter,
    read_options,
    split_names,
    write_options,
)

HARD = 5  # people
_NAMES = split_names("Alice, Bob, Claire, Dave, Eve, Fred, Gertrude")
_COLORS = split_names("black, blue, brown, green, orange, pink, purple, red, white, yellow")


class _Scene(NamedTuple):
    """The wording of one story, and the things in it."""

    opening: str  # follows the names
    holds: str  # between a name and its thing at the start
    shuffle: str
    swap: str  # follows two names
    asks: str  # with {} for a name
    things: tuple[str, ...]


_SCENES = (
    _Scene(
        "are friends and avid readers who occasionally trade books. At the start of the semester, they each buy "
        "one new book:",
        "gets",
        "As the semester proceeds, they start trading around the new books.",
        "swap books",
        "At the end of the semester, {} has",
        split_names(
            "Catch-22, Frankenstein, Hound of the Baskervilles, Lolita, Moby Dick, The Fellowship of the Ring, "
            "The Great Gatsby, The Odyssey, The Pearl, Ulysses"
        ),
    ),
    _Scene(
        "are on the same team in a soccer match. At the start of the match, they are each assigned to a position:",
        "is playing",
        "As the game progresses, pairs of players occasionally swap positions.",
        "trade positions",
        "At the end of the match, {} is playing",
        split_names(
            "benchwarmer, center midfielder, cheerleader, fullback, goalkeeper, left midfielder, left winger, "
            "right midfielder, right winger, striker"
        ),
    ),
    _Scene(
        "are holding a white elephant gift exchange. At the start of the event, they are each holding a present of "
        "a different color:",
        "has a",
        "As the event progresses, pairs of people swap gifts.",
        "swap their gifts",
        "At the end of the event, {} has the",
        tuple(f"{color} {'ball' if color in ('black', 'orange', 'pink') else 'present'}" for color in _COLORS),
    ),
    _Scene(
        "are dancers at a square dance. At the start of a song, they each have a partner:",
        "is dancing with",
        "Throughout the song, the dancers often trade partners.",
        "switch partners",
        "At the end of the dance, {} is dancing with",
        split_names("Helga, Izzi, Jamie, Karl, Lola, Melissa, Ophelia, Patrick, Rodrigo, Sam"),
    ),
    _Scene(
        "are playing a game. At the start of the game, they are each holding a ball:",
        "has a",
        "As the game progresses, pairs of players trade balls.",
        "swap balls",
        "At the end of the game, {} has the",
        tuple(f"{color} ball" for color in _COLORS),
    ),
)


def generate(size: int, rng: random.Random) -> Puzzle:
    scene = rng.choice(_SCENES)
    people = _NAMES[:size]
    things = rng.sample(scene.things, size)
    held = dict(zip(people, things, strict=True))
    swaps = []
    for i in range(size):
        one, other = rng.sample(people, 2)
        held[one], held[other] = held[other], held[one]
        when = "First" if i == 0 else "Finally" if i == size - 1 else "Then"
        swaps.append(f"{when}, {one} and {other} {scene.swap}.")
    asked = rng.choice(people)
    start = join_list([f"{name} {scene.holds} {thing}" for name, thing in zip(people, things, strict=True)])
    query = (
        f"{join_list(people)} {scene.opening} {start}.\n"
        f"{scene.shuffle} {' '.join(swaps)} {scene.asks.format(asked)}\n{write_options(things)}"
    )
    return Puzzle(
        query=query,
        reference=option_letter(things.index(held[asked])),
        options=[option_letter(i) for i in range(size)],
    )


def solve(query: str) -> Solution | None:
    options = read_options(query)
    story, _, rest = query.partition("\n")
    start = re.findall(r"\b(\w+) (?:gets|has an?|is playing|is dancing with) (.+?)(?:, |\.$)", story)
    swaps = re.findall(r"\b(\w+) and (\w+) (?:swap|trade|switch) ", rest)
    asked = re.search(r"At the end of [^,]+, (\w+) (?:has|is) ", rest.replace("\n", " "))
    held = dict(start)  # name -> thing
    if not asked or not swaps or asked[1] not in held or set(held.values()) != set(options.values()):
        return None
    steps = [Step(full=f"Start: {_state(held)}.", brief="")]
    for one, other in swaps:
        if one not in held or other not in held:
            return None
        held[one], held[other] = held[other], held[one]
        changed = {name: held[name] for name in (one, other)}
        steps.append(Step(full=f"{one} and {other} swap: {_state(held)}.", brief=f"{_state(changed)}."))
    answers = list(options)
    right = next(i for i, answer in enumerate(answers) if options[answer] == held[asked[1]])
    wrong = (right + 1) % len(answers)
    return Solution(
        steps=tuple(steps),
        right=_ending(asked[1], options, answers[right]),
        wrong=_ending(asked[1], options, answers[wrong]),
        hard=len(held) >= HARD,
    )


def _state(held: dict[str, str]) -> str:
    return ", ".join(f"{name} {thing}" for name, thing in held.items())


def _ending(name: str, options: dict[str, str], answer: str) -> Ending:
    found = f"{name} ends with {options[answer]}."
    return Ending(Step(full=found, brief=found), answer)


TASK = Task(name="tracking_shuffled_objects", size="people", smallest=3, largest=7, generate=generate, solve=solve)
