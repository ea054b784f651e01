"""Tests of orcac/filter/wording.py: every reason that a filter can give belongs to exactly one rule."""

from __future__ import annotations

import itertools

from orcac.collect.contamination import Benchmarks
from orcac.filter.reasons import KEEP, Reasons
from orcac.filter.recipe import Bounds, FilterRecipe
from orcac.filter.wording import describe_rules
from orcac.rows import Response

RECIPE = FilterRecipe(
    min_characters=2,
    max_characters=60,
    tokens={"answer": Bounds(min=2, max=30), "both": Bounds(max=40)},
    drop_refusals=True,
    agree_with_reference=True,
    contamination_ngram=3,
)


def test_the_rules_account_for_all_rejected_rows() -> None:
    texts = ("", "5", "The answer is 5.", "The answer is 6.", "x" * 99, "I'm sorry, but I cannot help with that.")
    counts: dict[str, int] = {}
    judged = []
    for text, ended, tokens in itertools.product(texts, ("stop", "length", ""), (1, 9, 35, 99)):
        row = Response(
            id="", source="s", task="", query="2 + 3?", system_id=1, system="", reference="5", teacher="t",
            response=text, finish_reason=ended, output_tokens=tokens,
        )  # fmt: skip
        judged.append(row)
    for _, reason in Reasons(RECIPE, Benchmarks({}, 1)).judge_all(judged):
        if reason == KEEP:
            continue
        counts[reason] = counts.get(reason, 0) + 1
    rules = list(describe_rules(RECIPE))
    assert len(counts) > 6
    assert sum(rule.count(counts) for rule in rules) == sum(counts.values())
    for reason in counts:
        assert sum(rule.count({reason: 1}) for rule in rules) == 1, reason


def test_a_rule_that_is_off_has_no_words() -> None:
    assert [rule.reasons for rule in describe_rules(FilterRecipe(drop_duplicates=False))] == [
        ("finish_reason: ",),
        ("too short",),
    ]
