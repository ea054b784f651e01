"""Frozen matrices in 4 bits, for an adapter that is trained beside them (QLoRA, Dettmers et al. 2023, through
bitsandbytes).

Every linear layer but the output layer is stored as NF4: 64 weights share one float32 scale, and each is one of 16
values of that scale. A product turns a layer back into numbers of the width of its input. So the base of the adapter is
the rounded model, and not the student: an adapter is trained for it, and `round_weights` makes it again for the merge.

Layers are quantized on the CPU, whatever device trains them, so that a retry has the same bits, and a GPU never holds
the whole weights.

bitsandbytes has a faster product for CPUs with AVX512-BF16, which it takes in evaluation mode: it rounds input and
scales to bf16, and stores the layer in another layout for good. On a student of float32 weights, training and
evaluation would disagree by a hundredth of the largest logit. So that product is turned off here, and both are the
product with `dequantize_4bit`, bit for bit.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from orcac.errors import InputError

BLOCK = 64  # weights that share a scale
_TYPE = "nf4"


def quantize(model: PreTrainedModel, *, computes_in: torch.dtype) -> None:
    """Replace the linear layers of a model, which must be on the CPU, by frozen ones of 4 bits.

    computes_in: the type of their input and output, and of their weights in a product
    Raises InputError if the model has none.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # else it warns that a package of kernels is missing
    from bitsandbytes.nn import Linear4bit, Params4bit

    if not any(_list_layers(model)):
        raise InputError(
            f"student.adapter: {type(model).__name__} has no linear layers to quantize",
            fix="remove `quantize`, or take another student",
        )
    for parent, name, layer in list(_list_layers(model)):
        frozen = Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=False,
            compress_statistics=False,
            quant_type=_TYPE,
            device="meta",  # draws no random numbers
        )
        weight = Params4bit(
            layer.weight.data.float(),
            requires_grad=False,
            blocksize=BLOCK,
            compress_statistics=False,
            quant_type=_TYPE,
            module=frozen,
        )
        frozen.weight, frozen.bias = weight.to("cpu"), layer.bias
        frozen.support_avx512bf16_for_cpu = False
        frozen.register_forward_pre_hook(functools.partial(_cast_input, to=computes_in))
        if frozen.bias is not None:
            frozen.bias.requires_grad_(False)
        setattr(parent, name, frozen)


def round_weights(model: PreTrainedModel) -> None:
    """Round the weights of a model to those that `quantize` gives it; their type stays."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    for _, _, layer in _list_layers(model):
        packed, state = quantize_4bit(
            layer.weight.data.float(), blocksize=BLOCK, compress_statistics=False, quant_type=_TYPE
        )
        layer.weight.data.copy_(dequantize_4bit(packed, state))


def count_weights(part: torch.nn.Parameter) -> int:
    """Return the number of weights of a parameter: two for each byte of a quantized one, all of them under ZeRO-3."""
    state = getattr(part, "quant_state", None)
    return int(getattr(part, "ds_numel", part.numel()) if state is None else state.shape.numel())


def find_share(model: PreTrainedModel) -> float:
    """Return the fraction of a model's weights that are quantized."""
    parts = [(count_weights(part), hasattr(part, "quant_state")) for part in model.parameters()]
    return sum(size for size, is_quantized in parts if is_quantized) / sum(size for size, _ in parts)


def _list_layers(model: PreTrainedModel) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Linear]]:
    """Yield each linear layer but the output layer, behind the module that has it and its name there."""
    head = model.get_output_embeddings()
    for parent in model.modules():
        for name, layer in parent.named_children():
            if isinstance(layer, torch.nn.Linear) and layer is not head:
                yield parent, name, layer


def _cast_input(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], *, to: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Convert the input as autocast does for other layers: it does not reach a product of bitsandbytes.

    The layer's own `compute_dtype` would do so as well, but give its output another type, and peft's matrices this one.
    """
    return (inputs[0].to(to),)
