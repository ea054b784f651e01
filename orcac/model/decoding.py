"""Decoding with a KV cache: prompts are read one by one, their answers grow together.

On a CPU a prompt passes through the model alone, so nothing is computed for padding and no mask is needed. It starts
from the cache of the prompt before it as far as both begin alike: the system message of a chat template, the worked
examples of a benchmark. On a GPU, and by a small model, several prompts are read together, since many short passes take
longer than one pass with padding. Then each step adds one token to every answer. An answer that ends leaves, and the
next prompt takes its place (continuous batching; Yu et al. 2022, Orca: a serving system), so that a step has many rows
until the last prompts are read: a step for few rows takes nearly as long, since it reads all weights.

transformers' `generate` pads the prompts of a batch to the longest, and computes every row until the last answer ends.
It remains the way for models whose cache has layers other than (sliding) attention, or that take no position ids.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel

HasEnded = Callable[[Sequence[int]], bool]  # of the ids of an answer
Force = Callable[[int, Sequence[int]], int | None]  # of a prompt's number and the ids of its answer so far
_ROOM = 128  # tokens for which a full cache gets room: to copy it takes as long as some of their steps
_ARGUMENTS = {"attention_mask", "position_ids", "past_key_values", "logits_to_keep"}


class Sampler(Protocol):
    """A change of the scores of some prompts, after which the token of the largest score is taken."""

    def __call__(self, numbers: Sequence[int], scores: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to decode."""

    number: int  # its name: answers come in another order
    ids: Sequence[int]
    limit: int  # the most tokens of its answer, at least 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules by which answers grow and end. Greedy without a sampler."""

    ends: Collection[int]  # ids that end an answer, of which they are the last
    pad: int
    sampler: Sampler | None = None
    has_ended: HasEnded = lambda ids: False  # returns whether the ids of an answer end it, besides `ends`
    force: Force = lambda number, ids: None  # returns the next id of an answer; None leaves the choice to the model


Ended = list[tuple[int, list[int]]]  # the numbers of prompts, and the ids that follow them


def decode(
    model: PreTrainedModel,
    prompts: Iterable[Prompt],
    rules: Rules,
    *,
    fits: Callable[[int], int],
    one_by_one: bool = True,
) -> Iterator[Ended]:
    """Yield the ids that follow each prompt, when its answer ends.

    A prompt is taken when there is a place for it; those that come first should be the longest.

    fits: returns how many rows may be decoded together if the longest prompt has so many tokens
    one_by_one: each prompt is read by itself, as soon as there is a place for it
    """
    import torch

    supported = is_supported(model)
    rows, left = _Rows(model, rules), _Queue(prompts)
    while True:
        free = fits(max(rows.longest, left.length)) - len(rows)
        taken = left.take(free) if free > 0 and (one_by_one or free * 4 >= len(rows)) else []
        if not taken and not len(rows):
            return
        with torch.inference_mode():  # it may not be on while the caller has the generator's answers
            if not supported:
                ended = _generate(model, taken, rules)
            else:
                if taken:
                    rows.read(taken, one_by_one=one_by_one)
                ended = rows.choose()
                if not ended or not left.length:  # otherwise the places are filled first
                    rows.step()
        if ended:
            yield ended


class _Queue:
    """The prompts that are not taken yet."""

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self._left = iter(prompts)
        self._first: list[Prompt] = list(islice(self._left, 1))

    @property
    def length(self) -> int:
        """The tokens of the next prompt, 0 if there is none."""
        return len(self._first[0].ids) if self._first else 0

    def take(self, count: int) -> list[Prompt]:
        taken = [*self._first, *islice(self._left, count - len(self._first))]
        self._first = list(islice(self._left, 1))
        return taken


@dataclass(slots=True)
class _Row:
    """An answer that grows."""

    prompt: Prompt
    answer: list[int] = field(default_factory=list)


