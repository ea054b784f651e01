"""From specs to nodes. Each arm is lowered by itself into one plan; equal nodes meet by their ids.

query source -> sample        dataset -> collect -> filter        student -> student
benchmark    -> sample        stage   -> tokenize -> train (on the stage before)
benchmark of an arm -> eval   baseline on a benchmark -> collect -> eval
spec -> one report over all arms

Every node has an address in its arm (`train/expert`, `queries/few/flan`): what it is for, whatever its id. Two plans
are compared by their addresses, to say why an id moved.

Arms that share the trees of all the sections that a thing is lowered from share what was lowered: a sweep over
learning rates makes its prompts, answers and rows once, not a thousand times.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from orcac.chat.settings import SOLVER_VERSION, EndpointSettings, Sampling
from orcac.collect.recipe import CollectExecution, CollectRecipe, Recording, Weights
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe, Judge
from orcac.filter.recipe import FilterRecipe
from orcac.plan.node import Node
from orcac.plan.plan import BASELINES, Experiment, Plan
from orcac.recipe import Execution, FileRef, Recipe, file_digest
from orcac.report import recipe as report
from orcac.sample.recipe import Draw, Message, Puzzles, SampleExecution, SampleRecipe, Source, Subset
from orcac.spec import schema
from orcac.spec.load import Arm
from orcac.spec.load import Experiment as LoadedExperiment
from orcac.spec.paths import FileSet
from orcac.student.recipe import Pretrained, Scratch, StudentExecution, StudentRecipe
from orcac.tokenize.recipe import TokenizeRecipe
from orcac.train.recipe import TrainExecution, TrainRecipe

_EMPTY = schema.Draw(always=(1,))
_OWN = ("stages", "curriculum")  # sections that nothing shared between arms is lowered from


def lower(plan: Plan, loaded: LoadedExperiment) -> None:
    """Add an experiment's nodes to the plan. Raises InputError where two experiments have one name."""
    spec = loaded.base.spec
    if spec.name in plan.experiments:
        other = plan.experiments[spec.name].spec
        raise InputError(
            f"{loaded.file} and {other} are both named `{spec.name}`",
            fix="give each spec a `name` of its own",
        )
    common = _Common()
    arms = {name: _Arm(plan, arm, common) for name, arm in loaded.arms.items()}
    described = tuple(arm.lower() for arm in arms.values())
    if spec.baselines:
        arms[BASELINES] = _Arm(plan, loaded.base, common)
    baselines = arms[BASELINES].baselines() if spec.baselines else ()
    refs = {name: plan.closure(arm.wanted) for name, arm in arms.items()}
    every = {ref for arm in refs.values() for ref in arm}
    node = Node(
        kind="report",
        recipe=report.ReportRecipe(
            seed=spec.seed,
            arms=(described[0], *sorted(described[1:], key=lambda arm: arm.name)),
            baselines=tuple(sorted(baselines, key=lambda baseline: baseline.name)),
        ),
        inputs={"nodes": tuple(sorted(every))},
        execution=report.ReportExecution(
            title=spec.name,
            about=spec.about,
            order=(*loaded.arms, *spec.baselines, *spec.benchmarks),
            **_work(spec.hardware.other),
        ),
        label=spec.name,
    )
    plan.experiments[spec.name] = Experiment(
        name=spec.name,
        spec=str(loaded.file),
        report=plan.add(node),
        arms=refs,
        addresses={name: arm.addresses for name, arm in arms.items()},
    )


@dataclass(slots=True)
class _Common:
    """What the arms of one experiment share."""

    digests: dict[Path, str] = field(default_factory=dict)  # of local files, each read once
    made: dict[tuple[Any, ...], tuple[Any, dict[str, str]]] = field(default_factory=dict)  # with the addresses in it

    def digest(self, path: Path) -> str:
        """Raises InputError where the file cannot be read to its end, or was removed since it was found."""
        if path not in self.digests:
            try:
                self.digests[path] = file_digest(path)
            except OSError as error:
                fix = "give a file that can be read, then compile again"
                raise InputError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
        return self.digests[path]


@dataclass(slots=True)
class _Files:
    """Local files as content for a recipe, and as places for an execution."""

    refs: tuple[FileRef, ...] = ()
    places: dict[str, str] = field(default_factory=dict)


def _work(work: schema.Work) -> dict[str, Any]:
    return {
        "threads": work.threads,
        "memory_mb": work.memory,
        "minutes": work.time,
        "gpus": getattr(work, "gpus", 0),
    }


