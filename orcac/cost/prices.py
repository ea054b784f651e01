"""The cost of a node, kind by kind: the amount that flows through it (flow.py) times the cost of one unit.

docs/cost-model.md states the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from orcac import text
from orcac.chat.settings import EndpointSettings
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.cost import figures, priors
from orcac.cost.equal import estimate_steps, estimate_tokens
from orcac.cost.figures import ZERO, Range
from orcac.cost.flow import Flow
from orcac.cost.measured import find_adapter_kind
from orcac.cost.questions import AskedShares, AskedSources, list_questions
from orcac.cost.record import Hardware
from orcac.cost.student_answer import estimate_answer
from orcac.eval.recipe import EvalExecution, EvalRecipe
from orcac.plan.asked import Asked, find_asked
from orcac.plan.node import Node
from orcac.score.recipe import ScoreRecipe
from orcac.tokenize.recipe import TokenizeRecipe
from orcac.train import gpus
from orcac.train.recipe import PARTS, TrainExecution, TrainRecipe

_LONG = 86_400.0  # seconds of asking; a longer one gets a line that names its bottleneck


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost that is still to be paid. It is exact if `basis` is empty.

    `usd` is the price of asking online, `usd_batch` in batches, and `usd_spec` in the mode of the spec; `gpu_usd` is
    that of the GPU hours, 0 if the spec states no price.
    """

    requests: Range = ZERO
    input_tokens: Range = ZERO
    output_tokens: Range = ZERO
    usd: Range = ZERO
    usd_batch: Range = ZERO
    usd_spec: Range = ZERO
    seconds: Range = ZERO
    gpu_hours: Range = ZERO
    gpu_usd: Range = ZERO
    disk: Range = ZERO  # bytes that are added to the store
    basis: tuple[str, ...] = ()  # the measurements and assumptions behind it, in words
    questions: AskedSources | None = None  # a total counts each of these once
    budget_left: float | None = None  # of a node that asks: USD of its experiment's budget, neither spent nor reserved

    def scaled(self, share: float) -> Cost:
        """Return the cost of asking this share of the questions. `disk` stays: the artifact has all answers."""
        return replace(self, **{name: getattr(self, name) * share for name in FIGURES if name != "disk"})


FIGURES = tuple(field.name for field in fields(Cost) if field.name not in ("basis", "questions", "budget_left"))


# --- asking ------------------------------------------------------------------------------------------------------


def _asking_cost(settings: EndpointSettings, count: Range, read: Range, written: Range, max_tokens: int) -> Cost:
    """Return the cost of `count` requests that read `read` tokens and write `written` tokens each, on average."""
    tokens_in, tokens_out = count * read, count * written
    usd = tokens_in * (settings.price.input / 1e6) + tokens_out * (settings.price.output / 1e6)
    batch = usd * settings.price.batch
    seconds, basis = _asking_time(settings, count, read, written, max_tokens) if count.mid else (ZERO, ())
    return Cost(
        requests=count,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        usd=usd,
        usd_batch=batch,
        usd_spec=usd if settings.mode == "online" else batch,
        seconds=seconds,
        basis=basis,
    )


def _asking_time(
    settings: EndpointSettings, count: Range, read: Range, written: Range, max_tokens: int
) -> tuple[Range, tuple[str, ...]]:
    """Return the seconds that the requests take, and their basis: the tightest of the endpoint's limits decides."""
    if settings.kind == "solver":
        return count / priors.SOLVING.range, (priors.SOLVING.basis,)
    if settings.kind in ("replay", "reference"):
        return count / priors.HANDLING.range, (priors.HANDLING.basis,)
    if settings.mode != "online":
        rest = "mode: auto: priced as if batches answered all; the requests that they leave are asked at the full price"
        return priors.BATCH_HOURS.range * 3600, (priors.BATCH_HOURS.basis, *([rest] if settings.mode == "auto" else []))
    latency = priors.LATENCY.range + written / priors.WRITING.range
    at_once = settings.concurrency if settings.kind != "local" else settings.batch or 16  # as on a CPU
    limits = {f"{at_once} requests in flight": count * latency / at_once}
    if settings.requests_per_minute:
        limits[f"{settings.requests_per_minute:,} requests a minute"] = count / (settings.requests_per_minute / 60)
    if settings.tokens_per_minute:
        per_second = settings.tokens_per_minute / 60
        limits[f"{settings.tokens_per_minute:,} tokens a minute"] = count * (read + written) / per_second
    bound = max(limits, key=lambda name: limits[name].mid)
    basis = []
    if limits[bound].mid > _LONG:
        why = f"{count.mid:,.0f} requests: bound by {bound}"
        if settings.tokens_per_minute:
            charged = count * (read + Range(float(max_tokens))) / (settings.tokens_per_minute / 60)
            if charged.mid > 1.1 * limits[bound].mid:
                why += (
                    f"; {text.duration(charged.mid)} instead of {text.duration(limits[bound].mid)} if the server "
                    "charges `max_tokens` against its limit in advance"
                )
        basis.append(why)
    if bound.endswith("in flight"):
        basis += [priors.LATENCY.basis, priors.WRITING.basis]
    return limits[bound], tuple(basis)


