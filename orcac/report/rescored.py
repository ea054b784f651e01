"""The effect of other checkers on finished answers: the scores and verdicts that change, with nothing asked again.

`orcac diff` calls this for every pair of arms, and most of them have no such answers. So pyarrow and scipy, which take
half a second to import, are imported only if there are some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.report.recipe import Baseline, Claim, Draws, Evaluation, ReportRecipe, is_trained, map_benchmarks
from orcac.store.store import Store

_Pairs = list[list[tuple[str, str]]]  # the old and the new score node, by draw and run

if TYPE_CHECKING:
    from orcac.report.results import Score
    from orcac.score.scores import Answers

__all__ = ["Rescored", "rescore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """The answers of one arm to one benchmark, scored by two lists of checkers."""

    benchmark: str
    arm: str
    items: int  # answers, of all runs
    changed: int  # answers whose score differs
    old_checkers: tuple[str, ...]
    new_checkers: tuple[str, ...]
    old_mean: float | None
    new_mean: float | None
    old_verdict: str | None  # against the base; None for the base itself, and if the base is not rescored
    new_verdict: str | None

    @property
    def is_same(self) -> bool:
        """Whether every score and the verdict stay as they are."""
        return self.changed == 0 and self.old_verdict == self.new_verdict


def rescore(rows: Mapping[str, tuple[Draws, Draws]], store: Store, base: str, recipe: ReportRecipe) -> list[Rescored]:
    """Return the evaluations that have the same answers on both sides, but other scores, if both are made.

    rows: arm or baseline -> its runs on the old and on the new side. The verdicts are those of a report with the
    returned evaluations alone; `base` is the arm that the others are compared with, and `recipe` is the new side's
    report, which says what the verdicts are about.
    """
    pairs: dict[str, dict[str, _Pairs]] = {}  # benchmark -> arm -> its score nodes
    baselines = set()
    for arm, (old_side, new_side) in rows.items():
        if isinstance(new_side[0][0], Baseline):
            baselines.add(arm)
        old_evaluations = map_benchmarks(old_side)
        for name, news in map_benchmarks(new_side).items():
            of_arm = _pair(old_evaluations.get(name, []), news)
            both = [ref for runs in of_arm for pair in runs for ref in pair]
            if both and all(store.is_done(ref) for ref in both):
                pairs.setdefault(name, {})[arm] = of_arm
    if not pairs:
        return []
    from orcac.report.compare import Table, compare_benchmarks
    from orcac.report.runs import Row, read_engines
    from orcac.score.scores import read

    def list_answers(name: str, draws: Draws) -> Iterator[Path]:
        """Yield the folders of the evaluations of a benchmark; without those that were removed since."""
        for one in (one for runs in map_benchmarks(draws)[name] for one in runs):
            if store.is_done(one.answers):
                yield store.find_folder(one.answers)

    def compare(side: int) -> tuple[dict[tuple[str, str], Row], dict[tuple[str, str], Score]]:
        """Return (benchmark, arm) -> its answers on one side, and its score with its verdict."""
        tables = [
            Table(
                name,
                "",
                {
                    arm: Row(
                        [[read(store.verify(pair[side])) for pair in runs] for runs in draws],
                        is_baseline=arm in baselines,
                        is_trained=is_trained(rows[arm][side]),
                        engines=read_engines(list_answers(name, rows[arm][side]) if arm not in baselines else ()),
                    )
                    for arm, draws in by_arm.items()
                },
                name not in recipe.exploratory,
                recipe.claims.get(name, Claim()),
            )
            for name, by_arm in pairs.items()
        ]
        answers = {(table.name, arm): row for table in tables for arm, row in table.rows.items()}
        benchmarks = compare_benchmarks(tables, base=base, primary=recipe.primary)
        return answers, {(bench.name, score.arm): score for bench in benchmarks for score in bench.scores}

    (old_answers, before), (new_answers, after) = compare(0), compare(1)
    return [
        Rescored(
            benchmark=place[0],
            arm=place[1],
            items=sum(len(run.rows) for run in new_answers[place].runs),
            changed=sum(map(_count_changes, old_answers[place].runs, new_answers[place].runs)),
            old_checkers=before[place].checkers,
            new_checkers=after[place].checkers,
            old_mean=before[place].mean,
            new_mean=after[place].mean,
            old_verdict=_verdict(before[place]),
            new_verdict=_verdict(after[place]),
        )
        for place in new_answers
    ]


def _pair(olds: Sequence[Sequence[Evaluation]], news: Sequence[Sequence[Evaluation]]) -> _Pairs:
    """Return the score nodes of both sides, by draw and run; [] unless all runs have the same answers, scored anew."""
    before = {old.answers: old.score for runs in olds for old in runs}
    every = [new for runs in news for new in runs]
    if any(before.get(new.answers, new.score) == new.score for new in every):
        return []
    return [[(before[new.answers], new.score) for new in runs] for runs in news]


def _verdict(score: Score) -> str | None:
    return score.difference.verdict if score.difference else None


def _count_changes(old: Answers, new: Answers) -> int:
    before = {(row.id, row.sample): row.score for row in old.rows}
    return sum(before.get((row.id, row.sample)) != row.score for row in new.rows)
