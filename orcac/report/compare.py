"""The scores of all arms on each benchmark, and the difference of each to the base.

`stats` compares and decides. Here are the rules of the report:

- The family of Holm's adjustment is every comparison of a primary arm with the base on a primary benchmark. Baselines,
  other arms and other benchmarks are exploratory: they have an interval and no verdict.
- A benchmark's claim names the average that differences are of. A claim about tasks like these is refused if there are
  too few tasks: the differences are then of these tasks and exploratory.
- Shares of unparsed and of cut answers are compared like scores, and so are the losses of given texts.
- A verdict is withheld if it would be another on the answers that could be read: then it rests on how answers are read
  and not on what the arms know. Of several runs, an item's score is the mean over those whose answer could be read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean as mean

import numpy as np
from numpy.typing import NDArray

from orcac.report import paper
from orcac.report.recipe import Claim
from orcac.report.results import (
    ArmAnswer,
    Benchmark,
    Difference,
    Loss,
    Readable,
    Sample,
    Score,
    Share,
    TaskDifference,
    TaskScore,
)
from orcac.report.runs import Row, average, drop_repeated, key_answers, mean_of_known, pool, read_score, tabulate
from orcac.rows import MEASURED, Outcome, Scored
from orcac.score.samples import SampleScores
from orcac.score.scores import Answers, BenchmarkScores, by_item, constant_score, sum_up
from orcac.stats import wording
from orcac.stats.averages import FEWEST_TASKS, Average
from orcac.stats.compare import ArmRuns, Comparison, compare_to_base, compare_to_base_by_task
from orcac.stats.intervals import Interval, binomial_p_value
from orcac.stats.verdict import LEVEL, Verdict, explore, judge

__all__ = ["Table", "compare_benchmarks"]

SAMPLES = 3
SAMPLE_CHARACTERS = 1500

_MOST_BITS = 64.0  # more than the bits per byte of any text, so that their share of it is a score in [0, 1]
Scores = NDArray[np.float64]
Place = tuple[str, str]  # benchmark, row


@dataclass(frozen=True, slots=True)
class Table:
    """The answers of all rows to one benchmark."""

    name: str
    source_format: str
    rows: Mapping[str, Row]
    is_primary: bool = True
    claim: Claim = dataclasses.field(default_factory=Claim)
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)  # reason -> items that the sample left out
    without_row: Sequence[str] = ()  # baselines that are not measured on it

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return len({answer.task for answer in next(iter(self.rows.values())).runs[0].rows})

    @property
    def is_refused(self) -> bool:
        """Return whether the claim is about tasks like these and the benchmark has too few tasks for it."""
        return self.claim.average == "clustered" and self.tasks < FEWEST_TASKS

    @property
    def average(self) -> Average:
        """The average that differences are of."""
        return "macro" if self.is_refused else self.claim.average

    def have_other_engines(self, name: str, base: str) -> bool:
        """Return whether different programs generated the answers of two rows; a baseline has none."""
        return len(self.rows[name].engines | self.rows[base].engines) > 1

    @property
    def margin(self) -> float | None:
        """The share within which two arms are called equal."""
        return None if self.claim.margin is None else self.claim.margin / 100


@dataclass(frozen=True, slots=True)
class _Compared:
    """The comparisons with the base on one benchmark, by row."""

    runs: Mapping[str, ArmRuns]
    scores: Mapping[str, Comparison]
    tasks: Mapping[str, Mapping[str, Comparison]]  # task -> row -> the comparison on its items
    readable: Mapping[str, Comparison]  # on the answers that could be read; without rows that share fewer than 2 items
    unparsed: Mapping[str, Comparison]
    cut: Mapping[str, Comparison]
    losses: Mapping[str, Comparison]  # of given texts, as shares of `_MOST_BITS`; none of other benchmarks


def compare_benchmarks(tables: Sequence[Table], *, base: str, primary: Collection[str] = ()) -> tuple[Benchmark, ...]:
    """Return the scores on each benchmark, and the differences to the row `base` with their verdicts.

    primary: the arms that get a verdict; all of them when empty.
    """
    tables = [
        dataclasses.replace(table, rows={name: drop_repeated(row) for name, row in table.rows.items()})
        for table in tables
    ]
    compared = {table.name: _compare(table, base) for table in tables}
    family: list[Place] = [
        (table.name, name)
        for table in tables
        for name in compared[table.name].scores
        if table.is_primary and not table.is_refused and not table.rows[name].is_baseline
        if not table.have_other_engines(name, base) and (not primary or name in primary)
    ]
    margin_of = {table.name: table.margin for table in tables}
    margins = [margin_of[benchmark] for benchmark, _ in family]
    scores = [compared[benchmark].scores[name] for benchmark, name in family]
    verdicts = dict(zip(family, judge(scores, margins), strict=True))
    # an unreadable comparison keeps its place in the family, so that Holm's adjustment stays the same
    readable = [compared[benchmark].readable.get(name, compared[benchmark].scores[name]) for benchmark, name in family]
    readable_verdicts = dict(zip(family, judge(readable, margins), strict=True))
    return tuple(_benchmark(table, compared[table.name], verdicts, readable_verdicts, base) for table in tables)


def _compare(table: Table, base: str) -> _Compared:
    if base not in table.rows:
        return _Compared({}, {}, {}, {}, {}, {}, {})
    keyed = key_answers(table.rows[base].runs[0].rows)
    keys, tasks = list(keyed), [answer.task for answer in keyed.values()]
    is_redrawn = any(row.is_redrawn for row in table.rows.values())
    repeated = {name: row.repeated for name, row in table.rows.items()}
    untrained = {name for name, row in table.rows.items() if not row.is_trained}
    measured = any(row.outcome == MEASURED for row in table.rows[base].runs[0].rows)

    def read_rows(read: Callable[[Scored], float]) -> dict[str, Scores]:
        return {name: tabulate(row, keys, read) for name, row in table.rows.items()}

    def compare(scores: Mapping[str, Scores]) -> tuple[dict[str, ArmRuns], dict[str, Comparison]]:
        return compare_to_base(
            scores,
            base,
            tasks=tasks,
            average=table.average,
            redrawn=is_redrawn,
            repeated=repeated,
            untrained=untrained,
            measured=measured,
        )

    scores = read_rows(read_score)
    readable = {name: _fill(of_row) for name, of_row in read_rows(_read_readable).items()}
    runs, compared = compare(scores)
    return _Compared(
        runs=runs,
        scores=compared,
        tasks=compare_to_base_by_task(
            scores,
            base,
            tasks=tasks,
            redrawn=is_redrawn,
            repeated=repeated,
            untrained=untrained,
            measured=measured,
        ),
        readable=compare(readable)[1],
        unparsed=compare(read_rows(_read_outcome("unparsed")))[1],
        cut=compare(read_rows(_read_outcome("cut")))[1],
        losses=compare(read_rows(_read_bits))[1] if measured else {},
    )


def _read_readable(answer: Scored) -> float:
    """Return the score of an answer that could be read; NaN for any other."""
    return read_score(answer) if answer.outcome in ("right", "wrong", "judged", MEASURED) else math.nan


def _read_bits(answer: Scored) -> float:
    """Return the bits per byte of a given text as a share of `_MOST_BITS`; NaN if it has no loss."""
    return -math.log2(answer.score) / _MOST_BITS if answer.score else math.nan


def _read_loss(row: Row, change: Comparison | None) -> Loss | None:
    """Return the loss of the texts of a row, given its comparison with the base; None if it has none."""
    known = [answer for run in row.runs for answer in run.rows if answer.loss is not None]
    if not known:
        return None
    return Loss(
        bits_per_byte=_MOST_BITS * mean(map(_read_bits, known)),
        nats_per_token=mean(answer.loss or 0.0 for answer in known),
        change=None if change is None else _MOST_BITS * change.difference,
        interval=None if change is None else Interval(*(_MOST_BITS * end for end in change.interval)),
    )


def _read_outcome(outcome: Outcome) -> Callable[[Scored], float]:
    """Return a function that is 1 for an answer of this outcome, 0 for another and NaN for one that failed."""
    return lambda answer: math.nan if answer.score is None else float(answer.outcome == outcome)


def _fill(scores: Scores) -> Scores:
    """Return scores (replicates, items) in which a NaN is the item's mean over the replicates that have a number."""
    return np.where(np.isfinite(scores), scores, mean_of_known(scores))


