"""What `train` makes: one stage of the curriculum, as a model directory under `model/`, and `metrics.jsonl`.

Inputs: `rows` (one tokenize node), `start` (a student node, or the train node of the stage before).
The optimizer starts fresh in every stage. The paper gives no hyper-parameters; the defaults are ours.
"""

from __future__ import annotations

from typing import Literal

from orcac.recipe import Execution, Recipe

__all__ = ["VERSION", "TrainExecution", "TrainRecipe"]

VERSION = 1


class TrainRecipe(Recipe):
    seed: int
    epochs: int
    learning_rate: float
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = 0.03  # share of the steps
    batch_rows: int  # rows an optimizer step
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"


class TrainExecution(Execution):
    micro_batch_rows: int = 1  # rows a forward pass; divides batch_rows
    save_every_seconds: int = 30  # how much work a kill may cost
