"""The memory plan of a stage: the peak memory of one training process, and the nearest setting that fits a GPU.

It depends on the student's shape, the length of a row, and the number of processes and how they share the state.
docs/cost-model.md states the formulas and their sources. The two ways of training differ in the bytes per parameter:

    plain (zero 0)   weights 4 (with bf16 2 more, for copies), gradients 4, AdamW's moments 8; DDP's buckets 4
    DeepSpeed        weights 4, with bf16 2; gradients 4; AdamW's moments and float32 weights 12; divided as by ZeRO

With an adapter all but the weights are those of the adapter's parameters; frozen matrices take 2 bytes in bf16 and have
no copies.

The bytes per token between forward and backward pass were counted on transformers' LLaMA, layer by layer, and a test
counts them again. A student of another architecture is assumed to be like a LLaMA.

A stage is checked if the shape of its student is known. If it does not fit the GPU that the spec names, that is an
error, since the job would die after its wait in a queue. The memory of the machine is estimated in `jobs.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from orcac.cost.shape import (
    count_adapter,
    count_layer_matrices,
    count_matrices,
    count_parameters,
    find_largest_matrix,
    list_adapted,
    student_model,
)
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.spec.load import Experiment, merge_problems
from orcac.spec.problems import Problem
from orcac.store.store import Store
from orcac.student.recipe import Scratch
from orcac.tokenize.recipe import TokenizeRecipe
from orcac.train.gpus import GIB, GPUS, needs_mask
from orcac.train.recipe import Lora, TrainExecution, TrainRecipe

BUCKET = 500_000_000  # numbers in DeepSpeed's buffer for gradients on their way (reduce_bucket_size, its default)
BUCKETS = 2  # one is sent while the other fills (overlap_comm)
GATHERED = 1_000_000_000  # weights that ZeRO 3 may gather at once, and update at once (its defaults)
NF4 = 0.5 + 4 / 64  # bytes of a weight of 4 bits, and of its share of a block's scale
LOGITS = 2**23  # numbers that the loss computes at once
RUNTIME = 2 * GIB  # CUDA's context, its libraries' work space, communication, fragmentation
RUNTIME_HOST = 3 * GIB  # of a machine, for each process with a GPU: torch, and CUDA's libraries (our estimate)
RUNTIME_CPU = 0.7 * GIB  # of a process that has imported torch and transformers
CAUTION = 0.92  # share of a GPU's memory that an advised setting may fill: the figures are accurate to about a tenth
MOST_GPUS, MOST_NODES = 8, 1024  # largest settings that are tried


class Memory(NamedTuple):
    """The bytes of one process: in its GPU, or in the machine's memory if it trains on the CPU."""

    weights: float
    gradients: float
    optimizer: float
    buffers: float  # of communication
    activations: float  # of one micro-batch, the loss included; or the buffers of the optimizer step, if larger
    runtime: float
    offloaded: float  # in the machine's memory instead

    @property
    def total(self) -> float:
        """Return the sum of all parts that are not offloaded."""
        return sum(self) - self.offloaded


def estimate_memory(
    shape: Scratch, length: int, precision: str, execution: TrainExecution, adapter: Lora | None = None
) -> Memory:
    """Return the peak memory of one process that trains a student of this shape in rows of `length` tokens."""
    zero = execution.zero
    frozen = float(count_parameters(shape)) if adapter else 0.0
    count = float(count_adapter(shape, adapter) if adapter else count_parameters(shape))  # of the trained parameters
    processes = execution.nodes * (execution.gpus or execution.processes)
    bf16, own = precision == "bf16", count / processes  # own: the process's share of the parameters under ZeRO
    width = 2 if bf16 and zero else 4  # bytes of a weight
    weights = width * (own if zero == 3 else count)
    if bf16 and not zero and not execution.recompute:
        weights += 2 * count  # autocast keeps its bf16 copies until the backward pass has used them
    weights += width * (frozen / processes if zero == 3 else frozen)
    if bf16 and not zero and adapter:
        weights -= 2 * count_matrices(shape)
    if adapter and adapter.quantize:
        weights -= ((2 if bf16 else 4) - NF4) * count_layer_matrices(shape)
    gradients = 4 * (own if zero >= 2 else count)
    optimizer = (8 if zero == 3 and not bf16 else 12) * own if zero else 8 * count
    # the step flattens the gradients (ZeRO 3 group by group) after the activations are freed
    stepping = 4 * (min(GATHERED, own) if zero == 3 else own) if zero >= 2 else 0
    if zero:
        # a CPU's memory is taken only when it is written to, so its buckets never exceed the gradients
        sent = BUCKETS * BUCKET if execution.gpus else min(BUCKET, count)
        buffers = width * (sent + (min(GATHERED, count + frozen) if zero == 3 else 0))
    else:
        buffers = 4 * count if processes > 1 else 0  # DDP copies the gradients
    if execution.offload:
        gradients, optimizer, stepping = (0 if zero >= 2 else gradients), 0, 0
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        buffers=buffers,
        activations=max(activations(shape, length, precision, execution, adapter), stepping),
        runtime=RUNTIME if execution.gpus else RUNTIME_CPU,
        offloaded=16 * own if execution.offload else 0,
    )


