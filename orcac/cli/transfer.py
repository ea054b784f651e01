"""The steps that `orcac push` and `orcac pull` share: what to transfer, and the lines that tell of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from orcac.cli.common import compile_specs, split_target, unknown_arm
from orcac.errors import OrcacError
from orcac.plan.asking import find_origin
from orcac.spec.load import Experiment
from orcac.study import Study, find_study
from orcac.text import clean, json_text, size

if TYPE_CHECKING:
    from orcac.chat.ledger.record import Record
    from orcac.remote.answers import Counts
    from orcac.remote.artifacts import Found


@dataclass(slots=True)
class Selection:
    """The part of a store that a command is about."""

    study: Study
    refs: list[str] | None  # KIND/ID; None: the whole store
    models: set[tuple[str, str]] | None  # (model, origin) of the answers; None: all

    def keeps(self, record: Record) -> bool:
        """Return whether an answer is one of the selected models'."""
        request = record["request"]
        return self.models is None or (request["model"], request["origin"].partition("/")[0]) in self.models


@dataclass(slots=True)
class Report:
    """The result of a transfer."""

    verb: str  # pushed, pulled
    where: str
    dry_run: bool
    found: Found | None = None
    done: list[str] = field(default_factory=list)  # KIND/ID
    counts: Counts | None = None

    def show(self, *, as_json: bool) -> int:
        """Print the result and return the exit code: 1 if something was refused."""
        refused = dict(self.found.refused) if self.found else {}
        damaged = self.counts.damaged if self.counts else []
        if as_json:
            click.echo(json_text(self._as_json(refused, damaged)))
        else:
            for line in (*refused.values(), *damaged):
                click.echo(clean(f"refused: {line}"), err=True)
            click.echo(clean(self._describe()))
        return OrcacError.exit_code if refused or damaged else 0

    def _describe(self) -> str:
        parts = []
        if self.found:
            refs = list(self.found.sizes) if self.dry_run else self.done
            parts.append(f"{len(refs):,} artifacts ({size(sum(self.found.sizes[ref] for ref in refs))})")
        if self.counts:
            parts.append(f"{self.counts.sent:,} answers")
        text = f"{'would be ' * self.dry_run}{self.verb} {self.where}: {', '.join(parts)}"
        if self.found and self.found.present:
            text += f"; {len(self.found.present):,} artifacts were there already"
        if self.found and self.found.missing:
            text += f"; {len(self.found.missing):,} are not made"
        if self.counts and self.counts.refused:
            text += f"; {self.counts.refused:,} records were refused, which are not those of their requests"
        return text

    def _as_json(self, refused: dict[str, str], damaged: Sequence[str]) -> dict[str, Any]:
        result: dict[str, Any] = {"place": self.where.partition(" ")[2], "dry_run": self.dry_run}
        if self.found:
            refs = list(self.found.sizes) if self.dry_run else self.done
            result["artifacts"] = {
                "sent": {ref: self.found.sizes[ref] for ref in sorted(refs)},
                "present": self.found.present,
                "missing": self.found.missing,
                "refused": refused,
            }
        if self.counts:
            result["answers"] = {"sent": self.counts.sent, "refused": self.counts.refused, "damaged": list(damaged)}
        return result


def select(targets: Sequence[str]) -> Selection:
    """Return the nodes and the models of SPEC or SPEC:ARM arguments; of none, the whole store of the study here."""
    if not targets:
        return Selection(find_study(), None, None)
    chosen = [split_target(target) for target in targets]
    specs = list(dict.fromkeys(spec for spec, _ in chosen))
    plan, experiments = compile_specs(specs)
    by_spec = dict(zip(specs, experiments, strict=True))
    refs: list[str] = []
    models: set[tuple[str, str]] = set()
    for spec, arm in chosen:
        experiment = by_spec[spec]
        if arm is not None and arm not in experiment.arms:
            raise unknown_arm(experiment, arm)
        item = plan.experiments[experiment.base.spec.name]
        arms = item.arms.values() if arm is None else [item.arms[arm]]
        refs += [ref for arm_refs in arms for ref in arm_refs] + (plan.closure(item.targets) if arm is None else [])
        models |= _list_models(experiment, arm)
    return Selection(find_study(specs), list(dict.fromkeys(refs)), models)


def _list_models(experiment: Experiment, name: str | None) -> set[tuple[str, str]]:
    """Return (model, origin) of each teacher in an arm of a spec; None: in all arms."""
    arms = [arm for other, arm in experiment.arms.items() if name in (None, other)]
    teachers = [teacher for arm in arms for teacher in arm.spec.teachers.values()]
    return {(teacher.model, find_origin(teacher.endpoint)) for teacher in teachers}


def finish(report: Report, transfers: Callable[[], Any], found: Found) -> None:
    """Note the outcome of each transferred artifact in a report."""
    for ref, reason in transfers():
        if reason:
            found.refused[ref] = reason
        else:
            report.done.append(ref)