def _price_collect(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    recipe, execution = node.recipe, node.execution
    assert isinstance(recipe, CollectRecipe)
    assert isinstance(execution, CollectExecution)
    requests, settings = flow.requests(node.ref), execution.endpoint
    is_free = recipe.origin in ("replay", "reference")
    questions, unanswered = list_questions(flow, node.ref, {}), requests.unanswered
    if not is_free and node.ref not in flow.answered and answered:
        questions = list_questions(flow, node.ref, answered)
        unanswered = questions.unanswered / max(1e-9, questions.asked)
    count = requests.prompts * unanswered
    octets = (requests.input + requests.output) * priors.TEXT_BYTES
    cost = _asking_cost(settings, count, requests.input, requests.coming, recipe.sampling.max_tokens)
    if is_free:
        cost = Cost(seconds=cost.seconds, basis=cost.basis)
    ledger = (requests.input + requests.coming) * 4.5 + Range(float(priors.RECORD_BYTES))
    return replace(
        cost,
        seconds=cost.seconds + Range(priors.START),
        disk=requests.prompts * octets + (ZERO if is_free else count * ledger),
        basis=(*requests.basis, *cost.basis),
        questions=None if is_free else questions,
        budget_left=flow.budget_left(settings),
    )


# --- on the machines of the user ------------------------------------------------------------------------------------


def _handling_cost(count: Range, octets: Range) -> Cost:
    """Return the cost of reading and writing `count` rows without a model, as `octets` bytes."""
    seconds = count / priors.HANDLING.range + Range(priors.START)
    return Cost(seconds=seconds, disk=octets, basis=(priors.HANDLING.basis,))


def _price_sample(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    prompts = flow.prompts(node.ref)
    pool = Range(float(getattr(node.execution, "expect_queries", None) or 0))
    if node.inputs.get("from"):
        pool = figures.sum_ranges(flow.prompts(part).count for part in node.inputs["from"])
    most = max(pool, prompts.count, key=lambda figure: figure.mid)
    cost = _handling_cost(most * 2, prompts.count * prompts.tokens * priors.TEXT_BYTES)
    return replace(cost, basis=(*prompts.basis, *cost.basis))


def _price_filter(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    examples = flow.examples(node.ref)
    requests = flow.requests(node.inputs["responses"][0])
    cost = _handling_cost(requests.answers * 3, requests.answers * examples.tokens * priors.TEXT_BYTES)
    return replace(cost, basis=(*examples.basis, *cost.basis))


def _price_rate(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    (responses,) = node.inputs["responses"]
    requests, asked = flow.requests(responses), find_asked(node)
    cost = _handling_cost(requests.answers, requests.answers * float(priors.RATING_BYTES))
    if asked is None:
        return cost
    share, why, _ = flow.answer_share(responses)
    answer = requests.output * share
    left = flow.measured.count_reviews_left(node)
    questions = list_questions(flow, node.ref, answered if left is None else {})
    unanswered = requests.answers * (questions.unanswered / max(1e-9, questions.asked))
    count = unanswered if left is None else Range(float(left))
    cost = _add_reviews(flow, cost, asked, count, requests.input + answer, (*requests.basis, *why))
    return replace(cost, questions=questions, disk=cost.disk + requests.answers * answer * priors.TEXT_BYTES)


def _price_student(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    model = flow.model(node.ref)
    return Cost(
        seconds=model.parameters / 1e8 + Range(priors.START_MODEL),
        disk=model.parameters * model.bytes_per_parameter,
        basis=model.basis,
    )


def _price_tokenize(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    rows = flow.rows(node.ref)
    cost = _handling_cost(rows.count * rows.per_row * 5, rows.count * (12.0 * rows.length))
    return replace(cost, basis=(*rows.basis, *cost.basis))


def _price_train(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    recipe, execution = node.recipe, node.execution
    assert isinstance(recipe, TrainRecipe)
    assert isinstance(execution, TrainExecution)
    rows, model = flow.rows(node.inputs["rows"][0]), flow.model(node.ref)
    slots = rows.count * float(rows.length * (recipe.epochs or 1))
    if tokens := estimate_tokens(flow, node.ref):
        slots = tokens / rows.fill
    elif steps := estimate_steps(flow, node.ref):
        slots = steps * (rows.length * rows.count.mid / math.ceil(rows.count.mid / recipe.batch_rows))
    packed = flow.plan.nodes[node.inputs["rows"][0]].recipe
    if isinstance(packed, TokenizeRecipe) and packed.holdout:  # a forward pass is a third of the arithmetic
        apart = rows.count * (packed.holdout / (1 - packed.holdout))
        passes = PARTS + 1 + (recipe.epochs or 0 if recipe.keep == "best" else 0)
        slots = slots + apart * (rows.length * passes / 3)
    devices = execution.nodes * execution.gpus
    speed_key = Hardware.from_values(execution.model_dump()).speed_key(recipe.precision)
    basis = [*rows.basis, *model.basis]
    flops, per_device = model.flops(rows.length, recipe.adapter), 0.0
    recompute_factor = priors.RECOMPUTED if execution.recompute else 1.0
    if execution.gpus:
        per_device = gpus.peak_flops(execution.gpu, recipe.precision)
        if not execution.gpu:
            basis.append(f"GPU: hardware.train names none, assumed to be {gpus.DEFAULT_GPU}")
    adapter = recipe.adapter.model_dump() if recipe.adapter else None
    measured = (
        flow.measured.trained(round(model.parameters.mid), (*speed_key, find_adapter_kind(adapter)))
        if model.parameters.is_exact
        else None
    )
    stepping = ZERO
    if measured and not (execution.gpus and execution.mfu):
        speed = figures.within_factor(measured.value, 1.15, priors.MFU.name) * float(max(devices, 1))
        share = f", an MFU of {measured.value * flops.mid / per_device:.2f}" if per_device else ""
        basis.append(
            f"{measured.value:,.0f} slots a second{share}: measured on stages of this student, n = {measured.n}"
        )
    elif execution.gpus:
        mfu, why = _mfu(flow, recipe, execution)
        basis.append(f"{why}; of a peak of {per_device / 1e12:,.0f} TFLOP/s a GPU")
        speed = mfu * (per_device * devices) / flops
        if execution.offload and not execution.mfu:
            steps = slots / float(rows.length * recipe.batch_rows)
            stepping = steps * model.parameters * priors.OFFLOADED.range / (1e9 * execution.nodes)
            basis.append(priors.OFFLOADED.basis)
    else:
        speed = priors.CPU_TRAINING.range * (1e9 * execution.threads) / (flops * recompute_factor)
        basis.append(priors.CPU_TRAINING.basis)
    if recipe.adapter and recipe.adapter.quantize and not measured:
        speed = speed / priors.QUANTIZED.range
        basis.append(priors.QUANTIZED.basis)
    seconds = slots / speed + stepping + Range(priors.START_MODEL)
    gpu_hours = seconds * (devices / 3600)
    return Cost(
        seconds=seconds,
        gpu_hours=gpu_hours,
        gpu_usd=gpu_hours * (execution.usd_per_gpu_hour or 0.0),
        # the weights, and AdamW's state if it is kept; a checkpoint, during training, is as large as both
        disk=model.parameters * (12.0 if execution.keep_optimizer and not recipe.adapter else 4.0),
        basis=tuple(basis),
    )


def _mfu(flow: Flow, recipe: TrainRecipe, execution: TrainExecution) -> tuple[Range, str]:
    """Return the share of its peak that a GPU spends on the model's own arithmetic, and its basis.

    The MFU of the spec, and one that was measured, include the effect of `recompute`; the prior assumes a stage without
    it.
    """
    if execution.mfu:
        return figures.within_factor(execution.mfu, 1.05, priors.MFU.name), f"MFU {execution.mfu}: hardware.train.mfu"
    measured = flow.measured.mfu(execution.gpu or gpus.DEFAULT_GPU, recipe.precision, recompute=execution.recompute)
    if measured and not recipe.adapter:
        why = f"MFU {measured.value:.2f}: measured on stages of other students on this GPU, n = {measured.n}"
        return figures.within_factor(measured.value, 1.25, priors.MFU.name), why
    if execution.recompute:
        return priors.MFU.range / priors.RECOMPUTED, f"{priors.MFU.basis}; three quarters of it with recompute"
    return priors.MFU.range, priors.MFU.basis


def _price_eval(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    recipe, execution = node.recipe, node.execution
    assert isinstance(recipe, EvalRecipe)
    assert isinstance(execution, EvalExecution)
    items = flow.prompts(node.inputs["items"][0])
    answer, answer_why = estimate_answer(flow, node.ref)
    octets = items.count * (items.tokens + answer) * priors.TEXT_BYTES
    if any(map(flow.store.is_done, execution.earlier)):
        return Cost(seconds=Range(priors.START), disk=octets, basis=items.basis)
    model = flow.model(node.inputs["model"][0])
    speed_key = Hardware.from_values(execution.model_dump()).speed_key("")
    measured = None
    if model.parameters.is_exact:
        measured = flow.measured.evaluated(
            round(model.parameters.mid),
            speed_key,
            recipe.model_dump(),
            engine=execution.engine,
            gpus=execution.gpus,
        )
    tokens = items.tokens * priors.STUDENT_RATIO.mid + answer
    flops = items.count * tokens * model.parameters * 2
    if measured:
        seconds = items.count / figures.within_factor(measured.value, 1.3, priors.ANSWERING_MFU.name)
        basis: tuple[str, ...] = (
            f"{measured.value:.2g} items a second: measured on evaluations of such a student, n = {measured.n}",
        )
    elif execution.gpus:
        seconds = flops / (priors.ANSWERING_MFU.range * (execution.gpus * gpus.peak_flops(execution.gpu, "bf16")))
        basis = (priors.ANSWERING_MFU.basis, *answer_why)
    else:
        seconds = flops / (priors.CPU_ANSWERING.range * (1e9 * execution.threads))
        basis = (priors.CPU_ANSWERING.basis, *answer_why)
    shards = execution.shards
    job = seconds / shards + Range(priors.START_MODEL)
    return Cost(
        seconds=job + Range(priors.START if shards > 1 else 0.0),  # another job takes in the answers of shards
        gpu_hours=job * (shards * execution.gpus / 3600),
        disk=octets,
        basis=(*items.basis, *model.basis, *basis),
    )


def _add_reviews(flow: Flow, cost: Cost, judge: Asked, count: Range, shown: Range, why: tuple[str, ...]) -> Cost:
    """Return `cost` with that of `count` reviews, for each of which the judge reads texts of `shown` tokens."""
    verdict = priors.REVIEWED if judge.recipe.origin == "solver" else priors.VERDICT
    most = judge.recipe.sampling.max_tokens
    written = verdict.range.capped_at(most)
    judged = _asking_cost(judge.endpoint, count, shown + priors.JUDGING.range, written, most)
    if judge.recipe.origin == "replay":
        judged = Cost(seconds=judged.seconds, basis=judged.basis)
    spent = ("requests", "input_tokens", "output_tokens", "usd", "usd_batch", "usd_spec")
    return replace(
        cost,
        seconds=cost.seconds + judged.seconds,
        basis=(*cost.basis, *why, priors.JUDGING.basis, verdict.basis, *judged.basis),
        budget_left=flow.budget_left(judge.endpoint),
        **{name: getattr(judged, name) for name in spent},
    )


def _price_score(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    recipe = node.recipe
    assert isinstance(recipe, ScoreRecipe)
    items = flow.prompts(node.inputs["items"][0])
    asked = flow.plan.nodes[node.inputs["answers"][0]].recipe
    if isinstance(asked, CollectRecipe):
        answer = priors.ANSWER.range.capped_at(asked.sampling.max_tokens) * float(len(node.inputs["answers"]))
    else:
        answer, _ = estimate_answer(flow, node.inputs["answers"][0])
    octets = items.count * (items.tokens + answer) * priors.TEXT_BYTES
    cost = replace(_handling_cost(items.count, octets), basis=items.basis)
    judge = find_asked(node)
    if judge is None or recipe.judge is None:
        return cost
    references, is_alone = float(len(node.inputs.get("against", ()))), recipe.judge.form == "scale"
    reviews = 1.0 + references if is_alone else references * (1.0 if recipe.judge.recorded else 2.0)
    shown = items.tokens + answer * (1.0 if is_alone else 2.0)
    return _add_reviews(flow, cost, judge, items.count * reviews, shown, (priors.ANSWER.basis,))


def _price_report(flow: Flow, node: Node, answered: AskedShares) -> Cost:
    return Cost(seconds=Range(10.0), disk=Range(1e6))


PRICERS: dict[str, Callable[[Flow, Node, AskedShares], Cost]] = {
    "sample": _price_sample,
    "collect": _price_collect,
    "filter": _price_filter,
    "rate": _price_rate,
    "student": _price_student,
    "tokenize": _price_tokenize,
    "train": _price_train,
    "eval": _price_eval,
    "score": _price_score,
    "report": _price_report,
}
