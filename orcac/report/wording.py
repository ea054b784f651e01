"""Numbers and findings as text, for the page, the Markdown and the terminal alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from orcac.eval.recipe import explain_no_baseline
from orcac.report import protocol
from orcac.report.judging import describe_judging
from orcac.report.results import REASONS_STILL, Benchmark, Difference, Results
from orcac.score.recipe import LIKELIHOOD_RULES
from orcac.stats.intervals import Interval
from orcac.stats.verdict import LEVEL
from orcac.stats.wording import p_value, points, points_interval, within

__all__ = [
    "AT_CHANCE",
    "NOTHING_MEASURED",
    "VERDICTS",
    "Finding",
    "describe_adjusted",
    "describe_answers",
    "describe_claim",
    "describe_findings",
    "describe_headline",
    "describe_items",
    "describe_limits",
    "describe_primary",
    "describe_protocol",
    "describe_runs",
    "describe_scopes",
    "describe_verdicts",
    "interval",
    "name_verdict",
    "p_value",
    "percent",
    "points",
    "points_interval",
]

AT_CHANCE = (
    "All students are at chance: on no benchmark does any arm score significantly better than guessing "
    "(one-sided exact binomial test, 5 % level). Differences between the arms are therefore no evidence of skill."
)
VERDICTS = {
    "better": "Better",
    "worse": "Worse",
    "equal": "Equal within the margin",
    "no difference shown": "No difference shown",
    "scores higher": "Scores higher on these items (no verdict on the arm)",
    "scores lower": "Scores lower on these items (no verdict on the arm)",
    "withheld": "Withheld, since unreadable answers decide it",
    "exploratory": "Without a verdict",
}
AVERAGES = {
    "micro": "differences of means over items (micro)",
    "macro": "differences of means over tasks (macro)",
    "clustered": "differences of means over tasks, for tasks like these (clustered)",
}
NOTHING_MEASURED = "No model was scored: the spec has no benchmarks."


def name_verdict(bench: Benchmark, difference: Difference) -> str:
    """Return a verdict in a few words, for a column: "better", "equal within 2 points"."""
    return within(bench.margin) if difference.verdict == "equal" and bench.margin else difference.verdict


def describe_claim(bench: Benchmark) -> str:
    """Return the average of a benchmark's differences and its margin, if they are not the default; else ""."""
    parts = [AVERAGES[bench.average]] if bench.average != "micro" else []
    if bench.margin is not None:
        parts.append(f"margin {100 * bench.margin:g} points")
    return ", ".join(parts)


def describe_items(bench: Benchmark) -> str:
    """Return the number of a benchmark's items, with the scores that need no skill."""
    items = f"{bench.n:,} items"
    if bench.is_judged:
        return f"{items}, scores by a judge"
    if bench.is_measured:
        return f"{items}, {LIKELIHOOD_RULES['loss']}, geometric"
    return f"{items}, guessing {percent(bench.chance)} %, constant answer {percent(bench.constant)} %"


def percent(share: float | None) -> str:
    """Return a share in percent, without the sign: "52.5"; "–" for None."""
    return "–" if share is None else f"{100 * share:.1f}"


def interval(ends: Interval) -> str:
    """Return an interval of shares in percent: "37.5 to 67.1"."""
    return f"{percent(ends[0])} to {percent(ends[1])}"


class Finding(NamedTuple):
    benchmark: str
    text: str


def describe_findings(results: Results) -> list[Finding]:
    """Return a few sentences for each benchmark: the score of the base, and the change by each arm."""
    return [_finding(bench) for bench in results.benchmarks]


def _finding(bench: Benchmark) -> Finding:
    changes: dict[str, list[str]] = {}
    scores = []
    for score in bench.scores:
        if score.difference is None:
            scores.append(f"{score.arm} gets {percent(score.mean)} % ({score.verdict})")
        else:
            change = f"{score.arm} ({points(score.difference.points)} points)"
            changes.setdefault(score.difference.verdict, []).append(change)
    sentences = [f"{_join(scores)}."] if scores else []
    over_tasks = "" if bench.average == "micro" else ", by the mean over tasks"
    for verdict, meaning in VERDICTS.items():
        if names := changes.get(verdict):
            equal = within(bench.margin).capitalize() if verdict == "equal" and bench.margin else meaning
            sentences.append(f"{equal}{over_tasks}: {_join(names)}.")
    return Finding(bench.name, " ".join(sentences))


def describe_headline(bench: Benchmark, base: str, primary: Collection[str] = ()) -> str:
    """Return the number of arms for each verdict, "Of 3 arms against base: 1 better and 2 withheld."; "" for none.

    primary: the arms to count; all of them when empty.
    """
    compared = [score for score in bench.scores if score.difference and not score.is_baseline]
    verdicts = [one.difference.verdict for one in compared if one.difference and (not primary or one.arm in primary)]
    counts = [(verdicts.count(verdict), verdict) for verdict in VERDICTS if verdict in verdicts]
    parts = [f"{number} {_HEADLINES[verdict]}" for number, verdict in counts]
    arms = f"{'primary ' if primary else ''}{'arm' if len(verdicts) == 1 else 'arms'}"
    return f"Of {len(verdicts)} {arms} against {base}: {_join(parts)}." if parts else ""


