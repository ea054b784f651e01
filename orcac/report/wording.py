"""Numbers and findings as text, for the page, the Markdown and the terminal alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from orcac.report.results import Benchmark, Results, Score
from orcac.stats.intervals import Interval
from orcac.stats.wording import p_value, points, points_interval

__all__ = [
    "AT_CHANCE",
    "NOTHING_MEASURED",
    "Finding",
    "describe_answers",
    "describe_findings",
    "interval",
    "p_value",
    "percent",
    "points",
    "points_interval",
    "reasons",
]

AT_CHANCE = (
    "All students are at chance: on no benchmark does any arm score significantly better than guessing "
    "(one-sided exact binomial test, 5 % level). Differences between the arms are therefore no evidence of skill."
)
NOTHING_MEASURED = "Nothing was measured: the spec has no benchmarks."


def percent(share: float | None) -> str:
    """Return a share in percent, without the sign: "52.5"; "–" for None."""
    return "–" if share is None else f"{100 * share:.1f}"


def interval(ends: Interval) -> str:
    """Return an interval of shares in percent: "37.5 to 67.1"."""
    return f"{percent(ends[0])} to {percent(ends[1])}"


def reasons(counts: dict[str, int]) -> str:
    """Return counts as text, the most frequent first: "duplicate 12, contamination 3"."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in ordered if number)


class Finding(NamedTuple):
    benchmark: str
    text: str


def describe_findings(results: Results) -> list[Finding]:
    """Return a few sentences for each benchmark: the score of the base, and the change by each arm."""
    return [_finding(bench) for bench in results.benchmarks]


def _finding(bench: Benchmark) -> Finding:
    shown: dict[str, list[str]] = {"better": [], "worse": [], "no difference shown": []}
    scores = []
    for score in bench.scores:
        if score.difference is None:
            scores.append(f"{score.arm} gets {percent(score.mean)} % ({score.verdict})")
        else:
            shown[score.difference.verdict].append(_change(score))
    sentences = [f"{_join(scores)}."]
    if shown["better"]:
        sentences.append(f"Better: {_join(shown['better'])}.")
    if shown["worse"]:
        sentences.append(f"Worse: {_join(shown['worse'])}.")
    if shown["no difference shown"]:
        sentences.append(f"No difference shown: {_join(shown['no difference shown'])}.")
    return Finding(bench.name, " ".join(sentences))


def describe_answers(bench: Benchmark) -> list[str]:
    """Return sentences on answers that are in no column: those that failed or were refused, and other checkers."""
    lines = []
    if left_out := bench.scores[0].left_out:
        lines.append(f"Left out: {left_out:,} items, since no answer could agree with their reference.")
    for outcome, meaning in _UNSHOWN.items():
        counts = [f"{score.outcomes[outcome]:,} of {score.arm}" for score in bench.scores if score.outcomes[outcome]]
        if counts:
            lines.append(f"{meaning}: {_join(counts)}.")
    checkers = dict.fromkeys(checker for score in bench.scores for checker in score.others)
    for checker in checkers:
        means = [f"{score.arm} {percent(score.others[checker])} %" for score in bench.scores if checker in score.others]
        lines.append(f"By the checker {checker}: {_join(means)}.")
    return lines


_UNSHOWN = {
    "failed": "Failed requests, which are in no figure",
    "refused": "Refusals, which score 0",
}


def _change(score: Score) -> str:
    assert score.difference is not None
    return f"{score.arm} ({points(score.difference.points)} points)"


def _join(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