def activations(
    shape: Scratch, length: int, precision: str, execution: TrainExecution, adapter: Lora | None = None
) -> float:
    """Return the bytes of a micro-batch's activations when its backward pass begins, and of that pass's work space."""
    tokens = execution.micro_batch_rows * length
    masked = length if needs_mask(length, gpus=execution.gpus) else 0
    layer = tokens * layer_bytes(shape, masked, precision, zero=execution.zero > 0, adapter=adapter)
    stream = 2.0 if precision == "bf16" and execution.zero else 4.0
    kept = tokens * stream * shape.hidden if execution.recompute else layer  # of each layer
    working = 2 * layer if execution.recompute else layer  # one layer's gradients, and its recomputed activations
    gradient = 0.0 if adapter else 4.0 * shape.vocabulary * shape.hidden  # of the head
    head = 2 * gradient + 3 * 4.0 * LOGITS  # a chunk of logits
    if adapter and adapter.quantize:  # a matrix in float32, and in the precision of its product
        working += (6 if precision == "bf16" else 4) * find_largest_matrix(shape)
    return shape.layers * kept + working + 12.0 * tokens * shape.hidden + head


def layer_bytes(shape: Scratch, masked: int, precision: str, *, zero: bool, adapter: Lora | None = None) -> float:
    """Return the bytes per token that one layer keeps for the backward pass, with ZeRO or without.

    These are the inputs of norms, matrix products and attention, each in its own width. In bf16, ZeRO keeps the weights
    themselves in bf16. The attention mask that SDPA gets has a number for each of the `masked` tokens of a row; long
    rows on a GPU have none. With an adapter, the norms are frozen and keep less, and each of its matrices keeps its
    `rank` numbers.
    """
    streams, width = (40, 4) if precision == "fp32" else (24, 2) if zero else (34, 2)
    if adapter:
        streams -= 8 if precision == "fp32" else 4 if zero else 6
    return (
        streams * shape.hidden
        + 4 * width * shape.intermediate
        + width * masked
        + 4 * shape.heads  # attention's normaliser
        + 8  # two norms' scales
        + (width * adapter.rank * len(list_adapted(shape, adapter)) if adapter else 0)
    )


# --- settings that fit -----------------------------------------------------------------------------------------------


class SizedStage(NamedTuple):
    """A stage of the plan that has a student of known shape."""

    node: Node
    recipe: TrainRecipe
    execution: TrainExecution
    shape: Scratch
    length: int

    def memory(self, execution: TrainExecution | None = None) -> Memory:
        """Return the peak memory of one process, under another execution if one is given."""
        how = execution or self.execution
        return estimate_memory(self.shape, self.length, self.recipe.precision, how, self.recipe.adapter)


def find_stage(plan: Plan, store: Store, ref: str) -> SizedStage | None:
    """Return the stage of a train node; None if the shape of its student is not known."""
    node = plan.nodes[ref]
    rows, start = (plan.nodes[node.inputs[role][0]] for role in ("rows", "start"))
    while start.kind == "train":
        start = plan.nodes[start.inputs["start"][0]]
    shape = student_model(
        start, store.find_folder(start.ref) / "model" if store.is_done(start.ref) else None, None
    ).shape
    if not shape:
        return None
    assert isinstance(node.recipe, TrainRecipe)
    assert isinstance(node.execution, TrainExecution)
    assert isinstance(rows.recipe, TokenizeRecipe)
    return SizedStage(node, node.recipe, node.execution, shape, rows.recipe.max_length)


def gpu_memory(execution: TrainExecution) -> float | None:
    """Return the bytes of the GPU that the spec names; None if it names none, or trains on the CPU."""
    return GPUS[execution.gpu].memory if execution.gpus and execution.gpu else None


def nearest_setting(stage: SizedStage) -> TrainExecution | None:
    """Return the setting that fits the named GPU with the least change; with more GPUs only if nothing else fits."""
    room = gpu_memory(stage.execution)
    assert room is not None
    is_quantized = bool(stage.recipe.adapter and stage.recipe.adapter.quantize)
    for execution in itertools.chain(_settings(stage.execution, is_quantized=is_quantized), _larger(stage)):
        if stage.memory(execution).total <= CAUTION * room:
            return execution
    return None


def _settings(now: TrainExecution, *, is_quantized: bool) -> Iterator[TrainExecution]:
    """Return settings on the same GPUs, the least change first: a change that costs little time has a small weight."""
    alone = now.nodes * now.gpus == 1
    found: list[tuple[float, int, TrainExecution]] = []
    for zero, offload, recompute, micro in itertools.product(
        {now.zero, 2, 3} - set(range(now.zero)),
        {now.offload, True},
        {now.recompute, True},
        [rows for rows in range(1, now.micro_batch_rows + 1) if now.micro_batch_rows % rows == 0],
    ):
        if (
            (zero and is_quantized)
            or (offload and not zero)
            or (alone and zero and not offload)
            or (alone and zero == 3)
        ):
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