_HEADLINES = {
    "better": "better",
    "worse": "worse",
    "equal": "equal within the margin",
    "no difference shown": "without a difference that these items and runs could show",
    "scores higher": "with a higher score of these runs",
    "scores lower": "with a lower score of these runs",
    "withheld": "withheld",
    "exploratory": "without a verdict",
}


def describe_primary(bench: Benchmark, primary: Collection[str]) -> list[str]:
    """Return a sentence on the arms that alone get verdicts on a benchmark; [] if all arms do, or none does."""
    compared = [score.arm for score in bench.scores if score.difference and not score.is_baseline]
    others = len([arm for arm in compared if arm not in primary])
    if not primary or not others or not bench.is_primary:
        return []
    rest = "comparison of the other arm is" if others == 1 else f"comparisons of the other {others} arms are"
    return [
        f"Primary: {_join(primary)}. Verdicts are about {'this arm' if len(primary) == 1 else 'these arms'} alone, and "
        f"Holm's adjustment counts no others; the {rest} exploratory: an interval, and a p that is not adjusted."
    ]


def describe_scopes(bench: Benchmark) -> list[str]:
    """Return the subject of the verdicts and the luck that they do not cover, a sentence for each kind."""
    found = [score.difference for score in bench.scores if score.difference and not score.is_baseline]
    return [f"The comparisons are {scope}." for scope in dict.fromkeys(each.scope for each in found)]


def describe_verdicts(bench: Benchmark, base: str) -> list[str]:
    """Return the verdict on each arm in a sentence, with the reasons to doubt it, and what the verdicts cover."""
    lines = []
    for score in bench.scores:
        if (difference := score.difference) is not None and not score.is_baseline:
            lines.append(" ".join([f"{score.arm}: {difference.sentence}.", *difference.cautions]))
    is_measured = any(score.arm == base for score in bench.scores)
    apart = [
        score.arm
        for score in bench.scores
        if score.difference is None and score.arm != base and (is_measured or not score.is_baseline)
    ]
    if apart:
        lines.append(f"Not compared, since it has too few answered items in common with {base}: {_join(apart)}.")
    return lines + describe_scopes(bench)


def describe_adjusted(bench: Benchmark) -> str:
    """Return why a difference whose interval excludes 0 has no verdict; "" if no row has such a difference."""
    rows = [
        score.arm
        for score in bench.scores
        if (found := score.difference) and found.verdict == "no difference shown"
        if found.interval.low > 0 or found.interval.high < 0
    ]
    if not rows:
        return ""
    return (
        f"{_join(rows)}: the interval excludes 0, and yet no difference is shown. An interval is for one comparison; "
        "p, Holm is adjusted for all comparisons that get a verdict, and the verdict follows from it."
    )


def describe_limits(results: Results) -> str:
    """Return the luck that the intervals of differences cover, and the luck that they do not."""
    if not any(arm.stages for arm in results.arms):
        return "Nothing was trained. The intervals and tests cover the choice of items, for these models as they are."
    every = [score.difference for bench in results.benchmarks for score in bench.scores if score.difference]
    if all(arm.runs == 1 for arm in results.arms) or (every and not any(each.df for each in every)):
        once = all(arm.runs == 1 for arm in results.arms)
        return (
            f"{'Each arm was trained once, with one seed' if once else 'The runs of each arm gave the same answers'}. "
            "The intervals and tests cover the choice of items, not the luck of training: another seed may change a "
            "score by more than their width."
        )
    covered = "The intervals of differences cover the choice of items and the luck of training"
    if any(arm.draws > 1 for arm in results.arms):
        return f"{covered}, and the draw of the data."
    return f"{covered}, for these data: another draw of questions or answers is not covered."


def describe_runs(bench: Benchmark) -> list[str]:
    """Return the scores of each run of the arms that have several, and the means over tasks, a sentence each."""
    lines = []
    runs = [
        f"{score.arm} {', '.join(map(percent, score.runs))}"
        + ("" if score.spread is None else f" (standard deviation {100 * score.spread:.1f})")
        for score in bench.scores
        if len(score.runs) > 1
    ]
    over_tasks = bench.average != "micro"
    if runs:
        lines.append(f"Runs, {'means over tasks, ' if over_tasks else ''}in %: {'; '.join(runs)}.")
    means = [f"{score.arm} {percent(score.macro)} %" for score in bench.scores if score.macro is not None]
    if means:
        also = "differences, verdicts and runs are of these means; scores" if over_tasks else "all other figures"
        lines.append(f"Means over tasks (macro): {_join(means)}; {also} are means over items (micro).")
    if bench.paper:
        published = [f"{model} {percent(share)} %" for model, share in bench.paper.items()]
        lines.append(f"In the paper, means over these tasks: {_join(published)}.")
    return lines


