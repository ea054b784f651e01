"""Lowers a spec to nodes. Each arm is lowered by itself into one plan; equal nodes of two arms have one id.

    query source -> sample        dataset -> collect -> filter        student -> student
    benchmark    -> sample        stage   -> tokenize -> train (on the stage before)
    benchmark of an arm -> eval -> score   baseline on a benchmark -> collect -> score
    spec -> one report over all arms, unless it only collects answers: then its filters are the nodes to make

An arm is lowered once for each draw of its data, and its stages and evaluations once for each run on a draw
(replicates.py). The runs on one draw share everything up to the packed rows, and the tokenizer of the first run.

Every node has an address in its arm (`train/expert`, `queries/few/flan`), which depends on names in the spec and not on
the node's id. Two plans are compared by addresses, to find out why an id changed.

This module builds the graph. The recipes come from `sources.py`, `asking.py` and `recipes.py`.

Arms share the nodes of every section that no patch changed: a sweep over learning rates lowers its prompts, answers and
rows once, not a thousand times.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Concatenate, Literal, ParamSpec, TypeGuard, TypeVar, cast

from orcac.chat.settings import EndpointSettings, Sampling
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe
from orcac.filter.recipe import FilterExecution
from orcac.plan.asking import lower_endpoint, lower_judging, lower_protocol, lower_teacher
from orcac.plan.data import StageData, StagePart, find_size, lower_rows, read_data
from orcac.plan.earlier import list_earlier
from orcac.plan.node import Node
from orcac.plan.plan import BASELINES, Experiment, Plan
from orcac.plan.recipes import (
    find_score_matching,
    lower_filters,
    lower_rating,
    lower_schedule,
    lower_shape,
    lower_stage,
    lower_train_work,
    lower_work,
    training_seed,
)
from orcac.plan.replicates import Replicate, draw_mark, draw_seed
from orcac.plan.sources import FileDigests, LocalFiles, find_matching, lower_file_source, lower_puzzles
from orcac.rate.recipe import RateExecution, RateRecipe
from orcac.recipe import Execution, Recipe
from orcac.report import recipe as report
from orcac.sample.recipe import Draw, Form, Message, SampleExecution, SampleRecipe, Source, Subset
from orcac.score.recipe import Judge, JudgePrompt, ScoreExecution, ScoreRecipe
from orcac.spec import schema
from orcac.spec.arms import BASE
from orcac.spec.filters import find_filters
from orcac.spec.judges import find_judge, list_judged_baselines
from orcac.spec.load import Arm
from orcac.spec.load import Experiment as LoadedExperiment
from orcac.spec.paths import FileSet
from orcac.spec.same_as import find_price, find_twins
from orcac.student.recipe import Pretrained, StudentExecution, StudentRecipe
from orcac.tokenize.recipe import AnswerPrice, TokenizeExecution, TokenizeRecipe
from orcac.train.recipe import TrainRecipe

P = ParamSpec("P")
R = TypeVar("R")

_EMPTY_MESSAGE = schema.Draw(always=(1,))
_TRAINING = ("stages", "curriculum", "replicates")  # lowered arm by arm; nothing shared depends on these sections
_WITHOUT_FILES = ("datasets", "filters")  # sections that name no file, so that their values are all that they state


def lower(plan: Plan, loaded: LoadedExperiment) -> None:
    """Add an experiment's nodes to the plan. Raises InputError if the plan has an experiment of that name."""
    spec = loaded.base.spec
    if spec.name in plan.experiments:
        other = plan.experiments[spec.name].spec
        raise InputError(
            f"{loaded.file} and {other} are both named `{spec.name}`",
            fix="give each spec a `name` of its own",
        )
    cache = _Cache(loaded.arms)
    arms: dict[str, list[_ArmLowering]] = {}
    parts = []
    for name, arm in loaded.arms.items():
        draws = spec.replicates.data if arm.spec.curriculum or not arm.spec.stages else 1
        arms[name] = [_ArmLowering(plan, arm, cache, draw) for draw in range(draws)]
        first, *others = (run for lowering in arms[name] for run in lowering.lower())
        parts.append(report.Arm(name=name, **dict(first), replicates=tuple(others)))
    if spec.baselines:
        arms[BASELINES] = [_ArmLowering(plan, loaded.base, cache)]
    baselines = arms[BASELINES][0].lower_baselines() if spec.baselines else ()
    refs = {name: plan.closure([ref for arm in draws for ref in arm.targets]) for name, draws in arms.items()}
    all_refs = {ref for arm in refs.values() for ref in arm}
    own = list(dict.fromkeys(ref for draws in arms.values() for arm in draws for ref in arm.targets))
    reported = plan.add(_lower_report(plan, loaded, parts, baselines, all_refs)) if _is_reported(loaded) else ""
    plan.experiments[spec.name] = Experiment(
        name=spec.name,
        spec=str(loaded.file),
        report=reported,
        targets=[reported] if reported else own,
        arms=refs,
        addresses={
            name: {address: ref for arm in draws for address, ref in arm.addresses.items()}
            for name, draws in arms.items()
        },
    )


def _is_reported(loaded: LoadedExperiment) -> bool:
    """Return whether a spec trains or measures a model; one that only collects answers has no report."""
    specs = [arm.spec for arm in loaded.arms.values()]
    return any(spec.baselines or spec.curriculum or (spec.student and spec.benchmarks) for spec in specs)


