"""An arm's student as a model folder that anybody can use: the files of its last stage, with a model card.

The card (README.md, with the front matter that a hub reads) is written here and not where a stage is trained: a stage
belongs to every arm and spec that needs it, so it knows no name of theirs, and scores are taken after it. What the
card says comes from the records in the store. Names and descriptions are of unknown origin: they are escaped, and no
path or host of the machines that made it is told.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, TypeVar

from orcac.collect.recipe import CollectSummary
from orcac.errors import OrcacError, StoreError
from orcac.filter.recipe import FilterSummary
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.progress import Progress
from orcac.report.recipe import Arm, Dataset, Evaluation, ReportRecipe, TrainedStage
from orcac.store.durable import new_folder
from orcac.store.store import Store
from orcac.student.recipe import StudentSummary
from orcac.summary import Summary
from orcac.text import clock
from orcac.tokenize.recipe import TokenizeSummary
from orcac.train.recipe import TrainSummary

S = TypeVar("S", bound=Summary)

_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~&$]|^[-+]|(?<=^\d)[.)]|:(?=//)")


def export(plan: Plan, store: Store, *, spec: str, arm: str, about: str, out: Path) -> str:
    """Write the student of an arm to the folder `out`; returns the KIND/ID of its last stage.

    `spec` is the spec's name in the plan. Raises OrcacError where the student is not made yet, StoreError where it is
    damaged, InputError where `out` is there already or the disk is too small.
    """
    described = _arm(plan, spec, arm)
    ref = described.stages[-1].train
    if not store.is_done(ref):
        raise OrcacError(f"{ref} is not made yet", fix="`orcac run` makes it; `orcac status` shows how far it is")
    text = card(plan, store, spec=spec, arm=described, about=about)
    files = {
        name.removeprefix("model/"): (store.folder(ref) / name, facts)
        for name, facts in store.artifact(ref)["files"].items()
        if name.startswith("model/")
    }
    total = sum(facts["bytes"] for _, facts in files.values())
    megabytes = max(total // 10**6, 1)
    progress = Progress(label=f"export {arm}", total=megabytes, unit="MB")
    done = 0
    with new_folder(out, needs=total) as folder:
        for name, (path, facts) in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with path.open("rb") as source, target.open("wb") as copy:
                while content := source.read(1 << 20):
                    digest.update(content)
                    copy.write(content)
                    done += len(content)
                    progress.update(min(done // 10**6, megabytes))
            if digest.hexdigest() != facts["sha256"]:
                raise StoreError(f"{path}: the file is damaged", fix=f"`orcac verify {ref} --repair`, then run again")
        progress.update(megabytes)
        (folder / "README.md").write_text(text, encoding="utf-8")
    return ref


def card(plan: Plan, store: Store, *, spec: str, arm: Arm, about: str) -> str:
    """The model card of an arm whose last stage is made."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from orcac.report import wording

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # it is Markdown: `text` escapes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Any] = {
        "count": lambda number: "–" if number is None else f"{number:,}",
        "interval": wording.interval,
        "loss": lambda value: "–" if value is None else f"{value:.3f}",
        "percent": wording.percent,
        "text": escaped,
        "yaml": json.dumps,  # JSON is YAML, and is quoted
    }
    environment.filters |= filters
    last = store.artifact(arm.stages[-1].train)
    student = _summary(store, StudentSummary, arm.student)
    nodes = [arm.student, *(ref for dataset in arm.datasets for ref in (dataset.collect, dataset.filter))]
    nodes += [ref for stage in arm.stages for ref in (stage.tokenize, stage.train)]
    scores = [_score(store, evaluation) for evaluation in arm.evaluations if store.is_done(evaluation.eval)]
    return environment.get_template("card.md.jinja").render(
        spec=spec,
        arm=arm.name,
        about=about,
        base_model=_base_model(plan.nodes[arm.student]),
        datasets=sorted({repo for dataset in arm.datasets for repo in _hub_datasets(plan, dataset)}),
        parameters=student and student.parameters,
        start=_start(plan.nodes[arm.student]),
        teachers=list(dict.fromkeys(dataset.teacher for dataset in arm.datasets)),
        max_length=_recipe(plan, arm.stages[-1].tokenize)["max_length"],
        stages=[_stage(plan, store, stage) for stage in arm.stages],
        data=[_data(plan, store, dataset) for dataset in arm.datasets],
        scores=[score for score in scores if score],
        versions={key: last["made"].get(key, "") for key in ("orcac", "started")}
        | {"packages": last["made"].get("packages", {})},
        nodes=[(ref, plan.nodes[ref].label) for ref in dict.fromkeys(nodes)],
    )


