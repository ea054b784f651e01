"""The recipe of `train`: one stage of the curriculum, as a model folder under `model/`, and `metrics.jsonl`; if its
rows keep examples apart, also `holdout.jsonl`, the loss on these at some steps.

Inputs: `rows` (one tokenize node), `start` (a student node, or the train node of the previous stage); if a stage with
an adapter goes on from a previous one, `base` (the student node whose weights are frozen); if a stage is as long as
stages of another arm, `same_as` (their tokenize nodes).
The paper gives no hyper-parameters; the defaults are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.recipe import Execution, Frozen, Recipe
from orcac.summary import OMIT_NONE, Summary

__all__ = ["PARTS", "VERSION", "Lora", "TrainExecution", "TrainRecipe", "TrainSummary"]

VERSION = 3
PARTS = 8  # of a stage that keeps examples apart: the loss on them is measured before training and after each part


class Lora(Frozen):
    """Low-rank matrices that are trained beside the student's frozen ones."""

    kind: Literal["lora"] = "lora"
    rank: int
    alpha: float  # their product is multiplied by alpha / rank
    targets: tuple[str, ...]  # names of modules, or ("all-linear",): all linear layers but the output layer
    dropout: float = 0.0
    quantize: Literal["nf4"] | None = None  # the frozen matrices have 4 bits; None: the precision of training


class TrainRecipe(Recipe):
    seed: int
    epochs: int | None = None  # passes over the rows; None if the length is in tokens or steps
    tokens: int | None = None  # tokens to train on, without padding: the stage ends with the step that reaches them
    steps: int | None = None  # optimizer steps; one of epochs, tokens and steps is given, also by `same_as`
    same_epochs: tuple[int, ...] = ()  # epochs over each of the inputs `same_as`, whose tokens are added to `tokens`
    same_batches: tuple[int, ...] = ()  # rows of a step over each of them: their steps are added to `steps` instead
    learning_rate: float
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = 0.03  # fraction of the steps
    batch_rows: int  # rows per optimizer step
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    optimizer: Literal["fresh", "carry"] = "fresh"  # AdamW's moments: zeros, or those of the previous stage
    order: Literal["shuffled", "rows"] = "shuffled"  # of the rows in each epoch; `rows` is the order of the file
    adapter: Lora | None = None  # None: all weights are trained
    keep: Literal["last", "best"] = "last"  # best: the weights of the lowest loss on the examples kept apart
    isolation: bool = True  # if not, an example attends to those before it in its row


class TrainExecution(Execution):
    micro_batch_rows: int = 1  # rows per forward pass on one GPU; times nodes and GPUs it divides batch_rows
    nodes: int = 1  # machines with `gpus` GPUs each
    processes: int = 1  # per machine if it has no GPUs; otherwise there is one per GPU
    zero: int = 0  # DeepSpeed ZeRO stage
    offload: bool = False  # keep AdamW's state in the machine's memory (ZeRO)
    recompute: bool = False  # recompute activations in the backward pass: less memory, a third more arithmetic
    compile: bool = False  # torch.compile
    keep_optimizer: bool = False  # store AdamW's state in the artifact, for a next stage that carries it on
    gpu: str | None = None  # type of GPU, for estimates
    mfu: float | None = None  # measured fraction of the GPU's peak that training reaches, for estimates
    usd_per_gpu_hour: float | None = None
    save_every_seconds: int = 30  # the most work that a kill costs


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary(Summary):
    """The summary of a trained stage; its figures of speed and memory are those of the last try."""

    kind: ClassVar[str] = "train"

    steps: int
    tokens: int  # trained on, without padding
    supervised_tokens: int
    first_loss: float  # of the first step
    final_loss: float
    # loss on the examples that are kept apart, before and after training; None without a holdout
    holdout_first_loss: float | None = field(default=None, metadata=OMIT_NONE)
    holdout_final_loss: float | None = field(default=None, metadata=OMIT_NONE)
    kept_step: int | None = field(default=None, metadata=OMIT_NONE)  # with `keep: best`, the step of the weights
    tokens_per_second: int | None = None  # None if the stage was too short to measure it
    mfu: float | None = None  # fraction of the peak of `mfu_of`; None in the same case
    mfu_of: str = ""  # the GPU or the matrix product that sets the peak
    peak_gib: float | None = None  # the most memory that rank 0 used: of its GPU, or of the process without one
    processes: int = 1
    trained_parameters: int | None = field(default=None, metadata=OMIT_NONE)  # of the adapter; None without one
