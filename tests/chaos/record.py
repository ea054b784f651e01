"""The table of what happened in rounds of random failures, in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .driver import Record


def format_record(record: Record) -> str:
    """Return a Markdown table."""
    twice = f"{record.paid_twice:,} (at most {record.in_flight:,} were in flight at kills and full disks)"
    rows = {
        "rounds, each compared with an undisturbed run": f"{record.rounds:,} in {record.seconds / 60:.0f} min",
        "runs of `orcac run`": f"{record.runs:,}",
        "processes killed": _count(record.kills),
        "other failures": _count(record.troubles),
        "faults of the endpoint": _count(record.faults),
        "bits flipped": _count(record.flips),
        "flips that `orcac verify` missed": _list(record.missed),
        "answers paid for": f"{record.answers:,}",
        "of these, lost by faults of the endpoint": f"{record.lost_by_faults:,}",
        "of these, paid twice": twice,
        "artifacts compared, byte by byte": f"{record.compared:,}",
        "artifacts that differ": _list(record.different),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _count(counts: Mapping[str, int]) -> str:
    """Return the total of counts and its parts, the largest first."""
    parts = ", ".join(f"{name} {count:,}" for name, count in Counter(counts).most_common() if count)
    return f"{sum(counts.values()):,}" + (f": {parts}" if parts else "")


def _list(names: list[str]) -> str:
    return f"{len(names):,}" + (f": {', '.join(names[:10])}" if names else "")
