"""What a training process asks of the others that train with it, and how weights and AdamW's state leave and enter
whatever holds them. With one process there is nobody to ask.

`optimizer.safetensors` holds, for each parameter by its name, NAME.exp_avg and NAME.exp_avg_sq (float32, shaped as
the parameter) and NAME.step (float32, no dimension): enough to go on with any number of processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from orcac.errors import InputError

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def any_of(flag: bool) -> bool:
    """Whether `flag` is true in any process; all of them must ask."""
    if not torch.distributed.is_initialized():
        return flag
    device = torch.device("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
    found = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
    return bool(found.item())


def barrier() -> None:
    """Return once all processes are here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def save_weights(trainer: Any, folder: Path) -> None:
    """Write the model's config and weights to `folder`."""
    trainer.model.save_pretrained(folder)


def save_optimizer(trainer: Any, path: Path) -> None:
    """Write AdamW's moments and steps to `path`."""
    state = trainer.optimizer.optimizer.state
    save_file(
        {
            f"{name}.{moment}": state[parameter][moment].detach().cpu().contiguous()
            for name, parameter in trainer.model.named_parameters()
            for moment in MOMENTS
        },
        path,
    )


def load_optimizer(trainer: Any, path: Path) -> None:
    """Set AdamW's moments and steps to those that `path` holds.

    Raises InputError where they are of a model of other parameters.
    """
    state = trainer.optimizer.optimizer.state
    with safe_open(path, framework="pt") as file:
        held = set(file.keys())
        for name, parameter in trainer.model.named_parameters():
            keys = {moment: f"{name}.{moment}" for moment in MOMENTS}
            if held.isdisjoint(keys.values()) or file.get_slice(keys["exp_avg"]).get_shape() != list(parameter.shape):
                raise InputError(
                    f"optimizer: carry: the stage before left no state for {name} {tuple(parameter.shape)}",
                    fix="start this stage with a fresh optimizer",
                )
            state[parameter] = {moment: file.get_tensor(key).to(parameter.device) for moment, key in keys.items()}
