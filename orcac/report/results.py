"""The numbers of a report. `results.json` holds them all; the page, the Markdown and the terminal show no others.

Shares and differences are in [-1, 1]; the templates turn them into percent and points.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from orcac.errors import StoreError
from orcac.eval.recipe import Method
from orcac.filter.funnel import Funnel
from orcac.score.samples import SampleScores
from orcac.stats.averages import Average
from orcac.stats.intervals import Interval
from orcac.stats.judging import PairFigures

__all__ = [
    "Against",
    "ArmAnswer",
    "ArmResult",
    "Benchmark",
    "Curve",
    "Difference",
    "Flow",
    "HeldOut",
    "Judging",
    "Loss",
    "Packing",
    "Protocol",
    "Readable",
    "Results",
    "Sample",
    "Score",
    "Share",
    "StageResult",
    "TaskDifference",
    "TaskScore",
    "Teacher",
    "read_json",
    "to_json",
]

REASONS_STILL = "reasoning off"  # in `omitted`: the setting that a baseline does not follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The difference between an arm and the base in the share of their answers that are unparsed, or cut off."""

    points: float  # a share, positive if the arm has more of them
    interval: Interval  # 95 %
    p: float  # not adjusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """The difference between an arm and the base over the answers that could be read."""

    items: int
    points: float
    interval: Interval  # 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The difference between a row and the base, over the items that both answered (stats.compare)."""

    items: int
    points: float  # of the mean score: a share, positive if the arm is better
    interval: Interval  # 95 %, over items, and over training luck if `df` is not 0
    only_arm: int  # items on which this arm has the higher score: if scores are 0 or 1, those that only it got right
    only_base: int
    runs: tuple[int, int]  # replicates that count, of the arm and of the base
    df: int  # degrees of freedom of the training luck; 0 if nothing is replicated
    luck: float  # standard deviation over training seeds that the interval assumes, a share
    test: str  # "two parts", "items" or "mcnemar"
    p: float  # by this test
    p_holm: float | None  # adjusted for all comparisons of the family; None if this one is exploratory
    verdict: str  # stats.verdict.Word, "withheld" or "exploratory"
    sentence: str  # the verdict in words, with its scope
    scope: str  # its subject, and the luck that it does not cover
    cautions: tuple[str, ...]  # reasons to doubt the interval
    readable: Readable | None  # None if too few items have readable answers of both
    unparsed: Share
    cut: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The form and the sampling under which a row was asked, as sent."""

    system: str = ""
    shots: int = 0
    examples: tuple[str, ...] = ()  # names of files of worked examples
    instruction: str = ""
    cue: str = ""
    method: Method = "generate"
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 0  # 0 if the record does not say
    stop: tuple[str, ...] = ()
    samples: int = 1  # answers to each item
    reasoning: int | str | None = None  # the largest number of its tokens, "on" or "off"; None: the model's own way
    extra: dict[str, object] = field(default_factory=dict)  # further parameters of a baseline, and its system_role
    source: str = ""  # "replay" or "reference" if no model was asked


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDifference:
    """The difference between a row and the base on the items of one task that both answered. It has no verdict."""

    items: int
    points: float  # of the mean score: a share, positive if the arm is better
    interval: Interval  # 95 %, not adjusted for the number of tasks; covers the same luck as that of all tasks

    @property
    def is_beyond(self) -> bool:
        """True if the interval excludes 0."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    task: str
    n: int
    mean: float | None
    interval: Interval  # Wilson, 95 %
    outcomes: dict[str, int]
    difference: TaskDifference | None = None  # None for the base, for fewer than 2 items, and in an older report


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """The comparison of an arm's answers with those of a reference, by a judge."""

    model: str  # the reference's
    figures: PairFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The reviews of an arm's answers, of all its runs."""

    judge: str  # the model's name
    form: str  # "pairwise", "scale" or "verdict"
    recorded: str | None  # the order of recorded reviews; None if both orders were asked
    reviews: int
    refused: int  # of the reviews
    unread: int  # of the reviews: without a score in range
    failed: int  # of the reviews
    imitating: int  # answers that imitate the marks of the prompt, or hold a verdict
    cut: int  # answers that their limit cut off
    against: tuple[Against, ...]
    # of the reviews of all runs, also if other rows share them; 0 for recorded ones, and in a report of an older orcac
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The loss of given texts, which higher scores have less of. Means are over items and runs."""

    bits_per_byte: float
    nats_per_token: float
    change: float | None = None  # of the bits per byte against the base; None if they are not compared
    interval: Interval | None = None  # of `change`, 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One arm on one benchmark."""

    arm: str
    is_baseline: bool
    n: int  # items that did not fail in any run
    mean: float | None  # score over these and all runs, by the first checker; None if n is 0
    macro: float | None  # mean of the tasks' means; None if there is one task
    interval: Interval  # of `mean`, over items, 95 %: Wilson, or of measured texts Student's t
    runs: tuple[float | None, ...]  # the score of each run that counts, by the benchmark's average
    spread: float | None  # standard deviation of the replicates' means, a share; None if there is one replicate
    luck: float | None  # the part of it that is not due to answers that change at random
    outcomes: dict[str, int]  # right, wrong, unparsed, cut, refused, failed -> answers of all runs
    unparsed_share: float  # of the answers that did not fail
    cut_share: float
    checkers: tuple[str, ...]  # the first one decides
    others: dict[str, float]  # further checker -> mean score
    left_out: int  # items whose reference cannot be scored
    p_above_chance: float
    verdict: (
        str  # "below chance", "at chance", "no better than a constant answer", "above chance", or of scores that no
    )
    # guess has "judged" or "measured"
    difference: Difference | None  # None for the base, and if the base did not answer these items
    tasks: tuple[TaskScore, ...]
    samples: SampleScores | None = None  # beside the mean, if each item has several answers
    omitted: dict[str, int] = field(default_factory=dict)  # decoding setting that a baseline refuses -> its items
    protocol: Protocol = Protocol()  # under which it was asked
    judging: Judging | None = None  # if a judge scored it
    loss: Loss | None = None  # if the loss of given texts is its score


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmAnswer:
    arm: str
    response: str
    parsed: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An item with the response of each arm; texts are cut to a readable length."""

    task: str
    query: str
    reference: str
    answers: tuple[ArmAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    name: str
    n: int  # items that can be scored
    is_primary: bool  # verdicts are given on it
    average: Average = "micro"  # that differences, verdicts and the scores of runs are of
    margin: float | None = None  # the share within which an arm is called equal to the base
    chance: float  # accuracy of a guess among each item's options
    constant: float  # accuracy of always giving a task's most frequent answer
    paper: dict[str, float]  # model -> mean over these tasks as published; {} unless the paper has all of them
    task_chance: dict[str, float]
    task_paper: dict[str, float]  # task -> Orca-13B's accuracy as published
    scores: tuple[Score, ...]
    samples: tuple[Sample, ...]
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> items of the files that the sample left out
    without_row: tuple[str, ...] = ()  # baselines that are not measured on it
    paper_tasks: dict[str, dict[str, float]] = field(default_factory=dict)  # model -> task -> accuracy as published

    @property
    def is_judged(self) -> bool:
        """True if a judge scores it: it has no right answers, and guessing has no score."""
        return any(score.judging for score in self.scores)

    @property
    def is_measured(self) -> bool:
        """True if its scores are probabilities of given texts."""
        return any(score.loss for score in self.scores)

    @property
    def has_right_answers(self) -> bool:
        """True if answers are right or wrong, so that guessing has a score."""
        return not self.is_judged and not self.is_measured


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    stage: str
    dataset: str
    examples: int
    rows: int
    steps: int
    tokens: int
    first_loss: float
    final_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """The training of an arm; its stages are those of the first run."""

    name: str
    runs: int
    draws: int  # of its data
    parameters: int
    stages: tuple[StageResult, ...]
    examples: int  # summed over the stages, as are the next two
    steps: int
    tokens: int
    nodes: tuple[str, ...]
    usd: float | None = None  # of the answers that it learnt from and a judge's reviews of them; None of an older orcac
    is_isolated: bool = True  # the examples of a row were kept apart in training
    replaced: str = ""  # why the student's chat template is one of orcac, if it is not the model's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The fate of every row of one dataset. `arms` are the arms that use the dataset."""

    dataset: str
    teacher: str
    arms: tuple[str, ...]
    queries: int  # read from the sources, or from the dataset that it is a sample of
    drawn: int | None = None  # of the queries; None in a report of an older orcac
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> queries
    asked: int
    answered: int
    failed: dict[str, int]
    read: int  # by the filter
    kept: int
    rejected: dict[str, int]
    choices: tuple[str, ...] = ()  # sentences on the choice of its questions by their values
    balanced: bool  # queries = drawn + dropped, asked = answered + failed, and read = kept + rejected
    funnels: tuple[Funnel, ...] = ()  # none in a report of an older orcac


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    dataset: str
    arms: tuple[str, ...]
    examples: int
    packed: int
    too_long: int
    outside: dict[str, int] = field(default_factory=dict)  # by tokens of the student: reason -> examples
    forged: int = 0  # examples with a mark of the chat template in a text
    held_out: int = 0
    undrawn: int = 0  # of a mixture: examples in no row
    repeated: int = 0  # of a mixture: occurrences of examples beside the first
    rows: int
    tokens: int
    supervised_tokens: int
    fill: float
    order: tuple[str, ...] = ()  # sentences on the order of its examples by pass rates
    balanced: bool  # examples + repeated = packed + too_long + forged + held_out + undrawn + outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    name: str
    requests: int
    input_tokens: int
    output_tokens: int
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The training loss of one stage of an arm. `steps` count over all stages; long runs are thinned by averaging."""

    arm: str
    stage: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The loss on the examples of one teacher and source that a stage keeps apart. `steps` are those of the stage."""

    arms: tuple[str, ...]
    stage: str
    teacher: str
    source: str
    examples: int
    steps: tuple[int, ...]  # 0 is before training
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    title: str
    about: str
    base: str
    all_at_chance: bool
    benchmarks: tuple[Benchmark, ...]
    arms: tuple[ArmResult, ...]
    flows: tuple[Flow, ...]
    packings: tuple[Packing, ...]
    teachers: tuple[Teacher, ...]
    curves: tuple[Curve, ...]
    held_out: tuple[HeldOut, ...] = ()
    primary: tuple[str, ...] = ()  # arms that alone get verdicts, in the order of the spec; () if all arms do


def to_json(results: Results) -> str:
    """Return the content of `results.json`, with the fields in the order above, so that the scores come first."""
    return json.dumps(asdict(results), indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> Results:
    """Read `results.json`. Raises StoreError if it is not complete."""
    try:
        return TypeAdapter(Results).validate_json(path.read_bytes())
    except ValidationError:
        fix = f"delete {path.parent}, then run again: the report is made anew"
        raise StoreError(f"{path}: the results are damaged", fix=fix) from None
