"""The loss of an optimizer step: cross-entropy summed over its supervised tokens, divided by their number over all
rows, micro-batches and processes of the step. So neither micro-batches nor the world size change it.

Logits are computed only for supervised positions, and in chunks whose gradient is taken at once: never more than one
chunk of the (positions, vocabulary) logits exists. The arithmetic is that of whole logits; only the head's products for
unsupervised positions are left out.

The head is called as a module, and once per forward pass, whatever the batch contains. So a partitioned weight (ZeRO-3)
is gathered the same number of times on every rank, and a rank without supervised rows still takes part.

Some models compute more than a linear head: they scale or cap their logits, or scale the head's input.
`checks.choose_loss` detects such a model by comparing its logits with its head's output, bit for bit. The model then
keeps its own logits, and the same loss is computed from them (`sum_cross_entropy`). That costs memory but not
correctness, so the user is notified and the model is accepted. Terms that some models add to their loss (the balance of
a mixture's experts) are left out.
"""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput, ModelOutput

from orcac.tokenize.rowfile import MASKED

MAX_LOGITS = 1 << 23  # in one chunk: 32 MiB in float32


class SupervisedLoss:
    """A replacement of a causal language model's forward pass. A call without labels runs the original pass.

    With `labels`, int64 (rows, length), and `num_items_in_batch`, the number of supervised tokens of the whole
    optimizer step, the output is the loss alone. `chunked` may be turned off; it is off from the start if the head is
    not a plain linear layer.
    """

    def __init__(self, model: PreTrainedModel, *, max_logits: int = MAX_LOGITS) -> None:
        head, plain_forward = model.get_output_embeddings(), model.forward
        head_forward = head.forward
        self.chunked = type(head) is torch.nn.Linear and model.base_model is not model

        # Plain functions: accelerate would take a bound method for the model's own, and bind it to the model again.
        def forward(
            input_ids: torch.Tensor,
            position_ids: torch.Tensor,
            labels: torch.Tensor | None = None,
            num_items_in_batch: torch.Tensor | int | None = None,
            **others: object,
        ) -> ModelOutput:
            inputs = {"input_ids": input_ids, "position_ids": position_ids, **others}
            if labels is None:
                return plain_forward(**inputs)
            targets = functional.pad(labels[:, 1:], (0, 1), value=MASKED)  # the next token of each position
            if self.chunked:
                total = head(model.base_model(**inputs).last_hidden_state, targets)
            else:
                total = sum_cross_entropy(plain_forward(**inputs).logits, targets)
            count = (targets != MASKED).sum() if num_items_in_batch is None else num_items_in_batch
            return CausalLMOutput(loss=total / count)

        def forward_head(hidden: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
            if targets is None:
                return head_forward(hidden)
            return sum_cross_entropy_in_chunks(hidden, head.weight, head.bias, targets, max_logits=max_logits)

        model.forward, head.forward = forward, forward_head


def sum_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of whole logits (..., vocabulary), summed over the targets that are not masked."""
    return functional.cross_entropy(
        logits.flatten(0, -2).float(), targets.flatten(), ignore_index=MASKED, reduction="sum"
    )


@torch.compiler.disable  # the number of supervised positions depends on the data
def sum_cross_entropy_in_chunks(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    *,
    max_logits: int = MAX_LOGITS,
) -> torch.Tensor:
    """Return the sum of `sum_cross_entropy` for the logits of a linear head, without computing them all at once.

    `hidden` (..., width) is the head's input, `weight` (vocabulary, width). A chunk has at most `max_logits` logits,
    but at least one position.
    """
    targets, hidden = targets.flatten(), hidden.flatten(0, -2)
    supervised = (targets != MASKED).nonzero()[:, 0]
    if not len(supervised):  # take one masked position: a loss of 0 that still reaches every parameter
        supervised = supervised.new_zeros(1)
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        hidden = hidden.to(torch.get_autocast_dtype(device))
    result: torch.Tensor = _ChunkedCrossEntropy.apply(hidden[supervised], weight, bias, targets[supervised], max_logits)
    return result


class _ChunkedCrossEntropy(torch.autograd.Function):
    """A sum of cross-entropies whose gradients are computed in the forward pass, while a chunk's logits exist, and only
    scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        max_logits: int,
    ) -> torch.Tensor:
        for_hidden, for_weight, for_bias, *_ = ctx.needs_input_grad
        head = weight.to(hidden.dtype)
        grad_hidden = torch.empty_like(hidden) if for_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if for_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if for_bias and bias is not None else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        size = max(max_logits // len(weight), 1)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), size):
                inputs, expected = hidden[start : start + size], targets[start : start + size]
                logits = functional.linear(inputs, head, None if bias is None else bias.to(hidden.dtype)).float()
                masked = expected == MASKED
                index = expected.masked_fill(masked, 0)[:, None]
                log_probs = torch.log_softmax(logits, dim=-1)
                loss -= log_probs.gather(1, index)[:, 0].masked_fill(masked, 0).sum()
                if not any(ctx.needs_input_grad):
                    continue
                gradient = log_probs.exp_()
                gradient.scatter_add_(1, index, torch.full_like(index, -1, dtype=gradient.dtype))
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
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scale the stored gradients in place, since a second copy of the weight's is large. So it can be called only
        once."""
        gradients, ctx.gradients = ctx.gradients, None
        scaled = [
            None if one is None else one.mul_(gradient).to(dtype)
            for one, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return *scaled, None, None
