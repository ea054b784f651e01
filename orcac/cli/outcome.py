"""The end of a run in a few lines: the artifacts that exist with the commands that use them, or the logs of failures.

All of it is read from the plan and the store, so a run that had nothing to do prints the same lines. A part that the
spec does not have, or that is not made yet, has no line.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from orcac.collect.recipe import CollectRecipe, CollectSummary
from orcac.filter.recipe import FilterSummary
from orcac.plan.plan import Plan
from orcac.plan.replicates import read_draw, strip_mark
from orcac.plan.state import State, read_state
from orcac.publish.records import read_summary
from orcac.report.recipe import Arm, Baseline, ReportExecution, ReportRecipe, name_baseline, name_drawn
from orcac.spec.arms import BASE
from orcac.store.links import is_plain
from orcac.store.store import Store
from orcac.student.recipe import StudentSummary
from orcac.text import by_reason, clean
from orcac.tokenize.recipe import TokenizeSummary
from orcac.train.apart import count_apart, describe_apart, read_apart
from orcac.train.recipe import TrainSummary

_ANSWERS = {"eval": "answers.parquet", "collect": "responses.parquet"}  # of a benchmark, by the kind of its node
_MOST = 6  # lines of one kind
_TAIL_LINES, _TAIL_BYTES = 6, 16_384


class _Item(NamedTuple):
    """An artifact to list: its name, its figures and its path."""

    name: str
    figures: str
    path: Path


def describe_outcome(plan: Plan, store: Store, name: str) -> list[str]:
    """Return the lines on the experiment `name`; [] if nothing of it exists."""
    found = _Outcome(plan, store, name)
    rows: list[tuple[str, str]] = []
    for head, items, commands in (
        ("answers", found.answers(), found.answer_commands()),
        ("student", found.students(), found.student_commands()),
    ):
        here = [item for item in items if not _is_elsewhere(item.path, store)]
        rows += _lay_out(head, here, commands if here else iter(()))
    rows += _shorten("template", list(found.templates()))
    rows += _shorten("learnt", list(found.learning()))
    rows += [("dropped", text) for text in found.losses()]
    report = plan.experiments[name].report
    if report and store.is_done(report):
        page = store.find_folder(report) / "report.html"
        rows += [("report", str(page)), ("  open", page.resolve().as_uri())]
    return [clean(f"{head:9} {text}").rstrip() for head, text in rows]


def describe_failures(plan: Plan, store: Store, *, since: float) -> tuple[list[str], list[int]]:
    """Return lines on the nodes that failed, with the ends of their logs, and their exit codes.

    Nodes with the same error, such as those that ask one dead server, are listed together and with one log. If none
    left an error, return the nodes whose logs were written after `since` (seconds since 1970), without codes: a job
    that was killed, for its memory or by its machine, leaves a log alone.
    """
    lines: list[str] = []
    codes: list[int] = []
    failed: dict[str, list[tuple[str, State]]] = {}  # by the error without its fix, which may state counts of one node
    for ref, node in plan.nodes.items():
        state = read_state(store, node)
        if state.exit_code is not None:
            codes.append(state.exit_code)
            failed.setdefault(state.error.partition("\n")[0], []).append((ref, state))
    for alike in failed.values():
        lines += ["", *(f"failed: {plan.nodes[ref].kind} {plan.nodes[ref].label} ({ref})" for ref, _ in alike)]
        lines += _indent(list(dict.fromkeys(line for _, state in alike for line in state.error.split("\n"))))
        ref, state = alike[0]
        lines += _describe_log(_find_log(store, ref, state), without=state.error)
    if not codes:
        for ref, node in plan.nodes.items():
            log = store.folder(ref) / "log.txt"
            if not store.has_record(ref) and is_plain(log) and log.stat().st_mtime >= since:
                lines += ["", f"stopped without an error of its own: {node.kind} {node.label} ({ref})"]
                lines += _describe_log(log)
    return [clean(line) for line in lines], codes


class _Dataset(NamedTuple):
    """A dataset of the experiment, in the first arm and run that have it."""

    name: str
    shown: str  # the name with the mark of its draw
    arm: str
    run: int
    collect: str  # KIND/ID
    filter: str


class _Outcome:
    """The finished artifacts of one experiment."""

    def __init__(self, plan: Plan, store: Store, name: str) -> None:
        self._plan, self._store, self._experiment = plan, store, plan.experiments[name]
        self._arms: tuple[Arm, ...] = ()
        self._baselines: tuple[Baseline, ...] = ()
        self._model = ""  # the name of the base, if the report gives it one
        if self._experiment.report:
            report = plan.nodes[self._experiment.report]
            assert isinstance(report.recipe, ReportRecipe) and isinstance(report.execution, ReportExecution)
            self._arms, self._baselines = report.recipe.arms, report.recipe.baselines
            self._model = report.execution.model
        self._datasets: dict[str, _Dataset] = {}  # by filter
        for dataset in self._list_datasets():
            self._datasets.setdefault(dataset.filter, dataset)

    def _list_datasets(self) -> Iterator[_Dataset]:
        for arm in self._arms:
            for number, run in enumerate(arm.runs, start=1):
                for one in run.datasets:
                    shown = name_drawn(one.name, run.draw)
                    yield _Dataset(one.name, shown, arm.name, number, one.collect, one.filter)
        if not self._experiment.report:
            for name, addresses in self._experiment.addresses.items():
                for address, ref in addresses.items():
                    kind, _, marked = address.partition("/")
                    if kind == "filter":
                        (collect,) = self._plan.nodes[ref].inputs["responses"]
                        dataset, draw = strip_mark(marked), read_draw(marked)
                        yield _Dataset(dataset, name_drawn(dataset, draw), name, draw + 1, collect, ref)

    def answers(self) -> list[_Item]:
        """Return the datasets, or else the answers to benchmarks that no training preceded."""
        names = Counter(dataset.shown for dataset in self._datasets.values())
        found = []
        for ref, dataset in self._datasets.items():
            name = dataset.shown + (f" ({dataset.arm})" if names[dataset.shown] > 1 else "")
            asked = self._collected(dataset.collect)
            figures = f"{asked.answered:,} of {asked.prompts:,} answered" if asked else ""
            if filtered := self._filtered(ref):
                figures += f"{', ' if figures else ''}{filtered.kept:,} kept"
                found.append(_Item(name, figures, self._store.find_folder(ref) / "kept.parquet"))
            elif asked:
                found.append(_Item(name, figures, self._store.find_folder(dataset.collect) / "responses.parquet"))
        return found or self._measured()

    def _measured(self) -> list[_Item]:
        """Return the answers of students and baselines to the benchmarks, of a spec that makes no dataset."""
        asked = [((self._model or BASE) if arm.name == BASE else arm.name, arm.evaluations) for arm in self._arms]
        asked += [(name_baseline(baseline), baseline.evaluations) for baseline in self._baselines]
        return [
            _Item(
                f"{name} on {one.benchmark}",
                "",
                self._store.find_folder(one.answers) / _ANSWERS[self._plan.nodes[one.answers].kind],
            )
            for name, evaluations in asked
            for one in evaluations
            if self._store.is_done(one.answers)
        ]

    def answer_commands(self) -> Iterator[tuple[str, str]]:
        """Yield the commands that show and export the first dataset."""
        for ref, dataset in self._datasets.items():
            if self._collected(dataset.collect) is None:
                continue
            recipe = self._plan.nodes[dataset.collect].recipe
            assert isinstance(recipe, CollectRecipe)
            is_listed = recipe.origin not in ("replay", "reference") and not self._store.is_upstream(dataset.collect)
            if is_listed:  # the other answers are not in the ledger
                spec, model = shlex.quote(self._experiment.spec), shlex.quote(recipe.model)
                yield "look", f"orcac answers list --spec {spec} --model {model} --limit 20"
            if self._store.has_record(ref):
                name, run = shlex.quote(dataset.name), f" --run {dataset.run}" if dataset.run > 1 else ""
                yield "export", f"orcac export --dataset {name}{run} {self._target(dataset.arm)} DIR"
            return

    def students(self) -> list[_Item]:
        """Return the trained students, of each arm the first run that is finished."""
        found: dict[str, _Item] = {}
        for arm in self._arms:
            made = [run for run in arm.runs if run.stages and self._store.is_done(run.stages[-1].train)]
            if made:
                ref = made[0].stages[-1].train
                runs = "" if len(arm.runs) == 1 else f"{len(made)} of {len(arm.runs)} runs, the first"
                found.setdefault(ref, _Item(arm.name, runs, self._store.find_folder(ref) / "model"))
        return list(found.values())

    def student_commands(self) -> Iterator[tuple[str, str]]:
        """Yield the command that exports the first student."""
        for arm in self._arms:
            for number, run in enumerate(arm.runs, start=1):
                if run.stages and self._store.is_done(run.stages[-1].train):
                    yield (
                        "export",
                        f"orcac export{f' --run {number}' if number > 1 else ''} {self._target(arm.name)} DIR",
                    )
                    return

    def templates(self) -> Iterator[str]:
        """Yield one line for each reason why students have a chat template of orcac, and not their model's own."""
        students = dict.fromkeys(run.student for arm in self._arms for run in arm.runs if run.student)
        made = [read_summary(self._store, StudentSummary, ref) for ref in students]
        for reason in dict.fromkeys(one.replaced for one in made if one and one.replaced):
            yield f"one of orcac, and not the model's own: {reason}"

    def learning(self) -> Iterator[str]:
        """Yield the loss on the examples that each stage keeps apart, of each arm's first finished run, the base first.

        A stage that several arms share has one line, and a stage that keeps nothing apart has none.
        """
        seen = set[str]()
        for arm in self._arms:
            made = [run for run in arm.runs if run.stages and self._store.is_done(run.stages[-1].train)]
            for stage in made[0].stages if made else ():
                packed = read_summary(self._store, TokenizeSummary, stage.tokenize)
                losses = read_apart(self._store.find_folder(stage.train))
                if packed and packed.held_out and losses and stage.train not in seen:
                    seen.add(stage.train)
                    name = stage.name if arm.name == BASE else f"{arm.name}, {stage.name}"
                    trained = read_summary(self._store, TrainSummary, stage.train)
                    text = describe_apart(losses, trained.kept_step if trained else None)
                    yield f"{name}: loss on {count_apart(packed.held_out)} {text}"

    def losses(self) -> Iterator[str]:
        """Yield one line on answers and examples that were dropped, by reason, if there are any."""
        read, rejected = 0, Counter[str]()
        for ref, dataset in self._datasets.items():
            if filtered := self._filtered(ref):
                read += filtered.read
                rejected.update(filtered.rejected)
            elif asked := self._collected(dataset.collect):
                read += asked.prompts
                rejected.update(asked.failed)
        texts = [f"{rejected.total():,} of {read:,} answers: {by_reason(rejected)}"] if rejected.total() else []
        tokenized = dict.fromkeys(stage.tokenize for arm in self._arms for run in arm.runs for stage in run.stages)
        packed = [found for ref in tokenized if (found := read_summary(self._store, TokenizeSummary, ref))]
        examples = sum(one.examples for one in packed)
        if too_long := sum(one.too_long for one in packed):
            texts.append(f"{too_long:,} of {examples:,} examples: longer than a row")
        outside = sum((Counter(one.outside) for one in packed), Counter[str]())
        if outside:
            texts.append(
                f"{outside.total():,} of {examples:,} examples: {by_reason(outside)}, in tokens of the student"
            )
        if forged := sum(one.forged or 0 for one in packed):
            texts.append(f"{forged:,} of {examples:,} examples: with a mark of the chat template")
        if texts:
            yield "; ".join(texts)

    def _collected(self, ref: str) -> CollectSummary | None:
        return read_summary(self._store, CollectSummary, ref)

    def _filtered(self, ref: str) -> FilterSummary | None:
        return read_summary(self._store, FilterSummary, ref)

    def _target(self, arm: str) -> str:
        return shlex.quote(self._experiment.spec if arm == BASE else f"{self._experiment.spec}:{arm}")