def _benchmark(
    table: Table,
    compared: _Compared,
    verdicts: Mapping[Place, Verdict],
    readable: Mapping[Place, Verdict],
    base: str,
) -> Benchmark:
    first = next(iter(table.rows.values())).runs[0]
    scored, is_judged = sum_up(first), any(row.judging for row in table.rows.values())
    has_right = not is_judged and not scored.outcomes.get(MEASURED)
    published = {task: paper.published_accuracy(table.source_format, task) for task in scored.tasks}
    differences = {
        name: _difference(
            verdicts.get((table.name, name)) or explore(comparison),
            readable.get((table.name, name)),
            compared,
            name,
        )
        for name, comparison in compared.scores.items()
    }
    for name, difference in differences.items():
        if table.is_refused:
            differences[name] = _refuse(difference, table.tasks)
        elif table.have_other_engines(name, base):
            of_row, of_base = (" and ".join(sorted(table.rows[row].engines)) for row in (name, base))
            sentence = f"no verdict, since {of_row} generated its answers and {of_base} those of {base}, and engines "
            sentence += f"round differently. {difference.sentence}"
            differences[name] = dataclasses.replace(difference, sentence=sentence)
    return Benchmark(
        name=table.name,
        n=len(by_item(first.rows)),
        is_primary=table.is_primary,
        average=table.average,
        margin=table.margin,
        chance=scored.chance,
        constant=constant_score(first.rows) if has_right else 0.0,
        paper=paper.published_means(table.source_format, list(scored.tasks)),
        task_chance={task: found.chance for task, found in scored.tasks.items()},
        task_paper={task: share for task, share in published.items() if share is not None},
        scores=tuple(
            _score(name, row, table.average, compared, differences.get(name)) for name, row in table.rows.items()
        ),
        samples=_samples({name: key_answers(row.runs[0].rows) for name, row in table.rows.items()}),
        dropped=dict(table.dropped),
        without_row=tuple(table.without_row),
        paper_tasks=paper.published_accuracies(table.source_format, list(scored.tasks)),
    )


