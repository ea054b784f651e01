"""The implementation of attention that a stage computes with.

SDPA isolates packed examples by a mask that has a number for each pair of a row's tokens, and each layer keeps one for
its backward pass: 0.5 GiB for a row of 16,384 tokens in bf16. So long rows on a GPU take an attention that skips the
pairs between examples: FlashAttention, if it is installed and can, and else flex attention, which is a part of torch.
FlashAttention computes in bf16 alone, and transformers finds the boundaries of examples for it only if a forward pass
has a single row. All else, and every stage on a CPU, takes the model's default, SDPA for nearly all.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from orcac.errors import OrcacError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["check_attention", "list_maskless", "read_attention", "set_attention"]

FLASH, FLEX = "flash_attention_2", "flex_attention"


def list_maskless(*, precision: str, micro_batch: int) -> list[str]:
    """Return the implementations without a mask that give right results, by transformers' names, the best first.

    `micro_batch`: rows of a forward pass
    """
    return [FLASH, FLEX] if precision == "bf16" and micro_batch == 1 else [FLEX]


def set_attention(model: PreTrainedModel, names: list[str]) -> str:
    """Make the model use the first implementation of `names` that it has and that is installed, and return its name.

    If there is none, the model keeps its own.
    """
    for name in names:
        if name == FLEX and getattr(model.config.get_text_config(), "attention_dropout", None):
            continue  # it knows no dropout
        with contextlib.suppress(ValueError, ImportError):
            model.set_attn_implementation(name)
            break
    return read_attention(model)


def read_attention(model: PreTrainedModel) -> str:
    """Return transformers' name of the implementation that the model's text part uses."""
    name: str = model.config.get_text_config()._attn_implementation
    return name


def check_attention(model: PreTrainedModel, expected: str) -> None:
    """Raise OrcacError if the model does not use the implementation that was set: libraries replace it in silence."""
    if read_attention(model) != expected:
        raise OrcacError(
            f"the model uses {read_attention(model)} attention instead of {expected}",
            fix="report this as a bug, with the model's config.json",
        )