def _shorten(head: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return rows of a head and a text, of which many are cut short."""
    rows = [("" if number else head, text) for number, text in enumerate(texts[:_MOST])]
    return rows + ([("", f"and {len(texts) - _MOST:,} more")] if len(texts) > _MOST else [])


def _is_elsewhere(path: Path, store: Store) -> bool:
    """Return whether a file is in the upstream alone, which is at a URL."""
    return store.upstream is not None and path.is_relative_to(store.upstream) and not path.exists()


def _lay_out(head: str, items: Sequence[_Item], commands: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return rows of a head and a text: aligned items, of which many are cut short, and the commands for the first."""
    if not items:
        return []
    shown = items[:_MOST]
    names, figures = max(len(item.name) for item in shown), max(len(item.figures) for item in shown)
    rows = []
    for number, item in enumerate(shown):
        middle = f"  {item.figures:{figures}}" if figures else ""
        rows.append(("" if number else head, f"{item.name:{names}}{middle}  {item.path}"))
    if len(items) > len(shown):
        rows.append(("", f"and {len(items) - len(shown):,} more"))
    return [*rows, *((f"  {verb}", line) for verb, line in commands)]


def _find_log(store: Store, ref: str, state: State) -> Path:
    """Return the log of a failed node, or that of its first failed shard."""
    for index, shard in enumerate(state.shards, start=1):
        if shard.exit_code is not None:
            return store.folder(ref) / "shards" / f"{index}-of-{len(state.shards)}" / "log.txt"
    return store.folder(ref) / "log.txt"


def _describe_log(path: Path, *, without: str = "") -> list[str]:
    """Return the path and the last lines of a log, except those that repeat the error `without`."""
    if not is_plain(path):
        return []
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    known = [line.strip() for line in without.splitlines()]
    last = [line for line in text.splitlines() if not _repeats(line, known)][-_TAIL_LINES:]
    return [f"  log: {path}", *_indent(_indent(last))]


def _repeats(line: str, known: Sequence[str]) -> bool:
    """Return whether a line of a log is blank, one of `known`, or a job's label and the end of one of them."""
    line = line.strip().removeprefix("orcac: ")
    _, _, text = line.partition("  ")
    return not line or line in known or bool(text and any(one.endswith(text) for one in known))


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
