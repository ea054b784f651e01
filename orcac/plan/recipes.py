"""Translates a spec's filters, student, stages and hardware into recipes and executions.

The functions are pure: each reads the sections that it names, and knows no node, no arm and no file system. Query
sources are translated in `sources.py`, teachers in `asking.py`; `lower.py` connects the recipes to a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from orcac.filter.recipe import RENSA, Bounds, FilterRecipe, Selection
from orcac.plan.replicates import FIRST, Replicate
from orcac.rate.recipe import RateRecipe
from orcac.recipe import MATCHING
from orcac.spec import schema
from orcac.student.recipe import Scratch
from orcac.tokenize.recipe import Transform
from orcac.tokenize.steps import Schedule
from orcac.train.recipe import Lora, TrainExecution, TrainRecipe


class Resources(TypedDict):
    """The fields of an `Execution` that a scheduler reads."""

    threads: int
    memory_mb: int | None
    minutes: int | None
    gpus: int
    constraint: str | None


def lower_work(work: schema.Work, *, gpus: int = 0) -> Resources:
    """Return the resources of a job that runs on `gpus` GPUs."""
    return {
        "threads": work.threads,
        "memory_mb": work.memory,
        "minutes": work.time,
        "gpus": gpus,
        "constraint": work.constraint,
    }


def lower_filters(filters: schema.Filters, seed: int) -> FilterRecipe:
    """Return the recipe of filters; a selection at random draws with `seed`."""
    agrees, select, repeated = filters.agreement == "agrees", filters.select, filters.duplicates
    reads_references = bool(filters.agreement) or (select is not None and select.by == "verified")
    reads_answers = reads_references or (select is not None and select.by == "majority")
    return FilterRecipe(
        finish_reasons=filters.finish_reason,
        min_characters=filters.min_characters,
        max_characters=filters.max_characters,
        tokens={part: Bounds(min=limit.min, max=limit.max) for part, limit in filters.tokens.items()},
        drop_refusals=filters.refusals == "drop",
        agree_with_reference=agrees,
        contradict_reference=filters.agreement == "contradicts",
        drop_unread=filters.unread == "drop",
        checker=filters.checker if reads_answers else FilterRecipe.model_fields["checker"].default,
        drop_duplicates="example" in repeated.of,
        drop_duplicate_questions="question" in repeated.of,
        drop_duplicate_answers="answer" in repeated.of,
        near=repeated.near,
        sketches=RENSA if repeated.near is not None else None,
        contamination_ngram=filters.contamination.ngram if filters.contamination else None,
        contaminated_answers=bool(filters.contamination and filters.contamination.answers),
        select=_lower_selection(select, seed) if select else None,
        matching=MATCHING if reads_references else None,
    )


def _lower_selection(select: schema.Selection, seed: int) -> Selection:
    return Selection(by=select.by, keep=select.keep, seed=seed if select.by == "random" else None)


def lower_rating(by: Literal["pass_rate", "length"], filters: schema.Filters) -> RateRecipe:
    """Return the recipe of ratings of answers without a judge, by the checker of their filters."""
    if by == "length":
        return RateRecipe(by=by)
    return RateRecipe(by=by, checker=filters.checker, matching=MATCHING)


def find_score_matching(format: str, checkers: Sequence[str]) -> int | None:
    """Return the rule by which answers to a benchmark meet its references; None if a copy needs no rule to be right.

    The checkers of version 1 misread references that are sentences, which the published benchmarks do not have.
    """
    is_misread = format not in ("bbh", "agieval", "truthfulqa", "puzzles")
    return MATCHING if is_misread and {"first-capital", "final-answer"} & set(checkers) else None


def lower_shape(student: schema.Student) -> Scratch:
    """Return the shape of a student that is trained from scratch (one without `base`)."""
    assert student.tokenizer is not None
    shape = student.shape or schema.SHAPES[student.size or "tiny"]
    return Scratch(
        vocabulary=student.tokenizer.vocabulary,
        positions=student.max_length,
        kv_heads=shape.kv_heads or shape.heads,
        **shape.model_dump(exclude={"kv_heads"}),
    )


def lower_transform(transform: schema.Transform | None) -> Transform | None:
    """Return the transform of a dataset; None if it changes nothing."""
    return Transform(**transform.model_dump()) if transform and transform != schema.Transform() else None


def lower_stage(stage: schema.Stage, spec: schema.Spec, replicate: Replicate = FIRST) -> TrainRecipe:
    """Return the recipe of one stage of `spec`, which has a student."""
    assert spec.student is not None
    return TrainRecipe(
        seed=training_seed(spec, replicate),
        epochs=stage.epochs,
        tokens=None if isinstance(stage.tokens, schema.SameAs) else stage.tokens,
        steps=None if isinstance(stage.steps, schema.SameAs) else stage.steps,
        learning_rate=stage.learning_rate,
        schedule=stage.schedule,
        warmup=stage.warmup,
        batch_rows=stage.batch.rows(spec.student.max_length),
        weight_decay=stage.weight_decay,
        max_grad_norm=stage.max_grad_norm,
        precision=spec.hardware.train.precision,
        optimizer=stage.optimizer,
        order="rows" if stage.order else "shuffled",
        adapter=lower_adapter(spec.student.adapter),
        keep=stage.keep,
        isolation=spec.student.isolation,
    )


def lower_adapter(adapter: schema.Adapter | None) -> Lora | None:
    if adapter is None:
        return None
    return Lora(
        rank=adapter.rank,
        alpha=adapter.alpha,
        targets=adapter.targets,
        dropout=adapter.dropout,
        quantize=adapter.quantize,
    )


def lower_schedule(stage: str, spec: schema.Spec, *, tokens: int | None = None, steps: int | None = None) -> Schedule:
    """Return the length and the batch of the stage `stage` of `spec`, which has a student.

    tokens, steps: the length of a stage that is as long as others
    """
    assert spec.student is not None
    given, work = spec.stages[stage], spec.hardware.train
    return Schedule(
        stage=stage,
        batch_rows=given.batch.rows(spec.student.max_length),
        epochs=given.epochs,
        tokens=tokens if isinstance(given.tokens, schema.SameAs) else given.tokens,
        steps=steps if isinstance(given.steps, schema.SameAs) else given.steps,
        at_once=work.nodes * (work.gpus or work.processes) * work.micro_batch,
        is_in_tokens=given.batch.unit == "tokens",
    )


def lower_train_work(work: schema.TrainWork) -> TrainExecution:
    return TrainExecution(
        micro_batch_rows=work.micro_batch,
        nodes=work.nodes,
        processes=work.processes,
        zero=work.zero,
        offload=work.offload,
        recompute=work.recompute,
        compile=work.compile,
        gpu=work.gpu,
        mfu=work.mfu,
        usd_per_gpu_hour=work.price,
        **lower_work(work, gpus=work.gpus),
    )


def training_seed(spec: schema.Spec, replicate: Replicate = FIRST) -> int:
    """Return the seed of first weights and training order: the student's own, or else the spec's, for the first run."""
    own = spec.student.seed if spec.student else None
    return replicate.seed(spec.seed if own is None else own)
