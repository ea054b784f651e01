"""Verdicts in words: the decision with its interval, the luck that the interval covers, and cautions.

Differences are written in percentage points. A difference that is not significant is never called "equal": the text
states which differences are excluded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orcac.stats.compare import Comparison
    from orcac.stats.intervals import Interval
    from orcac.stats.verdict import Verdict

__all__ = ["cautions", "coverage", "p_value", "points", "points_interval", "scope", "sentence", "within"]

UNEQUAL = 0.01  # an F test below this is reported
ONE_RUN = "one training run each, so training luck is not covered: no verdict on the arm"
ONE_UNTRAINED = "one training run against a model as it is, so training luck is not covered: no verdict on the arm"
UNTRAINED = "neither is trained here, so this is about these two models as they are"
COUNTED_ONCE = "runs with identical results count once, so training luck is not covered: no verdict on the arm"


def sentence(verdict: Verdict) -> str:
    """Return the verdict as one sentence without its full stop: the decision, the interval and what that covers."""
    comparison = verdict.comparison
    difference = points(comparison.difference)
    result = f"{difference} points (95 % {points_interval(comparison.interval)})"
    if verdict.word is None:
        return f"exploratory, no verdict: {result}, p {p_value(comparison.p)}, not adjusted, {coverage(comparison)}"
    if verdict.word in ("better", "worse"):
        return f"{verdict.word}: {result}, {coverage(comparison)}"
    if verdict.word in ("scores higher", "scores lower"):
        return f"this model {verdict.word} on these items: {result}; {_uncovered(comparison)}"
    if verdict.word == "equal":
        assert verdict.margin is not None
        interval = points_interval(comparison.interval_at(0.1))
        return f"{within(verdict.margin)}: {difference} points (90 % {interval}), {coverage(comparison)}"
    end = f", {coverage(comparison)}" if comparison.is_replicated else f"; {_uncovered(comparison)}"
    low, high = comparison.interval
    if low <= 0 <= high:
        excluded = points_interval(comparison.interval)
        return f"no difference shown; differences beyond {excluded} points are excluded (95 %){end}"
    assert verdict.p_holm is not None
    p_values = f"p {p_value(comparison.p)}, adjusted for the number of comparisons {p_value(verdict.p_holm)}"
    return f"no difference shown: {p_values}; {result[:-1]}, not adjusted){end}"


def coverage(comparison: Comparison) -> str:
    """Return the kinds of luck that the interval covers: "over items and training luck (3 + 3 runs, 8 df; ...)"."""
    units = "items" if comparison.tasks is None else "tasks"
    details = [] if comparison.tasks is None else [f"{comparison.tasks} tasks"]
    if not comparison.is_replicated:
        return f"over {units}" + (f" ({details[0]})" if details else "")
    kinds = f"{units}, training luck and the draw of the data" if comparison.redrawn else f"{units} and training luck"
    of_arm, of_base = comparison.runs
    rows = "draws" if comparison.redrawn else "runs"
    details += [f"{of_arm} + {of_base} {rows}, {comparison.parts.df} df", f"luck {100 * comparison.luck:.1f} points"]
    if comparison.is_borrowed:
        details.append("luck taken from other arms")
    if any(comparison.untrained):
        who = "arm" if comparison.untrained[0] else "base"
        details.append(f"the {who} is not trained and counts as one run")
    return f"over {kinds} ({'; '.join(details)})"


def scope(comparison: Comparison) -> str:
    """Return the scope of the verdict: its subject, and the luck that it does not cover."""
    tasks = "on these tasks" if comparison.tasks is None else "on tasks like these"
    if all(comparison.untrained):
        return tasks
    if comparison.redrawn:
        return f"{tasks}, for data drawn like these"
    return f"{tasks}, for these data; another draw of questions or answers is not covered"


def cautions(comparison: Comparison) -> list[str]:
    """Return the reasons to doubt the interval, one sentence each."""
    found = []
    for who, repeated in zip(("arm", "base"), comparison.repeated, strict=True):
        if repeated:
            runs, count = ("1 run", "counts") if repeated == 1 else (f"{repeated} runs", "count")
            found.append(
                f"{runs} of the {who} had the same result on every item as an earlier one and {count} once with it: "
                "the seed had no effect."
            )
    if comparison.unequal is not None and comparison.unequal < UNEQUAL:
        found.append(
            f"The arms differ in how much their runs vary (F test, p {p_value(comparison.unequal)}), so this interval "
            "may be too narrow."
        )
    return found


def within(margin: float) -> str:
    """Return the verdict on two arms that differ by no more than `margin`, a share: "equal within 2 points"."""
    return f"equal within {100 * margin:g} {'point' if margin == 0.01 else 'points'}"


def points(share: float, decimals: int = 1) -> str:
    """Return percentage points with their sign, e.g. "−3.2"; a true minus has the width of a plus."""
    text = f"{100 * share:+.{decimals}f}"
    return text[1:] if not text.strip("+-0.") else text.replace("-", "−")


def points_interval(ends: Interval) -> str:
    """Return an interval of differences in percentage points: "−1.2 to +4.0", with decimals until its ends differ."""
    decimals = next((count for count in (1, 2, 3) if points(ends[0], count) != points(ends[1], count)), 4)
    return f"{points(ends[0], decimals)} to {points(ends[1], decimals)}"


def p_value(p: float) -> str:
    """Return a p-value with three decimals, or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _uncovered(comparison: Comparison) -> str:
    if all(comparison.untrained):
        return UNTRAINED
    if any(comparison.untrained) and not any(comparison.repeated):
        return ONE_UNTRAINED
    return COUNTED_ONCE if any(comparison.repeated) else ONE_RUN
