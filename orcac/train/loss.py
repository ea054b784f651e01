"""The loss of an optimizer step: cross-entropy summed over its supervised tokens, divided by how many they are over
all rows, micro-batches and processes of the step. So neither micro-batches nor the world size move it.

Logits are computed for supervised positions alone, and in chunks that each give their gradient at once: of
(positions, vocabulary) no more than a chunk ever exists. The arithmetic is that of the plain way; only the head's
products for positions that teach nothing are left out.

The head is called as the module that it is, once a forward pass, whatever the batch holds: so what gathers a
partitioned weight (ZeRO-3) does so as many times on every rank, and a rank whose rows teach nothing still takes part.

Not every model's logits are what a linear head gives: some scale or cap them, or scale what goes in.
`checks.choose_loss` finds that out on the model itself, bit by bit; such a model keeps its own logits, and the same
loss of them (`plain`). It costs memory and never correctness, so a line says it and nothing is refused.
What some models add to their loss (the balance of a mixture's experts) is left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_outputs import CausalLMOutput

from orcac.tokenize.rowfile import MASKED

CHUNK = 1 << 23  # logits at once: 32 MiB in float32


class SupervisedLoss:
    """Takes the place of a causal language model's forward pass; without labels that stays as it was.

    With `labels`, int64 (rows, length), and `num_items_in_batch`, the supervised tokens of the whole optimizer step,
    the output is the loss alone. `chunked` may be turned off; it is off where the head is no plain linear layer.
    """

    def __init__(self, model: Any) -> None:
        head, plain_forward = model.get_output_embeddings(), model.forward
        head_forward = head.forward
        self.chunked = type(head) is torch.nn.Linear and model.base_model is not model

        # Plain functions: accelerate takes a bound method for the model's own, and binds it to the model again.
        def forward(
            input_ids: torch.Tensor,
            position_ids: torch.Tensor,
            labels: torch.Tensor | None = None,
            num_items_in_batch: torch.Tensor | int | None = None,
            **others: Any,
        ) -> Any:
            inputs = {"input_ids": input_ids, "position_ids": position_ids, **others}
            if labels is None:
                return plain_forward(**inputs)
            targets = functional.pad(labels[:, 1:], (0, 1), value=MASKED)  # what each position is to foresee
            if self.chunked:
                total = head(model.base_model(**inputs).last_hidden_state, targets)
            else:
                total = plain(plain_forward(**inputs).logits, targets)
            count = (targets != MASKED).sum() if num_items_in_batch is None else num_items_in_batch
            return CausalLMOutput(loss=total / count)

        def of_head(hidden: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
            if targets is None:
                return head_forward(hidden)
            return summed(hidden, head.weight, head.bias, targets)

        model.forward, head.forward = forward, of_head


def plain(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of whole logits (..., vocabulary), summed over the targets that are not masked."""
    return functional.cross_entropy(
        logits.flatten(0, -2).float(), targets.flatten(), ignore_index=MASKED, reduction="sum"
    )


@torch.compiler.disable  # how many positions are supervised is known to the data alone
def summed(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    """The same from what goes into a linear head: `hidden` (..., width), `weight` (vocabulary, width)."""
    targets, hidden = targets.flatten(), hidden.flatten(0, -2)
    chosen = (targets != MASKED).nonzero()[:, 0]
    if not len(chosen):  # a loss of 0 that still reaches every parameter
        chosen = chosen.new_zeros(1)
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        hidden = hidden.to(torch.get_autocast_dtype(device))
    result: torch.Tensor = _Chunks.apply(hidden[chosen], weight, bias, targets[chosen])
    return result


class _Chunks(torch.autograd.Function):
    """Gradients are taken forward, chunk by chunk, while the chunk's logits are there, and scaled backward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
    ) -> torch.Tensor:
        for_hidden, for_weight, for_bias, _ = ctx.needs_input_grad
        head = weight.to(hidden.dtype)
        grad_hidden = torch.empty_like(hidden) if for_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if for_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if for_bias and bias is not None else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        size = max(CHUNK // len(weight), 1)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), size):
                inputs, wanted = hidden[start : start + size], targets[start : start + size]
                logits = functional.linear(inputs, head, None if bias is None else bias.to(hidden.dtype)).float()
                masked = wanted == MASKED
                at = wanted.masked_fill(masked, 0)[:, None]
                scores = torch.log_softmax(logits, dim=-1)
                loss -= scores.gather(1, at)[:, 0].masked_fill(masked, 0).sum()
                if not any(ctx.needs_input_grad):
                    continue
                gradient = scores.exp_()
                gradient.scatter_add_(1, at, torch.full_like(at, -1, dtype=gradient.dtype))
                gradient.masked_fill_(masked[:, None], 0)
                if grad_bias is not None:
                    grad_bias += gradient.sum(0)
                gradient = gradient.to(hidden.dtype)
                if grad_hidden is not None:
                    torch.mm(gradient, head, out=grad_hidden[start : start + size])
                if grad_weight is not None and gradient.dtype == torch.float32:
                    grad_weight.addmm_(gradient.T, inputs)
                elif grad_weight is not None:
                    grad_weight += gradient.T @ inputs
        ctx.gradients = grad_hidden, grad_weight, grad_bias
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Scales in place, since a second copy of the weight's is large: so it can be called once."""
        gradients, ctx.gradients = ctx.gradients, None
        scaled = [
            None if one is None else one.mul_(gradient).to(dtype)
            for one, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return *scaled, None
