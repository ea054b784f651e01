"""From specs to nodes. Each arm is lowered by itself into one plan; equal nodes meet by their ids.

query source -> sample        dataset -> collect -> filter        student -> student
benchmark    -> sample        stage   -> tokenize -> train (on the stage before)
benchmark of an arm -> eval   spec -> one report over all arms
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orcac.chat.settings import SOLVER_VERSION, EndpointSettings
from orcac.chat.settings import Price as AskedPrice
from orcac.chat.settings import Sampling as AskedSampling
from orcac.collect.recipe import CollectExecution, CollectRecipe, Recording
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe
from orcac.filter.recipe import FilterRecipe
from orcac.plan.node import Node
from orcac.plan.plan import Experiment, Plan
from orcac.recipe import Execution, FileRef, Recipe, file_digest
from orcac.report import recipe as report
from orcac.sample.recipe import Draw, Message, Puzzles, SampleRecipe, Source, Subset
from orcac.spec import schema
from orcac.spec.load import Arm
from orcac.spec.load import Experiment as LoadedExperiment
from orcac.student.recipe import Pretrained, Scratch, StudentRecipe
from orcac.tokenize.recipe import TokenizeRecipe
from orcac.train.recipe import TrainExecution, TrainRecipe


def lower(plan: Plan, loaded: LoadedExperiment) -> None:
    """Add an experiment's nodes to the plan."""
    digests: dict[Path, str] = {}
    arms = {name: _Arm(plan, arm, digests) for name, arm in loaded.arms.items()}
    described = tuple(arm.lower() for arm in arms.values())
    spec = loaded.base.spec
    refs = {name: plan.closure(arm.refs) for name, arm in arms.items()}
    every = {ref for arm in refs.values() for ref in arm}
    node = Node(
        kind="report",
        recipe=report.ReportRecipe(seed=spec.seed, arms=described),
        inputs={"nodes": tuple(ref for ref in plan.nodes if ref in every)},
        execution=report.ReportExecution(title=spec.name, about=spec.about, **_work(spec.hardware.other)),
        label=spec.name,
    )
    if spec.name in plan.experiments:
        other = plan.experiments[spec.name].spec
        raise InputError(
            f"{loaded.path} and {other} are both named `{spec.name}`",
            fix="give each spec a `name` of its own",
        )
    plan.experiments[spec.name] = Experiment(name=spec.name, spec=str(loaded.path), report=plan.add(node), arms=refs)


@dataclass(slots=True)
class _Files:
    """Local files as content for a recipe, and as places for an execution."""

    refs: tuple[FileRef, ...] = ()
    places: dict[str, str] = field(default_factory=dict)


def _work(work: schema.Work) -> dict[str, Any]:
    return {"threads": work.threads, "memory_mb": work.memory, "minutes": work.time, "gpus": work.gpus}


