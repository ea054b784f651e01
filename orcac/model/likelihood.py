"""The log-likelihood of continuations: the model's log-probability of each one's tokens after a prompt.

A prompt passes through the model once for all its continuations, and starts from the cache of the prompt before it as
far as both begin alike (`decoding.read_prompts`). Its cache is then repeated for each continuation, and these pass
together, padded on the right: a causal model never looks there, so no mask is needed, and a likelihood does not depend
on the others. Long continuations pass in pieces, since their logits are larger than the model. Models that `decoding`
does not support read each prompt and continuation as one sequence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orcac.model.decoding import is_supported, read_prompts

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel

__all__ = ["score_continuations"]

Ids = Sequence[int]
_PIECE = 512  # tokens of a continuation that pass together: 100 MB of logits over a vocabulary of 50,000


def score_continuations(
    model: PreTrainedModel, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], *, piece: int = _PIECE
) -> list[list[float]]:
    """Return the natural logarithm of the probability of each prompt's continuations, of at least one token each.

    piece: the tokens of a continuation that pass together
    """
    import torch

    scores: list[list[float]] = [[] for _ in prompts]
    with torch.inference_mode():
        if not is_supported(model):
            return [
                [_score_sequence(model, prompt, ids) for ids in of_prompt]
                for prompt, of_prompt in zip(prompts, continuations, strict=True)
            ]
        for row, cache, logits in read_prompts(model, prompts):
            found, done = continuations[row], 0
            scores[row] = [0.0] * len(found)
            for by_place in _read_places(model, cache, logits, found, piece):
                parts = zip(scores[row], by_place, found, strict=True)
                scores[row] = [score + _sum(of_one, ids[done : done + len(of_one)]) for score, of_one, ids in parts]
                done += by_place.shape[1]
    return scores


def _read_places(
    model: PreTrainedModel, cache: DynamicCache, logits: torch.Tensor, found: Sequence[Ids], piece: int
) -> Iterator[torch.Tensor]:
    """Yield the logits before the places of continuations, float (continuations, places, vocabulary), in pieces.

    `logits`, float (1, vocabulary), are those before the first place, and `cache` is that of the prompt. A shorter
    continuation has places beyond its end.
    """
    import torch

    width = max(map(len, found)) - 1  # the last token is read from the logits before it
    first = logits[:, None].expand(len(found), 1, -1)
    if not width:
        yield first
        return
    repeated = copy.deepcopy(cache)  # the next prompt may start from the original
    repeated.batch_repeat_interleave(len(found))
    padded = [[*ids[:-1], *[0] * (width + 1 - len(ids))] for ids in found]
    for start in range(0, width, piece):
        some = torch.tensor([ids[start : start + piece] for ids in padded], device=model.device)
        further = model(input_ids=some, past_key_values=repeated, use_cache=True).logits
        yield further if start else torch.cat([first, further], 1)


def _score_sequence(model: PreTrainedModel, prompt: Ids, ids: Ids) -> float:
    import torch

    whole = torch.tensor([[*prompt, *ids[:-1]]], device=model.device)
    return _sum(model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 :], ids)


def _sum(logits: torch.Tensor, ids: Ids) -> float:
    """Return the log-probability of `ids`; `logits` is float (places, vocabulary), for these places or more."""
    import torch

    values = logits[: len(ids)].float()
    wanted = torch.tensor(ids, dtype=torch.long, device=logits.device)[:, None]
    return float((values.gather(-1, wanted)[:, 0] - values.logsumexp(-1)).sum())
