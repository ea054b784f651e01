"""Logical deduction: clues give the order of things in a row. The size is the number of things.

Places count from 1 at one end of an axis (leftmost, first, newest, most expensive). A claim is a fact about places,
however it is worded. Clues and options are read the same way; the answer is the option that holds in every order that
agrees with all clues. Seven things have 5,040 orders, so the solver keeps the list of the orders that are still
possible; its working gives the meaning of each clue and the number of orders that it leaves.
"""

from __future__ import annotations

import itertools
import random
import re
from typing import NamedTuple

from orcac.puzzles.base import (
    NUMBER_WORDS,
    ORDINALS,
    Ending,
    Puzzle,
    Solution,
    Step,
    Task,
    add_article,
    join_list,
    option_letter,
    read_options,
    split_list,
    split_names,
    write_options,
)

HARD = 5  # things; a puzzle with fewer is easy
_MAX_THINGS = 8  # all of their 40,320 orders can be listed in a moment
_PREAMBLE = (
    "The following paragraphs each describe a set of {} objects arranged in a fixed order. The statements are "
    "logically consistent within each paragraph."
)
Order = tuple[int, ...]  # the place of each thing; things are numbered from 0


class _Claim(NamedTuple):
    """A fact about places: thing `one` is before thing `other`, or at `place` if `other` is None."""

    one: int
    place: int = 0
    other: int | None = None

    def holds(self, order: Order) -> bool:
        return order[self.one] == self.place if self.other is None else order[self.one] < order[self.other]


class _Domain(NamedTuple):
    """The wording of one kind of row, and the things in it."""

    introduction: str  # with {} for the number
    subject: str  # with {} for a thing; the rest of the claim follows
    before: str
    after: str
    low: tuple[str, str]  # the name of place 1, and of the k-th place from there, with {} for the ordinal of k
    high: tuple[str, str]  # the same two names, counted from the last place
    things: tuple[str, ...]

    def place_name(self, place: int, size: int) -> str:
        """Return the name of a place, counted from the nearer end."""
        (first, nth), k = (self.low, place) if 2 * place <= size + 1 else (self.high, size + 1 - place)
        return first if k == 1 else nth.format(ORDINALS[k])

    def places(self, size: int) -> dict[str, int]:
        """Return (name -> place) for both names of each place: one counts from the low end, one from the high end."""
        places = {}
        for (first, nth), start, sign in ((self.low, 0, 1), (self.high, size + 1, -1)):
            for k in range(1, size + 1):
                places[nth.format(ORDINALS[k])] = start + sign * k
            places[first] = start + sign
        return places


_LEFT, _RIGHT = ("the leftmost", "the {} from the left"), ("the rightmost", "the {} from the right")
_ROW = ("The {} is", "to the left of", "to the right of", _LEFT, _RIGHT)
_COLORS = split_names("black, blue, brown, gray, green, orange, purple, red, white, yellow")
_DOMAINS = (
    _Domain(
        "On a branch, there are {} birds:",
        *_ROW,
        split_names("blue jay, cardinal, crow, falcon, hawk, hummingbird, owl, quail, raven, robin"),
    ),
    _Domain(
        "On a shelf, there are {} books:",
        *_ROW,
        tuple(f"{color} book" for color in _COLORS),
    ),
    _Domain(
        "In an antique car show, there are {} vehicles:",
        "The {} is",
        "newer than",
        "older than",
        ("the newest", "the {}-newest"),
        ("the oldest", "the {}-oldest"),
        split_names(
            "bus, convertible, hatchback, limousine, minivan, motorcycle, sedan, station wagon, tractor, truck"
        ),
    ),
    _Domain(
        "A fruit stand sells {} fruits:",
        "The {} are",
        "more expensive than",
        "less expensive than",
        ("the most expensive", "the {}-most expensive"),
        ("the cheapest", "the {}-cheapest"),
        split_names("apples, cantaloupes, kiwis, loquats, mangoes, oranges, peaches, pears, plums, watermelons"),
    ),
    _Domain(
        "In a golf tournament, there were {} golfers:",
        "{} finished",
        "above",
        "below",
        ("first", "{}"),
        ("last", "{}-to-last"),
        split_names("Ada, Amy, Ana, Dan, Eli, Eve, Joe, Mel, Mya, Rob"),
    ),
)


def generate(size: int, rng: random.Random) -> Puzzle:
    domain = rng.choice(_DOMAINS)
    things = rng.sample(domain.things, size)
    truth = tuple(rng.sample(range(1, size + 1), size))
    clues = [_write_claim(domain, claim, things, rng) for claim in _draw_clues(truth, rng)]
    asked = rng.randint(1, size)
    items = [add_article(thing) if domain.subject == "The {} is" else thing for thing in things]
    number = NUMBER_WORDS[size]
    query = (
        f"{_PREAMBLE.format(number)} {domain.introduction.format(number)} {join_list(items)}. {' '.join(clues)}\n"
        + write_options([f"{domain.subject.format(thing)} {domain.place_name(asked, size)}" for thing in things])
    )
    return Puzzle(
        query=query,
        reference=option_letter(truth.index(asked)),
        options=[option_letter(i) for i in range(size)],
    )