def _lower_report(
    plan: Plan,
    loaded: LoadedExperiment,
    parts: Sequence[report.Arm],
    baselines: Sequence[report.Baseline],
    refs: Set[str],
) -> Node:
    """Return the report over all arms and baselines, which reads the nodes `refs`."""
    spec, primary = loaded.base.spec, loaded.base.spec.primary or ()
    claims = {name: report.Claim(average=item.average, margin=item.margin) for name, item in spec.benchmarks.items()}
    return Node(
        kind="report",
        recipe=report.ReportRecipe(
            arms=(parts[0], *sorted(parts[1:], key=lambda arm: arm.name)),
            baselines=tuple(sorted(baselines, key=lambda baseline: baseline.name)),
            exploratory=tuple(sorted(name for name, item in spec.benchmarks.items() if not item.primary)),
            claims={name: claim for name, claim in claims.items() if claim != report.Claim()},
            primary=tuple(sorted(primary)),
        ),
        inputs={"nodes": tuple(sorted(refs))},
        execution=report.ReportExecution(
            title=spec.name,
            about=spec.about,
            model=_name_only_model(plan, parts),
            order=(*_order_arms(loaded.arms, primary), *spec.baselines, *spec.benchmarks),
            **lower_work(spec.hardware.other),
        ),
        label=spec.name,
    )


def _order_arms(arms: Iterable[str], primary: Sequence[str]) -> list[str]:
    """Return the base, the primary arms in their own order, and the others in the order of the spec."""
    return [BASE, *primary, *(arm for arm in arms if arm != BASE and arm not in primary)]


@dataclass(slots=True)
class _Cache:
    """Results that the arms of one experiment share."""

    arms: Mapping[str, Arm]
    digests: FileDigests = field(default_factory=FileDigests)
    # (method, arguments, identities of the arm's sections) -> its result, and the addresses of the nodes that it added
    lowered: dict[tuple[object, ...], tuple[object, dict[str, str]]] = field(default_factory=dict)


def _once_per_sections(
    method: Callable[Concatenate[_ArmLowering, P], R],
) -> Callable[Concatenate[_ArmLowering, P], R]:
    """Run a method once for each draw, for all arms that agree in every section of the spec, _TRAINING left out.

    Sections agree if they are one object, or equal in value if they are _WITHOUT_FILES.

    Later arms get the first arm's result, and the addresses that the method added.
    """

    @functools.wraps(method)
    def wrapped(self: _ArmLowering, *args: P.args, **kwargs: P.kwargs) -> R:
        key = (method.__name__, self.draw, *args, *kwargs.items(), *self.sections)
        if key not in self.cache.lowered:
            outer, self.addresses = self.addresses, {}
            try:
                self.cache.lowered[key] = method(self, *args, **kwargs), self.addresses
            finally:
                self.addresses = outer
        result, addresses = self.cache.lowered[key]
        self.addresses |= addresses
        return cast(R, result)

    return wrapped


def _name_only_model(plan: Plan, arms: Sequence[report.Arm]) -> str:
    """Return the name of the model if a spec measures one that it does not train; "" for any other spec."""
    return plan.nodes[arms[0].student].label if len(arms) == 1 and arms[0].student and not arms[0].stages else ""


@dataclass(frozen=True, slots=True)
class _Equal:
    """Rows of other arms, of which a stage has as many examples, or examples of as many dollars."""

    rows: tuple[str, ...]  # tokenize nodes
    answers: tuple[str, ...] = ()  # collect nodes of their parts, for dollars
    prices: tuple[AnswerPrice, ...] = ()  # of these answers


