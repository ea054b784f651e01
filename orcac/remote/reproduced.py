"""The comparison of a replay with the archive that it repeats: the bytes of its nodes, and the scores of its arms.

A node that reads no student must have the files of the archive, by their digests. The scores of the other nodes are
compared arm by arm: the mean difference between the runs and those of the archive, with an interval and a p-value over
the rounding of machines (`stats.pairs`), adjusted for the number of differences by Holm's rule. The replay holds if all
those nodes are the same, and no difference is significant.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orcac.plan.plan import Experiment, Plan
from orcac.plan.replay import list_exact, list_remade
from orcac.remote.archive import Archive
from orcac.report.recipe import Claim, ReportRecipe
from orcac.report.runs import Key, Row, key_answers, read_score, tabulate
from orcac.rows import MEASURED
from orcac.score.scores import Answers, read
from orcac.stats.averages import Average
from orcac.stats.compare import Layout, Scores
from orcac.stats.intervals import Interval
from orcac.stats.pairs import compare_pairs
from orcac.stats.verdict import LEVEL, holm
from orcac.store.store import Store

__all__ = ["ArmReplay", "Changed", "Reproduced", "compare_replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A node that reads no student, and has other files than in the archive."""

    ref: str  # KIND/ID
    label: str
    files: tuple[str, ...]  # names of the files that differ
    packages: dict[str, tuple[str, str]]  # package -> its version in the archive and here, if they differ


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmReplay:
    """One arm on one benchmark: the runs of the replay minus those of the archive. Scores are shares."""

    arm: str
    benchmark: str
    runs: int
    same: int  # of the runs: with the bytes of the archive
    items: int
    original: float
    replay: float
    difference: float
    interval: Interval  # 95 %, not adjusted
    p: float
    p_holm: float
    covers_luck: bool  # whether an arm of the study is replicated

    @property
    def holds(self) -> bool:
        return self.p_holm >= LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """The result of a replay."""

    exact: dict[str, int]  # kind -> nodes that must have the bytes of the archive, and have them
    changed: tuple[Changed, ...]  # those that have not
    others: dict[str, tuple[int, int]]  # kind -> nodes that read a student: with the archive's bytes, all that are made
    arms: tuple[ArmReplay, ...]
    left_out: tuple[str, ...]  # benchmarks whose scores are not made again, since a judge would be asked
    lost: tuple[str, ...] = ()  # `ARM on BENCHMARK` that share too few answered items to be compared

    @property
    def holds(self) -> bool:
        return not self.changed and not self.lost and all(arm.holds for arm in self.arms)


def compare_replay(plan: Plan, store: Store, archive: Archive) -> Reproduced:
    """Compare the nodes that a replay made in `store` with those of an archive. Raises StoreError if one is damaged."""
    exact, remade = {*list_exact(plan)}, list_remade(plan)
    kept, others, changed = dict[str, int](), dict[str, tuple[int, int]](), list[Changed]()
    for ref in remade:
        kind, theirs, ours = plan.nodes[ref].kind, archive.records[ref], store.artifact(ref)
        is_same = theirs["files"] == ours["files"]
        if ref not in exact:
            same, made = others.get(kind, (0, 0))
            others[kind] = (same + is_same, made + 1)
        elif is_same:
            kept[kind] = kept.get(kind, 0) + 1
        else:
            changed.append(_describe_change(ref, plan.nodes[ref].label, theirs, ours))
    again, experiments = {*remade}, list(plan.experiments.values())
    lost = list[str]()
    arms = [arm for item in experiments for arm in _compare_arms(plan, item, store, archive, again, lost)]
    left_out = (name for item in experiments for name in _list_left_out(plan, item, again))
    return Reproduced(
        exact=kept,
        changed=tuple(changed),
        others=others,
        arms=tuple(arms),
        left_out=tuple(dict.fromkeys(left_out)),
        lost=tuple(lost),
    )