_M = TypeVar("_M", bound=Callable[..., Any])


def _once(method: _M) -> _M:
    """Lower a thing once for all arms that have the same sections of the spec, but for how they train."""

    @functools.wraps(method)
    def wrapped(self: _Arm, *arguments: Any) -> Any:
        key = (method.__name__, *arguments, *self.sections)
        if key not in self.common.made:
            outer, self.addresses = self.addresses, {}
            try:
                self.common.made[key] = method(self, *arguments), self.addresses
            finally:
                self.addresses = outer
        made, addresses = self.common.made[key]
        self.addresses |= addresses
        return made

    return wrapped  # type: ignore[return-value]


class _Arm:
    def __init__(self, plan: Plan, arm: Arm, common: _Common) -> None:
        self.plan, self.arm, self.spec, self.common = plan, arm, arm.spec, common
        # a section that no patch touched is one tree for all arms; `stages` and the curriculum are lowered arm by arm
        self.sections = tuple(id(tree) for name, tree in sorted(arm.tree.entries.items()) if name not in _OWN)
        self.addresses: dict[str, str] = {}
        self.wanted: list[str] = []  # what this arm is for: its last stage and its evaluations
        seed = self.spec.student.seed
        self.train_seed = self.spec.seed if seed is None else seed

    def lower(self) -> report.Arm:
        spec = self.spec
        datasets = {stage: spec.stages[stage].dataset for stage in spec.curriculum}
        student = self._student()
        stages, model = [], student
        for name in spec.curriculum:
            rows = self._tokenize(datasets[name])
            model = self._train(name, rows, model)
            stages.append(report.Stage(name=name, dataset=datasets[name], tokenize=rows, train=model))
        self.wanted.append(model)
        evaluations = tuple(self._eval(name, model) for name in sorted(self._benchmarks()))
        return report.Arm(
            name=self.arm.name,
            student=student,
            datasets=tuple(self._described(name) for name in dict.fromkeys(datasets.values())),
            stages=tuple(stages),
            evaluations=evaluations,
        )

    def baselines(self) -> tuple[report.Baseline, ...]:
        """Each baseline's answers to each benchmark that has right ones, scored as the arms' are."""
        scored = [
            name
            for name in sorted(self._benchmarks())
            if not isinstance(self.spec.benchmarks[name], schema.OpenBenchmark)
        ]
        return tuple(
            report.Baseline(name=teacher, evaluations=tuple(self._baseline(teacher, name) for name in scored))
            for teacher in self.spec.baselines
        )

    def _benchmarks(self) -> list[str]:
        return [name for name in self.spec.benchmarks if name not in self.arm.left_out]

    def _add(
        self,
        address: str,
        recipe: Recipe,
        execution: Execution,
        *,
        label: str,
        waits: tuple[str, ...] = (),
        **inputs: tuple[str, ...],
    ) -> str:
        kind = type(recipe).__module__.split(".")[1]
        node = Node(kind=kind, recipe=recipe, inputs=inputs, execution=execution, label=label, waits=waits)
        self.addresses[address] = self.plan.add(node)
        return self.addresses[address]

    def _files(self, found: FileSet | None) -> _Files:
        files = _Files()
        for path in found.files if found else ():
            digest = self.common.digest(path)
            name = path.relative_to(found.root).as_posix() if found and found.root else path.name
            files.refs += (FileRef(name=name, sha256=digest),)
            files.places[digest] = str(path)
        files.refs = tuple(sorted(files.refs, key=lambda ref: (ref.name, ref.sha256)))  # whatever folder they lie in
        return files

    # --- prompts and benchmark items -----------------------------------------------------------------------------

    @_once
    def _queries(self, dataset: str, name: str) -> str:
        """The prompts of a source, worded for a dataset."""
        draw = self.spec.datasets[dataset].draw.get(name) or self.spec.system_messages.draw.get(name) or _EMPTY
        source, execution, waits = self._source("queries", name, self.spec.queries[name])
        drawn = Draw(
            always=self._messages(draw.always),
            multiple_choice=self._messages(draw.multiple_choice),
            alone=draw.mix == "alone" and bool(draw.multiple_choice),
        )
        recipe = SampleRecipe(name=name, seed=self.spec.seed, source=source, draw=drawn)
        return self._add(f"queries/{dataset}/{name}", recipe, execution, label=name, waits=waits)

    @_once
    def _items(self, name: str, asked: bool = False) -> str:
        """A benchmark's items; `asked`: each with the benchmark's system message, as another model is asked."""
        benchmark = self.spec.benchmarks[name]
        source, execution, waits = self._source("benchmarks", name, benchmark)
        recipe = SampleRecipe(name=name, seed=self.spec.seed, source=source)
        if asked:
            recipe = recipe.model_copy(update={"draw": Draw(always=self._messages((benchmark.system,)))})
        return self._add(f"{'asked' if asked else 'items'}/{name}", recipe, execution, label=name, waits=waits)

    def _source(
        self, section: str, name: str, queries: schema.Queries | schema.Benchmark
    ) -> tuple[Source, SampleExecution, tuple[str, ...]]:
        work = _work(self.spec.hardware.other)
        if isinstance(queries, schema.GeneratedQueries | schema.GeneratedBenchmark):
            own = hashlib.sha256(f"{self.spec.seed}/{section}/{name}".encode()).hexdigest()
            puzzles = Puzzles(task=queries.task, size=queries.size, count=queries.take, seed=int(own[:8], 16))
            return Source(format=queries.format, puzzles=puzzles), SampleExecution(**work), ()
        found = self.arm.files[section, name, "path"]
        files = self._files(found)
        fields = getattr(queries, "fields", {})
        source = Source(
            format="jsonl" if queries.format == "open-ended" else queries.format,
            files=files.refs,
            hub=found.hub,
            absent=found.absent,
            fields={str(ours): key for ours, key in fields.items()},
            tasks=queries.tasks,
            take=queries.take,
            per_task=queries.per_task,
            sampling=queries.sampling,
        )
        expect = queries.expect
        execution = SampleExecution(
            files=files.places, expect_queries=expect.queries, expect_tokens=expect.tokens, **work
        )
        return source, execution, (f"{section}.{name}: {found.why}",) if found.absent else ()

    def _messages(self, numbers: tuple[int, ...]) -> tuple[Message, ...]:
        return tuple(Message(id=number, text=self.arm.messages[number]) for number in numbers)

    @_once
    def _prompts(self, dataset: str, worded: str = "") -> tuple[str, ...]:
        """A dataset's prompts. `worded` is the dataset whose system messages they get, where it is another."""
        described = self.spec.datasets[dataset]
        if not described.sample:
            return tuple(self._queries(worded or dataset, name) for name in described.queries)
        # one name for all: subsets of one pool are nested, and arms that only word the prompts anew draw the same ones
        subset = SampleRecipe(name="subset", seed=self.spec.seed, subset=Subset(take=described.sample.take))
        anew = worded or (dataset if described.draw else "")
        pool = self._prompts(described.sample.from_, anew)
        execution = SampleExecution(**_work(self.spec.hardware.other))
        label = f"{dataset} of {described.sample.from_}"
        address = f"subset/{worded}/{dataset}" if worded else f"subset/{dataset}"
        return (self._add(address, subset, execution, label=label, **{"from": pool}),)

    # --- answers and examples ------------------------------------------------------------------------------------

    @_once
    def _collect(self, dataset: str) -> str:
        described = self.spec.datasets[dataset]
        return self._asked(
            f"collect/{dataset}",
            described.teacher,
            self._prompts(dataset),
            label=dataset,
            shards=described.shards,
        )

    def _asked(
        self, address: str, teacher: str, prompts: tuple[str, ...], *, label: str, shards: int = 1, max_tokens: int = 0
    ) -> str:
        """The answers of a teacher, or of a baseline, to prompts."""
        described = self.spec.teachers[teacher]
        endpoint = described.endpoint
        found = self.arm.files.get(("teachers", teacher, "endpoint", "path"), FileSet())
        files = self._files(found)
        questions = self._files(self.arm.files.get(("teachers", teacher, "endpoint", "questions")))
        recording = None
        if isinstance(endpoint, schema.ReplayEndpoint):
            recording = Recording(
                answers=files.refs,
                hub=found.hub,
                fields={str(ours): key for ours, key in endpoint.fields.items()},
                questions=questions.refs,
                question_fields={str(ours): key for ours, key in endpoint.question_fields.items()},
            )
        weights = None
        if isinstance(endpoint, schema.LocalEndpoint):
            weights = Weights(files=files.refs, hub=found.hub[0] if found.hub else None)
        origin: Literal["api", "local", "solver", "replay", "reference"] = "api"  # who serves it decides no answer
        if not isinstance(endpoint, schema.OpenAIEndpoint | schema.VLLMEndpoint):
            origin = endpoint.kind
        recipe = CollectRecipe(
            model=described.model,
            sampling=self._sampling(described, max_tokens),
            origin=origin,
            solver_version=SOLVER_VERSION if origin == "solver" else None,
            recording=recording,
            weights=weights,
        )
        settings = self._endpoint(described)
        execution = CollectExecution(
            endpoint=settings,
            shards=shards,
            expect_tokens=described.expect,
            files=files.places | questions.places,
            **_work(self.spec.hardware.other) | {"gpus": getattr(endpoint, "gpus", 0)},
        )
        return self._add(address, recipe, execution, label=label, prompts=prompts)

    def _sampling(self, teacher: schema.Teacher, max_tokens: int = 0) -> Sampling:
        sampling = teacher.sampling
        return sampling.model_copy(update={"max_tokens": max_tokens}) if max_tokens else sampling

    def _endpoint(self, teacher: schema.Teacher) -> EndpointSettings:
        endpoint = teacher.endpoint
        settings = EndpointSettings(kind=endpoint.kind)
        if self.spec.budget is not None:
            budget = {"budget_usd": self.spec.budget, "budget_name": self.spec.name}
            settings = settings.model_copy(update=budget)
        if teacher.price:
            settings = settings.model_copy(update={"price": teacher.price})
        if isinstance(endpoint, schema.OpenAIEndpoint | schema.VLLMEndpoint | schema.SolverEndpoint):
            limits = {
                "concurrency": endpoint.concurrency,
                "timeout_seconds": endpoint.timeout,
                "attempts": endpoint.attempts,
            }
            settings = settings.model_copy(update=limits)
        if isinstance(endpoint, schema.OpenAIEndpoint):
            names = ("base_url", "azure", "mode", "requests_per_minute", "tokens_per_minute")
            key = endpoint.api_key_env or ("AZURE_OPENAI_API_KEY" if endpoint.azure else "OPENAI_API_KEY")
            update = {name: getattr(endpoint, name) for name in names} | {"api_key_env": key}
            settings = settings.model_copy(update=update)
        if isinstance(endpoint, schema.VLLMEndpoint):
            update = {"path": endpoint.path, "arguments": endpoint.arguments, "start_seconds": endpoint.ready_within}
            settings = settings.model_copy(update=update)
        if isinstance(endpoint, schema.LocalEndpoint):
            update = {"batch": endpoint.batch, "concurrency": 4 * endpoint.batch}
            settings = settings.model_copy(update=update)
        return settings

    @_once
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
        return self._add(
            f"filter/{dataset}",
            recipe,
            Execution(**_work(self.spec.hardware.other)),
            label=dataset,
            responses=(self._collect(dataset),),
            benchmarks=tuple(sorted(map(self._items, self._benchmarks()))) if filters.contamination else (),
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

    @_once
    def _student(self) -> str:
        student, work = self.spec.student, _work(self.spec.hardware.train) | {"gpus": 0}
        if student.base is not None:
            found = self.arm.files["student", "base"]
            files = self._files(found)
            pretrained = Pretrained(files=files.refs, hub=found.hub[0] if found.hub else None)
            name = found.hub[0].repo if found.hub else (found.root or found.files[0]).name
            recipe = StudentRecipe(seed=self.spec.seed, pretrained=pretrained)
            execution = StudentExecution(files=files.places, like=student.like, **work)
            return self._add("student", recipe, execution, label=name)
        shape = student.shape or schema.SHAPES[student.size or "tiny"]
        assert student.tokenizer is not None
        scratch = Scratch(
            vocabulary=student.tokenizer.vocabulary,
            positions=student.max_length,
            kv_heads=shape.kv_heads or shape.heads,
            **shape.model_dump(exclude={"kv_heads"}),
        )
        texts = tuple(self._filter(name) for name in student.tokenizer.train_on)
        recipe = StudentRecipe(seed=self.train_seed, scratch=scratch)
        return self._add("student", recipe, StudentExecution(**work), label=student.size or "scratch", texts=texts)

    @_once
    def _tokenize(self, dataset: str) -> str:
        recipe = TokenizeRecipe(
            seed=self.spec.seed, max_length=self.spec.student.max_length, packing=self.spec.student.packing
        )
        return self._add(
            f"tokenize/{dataset}",
            recipe,
            Execution(**_work(self.spec.hardware.other)),
            label=dataset,
            examples=(self._filter(dataset),),
            student=(self._student(),),
        )

    def _train(self, stage: str, rows: str, start: str) -> str:
        described, hardware = self.spec.stages[stage], self.spec.hardware.train
        recipe = TrainRecipe(
            seed=self.train_seed,
            epochs=described.epochs,
            tokens=described.tokens,
            learning_rate=described.learning_rate,
            schedule=described.schedule,
            warmup=described.warmup,
            batch_rows=described.batch.rows(self.spec.student.max_length),
            weight_decay=described.weight_decay,
            max_grad_norm=described.max_grad_norm,
            precision=hardware.precision,
            optimizer=described.optimizer,
        )
        execution = TrainExecution(
            micro_batch_rows=hardware.micro_batch,
            nodes=hardware.nodes,
            processes=hardware.processes,
            zero=hardware.zero,
            offload=hardware.offload,
            recompute=hardware.recompute,
            compile=hardware.compile,
            gpu=hardware.gpu,
            mfu=hardware.mfu,
            usd_per_gpu_hour=hardware.price,
            **_work(hardware),
        )
        if start.startswith("train/"):
            self.plan.keep_optimizer(start)
        return self._add(
            f"train/{stage}", recipe, execution, label=f"{self.arm.name}: {stage}", rows=(rows,), start=(start,)
        )

    # --- evaluations ---------------------------------------------------------------------------------------------

    def _eval(self, name: str, model: str) -> report.Evaluation:
        benchmark, items = self.spec.benchmarks[name], self._items(name)
        recipe, execution = self._protocol(name)
        inputs: dict[str, tuple[str, ...]] = {"model": (model,), "items": (items,)}
        waits: tuple[str, ...] = ()
        if isinstance(benchmark, schema.OpenBenchmark):
            inputs["against"] = tuple(self._replies(teacher, name) for teacher in benchmark.against)
            waits = (f"benchmarks.{name}: this version plans and prices judging but does not judge",)
        label = f"{self.arm.name}: {name}"
        ref = self._add(f"eval/{name}", recipe, execution, label=label, waits=waits, **inputs)
        self.wanted.append(ref)
        return report.Evaluation(benchmark=name, items=items, eval=ref)

    @_once
    def _protocol(self, name: str) -> tuple[EvalRecipe, EvalExecution]:
        benchmark, hardware = self.spec.benchmarks[name], self.spec.hardware.eval
        judge = self.spec.teachers[benchmark.judge] if isinstance(benchmark, schema.OpenBenchmark) else None
        recipe = EvalRecipe(
            system_id=benchmark.system,
            system=self.arm.messages[benchmark.system],
            temperature=benchmark.temperature,
            top_p=benchmark.top_p,
            max_new_tokens=benchmark.max_tokens,
            seed=self.spec.seed,
            parser=getattr(benchmark, "parser", "final-answer"),
            judge=Judge(
                model=judge.model,
                sampling=self._sampling(judge),
                origin="solver" if judge.endpoint.kind == "solver" else "api",
            )
            if judge
            else None,
        )
        execution = EvalExecution(
            batch_size=hardware.batch,
            gpu=hardware.gpu,
            judge=self._endpoint(judge) if judge else None,
            **_work(hardware),
        )
        return recipe, execution

    @_once
    def _replies(self, teacher: str, name: str) -> str:
        """What a teacher answers to a benchmark's items."""
        prompts = (self._items(name, True),)
        most = self.spec.benchmarks[name].max_tokens
        address = f"replies/{teacher}/{name}"
        return self._asked(address, teacher, prompts, label=f"{teacher} on {name}", max_tokens=most)

    def _baseline(self, teacher: str, name: str) -> report.Evaluation:
        recipe, execution = self._protocol(name)
        items, replies = self._items(name), self._replies(teacher, name)
        # it was sampled as the teacher is, and no GPU of ours answers
        sampled = {"temperature": 0.0, "top_p": 1.0, "seed": 0}
        ref = self._add(
            f"baseline/{teacher}/{name}",
            recipe.model_copy(update=sampled),
            execution.model_copy(update={"gpus": 0}),
            label=f"{teacher}: {name}",
            answers=(replies,),
            items=(items,),
        )
        self.wanted.append(ref)
        return report.Evaluation(benchmark=name, items=items, eval=ref)
