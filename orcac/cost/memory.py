"""Does a stage fit? What training holds in one process's memory at its fullest, and the nearest setting that fits.

A function of the student's shape, the length of a row and how the stage is spread; docs/cost-model.md states the
formulas and where each comes from. Two ways of training differ in what a parameter takes:

    plain (zero 0)   weights 4 (with bf16 and copies of 2), gradients 4, AdamW's moments 8; among several buckets of 4
    DeepSpeed        weights 4, with bf16 2; gradients 4; AdamW's moments and float32 weights 12; shared as ZeRO says

What a token holds between forward and backward was counted on transformers' LLaMA, layer by layer, and a test counts
it again. A student of another kind is taken to be like that.

It is told where the student's shape is known: on a named GPU as an error, since the job would die after it has
waited in a queue; of the machine's memory as a warning, since not every cluster holds a job to what it asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from orcac.cost.shape import parameters, student_model
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.spec.load import Experiment, merge_problems
from orcac.spec.problems import Problem
from orcac.store.store import Store
from orcac.student.recipe import Scratch
from orcac.tokenize.recipe import TokenizeRecipe
from orcac.train.gpus import GIB, GPUS
from orcac.train.recipe import TrainExecution, TrainRecipe

BUCKET = 500_000_000  # numbers in DeepSpeed's buffer for gradients on their way (reduce_bucket_size, its default)
BUCKETS = 2  # while one is sent the other fills (overlap_comm)
GATHERED = 1_000_000_000  # weights that ZeRO 3 may hold whole at once, and steps at once (its defaults)
LOGITS = 2**23  # that the loss makes at once
RUNTIME = 2 * GIB  # CUDA's context, its libraries' work space, communication, what the allocator loses
RUNTIME_CPU = 0.7 * GIB  # of a process that has imported torch and transformers
CAUTION = 0.92  # of a GPU's memory, for a setting that is advised: these figures are good to about a tenth
MOST_GPUS, MOST_NODES = 8, 1024  # that are tried


class Memory(NamedTuple):
    """Bytes in one process's memory: of its GPU, or of the machine where it trains on the CPU."""

    weights: float
    gradients: float
    optimizer: float
    buffers: float  # of communication
    activations: float  # of one micro-batch, the loss included; or what the step makes, if that is more
    runtime: float
    offloaded: float  # in the machine's memory instead; of one process

    @property
    def total(self) -> float:
        return sum(self) - self.offloaded


def memory(shape: Scratch, length: int, precision: str, execution: TrainExecution) -> Memory:
    """Of a student of this shape, in rows of `length` tokens."""
    count, zero = float(parameters(shape)), execution.zero
    processes = execution.nodes * (execution.gpus or execution.processes)
    bf16, own = precision == "bf16", count / processes  # parameters that a process has for its own
    width = 2 if bf16 and zero else 4  # bytes of a weight
    weights = width * (own if zero == 3 else count)
    if bf16 and not zero and not execution.recompute:
        weights += 2 * count  # autocast keeps what it cast until the backward pass has used it
    gradients = 4 * (own if zero >= 2 else count)
    optimizer = (8 if zero == 3 and not bf16 else 12) * own if zero else 8 * count
    # gradients made flat for the step, ZeRO 3's group by group, once the activations are gone
    stepping = 4 * (min(GATHERED, own) if zero == 3 else own) if zero >= 2 else 0
    if zero:
        sent = BUCKETS * BUCKET if execution.gpus else min(BUCKET, count)  # a CPU's count once they are written to
        buffers = width * (sent + (min(GATHERED, count) if zero == 3 else 0))
    else:
        buffers = 4 * count if processes > 1 else 0  # DDP copies the gradients
    if execution.offload:
        gradients, optimizer, stepping = (0 if zero >= 2 else gradients), 0, 0
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        buffers=buffers,
        activations=max(activations(shape, length, precision, execution), stepping),
        runtime=RUNTIME if execution.gpus else RUNTIME_CPU,
        offloaded=16 * own if execution.offload else 0,
    )


