"""The rules of a filter in words, for readers of the data: each with its purpose and the reasons that it gives.

The reasons are those of `filter.reasons`. A rule that the recipe leaves out has no words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from orcac.filter.duplicates import list_parts, name_duplicate
from orcac.filter.recipe import Bounds, FilterRecipe, Selection

__all__ = ["Rule", "describe_rules"]

_FINISH = "finish_reason: "
_UNREAD = ("unread", "no reference")


class Rule(NamedTuple):
    """A rule that every kept response has passed."""

    text: str
    purpose: str
    reasons: tuple[str, ...]  # as `FilterSummary.rejected` counts them; "finish_reason: " begins several

    def count(self, rejected: Mapping[str, int]) -> int:
        """Return the number of responses that the rule has rejected."""
        return sum(
            number
            for reason, number in rejected.items()
            if reason in self.reasons or (_FINISH in self.reasons and reason.startswith(_FINISH))
        )


def describe_rules(recipe: FilterRecipe) -> Iterator[Rule]:
    """Yield the rules of a recipe, in the order in which they are applied."""
    ended = " or ".join(recipe.finish_reasons)
    yield Rule(f"the finish reason is {ended}", "keeps answers that end as they should", (_FINISH,))
    lengths, refusals = list(_describe_lengths(recipe)), list(_describe_refusals(recipe))
    duplicates, contamination = list(_describe_duplicates(recipe)), list(_describe_contamination(recipe))
    yield from (*refusals, *lengths) if recipe.is_reordered else (*lengths, *refusals)
    yield from _describe_agreement(recipe)
    if not recipe.is_reordered:
        yield from (*duplicates, *contamination)
        return
    yield from contamination
    if recipe.select:
        yield _describe_selection(recipe.select, recipe.checker)
    yield from duplicates


def _describe_lengths(recipe: FilterRecipe) -> Iterator[Rule]:
    least = recipe.min_characters
    text = "an answer is not empty" if least == 1 else f"an answer has {least:,} characters or more"
    yield Rule(text, "leaves out answers without content", ("too short",))
    if recipe.max_characters is not None:
        text = f"an answer has {recipe.max_characters:,} characters or fewer"
        yield Rule(text, "leaves out answers of unusual length", ("too long",))
    for part, bounds in recipe.tokens.items():
        name = "answer and reasoning" if part == "both" else part
        reasons = (f"{name} too short", f"{name} too long")
        yield Rule(f"{name}: {_describe_bounds(bounds)}", "selects by length", reasons)


def _describe_refusals(recipe: FilterRecipe) -> Iterator[Rule]:
    if recipe.drop_refusals:
        yield Rule("the teacher does not decline to answer", "leaves out refusals", ("refusal",))


def _describe_agreement(recipe: FilterRecipe) -> Iterator[Rule]:
    if recipe.agree_with_reference:
        yield Rule(
            f"an answer that can be read does not contradict a known reference (checker {recipe.checker})",
            "leaves out wrong answers",
            ("contradicts reference",),
        )
    if recipe.contradict_reference:
        yield Rule(
            f"an answer that can be read contradicts a known reference (checker {recipe.checker})",
            "leaves wrong answers alone",
            ("agrees with reference",),
        )
    if recipe.drop_unread:
        text = "an answer can be read, and its question has a known reference"
        yield Rule(text, "leaves out answers that cannot be compared", _UNREAD)


def _describe_contamination(recipe: FilterRecipe) -> Iterator[Rule]:
    if recipe.contamination_ngram is not None:
        yield Rule(
            f"the question shares no {recipe.contamination_ngram:,} consecutive words with a benchmark's item",
            "keeps the benchmarks' items unseen",
            ("contamination",),
        )
    if recipe.contaminated_answers:
        text = f"nor do the answer and its reasoning share {recipe.contamination_ngram:,} consecutive words with one"
        yield Rule(text, "keeps the benchmarks' items out of the answers", ("contaminated answer",))


_REPEATED = {
    "example": "no earlier row has the same texts",
    "question": "no other prompt before it has the same question",
    "answer": "no earlier row has the same answer",
}


def _describe_duplicates(recipe: FilterRecipe) -> Iterator[Rule]:
    for part in list_parts(recipe):
        yield Rule(_REPEATED[part], "leaves out repetitions", (name_duplicate(part),))
    for part in list_parts(recipe) if recipe.near is not None else ():
        what = {"example": "text"}.get(part, part)
        text = f"no earlier row has a {what} that is similar to {recipe.near:g} or more (Jaccard index of 3-word runs)"
        yield Rule(text, "leaves out repetitions in other words", (name_duplicate(part, is_near=True),))


_SELECTED = {
    "verified": ("that agree with the reference", ("unverified",)),
    "majority": (
        "that have the final answer of most answers to the prompt",
        ("minority", "no vote", "tied vote", "no majority"),
    ),
    "shortest": ("that are the shortest", ()),
    "longest": ("that are the longest", ()),
    "random": ("that are drawn at random", ()),
    "judged": ("that have the most points of a judge", ("unrated", "tied points")),
}


def _describe_selection(selection: Selection, checker: str) -> Rule:
    which, reasons = _SELECTED[selection.by]
    read = f" (checker {checker})" if selection.by in ("verified", "majority") else ""
    text = f"at most {selection.keep:,} of the answers to a prompt {which}{read}"
    return Rule(text, "selects among the answers to a prompt", (*reasons, "not selected"))


def _describe_bounds(bounds: Bounds) -> str:
    if bounds.min is None:
        return f"{bounds.max:,} tokens or fewer" if bounds.max is not None else "any length"
    return f"{bounds.min:,} tokens or more" if bounds.max is None else f"{bounds.min:,} to {bounds.max:,} tokens"