def _larger(stage: SizedStage) -> Iterator[TrainExecution]:
    """Yield settings with more GPUs that divide the batch, and with everything that saves memory except offloading."""
    now, rows = stage.execution, stage.recipe.batch_rows
    if stage.recipe.adapter and stage.recipe.adapter.quantize:  # each process has all of the weights
        return
    best = {"zero": 3, "recompute": True, "micro_batch_rows": 1}
    more = [(1, gpus) for gpus in range(now.gpus + 1, MOST_GPUS + 1)] if now.nodes == 1 else []
    most = max(now.gpus, MOST_GPUS) if now.nodes == 1 else now.gpus
    more += [(nodes, most) for nodes in range(now.nodes + 1, MOST_NODES + 1)]
    for nodes, gpus in more:
        if rows % (nodes * gpus) == 0:
            yield now.model_copy(update={"nodes": nodes, "gpus": gpus, **best})


# --- text ------------------------------------------------------------------------------------------------------------

_KEYS = {"nodes": "nodes", "gpus": "gpus", "zero": "zero", "offload": "offload", "recompute": "recompute",
         "micro_batch_rows": "micro_batch"}  # fmt: skip


def gib(octets: float) -> str:
    """Return GiB with two digits: `52`, `7.3`, `0.4`."""
    value = octets / GIB
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def describe_changes(before: TrainExecution, after: TrainExecution) -> str:
    """Return the changed keys as hardware.train has them: `zero: 3, recompute: true`."""
    values = {key: getattr(after, name) for name, key in _KEYS.items() if getattr(before, name) != getattr(after, name)}
    return ", ".join(
        f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()
    )


def describe_fix(stage: SizedStage) -> str:
    """Return a clause with the nearest setting that fits, and the GiB that it takes."""
    found = nearest_setting(stage)
    if found is None:
        return "no number of such GPUs holds one row of it: take a smaller student, shorter rows or another GPU"
    return f"with `{describe_changes(stage.execution, found)}` it takes {gib(stage.memory(found).total)}"


def find_errors(plan: Plan, experiment: Experiment, store: Store) -> list[Problem]:
    """Return a problem for each unmade stage that does not fit the GPU of its arm, at that arm's hardware.train."""

    def describe(stage: SizedStage) -> str:
        room, needed = gpu_memory(stage.execution), stage.memory()
        if room is None or needed.total <= room:
            return ""
        parts = ", ".join(f"{name} {gib(getattr(needed, name))}" for name in Memory._fields[:5])
        return (
            f"the student does not fit: it takes {gib(needed.total)} GiB of each {stage.execution.gpu}, which has "
            f"{gib(room)} ({parts}); {describe_fix(stage)}"
        )

    return _collect_problems(plan, experiment, store, describe)


def machine_memory(stage: SizedStage) -> float:
    """Return the bytes that the processes of a stage need of each machine, without its GPUs."""
    execution, needed, adapter = stage.execution, stage.memory(), stage.recipe.adapter
    processes, count = execution.gpus or execution.processes, count_parameters(stage.shape)
    if execution.gpus:
        machine = loaded_memory(count, processes, is_on_gpu=True) + processes * needed.offloaded
    else:
        machine = processes * (needed.total + needed.offloaded)
    # an adapter is merged into a float32 copy of the weights at the end
    return max(machine, loaded_memory(count, 1, is_on_gpu=False)) if adapter else machine


def loaded_memory(parameters: float, processes: int, *, is_on_gpu: bool) -> float:
    """Return the bytes of a machine on which each of `processes` holds, or loads, a model's float32 weights."""
    return processes * (4.0 * parameters + (RUNTIME_HOST if is_on_gpu else RUNTIME_CPU))


def _collect_problems(
    plan: Plan, experiment: Experiment, store: Store, describe: Callable[[SizedStage], str]
) -> list[Problem]:
    """Return a problem for each unmade stage that `describe` gives a text for, at the hardware.train of its arm."""
    texts: dict[str, str] = {}
    found: dict[str, dict[Problem, None]] = {}
    seen = set()
    addresses = plan.experiments[experiment.base.spec.name].addresses
    for name, arm in experiment.arms.items():
        for leg in arm.spec.curriculum:
            ref = addresses[name][f"train/{leg}"]
            if ref in seen or store.is_done(ref):
                continue
            seen.add(ref)
            if not (stage := find_stage(plan, store, ref)):
                continue
            key = f"{stage.shape} {stage.length} {stage.recipe.precision} {stage.recipe.batch_rows} {stage.execution}"
            key += f" {stage.recipe.adapter}"
            if key not in texts:  # a sweep has a thousand stages of one size
                texts[key] = describe(stage)
            if texts[key]:
                problem = Problem(arm.tree.locate(("hardware", "train")), texts[key])
                found.setdefault(name, {})[problem] = None
    return merge_problems(experiment.base.tree, {name: list(problems) for name, problems in found.items()})