def activations(shape: Scratch, length: int, precision: str, execution: TrainExecution) -> float:
    """Bytes that a micro-batch holds at the beginning of its backward pass, and what that pass works with."""
    tokens = execution.micro_batch_rows * length
    layer = tokens * held(shape, length, precision, cast=execution.zero > 0)
    stream = 2.0 if precision == "bf16" and execution.zero else 4.0
    kept = tokens * stream * shape.hidden if execution.recompute else layer  # of each layer
    working = 2 * layer if execution.recompute else layer  # one layer's gradients, and itself if it is made again
    head = 2 * 4.0 * shape.vocabulary * shape.hidden + 3 * 4.0 * LOGITS  # its gradient, twice, and a chunk of logits
    return shape.layers * kept + working + 12.0 * tokens * shape.hidden + head


def held(shape: Scratch, length: int, precision: str, *, cast: bool) -> float:
    """Bytes that a token leaves in one layer for the backward pass; `cast`: the weights themselves are bf16.

    The inputs of norms, products and attention, in the width that each has; a row's mask (SDPA makes it of the
    positions) is a number for every pair of its tokens.
    """
    streams, width = (40, 4) if precision == "fp32" else (24, 2) if cast else (34, 2)
    return (
        streams * shape.hidden
        + 4 * width * shape.intermediate
        + width * length
        + 4 * shape.heads  # attention's normaliser
        + 8  # two norms' scales
    )


# --- what fits -----------------------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """A stage of the plan whose student's shape is known."""

    node: Node
    recipe: TrainRecipe
    execution: TrainExecution
    shape: Scratch
    length: int

    def memory(self, execution: TrainExecution | None = None) -> Memory:
        return memory(self.shape, self.length, self.recipe.precision, execution or self.execution)


def stage(plan: Plan, store: Store, ref: str) -> Stage | None:
    """Of a train node; None where the shape of its student is not known."""
    node = plan.nodes[ref]
    rows, start = (plan.nodes[node.inputs[role][0]] for role in ("rows", "start"))
    while start.kind == "train":
        start = plan.nodes[start.inputs["start"][0]]
    shape = student_model(start, store.folder(start.ref) / "model" if store.is_done(start.ref) else None, None).shape
    if not shape:
        return None
    assert isinstance(node.recipe, TrainRecipe)
    assert isinstance(node.execution, TrainExecution)
    assert isinstance(rows.recipe, TokenizeRecipe)
    return Stage(node, node.recipe, node.execution, shape, rows.recipe.max_length)


def has(execution: TrainExecution) -> float | None:
    """Bytes of the GPU that the spec names; None where it names none, or trains on the CPU."""
    return GPUS[execution.gpu].memory if execution.gpus and execution.gpu else None


def nearest(stage: Stage) -> TrainExecution | None:
    """The setting that changes least among those that fit the named GPU; more GPUs only where nothing else does."""
    room = has(stage.execution)
    assert room is not None
    for execution in itertools.chain(_settings(stage.execution), _larger(stage)):
        if stage.memory(execution).total <= CAUTION * room:
            return execution
    return None


def _settings(now: TrainExecution) -> Iterator[TrainExecution]:
    """On these GPUs, the least change first: what costs little time weighs little."""
    alone = now.nodes * now.gpus == 1
    found: list[tuple[float, int, TrainExecution]] = []
    for zero, offload, recompute, micro in itertools.product(
        {now.zero, 2, 3} - set(range(now.zero)),
        {now.offload, True},
        {now.recompute, True},
        [rows for rows in range(1, now.micro_batch_rows + 1) if now.micro_batch_rows % rows == 0],
    ):
        if (offload and not zero) or (alone and zero and not offload) or (alone and zero == 3):
            continue
        weight = (
            {0: 0, 1: 1, 2: 1, 3: 2}[zero]
            + 2 * math.log2(now.micro_batch_rows / micro)
            + 4 * (recompute != now.recompute)
            + 8 * (offload != now.offload)
        )
        changed = {"zero": zero, "offload": offload, "recompute": recompute, "micro_batch_rows": micro}
        found.append((weight, len(found), now.model_copy(update=changed)))
    return (execution for _, _, execution in sorted(found, key=lambda item: item[:2]))


