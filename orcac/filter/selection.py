"""The selection among the answers to one prompt that every earlier rule leaves.

    verified    answers that agree with the reference; the others are "unverified"
    majority    answers whose final answer has the most votes, by the checker's equality: the others are a "minority".
                An answer that cannot be read has "no vote". If two final answers have the most votes, all
                rows are a "tied vote"; if no answer can be read, there is "no majority"
    shortest    in order of the tokens of reasoning and answer together, as `lengths.py` counts them
    longest     likewise, from the other end
    random      in the order of a digest of the seed, the prompt and the sample
    judged      in order of a judge's points, most first. An answer without points is "unrated", and one with as many
                points as the last selected one has "tied points"

The first `keep` rows stay, and the others are "not selected". Rows that a rule does not order stay in the order of
their samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orcac.checkers import CHECKERS
from orcac.filter.agreement import compare, item_of
from orcac.filter.lengths import count_tokens
from orcac.filter.recipe import Selection
from orcac.rows import Response

__all__ = ["select"]


def select(
    rows: Sequence[Response], selection: Selection, checker: str, points: Sequence[float | None] = ()
) -> list[str]:
    """Return the reason to reject each of the rows, all answers to one prompt; "" for a selected row.

    points: of a selection by a judge, those of each row; None for a row without points
    """
    reasons = _find_unfit(rows, selection, checker, points)
    fit = [number for number, reason in enumerate(reasons) if not reason]
    ordered = _order(rows, fit, selection, points)
    for number in ordered[selection.keep :]:
        is_tied = selection.by == "judged" and points[number] == points[ordered[selection.keep - 1]]
        reasons[number] = "tied points" if is_tied else "not selected"
    return reasons


def _find_unfit(
    rows: Sequence[Response], selection: Selection, checker: str, points: Sequence[float | None]
) -> list[str]:
    """Return the reason of each row that must not be selected, however many are kept; "" for the others."""
    if selection.by == "judged":
        return ["unrated" if value is None else "" for value in points]
    if selection.by == "verified":
        return ["" if compare(row, checker) == "agrees" else "unverified" for row in rows]
    if selection.by == "majority":
        return _find_outvoted(rows, checker)
    return [""] * len(rows)


def _find_outvoted(rows: Sequence[Response], checker: str) -> list[str]:
    how = CHECKERS[checker]
    ballots: list[list[int]] = []  # the rows that have one final answer
    values: list[str] = []
    for number, row in enumerate(rows):
        item = item_of(row)
        extraction = how.read(row.response, item)
        if extraction.outcome != "read":
            continue
        for value, ballot in zip(values, ballots, strict=True):
            if how.same(extraction.value, value, item):
                ballot.append(number)
                break
        else:
            values.append(extraction.value)
            ballots.append([number])
    if not ballots:
        return ["no majority"] * len(rows)
    most = max(map(len, ballots))
    winners = [ballot for ballot in ballots if len(ballot) == most]
    if len(winners) > 1:
        return ["tied vote"] * len(rows)
    voted = {number for ballot in ballots for number in ballot}
    return ["" if number in winners[0] else "minority" if number in voted else "no vote" for number in range(len(rows))]


def _order(
    rows: Sequence[Response], fit: Sequence[int], selection: Selection, points: Sequence[float | None]
) -> list[int]:
    """Return the numbers of the fit rows, the preferred ones first."""
    if selection.by == "judged":
        return sorted(fit, key=lambda number: -(points[number] or 0.0))
    if selection.by in ("shortest", "longest"):
        sign = 1 if selection.by == "shortest" else -1
        return sorted(fit, key=lambda number: sign * count_tokens(rows[number]).both)
    if selection.by == "random":
        return sorted(fit, key=lambda number: _draw_ticket(rows[number], selection.seed))
    return list(fit)


def _draw_ticket(row: Response, seed: int | None) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{row.id}\x1f{row.sample}".encode()).digest()
