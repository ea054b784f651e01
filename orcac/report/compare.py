"""Scores of all arms on one benchmark, and what tells each from the base.

Arms are compared on the same items, joined by the items' ids (the k-th of a repeated id with the k-th). A verdict
is made by the test that it names and by nothing else.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from orcac.report.paper import orca_13b
from orcac.report.results import ArmAnswer, Benchmark, Difference, Sample, Score, TaskScore
from orcac.rows import Answer
from orcac.stats import beats_chance, holm, mcnemar, paired_difference, wilson

__all__ = ["adjusted", "benchmark"]

LEVEL = 0.05
SAMPLES = 3
SAMPLE_CHARACTERS = 1500

Key = tuple[str, int]


def benchmark(
    name: str, benchmark_format: str, answers: Mapping[str, Sequence[Answer]], *, base: str, seed: int
) -> Benchmark:
    """`answers`: by arm. The p-values are adjusted later, over all benchmarks (see `adjusted`)."""
    first = next(iter(answers.values()))
    tasks = _by_task(first)
    paper = {task: figure for task in tasks if (figure := orca_13b(benchmark_format, task)) is not None}
    keyed = {arm: _keyed(rows) for arm, rows in answers.items()}
    return Benchmark(
        name=name,
        n=len(first),
        chance=_chance(first),
        constant=_constant(first),
        paper=_mean(paper[row.task] for row in first) if paper.keys() == tasks.keys() else None,
        task_chance={task: _chance(rows) for task, rows in tasks.items()},
        task_paper=paper,
        scores=tuple(
            _score(arm, rows, _difference(keyed[arm], keyed.get(base, {}), seed) if arm != base else None)
            for arm, rows in answers.items()
        ),
        samples=_samples(keyed),
    )


def adjusted(benchmarks: Sequence[Benchmark]) -> tuple[Benchmark, ...]:
    """The same, with each comparison's p-value adjusted for how many there are (Holm), and its verdict."""
    differences = [score.difference for bench in benchmarks for score in bench.scores if score.difference is not None]
    p_values = iter(holm([difference.p for difference in differences]))
    return tuple(
        dataclasses.replace(
            bench,
            scores=tuple(
                dataclasses.replace(score, difference=_decided(score.difference, next(p_values)))
                if score.difference is not None
                else score
                for score in bench.scores
            ),
        )
        for bench in benchmarks
    )


def _decided(difference: Difference, p_holm: float) -> Difference:
    verdict = "no difference shown"
    if p_holm < LEVEL:
        verdict = "better" if difference.points > 0 else "worse"
    return dataclasses.replace(difference, p_holm=p_holm, verdict=verdict)


def _score(arm: str, answers: Sequence[Answer], difference: Difference | None) -> Score:
    n, correct = len(answers), sum(answer.correct for answer in answers)
    p_chance = beats_chance(correct, n, _chance(answers))
    if p_chance >= LEVEL:
        verdict = "at chance"
    elif beats_chance(correct, n, _constant(answers)) >= LEVEL:
        verdict = "no better than a constant answer"
    else:
        verdict = "above chance"
    return Score(
        arm=arm,
        n=n,
        correct=correct,
        unparsed=sum(not answer.parsed for answer in answers),
        accuracy=correct / n,
        interval=wilson(correct, n),
        p_above_chance=p_chance,
        verdict=verdict,
        difference=difference,
        tasks=tuple(_task_score(task, rows) for task, rows in _by_task(answers).items()),
    )


def _task_score(task: str, answers: Sequence[Answer]) -> TaskScore:
    n, correct = len(answers), sum(answer.correct for answer in answers)
    return TaskScore(
        task=task,
        n=n,
        correct=correct,
        unparsed=sum(not answer.parsed for answer in answers),
        accuracy=correct / n,
        interval=wilson(correct, n),
    )


def _difference(arm: Mapping[Key, Answer], base: Mapping[Key, Answer], seed: int) -> Difference | None:
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


def _chance(answers: Sequence[Answer]) -> float:
    """What uniform guessing among each item's options gets; a free-form item adds 0."""
    return _mean(1 / len(answer.options) if answer.options else 0.0 for answer in answers)


def _constant(answers: Sequence[Answer]) -> float:
    """What always giving a task's most frequent right answer gets."""
    most = (Counter(row.reference for row in rows).most_common(1)[0][1] for rows in _by_task(answers).values())
    return sum(most) / len(answers)


def _samples(keyed: Mapping[str, Mapping[Key, Answer]]) -> tuple[Sample, ...]:
    """The first items on which some arm is right and another wrong; of a single arm, the first items."""
    chosen: list[Sample] = []
    for key, item in next(iter(keyed.values())).items():
        answers = {arm: rows[key] for arm, rows in keyed.items() if key in rows}
        if len(keyed) > 1 and len({answer.correct for answer in answers.values()}) == 1:
            continue
        said = tuple(
            ArmAnswer(arm=arm, response=_cut(answer.response), parsed=answer.parsed, correct=answer.correct)
            for arm, answer in answers.items()
        )
        chosen.append(Sample(task=item.task, query=_cut(item.query), reference=item.reference, answers=said))
        if len(chosen) == SAMPLES:
            break
    return tuple(chosen)


def _cut(text: str) -> str:
    more = len(text) - SAMPLE_CHARACTERS
    return text if more <= 0 else f"{text[:SAMPLE_CHARACTERS]} […{more:,} characters more]"


def _keyed(answers: Iterable[Answer]) -> dict[Key, Answer]:
    seen: Counter[str] = Counter()
    keyed = {}
    for answer in answers:
        keyed[answer.id, seen[answer.id]] = answer
        seen[answer.id] += 1
    return keyed


def _by_task(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    tasks: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        tasks[answer.task].append(answer)
    return {task: tasks[task] for task in sorted(tasks)}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