def escaped(text: object) -> str:
    """Text of unknown origin as Markdown that shows it, on one line: no markup, no HTML, nothing a terminal obeys."""
    line = " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())
    return _MARKDOWN.sub(r"\\\g<0>", line)


def _arm(plan: Plan, spec: str, name: str) -> Arm:
    recipe = plan.nodes[plan.experiments[spec].report].recipe
    assert isinstance(recipe, ReportRecipe)
    (arm,) = [arm for arm in recipe.arms if arm.name == name]
    return arm


def _record(store: Store, ref: str) -> dict[str, Any]:
    """An artifact's record; nothing where it is gone, which takes no student away."""
    return store.artifact(ref) if store.has_record(ref) else {}


def _summary(store: Store, summary: type[S], ref: str) -> S | None:
    """Return the summary of an artifact; None if its record is gone."""
    return summary.from_json(store.artifact(ref)["summary"], store.marker(ref)) if store.has_record(ref) else None


def _recipe(plan: Plan, ref: str) -> dict[str, Any]:
    return plan.nodes[ref].recipe.model_dump(mode="json")


def _base_model(student: Node) -> str:
    """The hub's name of what the student started from, where it has one."""
    hub = (student.recipe.model_dump(mode="json").get("pretrained") or {}).get("hub")
    return hub["repo"] if hub else ""


def _start(student: Node) -> str:
    return f"from {student.label}" if student.recipe.model_dump()["pretrained"] else "from scratch"


def _hub_datasets(plan: Plan, dataset: Dataset) -> set[str]:
    """The dataset repositories that its questions or answers were read from."""
    recipes = [_recipe(plan, ref) for ref in plan.closure([dataset.collect])]
    sources = [recipe.get("source") or recipe.get("recording") or {} for recipe in recipes]
    return {hub["repo"] for source in sources for hub in source.get("hub", ())}


def _stage(plan: Plan, store: Store, stage: TrainedStage) -> dict[str, Any]:
    trained, packed = _summary(store, TrainSummary, stage.train), _summary(store, TokenizeSummary, stage.tokenize)
    record = _record(store, stage.train)
    made, hardware = record.get("made", {}), record.get("hardware", {})
    gpus = hardware.get("nodes", 1) * hardware.get("gpus", 0)
    threads = hardware.get("threads", 1)
    on = f"{gpus} × {hardware.get('gpu') or 'GPU'}" if gpus else f"{threads} CPU thread{'s' if threads > 1 else ''}"
    return {
        "name": stage.name,
        "dataset": stage.dataset,
        "examples": packed and packed.packed,
        "learning_rate": f"{_recipe(plan, stage.train)['learning_rate']:g}",
        "time": clock(made.get("seconds", 0)),
        "hardware": on,
        "steps": trained and trained.steps,
        "tokens": trained and trained.tokens,
        "first_loss": trained and trained.first_loss,
        "final_loss": trained and trained.final_loss,
    }


def _data(plan: Plan, store: Store, dataset: Dataset) -> dict[str, Any]:
    asked = _summary(store, CollectSummary, dataset.collect)
    filtered = _summary(store, FilterSummary, dataset.filter)
    return {
        "name": dataset.name,
        "teacher": dataset.teacher,
        "model": _recipe(plan, dataset.collect)["model"],
        "asked": asked and asked.prompts,
        "kept": filtered and filtered.kept,
        "collect": dataset.collect,
        "filter": dataset.filter,
    }


def _score(store: Store, evaluation: Evaluation) -> dict[str, Any]:
    """What `scores.json` says; nothing of a benchmark that has no right answers."""
    scores = json.loads((store.verify(evaluation.eval) / "scores.json").read_text(encoding="utf-8"))
    return scores | {"benchmark": evaluation.benchmark, "eval": evaluation.eval} if "accuracy" in scores else {}
