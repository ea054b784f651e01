"""The judge's figures of a benchmark in words. The page, the Markdown and the terminal show the same cells."""

from __future__ import annotations

from typing import NamedTuple

from orcac.report.results import Against, Benchmark, Judging, Score
from orcac.stats.intervals import Interval
from orcac.stats.verdict import LEVEL
from orcac.stats.wording import p_value

__all__ = ["HEADER", "describe_judging", "list_judged", "list_pairs"]

HEADER = ("arm", "against", "points", "ratio, %", "95 %", "won / tied / lost", "p", "flips", "first slot", "longer won")


class Cells(NamedTuple):
    """One row of the table of a judged benchmark, in the order of HEADER."""

    arm: str
    against: str
    points: str
    ratio: str
    interval: str
    outcomes: str
    p: str
    flips: str
    first_slot: str
    longer: str


def list_pairs(bench: Benchmark) -> list[tuple[Score, Against]]:
    """Return each row with each reference that a judge compared it with; none for a benchmark without them."""
    return [(score, against) for score in bench.scores for against in (score.judging.against if score.judging else ())]


def list_judged(bench: Benchmark) -> list[Cells]:
    """Return a row of cells for each arm and reference; none for a benchmark without a judge or references."""
    found = []
    for score, against in list_pairs(bench):
        figures = against.figures
        bias = figures.position_bias
        found.append(
            Cells(
                arm=score.arm,
                against=against.model,
                points=f"{_number(figures.candidate_total)} to {_number(figures.reference_total)}",
                ratio="–" if figures.ratio is None else f"{100 * figures.ratio:.1f}",
                interval="–" if figures.ratio_interval is None else _percents(figures.ratio_interval),
                outcomes=f"{figures.wins:,} / {figures.ties:,} / {figures.losses:,}",
                p=p_value(figures.p),
                flips=f"{figures.flips:,} of {figures.both_orders:,}" if figures.both_orders else "–",
                first_slot="–" if bias is None else f"{bias:+.2f}",
                longer=f"{figures.longer_wins:,} of {figures.longer_decided:,}",
            )
        )
    return found


def describe_judging(bench: Benchmark) -> list[str]:
    """Return sentences on the judge of a benchmark: how it judged, its biases, and the reviews that do not count."""
    judged = [(score.arm, score.judging) for score in bench.scores if score.judging]
    if not judged:
        return []
    first = judged[0][1]
    lines = [f"Judged by {first.judge}: {_FORMS[first.form]}. {_describe_orders(first)}"]
    lines += [line for line in (_describe_position(bench), _describe_length(bench)) if line]
    for arm, judging in judged:
        lost = [
            f"{count:,} {what}"
            for count, what in (
                (judging.refused, "refused"),
                (judging.unread, "without a score in range"),
                (judging.failed, "failed"),
            )
            if count
        ]
        if lost:
            lines.append(f"{arm}: of {judging.reviews:,} reviews, {', '.join(lost)}; their items are in no figure.")
        if judging.imitating:
            lines.append(
                f"{arm}: {judging.imitating:,} answers imitate the marks of the judge's prompt or hold a verdict; "
                "read them before the score."
            )
        if judging.cut:
            were = "answer was" if judging.cut == 1 else "answers were"
            lines.append(f"{arm}: {judging.cut:,} {were} cut off at the limit, and judged like the others.")
    return lines


_FORMS = {
    "pairwise": "both answers of a pair get 1 to 10 points; a score is the mean points of the answer, 1 as 0 % "
    "and 10 as 100 %",
    "scale": "each answer gets 1 to 10 points by itself; a score is these points, 1 as 0 % and 10 as 100 %",
    "verdict": "the better answer of a pair is named; a score counts a win as 100 % and a tie as 50 %",
}


def _describe_orders(judging: Judging) -> str:
    if judging.form == "scale":
        return "Answers are not shown in pairs, so there is no position bias."
    if judging.recorded:
        return (
            f"Its reviews are recorded, in one order ({judging.recorded}): position bias cannot be measured, "
            "and is part of these figures."
        )
    return "Each pair was shown in both orders."


def _describe_position(bench: Benchmark) -> str:
    """Return a sentence on the position bias; "" if it is within chance for every row and reference."""
    measured = [
        (f"{score.arm} against {against.model}", figures.position_bias, figures.position_interval)
        for score, against in list_pairs(bench)
        if (figures := against.figures).position_bias is not None and figures.position_interval
    ]
    beyond = [one for one in measured if one[2].low > 0 or one[2].high < 0]
    if not beyond:
        return ""
    name, bias, (low, high) = beyond[0]
    if len(measured) == 1:
        found = f"{bias:+.2f} points (95 % {low:+.2f} to {high:+.2f}), {name}"
    else:
        ends = dict.fromkeys(f"{find(one[1] for one in beyond):+.2f}" for find in (min, max))
        found = f"{' to '.join(ends)} points, beyond chance in {len(beyond)} of {len(measured)} comparisons"
    return f"Position bias: the answer that the judge sees first gets {found}; both orders together cancel this out."


def _describe_length(bench: Benchmark) -> str:
    """Return a sentence on the share of longer answers that win; "" if it is within chance for all."""
    found = [
        f"{100 * figures.longer_wins / figures.longer_decided:.0f} % of {figures.longer_decided:,} "
        f"({score.arm} against {against.model}, p {p_value(figures.p_longer)})"
        for score, against in list_pairs(bench)
        if (figures := against.figures).p_longer < LEVEL
    ]
    if not found:
        return ""
    return f"Length: of the decided pairs, the longer answer wins {'; '.join(found)}. Length may be a cause."


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _percents(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
