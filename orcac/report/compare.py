"""The scores of all arms on one benchmark, and the difference of each to the base.

Arms are compared on the same items, joined by the items' ids; the k-th item of a repeated id is joined with the k-th. A
verdict follows from the test that it names and from nothing else.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from orcac.report.paper import published_accuracy
from orcac.report.results import ArmAnswer, Benchmark, Difference, Sample, Score, TaskScore
from orcac.rows import Scored
from orcac.score.scores import Answers, constant_score, sum_up
from orcac.stats.compare import compare_to_base
from orcac.stats.verdict import holm

__all__ = ["adjust_p_values", "compare_arms"]

LEVEL = 0.05
SAMPLES = 3
SAMPLE_CHARACTERS = 1500

Key = tuple[str, int]


def compare_arms(name: str, benchmark_format: str, answers: Mapping[str, Answers], *, base: str) -> Benchmark:
    """Return the scores on one benchmark of the arms in `answers`, and their differences to the arm `base`.

    The p-values are adjusted later, over all benchmarks (`adjust_p_values`).
    """
    first = next(iter(answers.values()))
    scored = sum_up(first)
    tasks = scored.tasks
    paper = {task: figure for task in tasks if (figure := published_accuracy(benchmark_format, task)) is not None}
    keyed = {arm: _key_answers(of_arm.rows) for arm, of_arm in answers.items()}
    differences = _differences(keyed, base)
    return Benchmark(
        name=name,
        n=len(first.rows),
        chance=scored.chance,
        constant=constant_score(first.rows),
        paper=sum(paper[row.task] for row in first.rows) / len(first.rows) if paper.keys() == tasks.keys() else None,
        task_chance={task: found.chance for task, found in tasks.items()},
        task_paper=paper,
        scores=tuple(_score(arm, of_arm, differences.get(arm)) for arm, of_arm in answers.items()),
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


def _score(arm: str, answers: Answers, difference: Difference | None) -> Score:
    scored = sum_up(answers)
    if scored.p_above_chance >= LEVEL:
        verdict = "at chance"
    elif scored.p_above(constant_score(answers.rows)) >= LEVEL:
        verdict = "no better than a constant answer"
    else:
        verdict = "above chance"
    return Score(
        arm=arm,
        n=scored.n,
        mean=scored.mean,
        interval=scored.interval,
        outcomes=scored.outcomes,
        unparsed_share=scored.share("unparsed"),
        cut_share=scored.share("cut"),
        checkers=scored.checkers,
        others=scored.others,
        left_out=scored.left_out,
        p_above_chance=scored.p_above_chance,
        verdict=verdict,
        difference=difference,
        tasks=tuple(
            TaskScore(
                task=task,
                n=found.n,
                mean=found.mean,
                interval=found.interval,
                outcomes=found.outcomes,
            )
            for task, found in scored.tasks.items()
        ),
    )


def _differences(keyed: Mapping[str, Mapping[Key, Scored]], base: str) -> dict[str, Difference]:
    """Return the difference to the base of each arm that shares two items or more with it.

    An item that failed in one of the two is not in their comparison.
    """
    if base not in keyed:
        return {}
    keys = list(keyed[base])
    scores = {
        arm: np.array([[math.nan if (row := of_arm.get(key)) is None else _as_float(row.score) for key in keys]])
        for arm, of_arm in keyed.items()
    }
    return {
        arm: Difference(
            items=found.items,
            points=found.difference,
            interval=found.interval,
            only_arm=found.won,
            only_base=found.lost,
            p=found.p,
            p_holm=found.p,
            verdict="",
        )
        for arm, found in compare_to_base(scores, base)[1].items()
    }


def _as_float(score: float | None) -> float:
    return math.nan if score is None else score


def _samples(keyed: Mapping[str, Mapping[Key, Scored]]) -> tuple[Sample, ...]:
    """Return the first items on which the arms' scores differ; of a single arm, the first items."""
    chosen: list[Sample] = []
    for key, item in next(iter(keyed.values())).items():
        answers = {arm: rows[key] for arm, rows in keyed.items() if key in rows}
        if len(keyed) > 1 and len({answer.score for answer in answers.values()}) == 1:
            continue
        responses = tuple(
            ArmAnswer(arm=arm, response=_cut(answer.response), parsed=answer.parsed, outcome=answer.outcome)
            for arm, answer in answers.items()
        )
        chosen.append(Sample(task=item.task, query=_cut(item.query), reference=item.reference, answers=responses))
        if len(chosen) == SAMPLES:
            break
    return tuple(chosen)


def _cut(text: str) -> str:
    more = len(text) - SAMPLE_CHARACTERS
    return text if more <= 0 else f"{text[:SAMPLE_CHARACTERS]} […{more:,} characters more]"


def _key_answers(answers: Iterable[Scored]) -> dict[Key, Scored]:
    """Return (item id, number of earlier answers with this id) -> answer."""
    seen: Counter[str] = Counter()
    keyed = {}
    for answer in answers:
        keyed[answer.id, seen[answer.id]] = answer
        seen[answer.id] += 1
    return keyed
