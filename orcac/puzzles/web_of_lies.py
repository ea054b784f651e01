"""Web of lies: a chain of people, each of whom claims that the one before lies or does not. The size is their number.

The question is whether the last one tells the truth.
"""

from __future__ import annotations

import itertools
import random
import re

from orcac.puzzles.base import Ending, Puzzle, Solution, Step, Task, split_names

HARD = 5  # people
_NAMES = split_names(
    "Alejandro, Alexis, Amberly, Andree, Antwan, Audrie, Bernita, Christie, Conception, Crista, Dallas, "
    "Delbert, Delfina, Elanor, Fidel, Fletcher, Gwenn, Helene, Inga, Jamey, Jaymie, Jerry, Jim, Ka, "
    "Kandi, Kristian, Leda, Lorine, Maybelle, Michael, Michaela, Millicent, Millie, Osvaldo, Phoebe, "
    "Rashida, Raymond, Ryan, Sal, Shalonda, Shaunda, Shenna, Sherrie, Sima, Tamika, Teressa, Vernell, "
    "Vina, Willian, Yoland"
)
_DOES = {True: "tells the truth", False: "lies"}
_DID = "(tells the truth|lies)"


def generate(size: int, rng: random.Random) -> Puzzle:
    people = rng.sample(_NAMES, size)
    truthful = rng.random() < 0.5
    sentences = [f"Question: {people[0]} {_DOES[truthful]}."]
    for before, name in itertools.pairwise(people):
        claim = rng.random() < 0.5
        sentences.append(f"{name} says {before} {_DOES[claim]}.")
        truthful = claim == truthful
    sentences.append(f"Does {people[-1]} tell the truth?")
    return Puzzle(query=" ".join(sentences), reference=_yes(truthful), options=["Yes", "No"])


def solve(query: str) -> Solution | None:
    asked = re.search(r"Does (\w+) tell the truth\?\s*$", query)
    given = re.search(rf"^(?:Question: )?(\w+) {_DID}\.", query)
    claims = re.findall(rf"\b(\w+) says (\w+) {_DID}\.", query)
    if not asked or not given or not claims:
        return None
    truthful = {given[1]: given[2] == _DOES[True]}
    steps = [Step(full=f"{given[1]} {given[2]}.", brief=f"{given[1]} {given[2]}.")]
    for name, other, claim in claims:
        if other not in truthful:
            return None
        truthful[name] = truthful[other] == (claim == _DOES[True])
        steps.append(_step(name, other, claim, truthful[other], truthful[name]))
        if name == asked[1]:
            wrong = _step(name, other, claim, truthful[other], not truthful[name])
            return Solution(
                steps=tuple(steps[:-1]),
                right=Ending(steps[-1], _yes(truthful[name])),
                wrong=Ending(wrong, _yes(not truthful[name])),
                hard=len(steps) >= HARD,
            )
    return None


def _step(name: str, other: str, claim: str, other_truthful: bool, truthful: bool) -> Step:
    found = f"{name} {_DOES[truthful]}."
    return Step(full=f"{name} says {other} {claim}. {other} {_DOES[other_truthful]}, so {found}", brief=found)


def _yes(truthful: bool) -> str:
    return "Yes" if truthful else "No"


TASK = Task(
    name="web_of_lies",
    size="people",
    smallest=2,
    largest=12,
    generate=generate,
    solve=solve,
    distinct={2: 9_800},
)
