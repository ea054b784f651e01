"""A model on this machine, a student or a teacher, that answers in batches (`decoding.py`).

An answer depends on the prompt, the settings and the seed, and not on the other prompts of its batch: batch size
affects only speed. So sampling does not draw from one random stream for the whole batch. Each row has a stream of its
own, seeded by the prompt, and takes the token whose log-probability plus Gumbel noise is largest, which is a draw from
the distribution (Gumbel-max). The remaining difference is rounding: padding changes the last bits of a logit.

Unless the caller gives a batch size, it is chosen for the device. On a GPU it is the number of rows that fit in the
free memory (`count_rows`) with the longest prompt of the batch and a full answer. On a CPU it is the number that fits
in 2 GiB, but 16 to 64: a step for 16 rows takes 2.5 times as long as for one, and a step for 64 rows 2.8 times as long
as for 16. A batch that runs out of memory is split in halves, and no later batch is larger than a half.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Required, TypedDict, Unpack

from orcac.errors import InputError
from orcac.model.decoding import decode
from orcac.model.endings import ReasoningLimit, StopStrings
from orcac.model.likelihood import score_continuations
from orcac.model.offline import go_offline
from orcac.model.weights import load_model
from orcac.reasoning import find_mark_tokens

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


_CPU_BATCH, _CPU_BYTES = (16, 64), 2 << 30
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
    """The log-likelihoods of the choices of one question."""

    log_likelihoods: list[float]  # natural logarithms, one for each choice; [] if the positions do not hold them
    input_tokens: int  # of the prompt and of all choices


class Decoding(TypedDict, total=False):
    """The settings of an answer."""

    temperature: Required[float]  # 0 is greedy and ignores `seed`
    top_p: Required[float]
    max_new_tokens: Required[int]
    seed: Required[int]
    stop: Sequence[str]  # strings that end it
    reasoning: Literal["on", "off"] | int | None  # int: its largest number of tokens; None: the model's own way


class Model(Protocol):
    """A model that answers prompts in batches, as `LocalModel` does."""

    def plan_batches(
        self, prompts: Sequence[tuple[str, str]], *, max_new_tokens: int, batch_size: int | None = None
    ) -> list[list[int]]: ...

    def answer_batch(self, prompts: Sequence[tuple[str, str]], **decoding: Unpack[Decoding]) -> list[LocalAnswer]: ...


class LocalModel:
    """A loaded model folder."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import GenerationConfig

        from orcac.model.chat_format import ChatFormat

        self._model, self._tokenizer = model, tokenizer
        self._chats = {
            thinking: ChatFormat(tokenizer, for_training=False, thinking=thinking) for thinking in (None, False, True)
        }
        self._chat = self._chats[None]
        self._pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        added = tokenizer.added_tokens_decoder
        marks = find_mark_tokens(token.content for token in added.values())
        self._hidden = {*tokenizer.all_special_ids} | {id_ for id_, token in added.items() if token.special}
        self._hidden -= {id_ for id_, token in added.items() if token.content in marks}
        self._positions: int = model.config.max_position_embeddings
        self._most = sys.maxsize  # the largest batch that is tried; lowered when one does not fit in memory
        ends = model.generation_config.eos_token_id
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        model.generation_config = GenerationConfig()  # the folder's penalties and lengths would fill unset options

    @classmethod
    def load(cls, folder: Path, *, threads: int, gpus: int) -> LocalModel:
        """Load a folder, onto the GPU if `gpus` grants one and the machine has one, otherwise onto the CPU.

        A model without a chat template is asked in plain words (`TEXT_MARKS`), as a student that starts from it is.
        Raises InputError if the folder's weights, tokenizer or chat template cannot be used.
        """
        go_offline(threads=threads)
        import torch

        from orcac.model.chat_format import TEXT_MARKS, chat_template, load_tokenizer

        torch.set_num_threads(threads)
        model, tokenizer = load_model(folder, subject="the model", dtype="auto"), load_tokenizer(folder)
        if not tokenizer.chat_template:
            tokenizer.chat_template = chat_template(TEXT_MARKS)
            print(f"no chat template: asked in plain words ({TEXT_MARKS.user.strip()})", file=sys.stderr, flush=True)
        device = "cuda" if gpus and torch.cuda.is_available() else "cpu"
        return cls(model.to(device).eval(), tokenizer)

    def plan_batches(
        self, prompts: Sequence[tuple[str, str]], *, max_new_tokens: int, batch_size: int | None = None
    ) -> list[list[int]]:
        """Return batches of indices of the (system, user) prompts, by falling length: like lengths share a batch, and
        the batch that needs the most memory comes first. Without `batch_size` it is chosen for the device.
        """
        lengths = [len(ids) for ids in self._chat.encode_prompts(prompts)]
        left = sorted(range(len(prompts)), key=lambda index: (-lengths[index], index))
        batches = []
        while left:
            size = batch_size or self._choose_size(lengths[left[0]], max_new_tokens)
            batches.append(left[:size])
            left = left[size:]
        return batches

    def _choose_size(self, prompt_tokens: int, max_new_tokens: int) -> int:
        """Return the size of a batch whose longest prompt has `prompt_tokens`."""
        import torch

        device, least, most, free = self._model.device, *_CPU_BATCH, _CPU_BYTES
        if device.type == "cuda":
            cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            least, most, free = 1, _MAX_BATCH, torch.cuda.mem_get_info(device)[0] + cached
        fitting = count_rows(
            self._model.config.get_text_config(),
            free=free,
            prompt_tokens=prompt_tokens,
            tokens=min(prompt_tokens + max_new_tokens, self._positions),
            item_bytes=self._model.dtype.itemsize,
        )
        return max(least, min(most, fitting))

    def answer_batch(self, prompts: Sequence[tuple[str, str]], **decoding: Unpack[Decoding]) -> list[LocalAnswer]:
        """Return the answers to (system, user) prompts, in order.

        A prompt that fills the model's positions gets an empty answer with finish reason "length". Raises InputError if
        a single prompt does not fit in memory.
        """
        answers: list[LocalAnswer] = []
        while len(answers) < len(prompts):
            part = prompts[len(answers) :][: self._most]
            try:
                answers += self._generate(part, decoding)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise InputError(
                        "the memory does not hold a single prompt with its answer",
                        fix="lower max_tokens, or run the job on a device with more memory",
                    ) from error
                self._most = len(part) // 2
                print(f"a batch of {len(part)} does not fit in memory: halved", file=sys.stderr, flush=True)
        return answers

    def score_choices(self, questions: Sequence[tuple[str, str, Sequence[str]]]) -> list[ChoiceScores]:
        """Return the log-likelihoods of the choices of (system, user, choices) questions, in order.

        A choice is scored as the beginning of the model's answer (`ChatFormat.encode_choices`). Raises InputError if a
        single question does not fit in memory, or if the model's logits are not numbers.
        """
        encoded = [self._chat.encode_choices((system, user), choices) for system, user, choices in questions]
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
        return [
            ChoiceScores(log_likelihoods=scores.get(index, []), input_tokens=len(prompt) + sum(map(len, choices)))
            for index, (prompt, choices) in enumerate(encoded)
        ]

    def _generate(self, prompts: Sequence[tuple[str, str]], decoding: Decoding) -> list[LocalAnswer]:
        """Return the answers to prompts that are generated together."""
        temperature, top_p, reasoning = decoding["temperature"], decoding["top_p"], decoding.get("reasoning")
        chat = self._chats[None if reasoning is None else reasoning != "off"]
        inputs = chat.encode_prompts(prompts)
        limits = [max(0, min(decoding["max_new_tokens"], self._positions - len(ids))) for ids in inputs]
        answerable = [index for index, limit in enumerate(limits) if limit]
        opened = [chat.opens_reasoning(system) for system, _ in prompts]
        stops = StopStrings(decoding.get("stop", ()), self._decode)
        outputs: list[list[int]] = [[] for _ in inputs]
        if answerable:
            streams = [make_stream(decoding["seed"], *prompts[index]) for index in answerable] if temperature else []
            limit = reasoning if isinstance(reasoning, int) else 0 if reasoning == "off" else None
            found = decode(
                self._model,
                [inputs[index] for index in answerable],
                [limits[index] for index in answerable],
                ends=self._ends,
                pad=self._pad,
                one_by_one=self._model.device.type == "cpu",
                sampler=GumbelMax(streams, temperature=temperature, top_p=top_p) if temperature else None,
                has_ended=stops.occur,
                force=_leave if limit is None else self._limit(limit, [opened[index] for index in answerable]).force,
            )
            for index, ids in zip(answerable, found, strict=True):
                outputs[index] = ids
        answers = []
        for ids, output, is_open in zip(inputs, outputs, opened, strict=True):
            text = self._decode(output)
            end = stops.find(text)
            answers.append(
                LocalAnswer(
                    text=text[:end],
                    finish_reason="stop" if end is not None or (output and output[-1] in self._ends) else "length",
                    input_tokens=len(ids),
                    output_tokens=len(output),
                    opened=is_open,
                )
            )
        return answers

    def _limit(self, limit: int, opened: Sequence[bool]) -> ReasoningLimit:
        from orcac.model.chat_format import CLOSING

        closing = self._tokenizer(CLOSING, add_special_tokens=False)["input_ids"]
        return ReasoningLimit(limit, closing, opened, self._decode)

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
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
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
    """A logits processor that makes greedy decoding sample, each row from a random stream of its own."""

    def __init__(self, streams: Sequence[torch.Generator], *, temperature: float, top_p: float) -> None:
        self._streams, self._temperature, self._top_p = list(streams), temperature, top_p

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these; the next scores are theirs."""
        self._streams = [self._streams[row] for row in rows]

    def __call__(self, input_ids: torch.Tensor | None, scores: torch.Tensor) -> torch.Tensor:
        """Return `scores`, float (rows, vocabulary), with noise added, and -inf outside the nucleus of `top_p`."""
        import torch

        logits = scores.float() / self._temperature
        if self._top_p < 1:
            ranked, order = logits.sort(descending=True)
            shares = ranked.softmax(-1)
            outside = shares.cumsum(-1) - shares >= self._top_p  # the likeliest token is always inside
            logits = logits.masked_fill(outside.scatter(-1, order, outside), float("-inf"))
        uniform = torch.stack([torch.rand(logits.shape[-1], generator=stream) for stream in self._streams])
        return logits - (-uniform.clamp_min(1e-30).log()).log().to(logits.device)


def make_stream(seed: int, system: str, user: str) -> torch.Generator:
    """Return the random stream of one prompt."""
    import torch

    return torch.Generator().manual_seed(stream_seed(seed, system, user))


def stream_seed(seed: int, system: str, user: str) -> int:
    """Return the seed of one prompt's random stream, of 63 bits."""
    digest = hashlib.sha256("\x1f".join((str(seed), system, user)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
