"""The result table as plain text, which is printed at the end of a run."""

from __future__ import annotations

import textwrap

from orcac.report.judging import HEADER, list_judged
from orcac.report.results import Benchmark, Results, Score
from orcac.report.wording import (
    AT_CHANCE,
    NOTHING_MEASURED,
    describe_answers,
    describe_claim,
    describe_items,
    describe_primary,
    describe_protocol,
    describe_runs,
    describe_verdicts,
    interval,
    p_value,
    percent,
    points,
    points_interval,
)

__all__ = ["VERDICTS", "format_table"]

WIDTH = 100  # columns
_ARM, _BEHIND = 20, 80  # the least width of the arms' column, and the width of all others together
_MARKS = {"at chance": "*", "no better than a constant answer": "†", "below chance": "‡"}
_LEGEND = {
    "at chance": "at chance: not significantly better than guessing",
    "below chance": "below chance: significantly worse than guessing",
}
VERDICTS = {
    "no difference shown": "–",
    "scores higher": "higher",
    "scores lower": "lower",
    "exploratory": "",
}  # in the column; any other verdict is its own word
_COLUMNS = "{arm} {mean:>9} {interval:>12} {unparsed:>8} {cut:>7}"
_COMPARED = " {points:>7} {around:>14} {p:>7} {verdict}"


def format_table(results: Results, columns: int = WIDTH) -> str:
    """Return the scores of every benchmark in lines of `columns`, 100 at least, and a legend of the marks in use.

    A name that is longer than the arms' column has a line of its own.
    """
    columns = max(columns, WIDTH)
    if not results.benchmarks:
        return NOTHING_MEASURED
    lines = []
    for bench in results.benchmarks:
        exploratory = "" if bench.is_primary else ", exploratory"
        claim = describe_claim(bench)
        lines.append(f"{bench.name}{exploratory}: {describe_items(bench)}" + (f"; {claim}" if claim else ""))
        is_compared = any(score.difference for score in bench.scores)
        most = columns - (_BEHIND if is_compared else _BEHIND - 35)
        width = min(max(_ARM, *(len(score.arm) for score in bench.scores)), most)
        mean = "correct " if bench.has_right_answers else "score "
        header = _COLUMNS.format(arm="arm".ljust(width), mean=mean, interval="95 %", unparsed="unparsed", cut="cut off")
        if is_compared:
            header += _COMPARED.format(points="vs base", around="95 %", p="p Holm", verdict="").rstrip()
        lines += [
            header,
            *(line for score in bench.scores for line in _list_row(score, width, is_primary=bench.is_primary)),
        ]
        lines += _format_judged(bench)
        lines += [*describe_protocol(bench), *describe_primary(bench, results.primary)]
        lines += describe_verdicts(bench, results.base)
        lines += [*describe_runs(bench), *describe_answers(bench), ""]
    verdicts = {score.verdict for bench in results.benchmarks for score in bench.scores}
    lines += [f"{mark} {_LEGEND.get(verdict, verdict)}" for verdict, mark in _MARKS.items() if verdict in verdicts]
    if results.all_at_chance:
        lines.append(AT_CHANCE)
    return "\n".join(part for line in lines for part in textwrap.wrap(line, columns) or [""]).rstrip()


def _format_judged(bench: Benchmark) -> list[str]:
    """Return the table of a judged benchmark: each arm against each reference."""
    cells = [HEADER, *list_judged(bench)]
    if len(cells) == 1:
        return []
    width = max(*(len(row[0]) + len(row[1]) + 4 for row in cells), _ARM)
    form = "{:<{width}} {:>13} {:>7} {:>14} {:>15} {:>7}"
    lines = ["", form.format("against the reference", "points", "ratio %", "95 %", "won/tied/lost", "p", width=width)]
    for row in cells[1:]:
        name = f"{row[0]} vs {row[1]}"
        lines.append(form.format(name, row[2], row[3], row[4], row[5].replace(" ", ""), row[6], width=width))
    form = "{:<{width}} {:>13} {:>18} {:>15}"
    lines.append(form.format("its judge", "orders flip", "first slot, points", "longer wins", width=width))
    lines += [form.format(f"{row[0]} vs {row[1]}", row[7], row[8], row[9], width=width) for row in cells[1:]]
    return [*lines, ""]


def _list_row(score: Score, width: int, *, is_primary: bool) -> list[str]:
    """Return the lines of a row: the figures, and above them a name that does not fit.

    is_primary: the benchmark has verdicts, so that an arm without one is marked.
    """
    difference, is_long = score.difference, len(score.arm) > width
    row = _COLUMNS.format(
        arm=("" if is_long else score.arm).ljust(width),
        mean=percent(score.mean) + " %" + _MARKS.get(score.verdict, " "),
        interval=interval(score.interval),
        unparsed=percent(score.unparsed_share) + " %",
        cut=percent(score.cut_share) + " %",
    )
    if difference:
        p = "" if difference.p_holm is None else p_value(difference.p_holm)
        row += _COMPARED.format(
            points=points(difference.points),
            around=points_interval(difference.interval),
            p="exploratory" if is_primary and not score.is_baseline and difference.verdict == "exploratory" else p,
            verdict=VERDICTS.get(difference.verdict, difference.verdict),
        )
    return [*([score.arm] if is_long else []), row.rstrip()]