def _describe_change(ref: str, label: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Changed:
    names = sorted({*theirs["files"], *ours["files"]})
    before, now = map(_read_packages, (theirs, ours))
    return Changed(
        ref=ref,
        label=label,
        files=tuple(name for name in names if theirs["files"].get(name) != ours["files"].get(name)),
        packages={
            name: (before.get(name, "none"), now.get(name, "none"))
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        },
    )


def _read_packages(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the packages that made an artifact, with their versions; {} if its record does not say."""
    made = record.get("made")
    packages = made.get("packages") if isinstance(made, dict) else None
    return {str(name): str(version) for name, version in packages.items()} if isinstance(packages, dict) else {}


@dataclass(frozen=True, slots=True)
class _Runs:
    """The scores of an arm's runs on one benchmark: float (runs, items), NaN for an answer that failed."""

    before: Scores  # of the archive
    now: Scores
    same: int  # of the runs: with the bytes of the archive

    def mean(self, scores: Scores, labels: NDArray[np.int_], average: Average) -> float:
        """Return the mean of the scores over the runs, and over the items that have one in every run."""
        known = np.isfinite(self.now - self.before).all(axis=0)
        return float(Layout(labels[known], average).mean(scores[:, known]).mean())


def _compare_arms(
    plan: Plan, experiment: Experiment, store: Store, archive: Archive, remade: Container[str], lost: list[str]
) -> Iterator[ArmReplay]:
    """Yield the differences of an experiment's arms, benchmark by benchmark; `lost` gets those of too few items."""
    found = []
    for (benchmark, average), refs_of in _list_scores(plan, experiment, remade).items():
        items = key_answers(archive.scores[next(iter(refs_of.values()))[0]].rows)
        labels = np.unique([answer.task for answer in items.values()], return_inverse=True)[1]
        runs_of = {arm: _read_runs(refs, list(items), store, archive) for arm, refs in refs_of.items()}
        differences = {arm: runs.now - runs.before for arm, runs in runs_of.items()}
        measured = any(answer.outcome == MEASURED for answer in items.values())
        compared = compare_pairs(differences, labels=labels, average=average, measured=measured)
        lost += [f"{arm} on {benchmark}" for arm in runs_of if arm not in compared]
        for arm, one in compared.items():
            runs = runs_of[arm]
            before, now = (runs.mean(scores, labels, one.average) for scores in (runs.before, runs.now))
            found.append((arm, benchmark, runs, before, now, one))
    adjusted = holm([one.p for *_, one in found])
    for (arm, benchmark, runs, before, now, one), p_holm in zip(found, adjusted, strict=True):
        yield ArmReplay(
            arm=arm,
            benchmark=benchmark,
            runs=len(runs.now),
            same=runs.same,
            items=one.items,
            original=before,
            replay=now,
            difference=one.difference,
            interval=one.interval,
            p=one.p,
            p_holm=p_holm,
            covers_luck=one.is_replicated,
        )


def _list_left_out(plan: Plan, experiment: Experiment, remade: Container[str]) -> Iterator[str]:
    """Yield the benchmark of each score that is not made again."""
    for arm in _read_report(plan, experiment).arms:
        yield from (one.benchmark for run in arm.runs for one in run.evaluations if one.score not in remade)


def _read_report(plan: Plan, experiment: Experiment) -> ReportRecipe:
    """Return the recipe of an experiment's report, without arms if it only collects answers."""
    recipe = plan.nodes[experiment.report].recipe if experiment.report else ReportRecipe(arms=())
    assert isinstance(recipe, ReportRecipe)
    return recipe


def _list_scores(
    plan: Plan, experiment: Experiment, remade: Container[str]
) -> dict[tuple[str, Average], dict[str, list[str]]]:
    """Return (benchmark, its average) -> arm -> the score nodes that are made again, one for each run."""
    found: dict[tuple[str, Average], dict[str, list[str]]] = {}
    recipe = _read_report(plan, experiment)
    for arm in recipe.arms:
        for one in (one for run in arm.runs for one in run.evaluations):
            if one.score in remade:
                average = recipe.claims.get(one.benchmark, Claim()).average
                found.setdefault((one.benchmark, average), {}).setdefault(arm.name, []).append(one.score)
    return found


def _read_runs(refs: Sequence[str], items: Sequence[Key], store: Store, archive: Archive) -> _Runs:
    """Return the scores of an arm's runs. Runs with the answers of an earlier one, here and there, count once."""
    pairs: dict[tuple[object, ...], tuple[Answers, Answers, str]] = {}
    for ref in refs:
        before, now = archive.scores[ref], read(store.verify(ref))
        answers = tuple((row.id, row.response, row.score) for run in (before, now) for row in run.rows)
        pairs.setdefault(answers, (before, now, ref))
    return _Runs(
        before=tabulate(Row([[before for before, _, _ in pairs.values()]]), items, read_score),
        now=tabulate(Row([[now for _, now, _ in pairs.values()]]), items, read_score),
        same=sum(archive.records[ref]["files"] == store.artifact(ref)["files"] for *_, ref in pairs.values()),
    )
