"""What a node costs, kind by kind: how much flows through it (flow.py) times what that takes.

Nothing here enters an id, and no kind knows of it. docs/cost-model.md states the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from orcac import text
from orcac.chat.settings import EndpointSettings
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.cost import figures, priors
from orcac.cost.figures import NOTHING, Range
from orcac.cost.flow import Flow
from orcac.cost.measured import hardware
from orcac.cost.questions import Questions, Seen, questions
from orcac.eval.recipe import EvalExecution, EvalRecipe
from orcac.plan.node import Node
from orcac.train import gpus
from orcac.train.recipe import TrainExecution, TrainRecipe

_LONG = 86_400.0  # seconds of asking from which it is worth a word


@dataclass(frozen=True, slots=True)
class Cost:
    """What is still to be spent. `usd` and `usd_batch` are of asking online and in batches, `usd_spec` as the spec
    says; `gpu_usd` is of GPUs, where their price is stated."""

    requests: Range = NOTHING
    input_tokens: Range = NOTHING
    output_tokens: Range = NOTHING
    usd: Range = NOTHING
    usd_batch: Range = NOTHING
    usd_spec: Range = NOTHING
    seconds: Range = NOTHING
    gpu_hours: Range = NOTHING
    gpu_usd: Range = NOTHING
    disk: Range = NOTHING  # bytes that are added to the store
    basis: tuple[str, ...] = ()  # what it rests on, in words; exact where it says nothing
    questions: Questions | None = None  # of a collect node, so that `total` pays for each once
    budget_left: float | None = None  # of a collect node: USD of its experiment's budget that nobody has set aside

    def asking(self, share: float) -> Cost:
        """With this share of the questions. The artifact is as large as ever."""
        return replace(self, **{name: getattr(self, name) * share for name in FIGURES if name != "disk"})


FIGURES = tuple(field.name for field in fields(Cost) if field.name not in ("basis", "questions", "budget_left"))


# --- asking ------------------------------------------------------------------------------------------------------


def _asking(settings: EndpointSettings, count: Range, read: Range, written: Range, max_tokens: int) -> Cost:
    """`count` requests that read and write so many tokens each."""
    tokens_in, tokens_out = count * read, count * written
    usd = tokens_in * (settings.price.input / 1e6) + tokens_out * (settings.price.output / 1e6)
    batch = usd * settings.price.batch
    seconds, basis = _asking_time(settings, count, read, written, max_tokens) if count.mid else (NOTHING, ())
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
    if settings.kind == "solver":
        return count / priors.SOLVING.range, (priors.SOLVING.basis,)
    if settings.kind in ("replay", "reference"):
        return count / priors.HANDLING.range, (priors.HANDLING.basis,)
    if settings.mode != "online":
        left = "mode: auto: priced as if batches answered all; what they leave is asked online, at the full price"
        return priors.BATCH_HOURS.range * 3600, (priors.BATCH_HOURS.basis, *([left] if settings.mode == "auto" else []))
    latency = priors.LATENCY.range + written / priors.WRITING.range
    ways = {f"{settings.concurrency} requests in flight": count * latency / settings.concurrency}
    if settings.requests_per_minute:
        ways[f"{settings.requests_per_minute:,} requests a minute"] = count / (settings.requests_per_minute / 60)
    if settings.tokens_per_minute:
        per_second = settings.tokens_per_minute / 60
        ways[f"{settings.tokens_per_minute:,} tokens a minute"] = count * (read + written) / per_second
    bound = max(ways, key=lambda name: ways[name].mid)
    basis = []
    if ways[bound].mid > _LONG:
        why = f"{count.mid:,.0f} requests: bound by {bound}"
        if settings.tokens_per_minute:
            charged = count * (read + Range(float(max_tokens))) / (settings.tokens_per_minute / 60)
            if charged.mid > 1.1 * ways[bound].mid:
                why += (
                    f"; {text.duration(charged.mid)} instead of {text.duration(ways[bound].mid)} where the "
                    "server charges `max_tokens` against its limit in advance"
                )
        basis.append(why)
    if bound.endswith("in flight"):
        basis += [priors.LATENCY.basis, priors.WRITING.basis]
    return ways[bound], tuple(basis)


def _collect(flow: Flow, node: Node, answered: Seen) -> Cost:
    recipe, execution = node.recipe, node.execution
    assert isinstance(recipe, CollectRecipe)
    assert isinstance(execution, CollectExecution)
    asked, settings = flow.asked(node.ref), execution.endpoint
    free = recipe.origin in ("replay", "reference")
    wanted, left = questions(flow, node.ref, {}), asked.left
    if not free and node.ref not in flow.answered and answered:
        wanted = questions(flow, node.ref, answered)
        left = wanted.new / max(1e-9, sum(part.size * part.share for part in wanted.parts))
    count = asked.prompts * left
    octets = (asked.input + asked.output) * priors.TEXT_BYTES
    cost = _asking(settings, count, asked.input, asked.output, recipe.sampling.max_tokens)
    if free:
        cost = Cost(seconds=cost.seconds, basis=cost.basis)
    ledger = (asked.input + asked.output) * 4.5 + Range(float(priors.RECORD_BYTES))
    return replace(
        cost,
        seconds=cost.seconds + Range(priors.START),
        disk=asked.prompts * octets + (NOTHING if free else count * ledger),
        basis=(*asked.basis, *cost.basis),
        questions=None if free else wanted,
        budget_left=flow.budget_left(settings),
    )


# --- on our own machines -----------------------------------------------------------------------------------------


def _handled(count: Range, octets: Range) -> Cost:
    """Rows that are read and written again, without a model."""
    seconds = count / priors.HANDLING.range + Range(priors.START)
    return Cost(seconds=seconds, disk=octets, basis=(priors.HANDLING.basis,))


def _sample(flow: Flow, node: Node, answered: Seen) -> Cost:
    prompts = flow.prompts(node.ref)
    pool = Range(float(getattr(node.execution, "expect_queries", None) or 0))
    if node.inputs.get("from"):
        pool = figures.total(flow.prompts(part).count for part in node.inputs["from"])
    most = max(pool, prompts.count, key=lambda figure: figure.mid)
    cost = _handled(most * 2, prompts.count * prompts.tokens * priors.TEXT_BYTES)
    return replace(cost, basis=(*prompts.basis, *cost.basis))


def _filter(flow: Flow, node: Node, answered: Seen) -> Cost:
    examples = flow.examples(node.ref)
    asked = flow.asked(node.inputs["responses"][0])
    cost = _handled(asked.answers * 3, asked.answers * examples.tokens * priors.TEXT_BYTES)
    return replace(cost, basis=(*examples.basis, *cost.basis))


def _student(flow: Flow, node: Node, answered: Seen) -> Cost:
    model = flow.model(node.ref)
    return Cost(
        seconds=model.parameters / 1e8 + Range(priors.START_MODEL),
        disk=model.parameters * model.octets,
        basis=model.basis,
    )


def _tokenize(flow: Flow, node: Node, answered: Seen) -> Cost:
    rows = flow.rows(node.ref)
    cost = _handled(rows.count * rows.per_row * 5, rows.count * (12.0 * rows.length))
    return replace(cost, basis=(*rows.basis, *cost.basis))


def _train(flow: Flow, node: Node, answered: Seen) -> Cost:
    recipe, execution = node.recipe, node.execution
    assert isinstance(recipe, TrainRecipe)
    assert isinstance(execution, TrainExecution)
    rows, model = flow.rows(node.inputs["rows"][0]), flow.model(node.ref)
    slots = rows.count * float(rows.length * (recipe.epochs or 1))
    if recipe.tokens:
        slots = Range(recipe.tokens / rows.fill)
    devices = execution.nodes * execution.gpus
    ours = hardware(execution.model_dump(), recipe.precision)
    basis = [*rows.basis, *model.basis]
    flops, per_device = model.flops(rows.length), 0.0
    again = priors.RECOMPUTED if execution.recompute else 1.0
    if execution.gpus:
        per_device = gpus.peak_flops(execution.gpu, recipe.precision)
        if not execution.gpu:
            basis.append(f"which GPU: not said in hardware.train, taken to be {gpus.DEFAULT_GPU}")
    measured = flow.measured.trained(round(model.parameters.mid), ours) if model.parameters.is_exact else None
    stepping = NOTHING
    if measured and not (execution.gpus and execution.mfu):
        speed = figures.times(measured.value, 1.15, priors.MFU.name) * float(max(devices, 1))
        share = f", an MFU of {measured.value * flops.mid / per_device:.2f}" if per_device else ""
        basis.append(
            f"{measured.value:,.0f} slots a second{share}: measured on stages of this student, n = {measured.n}"
        )
    elif execution.gpus:
        mfu, said = _mfu(flow, recipe, execution)
        basis.append(f"{said}; of a peak of {per_device / 1e12:,.0f} TFLOP/s a GPU")
        speed = mfu * (per_device * devices) / flops
        if execution.offload and not execution.mfu:
            steps = slots / float(rows.length * recipe.batch_rows)
            stepping = steps * model.parameters * priors.OFFLOADED.range / (1e9 * execution.nodes)
            basis.append(priors.OFFLOADED.basis)
    else:
        speed = priors.CPU_TRAINING.range * (1e9 * execution.threads) / (flops * again)
        basis.append(priors.CPU_TRAINING.basis)
    seconds = slots / speed + stepping + Range(priors.START_MODEL)
    gpu_hours = seconds * (devices / 3600)
    return Cost(
        seconds=seconds,
        gpu_hours=gpu_hours,
        gpu_usd=gpu_hours * (execution.usd_per_gpu_hour or 0.0),
        # the weights, and AdamW's state where it is kept; a checkpoint, while it trains, is as large as both
        disk=model.parameters * (12.0 if execution.keep_optimizer else 4.0),
        basis=tuple(basis),
    )


def _mfu(flow: Flow, recipe: TrainRecipe, execution: TrainExecution) -> tuple[Range, str]:
    """The share of its peak that a GPU spends on the model's own arithmetic, and why.

    What the spec says and what was measured hold for the setting that they were taken in; the prior for one that
    computes nothing twice.
    """
    if execution.mfu:
        return figures.times(execution.mfu, 1.05, priors.MFU.name), f"MFU {execution.mfu}: hardware.train.mfu"
    known = flow.measured.mfu(execution.gpu or gpus.DEFAULT_GPU, recipe.precision, recompute=execution.recompute)
    if known:
        why = f"MFU {known.value:.2f}: measured on stages of other students on this GPU, n = {known.n}"
        return figures.times(known.value, 1.25, priors.MFU.name), why
    if execution.recompute:
        return priors.MFU.range / priors.RECOMPUTED, f"{priors.MFU.basis}; three quarters of it with recompute"
    return priors.MFU.range, priors.MFU.basis


def _eval(flow: Flow, node: Node, answered: Seen) -> Cost:
    recipe, execution = node.recipe, node.execution
    assert isinstance(recipe, EvalRecipe)
    assert isinstance(execution, EvalExecution)
    items = flow.prompts(node.inputs["items"][0])
    answer = priors.ANSWER.range.at_most(recipe.max_new_tokens)
    octets = items.count * (items.tokens + answer) * priors.TEXT_BYTES
    cost = Cost(seconds=Range(priors.START), disk=octets, basis=items.basis)
    if models := node.inputs.get("model"):
        model = flow.model(models[0])
        ours = hardware(execution.model_dump(), "")
        measured = None
        if model.parameters.is_exact:
            measured = flow.measured.evaluated(round(model.parameters.mid), ours, recipe.max_new_tokens)
        tokens = items.tokens * priors.STUDENT_RATIO.mid + answer
        flops = items.count * tokens * model.parameters * 2
        if measured:
            seconds = items.count / figures.times(measured.value, 1.3, priors.ANSWERING_MFU.name)
            whys: tuple[str, ...] = (
                f"{measured.value:.2g} items a second: measured on evaluations of such a student, n = {measured.n}",
            )
        elif execution.gpus:
            seconds = flops / (priors.ANSWERING_MFU.range * gpus.peak_flops(execution.gpu, "bf16"))
            whys = (priors.ANSWERING_MFU.basis, priors.ANSWER.basis)
        else:
            seconds = flops / (priors.CPU_ANSWERING.range * (1e9 * execution.threads))
            whys = (priors.CPU_ANSWERING.basis, priors.ANSWER.basis)
        seconds += Range(priors.START_MODEL)
        gpu_hours = seconds * (execution.gpus / 3600)
        cost = replace(cost, seconds=seconds, gpu_hours=gpu_hours, basis=(*cost.basis, *model.basis, *whys))
    if recipe.judge and execution.judge:
        verdicts = items.count * (2.0 * len(node.inputs.get("against", ())))  # each pair in both orders
        read = items.tokens + answer * 2.0 + priors.JUDGING.range
        written = priors.VERDICT.range.at_most(recipe.judge.sampling.max_tokens)
        judged = _asking(execution.judge, verdicts, read, written, recipe.judge.sampling.max_tokens)
        spent = ("requests", "input_tokens", "output_tokens", "usd", "usd_batch", "usd_spec")
        whys = (priors.ANSWER.basis, priors.JUDGING.basis, priors.VERDICT.basis, *judged.basis)
        cost = replace(
            cost,
            seconds=cost.seconds + judged.seconds,
            basis=(*cost.basis, *whys),
            **{name: getattr(judged, name) for name in spent},
        )
    return cost


def _report(flow: Flow, node: Node, answered: Seen) -> Cost:
    return Cost(seconds=Range(10.0), disk=Range(1e6))


KINDS: dict[str, Callable[[Flow, Node, Seen], Cost]] = {
    "sample": _sample,
    "collect": _collect,
    "filter": _filter,
    "student": _student,
    "tokenize": _tokenize,
    "train": _train,
    "eval": _eval,
    "report": _report,
}