def describe_protocol(bench: Benchmark) -> list[str]:
    """Return how all rows were asked, the rows that were asked otherwise, and the baselines that have no row."""
    shared = bench.scores[0].protocol
    if not shared.max_tokens:  # a report of an older orcac
        return []
    lines = [f"Asked: {protocol.describe(shared)}."]
    others = [(score.arm, protocol.describe_otherwise(score.protocol, shared)) for score in bench.scores]
    if named := [f"{arm}: {how}" for arm, how in others if how]:
        lines.append(f"Asked otherwise: {'; '.join(named)}.")
    if bench.without_row:
        why = explain_no_baseline(shared.method)
        lines.append(f"No row for {_join(bench.without_row)}{f': {why}' if why else ''}.")
    return lines


def describe_answers(bench: Benchmark) -> list[str]:
    """Return sentences on answers that are in no column: failed or refused ones, unequal shares, and other checkers."""
    lines = describe_judging(bench)
    if (rule := bench.scores[0].checkers[0]) in LIKELIHOOD_RULES.values():
        lines.append(f"Scored by the {rule}: no text was generated, and no checker reads the answers.")
    lines += _describe_loss(bench)
    dropped = [f"{bench.dropped[reason]:,} {what}" for reason, what in _DROPPED.items() if reason in bench.dropped]
    if dropped:
        lines.append(f"Items of the files that are left out: {_join(dropped)}.")
    if left_out := bench.scores[0].left_out:
        why = "they have no text" if bench.is_measured else "no answer could agree with their reference"
        lines.append(f"Left out: {left_out:,} items, since {why}.")
    for score in bench.scores:
        if refused := [name for name in score.omitted if name != REASONS_STILL]:
            lines.append(f"{score.arm} was asked without {_join(refused)}, which it refuses.")
        if still := score.omitted.get(REASONS_STILL):
            lines.append(f"{score.arm} was asked not to reason, and reasons in {still:,} answers all the same.")
    for outcome, meaning in _UNSHOWN.items():
        counts = [
            f"{score.outcomes[outcome]:,} of {score.arm}" for score in bench.scores if score.outcomes.get(outcome)
        ]
        if counts:
            lines.append(f"{meaning}: {_join(counts)}.")
    lines += [
        f"{name}: {score.arm} has {points(share.points)} points against the base "
        f"(95 % {points_interval(share.interval)}, p {p_value(share.p)}, not adjusted)."
        for score in bench.scores
        if score.difference
        for name, share in (("Unparsed", score.difference.unparsed), ("Cut off", score.difference.cut))
        if share.p < LEVEL
    ]
    for score in bench.scores:
        if found := score.samples:
            passed = ", ".join(f"pass@{number} {percent(share)} %" for number, share in found.passed.items())
            counted = [f"{found.ties:,} ties"] * bool(found.ties)
            counted += [f"{found.unread:,} without a readable answer"] * bool(found.unread)
            lines.append(
                f"{score.arm}, {found.samples:,} answers to each item: avg@{found.samples} {percent(score.mean)} %, "
                f"{passed}; majority {percent(found.majority)} %"
                + (f" (of the items, {_join(counted)})" if counted else "")
                + "."
            )
    checkers = dict.fromkeys(checker for score in bench.scores for checker in score.others)
    for checker in checkers:
        means = [f"{score.arm} {percent(score.others[checker])} %" for score in bench.scores if checker in score.others]
        lines.append(f"By the checker {checker}: {_join(means)}.")
    return lines


def _describe_loss(bench: Benchmark) -> list[str]:
    """Return the loss of a benchmark's texts for each row, in a sentence; [] if it has none."""
    rows = []
    for score in bench.scores:
        if found := score.loss:
            change = ""
            if found.change is not None and found.interval is not None:
                low, high = found.interval
                change = f" ({found.change:+.4f}, 95 % {low:+.4f} to {high:+.4f})".replace("-", "−")
            rows.append(f"{score.arm} {found.bits_per_byte:.4f}{change} and {found.nats_per_token:.3f}")
    if not rows:
        return []
    return [
        f"Loss, in bits per byte (change against the base) and in nats per token: {'; '.join(rows)}. "
        "It includes the token that ends the answer, and a smaller one is a higher score."
    ]


_DROPPED = {  # the reasons of `sample` that are no choice of the spec
    "bad row": "that cannot be read",
    "reference is no option": "whose reference is not one of their options",
    "no choices": "without choices",
    "no right choice": "without a right choice",
    "empty choice": "with an empty choice",
    "duplicate": "repeated",
}
_UNSHOWN = {
    "failed": "Failed requests, which are in no figure",
    "refused": "Refusals, which score 0",
}


def _join(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
