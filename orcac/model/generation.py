"""A model on this machine, a student or a teacher, that answers in batches (`decoding.py`).

An answer depends on the prompt, the settings and the seed, and not on the other prompts of its batch: batch size
affects only speed. So sampling does not draw from one random stream for the whole batch. Each row has a stream of its
own, seeded by the prompt, and takes the token whose log-probability plus Gumbel noise is largest, which is a draw from
the distribution (Gumbel-max). The remaining difference is rounding: padding changes the last bits of a logit.

A batch is the rows that are decoded together; a row whose answer ends makes place for the next prompt. Unless the
caller gives a batch size, it is chosen for the device. On a GPU it is the number of rows that fit in the free memory
(`count_rows`) with the longest prompt of the batch and a full answer. On a CPU it is the number that fits in 2 GiB, but
16 to 64: a step for 16 rows takes about twice as long as for one, and a step for 64 rows twice as long as for 16. A
small model has up to 128 rows there, and reads prompts together, as on a GPU: starting a pass takes it longer than the
arithmetic (2.2 instead of 4.8 CPU seconds for 600 answers of 0.22 M parameters). If a batch runs out of memory, its
answers begin anew, and no later batch is larger than half of it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Required, TypedDict, Unpack

from orcac.devices import count_cores
from orcac.errors import InputError
from orcac.model.chat_format import ChatFormat
from orcac.model.decoding import Prompt, Rules, decode
from orcac.model.endings import ReasoningLimit, StopStrings
from orcac.model.likelihood import score_continuations
from orcac.model.offline import go_offline
from orcac.model.positions import count_positions
from orcac.model.weights import load_model, order_by_columns
from orcac.reasoning import find_mark_tokens

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


_CPU_BATCH, _CPU_BYTES = (16, 64), 2 << 30
_SMALL, _SMALL_BATCH = 6_000_000, (16, 128)  # parameters; rows on a CPU
_MAX_BATCH = 256  # a larger one gains little, and loses more if the job is killed


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAnswer:
    """An answer of a local model."""

    text: str  # without special tokens; its reasoning is marked in it (`orcac.reasoning`)
    finish_reason: str  # "stop" at an end token, "length" if it was cut
    input_tokens: int
    output_tokens: int  # including the end token
    opened: bool = False  # the prompt has opened the reasoning, with which the text begins


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceScores:
    """The log-likelihoods of the choices of one question, or of a text that answers it."""

    log_likelihoods: list[float]  # natural logarithms, one for each choice; [] if the positions do not hold them
    input_tokens: int  # of the prompt and of all choices; of the prompt alone beside a text
    output_tokens: int = 0  # of a text, with the token that ends the answer


@dataclass(frozen=True, slots=True)
class _Question:
    """An encoded prompt."""

    prompt: Prompt
    system: str
    user: str
    opened: bool  # it opens the reasoning


class Decoding(TypedDict, total=False):
    """The settings of an answer."""

    temperature: Required[float]  # 0 is greedy and ignores `seed`
    top_p: Required[float]
    max_new_tokens: Required[int]
    seed: Required[int]
    stop: Sequence[str]  # strings that end it
    reasoning: Literal["on", "off"] | int | None  # int: its largest number of tokens; None: the model's own way


Prompts = Iterable[tuple[str, str]]  # of (system, user)
Answers = list[tuple[int, "LocalAnswer"]]  # the numbers of prompts, counted from 0, and the answers to them


class Model(Protocol):
    """A model that answers prompts as `LocalModel` does."""

    def sort(
        self, prompts: Sequence[tuple[str, str]], *, max_new_tokens: int, batch_size: int | None = None
    ) -> list[int]: ...

    def answer(
        self, prompts: Prompts, *, batch_size: int | None = None, **decoding: Unpack[Decoding]
    ) -> Iterator[Answers]: ...


class LocalModel:
    """A loaded model folder."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import GenerationConfig

        self._model, self._tokenizer = model, tokenizer
        self._chat = ChatFormat(tokenizer, for_training=False)
        self._chats = {None: self._chat} | {thinks: self._chat.with_thinking(thinks) for thinks in (False, True)}
        self._pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        added = tokenizer.added_tokens_decoder
        marks = find_mark_tokens(token.content for token in added.values())
        self._hidden = {*tokenizer.all_special_ids} | {id_ for id_, token in added.items() if token.special}
        self._hidden -= {id_ for id_, token in added.items() if token.content in marks}
        self._positions = count_positions(model.config) or sys.maxsize
        self._is_small = model.num_parameters() <= _SMALL
        self._most = sys.maxsize  # the largest batch that is tried; lowered when one does not fit in memory
        ends = model.generation_config.eos_token_id
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        self._end_names = [added[id_].content for id_ in sorted(self._ends) if id_ in added]
        self._training_chat: ChatFormat | None = None  # made when a text is scored
        model.generation_config = GenerationConfig()  # the folder's penalties and lengths would fill unset options

    @classmethod
    def load(cls, folder: Path, *, threads: int, gpus: int) -> LocalModel:
        """Load a folder, onto the GPU if `gpus` grants one and the machine has one, otherwise onto the CPU.

        A model without a chat template is asked in plain words (`TEXT_MARKS`), as a student that starts from it is.
        Raises InputError if the folder's weights, tokenizer or chat template cannot be used.
        """
        go_offline(threads=threads)
        import torch

        from orcac.model.chat_format import load_tokenizer
        from orcac.model.chat_template import TEXT_MARKS, chat_template

        torch.set_num_threads(min(threads, count_cores()))
        model, tokenizer = load_model(folder, subject="the model", dtype="auto"), load_tokenizer(folder)
        if not tokenizer.chat_template:
            tokenizer.chat_template = chat_template(TEXT_MARKS)
            print(f"no chat template: asked in plain words ({TEXT_MARKS.user.strip()})", file=sys.stderr, flush=True)
        device = "cuda" if gpus and torch.cuda.is_available() else "cpu"
        if device == "cpu":
            order_by_columns(model)
        return cls(model.to(device).eval(), tokenizer)

    def sort(
        self, prompts: Sequence[tuple[str, str]], *, max_new_tokens: int, batch_size: int | None = None
    ) -> list[int]:
        """Return the order in which to answer (system, user) prompts: the longest first, like beginnings together.

        So like lengths share a batch, and the batch that needs the most memory comes first.
        """
        encoded = self._chat.encode_prompts(prompts)
        left = sorted(range(len(prompts)), key=lambda index: (-len(encoded[index]), index))
        fits, order = self._fits(max_new_tokens, batch_size), []
        while left:
            size = fits(len(encoded[left[0]]))
            order += sorted(left[:size], key=lambda index: encoded[index])
            left = left[size:]
        return order

    def _fits(self, max_new_tokens: int, batch_size: int | None) -> Callable[[int], int]:
        """Return the size of a batch, given the tokens of its longest prompt, in the memory that is free now."""
        import torch

        if batch_size:
            return lambda prompt_tokens: min(batch_size, self._most)
        device, free = self._model.device, _CPU_BYTES
        least, most = _SMALL_BATCH if self._is_small else _CPU_BATCH
        if device.type == "cuda":
            cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            least, most, free = 1, _MAX_BATCH, torch.cuda.mem_get_info(device)[0] + cached

        def fits(prompt_tokens: int) -> int:
            fitting = count_rows(
                self._model.config.get_text_config(),
                free=free,
                prompt_tokens=prompt_tokens,
                tokens=min(prompt_tokens + max_new_tokens, self._positions),
                item_bytes=self._model.dtype.itemsize,
            )
            return min(max(least, min(most, fitting)), self._most)

        return fits

    def answer(
        self, prompts: Prompts, *, batch_size: int | None = None, **decoding: Unpack[Decoding]
    ) -> Iterator[Answers]:
        """Yield the answers to (system, user) prompts as they end. A prompt is taken when there is a place for it.

        A prompt that fills the model's positions gets an empty answer with finish reason "length". Raises InputError if
        a single prompt does not fit in memory.
        """
        left: Iterator[_Question] = (
            self._encode(number, system, user, decoding) for number, (system, user) in enumerate(prompts)
        )
        while True:
            taken: dict[int, _Question] = {}
            try:
                yield from self._answer(left, taken, batch_size, decoding)
                return
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                if len(taken) == 1:
                    raise InputError(
                        "the memory does not hold a single prompt with its answer",
                        fix="lower max_tokens, or run the job on a device with more memory",
                    ) from error
                self._most = len(taken) // 2
                print(f"a batch of {len(taken)} does not fit in memory: halved", file=sys.stderr, flush=True)
                left = itertools.chain(list(taken.values()), left)

    def _encode(self, number: int, system: str, user: str, decoding: Decoding) -> _Question:
        reasoning = decoding.get("reasoning")
        chat = self._chats[None if reasoning is None else reasoning != "off"]
        (ids,) = chat.encode_prompts([(system, user)])
        limit = max(0, min(decoding["max_new_tokens"], self._positions - len(ids)))
        return _Question(Prompt(number, ids, limit), system, user, chat.opens_reasoning(system))

    def _answer(
        self, questions: Iterable[_Question], taken: dict[int, _Question], batch_size: int | None, decoding: Decoding
    ) -> Iterator[Answers]:
        """Yield the answers to questions as they end; `taken` gets those that are being answered."""
        temperature, reasoning = decoding["temperature"], decoding.get("reasoning")
        stops = StopStrings(decoding.get("stop", ()), self._decode)
        limit = reasoning if isinstance(reasoning, int) else 0 if reasoning == "off" else None
        reasoning_limit = None if limit is None else self._limit(limit)
        too_long: Answers = []

        def take() -> Iterator[Prompt]:
            for question in questions:
                prompt = question.prompt
                if not prompt.limit:
                    too_long.append((prompt.number, self._read_answer(question, [], stops)))
                    continue
                taken[prompt.number] = question
                if reasoning_limit:
                    reasoning_limit.begin(prompt.number, opened=question.opened)
                yield prompt

        def make_one(number: int) -> torch.Generator:
            return make_stream(decoding["seed"], taken[number].system, taken[number].user)

        sampler = GumbelMax(make_one, temperature=temperature, top_p=decoding["top_p"]) if temperature else None
        rules = Rules(
            ends=self._ends,
            pad=self._pad,
            sampler=sampler,
            has_ended=stops.occur,
            force=reasoning_limit.force if reasoning_limit else _leave,
        )
        fits = self._fits(decoding["max_new_tokens"], batch_size)
        one_by_one = self._model.device.type == "cpu" and not self._is_small
        for ended in decode(self._model, take(), rules, fits=fits, one_by_one=one_by_one):
            if sampler:
                for number, _ in ended:
                    sampler.forget(number)
            yield [(number, self._read_answer(taken.pop(number), ids, stops)) for number, ids in ended]
        if too_long:
            yield too_long

    def _read_answer(self, question: _Question, ids: Sequence[int], stops: StopStrings) -> LocalAnswer:
        text = self._decode(ids)
        end = stops.find(text)
        return LocalAnswer(
            text=text[:end],
            finish_reason="stop" if end is not None or (ids and ids[-1] in self._ends) else "length",
            input_tokens=len(question.prompt.ids),
            output_tokens=len(ids),
            opened=question.opened,
        )

    def score_choices(self, questions: Sequence[tuple[str, str, Sequence[str]]]) -> list[ChoiceScores]:
        """Return the log-likelihoods of the choices of (system, user, choices) questions, in order.

        A choice is scored as the beginning of the model's answer (`ChatFormat.encode_choices`). Raises InputError if a
        single question does not fit in memory, or if the model's logits are not numbers.
        """
        encoded = [self._chat.encode_choices((system, user), choices) for system, user, choices in questions]
        return [
            ChoiceScores(log_likelihoods=values, input_tokens=len(prompt) + sum(map(len, choices)))
            for values, (prompt, choices) in zip(self._score(encoded), encoded, strict=True)
        ]

    def score_texts(self, answered: Sequence[tuple[str, str, str]]) -> list[ChoiceScores]:
        """Return the log-likelihoods of the texts of (system, user, text) triples, in order, as answers that end.

        The ids are those of a training example, so this is the loss that training lowers. Raises InputError as
        `score_choices` does, and if the chat template has no place for an answer.
        """
        if self._training_chat is None:
            self._training_chat = ChatFormat(self._tokenizer, ends=self._end_names)
        examples = self._training_chat.encode_examples(answered)
        encoded = [(ids[:prompt_tokens], [ids[prompt_tokens:]]) for ids, prompt_tokens in examples]
        return [
            ChoiceScores(log_likelihoods=values, input_tokens=len(prompt), output_tokens=len(ids))
            for values, (prompt, (ids,)) in zip(self._score(encoded), encoded, strict=True)
        ]

    def _score(self, encoded: Sequence[tuple[list[int], list[list[int]]]]) -> list[list[float]]:
        """Return the log-likelihoods of each prompt's continuations; [] if the positions do not hold them."""
        fitting = [
            index
            for index, (prompt, choices) in enumerate(encoded)
            if len(prompt) + max(map(len, choices)) <= self._positions
        ]
        try:
            found = score_continuations(
                self._model, [encoded[index][0] for index in fitting], [encoded[index][1] for index in fitting]
            )
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise InputError(
                "the memory does not hold a single question with its choices",
                fix="run the job on a device with more memory",
            ) from error
        if any(math.isnan(value) for values in found for value in values):
            raise InputError(
                "the model gives no likelihoods: its logits are not numbers", fix="check the loss of its training"
            )
        scores: dict[int, list[float]] = dict(zip(fitting, found, strict=True))
        return [scores.get(index, []) for index in range(len(encoded))]

    def _limit(self, limit: int) -> ReasoningLimit:
        from orcac.model.chat_template import CLOSING

        closing = self._tokenizer(CLOSING, add_special_tokens=False)["input_ids"]
        return ReasoningLimit(limit, closing, self._decode)

    def _decode(self, ids: Sequence[int]) -> str:
        """Return the text of an answer's ids, without special tokens; the marks of reasoning stay."""
        kept = [token for token in ids if token not in self._hidden]
        return self._tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _leave(row: int, ids: Sequence[int]) -> None:
    """Leave the next token to the model."""