def _larger(stage: Stage) -> Iterator[TrainExecution]:
    """More GPUs, as many as share out the batch, with everything that saves memory without the CPU."""
    now, rows = stage.execution, stage.recipe.batch_rows
    best = {"zero": 3, "recompute": True, "micro_batch_rows": 1}
    more = [(1, gpus) for gpus in range(now.gpus + 1, MOST_GPUS + 1)] if now.nodes == 1 else []
    most = max(now.gpus, MOST_GPUS) if now.nodes == 1 else now.gpus
    more += [(nodes, most) for nodes in range(now.nodes + 1, MOST_NODES + 1)]
    for nodes, gpus in more:
        if rows % (nodes * gpus) == 0:
            yield now.model_copy(update={"nodes": nodes, "gpus": gpus, **best})


# --- for people ----------------------------------------------------------------------------------------------------

_KEYS = {"nodes": "nodes", "gpus": "gpus", "zero": "zero", "offload": "offload", "recompute": "recompute",
         "micro_batch_rows": "micro_batch"}  # fmt: skip


def gib(octets: float) -> str:
    """`52`, `7.3`, `0.4`: GiB with two digits."""
    value = octets / GIB
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def changed(before: TrainExecution, after: TrainExecution) -> str:
    """`zero: 3, recompute: true`, as hardware.train says it."""
    values: dict[str, Any] = {
        key: getattr(after, name) for name, key in _KEYS.items() if getattr(before, name) != getattr(after, name)
    }
    return ", ".join(
        f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()
    )


def fix(stage: Stage) -> str:
    """What to write instead, in one clause."""
    found = nearest(stage)
    if found is None:
        return "no number of such GPUs holds one row of it: take a smaller student, shorter rows or another GPU"
    return f"`{changed(stage.execution, found)}` would, with {gib(stage.memory(found).total)}"


def refusals(plan: Plan, experiment: Experiment, store: Store) -> list[Problem]:
    """Where a stage that is still to be made does not fit the GPU that its arm names, at that arm's hardware.train."""

    def refusal(stage: Stage) -> str:
        room, needed = has(stage.execution), stage.memory()
        if room is None or needed.total <= room:
            return ""
        parts = ", ".join(f"{name} {gib(getattr(needed, name))}" for name in Memory._fields[:5])
        return (
            f"the student does not fit: it takes {gib(needed.total)} GiB of each {stage.execution.gpu}, which has "
            f"{gib(room)} ({parts}); {fix(stage)}"
        )

    return _told(plan, experiment, store, refusal)


def warnings(plan: Plan, experiment: Experiment, store: Store) -> list[Problem]:
    """Where a machine's memory is less than what its processes hold in it."""

    def warning(stage: Stage) -> str:
        execution, needed = stage.execution, stage.memory()
        machine = execution.gpus * needed.offloaded
        if not execution.gpus:
            machine = execution.processes * (needed.total + needed.offloaded)
        asked = execution.memory_mb * 2**20
        if machine <= asked:
            return ""
        need = f"training takes about {gib(machine)} GiB of a machine's memory"
        return f"warning: {need}, and `memory` asks for {gib(asked)}"

    return _told(plan, experiment, store, warning)


def _told(plan: Plan, experiment: Experiment, store: Store, say: Callable[[Stage], str]) -> list[Problem]:
    """What `say` says of each stage that is still to be made, at the hardware.train of the arm that it is made for."""
    said: dict[str, str] = {}
    found: dict[str, dict[Problem, None]] = {}
    seen = set()
    addresses = plan.experiments[experiment.base.spec.name].addresses
    for name, arm in experiment.arms.items():
        for leg in arm.spec.curriculum:
            ref = addresses[name][f"train/{leg}"]
            if ref in seen or store.is_done(ref):
                continue
            seen.add(ref)
            if not (one := stage(plan, store, ref)):
                continue
            key = f"{one.shape} {one.length} {one.recipe.precision} {one.recipe.batch_rows} {one.execution}"
            if key not in said:  # a sweep has a thousand stages of one size
                said[key] = say(one)
            if said[key]:
                problem = Problem(arm.tree.locate(("hardware", "train")), said[key])
                found.setdefault(name, {})[problem] = None
    return merge_problems(experiment.base.tree, {name: list(problems) for name, problems in found.items()})
