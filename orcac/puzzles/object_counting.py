"""Object counting: how many of these are fruits? The size is the number of kinds of things listed.

The solver knows the category of each thing from the table below. It does not guess: a query with an unknown thing has
no solution.
"""

from __future__ import annotations

import random
import re

from orcac.puzzles.base import (
    NUMBER_WORDS,
    Ending,
    Puzzle,
    Solution,
    Step,
    Task,
    add_article,
    join_list,
    split_list,
    split_names,
)

HARD = 7  # kinds of things
_ANYTHING = "objects"  # everything is one
_THINGS = {
    "fruits": split_names("apple, banana, blackberry, grape, nectarine, orange, peach, plum, raspberry, strawberry"),
    "vegetables": split_names(
        "cabbage, carrot, cauliflower, garlic, onion, potato, yam, head of broccoli, lettuce head, stalk of celery"
    ),
    "animals": split_names(
        "bear, cat, chicken, cow, dog, donkey, duck, fish, frog, goat, mouse, pig, rabbit, snail, snake"
    ),
    "musical instruments": split_names("accordion, clarinet, drum, flute, piano, trombone, trumpet, violin"),
    _ANYTHING: split_names("bed, car, chair, couch, fridge, lamp, microwave, oven, stove, table, toaster"),
}
_IRREGULAR = {"mouse": "mice", "fish": "fish", "potato": "potatoes"}


def _plural(noun: str) -> str:
    head, of, rest = noun.partition(" of ")
    if head in _IRREGULAR:
        plural = _IRREGULAR[head]
    elif head.endswith("ch"):
        plural = f"{head}es"
    elif head.endswith("y"):
        plural = f"{head[:-1]}ies"
    else:
        plural = f"{head}s"
    return f"{plural}{of}{rest}"


_CATEGORY = {form: category for category, nouns in _THINGS.items() for noun in nouns for form in (noun, _plural(noun))}
_COUNT = {"a": 1, "an": 1, **{word: i for i, word in enumerate(NUMBER_WORDS) if i}}


def generate(size: int, rng: random.Random) -> Puzzle:
    category = rng.choice([name for name in _THINGS if name != _ANYTHING or size <= len(_THINGS[name])])
    own = _THINGS[category]
    others = [noun for name, nouns in _THINGS.items() if name != category for noun in nouns]
    share = size if category == _ANYTHING else rng.randint(1, min(size, len(own)))
    nouns = rng.sample(own, share) + rng.sample(others, size - share)
    rng.shuffle(nouns)
    total, items = 0, []
    for noun in nouns:
        count = rng.choice((1, 1, 1, 1, 2, 3, 4, 5))
        items.append(add_article(noun) if count == 1 else f"{NUMBER_WORDS[count]} {_plural(noun)}")
        total += count * (noun in own)
    query = f"I have {join_list(items)}. How many {category} do I have?"
    return Puzzle(query=query, reference=str(total), options=[])


def solve(query: str) -> Solution | None:
    match = re.fullmatch(r"I have (.+)\. How many ([a-z ]+) do I have\?", query.strip())
    if not match or match[2] not in _THINGS:
        return None
    total, before, counts, steps = 0, 0, False, list[Step]()
    items = split_list(match[1])
    for item in items:
        word, _, noun = item.partition(" ")
        if word not in _COUNT or noun not in _CATEGORY:
            return None
        counts = match[2] in (_ANYTHING, _CATEGORY[noun])
        before, total = total, total + _COUNT[word] * counts
        steps.append(_step(item, counts, total))
    # The mistake is to put the last thing into the wrong category.
    miscounted = before if counts else total + _COUNT[word]
    return Solution(
        steps=tuple(steps[:-1]),
        right=Ending(steps[-1], str(total)),
        wrong=Ending(_step(item, not counts, miscounted), str(miscounted)),
        hard=len(items) >= HARD,
    )


def _step(item: str, counts: bool, total: int) -> Step:
    line = f"{item}: {'yes' if counts else 'no'}, total {total}."
    return Step(full=line, brief=f"{item}: {total}." if counts else "")


TASK = Task(name="object_counting", size="kinds of things", smallest=2, largest=12, generate=generate, solve=solve)
