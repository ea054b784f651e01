"""The effect of other checkers on finished answers: the scores and verdicts that change, with nothing asked again.

`orcac diff` calls this for every pair of arms, and most of them have no such answers. So pyarrow and scipy, which take
half a second to import, are imported only if there are some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orcac.report.recipe import Evaluation
from orcac.store.store import Store

if TYPE_CHECKING:
    from orcac.report.results import Score
    from orcac.score.scores import Answers

__all__ = ["Rescored", "rescore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """The answers of one arm to one benchmark, scored by two lists of checkers."""

    benchmark: str
    arm: str
    items: int
    changed: int  # items whose score differs
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


def rescore(
    rows: Mapping[str, tuple[Sequence[Evaluation], Sequence[Evaluation]]], store: Store, base: str
) -> list[Rescored]:
    """Return the evaluations that have the same answers on both sides, but other scores, if both are made.

    rows: arm or baseline -> its evaluations on the old and on the new side. The verdicts are those of a report with the
    returned evaluations alone; `base` is the arm that the others are compared with.
    """
    pairs: dict[str, dict[str, tuple[str, str]]] = {}  # benchmark -> arm -> its two score nodes
    for arm, (old_side, new_side) in rows.items():
        before = {old.benchmark: old for old in old_side}
        for new in new_side:
            old = before.get(new.benchmark)
            if old is None or old.answers != new.answers or old.score == new.score:
                continue
            if store.is_done(old.score) and store.is_done(new.score):
                pairs.setdefault(new.benchmark, {})[arm] = old.score, new.score
    if not pairs:
        return []
    from orcac.score.scores import read

    found = {
        name: {arm: (read(store.verify(old)), read(store.verify(new))) for arm, (old, new) in by_arm.items()}
        for name, by_arm in pairs.items()
    }
    olds, news = (_compare(found, side, base) for side in (0, 1))
    return [
        Rescored(
            benchmark=name,
            arm=arm,
            items=len(new.rows),
            changed=_count_changes(old, new),
            old_checkers=old.checkers,
            new_checkers=new.checkers,
            old_mean=olds[name, arm].mean,
            new_mean=news[name, arm].mean,
            old_verdict=_verdict(olds[name, arm]),
            new_verdict=_verdict(news[name, arm]),
        )
        for name, by_arm in found.items()
        for arm, (old, new) in by_arm.items()
    ]


def _compare(
    found: Mapping[str, Mapping[str, tuple[Answers, Answers]]], side: int, base: str
) -> dict[tuple[str, str], Score]:
    """Return (benchmark, arm) -> its score and verdict on one side."""
    from orcac.report.compare import adjust_p_values, compare_arms

    benchmarks = [
        compare_arms(name, "", {arm: both[side] for arm, both in by_arm.items()}, base=base)
        for name, by_arm in found.items()
    ]
    return {(bench.name, score.arm): score for bench in adjust_p_values(benchmarks) for score in bench.scores}


def _verdict(score: Score) -> str | None:
    return score.difference.verdict if score.difference else None


def _count_changes(old: Answers, new: Answers) -> int:
    before = {row.id: row.score for row in old.rows}
    return sum(before.get(row.id) != row.score for row in new.rows)
