"""The log-likelihood of continuations: the model's log-probability of each one's tokens after a prompt.

A prompt passes through the model once for all its continuations, and starts from the cache of the prompt before it as
far as both begin alike (`decoding.read_prompts`). Its cache is then repeated for each continuation, and these pass
together, padded on the right: a causal model never looks there, so no mask is needed, and a likelihood does not depend
on the others. Models that `decoding` does not support read each prompt and continuation as one sequence.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orcac.model.decoding import is_supported, read_prompts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["score_continuations"]

Ids = Sequence[int]


def score_continuations(
    model: PreTrainedModel, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]]
) -> list[list[float]]:
    """Return the natural logarithm of the probability of each prompt's continuations, of at least one token each."""
    import torch

    scores: list[list[float]] = [[] for _ in prompts]
    with torch.inference_mode():
        if not is_supported(model):
            return [
                [_score_sequence(model, prompt, ids) for ids in of_prompt]
                for prompt, of_prompt in zip(prompts, continuations, strict=True)
            ]
        for row, cache, logits in read_prompts(model, prompts):
            found = continuations[row]
            width = max(map(len, found)) - 1  # the last token is read from the logits before it
            by_place = logits[:, None].expand(len(found), 1, -1)
            if width:
                repeated = copy.deepcopy(cache)  # the next prompt may start from the original
                repeated.batch_repeat_interleave(len(found))
                padded = [[*ids[:-1], *[0] * (width + 1 - len(ids))] for ids in found]
                further = model(
                    input_ids=torch.tensor(padded, device=model.device), past_key_values=repeated, use_cache=True
                ).logits
                by_place = torch.cat([by_place, further], 1)
            scores[row] = [_sum(of_one, ids) for of_one, ids in zip(by_place, found, strict=True)]
    return scores


def _score_sequence(model: PreTrainedModel, prompt: Ids, ids: Ids) -> float:
    import torch

    whole = torch.tensor([[*prompt, *ids[:-1]]], device=model.device)
    return _sum(model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 :], ids)


def _sum(logits: torch.Tensor, ids: Ids) -> float:
    """Return the log-probability of `ids`; `logits` is float (places, vocabulary), for these places or more."""
    import torch

    values = logits[: len(ids)].float()
    wanted = torch.tensor(ids, device=logits.device)[:, None]
    return float((values.gather(-1, wanted)[:, 0] - values.logsumexp(-1)).sum())