def count_rows(config: PreTrainedConfig, *, free: int, prompt_tokens: int, tokens: int, item_bytes: int) -> int:
    """Return how many rows fit in `free` bytes: 1 to 256.

    A row needs keys and values of every layer for `tokens` tokens (prompt and answer), the activations of one layer for
    the prompt, and some copies of the logits over the vocabulary. A fifth of the memory is left free.
    """
    heads = getattr(config, "num_attention_heads", None) or 0  # a state space model has a state of fixed size instead
    head_size = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    cache = 2 * config.num_hidden_layers * kv_heads * head_size * item_bytes * tokens
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    activations = (4 * config.hidden_size + 3 * inner) * item_bytes * prompt_tokens
    logits = 8 * 4 * config.vocab_size  # float32: sorted, summed and masked for top_p, with the noise
    return max(1, min(_MAX_BATCH, int(0.8 * free) // (cache + activations + logits)))


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch had too little memory: its error for the CPU has no class of its own."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


class GumbelMax:
    """A sampler that makes greedy decoding draw, each prompt from a random stream of its own (`make_one`)."""

    def __init__(self, make_one: Callable[[int], torch.Generator], *, temperature: float, top_p: float) -> None:
        self._make_one, self._temperature, self._top_p = make_one, temperature, top_p
        self._streams: dict[int, torch.Generator] = {}

    def forget(self, number: int) -> None:
        """Drop the stream of a prompt whose answer has ended."""
        self._streams.pop(number, None)

    def __call__(self, numbers: Sequence[int], scores: torch.Tensor) -> torch.Tensor:
        """Return `scores`, float (rows, vocabulary), with noise added, and -inf outside the nucleus of `top_p`."""
        import torch

        logits = scores.float() / self._temperature
        if self._top_p < 1:
            ranked, order = logits.sort(descending=True)
            shares = ranked.softmax(-1)
            outside = shares.cumsum(-1) - shares >= self._top_p  # the likeliest token is always inside
            logits = logits.masked_fill(outside.scatter(-1, order, outside), float("-inf"))
        streams = [self._streams.get(number) or self._make_one(number) for number in numbers]
        self._streams.update(zip(numbers, streams, strict=True))
        uniform = torch.stack([torch.rand(logits.shape[-1], generator=one) for one in streams])
        return logits - (-uniform.clamp_min(1e-30).log()).log().to(logits.device)


def make_stream(seed: int, system: str, user: str) -> torch.Generator:
    """Return the random stream of one prompt."""
    import torch

    return torch.Generator().manual_seed(stream_seed(seed, system, user))


def stream_seed(seed: int, system: str, user: str) -> int:
    """Return the seed of one prompt's random stream, of 63 bits."""
    digest = hashlib.sha256("\x1f".join((str(seed), system, user)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
