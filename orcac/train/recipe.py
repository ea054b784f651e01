"""What `train` makes: one stage of the curriculum, as a model directory under `model/`, and `metrics.jsonl`.

Inputs: `rows` (one tokenize node), `start` (a student node, or the train node of the stage before).
The paper gives no hyper-parameters; the defaults are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from orcac.recipe import Execution, Recipe
from orcac.summary import Summary

__all__ = ["VERSION", "TrainExecution", "TrainRecipe", "TrainSummary"]

VERSION = 2


class TrainRecipe(Recipe):
    seed: int
    epochs: int | None = None  # passes over the rows; exactly one of epochs and tokens
    tokens: int | None = None  # trained on, padding left out: the stage ends with the step that reaches them
    learning_rate: float
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = 0.03  # share of the steps
    batch_rows: int  # rows an optimizer step
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    optimizer: Literal["fresh", "carry"] = "fresh"  # AdamW's moments: new, or those that the stage before left


class TrainExecution(Execution):
    micro_batch_rows: int = 1  # rows a forward pass on one GPU; times nodes and GPUs it divides batch_rows
    nodes: int = 1  # machines, of `gpus` GPUs each
    processes: int = 1  # a machine, where it has no GPUs; else there is one a GPU
    zero: int = 0  # DeepSpeed ZeRO stage
    offload: bool = False  # AdamW's state in the machine's memory (ZeRO)
    recompute: bool = False  # activations, in the backward pass: less memory, a third more arithmetic
    compile: bool = False  # torch.compile
    keep_optimizer: bool = False  # in the artifact, for a stage that may carry it on
    gpu: str | None = None  # which GPU, for estimates
    mfu: float | None = None  # share of its peak that training was measured to reach, for estimates
    usd_per_gpu_hour: float | None = None
    save_every_seconds: int = 30  # how much work a kill may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary(Summary):
    """The figures of speed and memory are those of the last try."""

    kind: ClassVar[str] = "train"

    steps: int
    tokens: int  # trained on, padding left out
    supervised_tokens: int
    first_loss: float  # of the first step
    final_loss: float
    tokens_per_second: int | None = None  # None if the stage was too short to measure it
    mfu: float | None = None  # share of the peak of `mfu_of`; None likewise
    mfu_of: str = ""  # the GPU, or the matrix product, whose peak it is
    peak_gib: float | None = None  # the most memory of the first process: of its GPU, or its own
    processes: int = 1