def _draw_clues(truth: Order, rng: random.Random) -> list[_Claim]:
    """Return claims that hold in `truth` and together in no other order, each of which rules some order out."""
    size = len(truth)
    pairs = [_Claim(a, other=b) for a, b in itertools.permutations(range(size), 2) if truth[a] < truth[b]]
    places = [_Claim(thing, place) for thing, place in enumerate(truth)]
    candidates = pairs + places
    rng.shuffle(candidates)
    clues, orders = [], list(itertools.permutations(range(1, size + 1)))
    for claim in candidates:
        possible = [order for order in orders if claim.holds(order)]
        if len(possible) < len(orders):
            clues.append(claim)
            orders = possible
        if len(orders) == 1:
            break
    assert orders == [truth]
    return clues


def _write_claim(domain: _Domain, claim: _Claim, things: list[str], rng: random.Random) -> str:
    one, rest = claim.one, domain.place_name(claim.place, len(things)) if claim.place else ""
    if claim.other is not None:
        other, relation = claim.other, domain.before
        if rng.random() < 0.5:
            one, other, relation = other, one, domain.after
        the = "the " * domain.subject.startswith("The")
        rest = f"{relation} {the}{things[other]}"
    return f"{domain.subject.format(things[one])} {rest}."


def solve(query: str) -> Solution | None:
    options = read_options(query)
    story = query.partition("\nOptions:")[0]
    for domain in _DOMAINS:
        opening = re.search(re.escape(domain.introduction).replace(r"\{\}", r"\w+") + r" ([^.]+)\. ", story)
        if opening:
            break
    else:
        return None
    things = [re.sub(r"^an? ", "", item) for item in split_list(opening[1])]
    if len(things) > _MAX_THINGS:
        return None
    sentences = [sentence for sentence in re.split(r"\.\s*", story[opening.end() :]) if sentence]
    clues = [_read_claim(domain, sentence, things) for sentence in sentences]
    claims = {answer: _read_claim(domain, text, things) for answer, text in options.items()}
    if not clues or not claims:
        return None
    orders = list(itertools.permutations(range(1, len(things) + 1)))
    steps = []
    for clue in clues:
        if clue is None:
            return None
        orders = [order for order in orders if clue.holds(order)]
        meaning = _notation(clue, things)
        left = f"{len(orders)} order{'s' * (len(orders) != 1)} left"
        steps.append(Step(full=f"{meaning}: {left}.", brief=""))
    certain = [answer for answer, claim in claims.items() if claim and all(claim.holds(order) for order in orders)]
    if not orders or len(certain) != 1:
        return None
    steps.append(_first_order(orders, things))
    answers = list(options)
    wrong = answers[(answers.index(certain[0]) + 1) % len(answers)]
    return Solution(
        steps=tuple(steps),
        right=_ending(options, certain[0]),
        wrong=_ending(options, wrong),
        hard=len(things) >= HARD,
    )


def _read_claim(domain: _Domain, sentence: str, things: list[str]) -> _Claim | None:
    """Return the claim of a clue or an option; None if it is not in a known form."""
    numbers = {thing: i for i, thing in enumerate(things)}
    match = re.fullmatch(re.escape(domain.subject).replace(r"\{\}", "(.+?)") + " (.+)", sentence)
    if not match or match[1] not in numbers:
        return None
    one, rest = numbers[match[1]], match[2]
    place = domain.places(len(things)).get(rest)
    if place is not None:
        return _Claim(one, place)
    relation = re.fullmatch(rf"({domain.before}|{domain.after}) (?:the )?(.+)", rest)
    if not relation or relation[2] not in numbers:
        return None
    other = numbers[relation[2]]
    return _Claim(one, other=other) if relation[1] == domain.before else _Claim(other, other=one)


def _notation(claim: _Claim, things: list[str]) -> str:
    if claim.other is None:
        return f"{things[claim.one]} = {claim.place}"
    return f"{things[claim.one]} < {things[claim.other]}"


def _first_order(orders: list[Order], things: list[str]) -> Step:
    """Return the step that states the order, from place 1 on; the first order if several are possible."""
    row = ", ".join(thing for _, thing in sorted(zip(orders[0], things, strict=True)))
    found = f"{'Order' if len(orders) == 1 else 'One order'}: {row}."
    return Step(full=found, brief=found)


def _ending(options: dict[str, str], answer: str) -> Ending:
    found = f"{options[answer]}."
    return Ending(Step(full=found, brief=found), answer)


TASK = Task(name="logical_deduction", size="things", smallest=3, largest=7, generate=generate, solve=solve)