class _Arm:
    def __init__(self, plan: Plan, arm: Arm, digests: dict[Path, str]) -> None:
        self.plan, self.arm, self.spec, self.digests = plan, arm, arm.spec, digests
        self.refs: list[str] = []  # what this arm is for: its last stage and its evaluations

    def lower(self) -> report.Arm:
        spec = self.spec
        datasets = {stage: spec.stages[stage].dataset for stage in spec.curriculum}
        student = self._student()
        stages, model = [], student
        for name in spec.curriculum:
            rows = self._tokenize(datasets[name], student)
            model = self._train(name, rows, model)
            stages.append(report.Stage(name=name, dataset=datasets[name], tokenize=rows, train=model))
        self.refs.append(model)
        evaluations = []
        for name in spec.benchmarks:
            if name not in self.arm.left_out:
                evaluations.append(self._eval(name, model))
                self.refs.append(evaluations[-1].eval)
        return report.Arm(
            name=self.arm.name,
            student=student,
            datasets=tuple(self._described(name) for name in dict.fromkeys(datasets.values())),
            stages=tuple(stages),
            evaluations=tuple(evaluations),
        )

    def _add(self, label: str, recipe: Recipe, execution: Execution, **inputs: tuple[str, ...]) -> str:
        kind = type(recipe).__module__.split(".")[1]
        return self.plan.add(Node(kind=kind, recipe=recipe, inputs=inputs, execution=execution, label=label))

    def _files(self, *where: str, root: Path | None = None) -> _Files:
        files = _Files()
        for path in self.arm.files.get(where, []):
            digest = self.digests.setdefault(path, "") or file_digest(path)
            self.digests[path] = digest
            name = path.relative_to(root).as_posix() if root else path.name
            files.refs += (FileRef(name=name, sha256=digest),)
            files.places[digest] = str(path)
        files.refs = tuple(sorted(files.refs, key=lambda ref: (ref.name, ref.sha256)))  # whatever folder they lie in
        return files

    # --- prompts and benchmark items -----------------------------------------------------------------------------

    def _queries(self, name: str, draws: schema.Draws) -> str:
        queries = self.spec.queries[name]
        draw = draws.get(name) or self.spec.system_messages.draw.get(name) or schema.Draw(always=(1,))
        source, execution = self._source("queries", name, queries)
        recipe = SampleRecipe(
            name=name,
            seed=self.spec.seed,
            source=source,
            draw=Draw(always=self._messages(draw.always), multiple_choice=self._messages(draw.multiple_choice)),
        )
        return self._add(name, recipe, execution)

    def _items(self, name: str) -> str:
        source, execution = self._source("benchmarks", name, self.spec.benchmarks[name])
        return self._add(name, SampleRecipe(name=name, seed=self.spec.seed, source=source), execution)

    def _source(self, section: str, name: str, queries: schema.Queries | schema.Benchmark) -> tuple[Source, Execution]:
        files = self._files(section, name, "path")
        execution = Execution(files=files.places, **_work(self.spec.hardware.other))
        if isinstance(queries, schema.GeneratedQueries | schema.GeneratedBenchmark):
            own = hashlib.sha256(f"{self.spec.seed}/{section}/{name}".encode()).hexdigest()
            puzzles = Puzzles(task=queries.task, size=queries.size, count=queries.take, seed=int(own[:8], 16))
            return Source(format=queries.format, puzzles=puzzles), execution
        fields = queries.fields if isinstance(queries, schema.JsonlQueries | schema.JsonlBenchmark) else {}
        source = Source(
            format=queries.format,
            files=files.refs,
            fields={str(ours): key for ours, key in fields.items()},
            tasks=queries.tasks,
            take=queries.take,
            per_task=queries.per_task,
            sampling=queries.sampling,
        )
        return source, execution

    def _messages(self, numbers: tuple[int, ...]) -> tuple[Message, ...]:
        return tuple(Message(id=number, text=self.arm.messages[number]) for number in numbers)

    def _prompts(self, dataset: str) -> tuple[str, ...]:
        described = self.spec.datasets[dataset]
        if not described.sample:
            return tuple(self._queries(name, described.draw) for name in described.queries)
        # one name for all: subsets of one pool are nested, and arms that only word the prompts anew draw the same ones
        subset = SampleRecipe(name="subset", seed=self.spec.seed, subset=Subset(take=described.sample.take))
        pool = self._prompts(described.sample.from_)
        execution = Execution(**_work(self.spec.hardware.other))
        return (self._add(f"{dataset} of {described.sample.from_}", subset, execution, **{"from": pool}),)

    # --- answers and examples ------------------------------------------------------------------------------------

    def _collect(self, dataset: str) -> str:
        described = self.spec.datasets[dataset]
        teacher = self.spec.teachers[described.teacher]
        endpoint = teacher.endpoint
        files = self._files("teachers", described.teacher, "endpoint", "path")
        questions = self._files("teachers", described.teacher, "endpoint", "questions")
        recording = None
        if isinstance(endpoint, schema.ReplayEndpoint):
            recording = Recording(
                answers=files.refs,
                fields={str(ours): key for ours, key in endpoint.fields.items()},
                questions=questions.refs,
                question_fields={str(ours): key for ours, key in endpoint.question_fields.items()},
            )
        sampling = AskedSampling(**teacher.sampling.model_dump())
        origin: Literal["api", "solver", "replay", "reference"] = "api" if endpoint.kind == "openai" else endpoint.kind
        recipe = CollectRecipe(
            model=teacher.model,
            sampling=sampling,
            origin=origin,
            solver_version=SOLVER_VERSION if origin == "solver" else None,
            recording=recording,
        )
        execution = CollectExecution(
            endpoint=self._endpoint(teacher),
            shards=described.shards,
            files=files.places | questions.places,
            **_work(self.spec.hardware.other),
        )
        return self._add(dataset, recipe, execution, prompts=self._prompts(dataset))

    def _endpoint(self, teacher: schema.Teacher) -> EndpointSettings:
        endpoint = teacher.endpoint
        settings = EndpointSettings(kind=endpoint.kind, budget_usd=self.spec.budget)
        if teacher.price:
            settings = settings.model_copy(update={"price": AskedPrice(**teacher.price.model_dump())})
        if isinstance(endpoint, schema.OpenAIEndpoint | schema.SolverEndpoint):
            limits = {
                "concurrency": endpoint.concurrency,
                "timeout_seconds": endpoint.timeout,
                "attempts": endpoint.attempts,
            }
            settings = settings.model_copy(update=limits)
        if isinstance(endpoint, schema.OpenAIEndpoint):
            names = ("base_url", "api_key_env", "requests_per_minute", "tokens_per_minute")
            settings = settings.model_copy(update={name: getattr(endpoint, name) for name in names})
        return settings

    def _filter(self, dataset: str) -> str:
        filters = self.spec.filters
        recipe = FilterRecipe(
            finish_reasons=filters.finish_reason,
            min_characters=filters.min_characters,
            max_characters=filters.max_characters,
            drop_refusals=filters.refusals == "drop",
            agree_with_reference=filters.agreement,
            drop_duplicates=filters.duplicates == "drop",
            contamination_ngram=filters.contamination.ngram if filters.contamination else None,
        )
        benchmarks = [name for name in self.spec.benchmarks if name not in self.arm.left_out]
        return self._add(
            dataset,
            recipe,
            Execution(**_work(self.spec.hardware.other)),
            responses=(self._collect(dataset),),
            benchmarks=tuple(self._items(name) for name in benchmarks) if filters.contamination else (),
        )

    def _described(self, dataset: str) -> report.Dataset:
        return report.Dataset(
            name=dataset,
            prompts=self._prompts(dataset),
            collect=self._collect(dataset),
            filter=self._filter(dataset),
            teacher=self.spec.datasets[dataset].teacher,
        )

    # --- the student ---------------------------------------------------------------------------------------------

    def _student(self) -> str:
        student, work = self.spec.student, _work(self.spec.hardware.train) | {"gpus": 0}
        if root := self.arm.base:
            files = self._files("student", "base", root=root.absolute())
            recipe = StudentRecipe(seed=self.spec.seed, pretrained=Pretrained(files=files.refs))
            return self._add(root.name, recipe, Execution(files=files.places, **work))
        shape = student.shape or schema.SHAPES[student.size or "tiny"]
        assert student.tokenizer is not None
        scratch = Scratch(
            vocabulary=student.tokenizer.vocabulary,
            positions=student.max_length,
            kv_heads=shape.kv_heads or shape.heads,
            **shape.model_dump(exclude={"kv_heads"}),
        )
        texts = tuple(self._filter(name) for name in student.tokenizer.train_on)
        recipe = StudentRecipe(seed=self.spec.seed, scratch=scratch)
        return self._add(student.size or "scratch", recipe, Execution(**work), texts=texts)

    def _tokenize(self, dataset: str, student: str) -> str:
        recipe = TokenizeRecipe(
            seed=self.spec.seed, max_length=self.spec.student.max_length, packing=self.spec.student.packing
        )
        execution = Execution(**_work(self.spec.hardware.other))
        return self._add(dataset, recipe, execution, examples=(self._filter(dataset),), student=(student,))

    def _train(self, stage: str, rows: str, start: str) -> str:
        described, hardware = self.spec.stages[stage], self.spec.hardware.train
        recipe = TrainRecipe(
            seed=self.spec.seed,
            epochs=described.epochs,
            learning_rate=described.learning_rate,
            schedule=described.schedule,
            warmup=described.warmup,
            batch_rows=described.batch,
            weight_decay=described.weight_decay,
            max_grad_norm=described.max_grad_norm,
            precision=hardware.precision,
        )
        execution = TrainExecution(micro_batch_rows=hardware.micro_batch, **_work(hardware))
        return self._add(f"{self.arm.name}: {stage}", recipe, execution, rows=(rows,), start=(start,))

    def _eval(self, name: str, model: str) -> report.Evaluation:
        benchmark, hardware = self.spec.benchmarks[name], self.spec.hardware.eval
        recipe = EvalRecipe(
            system_id=benchmark.system,
            system=self.arm.messages[benchmark.system],
            temperature=benchmark.temperature,
            top_p=benchmark.top_p,
            max_new_tokens=benchmark.max_tokens,
            seed=self.spec.seed,
            parser=benchmark.parser,
        )
        items = self._items(name)
        execution = EvalExecution(batch_size=hardware.batch, **_work(hardware))
        ref = self._add(f"{self.arm.name}: {name}", recipe, execution, model=(model,), items=(items,))
        return report.Evaluation(benchmark=name, items=items, eval=ref)
