"""The result table as plain text of at most 100 columns, which is printed at the end of a run."""

from __future__ import annotations

import textwrap

from orcac.report.results import Results, Score
from orcac.report.wording import (
    AT_CHANCE,
    NOTHING_MEASURED,
    describe_answers,
    describe_claim,
    describe_runs,
    describe_verdicts,
    interval,
    p_value,
    percent,
    points,
    points_interval,
)

__all__ = ["format_table"]

WIDTH = 100
_MARKS = {"at chance": "*", "no better than a constant answer": "†", "below chance": "‡"}
_LEGEND = {
    "at chance": "at chance: not significantly better than guessing",
    "below chance": "below chance: significantly worse than guessing",
}
_VERDICTS = {
    "no difference shown": "–",
    "scores higher": "higher",
    "scores lower": "lower",
    "exploratory": "",
}  # in the column; any other verdict is its own word
_COLUMNS = "{arm:<18} {mean:>9} {interval:>13} {unparsed:>8} {cut:>7} {points:>7} {around:>15} {p:>7} {verdict}"


def format_table(results: Results) -> str:
    """Return the scores of every benchmark, and a legend of the marks in use."""
    if not results.benchmarks:
        return NOTHING_MEASURED
    lines = []
    for bench in results.benchmarks:
        exploratory = "" if bench.is_primary else ", exploratory"
        claim = describe_claim(bench)
        lines.append(
            f"{bench.name}{exploratory}: {bench.n:,} items, guessing {percent(bench.chance)} %, "
            f"constant answer {percent(bench.constant)} %" + (f"; {claim}" if claim else "")
        )
        header = _COLUMNS.format(
            arm="arm",
            mean="correct ",
            interval="95 %",
            unparsed="unparsed",
            cut="cut off",
            points="vs base",
            around="95 %",
            p="p Holm",
            verdict="",
        )
        lines += [header.rstrip(), *(_row(score) for score in bench.scores)]
        lines += [*describe_verdicts(bench, results.base), *describe_runs(bench), *describe_answers(bench), ""]
    verdicts = {score.verdict for bench in results.benchmarks for score in bench.scores}
    lines += [f"{mark} {_LEGEND.get(verdict, verdict)}" for verdict, mark in _MARKS.items() if verdict in verdicts]
    if results.all_at_chance:
        lines.append(AT_CHANCE)
    return "\n".join(part for line in lines for part in textwrap.wrap(line, WIDTH) or [""]).rstrip()


def _row(score: Score) -> str:
    difference = score.difference
    row = _COLUMNS.format(
        arm=_fit(score.arm, 18),
        mean=percent(score.mean) + " %" + _MARKS.get(score.verdict, " "),
        interval=interval(score.interval),
        unparsed=percent(score.unparsed_share) + " %",
        cut=percent(score.cut_share) + " %",
        points=points(difference.points) if difference else "",
        around=points_interval(difference.interval) if difference else "",
        p=p_value(difference.p_holm) if difference and difference.p_holm is not None else "",
        verdict=_VERDICTS.get(difference.verdict, difference.verdict) if difference else "",
    )
    return row.rstrip()


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
