"""The rows that a node keeps and drops: one line that states them by reason, and groups of which nothing is left.

`sample` and `filter` share this. A group is a task or a file. A run stops if nothing is left of a group, since a study
without one of its tasks is another study; `allow_empty` of the spec names the groups that may be lost.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePath

from orcac.errors import InputError
from orcac.progress import print_line
from orcac.text import by_reason

__all__ = ["Losses", "print_counts"]

_NAMED = 10  # lost groups that a message names


class Losses:
    """The rows of each task and file."""

    def __init__(self) -> None:
        self._tasks, self._files = _Groups(), _Groups()
        self._tasks_of: dict[str, set[str]] = {}  # file -> tasks

    def add_file(self, file: str) -> None:
        """Register a file, so that one without rows is found as well. An empty name is ignored."""
        if file:
            self._tasks_of.setdefault(file, set())

    def count(self, reason: str, *, task: str = "", file: str = "", rows: int = 1) -> None:
        """Count rows that are lost for a reason, or, if that is "", that are left or that the spec leaves out.

        Rows without a known task count for their file alone.
        """
        if task:
            self._tasks.count(task, reason, rows)
        if file:
            self._files.count(file, reason, rows)
            self._tasks_of.setdefault(file, set()).update([task] if task else ())

    def check(self, label: str, allow_empty: Collection[str], *, fix: str) -> None:
        """Raise InputError if nothing is left of a task or file that `allow_empty` does not name.

        `allow_empty` has names or globs. A file has several names: its path, its base name, and that without endings.
        """
        empty = self._tasks.find_empty()
        lines = [
            _describe(f"the task `{task}`", empty[task]) for task in sorted(empty) if not _is_named({task}, allow_empty)
        ]
        for file, tasks in self._tasks_of.items():
            path = PurePath(file)
            names = {file, path.name, path.name.removesuffix("".join(path.suffixes))}
            is_explained = bool(tasks) and tasks <= empty.keys()
            if not (self._files.is_left(file) or is_explained or _is_named(names, allow_empty)):
                lines.append(_describe(f"the file {file}", self._files.lost[file]))
        if lines:
            more = [f"{len(lines) - _NAMED:,} others"] if len(lines) > _NAMED else []
            raise InputError("\n  ".join([f"{label}: nothing is left of", *lines[:_NAMED], *more]), fix=fix)


class _Groups:
    def __init__(self) -> None:
        self.lost: dict[str, Counter[str]] = defaultdict(Counter)  # group -> reason -> rows
        self._left: set[str] = set()

    def count(self, group: str, reason: str, rows: int) -> None:
        if reason:
            self.lost[group][reason] += rows
        else:
            self._left.add(group)

    def is_left(self, group: str) -> bool:
        return group in self._left

    def find_empty(self) -> dict[str, Counter[str]]:
        return {group: reasons for group, reasons in self.lost.items() if group not in self._left}


def _is_named(names: set[str], globs: Collection[str]) -> bool:
    return any(name == glob or fnmatchcase(name, glob) for name in names for glob in globs)


def _describe(group: str, lost: Counter[str]) -> str:
    return f"{group}: {by_reason(lost)}" if lost else f"{group}, which has no rows"


def print_counts(label: str, kept: int, dropped: Mapping[str, int]) -> None:
    """Print the line of a node: the rows that it keeps, and those that it drops by reason."""
    losses = f"; dropped: {by_reason(dropped)}" if sum(dropped.values()) else ""
    print_line(f"{label}  kept {kept:,} of {kept + sum(dropped.values()):,}{losses}")
