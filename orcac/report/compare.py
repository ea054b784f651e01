"""The scores of all arms on one benchmark, and the difference of each to the base.

Arms are compared on the same items, joined by the items' ids; the k-th item of a repeated id is joined with the k-th. A
verdict follows from the test that it names and from nothing else.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from orcac.eval.scores import score
from orcac.report.paper import published_accuracy
from orcac.report.results import ArmAnswer, Benchmark, Difference, Sample, Score, TaskScore
from orcac.rows import Answer
from orcac.stats import binomial_p_value, holm, mcnemar, paired_difference

__all__ = ["adjust_p_values", "compare_arms"]

LEVEL = 0.05
SAMPLES = 3
SAMPLE_CHARACTERS = 1500

Key = tuple[str, int]


def compare_arms(
    name: str, benchmark_format: str, answers: Mapping[str, Sequence[Answer]], *, base: str, seed: int
) -> Benchmark:
    """Return the scores on one benchmark of the arms in `answers`, and their differences to the arm `base`.

    The p-values are adjusted later, over all benchmarks (`adjust_p_values`).
    """
    first = next(iter(answers.values()))
    scored = score(first)
    tasks = scored.tasks
    paper = {task: figure for task in tasks if (figure := published_accuracy(benchmark_format, task)) is not None}
    keyed = {arm: _key_answers(rows) for arm, rows in answers.items()}
    return Benchmark(
        name=name,
        n=scored.n,
        chance=scored.chance,
        constant=_constant_accuracy(first),
        paper=sum(paper[row.task] for row in first) / len(first) if paper.keys() == tasks.keys() else None,
        task_chance={task: found.chance for task, found in tasks.items()},
        task_paper=paper,
        scores=tuple(
            _score(arm, rows, _difference(keyed[arm], keyed.get(base, {}), seed) if arm != base else None)
            for arm, rows in answers.items()
        ),
        samples=_samples(keyed),
    )


def adjust_p_values(benchmarks: Sequence[Benchmark]) -> tuple[Benchmark, ...]:
    """Return the benchmarks with Holm's adjustment over all their comparisons, and the verdict of each comparison."""
    differences = [row.difference for bench in benchmarks for row in bench.scores if row.difference is not None]
    p_values = iter(holm([difference.p for difference in differences]))
    return tuple(
        dataclasses.replace(
            bench,
            scores=tuple(
                dataclasses.replace(row, difference=_with_verdict(row.difference, next(p_values)))
                if row.difference is not None
                else row
                for row in bench.scores
            ),
        )
        for bench in benchmarks
    )


def _with_verdict(difference: Difference, p_holm: float) -> Difference:
    verdict = "no difference shown"
    if p_holm < LEVEL:
        verdict = "better" if difference.points > 0 else "worse"
    return dataclasses.replace(difference, p_holm=p_holm, verdict=verdict)


def _score(arm: str, answers: Sequence[Answer], difference: Difference | None) -> Score:
    scored = score(answers)
    if scored.p_above_chance >= LEVEL:
        verdict = "at chance"
    elif binomial_p_value(scored.correct, scored.n, _constant_accuracy(answers)) >= LEVEL:
        verdict = "no better than a constant answer"
    else:
        verdict = "above chance"
    return Score(
        arm=arm,
        n=scored.n,
        correct=scored.correct,
        unparsed=scored.unparsed,
        accuracy=scored.accuracy,
        interval=scored.interval,
        p_above_chance=scored.p_above_chance,
        verdict=verdict,
        difference=difference,
        tasks=tuple(
            TaskScore(
                task=task,
                n=found.n,
                correct=found.correct,
                unparsed=found.unparsed,
                accuracy=found.accuracy,
                interval=found.interval,
            )
            for task, found in scored.tasks.items()
        ),
    )


def _difference(arm: Mapping[Key, Answer], base: Mapping[Key, Answer], seed: int) -> Difference | None:
    """Return the difference of an arm to the base; None if they share no item."""
    shared = [key for key in base if key in arm]
    if not shared:
        return None
    a = np.array([arm[key].correct for key in shared])
    b = np.array([base[key].correct for key in shared])
    only_arm, only_base = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    p = mcnemar(only_arm, only_base)
    return Difference(
        items=len(shared),
        points=(only_arm - only_base) / len(shared),
        interval=paired_difference(a, b, seed),
        only_arm=only_arm,
        only_base=only_base,
        p=p,
        p_holm=p,
        verdict="",
    )


def _constant_accuracy(answers: Sequence[Answer]) -> float:
    """Return the accuracy of always giving a task's most frequent right answer."""
    right: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        right[answer.task][answer.reference] += 1
    return sum(max(counts.values()) for counts in right.values()) / len(answers)


def _samples(keyed: Mapping[str, Mapping[Key, Answer]]) -> tuple[Sample, ...]:
    """Return the first items on which one arm is right and another is wrong; of a single arm, the first items."""
    chosen: list[Sample] = []
    for key, item in next(iter(keyed.values())).items():
        answers = {arm: rows[key] for arm, rows in keyed.items() if key in rows}
        if len(keyed) > 1 and len({answer.correct for answer in answers.values()}) == 1:
            continue
        responses = tuple(
            ArmAnswer(arm=arm, response=_cut(answer.response), parsed=answer.parsed, correct=answer.correct)
            for arm, answer in answers.items()
        )
        chosen.append(Sample(task=item.task, query=_cut(item.query), reference=item.reference, answers=responses))
        if len(chosen) == SAMPLES:
            break
    return tuple(chosen)


def _cut(text: str) -> str:
    more = len(text) - SAMPLE_CHARACTERS
    return text if more <= 0 else f"{text[:SAMPLE_CHARACTERS]} […{more:,} characters more]"


def _key_answers(answers: Iterable[Answer]) -> dict[Key, Answer]:
    """Return (item id, number of earlier answers with this id) -> answer."""
    seen: Counter[str] = Counter()
    keyed = {}
    for answer in answers:
        keyed[answer.id, seen[answer.id]] = answer
        seen[answer.id] += 1
    return keyed