def _score(name: str, row: Row, average_of: Average, compared: _Compared, difference: Difference | None) -> Score:
    """Return the scores of a row: the mean over its runs, and the outcomes of all of them."""
    answers, runs = average(row), compared.runs.get(name)
    scored = sum_up(answers)
    pooled = sum_up(pool(row))
    return Score(
        arm=name,
        is_baseline=row.is_baseline,
        n=scored.n,
        mean=scored.mean,
        macro=_mean_over_tasks(scored),
        interval=scored.interval,
        runs=tuple(_mean_of_run(sum_up(run), average_of) for run in row.runs),
        spread=math.sqrt(runs.spread.between) if runs and runs.spread.df else None,
        luck=runs.spread.luck if runs and runs.spread.df else None,
        outcomes=pooled.outcomes,
        unparsed_share=pooled.share("unparsed"),
        cut_share=pooled.share("cut"),
        checkers=scored.checkers,
        others=scored.others,
        samples=_average_samples([run.samples for run in row.runs if run.samples]),
        left_out=scored.left_out,
        p_above_chance=scored.p_above_chance,
        verdict=_describe_guessing(row, scored, answers),
        difference=difference,
        tasks=tuple(
            TaskScore(
                task=task,
                n=found.n,
                mean=found.mean,
                interval=found.interval,
                outcomes=pooled.tasks[task].outcomes,
                difference=_task_difference(compared.tasks.get(task, {}).get(name)),
            )
            for task, found in scored.tasks.items()
        ),
        omitted=dict(row.omitted),
        protocol=row.protocol,
        judging=row.judging,
        loss=_read_loss(row, compared.losses.get(name)),
    )


def _task_difference(found: Comparison | None) -> TaskDifference | None:
    if found is None:
        return None
    return TaskDifference(items=found.items, points=found.difference, interval=found.interval)


