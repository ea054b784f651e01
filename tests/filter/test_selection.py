"""Tests of orcac/filter/agreement.py, orcac/filter/selection.py and orcac/spec/filters.py, from a spec to rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from collected import SOLVER, collect, plan_spec, taped

from orcac.errors import InputError
from orcac.filter.recipe import FilterRecipe
from orcac.filter.wording import describe_rules

QUESTIONS = {"Double 4.": "8", "Halve 10.": "5", "Add 1 and 2.": "3", "Name a colour.": ""}
ANSWERS = {
    "Double 4.": ["The answer is 9.", "So, counting on, the answer is 8.", "The answer is 8.", "Hard to say."],
    "Halve 10.": ["The answer is 4.", "The answer is 5.", "The answer is 6.", "The answer is 4.0."],
    "Add 1 and 2.": ["The answer is 3.", "The answer is 4.", "No idea.", "Perhaps."],
    "Name a colour.": ["Who knows?", "Is it red or blue?", "I wonder.", "Well."],
}


def chosen(folder: Path, filters: dict[str, Any], **more: Any) -> tuple[dict[str, list[int]], Counter[str]]:
    """Return question -> the samples that filters keep, and the reasons of the other rows."""
    every = {"checker": "number", "duplicates": "keep", "allow_empty": ["*"]} | filters
    made = collect(folder, taped(folder, QUESTIONS, ANSWERS) | {"filters": every} | more)
    kept: dict[str, list[int]] = {}
    for row in made.kept():
        kept.setdefault(row.query, []).append(row.sample)
    rejected = made.rejected()
    rules = list(describe_rules(FilterRecipe.model_validate(made.recipe("filter/d"))))
    for row in rejected:
        assert sum(rule.count({row.reason: 1}) for rule in rules) == 1, row.reason
    assert made.summary("filter/d")["rejected"] == dict(sorted(Counter(row.reason for row in rejected).items()))
    return kept, Counter(row.reason for row in rejected)


def test_verified_answers_agree_with_the_reference(tmp_path: Path) -> None:
    kept, reasons = chosen(tmp_path, {"select": {"by": "verified"}})
    assert kept == {"Double 4.": [1], "Halve 10.": [1], "Add 1 and 2.": [0]}
    assert reasons == {"unverified": 12, "not selected": 1}


def test_a_majority_needs_more_votes_than_any_other_answer(tmp_path: Path) -> None:
    kept, reasons = chosen(tmp_path, {"select": {"by": "majority", "keep": 4}})
    assert kept == {"Double 4.": [1, 2], "Halve 10.": [0, 3]}, "by the checker's equality: 4 is 4.0"
    assert reasons == {"minority": 3, "no vote": 1, "tied vote": 4, "no majority": 4}


@pytest.mark.parametrize(
    ("select", "kept"),
    [
        ({"by": "shortest"}, {"Double 4.": [3], "Halve 10.": [0], "Add 1 and 2.": [2], "Name a colour.": [3]}),
        ({"by": "longest", "keep": 2}, {"Double 4.": [0, 1], "Halve 10.": [0, 3], "Add 1 and 2.": [0, 1]}),
    ],
)
def test_answers_are_selected_by_length(tmp_path: Path, select: dict, kept: dict) -> None:
    found, reasons = chosen(tmp_path, {"select": select})
    assert {query: found[query] for query in kept} == kept
    assert reasons == {"not selected": 16 - 4 * select.get("keep", 1)}


def test_a_random_selection_follows_the_seed_and_grows(tmp_path: Path) -> None:
    one, two, other = (
        chosen(tmp_path, {"select": {"by": "random", "keep": keep}}, seed=seed)[0]
        for keep, seed in ((1, 1), (2, 1), (1, 2))
    )
    assert all(len(samples) == 1 for samples in one.values()) and all(len(samples) == 2 for samples in two.values())
    assert all(set(one[query]) < set(two[query]) for query in one)
    assert one != other


@pytest.mark.parametrize(
    ("filters", "kept", "reasons"),
    [
        ({"agreement": True}, 11, {"contradicts reference": 5}),
        ({"agreement": "agrees", "unread": "drop"}, 4, {"contradicts reference": 5, "unread": 3, "no reference": 4}),
        ({"agreement": "contradicts"}, 12, {"agrees with reference": 4}),
        (
            {"agreement": "contradicts", "unread": "drop"},
            5,
            {"agrees with reference": 4, "unread": 3, "no reference": 4},
        ),
    ],
)
def test_agreement_keeps_right_or_wrong_answers(tmp_path: Path, filters: dict, kept: int, reasons: dict) -> None:
    found, dropped = chosen(tmp_path, filters)
    assert (sum(map(len, found.values())), dropped) == (kept, reasons)


def test_a_vote_comes_after_the_rules_before_it_and_duplicates_come_last(tmp_path: Path) -> None:
    kept, reasons = chosen(
        tmp_path, {"max_characters": 20, "select": {"by": "majority", "keep": 4}, "duplicates": "drop"}
    )
    assert kept == {"Halve 10.": [0, 3]}
    assert reasons["too long"] == 1 and reasons["tied vote"] == 7, "the long answer had a vote less"


def test_a_dataset_has_rules_of_its_own_over_those_of_the_spec(tmp_path: Path) -> None:
    datasets = {
        "d": {"teacher": "t", "queries": ["q"]},
        "own": {"teacher": "t", "queries": ["q"], "filters": {"tokens": {"answer": {"max": 3}}, "agreement": None}},
    }
    filters = {"agreement": True, "tokens": {"reasoning": {"max": 9}}, "allow_empty": ["*"]}
    teacher = SOLVER | {"sampling": {"seed": 0, "extra": {"error_rate": 1.0}}}
    plan = plan_spec(tmp_path, {"datasets": datasets, "filters": filters, "teachers": {"t": teacher}})
    ids = plan.experiments["d"].addresses["base"]
    recipe = plan.nodes[ids["filter/own"]].recipe.model_dump(exclude_defaults=True)
    bounds = {"min": None, "max": 3}, {"min": None, "max": 9}
    assert recipe == {"tokens": {"answer": {"max": 3}, "reasoning": {"max": 9}}}, bounds
    assert plan.nodes[ids["filter/own"]].inputs == plan.nodes[ids["filter/d"]].inputs, "the answers are shared"


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"select": {"by": "best"}}, "`by` cannot be `best`; known: verified, majority"),
        ({"unread": "drop"}, "nothing is compared without `agreement`"),
        ({"tokens": {"both": {"min": 9, "max": 3}}}, "no answer passes: `min` 9 is above `max` 3"),
        ({"contamination": {}}, "there is no benchmark to check against"),
    ],
)
@pytest.mark.parametrize("is_own", [False, True])
def test_filters_that_make_no_sense_are_refused(tmp_path: Path, filters: dict, problem: str, is_own: bool) -> None:
    dataset = {"teacher": "t", "queries": ["q"]}
    spec = {"datasets": {"d": dataset | {"filters": filters}}} if is_own else {"filters": filters}
    with pytest.raises(InputError) as caught:
        plan_spec(tmp_path, spec)
    assert problem in str(caught.value)
