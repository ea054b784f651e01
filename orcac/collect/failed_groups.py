"""Failures that go with one group of prompts: those with a system message, those of one system message or of one task.

A model whose chat template has no system role answers every prompt without a system message and refuses all others, so
a dataset loses one of its conditions whole, which no count of failures shows. A group is named if all of it failed and
nothing else did, or if chance would bring so many of the failures into it less than once in a thousand datasets
(Fisher's exact test, one-sided, with Bonferroni's correction for the number of groups).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from orcac.chat.failures import ERRORS

_CHANCE = 1e-3
_MOST_NAMED = 3  # groups of one kind that a message names

Group = tuple[str, str | int]  # kind and name: ("with a system message", ""), ("of system message", 7), ...
_KINDS = _WITH_SYSTEM, _SYSTEM, _TASK = "with a system message", "of system message", "of task"


class FailedGroup(NamedTuple):
    """A group of prompts with more than its share of the failures."""

    group: str
    prompts: int
    failed: int
    other_prompts: int
    other_failed: int

    @property
    def is_grave(self) -> bool:
        """True if the dataset lacks at least half of the group."""
        return 2 * self.failed >= self.prompts

    @property
    def is_of_system(self) -> bool:
        """True if the prompts of the group have their system message in common."""
        return not self.group.startswith(_TASK)

    def __str__(self) -> str:
        others = f"{self.other_failed:,} of {self.other_prompts:,}" if self.other_failed else "none"
        return f"{self.failed:,} of {self.prompts:,} prompts {self.group} failed, and of the others {others}"


class GroupedFailures:
    """The failures of a dataset by group of prompts. Failures on record are counted apart: a rerun cannot mend them."""

    def __init__(self) -> None:
        self._prompts = Counter[Group]()
        self._failed: dict[bool, Counter[Group]] = {False: Counter(), True: Counter()}  # by `recorded`
        self._total, self._total_failed = 0, Counter[bool]()

    def add(
        self, *, systems: Sequence[str], numbers: Sequence[int], tasks: Sequence[str], errors: Iterable[str]
    ) -> None:
        """Count some prompts: their system messages, the numbers of these, their tasks and error classes ("": none)."""
        pairs = Counter(zip(numbers, map(bool, systems), tasks, errors, strict=True))
        for (number, has_system, task, error), count in pairs.items():
            groups: list[Group] = [(_SYSTEM, number), (_TASK, task), *([(_WITH_SYSTEM, "")] if has_system else [])]
            self._total += count
            for group in groups:
                self._prompts[group] += count
            if error:
                recorded = ERRORS[error].recorded
                self._total_failed[recorded] += count
                for group in groups:
                    self._failed[recorded][group] += count

    def find(self, *, recorded: bool) -> list[FailedGroup]:
        """Return the groups with which failures go, of those on record or of the others, the worst of a kind first.

        If all prompts with a system message failed, the single system messages are left out.
        """
        failed, found = self._failed[recorded], list[FailedGroup]()
        for kind, groups in itertools.groupby(
            sorted(failed, key=lambda group: (_KINDS.index(group[0]), -failed[group])), key=lambda group: group[0]
        ):
            if kind == _SYSTEM and any(other.group == _WITH_SYSTEM for other in found):
                continue
            named = [judged for group in groups if (judged := self._judge(group, recorded=recorded))]
            found += named[:_MOST_NAMED]
        return found

    def _judge(self, group: Group, *, recorded: bool) -> FailedGroup | None:
        kind, name = group
        prompts, failed = self._prompts[group], self._failed[recorded][group]
        others, others_failed = self._total - prompts, self._total_failed[recorded] - failed
        goes_together = failed == prompts > 1 and not others_failed
        if not others or (kind == _WITH_SYSTEM and failed < prompts):
            return None
        number_of_groups = sum(other == kind for other, _ in self._prompts)
        if not (goes_together or _chance(prompts, failed, others, others_failed) * number_of_groups < _CHANCE):
            return None
        return FailedGroup(f"{kind} {name}".strip(), prompts, failed, others, others_failed)


def _chance(prompts: int, failed: int, others: int, others_failed: int) -> float:
    """Return the probability that of all failures at least `failed` fall into a group of so many prompts.

    This is the tail of the hypergeometric distribution. scipy has it, but asking models does without scipy.
    """
    all_failed = failed + others_failed
    total = _log_choose(prompts + others, all_failed)
    return math.fsum(
        math.exp(_log_choose(prompts, inside) + _log_choose(others, all_failed - inside) - total)
        for inside in range(max(failed, all_failed - others), min(prompts, all_failed) + 1)
    )


def _log_choose(n: int, k: int) -> float:
    """Return the natural logarithm of the binomial coefficient n over k."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
