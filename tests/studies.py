"""Made-up studies, published to a store as `orcac make` would, for the tests of everything that reads reports."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jobs

from orcac import rows
from orcac.plan.plan import Plan
from orcac.report.recipe import Arm, Baseline, Dataset, Evaluation, ReportExecution, ReportRecipe, Run, TrainedStage
from orcac.report.run import run
from orcac.score.scores import Answers, write
from orcac.store.store import Store

OPTIONS = ["(A)", "(B)", "(C)"]
OUTCOMES = ("right", "wrong", "unparsed", "cut")


@dataclasses.dataclass(frozen=True)
class Made:
    """A published study."""

    store: Store
    report: str  # KIND/ID
    recipe: ReportRecipe

    @property
    def page(self) -> Path:
        return self.store.folder(self.report) / "report.html"


@dataclasses.dataclass
class Publisher:
    """Publishes artifacts under ids that are digests of their names."""

    store: Store
    folders: dict[str, Path] = dataclasses.field(default_factory=dict)

    def publish(
        self,
        kind: str,
        name: str,
        summary: Mapping,
        files: Mapping = {},
        recipe: Mapping | None = None,
        ref: str = "",
        inputs: Mapping = {},
    ) -> str:
        """Publish an artifact, unless it is there, and return its KIND/ID. `files` is name -> a writer of a path."""
        ref = ref or f"{kind}/{hashlib.sha256(name.encode()).hexdigest()[:20]}"
        folder = self.folders[ref] = self.store.folder(ref)
        if self.store.is_done(ref):
            return ref
        out = folder / "work" / "out"
        out.mkdir(parents=True)
        for file, writer in files.items():
            writer(out / file)
        record = {"ref": ref, "kind": kind, "label": name, "recipe": recipe or {}, "summary": summary}
        record["inputs"] = dict(inputs)
        with self.store.lease(ref):
            self.store.publish(ref, out, record)
        return ref


def publish_study(
    root: Path,
    *,
    title: str = "fruit",
    about: str = "",
    levels: Mapping[str, float] | None = None,
    benchmarks: Mapping[str, Mapping[str, int]] | None = None,
    forms: Mapping[str, str] | None = None,
    runs: int = 1,
    says: str = "",
    baseline: str = "",
    trained: bool = True,
    reviews: float = 0.0,
) -> Made:
    """Publish a study whose arms are right on a random share of the items, and its report.

    levels: arm -> that share. benchmarks: name -> task -> items. forms: benchmark -> the format of its source. says:
    text at the end of every answer. reviews: USD of a judge's reviews, by which the answers of each arm are selected
    """
    levels = levels or {"base": 0.6, "no-explanations": 0.4, "half": 0.58}
    benchmarks = benchmarks or {"sums": {"addition": 60, "products": 40}}
    publisher = Publisher(Store(root))
    student = publisher.publish("student", "student", {"parameters": 840_000, "vocabulary": 640})
    items = {
        name: publisher.publish(
            "sample",
            f"{title} {name}",
            {"read": sum(tasks.values()) + 4, "kept": sum(tasks.values()), "dropped": {"duplicate": 4}},
            recipe={"source": {"format": (forms or {}).get(name, "jsonl")}},
        )
        for name, tasks in benchmarks.items()
    }
    arms = []
    for arm, level in levels.items():
        dataset = _publish_dataset(publisher, f"data of {arm}{', judged' if reviews else ''}", reviews)
        made = []
        for number in range(runs):
            stages = (_publish_stage(publisher, dataset, f"{title} {arm} {number}"),) if trained else ()
            evaluations = tuple(
                _publish_answers(publisher, "eval", f"{title} {arm} {number}", name, items[name], tasks, level, says)
                for name, tasks in benchmarks.items()
            )
            datasets = (dataset,) if trained else ()
            made.append(Run(student=student, datasets=datasets, stages=stages, evaluations=evaluations))
        arms.append(Arm(name=arm, **dict(made[0]), replicates=tuple(made[1:])))
    baselines = []
    if baseline:
        of_baseline = tuple(
            _publish_answers(publisher, "collect", f"{title} {baseline}", name, items[name], tasks, 0.9, says)
            for name, tasks in benchmarks.items()
        )
        baselines.append(Baseline(name=baseline, evaluations=of_baseline))
    recipe = ReportRecipe(arms=(arms[0], *sorted(arms[1:], key=lambda arm: arm.name)), baselines=tuple(baselines))
    work = root.parent / f"work of {title}"
    execution = ReportExecution(title=title, about=about, order=(*levels, baseline, *benchmarks))
    job = jobs.make_job(work, recipe, execution, by_ref=publisher.folders)
    summary = run(job)
    files = {path.name: path.read_bytes() for path in job.out.iterdir()}
    ref = publisher.publish(
        "report",
        f"report of {title}",
        summary.as_json(),
        {name: lambda path, content=content: path.write_bytes(content) for name, content in files.items()},
        recipe.model_dump(mode="json"),
    )
    return Made(publisher.store, ref, recipe)


def make_filtered(asked: int, rejected: Mapping[str, int]) -> dict[str, Callable[[Path], object]]:
    """Return the tables of a filter of two tasks and two system messages, as file -> the function that writes it."""
    reasons = [reason for reason, count in rejected.items() for _ in range(count)]
    answers = [
        rows.Rejected(
            id=f"{n:020x}", source="s", task=("addition", "products")[n % 3 == 0], query=f"question {n}",
            system_id=1 + n % 2, system="", teacher="expert", response="so", finish_reason="stop",
            error=reason if reason == "Timeout" else "", reason=reason,
        )
        for n, reason in enumerate(reasons + [""] * (asked - len(reasons)))
    ]  # fmt: skip
    return {
        "kept.parquet": lambda path: rows.write(path, rows.Response, [row for row in answers if not row.reason]),
        "rejected.parquet": lambda path: rows.write(path, rows.Rejected, [row for row in answers if row.reason]),
    }


def _publish_dataset(publisher: Publisher, name: str, reviews: float) -> Dataset:
    tokens = {"input_tokens": 24_000, "output_tokens": 36_000, "usd": 0.12}
    rejected = {"Timeout": 2, "contamination": 10}
    rated: dict[str, list[str]] = {}
    if reviews:
        judge = {"by": "judge", "judge": {"asked": {"model": "critic"}}}
        summary = {"answers": 300, "rated": 298, "questions": 300, "valued": 298, "quartiles": [1, 3, 5, 7, 9]}
        summary |= {"reviews": 298, "usd": reviews}
        files = {"reviews.parquet": lambda path: path.write_bytes(b"")}
        rated["rated"] = [publisher.publish("rate", name, summary, files, judge)]
    return Dataset(
        name=name,
        prompts=(publisher.publish("sample", name, {"read": 350, "kept": 300, "dropped": {"not drawn": 50}}),),
        collect=publisher.publish(
            "collect", name, {"prompts": 300, "answered": 298, "failed": {"Timeout": 2}} | tokens
        ),
        filter=publisher.publish(
            "filter",
            name,
            {"read": 300, "kept": 288, "rejected": rejected},
            make_filtered(300, rejected),
            inputs=rated,
        ),
        teacher="expert",
    )


def _publish_stage(publisher: Publisher, dataset: Dataset, name: str) -> TrainedStage:
    sizes = {"examples": 288, "packed": 285, "too_long": 3, "rows": 140, "fill": 0.97}
    rng = random.Random(name)
    losses = [{"step": step, "loss": 0.6 + 5 * 0.96**step + rng.gauss(0, 0.05)} for step in range(1, 81)]
    lines = "".join(json.dumps(line) + "\n" for line in losses)
    return TrainedStage(
        name="only",
        dataset=dataset.name,
        tokenize=publisher.publish("tokenize", dataset.name, sizes | {"tokens": 57_000, "supervised_tokens": 34_000}),
        train=publisher.publish(
            "train",
            name,
            {"steps": 80, "tokens": 171_000, "supervised_tokens": 102_000, "first_loss": 5.4, "final_loss": 0.7},
            {"metrics.jsonl": lambda path: path.write_text(lines)},
        ),
    )


def _publish_answers(
    publisher: Publisher,
    kind: str,
    name: str,
    benchmark: str,
    items: str,
    tasks: Mapping[str, int],
    level: float,
    says: str,
) -> Evaluation:
    answers = list(make_answers(f"{name} {benchmark}", tasks, level, says))
    known = {field.name for field in dataclasses.fields(rows.Prompt)}
    spread = [{name: getattr(one, name) for name in known} | {"response": one.response} for one in answers]
    if kind == "eval":
        said = [rows.Answer(**one, reasoning=_reason(n), finish_reason="stop") for n, one in enumerate(spread)]
        table, summary = ("answers.parquet", rows.Answer), {"n": len(answers)}
    else:
        asked = [
            rows.Response(**one, teacher=name, reasoning=_reason(n), finish_reason="stop")
            for n, one in enumerate(spread)
        ]
        table, summary = (
            ("responses.parquet", rows.Response),
            {"prompts": len(asked), "answered": len(asked), "usd": 2.5},
        )
        said = asked
    found = Answers(rows=answers, checkers=("first-capital", "option"), left_out=0)
    return Evaluation(
        benchmark=benchmark,
        items=items,
        answers=publisher.publish(
            kind, f"{name} {benchmark}", summary, {table[0]: lambda path: rows.write(path, table[1], said)}
        ),
        score=publisher.publish("score", f"{name} {benchmark}", {}, _Folder(found)),
    )


class _Folder(dict):
    """The two files of a score node, which one function writes."""

    def __init__(self, answers: Answers) -> None:
        super().__init__({"scores.parquet": lambda path: write(path.parent, answers)})


def _reason(number: int) -> str:
    return f"First I look at item {number}." if number % 2 else ""


def make_answers(seed: str, tasks: Mapping[str, int], level: float, says: str = "") -> Sequence[rows.Scored]:
    """Return answers of which a share of about `level` is right; some cannot be read and some are cut."""
    rng = random.Random(seed)
    made = []
    for task, count in tasks.items():
        for number in range(count):
            query = f"Item {number} of {task}: which option is right?\n" + "\n".join(OPTIONS)
            right = OPTIONS[number % 3]
            drawn = rng.random()
            outcome = "right" if drawn < level else rng.choices(OUTCOMES[1:], (90, 6, 4))[0]
            given = right if outcome == "right" else OPTIONS[(number + 1) % 3]
            parsed = given if outcome in ("right", "wrong") else ""
            made.append(
                rows.Scored(
                    id=rows.prompt_id("made up", task, query, ""),
                    source="made up",
                    task=task,
                    query=query,
                    system_id=1,
                    system="",
                    reference=right,
                    options=OPTIONS,
                    response=f"Option by option, {given} fits best in case {number}. {parsed} {says}".strip(),
                    finish_reason="length" if outcome == "cut" else "stop",
                    parsed=parsed,
                    outcome=outcome,
                    score=float(outcome == "right"),
                    others_parsed=[parsed],
                    others_score=[float(outcome == "right")],
                )
            )
    return made


def publish_plan(plan: Plan, store: Store, kinds: Sequence[str]) -> None:
    """Publish made-up artifacts for the nodes of a plan that are of these kinds; with "report", its report too."""
    publisher = Publisher(store)
    lines = "".join(json.dumps({"step": step, "loss": 3.0 / step}) + "\n" for step in range(1, 6))
    prompts = [rows.Prompt(id=f"{n:020x}", source="s", task="t", query=f"question {n}", system_id=1, system="")
               for n in range(30)]  # fmt: skip
    said = [rows.widen(one, rows.Response, teacher="m", response=f"answer {n}", finish_reason="stop")
            for n, one in enumerate(prompts)]  # fmt: skip
    dropped = [rows.widen(one, rows.Rejected, reason="too short") for one in said[25:]]
    scored = make_answers("plan", {"t": 30}, 0.6)
    made: dict[str, tuple[Mapping, Mapping]] = {
        "sample": (
            {"read": 30, "kept": 30},
            {"prompts.parquet": lambda path: rows.write(path, rows.Prompt, prompts)},
        ),
        "collect": (
            {"prompts": 30, "answered": 30},
            {"responses.parquet": lambda path: rows.write(path, rows.Response, said)},
        ),
        "filter": (
            {"read": 30, "kept": 25, "rejected": {"too short": 5}},
            {
                "kept.parquet": lambda path: rows.write(path, rows.Response, said[:25]),
                "rejected.parquet": lambda path: rows.write(path, rows.Rejected, dropped),
            },
        ),
        "student": ({"parameters": 840_000, "vocabulary": 640}, {}),
        "tokenize": (
            {
                "examples": 25,
                "packed": 25,
                "too_long": 0,
                "rows": 9,
                "tokens": 90,
                "supervised_tokens": 50,
                "fill": 1.0,
            },
            {},
        ),
        "train": (
            {"steps": 5, "tokens": 90, "supervised_tokens": 50, "first_loss": 3.0, "final_loss": 0.6},
            {"metrics.jsonl": lambda path: path.write_text(lines)},
        ),
        "eval": ({"n": 30}, {}),
        "score": ({}, _Folder(Answers(rows=scored, checkers=("auto",), left_out=0))),
    }
    for ref, node in plan.nodes.items():
        if node.kind in kinds and node.kind != "report":
            recipe = node.recipe.model_dump(mode="json")
            publisher.publish(node.kind, node.label, *made[node.kind], recipe, ref=ref)
    if "report" in kinds:
        for experiment in plan.experiments.values():
            node = plan.nodes[experiment.report]
            job = jobs.make_job(store.root / ".report", node.recipe, node.execution, by_ref=publisher.folders)
            summary = run(job).as_json()
            files = {path.name: path.read_bytes() for path in job.out.iterdir()}
            writers = {name: lambda path, content=content: path.write_bytes(content) for name, content in files.items()}
            recipe = node.recipe.model_dump(mode="json")
            publisher.publish("report", node.label, summary, writers, recipe, ref=experiment.report)