class _ArmLowering:
    """The lowering of one arm into a plan, on one draw of its data.

    The `_add_...` methods return KIND/ID of the node that they added.
    """

    def __init__(self, plan: Plan, arm: Arm, cache: _Cache, draw: int = 0) -> None:
        self.plan, self.arm, self.spec, self.cache, self.draw = plan, arm, arm.spec, cache, draw
        self.seed = draw_seed(arm.spec.seed, draw)  # of the data; the benchmarks' items have the spec's
        self.mark = draw_mark(draw)
        # all arms hold the same tree object for a section that no patch changed
        self.sections = tuple(
            json.dumps(tree.plain()) if name in _WITHOUT_FILES else id(tree)
            for name, tree in sorted(arm.tree.entries.items())
            if name not in _TRAINING
        )
        self.addresses: dict[str, str] = {}
        self.targets: list[str] = []  # the last stage and the evaluations; an arm needs these and their inputs

    def lower(self) -> list[report.Run]:
        """Add the nodes of the arm's runs; return the parts that they play in the report."""
        runs = self.spec.replicates.runs(is_base=self.arm.name == BASE) if self.spec.curriculum else 1
        return [self._lower_run(Replicate(self.draw, number)) for number in range(runs)]

    def _lower_run(self, replicate: Replicate) -> report.Run:
        spec = self.spec
        student = self._add_student(replicate, is_trained=bool(spec.curriculum)) if spec.student else None
        if student and spec.student and spec.student.base and spec.curriculum:
            keeps_apart = any(spec.stages[name].holdout for name in spec.curriculum)  # and measures each on its own
            is_packed = spec.student.packing != "none" and (spec.student.isolation or keeps_apart)
            self.plan.add_rows(student, spec.student.max_length, is_packed=is_packed)
        stages, model = [], student
        for name in spec.curriculum:
            assert model is not None and student is not None
            stage = spec.stages[name]
            data = read_data(stage)
            if spec.student and spec.student.base:
                for part in data.parts:
                    self._expect_reasoning(student, part)
            rows = self._add_rows(name)
            model = self._add_train(name, rows, model, replicate, student=student)
            stages.append(report.TrainedStage(name=name, dataset=data.text, tokenize=rows, train=model))
        # without stages, the datasets are made for their own sake
        trained_on = dict.fromkeys(dataset for name in spec.curriculum for dataset in spec.stages[name].datasets)
        names = trained_on if spec.stages else spec.datasets
        datasets = tuple(self._report_dataset(name) for name in names)
        self.targets += [model] if model else []
        self.targets += [dataset.filter for dataset in datasets]
        evaluations = tuple(
            self._add_evaluation(name, model, replicate) for name in sorted(self._benchmark_names()) if model
        )
        if student and spec.student and spec.student.base and self._has_system_messages():
            self.plan.require_system_role(student)
        return report.Run(
            draw=self.draw,
            student=student,
            datasets=datasets,
            stages=tuple(stages),
            evaluations=evaluations,
        )

    def lower_baselines(self) -> tuple[report.Baseline, ...]:
        """Add each baseline's answers to every benchmark, scored or judged as the arms' answers are.

        A benchmark that reads likelihoods has no row for a baseline, since an API does not give them; nor has one
        whose judge compares answers with those of the baseline itself.
        """
        return tuple(
            report.Baseline(
                name=teacher,
                evaluations=tuple(
                    self._add_baseline(teacher, name)
                    for name in sorted(self._benchmark_names())
                    if self._measures_baseline(teacher, name)
                ),
            )
            for teacher in self.spec.baselines
        )

    def _measures_baseline(self, teacher: str, name: str) -> bool:
        benchmark = self.spec.benchmarks[name]
        if isinstance(benchmark, schema.OpenBenchmark):
            return teacher in list_judged_baselines(self.spec, benchmark)
        return benchmark.method == "generate"

    def _benchmark_names(self) -> list[str]:
        return [name for name in self.spec.benchmarks if name not in self.arm.left_out]

    def _add(
        self,
        address: str,
        recipe: Recipe,
        execution: Execution,
        *,
        label: str,
        mark: str = "",
        blockers: tuple[str, ...] = (),
        inputs: Mapping[str, tuple[str, ...]] | None = None,
    ) -> str:
        """Add a node. `mark` is that of the draw or the replicate that the node is made for."""
        label, address = f"{label} {mark}".rstrip(), address + mark
        kind = type(recipe).__module__.split(".")[1]
        node = Node(
            kind=kind, recipe=recipe, inputs=dict(inputs or {}), execution=execution, label=label, blockers=blockers
        )
        self.addresses[address] = self.plan.add(node)
        return self.addresses[address]

    # --- prompts and benchmark items -----------------------------------------------------------------------------

    @_once_per_sections
    def _add_queries(self, dataset: str, name: str) -> str:
        """Add the prompts of a query source under the system messages of a dataset."""
        draw = self.spec.datasets[dataset].draw.get(name) or self.spec.system_messages.draw.get(name) or _EMPTY_MESSAGE
        queries = self.spec.queries[name]
        seed = self.seed if schema.is_drawn(queries, draw) else self.spec.seed  # all draws share equal prompts
        filters = find_filters(self.spec, dataset)
        checker = filters.checker if filters.agreement else ""
        source, execution, blockers = self._lower_source("queries", name, queries, seed, agreement=checker)
        drawn = Draw(
            always=self._get_messages(draw.always),
            multiple_choice=self._get_messages(draw.multiple_choice),
            alone=draw.mix == "alone" and bool(draw.multiple_choice),
        )
        matching = find_matching(source, self.arm.files.get(("queries", name, "path")), self.cache.digests)
        recipe = SampleRecipe(name=name, seed=seed, source=source, draw=drawn, matching=matching)
        return self._add(f"queries/{dataset}/{name}", recipe, execution, label=name, mark=self.mark, blockers=blockers)

    @_once_per_sections
    def _add_questions(self, name: str) -> str:
        """Add a benchmark's items as questions, which are the same for every way to ask them."""
        benchmark = self.spec.benchmarks[name]
        items: Literal["references"] | None = "references" if "references" in getattr(benchmark, "fields", {}) else None
        checker = ""
        if isinstance(benchmark, schema.ScoredBenchmark) and benchmark.method == "generate":
            checker = benchmark.checkers[0]
        return self._add_benchmark(f"items/{name}", name, items, label=name, checker=checker)

    def _add_benchmark(
        self, address: str, name: str, items: Literal["references", "choices"] | None, *, label: str, checker: str = ""
    ) -> str:
        """Add a benchmark's items; `items` is `Source.items`, and `checker` must be able to score some of them."""
        benchmark = self.spec.benchmarks[name]
        source, execution, blockers = self._lower_source("benchmarks", name, benchmark, self.spec.seed)
        source = source.model_copy(update={"items": items})
        execution = execution.model_copy(update={"checker": checker, "one_message": True})
        matching = find_matching(source, self.arm.files.get(("benchmarks", name, "path")), self.cache.digests)
        recipe = SampleRecipe(name=name, seed=self.spec.seed, source=source, matching=matching)
        return self._add(address, recipe, execution, label=label, blockers=blockers)

    @_once_per_sections
    def _add_items(self, name: str) -> str:
        """Add a benchmark's items, with their choices if these are compared. They have no system message."""
        benchmark = self.spec.benchmarks[name]
        if not _reads_likelihoods(benchmark) or benchmark.method == "loss":
            return self._add_questions(name)
        return self._add_benchmark(f"choices/{name}", name, "choices", label=f"{name}, choices")

    @_once_per_sections
    def _add_scored_items(self, name: str) -> str:
        """Add a benchmark's items as `score` reads them: of Natural Instructions, with all right answers.

        An `eval` node reads these items with the first right answer alone, as before there were several: answers do not
        depend on it, and finished evaluations keep their ids.
        """
        benchmark = self.spec.benchmarks[name]
        if benchmark.format != "natural-instructions" or benchmark.method != "generate":
            return self._add_items(name)
        return self._add_benchmark(f"references/{name}", name, "references", label=f"{name}, scored")

    @_once_per_sections
    def _add_asked(self, name: str) -> str:
        """Add a benchmark's items in the form in which models are asked, with the benchmark's system message."""
        benchmark = self.spec.benchmarks[name]
        form = Form(system=self._get_messages((benchmark.system,))[0])
        examples = LocalFiles()
        if not isinstance(benchmark, schema.OpenBenchmark):
            examples = self.cache.digests.lower(self.arm.files.get(("benchmarks", name, "examples")))
            form = form.model_copy(
                update={
                    "shots": benchmark.shots or 0,
                    "examples": examples.refs,
                    "instruction": benchmark.instruction,
                    "cue": benchmark.cue,
                }
            )
        if form == Form():
            return self._add_items(name)
        seed = self.spec.seed if form.shots else 0  # nothing else is drawn
        return self._add(
            f"asked/{name}",
            SampleRecipe(name="form", seed=seed, form=form),
            SampleExecution(files=examples.paths, **lower_work(self.spec.hardware.other)),
            label=f"{name} as asked",
            inputs={"from": (self._add_items(name),)},
        )

    def _lower_source(
        self, section: str, name: str, queries: schema.Queries | schema.Benchmark, seed: int, *, agreement: str = ""
    ) -> tuple[Source, SampleExecution, tuple[str, ...]]:
        """Return a source, the execution of the node that reads it, and the reasons that keep the node from running.

        `agreement` is the checker that will compare answers with the references of the source, if any does.
        """
        resources = lower_work(self.spec.hardware.other)
        if isinstance(queries, schema.GeneratedQueries | schema.GeneratedBenchmark):
            return lower_puzzles(queries, seed, f"{section}/{name}"), SampleExecution(**resources), ()
        file_set = self.arm.files[section, name, "path"]
        local = self.cache.digests.lower(file_set)
        execution = SampleExecution(
            files=local.paths,
            expect_queries=queries.expect.queries,
            expect_tokens=queries.expect.tokens,
            allow_empty=queries.allow_empty,
            agreement=agreement,
            max_bad=queries.max_bad,
            **resources,
        )
        blockers = (f"{section}.{name}: {file_set.why}",) if file_set.absent else ()
        return lower_file_source(queries, file_set, local, seed=seed), execution, blockers

    def _get_messages(self, numbers: tuple[int, ...]) -> tuple[Message, ...]:
        return tuple(Message(id=number, text=self.arm.messages[number]) for number in numbers)

    @_once_per_sections
    def _add_prompts(self, name: str, draw_of: str = "") -> tuple[str, ...]:
        """Add the prompts of a dataset, under the system messages of the dataset `draw_of` if that is given."""
        dataset = self.spec.datasets[name]
        if not dataset.sample:
            return tuple(self._add_queries(draw_of or name, queries) for queries in dataset.queries)
        # Every subset has the recipe name "subset". So a smaller subset of a pool is part of a larger one, and an arm
        # that changes only the system messages draws the same queries.
        sample = dataset.sample
        subset = SampleRecipe(
            name="subset",
            seed=self.seed,
            subset=Subset(take=sample.take, between=sample.between, prefer=sample.prefer),
        )
        rated = (self._add_rating(sample.from_, sample.by),) if sample.by else ()
        pool = self._add_prompts(sample.from_, draw_of or (name if dataset.draw else ""))
        return (
            self._add(
                f"subset/{draw_of}/{name}" if draw_of else f"subset/{name}",
                subset,
                SampleExecution(**lower_work(self.spec.hardware.other)),
                label=f"{name} of {sample.from_}",
                mark=self.mark,
                inputs={"from": pool, "rated": rated},
            ),
        )

    # --- answers and examples ------------------------------------------------------------------------------------

    @_once_per_sections
    def _add_collect(self, name: str) -> str:
        dataset = self.spec.datasets[name]
        first = self.draw * dataset.samples  # the draws of the data have samples of their own
        return self._add_answers(
            f"collect/{name}",
            dataset.teacher,
            self._add_prompts(name),
            label=name,
            mark=self.mark,
            sample_index=first if self.spec.teachers[dataset.teacher].is_sampled else 0,
            samples=dataset.samples,
            contamination=find_filters(self.spec, name).contamination,
            shards=dataset.shards,
        )

    def _add_answers(
        self,
        address: str,
        name: str,
        prompts: tuple[str, ...],
        *,
        label: str,
        mark: str = "",
        sampling: Sampling | None = None,
        sample_index: int = 0,
        samples: int = 1,
        contamination: schema.Contamination | None = None,
        shards: int = 1,
    ) -> str:
        """Add the answers of the teacher or baseline `name` to prompts.

        `sampling` is that of a benchmark, and replaces the teacher's own. A model that refuses a part of it is asked
        without that part.
        """
        teacher = self.spec.teachers[name]
        recipe, files = self._lower_teacher(name, sampling=sampling, sample_index=sample_index, samples=samples)
        execution = CollectExecution(
            endpoint=self._lower_endpoint(name, may_omit=sampling is not None),
            shards=shards,
            max_bad=getattr(teacher.endpoint, "max_bad", None),
            expect_tokens=teacher.expect,
            files=files,
            **lower_work(self.spec.hardware.other, gpus=getattr(teacher.endpoint, "gpus", 0)),
        )
        inputs = {"prompts": prompts}
        if contamination and contamination.before_asking:
            recipe = recipe.model_copy(update={"contamination_ngram": contamination.ngram})
            inputs["benchmarks"] = self._add_every_benchmark()
        return self._add(address, recipe, execution, label=label, mark=mark, inputs=inputs)

    def _lower_teacher(
        self, name: str, *, sampling: Sampling | None = None, sample_index: int = 0, samples: int = 1
    ) -> tuple[CollectRecipe, dict[str, str]]:
        """Return the recipe for asking the teacher `name`, and its local files (sha256 -> path)."""
        file_set = self.arm.files.get(("teachers", name, "endpoint", "path"), FileSet())
        local = self.cache.digests.lower(file_set)
        questions = self.cache.digests.lower(self.arm.files.get(("teachers", name, "endpoint", "questions")))
        recipe = lower_teacher(
            self.spec.teachers[name],
            files=local,
            hub=file_set.hub,
            questions=questions,
            sampling=sampling,
            sample_index=sample_index,
            samples=samples,
        )
        return recipe, local.paths | questions.paths

    def _lower_endpoint(self, name: str, *, may_omit: bool) -> EndpointSettings:
        """Return the settings for reaching the teacher `name`. A path of weights that exists becomes absolute."""
        settings = lower_endpoint(
            self.spec.teachers[name], budget_usd=self.spec.budget, budget_name=self.spec.name, may_omit=may_omit
        )
        if settings.path:
            folder = self.arm.tree.locate(("teachers", name, "endpoint", "path")).folder.absolute()
            if (folder / settings.path).exists():
                return settings.model_copy(update={"path": str(folder / settings.path)})
        return settings

    @_once_per_sections
    def _add_filter(self, dataset: str) -> str:
        filters = find_filters(self.spec, dataset)
        return self._add(
            f"filter/{dataset}",
            lower_filters(filters, self.seed),
            FilterExecution(allow_empty=filters.allow_empty, **lower_work(self.spec.hardware.other)),
            label=dataset,
            mark=self.mark,
            inputs={
                "responses": (self._add_collect(dataset),),
                "benchmarks": self._add_every_benchmark() if filters.contamination else (),
                "rated": self._add_selecting_rating(dataset, filters.select),
            },
        )

    def _add_selecting_rating(self, dataset: str, select: schema.Selection | None) -> tuple[str, ...]:
        """Add the ratings by which a filter selects answers; none unless a judge does."""
        if select is None or select.by != "judged":
            return ()
        assert select.judge is not None
        return (self._add_rating(dataset, schema.ByJudge(judge=select.judge)),)

    @_once_per_sections
    def _add_rating(self, dataset: str, by: schema.Measure) -> str:
        """Add the ratings of the answers of a dataset."""
        if isinstance(by, schema.ByJudge):
            name, label = by.judge, f"{dataset} by {by.judge}"
            judge, endpoint, work = self._lower_judge(self.spec.judges[name], self.arm.prompts[name])
            recipe, execution = RateRecipe(by="judge", judge=judge), RateExecution(judge=endpoint, **work)
        else:
            name, label = by, f"{dataset} by {by.replace('_', ' ')}"
            recipe = lower_rating(by, find_filters(self.spec, dataset))
            execution = RateExecution(**lower_work(self.spec.hardware.other))
        return self._add(
            f"rate/{dataset}/{name}",
            recipe,
            execution,
            label=label,
            mark=self.mark,
            inputs={"responses": (self._add_collect(dataset),)},
        )

    def _add_every_benchmark(self) -> tuple[str, ...]:
        """Add the items of each benchmark, with which texts are compared for contamination."""
        return tuple(sorted(map(self._add_questions, self._benchmark_names())))

    def _report_dataset(self, dataset: str) -> report.Dataset:
        return report.Dataset(
            name=dataset,
            prompts=self._add_prompts(dataset),
            collect=self._add_collect(dataset),
            filter=self._add_filter(dataset),
            teacher=self.spec.datasets[dataset].teacher,
        )

    @_once_per_sections
    def _draws_system_messages(self, dataset: str) -> bool:
        """Return whether a dataset has prompts with a system message, as far as the spec tells."""
        nodes = (self.plan.nodes[ref] for ref in self.plan.closure([*self._add_prompts(dataset)]))
        recipes = [node.recipe for node in nodes if isinstance(node.recipe, SampleRecipe)]
        draws = [one.draw for one in recipes if one.source]
        drawn = (message.text for draw in draws for message in (*draw.always, *draw.multiple_choice))
        return any(drawn) or any(one.source and "system" in one.source.fields for one in recipes)

    # --- the student ---------------------------------------------------------------------------------------------

    @_once_per_sections
    def _add_student(self, replicate: Replicate, *, is_trained: bool = True) -> str:
        """Add the student. A pretrained one that is only measured keeps its files as they are."""
        student, resources = self.spec.student, lower_work(self.spec.hardware.train)
        assert student is not None
        if student.base is not None:  # its weights are the same for all replicates
            file_set = self.arm.files["student", "base"]
            local = self.cache.digests.lower(file_set)
            pretrained = Pretrained(files=local.refs, hub=file_set.hub[0] if file_set.hub else None)
            template: dict[str, object] = {"system_role": student.system_role}
            template |= {"keeps_template": is_trained and student.template == "own"}
            template |= {"date": student.date} if student.date else {}
            pretrained = pretrained.model_copy(update={"is_trained": is_trained, **template})
            name = file_set.hub[0].repo if file_set.hub else (file_set.root or file_set.files[0]).name
            recipe = StudentRecipe(seed=self.spec.seed, pretrained=pretrained)
            execution = StudentExecution(files=local.paths, like=student.like, **resources)
            return self._add("student", recipe, execution, label=name)
        assert student.tokenizer is not None
        inputs: dict[str, tuple[str, ...]]
        if replicate.run:
            inputs = {"tokenizer": (self._add_student(Replicate(replicate.draw)),)}
        else:
            inputs = {"texts": tuple(self._add_filter(name) for name in student.tokenizer.train_on)}
        return self._add(
            "student",
            StudentRecipe(seed=training_seed(self.spec, replicate), scratch=lower_shape(student)),
            StudentExecution(**resources),
            label=student.size or "scratch",
            mark=replicate.mark,
            inputs=inputs,
        )

    def _expect_reasoning(self, student: str, part: StagePart) -> None:
        """Make the student check its chat template if it learns the reasoning of a part of a stage's data."""
        teacher = self.spec.teachers[self.spec.datasets[part.dataset].teacher]
        endpoint, is_certain = teacher.endpoint, False
        if not part.learns_reasoning or isinstance(endpoint, schema.ReferenceEndpoint):
            return
        if isinstance(endpoint, schema.ReplayEndpoint):
            is_certain = "reasoning" in endpoint.fields
        elif isinstance(endpoint, schema.SolverEndpoint):
            is_certain = bool(teacher.sampling.extra.get("reasoning"))
        if is_certain or not isinstance(endpoint, schema.ReplayEndpoint | schema.SolverEndpoint):
            self.plan.expect_reasoning(student, is_certain=is_certain)

    def _has_system_messages(self) -> bool:
        """Return whether the student learns from, or is asked, a conversation with a system message."""
        asked = (self.arm.messages[self.spec.benchmarks[name].system] for name in self._benchmark_names())
        names = dict.fromkeys(name for stage in self.spec.curriculum for name in self.spec.stages[stage].datasets)
        return any(asked) or any(map(self._draws_system_messages, names))

    def _add_rows(self, stage: str) -> str:
        """Add the rows of the stage `stage`."""
        given = self.spec.stages[stage]
        figure, _ = find_size(given)
        return self._add_tokenize(read_data(given), self._find_equal(stage, figure) if figure else None)

    def _find_equal(self, stage: str, figure: Literal["examples", "dollars"]) -> _Equal:
        """Add the rows of which a stage has as many examples, or the dollars."""
        found = []
        for twin in find_twins(self._list_specs(), self.arm.name, stage, figure):
            other = self._lower_other(twin.arm)
            answers: tuple[str, ...] = ()
            prices: tuple[AnswerPrice, ...] = ()
            if figure == "dollars":
                data = read_data(other.spec.stages[twin.stage])
                names = [part.dataset for part in other._lower_rows(data)[1]]
                answers, prices = other._add_priced(names)
            found.append(_Equal((other._add_rows(twin.stage),), answers, prices))
        found.sort(key=lambda one: one.rows)
        return _Equal(
            rows=tuple(ref for one in found for ref in one.rows),
            answers=tuple(ref for one in found for ref in one.answers),
            prices=tuple(price for one in found for price in one.prices),
        )

    def _add_priced(self, datasets: Sequence[str]) -> tuple[tuple[str, ...], tuple[AnswerPrice, ...]]:
        """Add the answers to datasets, and return their prices as well."""
        return tuple(map(self._add_collect, datasets)), tuple(find_price(self.spec, name) for name in datasets)

    def _list_specs(self) -> dict[str, schema.Spec]:
        return {name: arm.spec for name, arm in self.cache.arms.items()}

    def _lower_other(self, arm: str) -> _ArmLowering:
        """Return the lowering of another arm on the same draw of the data."""
        return _ArmLowering(self.plan, self.cache.arms[arm], self.cache, self.draw)

    def _lower_rows(self, data: StageData) -> tuple[TokenizeRecipe, tuple[StagePart, ...], dict[str, str]]:
        """Return the recipe of rows, their parts in its order, and the filter node of each dataset."""
        examples = {part.dataset: self._add_filter(part.dataset) for part in data.parts}
        return *lower_rows(data, self.spec, self.seed, examples), examples

    @_once_per_sections
    def _add_tokenize(self, data: StageData, equal: _Equal | None = None) -> str:
        """Add the rows of a stage, from one dataset or from a mixture of several, as large as the rows `equal`."""
        recipe, parts, examples = self._lower_rows(data)
        names = tuple(part.dataset for part in parts)
        inputs: dict[str, tuple[str, ...]] = {}
        if equal and recipe.mixture:
            inputs = {"same_as": equal.rows, "same_answers": equal.answers}
            if equal.answers:
                inputs["answers"], prices = self._add_priced(names)
                mixture = recipe.mixture.model_copy(update={"prices": prices, "same_prices": equal.prices})
                recipe = recipe.model_copy(update={"mixture": mixture})
        measure = data.measure if data.order and data.order.is_by_value else None
        rated = tuple(self._add_rating(data.rated or name, measure) for name in names) if measure else ()
        return self._add(
            f"tokenize/{data.name}",
            recipe,
            TokenizeExecution(datasets=names if data.mixture else (), **lower_work(self.spec.hardware.other)),
            label=data.label,
            mark=self.mark,
            inputs={
                "examples": tuple(examples[name] for name in names),
                "rated": rated,
                "student": (self._add_student(Replicate(self.draw)),),
                **inputs,
            },
        )

    def _add_train(self, stage: str, rows: str, start: str, replicate: Replicate, *, student: str) -> str:
        """Add a stage that is trained on `rows`, from the student or stage `start` on."""
        inputs = {"rows": (rows,), "start": (start,)}
        if start.startswith("train/"):
            self.plan.keep_optimizer(start)
            if self.spec.student and self.spec.student.adapter:
                inputs["base"] = (student,)
        recipe = lower_stage(self.spec.stages[stage], self.spec, replicate)
        twins: tuple[str, ...] = ()
        given = self.spec.stages[stage]
        if isinstance(given.tokens, schema.SameAs):
            recipe, twins = self._lower_same_length(stage, recipe, "tokens")
        elif isinstance(given.steps, schema.SameAs):
            recipe, twins = self._lower_same_length(stage, recipe, "steps")
        else:
            self.plan.add_schedule(rows, lower_schedule(stage, self.spec))
        return self._add(
            f"train/{stage}",
            recipe,
            lower_train_work(self.spec.hardware.train),
            label=f"{self.arm.name}: {stage}",
            mark=replicate.mark,
            inputs=inputs | {"same_as": twins},
        )

    def _lower_same_length(
        self, stage: str, recipe: TrainRecipe, figure: Literal["tokens", "steps"]
    ) -> tuple[TrainRecipe, tuple[str, ...]]:
        """Return the recipe of a stage as long as others, and the tokenize nodes that they are trained on.

        A length that is known without these nodes is in the recipe alone.
        """
        known, rows = 0, []
        for twin in find_twins(self._list_specs(), self.arm.name, stage, figure):
            other = self._lower_other(twin.arm)
            its = lower_stage(other.spec.stages[twin.stage], other.spec)
            if its.epochs is None:
                known += getattr(its, figure)
            else:
                rows.append((other._add_rows(twin.stage), its.epochs, its.batch_rows))
        rows.sort()
        update: dict[str, object] = {figure: known or None, "same_epochs": tuple(epochs for _, epochs, _ in rows)}
        if figure == "steps":
            update["same_batches"] = tuple(batch for _, _, batch in rows)
        return recipe.model_copy(update=update), tuple(ref for ref, _, _ in rows)

    # --- evaluations ---------------------------------------------------------------------------------------------

    def _add_evaluation(self, name: str, model: str, replicate: Replicate) -> report.Evaluation:
        """Add the answers of `model` to the benchmark `name`, and their scores."""
        recipe, execution = self._lower_protocol(name)
        if recipe.temperature:
            recipe = recipe.model_copy(update={"seed": replicate.seed(recipe.seed)})
        inputs = {
            "model": (model,),
            "items": (self._add_asked(name) if self._is_formed(name) else self._add_items(name),),
        }
        if teacher := getattr(self.spec.benchmarks[name], "loss_of", None):
            inputs["texts"] = (self._add_texts(name, teacher),)
        execution = execution.model_copy(update={"earlier": list_earlier(recipe, inputs)})
        label = f"{self.arm.name}: {name}"
        answers = self._add(f"eval/{name}", recipe, execution, label=label, mark=replicate.mark, inputs=inputs)
        return self._add_score(f"score/{name}", name, (answers,), label=label, mark=replicate.mark)

    def _is_formed(self, name: str) -> bool:
        """Return whether a benchmark asks in a form of its own: more than each question under the system message."""
        benchmark = self.spec.benchmarks[name]
        return not isinstance(benchmark, schema.OpenBenchmark) and bool(
            benchmark.shots or benchmark.examples or benchmark.instruction or benchmark.cue
        )

    @_once_per_sections
    def _add_texts(self, name: str, teacher: str) -> str:
        """Add a teacher's answers to the items of a benchmark that measures their loss, under its own sampling."""
        label = f"{teacher} on {name}"
        return self._add_answers(f"texts/{teacher}/{name}", teacher, (self._add_asked(name),), label=label)

    @_once_per_sections
    def _lower_protocol(self, name: str) -> tuple[EvalRecipe, EvalExecution]:
        """Return the recipe and the execution of a benchmark's `eval` nodes."""
        benchmark, hardware = self.spec.benchmarks[name], self.spec.hardware.eval
        recipe = EvalRecipe(system_id=benchmark.system, system=self.arm.messages[benchmark.system])
        if _reads_likelihoods(benchmark):
            recipe = recipe.model_copy(update={"method": benchmark.method})
        else:
            sampling = {
                "temperature": benchmark.temperature,
                "top_p": benchmark.top_p,
                "max_new_tokens": benchmark.max_tokens,
                "seed": self.spec.seed,
            }
            recipe = recipe.model_copy(update=sampling)
            if not isinstance(benchmark, schema.OpenBenchmark):
                more = {name: getattr(benchmark, name) for name in ("stop", "samples", "reasoning")}
                recipe = recipe.model_copy(update=more)
        work = lower_work(hardware, gpus=hardware.gpus)
        engine = "transformers" if _reads_likelihoods(benchmark) else hardware.engine
        return recipe, EvalExecution(
            batch_size=hardware.batch, gpu=hardware.gpu, engine=engine, shards=hardware.shards, **work
        )

    def _add_score(
        self, address: str, name: str, answers: tuple[str, ...], *, label: str, mark: str = ""
    ) -> report.Evaluation:
        """Add the scores of answers to the benchmark `name`: of an eval node, or of a collect node for each sample."""
        benchmark, items = self.spec.benchmarks[name], self._add_items(name)
        inputs: dict[str, tuple[str, ...]] = {"answers": answers, "items": (self._add_scored_items(name),)}
        if isinstance(benchmark, schema.OpenBenchmark) and benchmark.against:
            inputs["against"] = tuple(
                reply for teacher in benchmark.against for reply in self._add_replies(teacher, name)
            )
        elif not isinstance(benchmark, schema.OpenBenchmark) and benchmark.form_of:
            inputs["form_of"] = self._add_replies(benchmark.form_of, name)[:1]
        recipe, execution = self._lower_scoring(name)
        score = self._add(address, recipe, execution, label=label, mark=mark, inputs=inputs)
        self.targets.append(score)
        return report.Evaluation(benchmark=name, items=items, answers=answers[0], samples=answers[1:], score=score)

    @_once_per_sections
    def _lower_scoring(self, name: str) -> tuple[ScoreRecipe, ScoreExecution]:
        """Return the recipe and the execution of a benchmark's `score` nodes."""
        benchmark, resources = self.spec.benchmarks[name], lower_work(self.spec.hardware.other)
        if _reads_likelihoods(benchmark) and benchmark.method == "loss":
            return ScoreRecipe(likelihood="loss"), ScoreExecution(**resources)
        if _reads_likelihoods(benchmark):
            is_mass = isinstance(benchmark, schema.TruthfulQABenchmark) and benchmark.task == "mc2"
            return ScoreRecipe(likelihood="mass" if is_mass else "choice"), ScoreExecution(**resources)
        if not isinstance(benchmark, schema.OpenBenchmark):
            matching = find_score_matching(benchmark.format, benchmark.checkers)
            return ScoreRecipe(checkers=benchmark.checkers, matching=matching), ScoreExecution(**resources)
        judge = find_judge(self.spec, benchmark)
        recipe, endpoint, work = self._lower_judge(judge, self.arm.prompts[benchmark.judge])
        max_bad = getattr(self.spec.teachers[judge.teacher].endpoint, "max_bad", None)
        return ScoreRecipe(judge=recipe), ScoreExecution(judge=endpoint, max_bad=max_bad, **work)

    def _lower_judge(
        self, judge: schema.Judge, prompts: Mapping[str, JudgePrompt]
    ) -> tuple[Judge, EndpointSettings, dict[str, Any]]:
        """Return a judge, its endpoint, and the resources and files of the job that asks it."""
        teacher = self.spec.teachers[judge.teacher]
        sampling = lower_judging(judge, teacher)
        asked, files = self._lower_teacher(judge.teacher, sampling=sampling)
        is_recorded = asked.origin == "replay"
        if is_recorded:
            prompts = {task: JudgePrompt(reads=prompt.reads) for task, prompt in prompts.items()}
        recipe = Judge(
            asked=asked,
            form=judge.form,
            prompts=dict(sorted(prompts.items())),
            recorded=judge.recorded if is_recorded else None,
        )
        work = lower_work(self.spec.hardware.other, gpus=getattr(teacher.endpoint, "gpus", 0))
        return recipe, self._lower_endpoint(judge.teacher, may_omit=True), {"files": files, **work}

    @_once_per_sections
    def _add_replies(self, teacher: str, name: str) -> tuple[str, ...]:
        """Add a teacher's answers to a benchmark's items under the benchmark's protocol, one node for each sample.

        Of recorded answers there are as many as the recording has, and of the items' references there is one.
        """
        benchmark, endpoint = self.spec.benchmarks[name], self.spec.teachers[teacher].endpoint
        samples: int = getattr(benchmark, "samples", 1)
        if isinstance(endpoint, schema.ReplayEndpoint | schema.ReferenceEndpoint):
            samples = min(samples, getattr(endpoint, "samples", 1))
        return tuple(
            self._add_answers(
                f"replies/{teacher}/{name}" + (f"/{sample}" if sample else ""),
                teacher,
                (self._add_asked(name),),
                label=f"{teacher} on {name}" + (f", sample {sample}" if sample else ""),
                sampling=lower_protocol(benchmark, self.spec.teachers[teacher], self.spec.seed),
                sample_index=sample,
            )
            for sample in range(samples)
        )

    def _add_baseline(self, teacher: str, name: str) -> report.Evaluation:
        """Add a baseline's answers to the benchmark `name`, and their scores."""
        replies = self._add_replies(teacher, name)
        return self._add_score(f"baseline/{teacher}/{name}", name, replies, label=f"{teacher}: {name}")


def _reads_likelihoods(benchmark: schema.Benchmark) -> TypeGuard[schema.ScoredBenchmark]:
    """Return whether a benchmark reads likelihoods, of choices or of a given answer, and generates nothing."""
    return not isinstance(benchmark, schema.OpenBenchmark) and benchmark.method != "generate"