def _average_samples(runs: Sequence[SampleScores]) -> SampleScores | None:
    """Return the figures of several samples, as means over the runs; ties and unread items are summed."""
    if not runs:
        return None
    first = runs[0]
    return SampleScores(
        samples=first.samples,
        passed={number: sum(run.passed[number] for run in runs) / len(runs) for number in first.passed},
        majority=sum(run.majority for run in runs) / len(runs),
        ties=sum(run.ties for run in runs),
        unread=sum(run.unread for run in runs),
    )


def _mean_over_tasks(scored: BenchmarkScores) -> float | None:
    """Return the mean of the tasks' means; None if there is one task, or one without any score."""
    means = [found.mean for found in scored.tasks.values()]
    known = [mean for mean in means if mean is not None]
    return sum(known) / len(known) if len(known) == len(means) > 1 else None


def _mean_of_run(scored: BenchmarkScores, average_of: Average) -> float | None:
    """Return the mean score of a run, by the average that differences are of."""
    macro = None if average_of == "micro" else _mean_over_tasks(scored)
    return scored.mean if macro is None else macro


def _describe_guessing(row: Row, scored: BenchmarkScores, answers: Answers) -> str:
    """Return `Score.verdict` of a row, given its answers and their scores."""
    if row.judging or scored.outcomes.get(MEASURED):
        return "judged" if row.judging else MEASURED
    return _against_guessing(scored, constant_score(answers.rows))


def _against_guessing(scored: BenchmarkScores, constant: float) -> str:
    if scored.p_above_chance >= LEVEL:
        missed = math.floor((1 - (scored.mean or 0.0)) * scored.n + 1e-9)
        is_below = scored.chance > 0 and binomial_p_value(missed, scored.n, 1 - scored.chance) < LEVEL
        return "below chance" if is_below else "at chance"
    return "no better than a constant answer" if scored.p_above(constant) >= LEVEL else "above chance"


def _difference(verdict: Verdict, readable: Verdict | None, compared: _Compared, name: str) -> Difference:
    found = verdict.comparison
    on_readable = compared.readable.get(name)
    word: str = verdict.word or "exploratory"
    sentence = wording.sentence(verdict)
    if readable is not None and _is_withheld(verdict, readable, on_readable is not None):
        word, sentence = "withheld", _describe_withheld(verdict, readable if on_readable is not None else None)
    return Difference(
        items=found.items,
        points=found.difference,
        interval=found.interval,
        only_arm=found.won,
        only_base=found.lost,
        runs=found.runs,
        df=found.parts.df,
        luck=found.luck,
        test=found.test,
        p=found.p,
        p_holm=verdict.p_holm,
        verdict=word,
        sentence=sentence,
        scope=wording.scope(found),
        cautions=tuple(wording.cautions(found)),
        readable=None
        if on_readable is None
        else Readable(items=on_readable.items, points=on_readable.difference, interval=on_readable.interval),
        unparsed=_share(compared.unparsed[name]),
        cut=_share(compared.cut[name]),
    )


def _refuse(difference: Difference, tasks: int) -> Difference:
    """Return a difference on too few tasks for the claim of its benchmark, whose sentence says so."""
    sentence = (
        f"no verdict on tasks like these: it needs {FEWEST_TASKS} tasks or more, and here "
        f"{'is 1' if tasks == 1 else f'are {tasks}'}. On these tasks: {difference.sentence}"
    )
    return dataclasses.replace(difference, sentence=sentence)


def _share(comparison: Comparison) -> Share:
    return Share(points=comparison.difference, interval=comparison.interval, p=comparison.p)


def _is_withheld(verdict: Verdict, readable: Verdict, is_known: bool) -> bool:
    """Return whether a verdict is another one on the readable answers, or cannot be checked there."""
    if not is_known:
        return verdict.word != "no difference shown"
    return verdict.word != readable.word


def _describe_withheld(verdict: Verdict, readable: Verdict | None) -> str:
    if readable is None:
        return (
            "withheld, since too few items have answers of both that could be read. Over all items: "
            f"{wording.sentence(verdict)}"
        )
    return (
        f"withheld, since answers that could not be read decide it. Over all items: {wording.sentence(verdict)}. "
        f"On the {readable.comparison.items:,} items that both answered readably: {wording.sentence(readable)}"
    )


def _samples(keyed: Mapping[str, Mapping[tuple[str, int], Scored]]) -> tuple[Sample, ...]:
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
