"""The scores of one model on one benchmark: over all items, and task by task.

Items that failed leave n; every other item counts with its score. `chance` is the expected score of a uniform guess
among each item's options: the mean of 1/len(options), or 0 for a free-form item; or of the chances that the rows give.

If items have several answers, their rows follow one another, and an item's score is the mean over those that did not
fail (avg@k). Outcomes are counted over answers.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import TypeAdapter

from orcac import rows
from orcac.rows import JUDGED, MEASURED, Answer, Outcome, Scored
from orcac.score.samples import SampleScores
from orcac.stats.intervals import Interval, binomial_p_value, student_t, wilson

__all__ = ["Answers", "BenchmarkScores", "Scores", "by_item", "constant_score", "merge", "read", "sum_up", "write"]

Row = TypeVar("Row", Answer, Scored)
WITHOUT_SCORE = ("failed", "judge refused", "judge unread")  # outcomes that leave n


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The scored answers of one model to one benchmark."""

    rows: Sequence[Scored]
    checkers: tuple[str, ...]  # the first one decides; instead of them, the rule that compared likelihoods
    left_out: int = 0  # items whose reference cannot be scored, which have no row
    samples: SampleScores | None = None  # if each item has several answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores over some items; shares and scores are in [0, 1]."""

    n: int  # items that have a score: all but those that failed
    mean: float | None  # None if n is 0
    interval: Interval  # of the mean, 95 %: Wilson, or of measured texts Student's t
    outcomes: dict[str, int]  # rows.Outcome -> answers, those that failed included
    chance: float
    p_above_chance: float  # `p_above(chance)`
    others: dict[str, float]  # further checker -> mean score

    def p_above(self, rate: float) -> float:
        """Return the exact one-sided p-value of this mean, or a higher one, if each item is right at this rate.

        Scores between 0 and 1 vary less than rights and wrongs of the same mean, so the test stays valid.
        """
        return _p_above((self.mean or 0.0) * self.n, self.n, rate)

    def share(self, outcome: Outcome) -> float:
        """Return the share of the answers that did not fail which have this outcome; 0 if all failed."""
        without = sum(self.outcomes.get(name, 0) for name in WITHOUT_SCORE)
        return self.outcomes[outcome] / max(sum(self.outcomes.values()) - without, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkScores(Scores):
    """The content of `scores.json`: the scores over all items, and those of each task."""

    checkers: tuple[str, ...]
    left_out: int
    samples: SampleScores | None = None
    tasks: dict[str, Scores]


def write(folder: Path, answers: Answers) -> BenchmarkScores:
    """Write `scores.parquet` and `scores.json`, and return the content of the latter."""
    rows.write(folder / "scores.parquet", Scored, answers.rows)
    scores = sum_up(answers)
    content = asdict(scores)
    if scores.samples is None:
        del content["samples"]
    (folder / "scores.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return scores


def read(folder: Path) -> Answers:
    """Return the scored answers in the folder of a score node."""
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    samples = TypeAdapter(SampleScores).validate_python(scores["samples"]) if "samples" in scores else None
    return Answers(
        rows=list(rows.read(folder / "scores.parquet", Scored)),
        checkers=tuple(scores["checkers"]),
        left_out=scores["left_out"],
        samples=samples,
    )


def sum_up(answers: Answers) -> BenchmarkScores:
    """Return the scores of a benchmark; tasks are sorted by name."""
    tasks: dict[str, list[Scored]] = defaultdict(list)
    for row in answers.rows:
        tasks[row.task].append(row)
    whole = _sum_up(answers.rows, answers.checkers)
    return BenchmarkScores(
        n=whole.n,
        mean=whole.mean,
        interval=whole.interval,
        outcomes=whole.outcomes,
        chance=whole.chance,
        p_above_chance=whole.p_above_chance,
        others=whole.others,
        checkers=answers.checkers,
        left_out=answers.left_out,
        samples=answers.samples,
        tasks={task: _sum_up(tasks[task], answers.checkers) for task in sorted(tasks)},
    )


def by_item(answers: Iterable[Row]) -> list[list[Row]]:
    """Return the answers to each item, in order."""
    items: list[list[Row]] = []
    for row in answers:
        if row.sample == 0:
            items.append([])
        items[-1].append(row)
    return items


def merge(answers: Sequence[Scored]) -> Scored:
    """Return the first answer to an item with the mean score of all that did not fail; None if all did."""
    first, *others = answers
    if not others:
        return first
    known = [row for row in answers if row.score is not None]
    if not known:
        return first
    by_checker = zip(*(row.others_score for row in known), strict=True)
    return dataclasses.replace(
        first,
        score=sum(row.score or 0.0 for row in known) / len(known),
        others_score=[sum(values) / len(known) for values in by_checker],
    )


def _sum_up(scored: Sequence[Scored], checkers: Sequence[str]) -> Scores:
    counted = [row for row in map(merge, by_item(scored)) if row.score is not None]
    n, total = len(counted), sum(row.score or 0.0 for row in counted)
    outcomes = Counter(row.outcome for row in scored)
    is_judged = any(outcome in outcomes for outcome in JUDGED)
    shown = [outcome for outcome in get_args(Outcome) if outcome not in (*JUDGED, MEASURED)]
    shown += [*JUDGED] * is_judged + [MEASURED] * (MEASURED in outcomes)
    chance = sum(map(_chance, counted)) / n if n else 0.0
    return Scores(
        n=n,
        mean=total / n if n else None,
        interval=student_t([row.score or 0.0 for row in counted]) if MEASURED in outcomes else wilson(total, n),
        outcomes={outcome: outcomes[outcome] for outcome in shown},
        chance=chance,
        p_above_chance=_p_above(total, n, chance),
        others={
            checker: sum(row.others_score[index] for row in counted) / n
            for index, checker in enumerate(checkers[1:])
            if n
        },
    )


def _chance(row: Scored) -> float:
    """Return the expected score of a uniform guess."""
    return row.chance if row.chance is not None else 1 / len(row.options) if row.options else 0.0


def _p_above(total: float, n: int, rate: float) -> float:
    return binomial_p_value(math.floor(total + 1e-9), n, rate)


def constant_score(scored: Sequence[Scored]) -> float:
    """Return the accuracy of always giving a task's most frequent right answer."""
    right: dict[str, Counter[str]] = defaultdict(Counter)
    for row in scored:
        right[row.task][row.reference] += 1
    return sum(max(counts.values()) for counts in right.values()) / len(scored)
