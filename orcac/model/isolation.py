"""The exact test that a model keeps examples apart which share a row.

Position ids that start again mark the examples of a row. Attention can respect them; the state of a recurrent
layer or the window of a convolution runs on, unless the model resets it. So hybrids (Mamba, LFM2, Granite, Qwen3-Next)
accept the positions and still let an example read its neighbour, by an amount that can vanish in the rounding of bf16.

If nothing of the first example reaches the second, the derivative of the second one's logits by the first one's
embeddings is 0 in every bit, whatever the precision: masked attention multiplies by an exact 0, and an expert computes
its tokens one by one. So the derivative is compared with 0, without a tolerance.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from orcac.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_TOKENS = 8  # of each example
_FIX = "write `packing: none` in `student`: each example then has a row of its own"


def check_separates(model: PreTrainedModel) -> None:
    """Raise InputError if the model's forward pass takes no `position_ids`: it then reads a row as one text."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise InputError(
            f"{type(model).__name__} takes no position_ids, so it cannot separate examples that share a row", fix=_FIX
        )


def check_isolates(model: PreTrainedModel) -> None:
    """Raise InputError if an example's logits depend on the example before it in a row.

    The model is left in evaluation mode, without a cache, and with frozen weights.
    """
    check_separates(model)
    if leak := compute_leak(model):
        raise InputError(
            f"{type(model).__name__} does not separate examples that share a row: the logits of one change with the "
            f"one before it (a derivative of {leak:.2g} instead of 0)",
            fix=_FIX,
        )


def compute_leak(model: PreTrainedModel) -> float:
    """Return the largest derivative of an example's logits, squared and added up, by an embedding of the example before
    it; 0.0 if the model keeps them apart."""
    import torch

    model.eval().requires_grad_(False)
    model.config.use_cache = False
    vocabulary = model.get_input_embeddings().weight.shape[0]
    tokens = torch.arange(2 * _TOKENS)[None] % vocabulary
    positions = (torch.arange(2 * _TOKENS) % _TOKENS)[None]
    seen: list[torch.Tensor] = []

    def record(_: torch.nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        seen.append(output.requires_grad_())
        return output

    handle = model.get_input_embeddings().register_forward_hook(record)
    try:
        with torch.enable_grad():
            logits = model(input_ids=tokens, position_ids=positions).logits[0, _TOKENS:].float()
            (gradient,) = torch.autograd.grad(logits.square().sum(), seen[:1])
    finally:
        handle.remove()
    return float(gradient[0, :_TOKENS].float().abs().max())
