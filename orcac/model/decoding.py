"""Decoding with a KV cache: prompts are read one by one, their answers grow together.

On a CPU a prompt passes through the model alone, so nothing is computed for padding and no mask is needed. It starts
from the cache of the prompt before it as far as both begin alike: the system message of a chat template, the worked
examples of a benchmark. The caches are then joined, padded on the left. On a GPU, where many short passes take longer
than one pass with padding, the prompts of a batch are read together. Then each step adds one token to every answer. An
answer that ends leaves the batch.

transformers' `generate` pads the prompts of a batch to the longest, and computes every row until the last answer ends.
It remains the way for models whose cache has layers other than (sliding) attention, or that take no position ids.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel

HasEnded = Callable[[Sequence[int]], bool]  # of the ids of an answer
Force = Callable[[int, Sequence[int]], int | None]  # of a row and the ids of its answer so far
_ARGUMENTS = {"attention_mask", "position_ids", "past_key_values", "logits_to_keep"}


class Sampler(Protocol):
    """A change of the scores of all rows, after which the token of the largest score is taken."""

    def __call__(self, input_ids: torch.Tensor | None, scores: torch.Tensor) -> torch.Tensor: ...

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these; the next scores are theirs."""


def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    *,
    ends: Collection[int],
    pad: int,
    sampler: Sampler | None = None,
    one_by_one: bool = True,
    has_ended: HasEnded = lambda ids: False,
    force: Force = lambda row, ids: None,
) -> list[list[int]]:
    """Return the ids that follow each prompt, up to and including the first of `ends`, at most `limits` of them.

    Greedy without a sampler. Every limit is at least 1.

    one_by_one: each prompt is read by itself
    has_ended: returns whether the ids of an answer end it, besides `ends`
    force: returns the next id of a row, given its ids; None leaves the choice to the model
    """
    import torch

    from orcac.model.cache import make_room

    with torch.inference_mode():
        if not is_supported(model):
            return _generate(
                model, prompts, limits, ends=ends, pad=pad, sampler=sampler, has_ended=has_ended, force=force
            )
        lengths = torch.tensor([len(ids) for ids in prompts], device=model.device)
        ids, mask = _pad(prompts, pad)
        mask = mask.to(model.device)
        cache, logits = _read(model, prompts) if one_by_one else _read_together(model, ids, mask)
        make_room(cache, max(limits))
        answers: list[list[int]] = [[] for _ in prompts]
        rows = list(range(len(prompts)))  # those whose answers have not ended
        while True:
            tokens = (sampler(None, logits) if sampler else logits).argmax(-1)
            for place, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
                forced = force(row, answers[row])
                if forced is not None:
                    tokens[place] = forced
                answers[row].append(token if forced is None else forced)
            kept = [
                place
                for place, row in enumerate(rows)
                if answers[row][-1] not in ends and len(answers[row]) < limits[row] and not has_ended(answers[row])
            ]
            if not kept:
                return answers
            if len(kept) < len(rows):
                rows = [rows[place] for place in kept]
                places = torch.tensor(kept, device=model.device)
                cache.batch_select_indices(places)
                mask, lengths, tokens = mask[places], lengths[places], tokens[places]
                if sampler:
                    sampler.keep(kept)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], -1)
            logits = model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=lengths[:, None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            lengths = lengths + 1


def is_supported(model: PreTrainedModel) -> bool:
    """Return whether `decode` can join and thin out the model's cache."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    layers = {type(layer) for layer in DynamicCache(config=model.config).layers}
    arguments = inspect.signature(model.forward).parameters
    return layers <= {DynamicLayer, DynamicSlidingWindowLayer} and arguments.keys() >= _ARGUMENTS


def _read(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> tuple[DynamicCache, torch.Tensor]:
    """Return the joined cache of the prompts, and the logits after each, float (rows, vocabulary)."""
    import torch

    found = {row: (cache, logits) for row, cache, logits in read_prompts(model, prompts)}
    caches, logits = zip(*(found[row] for row in range(len(prompts))), strict=True)
    return _join(caches), torch.cat(logits)


def read_prompts(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]]
) -> Iterator[tuple[int, DynamicCache, torch.Tensor]]:
    """Yield each prompt's row, its cache, and the logits after it, float (1, vocabulary); like beginnings together.

    The caller may not change a cache before it asks for the next one.
    """
    import torch
    from transformers import DynamicCache

    last: Sequence[int] = ()
    cache = DynamicCache(config=model.config)
    for row in sorted(range(len(prompts)), key=lambda row: list(prompts[row])):  # like beginnings follow one another
        ids = prompts[row]
        shared = _count_shared(last, ids[:-1])  # the model must see one token at least
        if any(layer.keys is not None and layer.keys.shape[-2] < len(last) for layer in cache.layers):
            shared = 0  # a sliding window has left the beginning behind
        cache = _copy(model, cache, shared)
        found = model(
            input_ids=torch.tensor([ids[shared:]], device=model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        last = ids
        yield row, cache, found.logits[:, -1]


def _read_together(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> tuple[DynamicCache, torch.Tensor]:
    """Return the results of `_read`, after one pass over all prompts; ids and mask: int64 (rows, longest prompt)."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    found = model(
        input_ids=ids.to(model.device),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp_min(0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return cache, found.logits[:, -1]


def _pad(prompts: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ids, padded on the left, and the mask of the prompts: int64 (rows, longest prompt)."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask


def _count_shared(first: Iterable[int], second: Iterable[int]) -> int:
    """Return the number of ids that both begin with."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def _copy(model: PreTrainedModel, cache: DynamicCache, count: int) -> DynamicCache:
    """Return a cache with the first `count` tokens of another."""
    from transformers import DynamicCache

    states = [(layer.keys[..., :count, :], layer.values[..., :count, :]) for layer in cache.layers] if count else None
    return DynamicCache(states, config=model.config)


def _join(caches: Sequence[DynamicCache]) -> DynamicCache:
    """Return the caches of single rows as one cache, padded on the left. It empties them layer by layer."""
    import torch
    from torch.nn.functional import pad

    joined = max(caches, key=lambda cache: cache.get_seq_length())
    for number, layer in enumerate(joined.layers):
        parts = [cache.layers[number] for cache in caches]
        for name in ("keys", "values"):
            states = [getattr(part, name) for part in parts]
            width = max(state.shape[-2] for state in states)
            padded = [pad(state, (0, 0, width - state.shape[-2], 0)) for state in states]
            for part in parts:
                setattr(part, name, None)
            setattr(layer, name, torch.cat(padded))
    return joined


def _generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    *,
    ends: Collection[int],
    pad: int,
    sampler: Sampler | None,
    has_ended: HasEnded,
    force: Force,
) -> list[list[int]]:
    """Do as `decode`, for any model."""
    from transformers import GenerationConfig, LogitsProcessorList

    ids, mask = _pad(prompts, pad)

    def choose(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = sampler(input_ids, scores) if sampler else scores
        for row, answer in enumerate(input_ids[:, ids.shape[1] :].tolist()):
            if (token := force(row, answer)) is not None:
                scores[row] = float("-inf")
                scores[row, token] = 0.0
        return scores

    generated = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        logits_processor=LogitsProcessorList([choose]),
        generation_config=GenerationConfig(
            max_new_tokens=max(limits), do_sample=False, eos_token_id=sorted(ends), pad_token_id=pad
        ),
    )
    answers = generated[:, ids.shape[1] :].tolist()
    return [_cut_at_end(row[:limit], ends, has_ended) for row, limit in zip(answers, limits, strict=True)]


def _cut_at_end(ids: list[int], ends: Collection[int], has_ended: HasEnded) -> list[int]:
    """Return `ids` up to and including the first at which the answer ends."""
    for index, token in enumerate(ids):
        if token in ends or has_ended(ids[: index + 1]):
            return ids[: index + 1]
    return ids