class _Rows:
    """The answers that grow together."""

    def __init__(self, model: PreTrainedModel, rules: Rules) -> None:
        from orcac.model.cache import RowCache

        self._model, self._rules = model, rules
        self._reader, self._cache = _Reader(model), RowCache(model.config)
        self._rows: list[_Row] = []
        self._logits: list[torch.Tensor] = []  # of the last rows, the next tokens of which are to be chosen

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def longest(self) -> int:
        """The tokens of the longest prompt."""
        return max((len(row.prompt.ids) for row in self._rows), default=0)

    def read(self, prompts: Sequence[Prompt], *, one_by_one: bool) -> None:
        """Let the model read prompts, which become rows."""
        longest, limit = max(len(prompt.ids) for prompt in prompts), max(prompt.limit for prompt in prompts)
        self._cache.reserve(rows=len(self._rows) + len(prompts), prompt=longest, further=self._count_room(limit))
        if one_by_one:
            for place in _sort_alike([prompt.ids for prompt in prompts]):
                cache, logits = self._reader.read(prompts[place].ids)
                self._add(prompts[place], cache, 0, logits)
            return
        cache, logits = self._read_together(prompts)
        for row, prompt in enumerate(prompts):
            self._add(prompt, cache, row, logits[row : row + 1])

    def _count_room(self, new: int = 0) -> int:
        """Return the number of further tokens for which to have room, if a new row has up to `new` of them."""
        return min(_ROOM, max([new, *(row.prompt.limit - len(row.answer) + 1 for row in self._rows)]))

    def _add(self, prompt: Prompt, cache: DynamicCache, row: int, logits: torch.Tensor) -> None:
        self._cache.add(cache, row, len(prompt.ids))
        self._rows.append(_Row(prompt))
        self._logits.append(logits)

    def _read_together(self, prompts: Sequence[Prompt]) -> tuple[DynamicCache, torch.Tensor]:
        """Return the cache after one pass over padded prompts, and the logits, float (rows, vocabulary)."""
        from transformers import DynamicCache

        ids, mask = (part.to(self._model.device) for part in _pad([prompt.ids for prompt in prompts], self._rules.pad))
        cache = DynamicCache(config=self._model.config)
        found = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp_min(0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cache, found.logits[:, -1]

    def choose(self) -> Ended:
        """Choose the next token of each answer that has none after the last step. Return those that end and leave."""
        import torch

        if not self._logits:
            return []
        rules, logits = self._rules, torch.cat(self._logits)
        self._logits = []
        rows = self._rows[-len(logits) :]
        scores = rules.sampler([row.prompt.number for row in rows], logits) if rules.sampler else logits
        for row, token in zip(rows, scores.argmax(-1).tolist(), strict=True):
            forced = rules.force(row.prompt.number, row.answer)
            row.answer.append(token if forced is None else forced)
        ended: Ended = []
        for place in reversed(range(len(self._rows) - len(rows), len(self._rows))):
            row = self._rows[place]
            if row.answer[-1] in rules.ends or len(row.answer) == row.prompt.limit or rules.has_ended(row.answer):
                ended.append((row.prompt.number, row.answer))
                self._cache.remove(place)
                self._rows[place] = self._rows[-1]
                self._rows.pop()
        return ended

    def step(self) -> None:
        """Let the model read the last token of each answer."""
        import torch

        if not self._rows:
            return
        device = self._model.device
        self._cache.reserve(rows=len(self._rows), prompt=0, further=self._count_room())
        found = self._model(
            input_ids=torch.tensor([row.answer[-1:] for row in self._rows], device=device),
            attention_mask=self._cache.make_mask(device),
            position_ids=torch.tensor(self._cache.lengths, device=device)[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache.advance()
        self._logits = [found.logits[:, -1]]


def is_supported(model: PreTrainedModel) -> bool:
    """Return whether `decode` can join and thin out the model's cache."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    layers = {type(layer) for layer in DynamicCache(config=model.config).layers}
    arguments = inspect.signature(model.forward).parameters
    return layers <= {DynamicLayer, DynamicSlidingWindowLayer} and arguments.keys() >= _ARGUMENTS


def read_prompts(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]]
) -> Iterator[tuple[int, DynamicCache, torch.Tensor]]:
    """Yield each prompt's row, its cache, and the logits after it, float (1, vocabulary); like beginnings together.

    The caller may not change a cache before it asks for the next one.
    """
    reader = _Reader(model)
    for row in _sort_alike(prompts):
        yield row, *reader.read(prompts[row])


def _sort_alike(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Return the rows of the prompts such that like beginnings follow one another."""
    return sorted(range(len(prompts)), key=lambda row: list(prompts[row]))


class _Reader:
    """A reader of prompts that starts from the cache of the prompt before, as far as both begin alike."""

    def __init__(self, model: PreTrainedModel) -> None:
        from transformers import DynamicCache

        self._model = model
        self._last: Sequence[int] = ()
        self._cache = DynamicCache(config=model.config)

    def read(self, ids: Sequence[int]) -> tuple[DynamicCache, torch.Tensor]:
        """Return the cache of a prompt, valid until the next call, and the logits after it, float (1, vocabulary)."""
        import torch

        shared = _count_shared(self._last, ids[:-1])  # the model must see one token at least
        if any(layer.keys is not None and layer.keys.shape[-2] < len(self._last) for layer in self._cache.layers):
            shared = 0  # a sliding window has left the beginning behind
        self._cache = _copy(self._model, self._cache, shared)
        found = self._model(
            input_ids=torch.tensor([ids[shared:]], device=self._model.device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._last = ids
        return self._cache, found.logits[:, -1]


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


def _generate(model: PreTrainedModel, prompts: Sequence[Prompt], rules: Rules) -> Ended:
    """Return the ids that follow prompts which form one batch, for any model."""
    from transformers import GenerationConfig, LogitsProcessorList

    ids, mask = _pad([prompt.ids for prompt in prompts], rules.pad)
    numbers = [prompt.number for prompt in prompts]

    def choose(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = rules.sampler(numbers, scores) if rules.sampler else scores
        for row, answer in enumerate(input_ids[:, ids.shape[1] :].tolist()):
            if (token := rules.force(numbers[row], answer)) is not None:
                scores[row] = float("-inf")
                scores[row, token] = 0.0
        return scores

    generated = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        logits_processor=LogitsProcessorList([choose]),
        generation_config=GenerationConfig(
            max_new_tokens=max(prompt.limit for prompt in prompts),
            do_sample=False,
            eos_token_id=sorted(rules.ends),
            pad_token_id=rules.pad,
        ),
    )
    answers = generated[:, ids.shape[1] :].tolist()
    return [
        (prompt.number, _cut_at_end(answer[: prompt.limit], rules))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def _cut_at_end(ids: list[int], rules: Rules) -> list[int]:
    """Return `ids` up to and including the first at which the answer ends."""
    for index, token in enumerate(ids):
        if token in rules.ends or rules.has_ended(ids[: index + 1]):
            return ids[: index + 1]
    return ids
